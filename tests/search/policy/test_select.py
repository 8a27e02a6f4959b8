from collections import Counter
from math import isclose, log, sqrt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bdc_agents.config import SearchConfig
from bdc_agents.search.policy.p_ucb import exploration, p_ucb
from bdc_agents.search.policy.select import Selected, leaves_at_once, needs_value, select
from bdc_agents.types import Attempt, Node, Thought, Tree

CONFIG = SearchConfig(resample=0, widening=False)


def leaves(selected: Selected) -> tuple[str, ...]:
    return tuple(dict.fromkeys((*selected.evaluate, *selected.expand)))


def child(number: int, **fields: object) -> Node:
    prior = fields.pop("prior", 0.5)
    thought = Thought(text=f"idea {number}", agent="ann", prior=prior)  # type: ignore[arg-type]
    return Node(id=f"0.{number}", parent="0", thought=thought, **fields)  # type: ignore[arg-type]


def tree_of(*children: Node, **root: object) -> Tree:
    fields = {"value": 0.0, "visits": 5} | root
    return Tree().with_nodes(Node(children=tuple(c.id for c in children), **fields), *children)  # type: ignore[arg-type]


def test_exploration_weight_by_hand() -> None:
    # ln((9 + 10 + 1) / 10) + 4 = ln 2 + 4
    assert isclose(exploration(9, CONFIG), 4.693147180559945)


def test_p_ucb_by_hand() -> None:
    parent = Node(visits=9, value=0.0)
    action = child(0, prior=0.8, best_return=0.25, returns=2)
    # 0.25 + 4.693147 * 0.8 * sqrt(ln 9) / 3 = 0.25 + 1.251506 * 1.482304
    assert isclose(p_ucb(parent, action, CONFIG), 0.25 + 4.693147180559945 * 0.8 * sqrt(log(9)) / 3)
    assert p_ucb(parent, action, CONFIG) == pytest.approx(2.105112, abs=1e-5)


def test_p_ucb_is_the_best_return_alone_before_any_visit() -> None:
    assert p_ucb(Node(), child(0, prior=1.0, best_return=0.5), CONFIG) == 0.5


def test_without_priors_every_thought_counts_alike() -> None:
    config = SearchConfig(priors=False)
    parent = Node(visits=5, value=0.0)
    assert p_ucb(parent, child(0, prior=0.1), config) == p_ucb(parent, child(1, prior=0.9), config)


unit = st.floats(0, 1)
counts = st.integers(0, 200)


@given(unit, unit, counts, st.integers(1, 500), st.floats(0.01, 1))
def test_p_ucb_grows_with_q_and_prior_and_falls_with_visits(
    q: float, prior: float, taken: int, visits: int, step: float
) -> None:
    parent = Node(visits=visits, value=0.0)

    def score(**changes: float) -> float:
        fields = {"prior": prior, "best_return": q, "returns": taken} | changes
        return p_ucb(parent, child(0, **fields), CONFIG)

    base = score()
    assert score(best_return=q + step) > base
    assert score(prior=min(1.0, prior + step)) >= base
    assert score(returns=taken + 1) <= base


@given(st.lists(st.tuples(unit, unit, counts), min_size=1, max_size=8), st.integers(2, 300))
def test_select_takes_the_child_with_the_highest_score(
    rows: list[tuple[float, float, int]], visits: int
) -> None:
    children = [
        child(n, prior=prior, best_return=q, returns=taken) for n, (prior, q, taken) in enumerate(rows)
    ]
    tree = tree_of(*children, visits=visits)
    (leaf,) = leaves(select(tree, CONFIG))
    best = max(p_ucb(tree["0"], one, CONFIG) for one in children)
    assert p_ucb(tree["0"], tree[leaf], CONFIG) == best


def test_a_fresh_root_is_the_first_leaf() -> None:
    assert leaves(select(Tree().with_nodes(Node()), CONFIG)) == ("0",)


