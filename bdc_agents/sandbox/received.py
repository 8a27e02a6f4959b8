"""Decodes the values that a sandbox sends, which a hostile program may have forged, into built-in types."""

from dataclasses import dataclass
from typing import Any

from .inside.values import Decoder

_HASHED_AT_LEAST = 1000
"""Hashed members that any value may have, so that a wrong value can be shown: even if all hashes collide, so
few build fast."""


@dataclass(frozen=True, eq=False, repr=False)
class Opaque:
    """A value of another type, known only by its description; equals no expected value."""

    kind: str
    text: str

    def __repr__(self) -> str:
        return self.text


class NotAValueError(ValueError):
    """The data from a sandbox encodes no value."""


def hashed_parts(value: Any) -> int:
    """The number of set members and dictionary keys in a value, at all depths."""
    if isinstance(value, dict):
        return len(value) + sum(map(hashed_parts, (*value, *value.values())))
    if isinstance(value, (list, tuple, set, frozenset)):
        own = len(value) if isinstance(value, (set, frozenset)) else 0
        return own + sum(map(hashed_parts, value))
    return 0


def decode(data: Any, like: tuple[Any, ...] = ()) -> Any:
    """Decodes a value from the JSON data of `values.encode`.

    A program may have forged the data. Members with colliding hashes make a set slow to build, so the
    value may have no more of them than the accepted values suggest.

    Args:
        data: Data from `json.loads`.
        like: The accepted values.

    Raises:
        NotAValueError: If it encodes no value, or more members than could be right.
    """
    room = max(_HASHED_AT_LEAST, *(2 * hashed_parts(value) for value in like), 0)
    try:
        return Decoder(room, _opaque).decode(data)
    except (ValueError, TypeError, IndexError, RecursionError, OverflowError):
        raise NotAValueError from None


def _opaque(tag: str, parts: list[Any]) -> Opaque:
    if tag != "o":
        raise ValueError(tag)
    return Opaque(str(parts[0]), str(parts[1]))
