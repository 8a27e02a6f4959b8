"""One reader for every form in which a person writes a problem: files, Python, MCP, Studio, the command line.

What can be read in one way only is read; what could mean two things is refused with what to write.
`docs/problems.md` lists the forms.
"""

import ast
import builtins
import json
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple, TypeGuard, cast

from pydantic import ValidationError
from pydantic_core import InitErrorDetails, PydanticCustomError

from bdc_agents.errors import ProblemError, unknown
from bdc_agents.syntax import long_integers, parse
from bdc_agents.types.asserts import asserts_something, call_of, case_from_assert, entry_point_of
from bdc_agents.types.literals import is_value, source_of
from bdc_agents.types.tests import CallTest, ScriptTest, StdinTest, TestCase

STATES_NOTHING = (
    "states nothing that could fail, so it would pass any program; write what must hold, "
    'as in "assert f(1) == 2"'
)
NO_FORM = (
    'a test has "stdin" and "expected", "call" and "expected", "args" and "expected", or "code", or is a '
    'text such as "assert f(1) == 2", "f(1) -> 2" or "1 -> 2"'
)
TESTS = ("public_tests", "hidden_tests")
"""The fields that hold tests."""

_NAMES = {
    "stdin": ("stdin", "input"),
    "expected": ("expected", "output", "expected_output", "stdout"),
    "call": ("call",),
    "setup": ("setup",),
    "args": ("args",),
    "kwargs": ("kwargs",),
    "function": ("function", "fn_name"),
    "code": ("code", "test"),
}
"""What each part of a test may be called, the usual name first."""
_PART = {name: part for part, names in _NAMES.items() for name in names}

_ARROW = "->"
_SPACED_ARROW = re.compile(r"(?:^|(?<=\s))->(?=\s|$)")
_ENTRY_POINT = re.compile(r"[^\W\d]\w*(?:(?:\(\))?\.[^\W\d]\w*)?")
_FUNCTION = re.compile(r"\b(?:write|implement|define|function|def)\s+`?([A-Za-z_]\w*)\s*\(", re.IGNORECASE)
_JSON_WORDS = {"true": "True", "false": "False", "null": "None"}


class Unread(ValueError):
    """What a person wrote cannot be read as a test, or in more than one way."""


class _Later(NamedTuple):
    """A test whose meaning depends on whether a function is to be written, which the others may tell.

    Args:
        shown: As it was written, for messages.
        given: A text, or the arguments as JSON: a list, or an object of names.
        expected: A text; or, beside arguments as JSON, the value.
        function: Where the test names one.
        line: Whether the texts stand on one line, where a written `\\n` is a new line.
    """

    shown: str
    given: Any
    expected: Any
    function: str | None = None
    line: bool = False


# --- a problem ----------------------------------------------------------------------------------------


def read_fields(given: Mapping[str, Any], title: str = "Problem") -> dict[str, Any]:
    """A problem's fields with its tests read, and its entry point found where it is left out.

    Args:
        given: As a person wrote them; tests that are tests already stay as they are.
        title: Of the model that they are for.

    Raises:
        ValidationError: If tests cannot be read; it names the place of each.
    """
    fields = dict(given)
    if "tests" in fields:
        if "public_tests" in fields:
            raise _invalid(title, [_mistake(("tests",), 'write "tests" or "public_tests", not both', None)])
        fields["public_tests"] = fields.pop("tests")
    mistakes: list[InitErrorDetails] = []
    own_checker = bool(fields.get("checker")) and _decides_itself(fields["checker"])
    read = {key: _first_pass(fields[key], key, own_checker, mistakes) for key in TESTS if key in fields}
    known = fields.get("entry_point") or _entry_point(fields, read)
    named = known if isinstance(known, str) and is_entry_point(known) else None
    for key, tests in read.items():
        fields[key] = _second_pass(tests, key, named, fields, mistakes)
    if mistakes:
        raise _invalid(title, mistakes)
    if fields.get("entry_point") is None and known:
        fields["entry_point"] = known
    return fields


def is_entry_point(text: str) -> bool:
    """Whether a text names a function, a class, or a method as in `Solution().two_sum`."""
    return _ENTRY_POINT.fullmatch(text) is not None


_Tests = list[tuple[int, Any]]
"""Tests by the number of what they were read from, one of which may hold several."""


