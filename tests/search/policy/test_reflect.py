import pytest

from bdc_agents.config import SearchConfig
from bdc_agents.search.nodes.execute import evaluate
from bdc_agents.search.nodes.expand import expand_calls
from bdc_agents.search.policy.reflect import can_refine, did_not_help, prune, refine, refine_call
from bdc_agents.types import Attempt, Node, Problem, Program, TestResult, Thought, Tree, Verdict

CONFIG = SearchConfig(learn_from="all")
THOUGHT = Thought(text="sort it", agent="ann", prior=0.7)


def tree_of(value: float, parent: float | None = 0.5, best: float | None = None, children: int = 2) -> Tree:
    """A root and children; the first has a value and one attempt."""
    reward = value if best is None else best
    ids = tuple(f"0.{n}" for n in range(children))
    attempt = Attempt(program="p", agent="bob", author="ann", reward=reward)
    nodes = [Node(id=key, parent="0", thought=THOUGHT) for key in ids]
    nodes[0] = nodes[0].model_copy(update={"value": value, "attempts": (attempt,)})
    return Tree().with_nodes(Node(value=parent, children=ids), *nodes)


@pytest.mark.parametrize(
    ("value", "parent", "poor"),
    [(0.5, 0.5, True), (0.4, 0.5, True), (0.6, 0.5, False), (0.0, None, True), (0.1, None, False)],
)
def test_a_thought_helps_when_it_beats_its_parent(value: float, parent: float | None, poor: bool) -> None:
    assert did_not_help(tree_of(value, parent), "0.0") is poor


def test_a_node_with_a_program_that_passes_is_never_poor() -> None:
    assert not did_not_help(tree_of(1.0, parent=1.0), "0.0")
    assert not did_not_help(tree_of(0.5, parent=0.9, best=1.0), "0.0")


def test_the_root_is_never_poor() -> None:
    assert not did_not_help(tree_of(0.0), "0")


def test_pruning_spares_the_last_live_child() -> None:
    tree = prune(tree_of(0.0), "0.0")
    assert tree["0.0"].pruned
    assert not prune(tree, "0.1")["0.1"].pruned
    closed = tree_of(0.0).change("0.1", closed=True)
    assert not prune(closed, "0.0")["0.0"].pruned


def test_refining_happens_once_and_keeps_prior_and_attempts() -> None:
    tree = refine(tree_of(0.25), "0.0", Thought(text="count it", agent="bob", prior=0.1))
    node = tree["0.0"]
    assert node.thought == Thought(text="count it", agent="bob", prior=0.7)
    assert node.refined == THOUGHT
    assert node.value is None
    assert len(node.attempts) == 1
    assert not can_refine(node, CONFIG)


def test_a_refined_node_is_valued_by_its_new_programs_alone() -> None:
    tree = refine(tree_of(0.25), "0.0", Thought(text="count it", agent="bob"))
    fresh = [Attempt(program="q", agent="ann", reward=r, refined=True) for r in (0.5, 1.0)]
    assert evaluate(tree, "0.0", fresh, {})["0.0"].value == 0.75


def test_there_is_nothing_to_refine_without_a_program() -> None:
    empty = tree_of(0.0).change("0.0", attempts=(Attempt(program="", agent="bob", reward=0.0),))
    assert not can_refine(empty["0.0"], CONFIG)


def test_another_agent_refines_and_sees_thought_program_and_failures() -> None:
    failure = TestResult(outcome="wrong", shown="double(3)", expected="6", actual="4")
    program = Program(
        code="def double(x): return 4", agent="bob", verdict=Verdict(results=(failure,), tier="t")
    )
    problem = Problem(statement="Double a number.", entry_point="double")
    programs = {"p": program.model_dump(mode="json")}
    call = refine_call(problem, tree_of(0.0), "0.0", programs, ["ann", "bob"], CONFIG)
    assert call is not None
    assert call.agent == "bob"
    prompt = str(call.request.messages[-1].content)
    for shown in ("sort it", "return 4", "double(3)", "expected: 6", "got: 4"):
        assert shown in prompt


def test_a_lone_agent_refines_its_own_thought() -> None:
    problem = Problem(statement="Double a number.", entry_point="double")
    programs = {"p": Program(code="x", agent="ann").model_dump(mode="json")}
    call = refine_call(problem, tree_of(0.0), "0.0", programs, ["ann"], CONFIG)
    assert call is not None
    assert call.agent == "ann"


def test_a_program_that_is_all_wrong_teaches_nothing_where_this_is_wanted() -> None:
    config = SearchConfig(learn_from="part")
    assert can_refine(tree_of(0.25)["0.0"], config)
    assert not can_refine(tree_of(0.0)["0.0"], config)
    assert can_refine(tree_of(0.0)["0.0"], CONFIG)
    failure = TestResult(outcome="wrong", shown="double(3)", expected="6", actual="4")
    program = Program(code="x", agent="ann", verdict=Verdict(results=(failure,), tier="t"))
    programs = {"p": program.model_dump(mode="json")}
    problem = Problem(statement="Double a number.", entry_point="double")
    shown = [
        str(call.request.messages[-1].content)
        for value in (0.0, 0.25)
        for call in expand_calls(problem, tree_of(value), "0.0", programs, ["ann"], config)
    ]
    assert ["An earlier program" in prompt for prompt in shown] == [False, True]
