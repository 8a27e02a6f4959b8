"""What is doubtful about a problem's tests: those that are equal, contradict each other or assert nothing."""

import re
from collections.abc import Iterator, Sequence
from typing import Any

from bdc_agents.data.rows import given
from bdc_agents.types import CallTest, Problem, ScriptTest, StdinTest, TestCase
from bdc_agents.types.asserts import asserts_something
from bdc_agents.types.literals import evaluate


def doubts(public: Sequence[TestCase], hidden: Sequence[TestCase], problem: Problem) -> tuple[str, ...]:
    """One line for each thing that is doubtful about a problem's tests.

    No line says what a hidden test is, but for its number.

    Args:
        public, hidden: As they were written, before any is left out.
        problem: What they are of.
    """
    named = [(f"public_tests[{number}]", test) for number, test in enumerate(public)]
    named += [(f"hidden_tests[{number}]", test) for number, test in enumerate(hidden)]
    return tuple(
        f"{problem.id}: {line}"
        for line in (
            *_missing(public),
            *_equal(public, hidden),
            *_contradicting(named),
            *_of_another_kind(named, problem),
            *_nothing_named(named, problem),
            *_named_by_none(named, problem),
            *_asserting_nothing(named),
        )
    )


def _missing(public: Sequence[TestCase]) -> Iterator[str]:
    if not public:
        yield (
            "no public test, so a search has nothing to aim at unless agents write some "
            "(self_tests = true under [search])"
        )


def _equal(public: Sequence[TestCase], hidden: Sequence[TestCase]) -> Iterator[str]:
    shown = {given(test) for test in public}
    same = sum(given(test) in shown for test in hidden)
    if same:
        which = (
            "all hidden tests give" if same == len(hidden) else f"{same} of {len(hidden)} hidden tests give"
        )
        yield (
            f"{which} what a public test gives, and count as that one: only tests that no agent has seen "
            "tell whether a program is right"
        )


def _contradicting(named: Sequence[tuple[str, TestCase]]) -> Iterator[str]:
    first: dict[tuple[str, ...], tuple[str, TestCase]] = {}
    for name, test in named:
        if isinstance(test, ScriptTest):
            continue
        before, other = first.setdefault(given(test), (name, test))
        if not any(one == another for one in _answers(other) for another in _answers(test)):
            yield (
                f"{before} and {name} contradict each other: the same input, other answers, so no program "
                "passes both; where both are right, write them as a list in one test"
            )


def _answers(test: TestCase) -> list[Any]:
    """What a test accepts, without differences that no checker minds by default."""
    if isinstance(test, StdinTest):
        return [text.split() for text in test.expected]
    return [evaluate(text) for text in test.expected] if isinstance(test, CallTest) else []


def _of_another_kind(named: Sequence[tuple[str, TestCase]], problem: Problem) -> Iterator[str]:
    on_stdin = [name for name, test in named if isinstance(test, StdinTest)]
    others = [name for name, test in named if not isinstance(test, StdinTest)]
    if on_stdin and (others or problem.entry_point):
        asked = (
            f"{problem.entry_point} is to be written"
            if problem.entry_point
            else f"{others[0]} calls functions"
        )
        yield f"{on_stdin[0]} runs a whole program on stdin, but {asked}: hardly a program does both"
    if problem.checker.code and others:
        yield f"the checker is for outputs of programs on stdin; {others[0]} is compared without it"


def _nothing_named(named: Sequence[tuple[str, TestCase]], problem: Problem) -> Iterator[str]:
    calling = [name for name, test in named if isinstance(test, CallTest)]
    if calling and not problem.entry_point:
        yield (
            f"{calling[0]} calls no function by its name, so agents are asked for none: name the entry_point"
        )


def _named_by_none(named: Sequence[tuple[str, TestCase]], problem: Problem) -> Iterator[str]:
    calls = [f"{test.setup}\n{test.call}" for _, test in named if isinstance(test, CallTest)]
    name = re.compile(rf"\b{re.escape(problem.defines or '')}\b")
    if problem.defines and calls and len(calls) == len(named) and not any(map(name.search, calls)):
        yield (
            f"no test names {problem.entry_point!r}, the entry_point that agents are asked for; the first "
            f"calls {calls[0].strip()!r:.60}"
        )


def _asserting_nothing(named: Sequence[tuple[str, TestCase]]) -> Iterator[str]:
    for name, test in named:
        if isinstance(test, ScriptTest) and not asserts_something(test.code):
            yield f"{name} asserts nothing, so it fails whatever a program does"
        elif isinstance(test, CallTest) and "(" not in test.call:
            yield f"{name} calls nothing: {test.call!r:.60}"
