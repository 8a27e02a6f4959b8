"""How long a reply may be: where nobody says, and after one that was cut off."""

from bdc_agents.agents.replies import thinks_to_the_end

LONGEST_REPLY = 1024
"""Tokens where nobody sets a limit: a program with some words around it, or a list of thoughts."""
LONGEST_REASONED = 8192
"""The same where an LLM reasons before it answers: what it thinks counts too."""
LONGEST_OF_ALL = 32_768
"""More than this is not asked for: few endpoints take it, and a reply that is longer goes in circles."""
_GROWTH = 4
"""So that an agent whose replies are cut off has room enough after two or three of them."""


def grown(limit: int, text: str) -> int:
    """The limit for another try, after a reply that was cut off at `limit`.

    Args:
        limit: What it was asked with.
        text: The reply as far as it came; one that is still thinking needs the room of a reasoner.
    """
    wanted = limit * _GROWTH
    if not text.strip() or thinks_to_the_end(text):
        wanted = max(wanted, LONGEST_REASONED)
    return max(limit, min(wanted, LONGEST_OF_ALL))
