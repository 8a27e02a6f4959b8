"""Clusters of solved problems: found, checked, described, and shown on a page."""
