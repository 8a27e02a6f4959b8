"""Limits of an agent: how often it may be called, and how long its replies may be."""

import asyncio
import threading
import time

from bdc_agents.agents.replies.reading import thinks_to_the_end

LONGEST_REPLY = 1024
"""Default limit of a reply, in tokens: a program with some words around it, or a list of thoughts."""
LONGEST_REASONED = 8192
"""Default limit for an LLM that reasons before it answers, because its thinking counts too."""
LONGEST_OF_ALL = 32_768
"""The largest limit of all: few endpoints accept more, and a longer reply usually goes in circles."""
_GROWTH = 4
"""Factor between two tries: an agent whose replies are cut off has enough room after two or three of them."""


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

    def hold(self, seconds: float) -> float:
        """Lets no call start for this long, as a server has asked.

        Returns:
            How many seconds more this is than calls had to wait before.
        """
        with self._lock:
            now = time.monotonic()
            before = max(self._next, now)
            self._next = max(before, now + seconds)
            return self._next - before


def grown(limit: int, text: str) -> int:
    """The limit for another try, after a reply that was cut off at `limit`.

    Args:
        limit: The limit of the cut reply.
        text: The reply so far. If it is still thinking, the next limit is at least a reasoner's.
    """
    wanted = limit * _GROWTH
    if not text.strip() or thinks_to_the_end(text):
        wanted = max(wanted, LONGEST_REASONED)
    return max(limit, min(wanted, LONGEST_OF_ALL))
