"""Ratings as agents write them, though they were asked for a number from 0 to 1."""

import math
import re
from collections.abc import Iterable
from typing import Any

_WRITTEN = re.compile(r"\s*(\d+(?:[.,]\d+)?)\s*(%|(?:/|(?:out\s+)?of)\s*(\d+(?:\.\d+)?))?\s*")
_SCALES = (1.0, 10.0, 100.0)
"""What a bare number may be of: itself a share, marks of ten, per cent."""


def read_ratings(values: Iterable[Any]) -> list[float | None]:
    """The ratings of one reply in [0, 1], by the scale of the largest; None for what is none.

    `0.8`, `"0.8"`, `"80%"`, `"8/10"` and, among others that are no more than ten, `8` are the same.
    """
    numbers = [_number(value) for value in values]
    bare = [number for number, own in filter(None, numbers) if own is None]
    scale = next((scale for scale in _SCALES if max(bare, default=0.0) <= scale), None)
    return [_share(*number, scale) if number else None for number in numbers]


def read_rating(value: Any) -> float | None:
    """One rating that stands alone."""
    return read_ratings([value])[0]


def _number(value: Any) -> tuple[float, float | None] | None:
    """The number, and what it says it is of."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int | float):
        return (float(value), None) if 0 <= value <= _SCALES[-1] else None
    found = _WRITTEN.fullmatch(value) if isinstance(value, str) and len(value) < 40 else None
    if not found:
        return None
    number = float(found[1].replace(",", "."))
    if not found[2]:
        return (number, None) if number <= _SCALES[-1] else None
    return number, 100.0 if found[2] == "%" else float(found[3])


def _share(number: float, own: float | None, scale: float | None) -> float | None:
    # Below 1 it is a share, whatever the scale of the others.
    of = own if own is not None else 1.0 if number < 1 else scale
    share = number / of if of else math.inf
    return share if 0 <= share <= 1 else None
