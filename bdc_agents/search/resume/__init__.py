"""How a search goes on: read from a checkpoint, compared with what it was, judged again by other tests."""
