"""Reads a problem's fields in every form that people write: in files, Python, MCP, Studio, the command line.

`forms` reads each test by itself, `entry_point` finds the function, `deferred` reads what depends on it.
"""

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from pydantic import ValidationError
from pydantic_core import InitErrorDetails, PydanticCustomError

from bdc_agents.errors import ProblemError, unknown
from bdc_agents.types.tests import CallTest
from bdc_agents.types.written.deferred import Later, resolved
from bdc_agents.types.written.entry_point import find_entry_point, in_class, is_entry_point
from bdc_agents.types.written.forms import read_test
from bdc_agents.types.written.operations import class_made, no_class
from bdc_agents.types.written.parts import Unread, is_list, is_object
from bdc_agents.types.written.starter import as_methods, methods_by_name, names_bound

TESTS = ("public_tests", "hidden_tests")
"""The fields that hold tests."""


_NEEDED = ("id", "statement")
"""Fields that a problem cannot do without, so that null in them is a mistake."""


def read_fields(
    given: Mapping[str, Any], title: str = "Problem", names: Collection[str] = ()
) -> dict[str, Any]:
    """Reads the tests among a problem's fields, and finds its entry point if it is left out.

    Args:
        given: The fields as a person wrote them; tests that are read already stay as they are.
        title: Name of the model that the fields are for, in errors.
        names: Its fields, where others are refused: a test may be wrong since one is misspelled.

    Raises:
        ValidationError: If tests cannot be read; it names the place of each.
    """
    # Tables have null where nothing stands.
    fields = {name: value for name, value in given.items() if value is not None or name in _NEEDED}
    if "tests" in fields:
        if "public_tests" in fields:
            raise _invalid(title, [_mistake(("tests",), 'write "tests" or "public_tests", not both', None)])
        fields["public_tests"] = fields.pop("tests")
    mistakes: list[InitErrorDetails] = []
    own_checker = bool(fields.get("checker")) and _decides_itself(fields["checker"])
    read = {key: _first_pass(fields[key], key, own_checker, mistakes) for key in TESTS if key in fields}
    _call_methods(fields, read)
    known = fields.get("entry_point") or find_entry_point(fields, read)
    named = known if isinstance(known, str) and is_entry_point(known) else None
    for key, tests in read.items():
        fields[key] = _second_pass(tests, key, named, fields, mistakes)
    if mistakes:
        other = [name for name in fields if names and name not in names]
        extra = (InitErrorDetails(type="extra_forbidden", loc=(name,), input=fields[name]) for name in other)
        raise _invalid(title, [*extra, *mistakes])
    if fields.get("entry_point") is None and known:
        fields["entry_point"] = known
    return fields


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
            found += [(number, test) for test in read_test(value, own_checker)]
        except (Unread, ProblemError) as error:
            mistakes.append(_mistake((key, number), str(error), value))
    return found


def _call_methods(fields: dict[str, Any], read: dict[str, Any]) -> None:
    """Reads the bare name of a method as `Solution().two_sum`, in tests and as the entry point.

    No program could pass such a test as it stands: the class is asked for, and nothing else has the name.
    """
    starter, entry = str(fields.get("starter_code") or ""), fields.get("entry_point")
    bound = names_bound(str(fields.get("preamble") or ""))
    named = methods_by_name(starter, entry if isinstance(entry, str) else None)
    methods = {name: method for name, method in named.items() if name not in bound}
    if isinstance(entry, str) and entry in methods and not _bind(read, entry):
        fields["entry_point"] = methods[entry]
    for key, tests in read.items():
        if methods and is_list(tests):
            read[key] = [(number, as_methods(test, methods)) for number, test in tests]


def _bind(read: Mapping[str, Any], name: str) -> bool:
    """Whether the setup of a test says what a name stands for, as those of contest data sets do."""
    tests = [test for found in read.values() if is_list(found) for _, test in found]
    return any(isinstance(test, CallTest) and name in names_bound(test.setup) for test in tests)


def test_names(given: Any, key: str) -> list[str]:
    """What each test that is read from some tests is called: by its place among them as they were written.

    Args:
        given: Tests that can be read.
        key: The field that they stand in.
    """
    names: list[str] = []
    for number, value in enumerate(_listed(given) or ()):
        # Only a session of Python holds several.
        session = isinstance(value, str) and value.lstrip().startswith(">>>")
        count = len(read_test(value, own_checker=False)) if session else 1
        place = f"{key}[{number}]"
        names += [place] if count == 1 else [f"{place}, example {one}," for one in range(1, count + 1)]
    return names


