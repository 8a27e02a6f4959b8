"""Backpropagate: carry a leaf's value up its path, and close what has nothing left to select."""

from bdc_agents.config import SearchConfig
from bdc_agents.search.policy.select import can_expand, live, needs_value
from bdc_agents.types import Node, Tree


def backpropagate(tree: Tree, leaf: str, config: SearchConfig) -> Tree:
    """Up the path: G = r + gamma G; G joins each action's returns, and N grows by one.

    The reward r is V(leaf) at the leaf and 0 above it, where no program was run. Only the path is
    read and changed.

    Args:
        tree: The search tree.
        leaf: Id of a node with a value.
        config: Carries gamma.
    """
    ret, changed = 0.0, list[Node]()
    for node in reversed(tree.path(leaf)):
        reward = (node.value or 0.0) if node.id == leaf else 0.0
        ret = reward + config.gamma * ret
        counts: dict[str, float] = {"visits": node.visits + 1}
        if node.parent is not None:
            counts |= {"returns": node.returns + 1, "best_return": max(node.best_return, ret)}
        changed.append(node.model_copy(update=counts))
    return tree.with_nodes(*changed)


def close(tree: Tree, leaf: str, config: SearchConfig) -> Tree:
    """Closes the leaf, and then its ancestors, where nothing below is left to select.

    Args:
        tree: The search tree.
        leaf: A node that was evaluated, expanded or pruned.
        config: Carries the largest depth.
    """
    for node in reversed(tree.path(leaf)):
        if not _is_spent(tree, node, config):
            break
        tree = tree.change(node.id, closed=True)
    return tree


def _is_spent(tree: Tree, node: Node, config: SearchConfig) -> bool:
    if node.pruned:
        return True
    if needs_value(node, config) or (node.parent is None and config.resample > 0):
        return False
    return not live(tree, node) if node.children else not can_expand(node, config)