def test_ties_go_to_the_higher_prior() -> None:
    assert leaves(select(tree_of(child(0, prior=0.2), child(1, prior=0.9), visits=1), CONFIG)) == ("0.1",)


@pytest.mark.parametrize("gone", [{"pruned": True}, {"closed": True}])
def test_pruned_and_closed_children_are_never_selected(gone: dict[str, bool]) -> None:
    tree = tree_of(child(0, prior=1.0, best_return=1.0, **gone), child(1, prior=0.1))
    assert leaves(select(tree, CONFIG)) == ("0.1",)


def test_nothing_is_selected_where_everything_is_spent() -> None:
    assert leaves(select(tree_of(child(0, pruned=True), child(1, closed=True)), CONFIG)) == ()


def test_an_evaluated_leaf_is_selected_for_expansion_until_the_largest_depth() -> None:
    tree = tree_of(child(0, value=0.5))
    assert leaves(select(tree, CONFIG)) == ("0.0",)
    assert leaves(select(tree, SearchConfig(max_depth=1, resample=0, widening=False))) == ()


def test_a_node_whose_expansions_gave_nothing_is_given_up() -> None:
    assert leaves(select(tree_of(child(0, value=0.5, expanded=1)), CONFIG)) == ("0.0",)
    assert leaves(select(tree_of(child(0, value=0.5, expanded=2)), CONFIG)) == ()


@given(rollouts=st.integers(0, 2000))
def test_more_leaves_at_once_the_longer_a_search_goes_on(rollouts: int) -> None:
    count = leaves_at_once(SearchConfig(), rollouts)
    assert count == (1 if rollouts < 16 else 2 if rollouts < 32 else 8 if rollouts >= 112 else count)
    assert count <= leaves_at_once(SearchConfig(), rollouts + 1) <= count + 1
    assert leaves_at_once(SearchConfig(leaves=3), rollouts) == 3
    assert leaves_at_once(SearchConfig.preset("paper"), rollouts) == 1


@given(st.integers(1, 9), st.integers(1, 12))
def test_several_leaves_are_different(width: int, count: int) -> None:
    tree = tree_of(*(child(n) for n in range(width)))
    chosen = leaves(select(tree, CONFIG, count))
    assert len(set(chosen)) == len(chosen) == min(width, count)


def test_virtual_visits_spread_leaves_over_branches() -> None:
    branches = [child(n, value=0.5, best_return=0.5, returns=1, visits=3) for n in (0, 1)]
    branches = [b.model_copy(update={"children": tuple(f"{b.id}.{k}" for k in range(3))}) for b in branches]
    thought = Thought(text="t", agent="ann", prior=0.5)
    leaves = [Node(id=key, parent=b.id, thought=thought) for b in branches for key in b.children]
    tree = tree_of(*branches).with_nodes(*leaves)
    chosen = select(tree, CONFIG, 4)
    assert Counter(leaf[:3] for leaf in chosen.evaluate) == {"0.0": 2, "0.1": 2}


def test_widening_asks_for_more_children_as_visits_grow() -> None:
    config = SearchConfig(widening_k=1.0, widening_alpha=0.5, resample=0)
    children = [child(n) for n in range(2)]
    assert leaves(select(tree_of(*children, visits=2), config)) == ("0.0",)
    assert leaves(select(tree_of(*children, visits=10), config)) == ("0",)


def test_leaves_in_the_middle_of_their_evaluation_are_not_selected_again() -> None:
    tree = tree_of(*(child(n) for n in range(3)))
    assert set(leaves(select(tree, CONFIG, 3, ["0.1"]))) == {"0.0", "0.2"}


def test_a_leaf_that_is_to_be_evaluated_gets_no_children_before() -> None:
    selected = select(tree_of(child(0), child(1)), CONFIG, 5)
    assert (set(selected.evaluate), selected.expand) == ({"0.0", "0.1"}, ())


