"""A program under another name gets the one that was asked for, where it is clear what is meant."""

import pytest

from bdc_agents.agents.replies.asked import read_program, under_name
from bdc_agents.types import CallTest, Problem, ScriptTest, TestCase

SUM = "def add_up(xs):\n    return sum(xs)"
SOLUTION = "class Solution:\n    def add_up(self, xs):\n        return sum(xs)"


def asked(entry_point: str | None = "total", *tests: TestCase) -> Problem:
    return Problem(statement="Add up.", entry_point=entry_point, public_tests=tests)


ONE = CallTest(call="total([1, 2])", expected=("3",))
TWO = CallTest(call="total([1, 2], start=1)", expected=("4",))
METHOD = CallTest(call="Solution().total([1, 2])", expected=("3",))


def value(code: str, call: str) -> object:
    names: dict[str, object] = {}
    exec(code, names)
    return eval(call, names)


@pytest.mark.parametrize(
    ("code", "problem"),
    [
        (SUM, asked("total", ONE)),
        (SUM, asked("total")),
        (SUM, asked("total", ScriptTest(code="def check(candidate):\n    assert candidate([1]) == 1\n"))),
        (f"import math\nSIZE = 3\n{SUM}\n\n\nif __name__ == '__main__':\n    print(add_up([1]))", asked()),
        (f"def first(xs, ys):\n    return xs\n\n{SUM}", asked("total", ONE)),
        (
            "def two(xs, ys=0):\n    return sum(xs) + ys\n\ndef main():\n    two([])",
            asked("total", ONE),
        ),
        (f"{SUM}\n\ndef test_add_up():\n    assert add_up([1]) == 1", asked("total", ONE)),
        (SUM.replace("sum(xs)", "0") + "\n" + SUM, asked("total", ONE)),
        ("def two(xs, *, start=0):\n    return sum(xs)", asked("total", ONE, TWO)),
        (SOLUTION, asked("Solution().total", METHOD)),
        (SOLUTION, asked("Solution.total", METHOD)),
        (SUM, asked("Solution().total", METHOD)),
        ("def add_up(self, xs):\n    return sum(xs)", asked("Solution().total", METHOD)),
    ],
)
def test_what_is_meant_gets_the_name_that_was_asked_for(code: str, problem: Problem) -> None:
    named = under_name(code, problem)
    assert named.startswith(code)
    call = "Solution().total([1, 2])" if problem.defines == "Solution" else "total([1, 2])"
    assert value(named, call) == 3
    assert under_name(named, problem) == named, "once is enough"
    assert read_program(f"Here:\n```python\n{code}\n```", problem) == named


@pytest.mark.parametrize(
    ("code", "problem"),
    [
        ("def total(xs):\n    return sum(xs)", asked("total", ONE)),
        ("total = sum", asked("total", ONE)),
        ("from operator import add as total", asked("total", ONE)),
        (f"{SUM}\n\n\ndef other(ys):\n    return ys", asked("total", ONE)),
        (f"{SUM}\n\n\ndef other(xs, ys):\n    return ys", asked("total")),
        ("def add_up(xs, ys):\n    return sum(xs)", asked("total", ONE)),
        ("def add_up():\n    return 3", asked("total", ONE)),
        ("def add_up(xs, *, start):\n    return 3", asked("total", ONE)),
        ("def test_total(xs):\n    return 3", asked("total", ONE)),
        ("def total(xs):\n    return", asked(None)),
        ("def broken(xs:\n", asked("total", ONE)),
        ("print(3)", asked("total", ONE)),
        ("class Total:\n    def __call__(self, xs):\n        return 3", asked("total", ONE)),
        (SUM, asked("BoxOfThings", CallTest(call="BoxOfThings([1]).total()", expected=("1",)))),
        (SOLUTION.replace("add_up", "total"), asked("Solution().total", METHOD)),
        (
            f"class Base:\n    total = sum\n\n\n{SOLUTION.replace('n:', 'n(Base):', 1)}",
            asked("Solution().total"),
        ),
        (f"{SOLUTION}\n    def other(self, ys):\n        return ys", asked("Solution().total", METHOD)),
    ],
)
def test_a_program_is_left_alone_where_nothing_else_is_sure(code: str, problem: Problem) -> None:
    assert under_name(code, problem) == code
