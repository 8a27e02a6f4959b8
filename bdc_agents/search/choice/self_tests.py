"""Self-written tests for a problem that has no public test. Off by default."""

from collections import Counter
from collections.abc import Sequence
from typing import Any, cast

from pydantic import ValidationError

from bdc_agents.agents.protocol import Request
from bdc_agents.agents.replies.reading import parse_json, under
from bdc_agents.config import SearchConfig
from bdc_agents.prompts import tests_schema, write_tests
from bdc_agents.search.round.calls import Answer, Call, derive_seed
from bdc_agents.types import CallTest, Problem, StdinTest, TestCase

TESTS_ASKED = 4
TESTS_KEPT = 6


def self_test_calls(problem: Problem, agents: Sequence[str], config: SearchConfig) -> list[Call]:
    """Asks every agent for a few tests."""
    schema = tests_schema(problem.entry_point is None, TESTS_ASKED)
    messages = write_tests(problem, TESTS_ASKED)
    return [
        Call(
            agent=agent,
            purpose="tests",
            node="0",
            request=Request(
                messages=messages,
                temperature=config.temperature,
                seed=derive_seed(config.seed, "tests", agent),
                json_schema=schema,
            ),
        )
        for agent in agents
    ]


def read_tests(answer: Answer) -> list[TestCase]:
    """The usable tests in a reply."""
    value = parse_json(answer.reply.text) if answer.reply else None
    items: Any = under(value, "tests")
    items = value if items is None else items
    rows = cast("list[Any]", items) if isinstance(items, list) else [items]
    return [test for row in rows if (test := _read_one(row)) is not None]


def _read_one(row: Any) -> TestCase | None:
    if not isinstance(row, dict) or "expected" not in row:
        return None
    fields = cast("dict[str, Any]", row)
    try:
        if "call" in fields:
            # A value that should have been a Python literal in quotes.
            expected = fields["expected"]
            written = expected if isinstance(expected, str) else repr(expected)
            return CallTest(call=fields["call"], expected=(written,))
        return StdinTest(stdin=_lines(fields.get("stdin")), expected=(_lines(fields["expected"]),))
    except ValidationError:
        return None


def _lines(value: Any) -> Any:
    """A text that was given as a number or as a list of its lines."""
    if isinstance(value, list):
        return "\n".join(str(line) for line in cast("list[Any]", value))
    return str(value) if isinstance(value, int | float) else value


def agree(proposals: Sequence[Sequence[TestCase]]) -> tuple[TestCase, ...]:
    """The tests to use: those that most agents wrote first, none whose answers contradict.

    Args:
        proposals: The tests of each agent.
    """
    votes = Counter(test for tests in proposals for test in dict.fromkeys(tests))
    rivals: dict[str, list[int]] = {}
    for test, count in votes.items():
        rivals.setdefault(_given(test), []).append(count)
    chosen = [test for test, count in votes.most_common() if _wins(count, rivals[_given(test)])]
    return tuple(chosen[:TESTS_KEPT])


def _wins(votes: int, rivals: Sequence[int]) -> bool:
    """Whether an answer has more votes than every other answer to the same question."""
    return votes == max(rivals) and rivals.count(votes) == 1


def _given(test: TestCase) -> str:
    return test.stdin if isinstance(test, StdinTest) else getattr(test, "call", "")
