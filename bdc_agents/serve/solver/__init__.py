"""The solver: System 1 answers and checks itself, System 2 searches."""
