"""Reads one test in any form that people write: an object, a pair, or a text such as `f(1) -> 2`."""

import ast
import builtins
import json
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from bdc_agents.errors import unknown
from bdc_agents.syntax import long_integers, parse
from bdc_agents.types.literals import is_literal_node, is_value, source_of
from bdc_agents.types.tests import CallTest, ScriptTest, StdinTest, TestCase
from bdc_agents.types.written.asserts import case_from_assert
from bdc_agents.types.written.deferred import Arguments, Later
from bdc_agents.types.written.entry_point import is_entry_point
from bdc_agents.types.written.operations import operations_of, operations_test
from bdc_agents.types.written.parts import (
    ARROW,
    Unread,
    accepted_texts,
    accepted_values,
    asserts,
    is_expression,
    is_list,
    is_object,
    no_value,
    parses,
    short,
)

STATES_NOTHING = (
    "states nothing that could fail, so it would pass any program; write what must hold, "
    'as in "assert f(1) == 2"'
)
NO_FORM = (
    'a test has "stdin" and "expected", "call" and "expected", "args" and "expected", or "code", or is a '
    'text such as "assert f(1) == 2", "f(1) -> 2" or "1 -> 2"'
)

_NAMES = {
    "stdin": ("stdin", "input"),
    "expected": ("expected", "output", "expected_output", "stdout"),
    "call": ("call",),
    "setup": ("setup",),
    "operations": ("operations", "ops", "commands", "methods"),
    "args": ("args", "arguments"),
    "kwargs": ("kwargs",),
    "function": ("function", "fn_name"),
    "code": ("code", "test"),
}
"""What each part of a test may be called, the usual name first."""
_PART = {name: part for part, names in _NAMES.items() for name in names}

_MOST_EXAMPLES = 500
"""Most examples of one session: each carries all earlier ones as its setup, so the size is their square."""
_MOST_ARROWS = 100
"""Most arrows of a text. Each may separate a call from its value, and trying one parses the whole text."""
_SPACED_ARROW = re.compile(r"(?:^|(?<=\s))->(?=\s|$)")


def read_test(value: Any, own_checker: bool) -> list[Any]:
    """The tests that one value holds: mostly one; those of a doctest may be several."""
    if isinstance(value, StdinTest | CallTest | ScriptTest):
        return [value]
    if isinstance(value, str):
        return _from_text(value)
    if is_object(value):
        return [value] if "kind" in value else [_from_object(value, own_checker)]
    if is_list(value) and len(value) == 2:
        return [_from_pair(*value)]
    raise Unread(f"{NO_FORM}; found {short(value)}")


def _from_object(given: Mapping[Any, Any], own_checker: bool) -> Any:
    parts: dict[str, Any] = {}
    for key, value in given.items():
        part = _PART.get(key)
        if part is None:
            known = sorted(
                {"stdin", "call", "operations", "args", "code"} & {_PART.get(name) for name in given}
            )
            raise Unread(unknown("field", str(key), _PART) if known else f"{NO_FORM}; found {short(given)}")
        if part in parts:
            raise Unread(f"{key}: the same as another of its fields; leave one out")
        parts[part] = value
    kinds = [part for part in ("stdin", "call", "code") if part in parts]
    if "operations" in parts:
        kinds.append("operations")
    elif "args" in parts or "kwargs" in parts:
        kinds.append("args")
    if len(kinds) != 1:
        raise Unread(f"{NO_FORM}; found {short(given)}")
    if own_checker and kinds == ["stdin"]:
        parts.setdefault("expected", "")
    if "expected" not in parts and kinds != ["code"]:
        raise Unread('expected: it is missing: what is right, such as "expected": "5"')
    return _OBJECTS[kinds[0]](given, parts)


def _of_stdin(given: Mapping[Any, Any], parts: dict[str, Any]) -> Any:
    _allow(parts, "stdin", "expected", "function")
    text, expected = parts["stdin"], parts["expected"]
    if "stdin" in given and "function" not in parts:
        # The name says that it is text for a program, whatever the problem's other tests are.
        if not isinstance(text, str):
            raise Unread(f"stdin: a text, not {short(text)}; arguments of a function are named args")
        return StdinTest(stdin=text, expected=accepted_texts(expected))
    if "function" not in parts and isinstance(text, str) and not isinstance(expected, list | tuple | Mapping):
        # As in a pair, and as in "f(1) -> 2": a call is no text for a program.
        value = expected if isinstance(expected, str) else source_of(expected)
        if test := _from_arrow(text, value):
            return test
    return Later(short(given), text, expected, _function_name(parts))


def _of_call(_: Mapping[Any, Any], parts: dict[str, Any]) -> CallTest:
    _allow(parts, "call", "expected", "setup")
    call, setup = parts["call"], parts.get("setup", "")
    if not isinstance(call, str) or not is_expression(call):
        raise Unread(f'call: not a Python expression; write a call such as "add(2, 3)" (found {short(call)})')
    if not isinstance(setup, str) or not parses(setup):
        raise Unread(f"setup: not Python code (found {short(setup)})")
    return CallTest(call=call, expected=accepted_values(parts["expected"]), setup=setup)


