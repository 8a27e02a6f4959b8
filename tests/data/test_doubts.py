"""What is doubtful of values and starter code, held against what the judge and the readers really do."""

from typing import Any

import pytest

from bdc_agents.chat.understanding import Known, hear
from bdc_agents.data import task_from_dict
from bdc_agents.data.jsonl import task_from_statement
from bdc_agents.sandbox.compare import text_matches, value_matches
from bdc_agents.search.tool import doubtful, read_task
from bdc_agents.types import Checker

MEAN: dict[str, Any] = {"id": "mean", "statement": "Write mean(xs).", "public_tests": ["mean([0.1]) -> 0.3"]}


def told(**changes: Any) -> tuple[str, ...]:
    return task_from_dict(MEAN | changes).warnings


def test_a_decimal_without_a_tolerance_is_told_as_it_is_judged() -> None:
    (line,) = told()
    assert line.startswith("mean: public_tests[0] expects 0.3, and no tolerance is set: numbers are compared")
    assert 'write "checker": {"tolerance": 1e-6}' in line
    assert not value_matches(0.1 + 0.2, [0.3])
    assert value_matches(0.1 + 0.2, [0.3], Checker(tolerance=1e-6))


def test_on_stdin_decimals_are_compared_as_text() -> None:
    (line,) = told(statement="Print the mean.", public_tests=[{"stdin": "1 2", "expected": "1.5 m"}])
    assert "public_tests[0] expects 1.5" in line
    assert "so that 0.50 is not 0.5" in line
    assert not text_matches("0.50", ["0.5"], Checker())
    assert text_matches("0.50", ["0.5"], Checker(tolerance=1e-6))


@pytest.mark.parametrize(
    "changes",
    [
        {"checker": {"tolerance": 1e-9}},
        {"statement": "Write mean(xs), rounded to two digits."},
        {"public_tests": ["mean([1]) -> 2.0"]},
        {"public_tests": ["mean([1]) -> [float('nan'), float('inf')]"]},
        {"public_tests": ["assert abs(mean([1]) - 0.3) < 1e-9"]},
        {"public_tests": ["mean([1]) -> '0.3 m'"]},
        {
            "public_tests": [{"stdin": "1", "expected": "0.5"}],
            "checker": "def check(stdin, printed, expected): return True",
        },
    ],
    ids=str,
)
def test_what_is_compared_as_it_should_be_draws_no_warning(changes: Any) -> None:
    assert not any("tolerance" in line for line in told(**changes))


def test_a_decimal_is_found_at_all_depths_and_a_hidden_one_is_not_shown() -> None:
    assert "expects 0.25" in told(public_tests=["mean([1]) -> {'a': [1, (0.25, {2})]}"])[0]
    (line,) = told(public_tests=["mean([1]) -> 1"], hidden_tests=["mean([2]) -> 0.123"])
    assert "hidden_tests[0] expects a decimal" in line
    assert "0.123" not in line


def test_an_error_that_the_statement_of_a_file_allows_is_told_where_no_checker_does() -> None:
    (line,) = told(statement="Write mean(xs). Errors of 1e-4 are allowed.")
    assert 'the statement allows an error of 0.0001, but the checker none: write "checker"' in line


def test_in_words_the_statement_sets_the_tolerance() -> None:
    """Who states a problem in words has no other place for it."""
    tests = ["mean([1]) -> 0.5"]
    (line,) = task_from_statement("Write mean(xs).", tests).warnings
    assert 'say "an error of 1e-6 is allowed"' in line
    said = "Write mean(xs). An error of 1e-6 is allowed."
    task, asked = task_from_statement(said, tests), read_task({"statement": said, "tests": tests})
    heard = hear([f"{said} mean([1]) should be 0.5"], Known())
    assert heard.problem
    for problem in (task.problem, asked.problem, heard.problem):
        assert problem.checker.tolerance == 1e-6
    assert not (*task.warnings, *doubtful(asked), *heard.notes)


def test_in_a_chat_a_further_message_sets_it_and_is_no_wish() -> None:
    first = hear(["Write mean(xs). mean([1]) should be 0.5"], Known())
    assert 'say "an error of 1e-6 is allowed"' in first.notes[0]
    heard = hear(["An error of 1e-6 is allowed."], Known(first.problem, first.sources))
    assert heard.does == "search"
    assert heard.problem
    assert (heard.remark, heard.notes, heard.problem.checker.tolerance) == ("", (), 1e-6)
    both = hear(["An error of 1e-6 is allowed, but use recursion"], Known(first.problem, first.sources))
    assert both.problem
    assert "use recursion" in both.remark
    assert both.problem.checker.tolerance == 1e-6


@pytest.mark.parametrize(
    ("starter", "why"),
    [
        ("def mean(xs):\n    return (", "'(' was never closed in line 2"),
        ("#include <vector>\nint mean(int x) {", "it looks like C++"),
        ("```python\ndef mean(xs): ...\n```", "in line 1"),
        ("def mean(xs):\0", "null bytes"),
    ],
)
def test_starter_code_that_is_not_python_is_told(starter: str, why: str) -> None:
    row = MEAN | {"starter_code": starter, "public_tests": ["mean([1]) -> 1"]}
    (line,) = task_from_dict(row).warnings
    assert line.startswith("mean: the starter code is not Python (")
    assert why in line


@pytest.mark.parametrize(
    "starter",
    [
        "",
        "# mean",
        "def mean(xs):",
        "def mean(xs)",
        "class A:\n    def mean(self, xs):",
        "  def mean(xs): ...",
    ],
)
def test_a_signature_alone_is_starter_code(starter: str) -> None:
    row = MEAN | {"starter_code": starter, "public_tests": ["mean([1]) -> 1"], "entry_point": "mean"}
    assert not any("Python" in line for line in task_from_dict(row).warnings)
