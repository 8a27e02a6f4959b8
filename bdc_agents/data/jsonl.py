r"""Plain problems: one JSON object for each, in a `.jsonl` file or alone in a `.json` file.

    {"id": "double", "statement": "Write double(n), which returns twice n.",
     "public_tests": ["assert double(1) == 2"],
     "hidden_tests": [{"call": "double(21)", "expected": "42"}]}

`docs/problems.md` describes every field and every form of a test. Only `id` and `statement` are required.
"""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, ConfigDict, field_validator

from bdc_agents.data.doubtful_tests import doubts
from bdc_agents.data.doubtful_values import Named
from bdc_agents.data.files import near_files
from bdc_agents.data.rows import build_task, read_row
from bdc_agents.data.shapes import within
from bdc_agents.data.statement import stated_error
from bdc_agents.errors import ProblemError
from bdc_agents.syntax import long_integers, parse
from bdc_agents.types import CallTest, Problem, Task, TestCase
from bdc_agents.types.literals import is_value
from bdc_agents.types.problem import LONGEST_CHECKER, Written, checker_of
from bdc_agents.types.written.fields import are_json, test_names
from bdc_agents.untrusted import read_whole

_PLACE = re.compile(r"public_tests\[(\d+)\]")
_LONGEST_ID = 200
"""Characters of an id, which people read and which is part of file names."""
_NUMBERED = re.compile(r"^problem: public_tests\[(\d+)\]", re.MULTILINE)
_ADDRESS_OF_CODE = re.compile(r"(?P<file>[^\n(){}]+\.py)(?::(?P<function>\w+))?")


def _code(text: str) -> str:
    with long_integers():
        tree = parse(text)
    if tree is None:
        raise ValueError("not Python code")
    return text


def _id(value: Any) -> Any:
    """A number is an id too; what is shown in lists, logs and names of files can be printed."""
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) < 10**_LONGEST_ID:
        return str(value)
    if not isinstance(value, str) or not value or not value.isprintable() or len(value) > _LONGEST_ID:
        raise ValueError(f"a text of 1 to {_LONGEST_ID} printable characters, or a whole number")
    return value


class ProblemRow(Problem):
    """A problem with the tests that score it, as a plain JSON object."""

    model_config = ConfigDict(title="Problem", use_attribute_docstrings=True)

    id: Annotated[str, BeforeValidator(_id)]  # pyright: ignore[reportGeneralTypeIssues]
    """A short name, unique in the file."""
    preamble: Annotated[str, AfterValidator(_code)] = ""
    """Code that runs before every program."""
    hidden_tests: Written = ()
    """Tests that only score the final program."""
    reference: str | None = None
    """A program known to be right."""

    @field_validator("public_tests", "hidden_tests")
    @classmethod
    def _usable(cls, tests: tuple[Any, ...]) -> tuple[Any, ...]:
        """Checks tests that came with their kind, as from a trace: somebody may have edited them."""
        for number, test in enumerate(tests):
            if isinstance(test, CallTest):
                with long_integers():
                    if parse(f"({test.call}\n)") is None or not all(map(is_value, test.expected)):
                        raise ValueError(
                            f"[{number}]: not a call with Python literals: {test.call!r:.80} -> "
                            f"{test.expected!r:.80}"
                        )
        return tests


def json_schema() -> dict[str, Any]:
    """The JSON schema of a plain problem."""
    return ProblemRow.model_json_schema()


def task_from_dict(
    row: Any,
    source: str = "problem",
    *,
    prefix: str = "",
    folder: Path | None = None,
    in_words: bool = False,
) -> Task:
    """The task that a plain JSON object describes.

    Args:
        row: The object, in the form of `docs/problems.md`.
        source: Where it comes from, such as `tasks.jsonl:3`; named in errors.
        prefix: Put before the row's id to make the problem's address.
        folder: Folder of its file. A checker's file must lie below it; without a folder none is read.
        in_words: Whether the statement sets the checker, and not its author.

    Raises:
        ProblemError: If a field is missing, unknown or not accepted; the message names it.
    """
    if isinstance(row, Mapping):
        if key := within(row):
            raise ProblemError(
                f"{source}: this object holds problems under {key!r}, and is none: write them as a list"
            )
        row = _with_checker(_no_trace(row, source), source, folder)
    fields = read_row(ProblemRow, row, source)
    task = build_task(
        source,
        hidden=fields.hidden_tests,
        reference=fields.reference,
        **{name: getattr(fields, name) for name in Problem.model_fields} | {"id": f"{prefix}{fields.id}"},
    )
    public = _named("public_tests", row.get("public_tests") or row.get("tests"), fields.public_tests)
    hidden = _named("hidden_tests", row.get("hidden_tests"), fields.hidden_tests, secret=True)
    name_of = {id(one.test): one.name for one in hidden}  # some may be left out, as they repeat others
    names = [one.name for one in public] + [name_of[id(test)] for test in task.hidden.reveal()]
    found = doubts([*public, *hidden], task.problem, in_words=in_words)
    return task.model_copy(update={"warnings": found, "names": tuple(names)})