def _first_pass(given: Any, key: str, own_checker: bool, mistakes: list[InitErrorDetails]) -> Any:
    """Reads what needs no entry point; anything but tests is left to the model, which refuses it."""
    values = _listed(given)
    if values is None:
        return given
    found: _Tests = []
    for number, value in enumerate(values):
        try:
            found += [(number, test) for test in _read(value, own_checker)]
        except (Unread, ProblemError) as error:
            mistakes.append(_mistake((key, number), str(error), value))
    return found


def _listed(given: Any) -> Sequence[Any] | None:
    """The tests one by one; one that stands alone, and the columns of contest data sets, are lists too."""
    if isinstance(given, str):
        return [given]
    if _is_object(given):
        columns = [given.get(name, given.get(f"{name}s")) for name in ("input", "output")]
        if all(_is_list(column) for column in columns) and len(columns[0]) == len(columns[1]):
            rest = {key: value for key, value in given.items() if key in ("fn_name", "function")}
            return [rest | {"input": one, "output": other} for one, other in zip(*columns, strict=True)]
        return [given]
    return given if _is_list(given) else None


def _second_pass(
    tests: Any,
    key: str,
    named: str | None,
    fields: Mapping[str, Any],
    mistakes: list[InitErrorDetails],
) -> Any:
    if not _is_list(tests):
        return tests
    found: list[Any] = []
    for number, test in tests:
        try:
            found.append(_resolved(test, named, fields) if isinstance(test, _Later) else test)
        except (Unread, ProblemError) as error:
            mistakes.append(_mistake((key, number), str(error), test.shown))
    return found


def _mistake(place: tuple[str | int, ...], message: str, value: Any) -> InitErrorDetails:
    # The message is a value of the template: braces in it are no places to fill.
    error = PydanticCustomError("test", "{message}", {"message": message})
    return InitErrorDetails(type=error, loc=place, input=value)


def _invalid(title: str, mistakes: list[InitErrorDetails]) -> ValidationError:
    return ValidationError.from_exception_data(title, mistakes)


def with_suggestions(error: ValidationError, known: Iterable[str]) -> ValidationError:
    """The same error, in which a field that is not known comes with the nearest of those that are."""
    items = [cast("InitErrorDetails", dict(item)) for item in error.errors()]
    unknown_here = [
        item for item in items if item["type"] == "extra_forbidden" and len(item.get("loc", ())) == 1
    ]
    for item in unknown_here:
        message = unknown("field", str(item.get("loc", ("",))[0]), known)
        # Of the same type, so that whoever tells of it by type still does.
        item["type"] = PydanticCustomError("extra_forbidden", "{message}", {"message": message})
    return _invalid(error.title, items) if unknown_here else error


def _decides_itself(checker: Any) -> bool:
    """Whether a checker is a function of the problem's, so that a test may leave out what is expected."""
    if _is_object(checker):
        return bool(checker.get("code"))
    return bool(getattr(checker, "code", "")) or (isinstance(checker, str) and "def " in checker)


# --- the entry point ----------------------------------------------------------------------------------


def _entry_point(fields: Mapping[str, Any], read: Mapping[str, Any]) -> str | None:
    """The function that is to be written, as the tests or else the starter code name it."""
    starter = str(fields.get("starter_code") or "")
    tests = [test for found in read.values() if _is_list(found) for _, test in found]
    named = next((test.function for test in tests if isinstance(test, _Later) and test.function), None)
    if named:
        return _in_class(named, starter)
    code = [_code_of(test) for test in tests]
    setups = [str(test.setup) for test in tests if isinstance(test, CallTest)]
    found = entry_point_of(filter(None, code), _defined(starter)) or entry_point_of(setups)
    if found and found in _classes(starter):
        # Tests that make an object first call its methods later; where there is one, it is the one.
        return found
    if found or any(isinstance(test, StdinTest) or _kind(test) == "stdin" for test in tests):
        return found
    takes = _starter_function(starter)
    if takes:
        return takes
    needed = any(isinstance(test, _Later) and not isinstance(test.given, str) for test in tests)
    stated = _FUNCTION.search(str(fields.get("statement") or "")) if needed else None
    return stated[1] if stated else None


def _code_of(test: Any) -> str:
    if isinstance(test, StdinTest | CallTest | ScriptTest):
        return call_of(test)
    if _is_object(test):
        return str(test.get("call") or test.get("code") or "")
    return ""


