"""APPS: reads the official rows (`input_output` as JSON text) and rows with the tests already split.

The official grader compares numbers with `numpy.allclose`, whose relative tolerance of 1e-5
accepts wrong large integers; here they must agree unless the statement allows an error.
"""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from pydantic import AliasChoices, Field

from bdc_agents.data.contest import (
    FUNCTION_PREAMBLE,
    Pairs,
    function_test,
    split_tests,
    stdin_checker,
    unjudged_tags,
)
from bdc_agents.data.examples import call_examples, stdin_examples
from bdc_agents.data.rows import Row, build_task, read_json, read_row
from bdc_agents.errors import ProblemError
from bdc_agents.types import StdinTest, Task, TestCase


class _AppsRow(Row):
    id: Annotated[
        str,
        Field(coerce_numbers_to_str=True, validation_alias=AliasChoices("problem_id", "id", "name")),
    ]
    statement: str = Field(validation_alias=AliasChoices("question", "description"))
    difficulty: str | None = None
    starter_code: str | None = None
    input_output: str | None = None
    solutions: str | None = None
    public_tests: Pairs = Pairs()
    private_tests: Pairs = Pairs()


class _InputOutput(Row):
    inputs: tuple[Any, ...] = ()
    outputs: tuple[Any, ...] = ()
    fn_name: str | None = None


def apps_task(row: Any, source: str = "row", *, dataset: str = "apps") -> Task:
    """The task of one row of APPS.

    Args:
        row: Official: `problem_id`, `question`, `input_output` (JSON with `inputs`, `outputs` and,
            for a function, `fn_name`), `solutions`, `starter_code`, `difficulty`. Or with `name`,
            `description`, `public_tests` and `private_tests` as lists of `input` and `output`.
        source: Where the row comes from; named in errors.
        dataset: The first part of the task's address.

    Raises:
        ProblemError: If the row cannot be used.
    """
    fields = read_row(_AppsRow, row, source)
    official = _input_output(fields.input_output, source)
    name = official.fn_name or None
    tests: Sequence[TestCase] = fields.private_tests.tests()
    if official.inputs:
        pairs = list(zip(official.inputs, official.outputs, strict=True))
        tests = [_call_test(name, *pair, source) if name else _stdin_test(*pair, source) for pair in pairs]
    examples = call_examples(fields.statement, name) if name else stdin_examples(fields.statement)
    public, hidden = split_tests(tests, fields.public_tests.tests(), examples)
    return build_task(
        source,
        hidden=hidden,
        reference=_first_solution(fields.solutions),
        id=f"{dataset}:{fields.id}",
        statement=fields.statement.strip(),
        entry_point=name,
        starter_code=fields.starter_code or "",
        preamble=FUNCTION_PREAMBLE if name else "",
        public_tests=public,
        checker=stdin_checker(fields.statement, public),
        difficulty=fields.difficulty,
        tags=unjudged_tags(fields.statement),
    )


def apps_train_task(row: Any, source: str = "row") -> Task:
    """The task of one row of the train split, whose ids are those of the test split again."""
    return apps_task(row, source, dataset="apps-train")


def _input_output(text: str | None, source: str) -> _InputOutput:
    """The official tests; some rows have an empty text instead."""
    if not (text or "").strip():
        return _InputOutput()
    try:
        value = read_json(text or "")
    except (ValueError, RecursionError) as error:
        raise ProblemError(f"{source}: input_output: not JSON that can be read: {error}") from None
    fields = read_row(_InputOutput, value, f"{source}: input_output")
    if len(fields.inputs) != len(fields.outputs):
        counts = f"{len(fields.inputs)} inputs but {len(fields.outputs)} outputs"
        raise ProblemError(f"{source}: input_output: {counts}")
    if fields.fn_name and not fields.fn_name.isidentifier():
        raise ProblemError(f"{source}: input_output: fn_name: not a name: {fields.fn_name!r:.80}")
    return fields


def _stdin_test(given: Any, output: Any, source: str) -> StdinTest:
    return StdinTest(stdin=_text(given, source), expected=(_text(output, source),))


def _text(value: Any, source: str) -> str:
    """A text; some rows have a list of lines instead."""
    if isinstance(value, str):
        return value
    if isinstance(value, list):
        return "\n".join(str(line) for line in value)
    raise ProblemError(f"{source}: input_output: a text or a list of lines, not {value!r:.80}")


def _call_test(name: str, given: Any, output: Any, source: str) -> TestCase:
    if not isinstance(given, list):
        raise ProblemError(f"{source}: input_output: inputs of {name} are lists of arguments: {given!r:.80}")
    arguments = [_int_keys(value) if number == 0 else value for number, value in enumerate(given)]
    # Most rows wrap the value in a list of one; the official grader accepts it either way.
    accepted = [output[0], output] if isinstance(output, list) and output else [output]
    return function_test(name, arguments, [_int_keys(value) for value in accepted])


def _int_keys(value: Any) -> Any:
    """A dict whose keys are all whole numbers, which JSON had turned into text."""
    if not isinstance(value, Mapping):
        return value
    try:
        return {int(key): item for key, item in value.items()}
    except ValueError:
        return value


def _first_solution(text: str | None) -> str | None:
    try:
        solutions = read_json(text) if text else []
    except (ValueError, RecursionError):
        return None
    first = solutions[0] if isinstance(solutions, list) and solutions else None
    return first if isinstance(first, str) else None
