"""How people state problems, and what is read in it."""

import pytest

from bdc_agents.chat.understanding import Known, hear

from .messages import STATED, UNTESTED, shown


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
