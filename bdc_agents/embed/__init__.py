"""Texts to unit vectors: one way for training rows and for queries."""
