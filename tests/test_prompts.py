"""What agents are told of a problem's tests."""

import pytest

from bdc_agents.prompts import describe
from bdc_agents.types import Checker, Problem, StdinTest

OWN = Checker(code="def check(stdin, printed, expected):\n    return True\n")


@pytest.mark.parametrize(
    ("expected", "checker", "told"),
    [
        ("2 3", Checker(), "Input:\n5\nOutput:\n2 3\n"),
        ("2 3", OWN, "Input:\n5\nOutput, for example (others may be right, too):\n2 3\n"),
        ("", OWN, "Input:\n5\nOutput: whatever is right for this input\n"),
        ("", Checker(), "Input:\n5\nOutput:\n\n"),
    ],
)
def test_where_a_checker_decides_no_output_is_said_to_be_the_only_one(
    expected: str, checker: Checker, told: str
) -> None:
    test = StdinTest(stdin="5", expected=(expected,))
    problem = Problem(statement="Split a number.", public_tests=(test,), checker=checker)
    assert describe(problem).endswith(told)