def test_leaves_to_expand_come_on_top_of_those_to_evaluate() -> None:
    tree = tree_of(
        *(child(n, value=0.9, best_return=0.9, returns=1) for n in range(3)), *(child(n) for n in range(3, 6))
    )
    chosen = select(tree, CONFIG, 3)
    assert set(chosen.evaluate) == {"0.3", "0.4", "0.5"}
    assert len(chosen.expand) <= 2


def test_one_at_a_time_either_expands_or_evaluates() -> None:
    tree = tree_of(child(0, value=0.9, best_return=0.9, returns=1), child(1, prior=0.0))
    assert leaves(select(tree, CONFIG, 1)) == ("0.0",)


def evaluated_root(evaluations: int, visits: int, *children: Node) -> Tree:
    return tree_of(*children, value=0.0, evaluations=evaluations, visits=visits)


def test_a_node_is_answered_again_in_its_share_of_the_visits() -> None:
    config, tree, answers = SearchConfig(resample=0.5), Tree().with_nodes(Node()), 0
    tree = tree.change("0", value=0.0, evaluations=1, visits=2, children=("0.0",)).with_nodes(child(0))
    for _ in range(40):
        selected = select(tree, SearchConfig(resample=0.5, widening=False))
        root = tree["0"]
        again = selected.evaluate == ("0",)
        answers += again
        tree = tree.change("0", visits=root.visits + 1, evaluations=root.evaluations + again)
    assert answers == 20
    assert leaves(select(tree, config.model_copy(update={"resample": 0.0, "widening": False}))) == ("0.0",)


def test_a_root_with_nothing_else_left_is_answered_again() -> None:
    spent = [child(0, pruned=True), child(1, closed=True)]
    tree = evaluated_root(9, 10, *spent)
    assert select(tree, SearchConfig(widening=False)) == Selected(("0",), ())
    assert select(tree, CONFIG) == Selected()


def test_a_node_can_be_answered_again_while_its_children_are_evaluated() -> None:
    tree = evaluated_root(1, 2, child(0), child(1))
    selected = select(tree, SearchConfig(widening=False), 3)
    assert set(selected.evaluate) == {"0", "0.0", "0.1"}


def test_agents_that_only_repeat_themselves_are_not_asked_for_more() -> None:
    config = SearchConfig(resample=0)
    assert select(tree_of(child(0), visits=50, expanded=1), config).expand == ("0",)
    assert select(tree_of(child(0), visits=50, expanded=2), config).expand == ()


def test_a_program_that_passes_is_confirmed_before_thoughts_are_asked_for() -> None:
    config = SearchConfig(resample=0.25, widening=False)
    attempt = Attempt(program="p", agent="ann", author="", reward=1.0)

    def root(reward: float) -> Tree:
        attempts = (attempt.model_copy(update={"reward": reward}),)
        return Tree().with_nodes(Node(value=reward, visits=2, evaluations=1, attempts=attempts))

    assert select(root(0.5), config) == Selected(expand=("0",))
    assert select(root(1.0), config) == Selected(evaluate=("0",))
    assert select(root(1.0), config.model_copy(update={"resample": 0.0})) == Selected(expand=("0",))


def test_programs_are_written_for_every_thought_and_at_the_root_where_it_is_answered_first() -> None:
    for answer_first in (True, False):
        config = SearchConfig(answer_first=answer_first)
        assert needs_value(child(0), config)
        assert needs_value(Node(), config) is answer_first
        assert not needs_value(child(0, value=0.0), config)
        assert not needs_value(Node(value=0.0), config)


def test_what_lies_below_a_node_waits_while_it_gets_more_children() -> None:
    """The new ones may be better than those there are."""
    config = SearchConfig(widening_k=1.0, widening_alpha=0.5, resample=0)
    tree = tree_of(child(0), child(1), visits=10)
    assert select(tree, config, 3) == Selected(expand=("0",))
    assert set(select(tree.change("0", visits=2), config, 3).evaluate) == {"0.0", "0.1"}
