"""HumanEval and HumanEval+: reads their rows.

Public tests are the row's `public_tests` (asserts) where it has some, otherwise the examples of
the docstring. The hidden test of HumanEval is its official script; those of HumanEval+ are the
base and plus inputs compared with the oracle.
"""

import ast
import re
from typing import Any

from bdc_agents.data.evalplus import PLUS_LIMITS, hub_test, input_tests
from bdc_agents.data.examples import call_examples
from bdc_agents.data.rows import Row, build_task, read_row
from bdc_agents.errors import ProblemError
from bdc_agents.syntax import parse
from bdc_agents.types import CallTest, Limits, ScriptTest, Task, TestCase
from bdc_agents.types.written.asserts import call_of, called_names, case_from_assert

# Examples in docstrings that the official tests and solutions contradict: no right program passes them.
_ERRATA = frozenset(
    {
        ("47", "median([-10, 4, 6, 1000, 10, 20])"),
        ("116", "sort_array([1, 5, 2, 3, 4])"),
        ("116", "sort_array([1, 0, 2, 3, 4])"),
        ("116", "sort_array([-2, -3, -4, -5, -6])"),
        ("148", 'bf("Earth", "Mercury")'),
    }
)
_ASSERT = re.compile(r"^(as+ert\s+)?(.*?)\.?$", re.DOTALL)


class _HumanEvalRow(Row):
    task_id: str
    prompt: str
    entry_point: str
    test: str
    canonical_solution: str = ""
    public_tests: tuple[str, ...] = ()


class _PlusRow(_HumanEvalRow):
    base_input: tuple[list[Any], ...] | None = None
    plus_input: tuple[list[Any], ...] = ()
    atol: float = 0


def humaneval_task(row: Any, source: str = "row") -> Task:
    """The task of one row of the official HumanEval file.

    Args:
        row: With `task_id`, `prompt`, `entry_point`, `test`, `canonical_solution` and, where
            they are known, `public_tests`.
        source: Where the row comes from; named in errors.

    Raises:
        ProblemError: If the row cannot be used.
    """
    fields = read_row(_HumanEvalRow, row, source)
    official = ScriptTest(code=f"{fields.test}\n\ncheck({fields.entry_point})\n")
    return _task(fields, "humaneval", (official,), Limits(), source)


def humaneval_plus_task(row: Any, source: str = "row") -> Task:
    """The task of one row of HumanEval+, of the release file or of the hub.

    Raises:
        ProblemError: If the row cannot be used.
    """
    fields = read_row(_PlusRow, row, source)
    if fields.base_input is None:
        tests = (hub_test(fields.test, fields.entry_point),)
    else:
        oracle = fields.prompt + fields.canonical_solution
        tests = input_tests(fields.entry_point, oracle, fields.base_input, fields.plus_input, fields.atol)
    return _task(fields, "humaneval+", tests, PLUS_LIMITS, source)


def _task(
    fields: _HumanEvalRow, dataset: str, hidden: tuple[ScriptTest, ...], limits: Limits, source: str
) -> Task:
    tree = parse(fields.prompt) or parse(f"{fields.prompt}\n    pass\n")
    entry = next((node for node in (tree.body if tree else []) if _defines(node, fields.entry_point)), None)
    if entry is None:
        raise ProblemError(f"{source}: prompt: does not define the entry point {fields.entry_point!r}")
    return build_task(
        source,
        hidden=hidden,
        reference=fields.prompt + fields.canonical_solution,
        id=f"{dataset}:{fields.task_id}",
        statement=fields.prompt.strip(),
        starter_code=fields.prompt,
        entry_point=fields.entry_point,
        preamble="".join(fields.prompt.splitlines(keepends=True)[: _first_line(entry) - 1]).strip(),
        public_tests=tuple(test for test in _public(fields, entry) if not _is_erratum(fields, test)),
        limits=limits,
    )


def _defines(node: ast.stmt, name: str) -> bool:
    return isinstance(node, ast.FunctionDef) and node.name == name


def _first_line(entry: ast.stmt) -> int:
    decorators = getattr(entry, "decorator_list", [])
    return min([entry.lineno, *(decorator.lineno for decorator in decorators)])


def _public(fields: _HumanEvalRow, entry: ast.stmt) -> tuple[TestCase, ...]:
    given = [test for text in fields.public_tests if (test := _mend(text, fields.entry_point)) is not None]
    if given:
        return tuple(dict.fromkeys(given))
    docstring = ast.get_docstring(entry) if isinstance(entry, ast.FunctionDef) else None
    return call_examples(docstring or "", fields.entry_point)


def _is_erratum(fields: _HumanEvalRow, test: TestCase) -> bool:
    return (fields.task_id.rpartition("/")[2], call_of(test)) in _ERRATA


def _mend(text: str, name: str) -> CallTest | ScriptTest | None:
    """The test an example states; None where it is too broken to mend, as three of the file are.

    The file was copied from docstrings: some lines lack `assert`, misspell it, write `=>` for
    `==`, or end in a full stop.
    """
    match = _ASSERT.match(text.strip())
    body = (match[2] if match else text).replace(" => ", " == ")
    try:
        test = case_from_assert(f"assert {body}")
    except ProblemError:
        return None
    return test if name in called_names(f"assert {body}") else None
