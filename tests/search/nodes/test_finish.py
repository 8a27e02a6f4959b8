"""The answer of a search, from its state alone: which program, and what is told of it."""

from typing import Any

from bdc_agents.search.nodes.finish import assemble
from bdc_agents.types import Attempt, Node, Problem, Program, TestResult, Thought, Tree, Verdict

PROBLEM = Problem(id="six", statement="Six.", entry_point="f")


def program(code: str, passed: float | None = 1.0, agent: str = "ann", does: tuple[str, ...] = ()) -> Program:
    results = tuple(TestResult(outcome="passed" if n < 4 * (passed or 0) else "wrong") for n in range(4))
    verdict = Verdict(results=results, tier="t") if passed is not None else None
    return Program(code=code, agent=agent, verdict=verdict, behaviour=does)


def state(tree: Tree | None = None, programs: dict[str, Program] | None = None, **more: Any) -> Any:
    return {
        "problem": PROBLEM.model_dump(mode="json"),
        "tree": tree.patches() if tree else {},
        "programs": {key: one.model_dump(mode="json") for key, one in (programs or {}).items()},
    } | more


def chosen(programs: dict[str, Program], skills: dict[str, float] | None = None, **more: Any) -> str:
    written = more.pop("written", [*programs])
    attempts = tuple(Attempt(program=key, agent=programs[key].agent, reward=0.0) for key in written)
    tree = Tree().with_nodes(Node(attempts=attempts, evaluations=1))
    return assemble(state(tree, programs, **more), skills).code


def test_a_search_that_has_written_nothing_hands_nothing_over() -> None:
    found = assemble(state())
    assert (found.problem_id, found.solved, found.code, found.reward) == ("six", False, "", 0.0)
    assert (found.agent, found.node, found.verdict, found.confirmed) == (None, None, None, None)
    assert (found.stopped_by, found.tier, found.seconds, found.matrix) == ("interrupted", "", 0.0, {})
    assert not any(found.tree.model_dump().values())


def test_the_program_with_the_highest_reward_is_handed_over() -> None:
    assert chosen({"a": program("a", 0.5), "b": program("b", 0.75), "c": program("c", 0.25)}) == "b"
    assert chosen({"a": program("a", 0.25), "b": program("b", None)}) == "a"
    assert chosen({"a": program("a", 0.0), "b": program("b", None)}) == "b", "it may still be right"


def test_of_equals_agreement_by_an_attempt_then_skill_then_agreement_then_votes_decide() -> None:
    many, few = ("1", "2", "3", "4"), ("5", "6", "7", "8")
    three = {key: program(key, agent=key, does=does) for key, does in (("a", few), ("b", many), ("c", many))}
    passing = dict.fromkeys(three, 1)
    assert chosen(three, passing=passing) == "b"
    assert chosen(three, {"a": 0.9}, passing=passing) == "b", "agreement by an attempt comes before skill"
    assert chosen(three, {"c": 0.6}, passing=passing) == "c"
    assert chosen(three, {"b": 0.4}, passing=passing) == "c", "who is not named counts as one half"
    near = {key: program(key, agent=key, does=does) for key, does in (("a", (*many[:3], "9")), ("b", many))}
    assert chosen(near, {"a": 0.9}, passing={"a": 1, "b": 1}) == "a"
    both = near | {"c": program("c", agent="c", does=many)}
    assert chosen(both, passing=dict.fromkeys(both, 1)) == "b", "agreement by less than an attempt"
    plain = {key: program(key) for key in "abc"}
    assert chosen(plain, written=["a", "b", "c", "b"]) == "b"
    assert chosen(plain) == "a"


def test_what_was_not_seen_to_pass_has_no_agreement() -> None:
    programs = {key: program(key, 0.5) for key in "ab"}
    assert chosen(programs, passing={"b": 1}) == "b"


def test_confirmed_is_told_where_those_that_pass_were_compared() -> None:
    def confirmed(*does: tuple[str, ...], **more: Any) -> bool | None:
        programs = {f"p{n}": program(f"p{n}", does=one) for n, one in enumerate(does)}
        return assemble(state(None, programs, passing={"p0": 1}, **more)).confirmed

    assert confirmed(()) is confirmed((), confirmed=True) is None
    assert confirmed((), ("1",), confirmed=True) is None, "the one that was compared does not pass"
    assert confirmed(("1",)) is False
    assert confirmed(("1",), confirmed=True) is True


def test_the_tree_is_counted_and_credit_is_a_mean() -> None:
    thought = Thought(text="t", agent="ann")
    tree = Tree().with_nodes(
        Node(children=("0.0", "0.1"), value=0.0, attempts=(Attempt(program="a", agent="bob", reward=0.0),)),
        Node(id="0.0", parent="0", thought=thought, value=0.5, refined=thought, children=("0.0.0",)),
        Node(id="0.1", parent="0", thought=thought, pruned=True),
        Node(
            id="0.0.0",
            parent="0.0",
            thought=thought,
            attempts=(Attempt(program="b", agent="bob", reward=1.0),),
        ),
    )
    programs = {"a": program("a", 0.0), "b": program("b")}
    credit = {"": {"bob": [4.0, 1.0, 0.0]}, "ann": {"bob": [1.0, 1.0, 1.0]}}
    found = assemble(state(tree, programs, rollouts=5, credit=credit, seconds=1.23456, stopped_by="solved"))
    assert found.tree.model_dump() == {
        "nodes": 4,
        "evaluated": 2,
        "pruned": 1,
        "refined": 1,
        "depth": 2,
        "programs": 2,
        "rollouts": 5,
    }
    assert (found.node, found.solved, found.seconds, found.stopped_by) == ("0.0.0", True, 1.235, "solved")
    assert found.matrix == {"": {"bob": 0.25}, "ann": {"bob": 1.0}}
