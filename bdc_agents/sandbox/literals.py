"""Expected values as Python source, and values that left a sandbox: both become built-in types."""

import ast
import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from bdc_agents.errors import ProblemError
from bdc_agents.syntax import long_integers, syntax_tree

from .inside.values import Decoder

_NAMES = {"nan": math.nan, "inf": math.inf, "nanj": complex(0, math.nan), "infj": complex(0, math.inf)}
_TYPES: dict[str, Callable[..., Any]] = {
    kind.__name__: kind for kind in (set, frozenset, list, tuple, dict, float, complex)
}
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


@lru_cache(maxsize=4096)
def evaluate(source: str) -> Any:
    """The value of a Python literal, or of `set()`, `frozenset({1})`, `float("inf")` and the like.

    No code runs: only literals, signs, `a + bj`, `nan`, `inf` and constructors of built-in types.
    The value is shared between calls; leave it as it is.

    Raises:
        ProblemError: If it is anything else.
    """
    try:
        with long_integers():
            return _evaluate(syntax_tree(source.strip(), "eval").body)
    except (SyntaxError, ValueError, TypeError, RecursionError, MemoryError) as error:
        raise ProblemError(
            f"expected value {source[:80]!r} cannot be used: {error}; write a Python literal such as "
            "[1, 2.5] or set(), or use a test of kind 'script'"
        ) from None


def _evaluate(node: ast.expr) -> Any:
    match node:
        case ast.Constant(value=value) if value is not ...:
            return value
        case ast.List(elts=items):
            return [_evaluate(item) for item in items]
        case ast.Tuple(elts=items):
            return tuple(_evaluate(item) for item in items)
        case ast.Set(elts=items):
            return {_evaluate(item) for item in items}
        case ast.Dict(keys=keys, values=values) if None not in keys:
            return {_evaluate(key): _evaluate(value) for key, value in zip(keys, values, strict=True) if key}
        case ast.UnaryOp(op=ast.USub() | ast.UAdd() as sign, operand=operand):
            number = _number(operand)
            return -number if isinstance(sign, ast.USub) else number
        case ast.BinOp(left=left, op=ast.Add() | ast.Sub() as sign, right=right):
            one, other = _number(left), _number(right)
            return one - other if isinstance(sign, ast.Sub) else one + other
        case ast.Name(id=name) | ast.Attribute(value=ast.Name(id="math"), attr=name) if name in _NAMES:
            return _NAMES[name]
        case ast.Call(func=ast.Name(id=name), args=arguments, keywords=[]) if name in _TYPES:
            return _TYPES[name](*map(_evaluate, arguments))
    raise ValueError(f"{ast.unparse(node)[:40]!r} is no literal")


def _number(node: ast.expr) -> Any:
    value = _evaluate(node)
    if not isinstance(value, (int, float, complex)):
        raise ValueError(f"{value!r} is no number")
    return value


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
