"""What a program answers to which literal inputs, read from its syntax tree."""

import ast
from collections import Counter
from collections.abc import Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from bdc_agents.runs.cheats.conditions import Condition, condition, pattern
from bdc_agents.runs.cheats.literals import NOTHING, comparable, fold
from bdc_agents.runs.cheats.reach import entry_definition, opened, reached
from bdc_agents.runs.cheats.tables import tables

_LITERALS = (ast.Constant, ast.List, ast.Tuple, ast.Set, ast.Dict)
_PRINTS = 50
"""Statements that print one after the other and are read as one answer, at most."""
_READERS = {"get", "index", "items", "keys", "values", "count", "copy"}


class Answer(NamedTuple):
    """A literal that a program returns or prints, and the literals its input is compared with before.

    Args:
        value: The literal.
        when: What the input is compared with.
        either: Whether one of these is enough.
        line: From 1.
        group: The function or table it stands in.
    """

    value: Hashable
    when: tuple[Hashable, ...]
    either: bool
    line: int
    group: tuple[Hashable, ...]


@dataclass
class Program:
    """A program as its syntax tree shows it.

    Args:
        body: The statements that take part in its answer.
        entry: The function that is called; None where the program reads stdin.
        names: Values of names that are bound once, to a literal.
        answers: Its literal answers.
    """

    body: list[ast.stmt]
    entry: str | None
    names: dict[str, Any] = field(default_factory=dict)
    answers: list[Answer] = field(default_factory=list)

    @property
    def definition(self) -> Any:
        """The function that is called, where it is one."""
        return entry_definition(self.body, self.entry)

    def nodes(self) -> Iterator[ast.AST]:
        """Every node that takes part."""
        for stmt in self.body:
            yield from ast.walk(stmt)

    def literals(self) -> Iterator[tuple[Hashable, int]]:
        """Every literal with its line, docstrings left out."""
        docstrings = {id(node.value) for node in self.nodes() if isinstance(node, ast.Expr)}
        for node in self.nodes():
            if isinstance(node, _LITERALS) and id(node) not in docstrings:
                value = fold(node)
                if value is not NOTHING:
                    yield comparable(value), node.lineno


def read_program(tree: ast.Module, entry: str | None) -> Program:
    """Reads a program.

    Args:
        tree: The whole of it.
        entry: The function that is called; None where it reads stdin.
    """
    if entry and "." in entry:
        tree, entry = opened(tree, entry)
    body = reached(tree, entry)
    program = Program(body, entry)
    program.names = _constants(program.nodes())
    reader = _Reader(program)
    reader.block(body, Condition(), ("module",))
    for group, when, value, line in tables(program.nodes(), program.names):
        program.answers.append(Answer(reader.value(value), tuple(map(comparable, when)), False, line, group))
    return program


def _constants(nodes: Iterable[ast.AST]) -> dict[str, Any]:
    """The names that are bound once, and to a literal."""
    times: Counter[str] = Counter()
    values: dict[str, Any] = {}
    changed: set[str] = set()
    for node in nodes:
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            times[node.id] += 1
        elif isinstance(node, ast.arg):
            times[node.arg] += 2
        elif isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            value = fold(node.value)
            if value is not NOTHING:
                values[node.targets[0].id] = value
        changed |= _changed(node)
    return {name: value for name, value in values.items() if times[name] == 1 and name not in changed}


def _changed(node: ast.AST) -> set[str]:
    """Names whose list, set or dict a node may change."""
    match node:
        case ast.Call(func=ast.Attribute(value=ast.Name(id=name), attr=method)) if method not in _READERS:
            return {name}
        case ast.Subscript(value=ast.Name(id=name), ctx=ast.Store() | ast.Del()):
            return {name}
        case ast.Call(func=ast.Attribute(), args=arguments):  # Such as heapq.heappush(heap, item).
            return {item.id for item in arguments if isinstance(item, ast.Name)}
    return set()


