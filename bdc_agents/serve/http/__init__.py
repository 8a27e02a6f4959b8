"""The OpenAI-compatible server of a library."""
