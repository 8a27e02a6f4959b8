"""What an LLM's reply holds: thoughts, a program, JSON, in whatever surrounds them."""

from bdc_agents.agents.replies.reading import extract_code, normalise, parse_json

__all__ = ["extract_code", "normalise", "parse_json"]
