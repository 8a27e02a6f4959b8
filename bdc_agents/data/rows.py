"""Checks the rows of data sets: from a raw dict to typed fields, with errors that people can act on."""

import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from bdc_agents.errors import ProblemError, in_words
from bdc_agents.syntax import LONGEST_INTEGER, long_integers
from bdc_agents.types import CallTest, HiddenTests, Problem, StdinTest, Task, TestCase
from bdc_agents.types.literals import is_literal, is_literal_node
from bdc_agents.types.written.fields import unknown_field
from bdc_agents.untrusted import json_kind

__all__ = [
    "AnyRow",
    "Row",
    "build_task",
    "explain",
    "given",
    "is_literal",
    "is_literal_node",
    "read_json",
    "read_row",
]


class Row(BaseModel):
    """The fields of one row that an adapter reads; others are ignored."""

    model_config = ConfigDict(frozen=True, extra="ignore")


MOST_ENTRIES = 10_000
"""Most tests, or other entries of a list, of one row: each takes a thousandth of a second to parse."""
_MISTAKES_TOLD = 10
"""Mistakes of one row that are reported; it may have as many as it has tests."""

AnyRow = TypeVar("AnyRow", bound=BaseModel)


def read_row(model: type[AnyRow], row: Any, source: str) -> AnyRow:
    """The row as typed fields.

    Args:
        model: The fields that are expected.
        row: The raw row.
        source: Where it comes from, such as `tasks.jsonl:3`; named in errors.

    Raises:
        ProblemError: If a field is missing or has a wrong type.
    """
    if not isinstance(row, Mapping):
        raise ProblemError(f"{source}: a problem is a JSON object, not {json_kind(row)}")
    for name, value in row.items():
        if isinstance(value, list) and len(value) > MOST_ENTRIES:
            raise ProblemError(
                f"{source}: {name}: {len(value):,} entries; a problem has at most {MOST_ENTRIES:,}, so leave "
                "some out, or let one script test check many cases in a loop"
            )
    try:
        return model.model_validate(dict(row))
    except ValidationError as error:
        raise ProblemError(explain(error, source, [*model.model_fields])) from None


def build_task(
    source: str,
    hidden: Iterable[TestCase] = (),
    reference: str | None = None,
    **fields: Any,
) -> Task:
    """A task whose hidden tests repeat neither the public tests nor each other.

    Args:
        source: Where the problem comes from; named in errors.
        hidden: The tests that score solutions.
        reference: A program known to be right.
        fields: Fields of the `Problem`.

    Raises:
        ProblemError: If a field is not accepted.
    """
    try:
        problem = Problem(**fields)
    except ValidationError as error:
        raise ProblemError(explain(error, source, [*Problem.model_fields])) from None
    seen = {given(test) for test in problem.public_tests}
    kept: list[TestCase] = []
    for test in hidden:
        if given(test) not in seen:
            seen.add(given(test))
            kept.append(test)
    return Task(problem=problem, hidden=HiddenTests(kept, reference))


def given(test: TestCase) -> tuple[str, ...]:
    """What a test gives to a program: the same for texts and calls that differ in their layout alone."""
    if isinstance(test, StdinTest):
        return ("stdin", *(line.rstrip() for line in test.stdin.strip().splitlines()))
    if isinstance(test, CallTest):
        return ("call", _laid_out(test.call.strip()), test.setup)
    return ("script", test.code.strip())


_LAYOUT = re.compile(
    r"""(?P<text>'''.*?'''|\"\"\".*?\"\"\"|'(?:\\.|[^'\\])*'|"(?:\\.|[^"\\])*")|(?<![\w\s])\s+|\s+(?![\w\s])""",
    re.DOTALL,
)
"""Texts, in which everything matters, and spaces that part no words. Parsing each call takes as long again:
100 problems of LeetCode's load in 13 s, not 20."""