def _kind(test: Any) -> Any:
    return test.get("kind") if _is_object(test) else None


def _defined(starter: str) -> list[str]:
    return re.findall(r"^(?:async )?def (\w+)", starter, re.MULTILINE) + _classes(starter)


def _classes(starter: str) -> list[str]:
    return re.findall(r"^class (\w+)", starter, re.MULTILINE)


_METHOD = re.compile(r"^[ \t]+def ([^\W_]\w*)\(\s*self\b", re.MULTILINE)
_TAKING = re.compile(r"^def (\w+)\(\s*[^\s)]", re.MULTILINE)


def _starter_function(starter: str) -> str | None:
    """The only function with parameters, or method of the only class, of starter code."""
    classes, methods = _classes(starter), _METHOD.findall(starter)
    if len(classes) == 1 and len(methods) == 1:
        return f"{classes[0]}().{methods[0]}"
    taking = _TAKING.findall(starter)
    return taking[0] if len(taking) == 1 and not classes else None


def _in_class(name: str, starter: str) -> str:
    classes = _classes(starter)
    return f"{classes[0]}().{name}" if len(classes) == 1 and name in _METHOD.findall(starter) else name


# --- a test -------------------------------------------------------------------------------------------


def _read(value: Any, own_checker: bool) -> list[Any]:
    """The tests that one value holds: mostly one; those of a doctest may be several."""
    if isinstance(value, StdinTest | CallTest | ScriptTest):
        return [value]
    if isinstance(value, str):
        return _from_text(value)
    if _is_object(value):
        return [value] if "kind" in value else [_from_object(value, own_checker)]
    if _is_list(value) and len(value) == 2:
        return [_from_pair(*value)]
    raise Unread(f"{NO_FORM}; found {_short(value)}")


def _from_object(given: Mapping[Any, Any], own_checker: bool) -> Any:
    parts: dict[str, Any] = {}
    for key, value in given.items():
        part = _PART.get(key)
        if part is None:
            known = sorted({"stdin", "call", "args", "code"} & {_PART.get(name) for name in given})
            raise Unread(unknown("field", str(key), _PART) if known else f"{NO_FORM}; found {_short(given)}")
        if part in parts:
            raise Unread(f"{key}: the same as another of its fields; leave one out")
        parts[part] = value
    kinds = [part for part in ("stdin", "call", "code") if part in parts]
    if "args" in parts or "kwargs" in parts:
        kinds.append("args")
    if len(kinds) != 1:
        raise Unread(f"{NO_FORM}; found {_short(given)}")
    if own_checker and kinds == ["stdin"]:
        parts.setdefault("expected", "")
    if "expected" not in parts and kinds != ["code"]:
        raise Unread('expected: Field required: what is right, such as "expected": "5"')
    return _OBJECTS[kinds[0]](given, parts)


def _of_stdin(given: Mapping[Any, Any], parts: dict[str, Any]) -> Any:
    _allow(parts, "stdin", "expected", "function")
    text, expected = parts["stdin"], parts["expected"]
    if "stdin" in given and "function" not in parts:
        # The name says that it is text for a program, whatever the problem's other tests are.
        if not isinstance(text, str):
            raise Unread(f"stdin: a text, not {_short(text)}; arguments of a function are named args")
        return StdinTest(stdin=text, expected=_accepted_texts(expected))
    if "function" not in parts and isinstance(text, str) and not isinstance(expected, list | tuple | Mapping):
        # As in a pair, and as in "f(1) -> 2": a call is no text for a program.
        value = expected if isinstance(expected, str) else source_of(expected)
        if test := _from_arrow(text, value):
            return test
    return _Later(_short(given), text, expected, _function_name(parts))


def _of_call(_: Mapping[Any, Any], parts: dict[str, Any]) -> CallTest:
    _allow(parts, "call", "expected", "setup")
    call, setup = parts["call"], parts.get("setup", "")
    if not isinstance(call, str) or not _is_expression(call):
        raise Unread(
            f'call: not a Python expression; write a call such as "add(2, 3)" (found {_short(call)})'
        )
    if not isinstance(setup, str) or not _parses(setup):
        raise Unread(f"setup: not Python code (found {_short(setup)})")
    return CallTest(call=call, expected=_accepted_values(parts["expected"]), setup=setup)


