"""Select: walk from the root by P-UCB to the leaves that are worth the next calls."""

from collections import Counter
from collections.abc import Sequence
from math import log, sqrt

from bdc_agents.config import SearchConfig
from bdc_agents.types import Node, Tree

EXPANSION_TRIES = 2
"""A node whose expansions gave no child this often is given up."""


def exploration(visits: float, config: SearchConfig) -> float:
    """beta(s) = ln((N(s) + c_base + 1) / c_base) + c (PG-TD, arXiv 2303.05510)."""
    return log((visits + config.c_base + 1) / config.c_base) + config.c


def p_ucb(parent: Node, child: Node, config: SearchConfig, pending: Counter[str] | None = None) -> float:
    """Q(a) + beta(s) P(a) sqrt(ln N(s)) / (1 + n(a)) (PG-TD, arXiv 2303.05510).

    Args:
        parent: The state s.
        child: The state that the action a leads to; it carries Q(a), P(a) and n(a).
        pending: Virtual visits of leaves that are selected and not yet evaluated.
    """
    ahead = pending or Counter()
    visits = parent.visits + ahead[parent.id]
    taken = child.returns + ahead[child.id]
    prior = child.thought.prior if config.priors and child.thought else 1.0
    return child.best_return + exploration(visits, config) * prior * sqrt(log(visits)) / (1 + taken)


def needs_value(node: Node, config: SearchConfig) -> bool:
    """Whether programs have to be written for this path."""
    return node.value is None and (node.parent is not None or config.answer_first)


def can_expand(node: Node, config: SearchConfig) -> bool:
    """Whether agents may be asked for children of this node."""
    if config.max_depth is not None and node.depth >= config.max_depth:
        return False
    return bool(node.children) or node.expanded < EXPANSION_TRIES


def needs_children(node: Node, config: SearchConfig) -> bool:
    """Whether a node the walk has reached is expanded next, rather than one of its children."""
    if not can_expand(node, config):
        return False
    if not node.children:
        return True
    room = config.widening_k * node.visits**config.widening_alpha
    return config.widening and len(node.children) < room


def select(tree: Tree, config: SearchConfig, count: int = 1, ahead: Sequence[str] = ()) -> tuple[str, ...]:
    """The next leaves: not yet evaluated, or evaluated and without children.

    Leaves that only need children come on top of the `count` that are evaluated, so that the
    agents have thoughts and programs to write side by side; one at a time there is no such leaf.

    Args:
        tree: The search tree.
        config: Constants of P-UCB and of widening.
        count: How many leaves to evaluate at most; virtual visits keep them apart.
        ahead: Leaves that are in the middle of their evaluation.

    Returns:
        Their ids; fewer than `count`, or none, where the tree has no more to select.
    """
    leaves: list[str] = []
    pending = Counter(node.id for leaf in ahead for node in tree.path(leaf))
    blocked = set(ahead)
    while count > 0 and len(leaves) < 2 * count - 1:
        leaf = _walk(tree, config, pending, blocked)
        if leaf is None:
            break
        leaves.append(leaf)
        blocked.add(leaf)
        pending.update(node.id for node in tree.path(leaf))
        if sum(needs_value(tree[key], config) for key in leaves) == count:
            break
    return tuple(leaves)


def _walk(tree: Tree, config: SearchConfig, pending: Counter[str], blocked: set[str]) -> str | None:
    """Descends to the best leaf that is not blocked, stepping back out of branches without one."""
    while "0" not in blocked and not tree["0"].closed:
        node = tree["0"]
        while not (needs_value(node, config) or needs_children(node, config)):
            parent = node
            options = [tree[key] for key in parent.children if key not in blocked]
            live = [child for child in options if not (child.pruned or child.closed)]
            if not live:
                blocked.add(parent.id)
                break
            node = max(live, key=lambda child: _rank(parent, child, config, pending))
        else:
            return node.id
    return None


def _rank(parent: Node, child: Node, config: SearchConfig, pending: Counter[str]) -> tuple[float, float]:
    """P-UCB, and the prior where it ties, as it does while N(s) is 1."""
    prior = child.thought.prior if config.priors and child.thought else 1.0
    return p_ucb(parent, child, config, pending), prior
