"""What public tests give a program and accept from it, as values to compare literals with."""

import ast
import re
from collections.abc import Hashable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from bdc_agents.runs.cheats.literals import NOTHING, comparable, fold
from bdc_agents.syntax import parse
from bdc_agents.types import CallTest, Problem, ScriptTest, StdinTest, TestCase

_FEW = 6
_CANDIDATE = "candidate"
"""What test code that is given a function calls it."""


@dataclass(frozen=True)
class Known:
    """What one public test gives a program, and what it accepts.

    Args:
        number: Of the test, from 1.
        parts: The arguments, or pieces of stdin, each in the forms it may be compared in.
        wholes: All of them together.
        answers: What is accepted.
    """

    number: int
    parts: frozenset[Hashable]
    wholes: frozenset[Hashable]
    answers: frozenset[Hashable]

    def gives(self, value: Hashable) -> bool:
        """Whether a literal is what this test gives, or an argument of it."""
        return value in self.parts or value in self.wholes


def known_values(problem: Problem) -> tuple[Known, ...]:
    """What the public tests give and accept; tests whose values are no literals are left out."""
    return tuple(
        _known(number, *example)
        for number, test in enumerate(problem.public_tests, 1)
        for example in _examples(test, problem.entry_point)
    )


def known_examples(problem: Problem) -> tuple[tuple[tuple[Any, ...], tuple[Any, ...]], ...]:
    """The literal arguments of each public call, with the values it may have."""
    return tuple(e for test in problem.public_tests for e in _examples(test, problem.entry_point))


def _known(number: int, given: tuple[Any, ...], answers: tuple[Any, ...]) -> Known:
    parts = {form for value in given for form in _forms(value)}
    wholes = {form for value in _together(given) for form in _forms(value)}
    return Known(number, frozenset(parts), frozenset(wholes), frozenset(map(comparable, answers)))


def _forms(value: Any) -> Iterator[Hashable]:
    """A value as a program may compare it: itself, and its text."""
    yield comparable(value)
    if not isinstance(value, str):
        try:
            yield from (repr(value), repr(value).replace(" ", ""))
        except ValueError:  # Python writes no integer of more than 4,300 digits
            return


def _together(given: tuple[Any, ...]) -> Iterator[Any]:
    yield given
    if len(given) == 1:
        yield given[0]
    if len(given) <= _FEW:
        texts = [str(value) for value in given]
        yield from (separator.join(texts) for separator in (",", ", ", " ", "-", "|"))


def _examples(test: TestCase, entry: str | None) -> Iterator[tuple[tuple[Any, ...], tuple[Any, ...]]]:
    """What a test gives and accepts; several where test code states several."""
    if isinstance(test, StdinTest):
        yield tuple(_pieces(test.stdin)), tuple(_printed(text) for text in test.expected)
    elif isinstance(test, CallTest):
        answers = tuple(value for text in test.expected if (value := _read(text)) is not NOTHING)
        yield from ((given, answers) for given in _calls(parse(test.call), entry))
    elif isinstance(test, ScriptTest):
        tree = parse(test.code)
        for node in ast.walk(tree) if tree else ():
            if isinstance(node, ast.Assert):
                yield from ((given, _stated(node.test)) for given in _calls(node.test, entry))


def _calls(tree: ast.AST | None, entry: str | None) -> Iterator[tuple[Any, ...]]:
    """The literal arguments of each call of the entry point, or of a method of an object of it."""
    name = re.split(r"[.(]", entry)[0] if entry else None
    method = entry.rpartition(".")[2] if entry and "." in entry else None
    for node in ast.walk(tree) if tree else ():
        if isinstance(node, ast.Call) and (
            _called(node.func) in (name, _CANDIDATE)
            or (isinstance(node.func, ast.Attribute) and node.func.attr == method)
        ):
            arguments = [*node.args, *(keyword.value for keyword in node.keywords)]
            values = tuple(value for part in arguments if (value := fold(part)) is not NOTHING)
            if values:
                yield values


def _called(function: ast.expr) -> str:
    """The name of what is called; of a method, that of the class that made its object."""
    if isinstance(function, ast.Attribute):
        made = function.value
        return _called(made.func) if isinstance(made, ast.Call) else ""
    return function.id if isinstance(function, ast.Name) else ""


def _stated(test: ast.expr) -> tuple[Any, ...]:
    """What an assertion says the call is: one side of `==`, or true, or false."""
    if isinstance(test, ast.Compare):
        sides = (fold(side) for side in (test.left, *test.comparators))
        return tuple(value for value in sides if value is not NOTHING)
    return (not isinstance(test, ast.UnaryOp),)


def _read(text: str) -> Any:
    tree = parse(text.strip())
    body = tree.body[0] if tree and len(tree.body) == 1 else None
    return fold(body.value) if isinstance(body, ast.Expr) else NOTHING


def _pieces(stdin: str) -> Iterator[Any]:
    """A text on stdin as a program may hold it: whole, by lines, by words, as numbers."""
    lines = stdin.strip().splitlines()
    yield from (stdin, stdin.strip(), lines, [line.split() for line in lines], stdin.split())
    for words in (stdin.split(), *(line.split() for line in lines)):
        yield from (words, numbers(words), " ".join(words))
    yield from (numbers(line.split()) for line in lines)
    yield [numbers(line.split()) for line in lines]
    if len(stdin.split()) <= _FEW:
        yield from numbers(stdin.split())


def numbers(words: Iterable[str]) -> list[Any]:
    """Words, with those that are numbers as numbers."""
    return [_number(word) for word in words]


def _number(word: str) -> Any:
    try:
        return float(word) if "." in word else int(word)
    except ValueError:
        return word


def _printed(text: str) -> Any:
    return tuple(text.split())
