"""Reads tests whose meaning depends on whether the problem asks for a function, and which."""

import ast
import re
from typing import Any, NamedTuple

from bdc_agents.syntax import parse
from bdc_agents.types.literals import is_value, source_of
from bdc_agents.types.tests import CallTest, StdinTest, TestCase
from bdc_agents.types.written.operations import Operations, find_operations, operations_test
from bdc_agents.types.written.parts import (
    Unread,
    accepted_texts,
    is_expression,
    is_finite,
    is_list,
    is_object,
    no_value,
)


class Later(NamedTuple):
    """A test whose meaning depends on the function to write, if any, which other tests may name.

    Args:
        shown: The test as it was written, for messages.
        given: A text, or the arguments as JSON: a list, or an object of names.
        expected: A text; or, with arguments as JSON, the value.
        function: The function that the test names; None if it names none.
        line: Whether the texts stand on one line, where a written `\\n` is a new line.
    """

    shown: str
    given: Any
    expected: Any
    function: str | None = None
    line: bool = False


class Arguments(NamedTuple):
    """The arguments of a function as JSON."""

    args: list[Any]
    kwargs: dict[str, Any]


def resolved(test: Later, function: str | None) -> TestCase:
    """Turns a test into its final form, once the function to write is known.

    Args:
        test: The test as it was read.
        function: The function to write; None for a whole program.

    Raises:
        Unread: If it is no test of that.
    """
    operations = operations_in(test)
    if operations and _root(function) in (None, operations.names[0]):
        return operations_test(operations)
    if isinstance(test.given, str):
        return _with_text(test, function)
    if function is None:
        raise Unread(
            f"arguments of which function? name it as the problem's entry_point, or write the call: "
            f'"f(1, 2) -> 3" (found {test.shown})'
        )
    if isinstance(test.given, Arguments):
        args, kwargs = test.given
    elif is_object(test.given):
        args, kwargs = [], test.given
    else:
        args, kwargs = test.given, {}
    if not is_list(args) or not all(isinstance(key, str) and key.isidentifier() for key in kwargs):
        raise Unread(
            f'arguments stand in a list, or in an object by their names: "args": [2, 3] ({test.shown})'
        )
    if not is_finite([*args, *kwargs.values()]):
        raise Unread(f"NaN and Infinity have no names in a program; write the call in code ({test.shown})")
    try:
        given = [source_of(value) for value in args]
        given += [f"{name}={source_of(value)}" for name, value in kwargs.items()]
        return CallTest(call=f"{function}({', '.join(given)})", expected=(source_of(test.expected),))
    except ValueError as error:
        raise Unread(f"{test.shown} cannot be written as a call: {error}") from None


def operations_in(test: Later) -> Operations | None:
    """The operations of a class that a test holds; None where it looks like anything else."""
    given, kwargs = test.given if isinstance(test.given, Arguments) else (test.given, {})
    return None if kwargs or test.function else find_operations(given, test.expected)


def _root(function: str | None) -> str | None:
    """The name of a function, or of the class whose method it is."""
    return function and re.split(r"[.(]", function)[0]


def _with_text(test: Later, function: str | None) -> TestCase:
    """A test of text: on stdin, unless a function is to be written; then the arguments of a call."""
    if function is None:
        if _is_named_arguments(test.given):
            raise Unread(
                f"{test.shown} looks like the arguments of a function: name it as the problem's entry_point; "
                'text for a program is {"stdin": ..., "expected": ...}'
            )
        if test.line and any(map(_is_quoted, (test.given, test.expected))):
            raise Unread(
                f"{test.shown}: are the quotes part of the text? Write the call of a function, as in "
                '"f(...) -> value", or for a program {"stdin": "the input", "expected": "the output"}'
            )
        if not test.line:
            return StdinTest(stdin=test.given, expected=accepted_texts(test.expected))
        given, expected = (text.replace("\\n", "\n") for text in (test.given, test.expected))
        return StdinTest(stdin=f"{given}\n", expected=(f"{expected}\n",))
    call = f"{function}({test.given})"
    hint = (
        f'write the call: "{function}(...) -> value"; {{"stdin": ..., "expected": ...}} is a whole program\'s'
    )
    if not is_expression(call):
        raise Unread(f"{test.shown}: {function} is to be written, and this is not a call of it; {hint}")
    expected = test.expected if isinstance(test.expected, str) else source_of(test.expected)
    if not is_value(expected):
        raise Unread(no_value(call, expected))
    return CallTest(call=call, expected=(expected,))


def _is_quoted(text: str) -> bool:
    """Whether a text is a literal of a text, quotes and all."""
    return text[:1] in ("'", '"') and is_value(text)


def _is_named_arguments(text: str) -> bool:
    """Whether a text is such as `nums = [2, 7], target = 9`."""
    tree = parse(f"f({text}\n)") if "=" in text else None
    call = tree.body[0].value if tree and len(tree.body) == 1 and isinstance(tree.body[0], ast.Expr) else None
    return isinstance(call, ast.Call) and bool(call.keywords) and not call.args
