"""Statements of real data sets, pasted as people paste them: what is to be written is read right."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from bdc_agents import Problem, load_tasks
from bdc_agents.chat.understanding import Known, hear

DATA = Path(os.environ.get("BDC_DATA") or Path(__file__).parents[3] / "shared" / "data")
MOST = 60
"""Problems of a set: enough for its forms."""


def with_starter(problem: Problem) -> str:
    return f"{problem.statement}\n```python\n{problem.starter_code}\n```"


@pytest.mark.parametrize(
    ("dataset", "pasted", "right", "tested"),
    [
        ("humaneval", lambda problem: problem.statement, 1.0, 0.75),
        ("apps", lambda problem: problem.statement, 0.97, 0.95),
        ("codecontests", lambda problem: problem.statement, 0.95, 0.95),
        ("leetcode", with_starter, 0.97, 0.4),
    ],
)
def test_pasted_statements_are_read(
    dataset: str, pasted: Callable[[Problem], str], right: float, tested: float
) -> None:
    if not (DATA / dataset).exists():
        pytest.skip(f"{DATA / dataset} is not there")
    problems = [task.problem for task in load_tasks(dataset, data=DATA)][:MOST]
    heard = [hear([pasted(problem)], Known()) for problem in problems]
    assert all(one.problem for one in heard), next(one.text for one in heard if not one.problem)
    pairs = zip(problems, heard, strict=True)
    same = sum(problem.defines == (one.problem and one.problem.defines) for problem, one in pairs)
    assert same >= right * len(problems)
    assert sum(one.does == "search" for one in heard) >= tested * len(heard)
