"""What becomes of the programs of a round: attempts at nodes, credit, children for repairs, and beliefs."""

import asyncio
from collections.abc import Sequence
from typing import Any

from langgraph.runtime import Runtime

from bdc_agents.config import Budget, SearchConfig
from bdc_agents.search.nodes.attempts import (
    asked,
    attempts_of,
    credited,
    in_vain,
    told,
    unanswered,
    with_repairs,
)
from bdc_agents.search.nodes.boost import Draft
from bdc_agents.search.policy.beliefs import Beliefs, Told
from bdc_agents.search.round.clock import Clock
from bdc_agents.search.round.plan import Plan, stored
from bdc_agents.search.round.step import Step
from bdc_agents.types import Attempt, Move, Node, Problem, Program, Split, TestResult, Thought, Tree, Verdict

THOUGHT = Thought(text="t", agent="cat")


def program(key: str, passed: int | None, of: int = 4) -> Program:
    results = tuple(TestResult(outcome="passed" if n < (passed or 0) else "wrong") for n in range(of))
    return Program(
        code=key, agent="ann", verdict=Verdict(results=results, tier="t") if passed is not None else None
    )


KNOWN = {
    "right": program("right", 4),
    "half": program("half", 2),
    "bad": program("bad", 0),
    "unrun": program("u", None),
}


def a_tree(**root: Any) -> Tree:
    child = Node(id="0.0", parent="0", thought=THOUGHT, attempts=(), value=None)
    return Tree().with_nodes(Node(**({"children": ("0.0",), "value": 0.5} | root)), child)


def step(tree: Tree, moves: Sequence[Move] = (), **state: Any) -> Step:
    whole: Any = {
        "tree": tree.patches(),
        "programs": {key: one.model_dump(mode="json") for key, one in KNOWN.items()},
        "plan": stored(Plan(moves=tuple(moves))),
    } | state

    async def made() -> Step:
        return Step(
            {},
            SearchConfig(),
            Budget(),
            Problem.model_validate,
            whole,
            Runtime(context={}),
            Clock(),
            Beliefs(),
        )

    return asyncio.run(made())


def draft(node: str = "0", agent: str = "ann", **fields: Any) -> Draft:
    return Draft(node=node, agent=agent, code="x", **fields)


def test_every_program_that_ran_is_an_attempt_with_its_author_and_outcome() -> None:
    drafts = [draft(), draft("0.0", "bob"), draft("0.0"), draft(), draft("0.0")]
    fresh = {"new": program("new", 1)}
    found, passed = attempts_of(step(a_tree()), drafts, ["half", "right", "", "unrun", "new"], fresh)
    rows = [(node, a.program, a.agent, a.author, a.reward, a.outcome) for node, a in found]
    assert rows == [
        ("0", "half", "ann", "", 0.5, "part"),
        ("0.0", "right", "bob", "cat", 1.0, "pass"),
        ("0.0", "", "ann", "cat", 0.0, "error"),
        ("0.0", "new", "ann", "cat", 0.25, "part"),
    ]
    assert passed == ["right"]
    assert not any(a.refined for _, a in found)
    refined = a_tree().change("0.0", refined=THOUGHT)
    found, _ = attempts_of(step(refined), [draft("0.0"), draft("0.0"), draft()], ["bad", "", "bad"], {})
    assert [a.refined for _, a in found] == [True, True, False]


def test_what_could_only_be_written_again_is_not_found_a_second_time() -> None:
    known = Attempt(program="right", agent="ann", author="", reward=1.0, outcome="pass")
    again = step(a_tree(attempts=(known,)))
    for sampled, times in ((True, 1), (False, 0)):
        assert attempts_of(again, [draft(sampled=sampled)], ["right"], {})[1] == ["right"] * times
    same, twice = [draft(sampled=False)] * 2, ["right"] * 2
    assert attempts_of(step(a_tree()), same, twice, {})[1] == ["right"], "nor within a round"
    others = [draft(sampled=False), draft(agent="bob", sampled=False), draft("0.0", sampled=False)]
    assert attempts_of(step(a_tree()), others, ["right"] * 3, {})[1] == ["right"] * 3


def test_credit_counts_programs_their_reward_and_how_many_beat_the_node_above() -> None:
    def attempt(reward: float, agent: str = "bob", author: str = "cat") -> Attempt:
        return Attempt(program="p", agent=agent, author=author, reward=reward)

    before: Any = {"cat": {"bob": [1.0, 0.5, 0.0]}, "dan": {"dan": [9.0, 9.0, 9.0]}}
    run = step(a_tree(), credit=before)
    rows = [
        ("0.0", attempt(0.75)),
        ("0.0", attempt(0.5)),
        ("0", attempt(0.25, "ann", "")),
        ("0", attempt(0.0, "ann", "")),
    ]
    assert credited(run, rows) == {
        "cat": {"bob": [3.0, 1.75, 1.0]},
        "dan": {"dan": [9.0, 9.0, 9.0]},
        "": {"ann": [2.0, 0.25, 1.0]},
    }
    assert before["cat"]["bob"] == [1.0, 0.5, 0.0], "the state stays as it was"
    unvalued = step(a_tree(value=None))
    assert credited(unvalued, [("0.0", attempt(0.1))]) == {"cat": {"bob": [1.0, 0.1, 1.0]}}


