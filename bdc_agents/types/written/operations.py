"""Reads tests of a class in two lists, as LeetCode has them: names of operations, and their arguments.

The first operation makes the object, the others call its methods in turn. The test becomes an ordinary
call: a setup that keeps what the methods give, and the list of that.
"""

import ast
import json
import re
from collections.abc import Sequence
from typing import Any, NamedTuple

from bdc_agents.syntax import parse
from bdc_agents.types.literals import source_of
from bdc_agents.types.tests import CallTest
from bdc_agents.types.written.parts import Unread, is_finite, is_list, short

MOST_OPERATIONS = 20_000
"""Most operations of one test: LeetCode allows 10,000 or so, and each is a line that is parsed."""
_SEPARATOR = re.compile(r"[\s,;]*(?:[A-Za-z_]\w*\s*[=:]\s*)?")
"""What stands before a value of a line: a comma, a new line, or the value's name as in `args = `."""
_OBJECT, _RESULTS = "obj", "results"
"""Names of a setup; LeetCode's own examples call the object so."""


class Operations(NamedTuple):
    """The operations of one test.

    Args:
        names: A class, then methods of its object.
        args: The arguments of each.
        expected: What each gives; None of the class, and where there is nothing to compare.
    """

    names: Sequence[str]
    args: Sequence[Sequence[Any]]
    expected: Sequence[Any]


def find_operations(given: Any, expected: Any) -> Operations | None:
    """The operations that a test holds which does not say so; None where it looks like anything else.

    Args:
        given: The two lists, or a text of them.
        expected: A list, or a text of one.
    """
    lists = _values(given) if isinstance(given, str) else given
    if not is_list(lists) or len(lists) != 2 or not _are_names(lists[0]):
        return None
    if isinstance(expected, str):
        values = _values(expected)
        expected = values[0] if len(values) == 1 else None
    names, args = lists
    alike = is_list(args) and is_list(expected) and len(names) == len(args) == len(expected)
    if not alike or expected[0] is not None or not all(map(is_list, args)):
        return None
    return Operations(names, args, expected)


def operations_of(names: Any, args: Any, expected: Any) -> Operations:
    """The operations of a test that names them as such.

    Raises:
        Unread: If they are none.
    """
    if not _are_names(names):
        raise Unread(
            'operations: names in a list, first the class and then methods, such as ["Stack", "push", "top"] '
            f"(found {short(names)})"
        )
    if isinstance(expected, str):
        values = _values(expected)
        expected = values[0] if len(values) == 1 else expected
    for what, found in (("args", args), ("expected", expected)):
        if not is_list(found) or len(found) != len(names):
            inside = "the list of its arguments" if what == "args" else "what it gives, null of the class"
            count = f"{len(found)} entries" if is_list(found) else short(found)
            raise Unread(
                f"{what}: a list with one entry for each of the {len(names)} operations, {inside}; found "
                f"{count}"
            )
    odd = next((one for one in args if not is_list(one)), None)
    if odd is not None:
        raise Unread(
            f"args: the arguments of one operation stand in a list, such as [[], [1]]; found {short(odd)}"
        )
    if names[0] in names[1:]:
        raise Unread(f"operations: {no_class(names[0])}")
    if expected[0] is not None:
        raise Unread(
            f"expected: null for the class {names[0]}, which makes the object; found {short(expected[0])}; "
            f"{no_class(names[0])}"
        )
    return Operations(names, args, expected)


def no_class(name: str) -> str:
    """Says what to add where the first of some operations is a method."""
    return (
        f"the first operation makes the object, so it is the class: if {name} is a method, put the class "
        'before it, as in "operations": ["Stack", "push", "top"], "args": [[], [1], []], '
        '"expected": [null, null, 1]'
    )


def class_made(test: CallTest) -> str:
    """The class of which a test of operations makes an object; empty for another test."""
    found = _MAKES.match(test.setup)
    return found[1] if found else ""


_MAKES = re.compile(rf"{_RESULTS} = \[\]\n{_OBJECT} = (\w+)\(")


def operations_test(operations: Operations) -> CallTest:
    """The operations as a test: the results that are compared, after code that keeps them.

    LeetCode writes null for a method that returns nothing, whatever a program's returns. So null is
    compared, with None, only for a method that gives a value elsewhere in the test; or if no method does.

    Raises:
        Unread: If they are too many, or an argument cannot be written.
    """
    names, args, expected = operations
    if len(names) > MOST_OPERATIONS:
        raise Unread(f"{len(names):,} operations; {MOST_OPERATIONS:,} at most make a test")
    if len(names) < 2:
        raise Unread(f"{names[0]} is made and nothing is called, so any class would pass; add a method")
    giving = {name for name, value in zip(names[1:], expected[1:], strict=True) if value is not None}
    compared = giving or set(names[1:])
    if not all(map(is_finite, args)):
        raise Unread("NaN and Infinity have no names in a program; write the calls in code")
    try:
        calls = [f"({', '.join(map(source_of, one))})" for one in args]
        lines = [f"{_RESULTS} = []", f"{_OBJECT} = {names[0]}{calls[0]}"]
        for name, call in zip(names[1:], calls[1:], strict=True):
            line = f"{_OBJECT}.{name}{call}"
            lines.append(f"{_RESULTS}.append({line})" if name in compared else line)
        values = [value for name, value in zip(names[1:], expected[1:], strict=True) if name in compared]
        return CallTest(call=_RESULTS, expected=(source_of(values),), setup="\n".join(lines))
    except ValueError as error:
        raise Unread(f"operations that cannot be written as calls: {error}") from None


def _are_names(value: Any) -> bool:
    return (
        is_list(value)
        and bool(value)
        and all(isinstance(name, str) and name.isidentifier() for name in value)
    )


def _values(text: str) -> list[Any]:
    """The values that a text has one after another, as JSON or as Python; empty if it has anything else."""
    text = text.strip()
    if "[" not in text[:80]:  # Tests of megabytes on stdin are not looked through.
        return []
    decoder, found, place = json.JSONDecoder(), list[Any](), 0
    try:
        while place < len(text):
            place = _SEPARATOR.match(text, place).end()  # type: ignore[union-attr]  # it matches nothing, too
            value, place = decoder.raw_decode(text, place)
            found.append(value)
    except (ValueError, RecursionError):
        return _python_values(text)
    return found


def _python_values(text: str) -> list[Any]:
    tree = parse(f"f({','.join(text.splitlines())})")
    call = tree.body[0].value if tree and isinstance(tree.body[0], ast.Expr) else None
    if not isinstance(call, ast.Call):
        return []
    nodes = [*call.args, *(keyword.value for keyword in call.keywords)]
    try:
        return [ast.literal_eval(node) for node in nodes]
    except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError):
        return []
