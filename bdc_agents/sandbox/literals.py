"""Expected values as Python source, and values that left a sandbox: both become built-in types."""

from dataclasses import dataclass
from typing import Any

from bdc_agents.types.literals import evaluate

from .inside.values import Decoder

__all__ = ["NotAValueError", "Opaque", "decode", "evaluate", "hashed_parts"]

_HASHED_AT_LEAST = 1000


@dataclass(frozen=True, eq=False, repr=False)
class Opaque:
    """A value of another type, known by its description only; equal to no expected value."""

    kind: str
    text: str

    def __repr__(self) -> str:
        return self.text


class NotAValueError(ValueError):
    """What came out of a sandbox is not the encoding of a value."""


def hashed_parts(value: Any) -> int:
    """How many members of sets and keys of dictionaries a value holds, at all depths."""
    if isinstance(value, dict):
        return len(value) + sum(map(hashed_parts, (*value, *value.values())))
    if isinstance(value, (list, tuple, set, frozenset)):
        own = len(value) if isinstance(value, (set, frozenset)) else 0
        return own + sum(map(hashed_parts, value))
    return 0


def decode(data: Any, like: tuple[Any, ...] = ()) -> Any:
    """The value that `values.encode` made this JSON data of.

    A program may have forged it. Members whose hashes collide make a set slow to build, so no
    more are taken than the accepted values can need.

    Args:
        data: As `json.loads` gave it.
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