def repair(kind: Any = "repair", mends: str = "bad", node: str = "0", agent: str = "bob") -> Draft:
    move = Move(kind=kind, agent=agent, node=node, program=mends, before="wrong")
    return draft(node, agent, move=move, thought=Thought(text="why", agent=agent))


def test_each_repair_is_a_child_and_copies_are_attempts_where_they_are_held() -> None:
    held = Attempt(program="bad", agent="ann", reward=0.0)
    tree = a_tree(attempts=(held,)).change(
        "0.0", attempts=(Attempt(program="half", agent="ann", reward=0.5),)
    )
    drafts = [
        repair(),
        repair("rethink"),
        repair(),
        repair(),
        repair(),
        repair(),
        draft(),
        draft(move=Move(kind="write", agent="ann", node="0")),
    ]
    keys = ["one", "two", "one", "half", "bad", "", "three", "four"]
    grown, placed = with_repairs(tree, drafts, keys)
    assert [one.node for one in placed] == ["0.1", "0.2", "0.1", "0.0", "0", "0", "0", "0"]
    assert grown["0"].children == ("0.0", "0.1", "0.2")
    assert [(grown[key].kind, grown[key].mends, grown[key].parent) for key in ("0.1", "0.2")] == [
        ("repair", "bad", "0"),
        ("rethink", "bad", "0"),
    ]
    assert grown["0.1"].thought == drafts[0].thought
    assert tree["0"].children == ("0.0",), "the tree that was given stays as it was"


def test_the_same_repair_at_another_node_is_another_child() -> None:
    grown, placed = with_repairs(a_tree(), [repair(), repair(node="0.0")], ["one", "one"])
    assert [one.node for one in placed] == ["0.1", "0.0.0"]
    assert grown["0.0"].children == ("0.0.0",)


def test_what_moves_gave_is_told_with_how_often_they_were_made_before() -> None:
    drafts = [repair(), repair(), repair(agent="ann"), repair(), draft()]
    run = step(
        a_tree(), told=Beliefs().tell([Told("repair", "bob", "wrong", "error")]).model_dump(mode="json")
    )
    expected = Beliefs().tell(
        [
            Told("repair", "bob", "wrong", "error"),
            Told("repair", "bob", "wrong", "part", 1),
            Told("repair", "bob", "wrong", "error", 2),
            Told("repair", "ann", "wrong", "pass", 0),
        ]
    )
    found = told(run, drafts, ["half", "", "right", "unrun", "right"], {})
    assert found == expected.model_dump(mode="json")
    assert told(run, [draft()], ["right"], {}) == run.state.get("told")
    assert told(step(a_tree()), [repair()], ["unrun"], {}) == {}


def test_moves_without_a_reply_are_counted() -> None:
    moves = [move for one in (repair(), repair("rethink"), repair(agent="ann")) if (move := one.move)]
    run = step(a_tree(), moves, unanswered={"repair/wrong/ann": 2, "answer//bob": 1})
    missing = in_vain(run, [repair("rethink"), draft()])
    assert missing == [moves[0], moves[2]]
    assert unanswered(run, missing) == {"repair/wrong/ann": 3, "answer//bob": 1, "repair/wrong/bob": 1}
    assert run.state.get("unanswered") == {"repair/wrong/ann": 2, "answer//bob": 1}
    assert in_vain(step(a_tree()), [draft()]) == []


def test_what_an_agent_answered_is_learnt_of_once_in_the_round_in_which_it_was_asked() -> None:
    question = Move(kind="split", agent="bob", node="0")
    for expected, fits, after in (("3", "h", "pass"), ("3", "", "wrong"), ("", "", "error")):
        answered = Split(input="f(1)", place=0, agent="bob", expected=expected, fits=fits)
        split = answered.model_dump(mode="json")
        once = Beliefs().tell([Told("split", "bob", "", after)]).model_dump(mode="json")  # pyright: ignore[reportArgumentType]
        now = step(a_tree(), [question], split=split)
        assert (asked(now), told(now, [], [], {})) == (True, once)
        later = step(a_tree(), split=split, told=once)
        assert (asked(later), told(later, [], [], {})) == (False, once)
    unanswered_yet = step(a_tree(), [question])
    assert (asked(unanswered_yet), told(unanswered_yet, [], [], {})) == (False, {})
