"""Evaluates expected values, which are Python literals; the one meaning of them for all of the package."""

import ast
import math
from collections.abc import Callable
from functools import lru_cache
from typing import Any

from bdc_agents.errors import ProblemError
from bdc_agents.syntax import long_integers, parse, syntax_tree

_NAMES = {"nan": math.nan, "inf": math.inf, "nanj": complex(0, math.nan), "infj": complex(0, math.inf)}
_TYPES: dict[str, Callable[..., Any]] = {
    kind.__name__: kind for kind in (set, frozenset, list, tuple, dict, float, complex)
}


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
        case _:
            raise ValueError(f"{ast.unparse(node)[:40]!r} is no literal")


def _number(node: ast.expr) -> Any:
    value = _evaluate(node)
    if not isinstance(value, (int, float, complex)):
        raise ValueError(f"{value!r} is no number")
    return value


def is_value(text: str) -> bool:
    """Whether some text is the source of a value that a test can expect."""
    try:
        evaluate(text)
    except ProblemError:
        return False
    return True


def is_literal(text: str) -> bool:
    """Whether some code is one Python literal, such as `[1, 2]` or `"a"`."""
    with long_integers():
        tree = parse(text.strip())
    if tree is None or len(tree.body) != 1 or not isinstance(tree.body[0], ast.Expr):
        return False
    return is_literal_node(tree.body[0].value)


def is_literal_node(node: ast.expr) -> bool:
    """Whether an expression is a Python literal."""
    try:
        ast.literal_eval(node)
    except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError):
        return False
    return True


def source_of(value: Any) -> str:
    """The Python source of a value that came as JSON.

    Raises:
        ValueError: If it cannot be written: an integer is too long, or it is nested too deeply.
    """
    try:
        with long_integers():
            return repr(value)
    except RecursionError:
        raise ValueError("a value that is nested too deeply") from None
