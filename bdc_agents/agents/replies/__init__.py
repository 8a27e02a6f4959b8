"""What an LLM's reply holds: thoughts, a program, JSON, in whatever surrounds them."""
