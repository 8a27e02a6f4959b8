"""What docs/problems.md shows is read, or refused, as it says."""

import asyncio
import json
import re
from pathlib import Path
from typing import Any

import pytest

from bdc_agents.config import SandboxConfig
from bdc_agents.data import load_task, task_from_dict
from bdc_agents.data.jsonl import ProblemRow
from bdc_agents.errors import ProblemError
from bdc_agents.runs.hidden import examine
from bdc_agents.sandbox import create_executor, job_for
from bdc_agents.types import CallTest, Checker, Limits, Problem, ScriptTest, StdinTest, Task
from bdc_agents.types.written.forms import _NAMES

PAGE = (Path(__file__).parents[2] / "docs/problems.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE, flags=re.DOTALL)


def rows(after: str) -> list[tuple[str, str]]:
    """The cells of the table that follows a line."""
    table = PAGE.partition(after)[2].split("|---|---|\n")[1].split("\n\n")[0]
    return [tuple(cell.strip() for cell in line.strip("| ").split(" | ", 1)) for line in table.splitlines()]  # type: ignore[misc]


def written(cell: str) -> Any:
    text = cell.strip("`")
    return json.loads(text) if text.startswith(("{", "[")) else text.replace("\\n", "\n")


@pytest.fixture(scope="module")
def tasks(tmp_path_factory: pytest.TempPathFactory) -> list[Task]:
    """Every problem of the page, loaded from a file beside its checker."""
    folder = tmp_path_factory.mktemp("mine")
    (folder / "check.py").write_text(blocks("python")[0], encoding="utf-8")
    file = folder / "mine.jsonl"
    found = [json.loads(text) for text in blocks("json")]
    file.write_text("".join(f"{json.dumps(row)}\n" for row in found), encoding="utf-8")
    return [load_task(f"{file}:{row['id']}") for row in found]


def test_every_problem_is_solved_by_its_reference_and_draws_no_warning(tasks: list[Task]) -> None:
    async def run() -> None:
        executor = create_executor(SandboxConfig(workers=1))
        try:
            for task in tasks:
                assert await examine(task, executor) == ()
        finally:
            await executor.aclose()

    assert len(tasks) == 6
    assert all(task.hidden.reveal_reference() for task in tasks)
    asyncio.run(run())


def test_the_class_is_the_entry_point_and_all_forms_call_its_method(tasks: list[Task]) -> None:
    task = next(task for task in tasks if task.problem.id.endswith("two-sum"))
    assert task.problem.entry_point == "Solution().two_sum"
    called = [
        test.call for test in (*task.problem.public_tests, *task.hidden.reveal()) if test.kind == "call"
    ]
    assert called == [
        "Solution().two_sum([2, 7, 11], 9)",
        "Solution().two_sum([3, 3], 6)",
        "Solution().two_sum(nums=[3, 2, 4], target=6)",
    ]


KINDS = {"whole program": StdinTest, "test code": ScriptTest}


@pytest.mark.parametrize(("cell", "meaning"), [*rows("As text:"), *rows("As an object or a pair:")])
def test_every_form_is_read_as_the_page_says(cell: str, meaning: str) -> None:
    if meaning == "the same":
        meaning = "a call and its value" if "double" in cell else "a whole program"
    kind = next((kind for words, kind in KINDS.items() if words in meaning), CallTest)
    problem = Problem(statement="Do it.", public_tests=[written(cell)])  # type: ignore[arg-type]
    assert [type(test) for test in problem.public_tests] == [kind]


def test_the_page_has_all_names_of_the_parts_of_a_test() -> None:
    told = {
        name.strip("`"): tuple(re.findall(r"`(\w+)`", others))
        for name, others in rows("by other names, which")
    }
    assert told == {names[0]: names[1:] for names in _NAMES.values() if len(names) > 1}


def test_the_page_has_all_fields() -> None:
    fields = {name for cell, _ in rows("counts as left out.") for name in re.findall(r"`(\w+)`", cell)}
    assert fields == {*ProblemRow.model_fields}
    checker = {
        name for cell, _ in rows("As an object a checker has") for name in re.findall(r"`(\w+)`", cell)
    }
    assert checker == {*Checker.model_fields}
    limits = PAGE.partition("| `limits` |")[2].split("|")[0]
    assert re.findall(r"`(\w+)`", limits) == [*Limits.model_fields]


@pytest.mark.parametrize(
    "tests",
    [
        "double(1) == 2",
        '["double(1) == 2", "double(2) == 4"]',
        {"input": ["1", "2"], "output": ["2", "4"], "fn_name": "double"},
        {"inputs": [[1], [2]], "outputs": [2, 4], "function": "double"},
    ],
    ids=str,
)
def test_tests_may_stand_alone_in_a_text_or_in_columns(tests: Any) -> None:
    problem = Problem(statement="Do it.", public_tests=tests)
    assert problem.entry_point == "double"
    assert {test.kind for test in problem.public_tests} == {"call"}


@pytest.mark.parametrize(("cell", "why"), rows("These are refused"))
def test_what_is_refused_is_refused_with_what_to_write(cell: str, why: str) -> None:
    with pytest.raises(ProblemError) as caught:
        task_from_dict({"id": "x", "statement": "Do it.", "public_tests": [written(cell)]}, "mine.jsonl:3")
    assert why
    assert "mine.jsonl:3: public_tests[0]" in str(caught.value)


def test_a_problem_of_a_trace_can_be_put_into_a_file(tasks: list[Task], tmp_path: Path) -> None:
    for number, task in enumerate(tasks):
        file = tmp_path / f"{number}.json"
        file.write_text(task.problem.model_dump_json(), encoding="utf-8")
        again = load_task(str(file)).problem
        assert again == task.problem.model_copy(update={"id": again.id})


def test_the_checker_travels_with_its_problem(tasks: list[Task]) -> None:
    split = next(task.problem for task in tasks if task.problem.id.endswith("split"))
    again = Problem.model_validate(json.loads(split.model_dump_json()))
    assert again == split
    assert again.checker.code == blocks("python")[0]
    job = job_for(again, "print(1, 4)", again.public_tests)
    executor = create_executor(SandboxConfig(workers=1))

    async def run() -> list[tuple[str, str]]:
        try:
            return [(one.outcome, one.error) for one in (await executor.run(job)).results]
        finally:
            await executor.aclose()

    assert asyncio.run(run()) == [("passed", ""), ("wrong", "their sum is not -1")]


def test_comparisons_may_be_joined_and_a_difficulty_be_a_number() -> None:
    row = {
        "id": "x",
        "statement": "Do it.",
        "difficulty": 1200,
        "tests": ["double(1) == 2 and double(2) > 3"],
    }
    problem = task_from_dict(row).problem
    assert problem.public_tests == (ScriptTest(code="assert double(1) == 2 and double(2) > 3"),)
    assert problem.difficulty == "1200"