def _laid_out(call: str) -> str:
    """A call without spaces that mean nothing, and with one kind of quotes."""
    return _LAYOUT.sub(lambda found: _quoted(found["text"]) if found["text"] else "", call)


def _quoted(text: str) -> str:
    inside = text[1:-1]
    plain = text[0] == '"' and not {"'", '"', "\\"} & {*inside}
    return f"'{inside}'" if plain else text


def explain(error: ValidationError, source: str, known: Iterable[str] = ()) -> str:
    """One line for each field that was not accepted: where, what is right, what was found.

    Args:
        error: What pydantic found.
        source: Where the row comes from.
        known: The field names of a row, for suggestions.
    """
    # A field that is not known first: one that is missing may only be misspelled.
    found = sorted(error.errors(), key=lambda item: item["type"] != "extra_forbidden")
    # That a default could not be made follows from another mistake, which is told.
    told = [item for item in found if item["type"] != "default_factory_not_called"]
    told = told or found
    lines = [_explain_one(dict(item), source, known) for item in told[:_MISTAKES_TOLD]]
    more = len(told) - len(lines)
    return "\n".join([*lines, f"{source}: and {more} more mistakes"] if more else lines)


def _explain_one(item: dict[str, Any], source: str, known: Iterable[str]) -> str:
    place = _place(item["loc"])
    if item["type"] == "extra_forbidden":
        *parents, name = (str(part) for part in item["loc"])
        inside = _fields_of(parents)
        if parents and not inside:
            return f"{source}: {place}: not a field; leave it out"
        return f"{source}: {unknown_field(name, parents, inside or known)}"
    message = in_words(item)
    if item["type"] == "model_type" and (fields := _fields_of([str(part) for part in item["loc"]])):
        message = f"an object is needed, with fields such as {fields[0]}"
    # A row can be megabytes: show the value only where it says something short.
    shown = _shown(item["input"]) if isinstance(item["input"], str | int | float | bool | None) else ""
    # A test that cannot be read says itself what was found, and of what is empty there is nothing to show.
    told = ("missing", "test", "string_too_short", "too_short")
    found = f" (found {shown:.80})" if shown and item["type"] not in told else ""
    # What is wrong with the whole of it has no place.
    return f"{source}: {place}: {message}{found}" if place else f"{source}: {message}{found}"


def _fields_of(parents: list[str]) -> list[str]:
    """The fields of the object at a place in a problem, such as its checker; empty if it is none."""
    field = Problem.model_fields.get(parents[0]) if len(parents) == 1 else None
    kind = field.annotation if field else None
    return [*kind.model_fields] if isinstance(kind, type) and issubclass(kind, BaseModel) else []


def _shown(value: Any) -> str:
    try:
        return repr(value[:200] if isinstance(value, str) else value)
    except ValueError:
        return "an integer of thousands of digits"


def _place(location: tuple[str | int, ...]) -> str:
    # Parts such as "<call>" name a kind that the row does not spell out.
    parts = [part for part in location if not str(part).startswith("<")]
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in parts)
    return text.lstrip(".")


def read_json(text: str | bytes) -> Any:
    """The value of JSON text, with integers as long as contests have them.

    Raises:
        ValueError: If it is not JSON, a field of an object comes twice, or an integer in it has more than
            `syntax.LONGEST_INTEGER` digits.
        RecursionError: If it is nested too deeply.
    """
    try:
        return json.loads(text, object_pairs_hook=_object)
    except (json.JSONDecodeError, _Twice):
        raise
    except ValueError:
        pass
    try:
        with long_integers():
            return json.loads(text, object_pairs_hook=_object)
    except (json.JSONDecodeError, _Twice):
        raise
    except ValueError:
        raise ValueError(f"an integer of more than {LONGEST_INTEGER:,} digits") from None


class _Twice(ValueError):
    """A field comes twice, so that nobody can say which is meant."""


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = Counter(name for name, _ in pairs)
        raise _Twice(f"the field {names.most_common(1)[0][0]!r:.80} comes twice in one object")
    return found
