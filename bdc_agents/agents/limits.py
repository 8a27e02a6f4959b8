"""Limits of an agent: how often it may be called, and how long its replies may be."""

import asyncio
import threading
import time

from bdc_agents.agents.replies.reading import thinks_to_the_end


class Pace:
    """Spaces out calls evenly, over threads and event loops alike.

    Args:
        per_second: Calls a second; None for any number.
    """

    def __init__(self, per_second: float | None = None) -> None:
        self._interval = 1 / per_second if per_second else 0.0
        self._next = 0.0
        self._lock = threading.Lock()

    async def turn(self) -> None:
        """Waits until the next call may start."""
        while (left := self._take()) > 0:  # noqa: ASYNC110 - an event belongs to one loop
            await asyncio.sleep(left)

    def _take(self) -> float:
        """Takes the next turn and returns 0, or returns the seconds until it is free."""
        with self._lock:
            now = time.monotonic()
            if now < self._next:
                return self._next - now
            self._next = now + self._interval
            return 0.0

    def hold(self, seconds: float) -> None:
        """Lets no call start for this long, as a server has asked."""
        with self._lock:
            self._next = max(self._next, time.monotonic() + seconds)


LONGEST_REPLY = 1024
"""Default token limit: room for a program with some words around it, or for a list of thoughts."""
LONGEST_REASONED = 8192
"""Default token limit of an LLM that reasons first, since its thoughts count too."""
LONGEST_OF_ALL = 32_768
"""Largest token limit that is ever asked for: few endpoints take more, and longer replies go in circles."""
_GROWTH = 4
"""Factor by which the limit grows after a reply that was cut off: two or three of them lead to
`LONGEST_OF_ALL`."""


def grown(limit: int, text: str) -> int:
    """The limit for another try, after a reply that was cut off at `limit`.

    Args:
        limit: The limit of that reply.
        text: The reply as far as it came. If it is still thinking, it needs the room of a reasoner.
    """
    wanted = limit * _GROWTH
    if not text.strip() or thinks_to_the_end(text):
        wanted = max(wanted, LONGEST_REASONED)
    return max(limit, min(wanted, LONGEST_OF_ALL))
