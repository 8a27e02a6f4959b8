r"""Plain problems: one JSON object for each, in a `.jsonl` file or alone in a `.json` file.

    {"id": "double", "statement": "Write double(n), which returns twice n.",
     "public_tests": ["assert double(1) == 2"],
     "hidden_tests": [{"call": "double(21)", "expected": "42"}]}

| field | what it holds |
|---|---|
| id | a short name, unique in the file |
| statement | the task in words |
| public_tests | tests that the search may run and show |
| hidden_tests | tests that only score the final program |
| entry_point | the function to write; taken from the tests where it is left out |
| starter_code | a signature or other code to start from |
| preamble | code that runs before every program |
| checker | `{"text": "tokens" or "lines" or "exact", "tolerance": 1e-6}` |
| limits | `{"cpu_seconds": 6, "memory_mb": 512, ...}` |
| difficulty, tags | labels for reports, never shown to an agent |
| reference | a program known to be right |

Only `id` and `statement` are required. A test is one of

    {"stdin": "2 3\n", "expected": "5"}                a whole program
    {"call": "add(2, 3)", "expected": "5"}             an expression and its value as a literal
    {"code": "x = add(2, 3)\nassert x % 5 == 0"}       test code
    "assert add(2, 3) == 5"                            the short form of the two above
    "2 3 -> 5"                                         the short form of the first; \n is a new line

`expected` may be a list of texts: any one of them is accepted. A call may have a `setup`, code
that runs before it.
"""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, ConfigDict, Discriminator, Field, Tag

from bdc_agents.data.asserts import asserts_something, call_of, case_from_assert, entry_point_of
from bdc_agents.data.rows import build_task, is_literal, read_row
from bdc_agents.errors import ProblemError
from bdc_agents.syntax import long_integers, parse
from bdc_agents.types import (
    CallTest,
    Checker,
    Frozen,
    Limits,
    Problem,
    ScriptTest,
    StdinTest,
    Task,
    TestCase,
)

_ARROW = "->"
STATES_NOTHING = (
    "states nothing that could fail, so it would pass any program; write what must hold, "
    'as in "assert f(1) == 2"'
)


def _one_or_more(value: Any) -> Any:
    if isinstance(value, str):
        return (value,)
    if not isinstance(value, list | tuple):
        raise ValueError('a text such as "5", or a list of texts')
    return value


def _expression(text: str) -> str:
    with long_integers():
        tree = parse(f"({text}\n)")
    if tree is None or not text.strip():
        raise ValueError('not a Python expression; write a call such as "add(2, 3)"')
    return text


def _literals(texts: tuple[str, ...]) -> tuple[str, ...]:
    for text in texts:
        if not is_literal(text):
            raise ValueError(f"not a Python literal: {text!r:.80}; write the value as it stands in code")
    return texts


def _code(text: str) -> str:
    with long_integers():
        tree = parse(text)
    if tree is None:
        raise ValueError("not Python code")
    return text


def _asserting(text: str) -> str:
    if not asserts_something(_code(text)):
        raise ValueError(f"{STATES_NOTHING}: {text!r:.80}")
    return text


def _identifier(text: str) -> str:
    if not text.isidentifier():
        raise ValueError('not a function\'s name; write it alone, such as "add"')
    return text


_Texts = Annotated[
    tuple[str, ...],
    BeforeValidator(_one_or_more, json_schema_input_type=str | list[str]),
    Field(min_length=1, description="The accepted text, or a list of accepted texts."),
]


class StdinRow(Frozen):
    """A test of a whole program."""

    stdin: str
    expected: _Texts


class CallRow(Frozen):
    """A test of an expression; `expected` are Python literals."""

    call: Annotated[str, AfterValidator(_expression)]
    expected: Annotated[_Texts, AfterValidator(_literals)]
    setup: Annotated[str, AfterValidator(_code)] = ""


class CodeRow(Frozen):
    """Test code that passes when it raises nothing."""

    code: Annotated[str, AfterValidator(_asserting)]


def _kind(value: Any) -> str | None:
    if isinstance(value, str):
        return "<text>"
    keys = value if isinstance(value, Mapping) else ()
    return next((f"<{kind}>" for kind in ("stdin", "call", "code") if kind in keys), None)


_TestRow = Annotated[
    Annotated[StdinRow, Tag("<stdin>")]
    | Annotated[CallRow, Tag("<call>")]
    | Annotated[CodeRow, Tag("<code>")]
    | Annotated[str, Tag("<text>")],
    Discriminator(
        _kind,
        custom_error_type="test",
        custom_error_message='a test has "stdin" and "expected", "call" and "expected", or "code", '
        'or is a text such as "assert f(1) == 2"',
    ),
]


