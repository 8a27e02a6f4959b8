"""What is out of selection stays out, whatever else would speak for it."""

import pytest

from bdc_agents.config import SearchConfig
from bdc_agents.search.policy.select import Selected, is_open, select
from bdc_agents.types import Node, Tree

CONFIG = SearchConfig()


def test_a_node_may_get_children_only_while_it_is_in_selection() -> None:
    assert is_open(Node(value=0.5), CONFIG)
    assert not is_open(Node(value=0.5, pruned=True), CONFIG)
    assert not is_open(Node(value=0.5, closed=True), CONFIG)
    assert not is_open(Node(id="0.1", parent="0", value=0.5), SearchConfig(max_depth=1))


@pytest.mark.parametrize("root", [Node(closed=True), Node(closed=True, value=0.5, visits=9, evaluations=1)])
def test_a_closed_tree_gives_no_leaf_though_its_root_could_be_answered_again(root: Node) -> None:
    assert select(Tree().with_nodes(root), CONFIG) == Selected()
    assert select(Tree().with_nodes(root.model_copy(update={"closed": False})), CONFIG) != Selected()