def are_json(given: Any) -> list[bool]:
    """Whether what each test expects stands as JSON, where a text is a text; in code `"2"` says so itself.

    Args:
        given: Tests that can be read.
    """
    found: list[bool] = []
    for value in _listed(given) or ():
        session = isinstance(value, str) and value.lstrip().startswith(">>>")
        count = len(read_test(value, own_checker=False)) if session else 1
        as_object = is_object(value) and not {"call", "code", "kind", "stdin"} & value.keys()
        texts = is_object(value) and isinstance(value.get("input"), str)
        pair = is_list(value) and len(value) == 2 and not isinstance(value[0], str)
        found += [(as_object and not texts) or pair] * count
    return found


def _listed(given: Any) -> Sequence[Any] | None:
    """The tests one by one; one that stands alone, and the columns of contest data sets, are lists too."""
    if isinstance(given, str):
        return _list_in(given) or [given]
    if is_object(given):
        columns = [given.get(name, given.get(f"{name}s")) for name in ("input", "output")]
        if all(is_list(column) for column in columns) and len(columns[0]) == len(columns[1]):
            rest = {key: value for key, value in given.items() if key in ("fn_name", "function")}
            return [rest | {"input": one, "output": other} for one, other in zip(*columns, strict=True)]
        return [given]
    return given if is_list(given) else None


def _list_in(text: str) -> Sequence[Any] | None:
    """The list that a text holds as JSON, as cells of tables hold them; None where it is none of tests."""
    if not text.lstrip().startswith("["):
        return None
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return value if is_list(value) and value and all(isinstance(one, str | dict) for one in value) else None


def _second_pass(
    tests: Any,
    key: str,
    named: str | None,
    fields: Mapping[str, Any],
    mistakes: list[InitErrorDetails],
) -> Any:
    if not is_list(tests):
        return tests
    found: list[Any] = []
    starter = str(fields.get("starter_code") or "")
    for number, test in tests:
        try:
            if isinstance(test, Later):
                found.append(resolved(test, in_class(test.function, starter) if test.function else named))
            else:
                _check_class(test, named)
                found.append(test)
        except (Unread, ProblemError) as error:
            mistakes.append(_mistake((key, number), str(error), getattr(test, "shown", "")))
    return found


def _check_class(test: Any, named: str | None) -> None:
    """Refuses operations on an object of something else than what is to be written.

    Raises:
        Unread: If they are.
    """
    made = class_made(test) if isinstance(test, CallTest) else ""
    if made and named and made not in (named, named.partition("(")[0].partition(".")[0]):
        raise Unread(f"operations on a {made}, but the entry_point is {named}; {no_class(made)}")


def _mistake(place: tuple[str | int, ...], message: str, value: Any) -> InitErrorDetails:
    # The message is a value of the template: braces in it are no places to fill.
    error = PydanticCustomError("test", "{message}", {"message": message})
    return InitErrorDetails(type=error, loc=place, input=value)


def _invalid(title: str, mistakes: list[InitErrorDetails]) -> ValidationError:
    return ValidationError.from_exception_data(title, mistakes)


_MEANT = {
    **dict.fromkeys(("name", "title", "problem_id", "slug"), "id"),
    **dict.fromkeys(("prompt", "question", "description", "text", "task", "instruction"), "statement"),
    **dict.fromkeys(("examples", "example", "test", "test_cases", "cases"), "public_tests"),
    **dict.fromkeys(("function", "func", "method", "function_name", "fn_name"), "entry_point"),
    **dict.fromkeys(("solution", "answer", "canonical_solution"), "reference"),
    "tolerance": "checker.tolerance",
}
"""What people call a field in other sets, where no letters of its name would tell."""


def unknown_field(name: str, parents: Sequence[str | int], known: Iterable[str]) -> str:
    """Says that a field of a problem, or of an object in it, is unknown, and which one may be meant.

    Args:
        name: Of the field.
        parents: Where it stands; none for the problem itself.
        known: The fields that there are.
    """
    if not parents and (meant := _MEANT.get(name.lower())):
        return f"unknown field {name!r}; did you mean {meant}?"
    return unknown(f"field of {parents[0]}" if parents else "field", name, known)


COMPARISONS = ("exact", "lines", "tokens")
"""Checkers in short form, which compare with what a test expects."""


def _decides_itself(checker: Any) -> bool:
    """Whether a checker is a function of the problem's, so that a test may leave out what is expected.

    What is no checker counts as one, since it is refused later, and is the cause of what is missing.
    """
    if is_object(checker):
        compares = checker.keys() <= {*_COMPARES} and checker.get("text", "tokens") in COMPARISONS
        return bool(checker.get("code")) or not compares
    if isinstance(checker, str):
        return checker not in COMPARISONS
    return bool(getattr(checker, "code", True))


_COMPARES = ("text", "tolerance", "error", "any_case", "code", "function")