def _of_code(_: Mapping[Any, Any], parts: dict[str, Any]) -> ScriptTest:
    _allow(parts, "code")
    code = parts["code"]
    if not isinstance(code, str) or not _parses(code):
        raise Unread(f"code: not Python code (found {_short(code)})")
    if not _asserts(code):
        raise Unread(f"code: {STATES_NOTHING} (found {_short(code)})")
    return ScriptTest(code=code)


def _of_args(given: Mapping[Any, Any], parts: dict[str, Any]) -> _Later:
    _allow(parts, "args", "kwargs", "expected", "function")
    args, kwargs = parts.get("args", []), parts.get("kwargs", {})
    if not _is_list(args):
        raise Unread(f"args: a list, with one item for each argument, not {_short(args)}")
    if not _is_object(kwargs) or not all(isinstance(name, str) and name.isidentifier() for name in kwargs):
        raise Unread(f"kwargs: an object whose keys are names of arguments, not {_short(kwargs)}")
    return _Later(_short(given), _Arguments([*args], dict(kwargs)), parts["expected"], _function_name(parts))


_OBJECTS: dict[str, Callable[[Mapping[Any, Any], dict[str, Any]], Any]] = {
    "stdin": _of_stdin,
    "call": _of_call,
    "code": _of_code,
    "args": _of_args,
}


class _Arguments(NamedTuple):
    args: list[Any]
    kwargs: dict[str, Any]


def _allow(parts: Iterable[str], *known: str) -> None:
    for part in parts:
        if part not in known:
            raise Unread(f"{part}: not a field of such a test; leave it out")


def _function_name(parts: Mapping[str, Any]) -> str | None:
    name = parts.get("function")
    if name is not None and not (isinstance(name, str) and is_entry_point(name)):
        raise Unread(
            f'function: not a function\'s name; write it alone, such as "add" (found {_short(name)})'
        )
    return name


def _from_pair(given: Any, expected: Any) -> Any:
    if isinstance(given, str):
        if not isinstance(expected, str) or given.lstrip().startswith(("assert", ">>>")):
            raise Unread(
                "a pair is [input, output] as two texts, or [arguments, value] with the arguments in a "
                f"list, such as [[2, 3], 5]; found {_short([given, expected])}"
            )
        return _from_arrow(given, expected) or _Later(_short([given, expected]), given, expected)
    if not isinstance(given, list | tuple | Mapping):
        raise Unread(
            f"the arguments of a function stand in a list, such as [[{_short(given)}], {_short(expected)}], "
            'or in "args"'
        )
    return _Later(_short([given, expected]), given, expected)


# --- texts --------------------------------------------------------------------------------------------


def _from_text(text: str) -> list[Any]:
    text = text.replace("\r\n", "\n").strip()
    if not text:
        raise Unread('an empty text is no test; write "assert f(1) == 2", or "1 -> 2"')
    if text.startswith(">>>"):
        return _from_doctest(text)
    if text.startswith("{") and (given := _json_object(text)) is not None:
        return _read(given, own_checker=False)
    with long_integers():
        tree = parse(text)
    if tree is not None:
        return [_from_code(text, tree)]
    if text.startswith(("assert ", "assert(")) or _ARROW not in text:
        raise Unread(f'not a test: {_short(text)}; write it as "assert f(1) == 2", or as in "1 -> 2"')
    for start in _places(text):
        test = _from_arrow(text[:start], text[start + len(_ARROW) :])
        if test:
            return [test]
    start = _only_arrow(text)
    _refuse_code(text[:start].strip())
    if text == _ARROW:
        raise Unread(f'not a test: {_short(text)}; write it as "assert f(1) == 2", or as in "1 -> 2"')
    return [_Later(_short(text), text[:start].strip(), text[start + len(_ARROW) :].strip(), line=True)]


def _from_code(text: str, tree: ast.Module) -> TestCase:
    only = tree.body[0] if len(tree.body) == 1 else None
    if isinstance(only, ast.Expr) and isinstance(only.value, ast.Compare) and _calls_something(only.value):
        text = f"assert {text}" if "\n" not in text else f"assert (\n{text}\n)"
    if not _asserts(text):
        raise Unread(f'{STATES_NOTHING}, or as in "1 -> 2": {_short(text)}')
    return case_from_assert(text, source="")


