"""A tree whose programs were run on other tests."""

import pytest

from bdc_agents.config import SearchConfig
from bdc_agents.search.nodes.backpropagate import backpropagate
from bdc_agents.search.nodes.execute import evaluate
from bdc_agents.search.resume.rejudge import passing_of, rejudged
from bdc_agents.types import Attempt, Node, Program, TestResult, Thought, Tree, Verdict

CONFIG = SearchConfig()


def program(*outcomes: str) -> Program:
    results = tuple(TestResult(outcome=outcome) for outcome in outcomes)  # type: ignore[arg-type]
    return Program(code="", agent="ann", verdict=Verdict(results=results, tier="scripted"))


def attempt(key: str, reward: float, agent: str = "ann") -> Attempt:
    return Attempt(program=key, agent=agent, reward=reward, outcome="pass" if reward >= 1 else "part")


def grown() -> Tree:
    """A root with two children, the first of which has one of its own."""
    tree = Tree().with_nodes(
        Node(children=("0.0", "0.1"), expanded=2),
        Node(id="0.0", parent="0", children=("0.0.0",), expanded=1, thought=Thought(text="a", agent="ann")),
        Node(id="0.1", parent="0", pruned=True, thought=Thought(text="b", agent="bob")),
        Node(id="0.0.0", parent="0.0", closed=True, thought=Thought(text="c", agent="ann")),
    )
    for leaf, key, reward in (("0", "p", 0.5), ("0.0", "q", 1.0), ("0.1", "p", 0.5), ("0.0.0", "r", 0.0)):
        tree = evaluate(tree, leaf, [attempt(key, reward)], {})
        tree = backpropagate(tree, leaf, CONFIG)
    return tree


def test_values_and_returns_are_those_of_the_new_verdicts() -> None:
    before = grown()
    programs = {
        "p": program("passed", "passed"),
        "q": program("wrong", "wrong"),
        "r": program("passed", "wrong"),
    }
    tree = rejudged(before, programs, CONFIG)
    assert [tree[key].value for key in ("0", "0.0", "0.1", "0.0.0")] == [1.0, 0.0, 1.0, 0.5]
    assert tree["0.0.0"].best_return == 0.5
    assert tree["0.0"].best_return == pytest.approx(0.9 * 0.5)
    assert tree["0.1"].best_return == 1.0
    assert [node.attempts[0].outcome for node in tree.nodes()] == ["pass", "wrong", "part", "pass"]
    assert [node.visits for node in tree.nodes()] == [node.visits for node in before.nodes()]
    assert not any(node.pruned or node.closed for node in tree.nodes())


def test_a_tree_whose_verdicts_stay_keeps_its_values() -> None:
    before = grown()
    programs = {"p": program("passed", "wrong"), "q": program("passed"), "r": program("wrong")}
    tree = rejudged(before, programs, CONFIG)
    assert [node.value for node in tree.nodes()] == [node.value for node in before.nodes()]
    assert [node.best_return for node in tree.nodes()] == [node.best_return for node in before.nodes()]


def test_a_refined_node_is_worth_what_its_last_thought_gives() -> None:
    node = Node(attempts=(attempt("p", 0.5), attempt("q", 0.5)), value=0.5, written=1, evaluations=1)
    tree = rejudged(Tree().with_nodes(node), {"p": program("passed"), "q": program("wrong")}, CONFIG)
    assert tree["0"].value == 0.0


def test_what_has_no_program_or_verdict_stays() -> None:
    late = Program(code="", agent="ann")
    node = Node(
        attempts=(Attempt(program="", agent="ann", reward=0.0), attempt("p", 0.5)), value=0.25, written=2
    )
    tree = rejudged(Tree().with_nodes(node), {"p": late}, CONFIG)
    assert tree["0"] == node


def test_programs_that_pass_count_as_often_as_they_were_written() -> None:
    twice = (
        attempt("p", 1.0),
        attempt("p", 1.0),
        attempt("p", 1.0, "bob"),
        attempt("q", 1.0),
        attempt("r", 0.5),
    )
    tree = Tree().with_nodes(Node(attempts=twice))
    assert passing_of(tree, {"q": 3, "r": 2}) == {"p": 2, "q": 3}
