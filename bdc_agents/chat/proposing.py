"""Tests that agents propose: which of them can be used, and on which two agents agree."""

from collections.abc import Sequence
from typing import Any

from bdc_agents.data.jsonl import read_problem
from bdc_agents.data.rows import given
from bdc_agents.errors import ProblemError
from bdc_agents.search.choice.self_tests import TESTS_KEPT
from bdc_agents.types import CallTest, Problem, StdinTest, TestCase
from bdc_agents.types.literals import evaluate
from bdc_agents.types.written.asserts import called_names

ASKED = 2
"""Agents that are asked for tests: two can agree, and a third would cost as much as a program."""
LONGEST = 1000
"""Characters of a proposed test: a person is to read it."""


def usable(tests: Sequence[TestCase], problem: Problem) -> list[TestCase]:
    """Those of an agent's tests that can be run, each once; replies are hostile, and often wrong in form."""
    found: dict[Any, TestCase] = {}
    fields = problem.model_dump(mode="json", exclude={"public_tests"})
    for test in tests:
        if len(test.model_dump_json()) > LONGEST or not _is_of(test, problem):
            continue
        written = test.model_dump(mode="json", exclude={"kind"} if isinstance(test, CallTest) else None)
        try:
            (read,) = read_problem({**fields, "public_tests": [written]}).public_tests
        except (ProblemError, ValueError):
            continue
        found.setdefault(given(read), read)
    return [*found.values()][:TESTS_KEPT]


def _is_of(test: TestCase, problem: Problem) -> bool:
    """Whether a test is of what is to be written: a call of it, or a program's input."""
    if problem.defines is None:
        return isinstance(test, StdinTest)
    return isinstance(test, CallTest) and not test.setup and problem.defines in called_names(test.call)


def agreed(proposals: Sequence[Sequence[TestCase]]) -> tuple[TestCase, ...]:
    """The tests that two agents wrote, with the same input and the same answer."""
    if len(proposals) < ASKED:
        return ()
    first, second = proposals[:ASKED]
    known = {(given(test), _answer(test)) for test in second}
    return tuple(test for test in first if (given(test), _answer(test)) in known)


def offered(proposals: Sequence[Sequence[TestCase]]) -> tuple[TestCase, ...]:
    """The tests to ask a person about, in turn from each agent; of contradicting ones neither."""
    found: dict[Any, TestCase] = {}
    doubtful: set[Any] = set()
    longest = max(map(len, proposals), default=0)
    for number in range(longest):
        for tests in proposals:
            if number < len(tests):
                test = tests[number]
                before = found.setdefault(given(test), test)
                if _answer(before) != _answer(test):
                    doubtful.add(given(test))
    return tuple(test for key, test in found.items() if key not in doubtful)[:TESTS_KEPT]


def _answer(test: TestCase) -> str:
    if isinstance(test, CallTest):
        value = evaluate(test.expected[0])
        return repr(sorted(value, key=repr)) if isinstance(value, set | frozenset) else repr(value)
    return " ".join(test.expected[0].split()) if isinstance(test, StdinTest) else ""