class ProblemRow(Frozen):
    """A problem with its tests, as a plain JSON object."""

    model_config = ConfigDict(title="Problem", use_attribute_docstrings=True)

    id: Annotated[str, Field(min_length=1, coerce_numbers_to_str=True)]
    """A short name, unique in the file."""
    statement: Annotated[str, Field(min_length=1)]
    """The task in words."""
    entry_point: Annotated[str, AfterValidator(_identifier)] | None = None
    """The function to write; taken from the tests where it is left out."""
    starter_code: str = ""
    """A signature or other code to start from."""
    preamble: Annotated[str, AfterValidator(_code)] = ""
    """Code that runs before every program."""
    public_tests: tuple[_TestRow, ...] = ()
    """Tests that the search may run and show."""
    hidden_tests: tuple[_TestRow, ...] = ()
    """Tests that only score the final program."""
    checker: Checker = Checker()
    """How outputs and values are compared."""
    limits: Limits = Limits()
    """What one program may use."""
    difficulty: str | None = None
    """A label for reports."""
    tags: tuple[str, ...] = ()
    """Labels for reports."""
    reference: str | None = None
    """A program known to be right."""


def json_schema() -> dict[str, Any]:
    """The JSON schema of a plain problem."""
    return ProblemRow.model_json_schema()


def task_from_dict(row: Any, source: str = "problem", *, prefix: str = "") -> Task:
    """The task that a plain JSON object describes.

    Args:
        row: As the module's text says.
        source: Where it comes from, such as `tasks.jsonl:3`; named in errors.
        prefix: Put before the row's id to make the problem's address.

    Raises:
        ProblemError: If a field is missing, unknown or not accepted; the message names it.
    """
    fields = read_row(ProblemRow, row, source)
    public = _cases(fields.public_tests, f"{source}: public_tests")
    hidden = _cases(fields.hidden_tests, f"{source}: hidden_tests")
    shared = fields.model_dump(include={"starter_code", "preamble", "difficulty", "tags"})
    return build_task(
        source,
        hidden=hidden,
        reference=fields.reference,
        id=f"{prefix}{fields.id}",
        statement=fields.statement,
        entry_point=fields.entry_point or _entry_point([*public, *hidden], fields.starter_code),
        public_tests=public,
        checker=fields.checker,
        limits=fields.limits,
        **shared,
    )


def problem_from_statement(statement: str, tests: Sequence[str] = (), *, id: str = "problem") -> Problem:
    r"""A problem given in words, with its public tests in their short form.

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
    cases = tuple(_short_form(text, f"test {number}") for number, text in enumerate(tests, 1))
    return Problem(id=id, statement=statement, entry_point=_entry_point(cases, ""), public_tests=cases)


def _cases(rows: Sequence[StdinRow | CallRow | CodeRow | str], place: str) -> tuple[TestCase, ...]:
    return tuple(_case(row, f"{place}[{number}]") for number, row in enumerate(rows))


def _case(row: StdinRow | CallRow | CodeRow | str, source: str) -> TestCase:
    if isinstance(row, str):
        return _short_form(row, source)
    if isinstance(row, StdinRow):
        return StdinTest(stdin=row.stdin, expected=row.expected)
    if isinstance(row, CallRow):
        return CallTest(call=row.call, expected=row.expected, setup=row.setup)
    return ScriptTest(code=row.code)


def _short_form(text: str, source: str) -> TestCase:
    if text.lstrip().startswith("assert") or _ARROW not in text:
        test = case_from_assert(text, source=source)
        if isinstance(test, ScriptTest) and not asserts_something(text):
            raise ProblemError(f'{source}: {STATES_NOTHING}, or as in "1 -> 2": {text!r:.120}')
        return test
    given, expected = (part.strip() for part in text.rsplit(_ARROW, 1))
    if is_literal(expected) and entry_point_of([given]) and _is_call(given):
        return CallTest(call=given, expected=(expected,))
    given, expected = (part.replace("\\n", "\n") for part in (given, expected))
    return StdinTest(stdin=f"{given}\n", expected=(f"{expected}\n",))


def _is_call(text: str) -> bool:
    return text.endswith(")") and parse(f"({text}\n)") is not None


def _entry_point(tests: Sequence[TestCase], starter_code: str) -> str | None:
    defined = [line[4:].partition("(")[0].strip() for line in starter_code.splitlines() if line[:4] == "def "]
    return entry_point_of((call_of(test) for test in tests), defined)
