"""Solvers: anything that takes a problem and hands over programs, such as a baseline or the search."""
