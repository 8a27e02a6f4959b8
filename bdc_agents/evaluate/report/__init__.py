"""What people read of evaluations and collections: offline HTML pages, advice, logs for inspect_ai."""