def _named(key: str, written: Any, tests: Sequence[TestCase], *, secret: bool = False) -> list[Named]:
    """The tests of a field by their places in the file, of which one may hold several tests."""
    names, as_json = test_names(written, key), are_json(written)
    return [Named(name, test, secret, json) for name, test, json in zip(names, tests, as_json, strict=True)]


def problem_from_statement(statement: str, tests: Sequence[Any] = (), *, id: str = "problem") -> Problem:
    r"""A problem given in words, with its public tests in any form.

    Args:
        statement: The task.
        tests: Such as `assert f(2) == 4`, `f(2) -> 4`, or `INPUT -> OUTPUT` for a program that
            reads stdin; a `\n` written out is a new line.
        id: Its name in traces and reports.

    Raises:
        ProblemError: If the statement is empty or a test cannot be read.
    """
    if not statement.strip():
        raise ProblemError("the problem's statement is empty; say what the program should do")
    try:
        fields = {"id": id, "statement": statement, "public_tests": list(tests)}
        return read_problem(fields | stated_checker(statement))
    except ProblemError as error:
        raise ProblemError(_NUMBERED.sub(_counted, str(error))) from None


def stated_checker(statement: str) -> dict[str, Any]:
    """The checker of a problem in words, as a field: the error that the words allow; none without them."""
    allowed = stated_error(statement)
    return {"checker": {"tolerance": allowed.tolerance, "error": allowed.error}} if allowed else {}


def _counted(found: re.Match[str]) -> str:
    """The place of a test that was given by itself: counted from 1, without a field's name."""
    return f"test {int(found[1]) + 1}"


def task_from_statement(statement: str, tests: Sequence[Any] = ()) -> Task:
    """As `problem_from_statement`, with what a person should know of its tests before it is searched.

    Raises:
        ProblemError: If the statement is empty or a test cannot be read.
    """
    problem = problem_from_statement(statement, tests)
    named = _named("public_tests", list(tests), problem.public_tests)
    found = doubts(named, problem, in_words=True) if named else ()  # that there is no test is refused later
    return Task(problem=problem, warnings=tuple(_PLACE.sub(_counted, line) for line in found))


def read_problem(given: Any, source: str = "problem") -> Problem:
    """The problem that a caller means, as an object or as plain data.

    Args:
        given: A `Problem`, a `Task`, or a problem's fields.
        source: Named in errors.

    Raises:
        ProblemError: If it is none of these.
    """
    if isinstance(given, Task):
        return given.problem
    if isinstance(given, Problem):
        return given
    if not isinstance(given, Mapping):
        raise ProblemError(f"a problem is a Problem or its fields as a dict, not {given!r:.80}")
    return read_row(Problem, _no_trace(given, source), source)


def _no_trace(row: Mapping[str, Any], source: str) -> Mapping[str, Any]:
    """The row, unless it is a whole trace, or the input of a graph, which hold a problem."""
    if isinstance(row.get("problem"), Mapping) and "statement" not in row:
        raise ProblemError(
            f"{source}: this object holds a problem under 'problem', as a trace does; give what stands there"
        )
    return row


def _with_checker(row: Mapping[str, Any], source: str, folder: Path | None) -> Mapping[str, Any]:
    """The row with the code of its checker in place of the code's address.

    A file of problems may come from anybody, and what it names travels on in traces. So only Python files
    below its own folder are read, wherever links lead.

    Raises:
        ProblemError: If it may not be read, or cannot be.
    """
    given = row.get("checker")
    match = _ADDRESS_OF_CODE.fullmatch(given.strip()) if isinstance(given, str) else None
    if match is None or folder is None:
        return row
    place = f"{source}: checker"
    try:
        below, file = folder.resolve(), (folder / match["file"]).resolve()
    except (OSError, ValueError, RuntimeError) as error:  # a NUL, an endless name, links that go in a circle
        raise ProblemError(f"{place}: {match['file']!r:.80} is no file: {_why(error)}") from None
    if not file.is_relative_to(below):
        raise ProblemError(
            f"{place}: {match['file']!r:.80} is not below the folder of the problem's file, from where alone "
            "checkers are read; put it there"
        )
    try:
        code = read_whole(file, 4 * LONGEST_CHECKER).decode("utf-8-sig")
    except FileNotFoundError:
        near = near_files(file, (".py",))
        meant = f"; did you mean {', '.join(near)}?" if near else ""
        raise ProblemError(f"{place}: no file {match['file']!r:.80} beside the problem's{meant}") from None
    except (OSError, ValueError) as error:
        raise ProblemError(f"{place}: {match['file']!r:.80} cannot be read: {_why(error)}") from None
    if not code.strip():
        raise ProblemError(f"{place}: {match['file']!r:.80} is empty; define check(stdin, printed, expected)")
    try:
        return {**row, "checker": checker_of(code, match["function"] or "")}
    except ValueError as error:
        raise ProblemError(f"{place}: {match['file']!r:.80}: {error}") from None


def _why(error: Exception) -> str:
    """The reason alone: an error of the file system repeats the whole name."""
    return getattr(error, "strerror", None) or f"{error!s:.200}"
