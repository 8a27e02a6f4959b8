"""Weights of local models: found by name, downloaded from the hub or from packages, verified by hash."""
