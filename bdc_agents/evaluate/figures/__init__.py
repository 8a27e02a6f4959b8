"""Figures of evaluations and collections, computed from their rows and traces alone."""
