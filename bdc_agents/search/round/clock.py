"""The clock of searches: their wall time, over steps and what passes between two of them."""

import asyncio

PAUSE = 5.0
"""Seconds between two steps: a graph that writes a checkpoint takes less, and a person who stops it more."""
_HAIR = 1e-6
"""Seconds before the deadline at which the time is up: each step computes the deadline anew, and a sum that
is rounded otherwise must not go on to a step that may do nothing any more."""
_KEPT = 4096
"""Searches whose last step is remembered."""


def now() -> float:
    """The event loop's clock, in seconds: that of all its time-outs."""
    return asyncio.get_running_loop().time()


def is_late(deadline: float | None) -> bool:
    """Whether the time is up, where there is a deadline."""
    return deadline is not None and now() >= deadline - _HAIR


class Clock:
    """When steps ended, so that the next one counts from there.

    The state holds the seconds of finished steps, which tell one search from another well enough.
    """

    def __init__(self) -> None:
        self._ended: dict[float, float] = {}

    def began(self, seconds: float) -> float:
        """The reading at which a step began: when the one before it ended, unless there was a pause.

        Args:
            seconds: Of the search's finished steps.
        """
        reading = now()
        ended = self._ended.get(seconds, reading)
        return ended if 0 <= reading - ended < PAUSE else reading

    def ended(self, seconds: float) -> None:
        """Remembers that a step ended.

        Args:
            seconds: Of the search, this step included.
        """
        self._ended[seconds] = now()
        if len(self._ended) > _KEPT:
            del self._ended[next(iter(self._ended))]
