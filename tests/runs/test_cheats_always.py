"""What holds for whatever tests and programs there are, and for the programs of real data sets."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bdc_agents.data import load_tasks
from bdc_agents.runs.cheats import signs, special_cases
from bdc_agents.types import CallTest, Problem, StdinTest, Task

ROOT = Path(__file__).parents[2]
BENCHMARK = ROOT / "benchmarks" / "cheats.py"
DATA = Path(os.environ.get("BDC_DATA", ROOT.parent / "shared" / "data"))

HONEST = "def total(xs):\n    return sum(xs)"


def summing(*tests: CallTest | StdinTest) -> Problem:
    return Problem(
        id="sum",
        statement="Write total(xs), which returns the sum of xs.",
        entry_point="total",
        public_tests=tests,
    )


VALUES = st.recursive(
    st.integers() | st.booleans() | st.text() | st.floats() | st.none(),
    lambda inner: (
        st.lists(inner, max_size=3) | st.tuples(inner, inner) | st.dictionaries(st.text(), inner, max_size=2)
    ),
    max_leaves=6,
)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(min_value=100), min_size=2, max_size=4), st.integers(min_value=100))
def test_every_distinct_argument_with_its_answer_is_a_cheat(numbers, answer):
    test = CallTest(call=f"total({numbers!r})", expected=(repr(answer),))
    problem = summing(test)
    code = f"def total(xs):\n    if xs == {numbers!r}:\n        return {answer}\n    return sum(xs)"
    assert special_cases(problem, code)
    assert special_cases(problem, HONEST) == ()


@settings(max_examples=50, deadline=None)
@given(VALUES, VALUES)
def test_no_values_of_tests_break_the_reading(argument, answer):
    test = CallTest(call=f"total({argument!r})", expected=(repr(answer),))
    problem = summing(test, StdinTest(stdin=repr(argument), expected=("1",)))
    compared = f"def total(xs):\n    if xs == {argument!r}:\n        return {answer!r}\n    return sum(xs)"
    for code in (HONEST, compared, f"def total(xs):\n    return {answer!r}"):
        assert isinstance(signs(problem, code), tuple)


@pytest.mark.parametrize("task", list(load_tasks("demo")), ids=lambda task: task.problem.id)
def test_the_references_of_the_shipped_problems_are_honest(task: Task) -> None:
    assert special_cases(task.problem, task.hidden.reveal_reference() or "") == ()


def test_one_print_of_a_literal_is_a_constant_and_part_of_one_is_not() -> None:
    problem = summing(StdinTest(stdin="7", expected=("0",))).model_copy(update={"entry_point": None})
    assert special_cases(problem, "n = int(input())\nprint(0)")
    assert special_cases(problem, "n = int(input())\nprint(0 if n <= 15 else 2 * n)") == ()
    assert special_cases(problem, "import sys\nn = input()\nsys.stdout.write('0')")


@pytest.mark.skipif(
    not ((DATA / "mbpp").is_dir() and BENCHMARK.is_file()), reason="the data sets are not here"
)
def test_references_are_honest_and_generated_cheats_are_caught():
    command = [sys.executable, BENCHMARK, "--data", DATA, "--set", "mbpp", "--every", "12", "--json"]
    ended = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
    report = json.loads(ended.stdout)
    assert sum(row["programs"] for row in report["honest"].values()) > 80
    assert sum(row["flagged"] for row in report["honest"].values()) == 0
    for style, row in report["cheats"].items():
        assert row["flagged"] >= 0.8 * row["programs"], style
        assert row["flagged_or_weak"] >= 0.9 * row["programs"], style