def _places(text: str) -> list[int]:
    return [found.start() for found in re.finditer(re.escape(_ARROW), text)]


def _only_arrow(text: str) -> int:
    """Where the arrow is that parts a text: the only one, or the only one between blanks.

    Raises:
        Unread: If there are several.
    """
    places, spaced = _places(text), [found.start() for found in _SPACED_ARROW.finditer(text)]
    if len(spaced) == 1 or len(places) == 1:
        return (spaced if len(spaced) == 1 else places)[0]
    raise Unread(
        f"several arrows: {_short(text)} can be parted in more than one way; write "
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
            f"{_short(given)} calls built-in functions alone: is it a call, or text on stdin? write "
            '{"call": "f(1)", "expected": "2"}, or {"stdin": "the input", "expected": "the output"}'
        )
    if not is_value(expected):
        raise Unread(_no_value(given, expected))
    if re.match(r"print\s*\(", given) and expected != "None":
        raise Unread(f"{_short(given)} prints, and its value is None; write the call alone: f(1) -> 2")
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
            f"{_short(given)} is code, but no expression with a value: write the call alone, or a session "
            'such as ">>> x = f(1)\\n>>> x\\n2"; text for a program is {"stdin": ..., "expected": ...}'
        )


def _no_value(call: str, expected: str) -> str:
    if _ARROW in expected:
        return f"several tests in one text: {_short(call)} ...; write each as a text of its own"
    word = _JSON_WORDS.get(expected)
    if word:
        return f"{_short(expected)} is JSON; the value is written in Python: {call[:80]} -> {word}"
    told = f"{_short(expected)} is not a value that a test can expect"
    if re.fullmatch(r"[A-Z]\w*(?:Error|Exception)(\(.*\))?", expected):
        name = expected.partition("(")[0]
        return (
            f"{told}; that a call raises is said in code: "
            f"try: {call[:80]} / except {name}: pass / else: raise AssertionError, on lines of their own"
        )
    with long_integers():
        computed = parse(expected) is not None
    if computed and not expected.isidentifier():
        return (
            f"{told}; write it out as a Python literal, or write code: assert {call[:80]} == {expected[:80]}"
        )
    return f"{told}; a text stands in quotes: {call[:80]} -> {expected[:80]!r}; text on stdin has no call"


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
    return value if _is_object(value) else None


def _from_doctest(text: str) -> list[TestCase]:
    """The examples of a session: each that shows a value is a test, what comes before it its setup."""
    import doctest  # which loads a debugger and test runners

    try:
        examples = doctest.DocTestParser().get_examples(text)
    except ValueError as error:
        raise Unread(f"not a session of Python: {error}") from None
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
            if not _parses(setup):
                raise Unread(f"not Python code: {_short(source)}")
    if not tests:
        raise Unread(f"{STATES_NOTHING}; no example of the session shows a value: {_short(text)}")
    return tests


def _example(source: str, want: str, setup: str) -> CallTest:
    if not _is_expression(source) or not is_value(want):
        raise Unread(
            f"the example {_short(source)} shows {_short(want)}, which is not a Python literal; write "
            '"assert f(1) == 2", or code that raises where the program is wrong'
        )
    return CallTest(call=source, expected=(want,), setup=setup)


# --- what depends on the entry point -------------------------------------------------------------------


def _resolved(test: _Later, named: str | None, fields: Mapping[str, Any]) -> TestCase:
    function = _in_class(test.function, str(fields.get("starter_code") or "")) if test.function else named
    if isinstance(test.given, str):
        return _with_text(test, function)
    if function is None:
        raise Unread(
            f"arguments of which function? name it as the problem's entry_point, or write the call: "
            f'"f(1, 2) -> 3" (found {test.shown})'
        )
    if isinstance(test.given, _Arguments):
        args, kwargs = test.given
    elif _is_object(test.given):
        args, kwargs = [], test.given
    else:
        args, kwargs = test.given, {}
    if not _is_list(args) or not all(isinstance(key, str) and key.isidentifier() for key in kwargs):
        raise Unread(
            f'arguments stand in a list, or in an object by their names: "args": [2, 3] ({test.shown})'
        )
    if not _finite([*args, *kwargs.values()]):
        raise Unread(f"NaN and Infinity have no names in a program; write the call in code ({test.shown})")
    try:
        given = [source_of(value) for value in args]
        given += [f"{name}={source_of(value)}" for name, value in kwargs.items()]
        return CallTest(call=f"{function}({', '.join(given)})", expected=(source_of(test.expected),))
    except ValueError as error:
        raise Unread(f"{test.shown} cannot be written as a call: {error}") from None


