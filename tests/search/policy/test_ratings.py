"""Ratings and thoughts as agents write them, which is not always as they were asked to."""

import json
from typing import Any

import pytest

from bdc_agents.agents.protocol import Reply, Request
from bdc_agents.config import SearchConfig
from bdc_agents.search.choice.llm_judge import judge_calls, read_score
from bdc_agents.search.nodes.expand import read_thoughts
from bdc_agents.search.policy.ratings import read_rating, read_ratings
from bdc_agents.search.round.calls import Answer, Call
from bdc_agents.types import Problem, Program, TestResult, Usage, Verdict


def answer(text: str, truncated: bool = False) -> Answer:
    call = Call(agent="ann", purpose="expand", node="0", request=Request(messages=()))
    return Answer(call=call, reply=Reply(text=text, usage=Usage(calls=1), truncated=truncated))


def read(text: str, truncated: bool = False) -> list[tuple[str, float]]:
    return [(thought.text, thought.prior) for thought in read_thoughts(answer(text, truncated), 5)]


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        (0.8, 0.8),
        (1, 1.0),
        (0, 0.0),
        ("0.8", 0.8),
        (" 0,8 ", 0.8),
        ("80%", 0.8),
        ("80 %", 0.8),
        (8, 0.8),
        ("8", 0.8),
        ("8/10", 0.8),
        ("4 out of 5", 0.8),
        ("4 of 5", 0.8),
        (80, 0.8),
        (None, None),
        (True, None),
        ("high", None),
        (-1, None),
        (800, None),
        ("9/5", None),
        ("1/0", None),
        (float("nan"), None),
        (float("inf"), None),
        ([0.8], None),
        ("8" * 50, None),
    ],
)
def test_a_rating_is_read_as_it_is_meant(written: Any, meant: float | None) -> None:
    assert read_rating(written) == (meant if meant is None else pytest.approx(meant))


def test_the_ratings_of_one_reply_have_one_scale() -> None:
    assert read_ratings([9, 1, 10]) == [0.9, 0.1, 1.0]
    assert read_ratings([90, 10, 5]) == [0.9, 0.1, 0.05]
    assert read_ratings([0.9, 1, 0.2]) == [0.9, 1.0, 0.2]
    assert read_ratings([0.9, 8, "50%"]) == [0.9, 0.8, 0.5]


@pytest.mark.parametrize("score", [0.8, "0.8", "80%", 8, "8/10"])
def test_a_judges_score_is_read_likewise(score: Any) -> None:
    assert read_score(answer(json.dumps({"score": score}))) == pytest.approx(0.8)
    assert read_score(answer(json.dumps({"Score": score}))) == pytest.approx(0.8)


@pytest.mark.parametrize(
    "text",
    [
        '{"thoughts": [{"thought": "use a map", "reasonableness": 0.8}, {"thought": "sort it"}]}',
        '{"Thoughts": [{"Thought": "use a map", "Reasonableness": "80%"}, {"THOUGHT": "sort it"}]}',
        '[{"thought": "use a map", "rating": 0.8}, "sort it"]',
    ],
)
def test_thoughts_are_read_whatever_the_case_of_their_names(text: str) -> None:
    assert read(text) == [("use a map", 0.8), ("sort it", 0.5)]


@pytest.mark.parametrize(
    "text",
    [
        "Some ideas:\n\n1. Use a hash map (0.8)\n2. Sort the list first\n",
        "- **Use a hash map** (reasonableness: 8/10)\n- Sort the list first\n",
        "<think>- a draft of an idea</think>\n* Use a hash map [80%]\n* Sort the list first",
    ],
)
def test_a_list_in_prose_gives_thoughts(text: str) -> None:
    assert read(text) == [("Use a hash map", 0.8), ("Sort the list first", 0.5)]


def test_prose_without_a_list_gives_none() -> None:
    assert read("I would sort the list and count.\n- yes\n1. no") == []


def test_the_last_thought_of_a_reply_that_was_cut_off_is_left_out() -> None:
    cut = '{"thoughts": [{"thought": "use a map", "reasonableness": 0.8}, {"thought": "sort it and th'
    assert read(cut, truncated=True) == [("use a map", 0.8)]
    whole = '{"thoughts": [{"thought": "use a map", "reasonableness": 0.8}]}'
    assert read(whole + "\n" * 50, truncated=True) == [("use a map", 0.8)]


@pytest.mark.parametrize("item", ["Use a hash map(0.8)", "Use a hash map (0.8).", "Use a hash map - [8/10]"])
def test_a_rating_close_to_its_thought_is_no_part_of_it(item: str) -> None:
    assert read(f"- {item}\n- Sort the list first") == [("Use a hash map", 0.8), ("Sort the list first", 0.5)]


def test_a_bare_number_is_of_the_scale_that_the_largest_needs() -> None:
    assert read_ratings([1]) == [1.0]
    assert read_ratings([1, 1.5]) == [0.1, 0.15]
    assert read_ratings([10]) == read_ratings([100]) == read_ratings(["100"]) == [1.0]
    assert read_ratings([100.5, 5]) == read_ratings(["100.5", 5]) == [None, 0.5]
    assert read_ratings([1, 10.5]) == [0.01, 0.105]
    assert read_ratings([0.5, 10]) == [0.5, 1.0]
    assert read_ratings(["3 of 4", 7]) == [0.75, 0.7]
    assert read_ratings(["0 of 4"]) == [0.0]
    assert read_ratings([]) == []
    assert read_ratings(["8" + " " * 38, "8" + " " * 39]) == [0.8, None]


def test_a_program_that_passes_is_judged_by_another_agent_and_the_same_each_time() -> None:
    def program(agent: str, outcome: Any = "passed") -> Program:
        return Program(
            code="x", agent=agent, verdict=Verdict(results=(TestResult(outcome=outcome),), tier="t")
        )

    programs = {f"{n}": program(("ann", "bob", "cat")[n % 3]) for n in range(30)}

    def judged(agents: tuple[str, ...], programs: dict[str, Program] = programs) -> dict[str, Call]:
        return judge_calls(Problem(statement="s"), "0", programs, agents, SearchConfig())

    calls = judged(("ann", "bob", "cat"))
    assert calls.keys() == programs.keys()
    pairs = {(programs[key].agent, call.agent) for key, call in calls.items()}
    assert pairs == {(one, other) for one in ("ann", "bob", "cat") for other in ("ann", "bob", "cat")} - {
        ("ann", "ann"),
        ("bob", "bob"),
        ("cat", "cat"),
    }, "each of the others has its turn"
    assert {call.request.temperature for call in calls.values()} == {0.0}
    assert {call.agent for call in judged(("ann",)).values()} == {"ann"}, "where there is no other"
    assert judged(("ann", "bob"), {"p": program("ann", "wrong")}) == {}