class _Reader:
    """Walks statements and keeps what the input was compared with on the way."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self.names = program.names

    def value(self, value: Any) -> Hashable:
        """An answer as tests accept it: for a program that prints, its words."""
        if value is NOTHING or self.program.entry:
            return comparable(value)
        parts = value if isinstance(value, list | tuple) else [value]
        return comparable(tuple(word for part in parts for word in str(part).split()))

    def block(self, body: Sequence[ast.stmt], when: Condition, group: tuple[Hashable, ...]) -> None:
        """Reads statements that follow each other."""
        for at, stmt in enumerate(body):
            match stmt:
                case ast.FunctionDef() | ast.AsyncFunctionDef():
                    self.block(stmt.body, Condition(), ("function", stmt.lineno))
                case ast.If():
                    met, unmet = condition(stmt.test, self.names)
                    self.block(stmt.body, when & met, group)
                    self.block(stmt.orelse, when & unmet, group)
                    if isinstance(stmt.body[-1], ast.Return | ast.Raise | ast.Continue | ast.Break):
                        when = when & unmet
                case ast.Assert():
                    when = when & condition(stmt.test, self.names)[0]
                case ast.Match():
                    for case in stmt.cases:
                        met = pattern(case.pattern, self.names)
                        met = met & condition(case.guard, self.names)[0] if case.guard else met
                        self.block(case.body, when & met, group)
                case ast.Return(value=value) | ast.Assign(value=value) | ast.AnnAssign(value=value):
                    self.answer(value, when, group)
                case ast.Expr(value=ast.Yield(value=value)):
                    self.answer(value, when, group)
                case ast.Expr(value=ast.Call()):
                    self.printed(body[at:], when, group)
                case _:
                    for inner in ("body", "handlers", "orelse", "finalbody"):
                        self.inner(getattr(stmt, inner, []), when, group)

    def inner(self, body: Sequence[ast.AST], when: Condition, group: tuple[Hashable, ...]) -> None:
        """Reads the blocks of a loop, a class, a `with` or a `try`."""
        self.block([stmt for stmt in body if isinstance(stmt, ast.stmt)], when, group)
        for handler in body:
            if isinstance(handler, ast.ExceptHandler):
                self.block(handler.body, when, group)

    def answer(self, node: ast.expr | None, when: Condition, group: tuple[Hashable, ...]) -> None:
        """Reads an expression whose value is an answer."""
        match node:
            case ast.IfExp():
                met, unmet = condition(node.test, self.names)
                self.answer(node.body, when & met, group)
                self.answer(node.orelse, when & unmet, group)
            case ast.BoolOp(values=values):
                for value in values:
                    self.answer(value, when, group)
                    if isinstance(node.op, ast.And):
                        when = when & condition(value, self.names)[0]
            case ast.Lambda():
                self.answer(node.body, Condition(), ("function", node.lineno))
            case ast.Subscript(value=ast.List(elts=items) | ast.Tuple(elts=items)):
                for item in items:
                    self.answer(item, when & condition(node.slice, self.names)[0], group)
            case ast.Compare() | ast.UnaryOp(op=ast.Not()):
                self.add(True, when & condition(node, self.names)[0], group, node.lineno)
            case ast.expr():
                self.add(fold(node, self.names), when, group, node.lineno)

    def printed(self, body: Sequence[ast.stmt], when: Condition, group: tuple[Hashable, ...]) -> None:
        """Reads a call that prints, with those that directly follow it."""
        parts: list[Any] = []
        for stmt in body[:_PRINTS]:
            texts = _printed(stmt, self.names)
            if texts is None:
                break
            parts += texts
            self.add(parts[:], when, group, body[0].lineno)
        match body[0]:
            case ast.Expr(value=ast.Call(func=ast.Name(id="print"), args=[ast.IfExp() as only])):
                self.answer(only, when, group)

    def add(self, value: Any, when: Condition, group: tuple[Hashable, ...], line: int) -> None:
        if value is not NOTHING:
            met = tuple(dict.fromkeys(map(comparable, when.values)))
            self.program.answers.append(Answer(self.value(value), met, when.either, line, group))


def _printed(stmt: ast.stmt, names: dict[str, Any]) -> list[Any] | None:
    """What a statement prints, where it prints literals alone."""
    match stmt:
        case ast.Expr(
            value=ast.Call(func=ast.Name(id="print") | ast.Attribute(attr="write"), args=arguments)
        ):
            values = [fold(argument, names) for argument in arguments]
            return None if any(value is NOTHING for value in values) else values
    return None