def _finite(value: Any) -> bool:
    if isinstance(value, float):
        return math.isfinite(value)
    parts = [*value.values()] if _is_object(value) else value if _is_list(value) else []
    return all(map(_finite, parts))


def _with_text(test: _Later, function: str | None) -> TestCase:
    """A test of text: on stdin, unless a function is to be written; then the arguments of a call."""
    if function is None:
        if _is_named_arguments(test.given):
            raise Unread(
                f"{test.shown} looks like the arguments of a function: name it as the problem's entry_point; "
                'text for a program is {"stdin": ..., "expected": ...}'
            )
        if not test.line:
            return StdinTest(stdin=test.given, expected=_accepted_texts(test.expected))
        given, expected = (text.replace("\\n", "\n") for text in (test.given, test.expected))
        return StdinTest(stdin=f"{given}\n", expected=(f"{expected}\n",))
    call = f"{function}({test.given})"
    hint = (
        f'write the call: "{function}(...) -> value"; {{"stdin": ..., "expected": ...}} is a whole program\'s'
    )
    if not _is_expression(call):
        raise Unread(f"{test.shown}: {function} is to be written, and this is not a call of it; {hint}")
    expected = test.expected if isinstance(test.expected, str) else source_of(test.expected)
    if not is_value(expected):
        raise Unread(_no_value(call, expected))
    return CallTest(call=call, expected=(expected,))


def _is_named_arguments(text: str) -> bool:
    """Whether a text is such as `nums = [2, 7], target = 9`."""
    tree = parse(f"f({text}\n)") if "=" in text else None
    call = tree.body[0].value if tree and len(tree.body) == 1 and isinstance(tree.body[0], ast.Expr) else None
    return isinstance(call, ast.Call) and bool(call.keywords) and not call.args


def _accepted_texts(expected: Any) -> tuple[str, ...]:
    if isinstance(expected, str):
        return (expected,)
    if isinstance(expected, int | float) and not isinstance(expected, bool):
        return (str(expected),)
    if _is_list(expected) and expected and all(isinstance(text, str) for text in expected):
        return tuple(expected)
    raise Unread(f'expected: a text such as "5", or a list of texts (found {_short(expected)})')


def _accepted_values(expected: Any) -> tuple[str, ...]:
    if _is_list(expected) and not expected:
        raise Unread('expected: an empty list accepts nothing; where the value is one, write "[]"')
    if isinstance(expected, str):
        texts: tuple[str, ...] = (expected,)
    elif _is_list(expected) and all(isinstance(text, str) for text in expected):
        texts = tuple(expected)
    else:
        try:
            texts = (source_of(expected),)
        except ValueError as error:
            raise Unread(f"expected: {error}") from None
    for text in texts:
        if not is_value(text):
            word = _JSON_WORDS.get(text.strip())
            better = f"write {word!r}" if word else f"a text is written with its quotes: {repr(text)[:80]!r}"
            raise Unread(f"expected: not a Python literal: {_short(text)}; {better}")
    return texts


# --- code ---------------------------------------------------------------------------------------------


def _is_expression(text: str) -> bool:
    with long_integers():
        tree = parse(f"({text}\n)")
    return bool(text.strip()) and tree is not None and len(tree.body) == 1


def _parses(code: str) -> bool:
    with long_integers():
        return parse(code) is not None


def _asserts(code: str) -> bool:
    with long_integers():
        return asserts_something(code)


def _is_object(value: Any) -> TypeGuard[Mapping[Any, Any]]:
    return isinstance(value, Mapping)


def _is_list(value: Any) -> TypeGuard[list[Any] | tuple[Any, ...]]:
    return isinstance(value, list | tuple)


def _short(value: Any) -> str:
    """What was found, on one line: a row can be megabytes."""
    try:
        text = repr(value[:200] if isinstance(value, str) else value)
    except (ValueError, RecursionError):
        text = type(value).__name__
    return text if len(text) <= 100 else f"{text[:97]}..."
