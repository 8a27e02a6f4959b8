"""What is wrong with the rows of a file, told together."""

from collections import Counter

_TOLD, _PLACES_TOLD = 10, 4
"""Faults of a file that cannot be used that are told, and further rows that each is of."""


class Faults:
    """All that is wrong with the rows of a file, which whoever mends it wants to know at once."""

    def __init__(self) -> None:
        self._places: dict[str, list[str]] = {}  # The first of each reason alone: a file has millions.
        self._counts: Counter[str] = Counter()
        self._more = 0

    def add(self, place: str, reason: str) -> None:
        """Takes one fault: where it is and what; what is the same elsewhere is told once."""
        if reason in self._places or len(self._places) < _TOLD:
            places = self._places.setdefault(reason, [])
            places += [place] if len(places) <= _PLACES_TOLD else []
            self._counts[reason] += 1
        else:
            self._more += 1

    def __str__(self) -> str:
        lines = [self._line(reason) for reason in self._places]
        more = f"and {self._more} more rows that cannot be used"
        return "\n".join([*lines, more] if self._more else lines)

    def _line(self, reason: str) -> str:
        first, *others = self._places[reason]
        numbers = [place.rpartition(":")[2] for place in others]
        left = self._counts[reason] - 1 - len(others)
        where = ", ".join([first, *numbers]) + (f" and {left} more" if left else "")
        return "\n".join(f"{where}: {line}" if where else line for line in reason.splitlines())
