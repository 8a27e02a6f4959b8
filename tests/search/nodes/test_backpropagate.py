from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from bdc_agents.config import SearchConfig
from bdc_agents.search.nodes.backpropagate import backpropagate, close
from bdc_agents.search.routes import after_backpropagate, after_expand, after_select
from bdc_agents.types import Node, Thought, Tree

CONFIG = SearchConfig(resample=0)


def chain(depth: int, value: float) -> Tree:
    """A path of that many thoughts; the last node has the value, the others 0.3."""
    thought = Thought(text="t", agent="ann")
    ids = ["0" + ".0" * n for n in range(depth + 1)]
    return Tree().with_nodes(
        *(
            Node(
                id=key,
                parent=key[:-2] or None,
                children=(ids[n + 1],) if n < depth else (),
                thought=thought if n else None,
                value=value if n == depth else 0.3,
            )
            for n, key in enumerate(ids)
        )
    )


def test_the_return_is_discounted_by_hand() -> None:
    tree = backpropagate(chain(3, 0.5), "0.0.0.0", CONFIG)
    returns = [node.best_return for node in tree.path("0.0.0.0")]
    assert [round(g, 6) for g in returns] == [0.0, 0.405, 0.45, 0.5]
    assert [node.visits for node in tree.path("0.0.0.0")] == [2, 2, 2, 2]
    assert [node.returns for node in tree.path("0.0.0.0")] == [0, 1, 1, 1]


@given(st.lists(st.floats(0, 1), min_size=1, max_size=20), st.integers(1, 6))
def test_q_is_the_largest_return_and_n_counts_them(values: list[float], depth: int) -> None:
    tree = chain(depth, 0.0)
    leaf = "0" + ".0" * depth
    for value in values:
        tree = backpropagate(tree.change(leaf, value=value), leaf, CONFIG)
    for node in tree.path(leaf)[1:]:
        expected = max(values) * CONFIG.gamma ** (depth - node.depth)
        assert abs(node.best_return - expected) < 1e-9
        assert node.returns == len(values)
        assert node.visits == 1 + len(values)


def test_only_the_path_is_touched() -> None:
    stored = chain(2, 0.5).patches() | {"0.1": Node(id="0.1", parent="0").model_dump(mode="json")}
    assert set(backpropagate(Tree(stored), "0.0.0", CONFIG).patches()) == {"0", "0.0", "0.0.0"}


def test_the_tree_it_was_given_stays_as_it_was() -> None:
    before = chain(2, 0.5)
    kept = before.patches()
    backpropagate(before, "0.0.0", CONFIG)
    assert before.patches() == kept


def test_closing_goes_up_to_the_first_ancestor_with_something_left() -> None:
    tree = chain(2, 0.5).change("0.0.0", pruned=True)
    closed = close(tree, "0.0.0", CONFIG)
    assert [closed[key].closed for key in ("0.0.0", "0.0", "0")] == [True, True, True]
    live = tree.with_nodes(Node(id="0.1", parent="0")).change("0", children=("0.0", "0.1"))
    assert [close(live, "0.0.0", CONFIG)[key].closed for key in ("0.0", "0")] == [True, False]


def test_an_evaluated_leaf_at_the_largest_depth_closes() -> None:
    shallow = SearchConfig(max_depth=2, resample=0)
    assert close(chain(2, 0.5), "0.0.0", shallow)["0"].closed
    assert not close(chain(2, 0.5), "0.0.0", CONFIG)["0.0.0"].closed


def test_where_the_root_gets_programs_again_all_but_the_root_closes() -> None:
    again = SearchConfig(max_depth=2, resample=0.5)
    closed = close(chain(2, 0.5), "0.0.0", again)
    assert [closed[key].closed for key in ("0.0.0", "0.0", "0")] == [True, True, False]


# --- where the graph goes on --------------------------------------------------------------------

MOVES = {"moves": [{"kind": "answer", "agent": "ann", "node": "0"}]}
WRITING: tuple[Any, ...] = ({"evaluating": ["0"]}, {"refining": ["0"]}, {"plan": MOVES})


def test_thoughts_and_programs_are_asked_for_as_the_leaves_want_them() -> None:
    thinking: Any = {"expanding": ["0"]}
    assert after_select({}) == ["boost"]
    assert after_select(thinking) == ["expand"]
    assert after_expand(thinking) == "select"
    for one in WRITING:
        assert after_select(one) == ["boost"]
        assert after_select(thinking | one) == ["expand", "boost"]
        assert after_select(thinking | one | {"stopped_by": "calls"}) == ["finish"]
        assert after_expand(one) == "execute"


def test_after_a_round_those_to_refine_may_fill_the_next() -> None:
    assert after_backpropagate({"full": True}) == "boost"
    assert after_backpropagate({"full": False}) == after_backpropagate({}) == "select"
