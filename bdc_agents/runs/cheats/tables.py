"""Tables: literals that pair inputs with answers."""

import ast
from collections.abc import Hashable, Iterable, Iterator, Mapping
from typing import Any

from bdc_agents.runs.cheats.literals import NOTHING, fold

Entry = tuple[tuple[Hashable, ...], tuple[Any, ...], Any, int]
"""The table, the input's literals, the answer, the line."""


def tables(nodes: Iterable[ast.AST], names: Mapping[str, Any]) -> Iterator[Entry]:
    """The entries of dicts, of lists of pairs, of zipped lists, and of items set one by one."""
    for node in nodes:
        group = ("table", getattr(node, "lineno", 0), getattr(node, "col_offset", 0))
        match node:
            case ast.Dict(keys=keys, values=values):
                for key, value in zip(keys, values, strict=True):
                    yield from _entry(group, [key], value, names, node.lineno)
            case ast.List(elts=items) | ast.Tuple(elts=items) | ast.Set(elts=items):
                for item in items:
                    if isinstance(item, ast.Tuple | ast.List) and len(item.elts) > 1:
                        yield from _entry(group, item.elts[:-1], item.elts[-1], names, item.lineno)
            case ast.Call(func=ast.Name(id="zip"), args=[one, other]):
                inputs, answers = _items(one, names), _items(other, names)
                if isinstance(inputs, list | tuple) and isinstance(answers, list | tuple):
                    for given, answer in zip(inputs, answers, strict=False):
                        yield group, (given,), answer, node.lineno
            case ast.Call(func=ast.Name(id="dict"), keywords=pairs):
                for pair in pairs:
                    yield group, (pair.arg,), fold(_body(pair.value), names), node.lineno
            case ast.Assign(targets=[ast.Subscript(value=ast.Name(id=name), slice=key)], value=value):
                yield from _entry(("items", name), [key], value, names, node.lineno)


def _entry(
    group: tuple[Hashable, ...],
    keys: list[ast.expr] | list[ast.expr | None],
    answer: ast.expr,
    names: Mapping[str, Any],
    line: int,
) -> Iterator[Entry]:
    values = tuple(fold(key, names) for key in keys)
    if not any(value is NOTHING for value in values):
        found = getattr(keys[0], "lineno", line)
        yield group, values if len(values) == 1 else (*values, values), fold(_body(answer), names), found


def _items(node: ast.expr, names: Mapping[str, Any]) -> Any:
    """A literal, whatever a call such as `map(repr, [...])` makes of its items."""
    parts = node.args if isinstance(node, ast.Call) else [node]
    return next((value for part in parts if (value := fold(part, names)) is not NOTHING), None)


def _body(node: ast.expr) -> ast.expr:
    """What a value is once it is used: that of a lambda is its body."""
    return node.body if isinstance(node, ast.Lambda) else node
