"""Reads tests that are written as code, such as `assert f(1) == 2`."""

import ast
import builtins
import re
from collections.abc import Iterable, Iterator

from bdc_agents.errors import ProblemError
from bdc_agents.syntax import long_integers, parse
from bdc_agents.types.literals import is_literal_node
from bdc_agents.types.tests import CallTest, ScriptTest, TestCase


def case_from_assert(text: str, *, setup: str = "", source: str = "test") -> CallTest | ScriptTest:
    """The test that an assert states.

    `assert EXPRESSION == LITERAL` becomes a `CallTest`, whose value is compared outside the
    program's process; any other code becomes a `ScriptTest`.

    Args:
        text: The assert, or several lines of test code.
        setup: Code the test needs, such as imports; it runs after the program.
        source: Where the test comes from; named in errors.

    Raises:
        ProblemError: If the text is not Python.
    """
    text = text.replace("\r\n", "\n").strip()
    with long_integers():
        tree = parse(text)
        parts = _equality(tree) if tree and tree.body else None
        sides = [ast.get_source_segment(text, part) or ast.unparse(part) for part in parts or ()]
    if tree is None or not tree.body:
        raise ProblemError(f'{source}: not a test: {text!r:.120}; write it as "assert f(1) == 2"')
    if not sides:
        return ScriptTest(code=f"{setup}\n{text}" if setup else text)
    call, expected = sides
    return CallTest(call=call, expected=(expected,), setup=setup)


def asserts_something(code: str) -> bool:
    """Whether test code can fail for anything but an error of the program.

    It can by an `assert` of something that depends on the program, by a call whose name says that
    it asserts or exits, and by a `raise`; tests of pytest's and unittest's forms are run, so what
    stands in them counts.

    Args:
        code: Python code.
    """
    tree = parse(code)
    return tree is not None and any(_can_fail(node) for node in _reached(tree))


def _reached(node: ast.AST) -> Iterator[ast.AST]:
    """All nodes but those under a condition that never holds."""
    yield node
    for child in ast.iter_child_nodes(node):
        never = isinstance(child, ast.If) and isinstance(child.test, ast.Constant) and not child.test.value
        if not never:
            yield from _reached(child)


def _can_fail(node: ast.AST) -> bool:
    match node:
        case ast.Raise():
            return True
        case ast.Assert(test=ast.Tuple(elts=[_, *_])):
            return False  # `assert (f(1) == 2, "text")`: a tuple is true
        case ast.Assert(test=ast.BoolOp(op=ast.Or(), values=values)) if any(map(_is_true, values)):
            return False  # `assert f(1) == 2 or 3`: 3 is true, whatever f gives
        case ast.Assert(test=test):
            depends = (ast.Name, ast.Attribute, ast.Call, ast.Await)
            return any(isinstance(part, depends) for part in ast.walk(test))
        case ast.Call(func=ast.Name(id=name) | ast.Attribute(attr=name)):
            return name.startswith("assert") or name in ("exit", "quit", "_exit", "fail", "testmod")
        case _:
            return False


def _is_true(node: ast.expr) -> bool:
    """Whether an expression is a literal that counts as true."""
    try:
        return bool(ast.literal_eval(node))
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        return False


def _equality(tree: ast.Module) -> tuple[ast.expr, ast.expr] | None:
    """The two sides of `assert EXPRESSION == LITERAL`, the literal second."""
    statement = tree.body[0]
    if len(tree.body) != 1 or not isinstance(statement, ast.Assert):
        return None
    compared = statement.test
    if not isinstance(compared, ast.Compare) or [type(op) for op in compared.ops] != [ast.Eq]:
        return None
    left, right = compared.left, compared.comparators[0]
    if is_literal_node(left):
        left, right = right, left
    return (left, right) if is_literal_node(right) and not is_literal_node(left) else None


def called_names(code: str) -> list[str]:
    """The plain names that some code calls, in the order in which they are written."""
    tree = parse(code)
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)] if tree else []
    names = [node.func for node in calls if isinstance(node.func, ast.Name)]
    return [name.id for name in sorted(names, key=lambda name: (name.lineno, name.col_offset))]


def entry_point_of(tests: Iterable[str], known: Iterable[str] = ()) -> str | None:
    """The function that test code is about: the first name it calls that is not a builtin.

    Args:
        tests: The test code.
        known: Names of functions to prefer, such as those a signature names.
    """
    names = [name for test in tests for name in _entry_names(test)]
    preferred = [name for name in names if name in set(known) or re.split(r"[.(]", name)[0] in set(known)]
    own = [name for name in names if not hasattr(builtins, re.split(r"[.(]", name)[0])]
    return next(iter([*preferred, *own]), None)


def _entry_names(code: str) -> list[str]:
    """As `called_names`, with the method where an object is made for one call: `Solution().twoSum`."""
    tree = parse(code)
    methods = {
        id(node.func.value): f"{node.func.value.func.id}().{node.func.attr}"
        for node in (ast.walk(tree) if tree else ())
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and isinstance(node.func.value, ast.Call)
        and isinstance(node.func.value.func, ast.Name)
        and not (node.func.value.args or node.func.value.keywords)
    }
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)] if tree else []
    found = [
        (node.func, methods.get(id(node), node.func.id)) for node in calls if isinstance(node.func, ast.Name)
    ]
    found += [
        (node.func, f"{node.func.value.id}.{node.func.attr}")  # of a class: modules have small letters
        for node in calls
        if isinstance(node.func, ast.Attribute)
        and isinstance(node.func.value, ast.Name)
        and node.func.value.id[:1].isupper()
    ]
    found.sort(key=lambda pair: (pair[0].lineno, pair[0].col_offset))
    # What a test's own function takes, as in `check(candidate)`, is no name of the program's.
    taken = {node.arg for node in ast.walk(tree) if isinstance(node, ast.arg)} if tree else set[str]()
    return [name for _, name in found if re.split(r"[.(]", name)[0] not in taken]


def call_of(test: TestCase) -> str:
    """The code in which a test calls the program; empty for one that reads stdin."""
    if isinstance(test, CallTest):
        return test.call
    return test.code if isinstance(test, ScriptTest) else ""
