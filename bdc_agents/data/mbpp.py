"""MBPP: reads the full set, the sanitized one, and MBPP+ of EvalPlus.

As usual, the first assert is public; the others and the challenge tests are hidden. The statement is the
text alone, since prompts show the public test.
"""

import re
from typing import Annotated, Any

from pydantic import Field

from bdc_agents.data.evalplus import PLUS_LIMITS, hub_test, input_tests, restore_inputs
from bdc_agents.data.rows import Row, build_task, read_row
from bdc_agents.errors import ProblemError
from bdc_agents.types import Limits, Task, TestCase
from bdc_agents.types.written.asserts import case_from_assert, entry_point_of

_Id = Annotated[str, Field(coerce_numbers_to_str=True)]


class _MbppRow(Row):
    task_id: _Id
    text: str | None = None
    prompt: str | None = None
    code: str = ""
    test_list: tuple[str, ...]
    test_setup_code: str = ""
    test_imports: tuple[str, ...] = ()
    challenge_test_list: tuple[str, ...] = ()


class _HubPlusRow(_MbppRow):
    test: str


class _ReleasePlusRow(Row):
    task_id: _Id
    prompt: str
    entry_point: str
    canonical_solution: str
    base_input: tuple[list[Any], ...]
    plus_input: tuple[list[Any], ...] = ()
    atol: float = 0
    assertion: str = ""


def mbpp_task(row: Any, source: str = "row", *, dataset: str = "mbpp") -> Task:
    """The task of one row of `mbpp.jsonl` or of `sanitized-mbpp.json`.

    Args:
        row: With `task_id`, `text` (or `prompt`), `test_list`, and where there are some `code`,
            `test_setup_code`, `test_imports`, `challenge_test_list`.
        source: Where the row comes from; named in errors.
        dataset: The first part of the task's address.

    Raises:
        ProblemError: If the row cannot be used.
    """
    fields = read_row(_MbppRow, row, source)
    tests = _tests(fields, source)
    return _task(fields, dataset, tests[:1], tests[1:], source)


def mbpp_sanitized_task(row: Any, source: str = "row") -> Task:
    """The task of one row of `sanitized-mbpp.json`; see `mbpp_task`."""
    return mbpp_task(row, source, dataset="mbpp-sanitized")


def mbpp_plus_task(row: Any, source: str = "row") -> Task:
    """The task of one row of MBPP+, of the release file or of the hub.

    Raises:
        ProblemError: If the row cannot be used.
    """
    if isinstance(row, dict) and "base_input" in row:
        return _release_task(read_row(_ReleasePlusRow, row, source), source)
    fields = read_row(_HubPlusRow, row, source)
    public = _tests(fields, source)[:1]
    name = entry_point_of(fields.test_list[:1], _defined(fields.code)) or ""
    return _task(fields, "mbpp+", public, (hub_test(fields.test, name),), source)


def _task(
    fields: _MbppRow,
    dataset: str,
    public: tuple[TestCase, ...],
    hidden: tuple[TestCase, ...],
    source: str,
) -> Task:
    return build_task(
        source,
        hidden=hidden,
        reference=fields.code.replace("\r\n", "\n") or None,
        id=f"{dataset}:{fields.task_id.rpartition('/')[2]}",
        statement=(fields.text or fields.prompt or "").strip(),
        entry_point=entry_point_of(fields.test_list, _defined(fields.code)),
        public_tests=public,
        limits=PLUS_LIMITS if dataset == "mbpp+" else Limits(),
    )


def _tests(fields: _MbppRow, source: str) -> tuple[TestCase, ...]:
    setup = "\n".join([*fields.test_imports, fields.test_setup_code.replace("\r\n", "\n")]).strip()
    named = [
        *((f"test_list[{number}]", text) for number, text in enumerate(fields.test_list)),
        *((f"challenge_test_list[{number}]", text) for number, text in enumerate(fields.challenge_test_list)),
    ]
    return tuple(case_from_assert(text, setup=setup, source=f"{source}: {place}") for place, text in named)


def _defined(code: str) -> list[str]:
    """Functions of the reference; a name of its own is told from a builtin that the assert wraps it in."""
    return re.findall(r"^def\s+(\w+)", code, flags=re.MULTILINE)


def _release_task(fields: _ReleasePlusRow, source: str) -> Task:
    number = fields.task_id.rpartition("/")[2]
    oracle = f"{fields.prompt}\n{fields.canonical_solution}"
    try:
        base, plus = (restore_inputs(int(number), some) for some in (fields.base_input, fields.plus_input))
    except (TypeError, ValueError, AttributeError, OverflowError) as error:
        raise ProblemError(f"{source}: inputs: not as task {number} has them: {error}") from None
    words, _, asserts = fields.prompt.strip().strip('"').strip().partition("\nassert ")
    public = (case_from_assert(f"assert {asserts}", source=f"{source}: prompt"),) if asserts else ()
    return build_task(
        source,
        hidden=input_tests(fields.entry_point, oracle, base, plus, fields.atol),
        reference=oracle,
        id=f"mbpp+:{number}",
        statement=words.strip(),
        entry_point=fields.entry_point,
        public_tests=public,
        limits=PLUS_LIMITS,
    )
