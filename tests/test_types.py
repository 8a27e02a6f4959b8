import json
import pickle
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bdc_agents.errors import ProblemError, unknown
from bdc_agents.search.state import merge_nodes
from bdc_agents.types import (
    Attempt,
    CallTest,
    HiddenTests,
    Node,
    Problem,
    StdinTest,
    Task,
    TestResult,
    Thought,
    Tree,
    Usage,
    Verdict,
    content_hash,
)
from bdc_agents.types.tree import apply_patch, patch_of

SECRET = StdinTest(stdin="in-secret", expected=("out-secret",))


def test_hidden_tests_show_nothing() -> None:
    hidden = HiddenTests([SECRET], reference="ref-secret")
    task = Task(problem=Problem(statement="s"), hidden=hidden)
    for text in (
        repr(hidden),
        str(hidden),
        repr(task),
        str(task),
        task.model_dump_json(),
        repr(task.model_dump()),
    ):
        assert "secret" not in text
    assert len(hidden) == 1
    assert hidden.reveal() == (SECRET,)


def test_hidden_tests_are_never_pickled() -> None:
    with pytest.raises(ProblemError, match="never pickled"):
        pickle.dumps(HiddenTests([SECRET]))


counts = st.integers(0, 1000)
usages = st.builds(
    Usage, calls=counts, prompt_tokens=counts, completion_tokens=counts, cost=st.none() | st.floats(0, 10)
)


@given(usages, usages)
def test_usage_adds_up(a: Usage, b: Usage) -> None:
    both = a + b
    assert both.calls == a.calls + b.calls
    assert both.tokens == a.tokens + b.tokens
    assert both == b + a
    assert both.cost == (None if a.cost is None and b.cost is None else (a.cost or 0) + (b.cost or 0))


@given(st.lists(st.sampled_from(["passed", "wrong", "timeout"]), max_size=9))
def test_a_verdict_counts_its_results(outcomes: list[str]) -> None:
    verdict = Verdict(results=tuple(TestResult(outcome=o) for o in outcomes), tier="t")  # type: ignore[arg-type]
    assert 0 <= verdict.reward <= 1
    assert len(verdict.failures) == len(outcomes) - outcomes.count("passed")
    assert verdict.passed == (bool(outcomes) and not verdict.failures)


def test_a_tree_lays_patches_over_what_is_stored() -> None:
    stored = {"0": Node(children=("0.0",)).model_dump(mode="json")}
    tree = Tree(stored).with_nodes(Node(id="0.0", parent="0")).change("0", visits=5)
    assert tree["0"].visits == 5
    assert set(tree.patches()) == {"0", "0.0"}
    assert [node.id for node in tree.path("0.0")] == ["0", "0.0"]
    assert stored["0"]["visits"] == 1
    assert len(tree) == 2
    assert "0.0" in tree
    assert "0.1" not in tree


attempts = st.builds(
    Attempt, program=st.sampled_from("abc"), agent=st.sampled_from(["ann", "bob"]), reward=st.floats(0, 1)
)
changes = st.fixed_dictionaries(
    {},
    optional={
        "visits": st.integers(1, 9),
        "value": st.none() | st.floats(0, 1),
        "pruned": st.booleans(),
        "thought": st.none() | st.builds(Thought, text=st.text(max_size=3), agent=st.just("ann")),
        "children": st.lists(st.sampled_from(["0.0", "0.1"]), max_size=2).map(tuple),
        "attempts": st.lists(attempts, max_size=3).map(tuple),
    },
)


@given(st.lists(changes, max_size=5), st.lists(attempts, max_size=3), st.booleans())
def test_patches_laid_one_by_one_give_the_node(
    steps: list[dict[str, Any]], more: list[Attempt], on_disk: bool
) -> None:
    node = Node()
    stored = {"0": patch_of(None, node)}
    for fields in [*steps, {"attempts": (*node.attempts, *more)}]:
        tree = Tree(stored).change("0", **fields)
        node, patch = tree["0"], tree.patches()["0"]
        stored = {"0": apply_patch(stored["0"], json.loads(json.dumps(patch)) if on_disk else patch)}
        assert stored["0"] == node.model_dump(mode="json")
        assert Tree(stored)["0"] == node


def test_two_patches_of_one_step_are_both_kept() -> None:
    stored = {"0": patch_of(None, Node())}
    one, other = Tree(stored).change("0", visits=7), Tree(stored).change("0", closed=True)
    for tree in (one, other):
        stored = {"0": apply_patch(stored["0"], tree.patches()["0"])}
    assert Tree(stored)["0"] == Node(visits=7, closed=True)


def test_a_patch_does_not_grow_with_the_node() -> None:
    attempt = Attempt(program="a", agent="ann", reward=0.5)
    patches: list[Any] = []
    for count in (1, 999):
        tree = Tree({"0": Node(attempts=(attempt,) * count).model_dump(mode="json")})
        patches.append(tree.change("0", visits=5, attempts=(*tree["0"].attempts, attempt)).patches())
    assert patches[0] == patches[1]


def test_a_few_fields_change_a_stored_node_by_hand() -> None:
    stored = merge_nodes({"0": patch_of(None, Node(visits=3))}, [{"0": {"pruned": True}}])
    assert Tree(stored)["0"] == Node(visits=3, pruned=True)


def test_nodes_come_parents_first_and_siblings_in_order() -> None:
    ids = ["0.10", "0", "0.2", "0.2.0"]
    assert [n.id for n in Tree().with_nodes(*(Node(id=i) for i in ids)).nodes()] == [
        "0",
        "0.2",
        "0.2.0",
        "0.10",
    ]


def test_any_text_has_a_hash() -> None:
    assert content_hash("\ud800") != content_hash("")


def test_unknown_names_are_met_with_the_nearest() -> None:
    assert unknown("agent", "smal", ["small", "large"]) == "unknown agent 'smal'; did you mean small?"
    assert "choose one of: large, small" in unknown("agent", "zzz", ["small", "large"])
    assert "none are defined" in unknown("agent", "zzz", [])


@pytest.mark.parametrize("entry_point", [None, "add"])
@pytest.mark.parametrize("expected", ["3", 3])
def test_a_call_under_the_name_input_is_the_call_and_no_text_for_a_program(entry_point, expected):
    problem = Problem(
        statement="Add.", entry_point=entry_point, public_tests=[{"input": "add(1, 2)", "output": expected}]
    )
    assert problem.entry_point == "add"
    assert problem.public_tests == (CallTest(call="add(1, 2)", expected=("3",)),)


def test_what_a_test_takes_is_not_the_function_to_write():
    check = "def check(candidate):\n    assert candidate(1) == 2\n"
    for test in (check, f"{check}check(add)"):
        assert Problem(statement="Add.", public_tests=[{"code": test}]).entry_point != "candidate"


def test_an_arrow_alone_is_no_test():
    with pytest.raises(ValueError, match="not a test"):
        Problem(statement="Do.", public_tests=["->"])


def test_a_misspelled_field_of_a_problem_is_told_with_the_nearest():
    with pytest.raises(ValueError, match="unknown field 'entrypoint'; did you mean entry_point"):
        Problem.model_validate({"statement": "Write add.", "entrypoint": "add"})