def _of_code(_: Mapping[Any, Any], parts: dict[str, Any]) -> ScriptTest:
    _allow(parts, "code")
    code = parts["code"]
    if not isinstance(code, str) or not parses(code):
        raise Unread(f"code: not Python code (found {short(code)})")
    if not asserts(code):
        raise Unread(f"code: {STATES_NOTHING} (found {short(code)})")
    with long_integers():
        _refuse_values_as_messages(parse(code) or ast.Module([], []))
    return ScriptTest(code=code)


def _of_args(given: Mapping[Any, Any], parts: dict[str, Any]) -> Later:
    _allow(parts, "args", "kwargs", "expected", "function")
    args, kwargs = parts.get("args", []), parts.get("kwargs", {})
    if not is_list(args):
        raise Unread(f"args: a list, with one item for each argument, not {short(args)}")
    if not is_object(kwargs) or not all(isinstance(name, str) and name.isidentifier() for name in kwargs):
        raise Unread(f"kwargs: an object whose keys are names of arguments, not {short(kwargs)}")
    return Later(short(given), Arguments([*args], dict(kwargs)), parts["expected"], _function_name(parts))


def _of_operations(_: Mapping[Any, Any], parts: dict[str, Any]) -> CallTest:
    _allow(parts, "operations", "args", "expected")
    return operations_test(operations_of(parts["operations"], parts.get("args"), parts["expected"]))


_OBJECTS: dict[str, Callable[[Mapping[Any, Any], dict[str, Any]], Any]] = {
    "stdin": _of_stdin,
    "call": _of_call,
    "code": _of_code,
    "operations": _of_operations,
    "args": _of_args,
}


def _allow(parts: Iterable[str], *known: str) -> None:
    for part in parts:
        if part not in known:
            raise Unread(f"{part}: not a field of such a test; leave it out")


def _function_name(parts: Mapping[str, Any]) -> str | None:
    name = parts.get("function")
    if name is not None and not (isinstance(name, str) and is_entry_point(name)):
        raise Unread(f'function: not a function\'s name; write it alone, such as "add" (found {short(name)})')
    return name


def _from_pair(given: Any, expected: Any) -> Any:
    if isinstance(given, str):
        if not isinstance(expected, str) or given.lstrip().startswith(("assert", ">>>")):
            raise Unread(
                "a pair is [input, output] as two texts, or [arguments, value] with the arguments in a "
                f"list, such as [[2, 3], 5]; found {short([given, expected])}"
            )
        return _from_arrow(given, expected) or Later(short([given, expected]), given, expected)
    if not isinstance(given, list | tuple | Mapping):
        raise Unread(
            f"the arguments of a function stand in a list, such as [[{short(given)}], {short(expected)}], "
            'or in "args"'
        )
    return Later(short([given, expected]), given, expected)


# --- texts --------------------------------------------------------------------------------------------


def _from_text(text: str) -> list[Any]:
    text = text.replace("\r\n", "\n").strip()
    if not text:
        raise Unread('an empty text is no test; write "assert f(1) == 2", or "1 -> 2"')
    if text.startswith(">>>"):
        return _from_doctest(text)
    if text.startswith("{") and (given := _json_object(text)) is not None:
        return read_test(given, own_checker=False)
    with long_integers():
        tree = parse(text)
    if tree is not None:
        return [_from_code(text, tree)]
    if text.startswith(("assert ", "assert(")) or ARROW not in text:
        raise Unread(f'not a test: {short(text)}; write it as "assert f(1) == 2", or as in "1 -> 2"')
    for start in _places(text)[:_MOST_ARROWS]:
        test = _from_arrow(text[:start], text[start + len(ARROW) :])
        if test:
            return [test]
    start = _only_arrow(text)
    _refuse_code(text[:start].strip())
    if text == ARROW:
        raise Unread(f'not a test: {short(text)}; write it as "assert f(1) == 2", or as in "1 -> 2"')
    given, expected = text[:start].strip(), text[start + len(ARROW) :].strip()
    if not expected:
        raise Unread(
            f"nothing is expected: {short(text)}; write the output behind the arrow, or, where a program is "
            f'to print nothing, {{"stdin": {json.dumps(given + chr(10))}, "expected": ""}}'
        )
    return [Later(short(text), given, expected, line=True)]


def _from_code(text: str, tree: ast.Module) -> TestCase:
    only = tree.body[0] if len(tree.body) == 1 else None
    if isinstance(only, ast.Expr) and _compares(only.value) and _calls_something(only.value):
        text = f"assert {text}" if "\n" not in text else f"assert (\n{text}\n)"
    if not asserts(text):
        raise Unread(f'{STATES_NOTHING}, or as in "1 -> 2": {short(text)}')
    _refuse_values_as_messages(tree)
    return case_from_assert(text, source="")


def _compares(node: ast.expr) -> bool:
    """Whether an expression is a comparison, or several that are joined by `and` and `or`."""
    if isinstance(node, ast.BoolOp):
        return all(map(_compares, node.values))
    return isinstance(node, ast.Compare)


