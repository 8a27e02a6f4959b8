"""Literals: their values, in a form in which they can be compared, and how much they say."""

import ast
import math
from collections.abc import Hashable, Iterator, Mapping
from typing import Any

NOTHING: Any = object()
"""What `fold` returns where an expression is no literal."""

_CALLS = {kind.__name__: kind for kind in (tuple, list, set, frozenset, str, int, float, repr)}
_LONGEST = 10_000
_LARGEST = 1 << 256
_DIGITS = {*"3456789"}


def comparable(value: Any) -> Hashable:
    """A value such that equal ones are equal whatever sequence type holds them; True is not 1."""
    if isinstance(value, bool):
        return ("bool", value)
    if isinstance(value, list | tuple):
        return ("sequence", *map(comparable, value))
    if isinstance(value, set | frozenset):
        return ("set", frozenset(map(comparable, value)))
    if isinstance(value, dict):
        return ("map", frozenset((comparable(key), comparable(item)) for key, item in value.items()))
    return "nan" if value != value else value


def weight(value: Hashable) -> int:
    """How unlikely it is that a literal of this value stands in a program by chance.

    About the number of its digits or letters. 0 for the natural base cases (0, 1, 2, -1, a
    letter, an empty list); a word counts little, as programs name things.
    """
    if _is_natural(value):
        return 0
    if isinstance(value, str):
        return 3 if value.replace("_", "").isalpha() else len("".join(value.split()))
    if isinstance(value, int):
        return 1 + int(math.log10(2) * value.bit_length())
    if isinstance(value, tuple | frozenset):
        return sum(max(1, weight(item)) for item in _items(value))
    return sum(character.isdigit() for character in repr(value))


def _is_natural(value: Hashable) -> bool:
    if value is None or (isinstance(value, int | float) and -2 <= value <= 2):
        return True
    if isinstance(value, str | bytes):
        return len(value) <= 1 and value not in _DIGITS
    if isinstance(value, tuple | frozenset):
        items = list(_items(value))
        return len(items) == 0 or (len(items) == 1 and _is_natural(items[0]))
    return False


def _items(value: tuple[Hashable, ...] | frozenset[Hashable]) -> Iterator[Hashable]:
    """The members of what `comparable` made of a container; None for another value."""
    if isinstance(value, frozenset):
        yield from value
    elif value[0] == "bool":
        yield None
    elif value[0] == "sequence":
        yield from value[1:]
    elif isinstance(value[-1], frozenset):
        for item in value[-1]:
            yield from item if value[0] == "map" and isinstance(item, tuple) else (item,)


# --- folding -----------------------------------------------------------------------------------


def fold(node: ast.AST | None, names: Mapping[str, Any] | None = None) -> Any:
    """The value of a literal, or of a sum, product or conversion of literals; else `NOTHING`.

    Args:
        node: An expression.
        names: Values of names that are bound once.
    """
    try:
        return _fold(node, names or {})
    except (ValueError, TypeError, ArithmeticError, RecursionError, KeyError):
        return NOTHING


def _fold(node: ast.AST | None, names: Mapping[str, Any]) -> Any:
    match node:
        case ast.Constant(value=value) if value is not ...:
            return value
        case ast.Name(id=name):
            return names[name]
        case ast.List(elts=items):
            return [_fold_item(item, names) for item in items]
        case ast.Tuple(elts=items):
            return tuple(_fold_item(item, names) for item in items)
        case ast.Set(elts=items):
            return {_fold_item(item, names) for item in items}
        case ast.Dict(keys=keys, values=values) if None not in keys:
            pairs = zip(keys, values, strict=True)
            return {_fold_item(key, names): _fold_item(value, names) for key, value in pairs}
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return -_fold_item(operand, names)
        case ast.BinOp(left=left, op=op, right=right):
            return _operate(op, _fold_item(left, names), _fold_item(right, names))
        case ast.Call(func=ast.Name(id=name), args=arguments, keywords=[]) if name in _CALLS:
            return _CALLS[name](*(_fold_item(argument, names) for argument in arguments))
    return NOTHING


def _fold_item(node: ast.AST | None, names: Mapping[str, Any]) -> Any:
    value = _fold(node, names)
    if value is NOTHING:
        raise ValueError("not a literal")
    return value


def _operate(op: ast.operator, left: Any, right: Any) -> Any:
    """Arithmetic whose result stays small, whatever a program asks for."""
    if not _is_small(left) or not _is_small(right):
        return NOTHING
    if isinstance(op, ast.Add):
        return left + right
    if isinstance(op, ast.Sub):
        return left - right
    sized = [len(side) for side in (left, right) if hasattr(side, "__len__")]
    if isinstance(op, ast.Mult):
        count = max(1, *(side for side in (left, right) if isinstance(side, int)), 1)
        return left * right if not sized or sized[0] * count <= _LONGEST else NOTHING
    return left // right if isinstance(op, ast.FloorDiv) and not sized else NOTHING


def _is_small(value: Any) -> bool:
    return len(value) <= _LONGEST if hasattr(value, "__len__") else abs(value) <= _LARGEST
