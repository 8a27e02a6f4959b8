"""How people state problems, and what is read in it."""

import pytest

from bdc_agents.chat.understanding import Known, hear

from .messages import STATED, UNCLEAR, UNTESTED, shown


@pytest.mark.parametrize(
    ("text", "entry_point", "tests"), [row[1:] for row in STATED], ids=[row[0] for row in STATED]
)
def test_a_stated_problem_is_read(text: str, entry_point: str | None, tests: list[str]) -> None:
    heard = hear([text], Known())
    assert heard.problem, heard.text
    assert [shown(test) for test in heard.problem.public_tests] == tests
    assert heard.problem.entry_point == entry_point
    assert heard.does == "search"
    assert heard.begins


@pytest.mark.parametrize(
    ("text", "entry_point"), [row[1:] for row in UNTESTED], ids=[row[0] for row in UNTESTED]
)
def test_a_problem_without_tests_asks_agents_for_some(text: str, entry_point: str | None) -> None:
    heard = hear([text], Known())
    assert heard.does == "propose", heard
    assert heard.problem
    assert heard.problem.entry_point == entry_point


@pytest.mark.parametrize(("text", "write"), UNCLEAR, ids=[row[0] for row in UNCLEAR])
def test_what_can_be_read_in_two_ways_is_no_test_and_is_asked_for(text: str, write: str) -> None:
    """A first message and a later one: neither makes a test or spends a call."""
    heard = hear([f"Write a function called triple.\n\n{text}"], Known())
    assert heard.does == "say", heard
    assert "two ways" in heard.text
    assert write in heard.text
    assert heard.waiting
    assert heard.waiting.problem.entry_point == "triple"
    again = hear([text], Known(None, (), heard.waiting))
    assert again.does == "say", again
    assert write in again.text
    answered = hear(["triple(2) should be 6"], Known(None, (), heard.waiting))
    assert answered.does == "search"
    assert answered.problem
    assert [shown(test) for test in answered.problem.public_tests] == ["triple(2) -> 6"]


def test_a_conversation_that_is_heard_as_a_whole_waits_for_a_readable_test() -> None:
    heard = hear(["Write triple(n). triple(2) should be 6 or 7", "triple(2) should be 6", "thanks"], Known())
    assert (heard.does, heard.begins, heard.resumes) == ("search", True, False)
    assert heard.problem
    assert heard.problem.statement.startswith("Write triple(n)")
    assert [shown(test) for test in heard.problem.public_tests] == ["triple(2) -> 6"]