def _refuse_values_as_messages(tree: ast.Module) -> None:
    """Refuses `assert f(1), 2`, which passes whatever true value a program gives: 2 is its message.

    Raises:
        Unread: If there is one.
    """
    for node in ast.walk(tree):
        if isinstance(node, ast.Assert) and node.msg and _is_value_of_code(node.msg):
            told, value = (ast.unparse(part)[:80] for part in (node.test, node.msg))
            raise Unread(
                f"{value} stands behind a comma, where it is only the message, and is compared with nothing; "
                f"write: assert {told} == {value}"
            )


def _is_value_of_code(node: ast.expr) -> bool:
    """Whether an expression is a literal that is no text, as messages are."""
    return is_literal_node(node) and not (isinstance(node, ast.Constant) and isinstance(node.value, str))


def _places(text: str) -> list[int]:
    return [found.start() for found in re.finditer(re.escape(ARROW), text)]


def _only_arrow(text: str) -> int:
    """Where the arrow is that parts a text: the only one, or the only one between blanks.

    Raises:
        Unread: If there are several.
    """
    places, spaced = _places(text), [found.start() for found in _SPACED_ARROW.finditer(text)]
    if len(spaced) == 1 or len(places) == 1:
        return (spaced if len(spaced) == 1 else places)[0]
    raise Unread(
        f"several arrows: {short(text)} can be parted in more than one way; write "
        '{"stdin": "the input", "expected": "the output"}'
    )


def _from_arrow(given: str, expected: str) -> CallTest | None:
    """The test of `CALL -> VALUE`; None where the left side is no call.

    Raises:
        Unread: If it is a call and no value is expected, or it calls nothing that a program defines.
    """
    given, expected = given.strip(), expected.strip()
    tree = parse(f"({given}\n)") if given else None
    if tree is None or not _calls_something(tree):
        return None
    if not _calls_own(tree):
        raise Unread(
            f"{short(given)} calls built-in functions alone: is it a call, or text on stdin? write "
            '{"call": "f(1)", "expected": "2"}, or {"stdin": "the input", "expected": "the output"}'
        )
    if not is_value(expected):
        raise Unread(no_value(given, expected))
    if re.match(r"print\s*\(", given) and expected != "None":
        raise Unread(f"{short(given)} prints, and its value is None; write the call alone: f(1) -> 2")
    return CallTest(call=given, expected=(expected,))


def _refuse_code(given: str) -> None:
    """Refuses text on stdin that is rather code: taken as text, no function could ever pass it.

    Raises:
        Unread: If it is.
    """
    tree = parse(given)
    begun = re.match(r"[A-Za-z_][\w.]*\(", given) if tree is None else None
    if begun or (tree is not None and _calls_something(tree)):
        raise Unread(
            f"{short(given)} is code, but no expression with a value: write the call alone, or a session "
            'such as ">>> x = f(1)\\n>>> x\\n2"; text for a program is {"stdin": ..., "expected": ...}'
        )


def _calls_something(tree: ast.AST) -> bool:
    return any(isinstance(node, ast.Call) for node in ast.walk(tree))


def _calls_own(tree: ast.AST) -> bool:
    """Whether something is called that is no built-in function."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            root: ast.AST = node.func
            if isinstance(root, ast.Name) and not hasattr(builtins, root.id):
                return True
            if isinstance(root, ast.Attribute):
                while isinstance(root, ast.Attribute | ast.Call | ast.Subscript):
                    root = root.func if isinstance(root, ast.Call) else root.value
                if isinstance(root, ast.Name) and not hasattr(builtins, root.id):
                    return True
    return False


def _json_object(text: str) -> Mapping[str, Any] | None:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return value if is_object(value) else None


def _from_doctest(text: str) -> list[TestCase]:
    """The examples of a session: each that shows a value is a test, what comes before it its setup."""
    import doctest  # which loads a debugger and test runners

    try:
        examples = doctest.DocTestParser().get_examples(text)
    except ValueError as error:
        raise Unread(f"not a session of Python: {error}") from None
    if len(examples) > _MOST_EXAMPLES:
        raise Unread(f"a session of {len(examples):,} lines of input; {_MOST_EXAMPLES:,} at most make a test")
    tests: list[TestCase] = []
    setup = ""
    for example in examples:
        source, want = example.source.strip(), example.want.strip()
        if want:
            tests.append(_example(source, want, setup))
        elif source.startswith("assert"):
            tests.append(case_from_assert(source, setup=setup))
        # A step that shows a value may change what the session holds, such as the top of a stack.
        if setup or not (want or source.startswith("assert")):
            setup += example.source
            if not parses(example.source):
                raise Unread(f"not Python code: {short(source)}")
    if not tests:
        raise Unread(f"{STATES_NOTHING}; no example of the session shows a value: {short(text)}")
    return tests


def _example(source: str, want: str, setup: str) -> CallTest:
    if not is_expression(source) or not is_value(want):
        raise Unread(
            f"the example {short(source)} shows {short(want)}, which is not a Python literal; write "
            '"assert f(1) == 2", or code that raises where the program is wrong'
        )
    return CallTest(call=source, expected=(want,), setup=setup)
