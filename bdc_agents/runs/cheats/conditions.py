"""Conditions: the literals that the input is compared with."""

import ast
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from bdc_agents.runs.cheats.literals import NOTHING, fold


class Condition(NamedTuple):
    """What a condition compares with.

    Args:
        values: The literals.
        either: Whether one of them is enough.
    """

    values: tuple[Any, ...] = ()
    either: bool = False

    def __and__(self, other: "Condition") -> "Condition":
        return Condition((*self.values, *other.values), self.either or other.either)


def condition(node: ast.expr, names: Mapping[str, Any]) -> tuple[Condition, Condition]:
    """What holds where an expression is true, and where it is false."""
    match node:
        case ast.BoolOp(op=op, values=values):
            parts = [condition(value, names) for value in values]
            met, unmet = (_joined(side) for side in zip(*parts, strict=True))
            if isinstance(op, ast.Or):
                return met._replace(either=len(met.values) > 1), unmet
            return met, unmet._replace(either=len(unmet.values) > 1)
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            met, unmet = condition(operand, names)
            return unmet, met
        case ast.Call(func=ast.Name(id="all" | "bool"), args=[argument]):
            items = argument.elts if isinstance(argument, ast.List | ast.Tuple | ast.Set) else [argument]
            return _joined(condition(item, names)[0] for item in items), Condition()
        case ast.Call(func=ast.Name(id="eq") | ast.Attribute(attr="eq" | "__eq__"), args=arguments):
            return Condition(_literals(arguments, names)), Condition()
        case ast.Compare(left=left, ops=ops, comparators=rights):
            sides = zip([left, *rights], ops, rights, strict=False)
            parts = [_comparison(*side, names) for side in sides]
            met, unmet = (_joined(side) for side in zip(*parts, strict=True))
            return met, unmet
    return Condition(), Condition()


def _comparison(
    left: ast.expr, op: ast.cmpop, right: ast.expr, names: Mapping[str, Any]
) -> tuple[Condition, Condition]:
    values = _literals((left, right), names)
    if isinstance(op, ast.In | ast.NotIn):
        held = fold(right, names)
        values = tuple(held) if isinstance(held, list | tuple | set | frozenset | dict) else ()
        found = Condition(values, len(values) > 1)
    elif len(values) == 1:
        # `(m, n) == (2, 3)` compares each of them too.
        subject = left if fold(left, names) is NOTHING else right
        spread = isinstance(subject, ast.Tuple | ast.List) and isinstance(values[0], list | tuple)
        found = Condition((*values, *(values[0] if spread else ())))
    else:
        found = Condition()
    if isinstance(op, ast.Eq | ast.Is | ast.In):
        return found, Condition()
    return (
        (Condition(), found)
        if isinstance(op, ast.NotEq | ast.IsNot | ast.NotIn)
        else (Condition(), Condition())
    )


def pattern(node: ast.pattern, names: Mapping[str, Any]) -> Condition:
    """What a pattern of a `match` compares with."""
    match node:
        case ast.MatchValue(value=value):
            return Condition(_literals([value], names))
        case ast.MatchSingleton(value=value):
            return Condition((value,))
        case ast.MatchOr(patterns=patterns):
            return _joined(pattern(item, names) for item in patterns)._replace(either=True)
        case ast.MatchSequence(patterns=patterns):
            parts = [pattern(item, names) for item in patterns]
            if all(len(part.values) == 1 for part in parts):
                return Condition((tuple(part.values[0] for part in parts),))
            return _joined(parts)
        case ast.MatchClass(patterns=[inner]) | ast.MatchAs(pattern=ast.pattern() as inner):
            return pattern(inner, names)
    return Condition()


def _joined(parts: Iterable[Condition]) -> Condition:
    found = Condition()
    for part in parts:
        found = found & part
    return found


def _literals(nodes: Iterable[ast.expr], names: Mapping[str, Any]) -> tuple[Any, ...]:
    return tuple(value for node in nodes if (value := fold(node, names)) is not NOTHING)
