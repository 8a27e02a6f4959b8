"""Reads LLMs' replies: finds thoughts, a program or JSON in whatever surrounds them."""
