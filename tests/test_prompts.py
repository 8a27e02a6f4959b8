"""What agents are told of a problem's tests."""

import pytest

from bdc_agents.chat.replies import show
from bdc_agents.prompts import describe, expect_output, mend_program
from bdc_agents.sandbox import create_executor
from bdc_agents.sandbox.protocol import job_for
from bdc_agents.search.tool import shown_failure
from bdc_agents.types import Checker, Problem, Program, StdinTest
from bdc_agents.view.tree import failing_test

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


@pytest.mark.parametrize(
    ("stdin", "checker", "told"),
    [
        ("1\n\n2\n", Checker(), "Input, as a Python string:\n'1\\n\\n2\\n'\nOutput:\n3\n\n4\n"),
        (
            "\n5\n",
            Checker(text="lines"),
            "Input, as a Python string:\n'\\n5\\n'\nOutput, as a Python string:\n'3\\n\\n4'",
        ),
        ("5\n\n", Checker(), "Input, as a Python string:\n'5\\n\\n'\n"),
        ("", Checker(), "Input, as a Python string:\n''\n"),
        ("1\n2\n", Checker(), "Input:\n1\n2\n\nOutput:"),
    ],
)
def test_blank_lines_of_a_text_are_seen(stdin: str, checker: Checker, told: str) -> None:
    test = StdinTest(stdin=stdin, expected=("3\n\n4",))
    problem = Problem(statement="Add up.", public_tests=(test,), checker=checker)
    assert told in describe(problem)


async def test_they_are_seen_in_what_is_told_of_a_failure_too() -> None:
    """To agents, in the terminal, in a chat and over MCP: all show what the judge says of the test."""
    test = StdinTest(stdin="1\n\n2\n", expected=("9",))
    problem = Problem(statement="Add up.", public_tests=(test,))
    executor = create_executor()
    try:
        verdict = await executor.run(job_for(problem, "print(0)", (test,)))
    finally:
        await executor.aclose()
    program = Program(code="print(0)", agent="a", verdict=verdict)
    (asked,) = [str(one.content) for one in mend_program(problem, [], program, 3, code=False)][1:]
    assert "- '1\\n\\n2\\n'\n  expected: 9\n  got: 0" in asked
    assert "fails: '1\\n\\n2\\n'" in failing_test(verdict)
    assert "'1\\n\\n2\\n'" in show(test)
    assert "'1\\n\\n2\\n'" in shown_failure(verdict.results[0])
    (question,) = [str(one.content) for one in expect_output(problem, test.stdin)][1:]
    assert "for this input, as a Python string?\n```\n'1\\n\\n2\\n'" in question
