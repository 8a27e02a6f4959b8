"""Backends: chat messages and expert weights in, text out."""
