"""Reports of evaluations and collections: HTML files that open anywhere, without a network."""
