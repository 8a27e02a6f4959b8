"""Select: walk from the root by P-UCB to the leaves that are worth the next calls."""

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from bdc_agents.config import SearchConfig
from bdc_agents.search.policy.p_ucb import p_ucb
from bdc_agents.types import Node, Tree

EXPANSION_TRIES = 2
"""A node whose expansions gave no child this often is given up."""
CONFIRMING = 0.5
"""The least share where a program passes: the next one confirms it, without a call for thoughts."""
ROLLOUTS_PER_LEAF = 16
"""After so many rollouts one more leaf is evaluated at once, where the settings leave it open."""
LEAVES_AT_MOST = 8
"""As many requests as an agent takes at once by default."""


def needs_value(node: Node, config: SearchConfig) -> bool:
    """Whether programs have to be written for this path."""
    return node.value is None and (node.parent is not None or config.answer_first)


def can_expand(node: Node, config: SearchConfig) -> bool:
    """Whether agents may be asked for children of this node."""
    if config.max_depth is not None and node.depth >= config.max_depth:
        return False
    return bool(node.children) or node.expanded < EXPANSION_TRIES


def is_open(node: Node, config: SearchConfig) -> bool:
    """Whether a node that is in selection may get children."""
    return not (node.pruned or node.closed) and can_expand(node, config)


def needs_children(node: Node, config: SearchConfig) -> bool:
    """Whether a node the walk has reached is expanded next, rather than one of its children."""
    if not can_expand(node, config):
        return False
    if not node.children:
        return True
    # Agents that repeat themselves add no child, however often they are asked.
    fruitful = node.expanded <= len(node.children)
    room = config.widening_k * node.visits**config.widening_alpha
    return config.widening and fruitful and len(node.children) < room


def needs_programs(node: Node, config: SearchConfig, pending: int = 0) -> bool:
    """Whether a node the walk has reached gets new programs itself, as `resample` of its visits do.

    Args:
        pending: Virtual visits of the node.
    """
    if needs_value(node, config):
        return True
    if node.value is None or not config.resample:
        return False
    visits = node.visits + pending
    if node.evaluations <= config.resample * visits:
        return True
    return node.evaluations <= CONFIRMING * visits and node.passes


def leaves_at_once(config: SearchConfig, rollouts: int) -> int:
    """How many leaves are evaluated at once after so many rollouts."""
    return config.leaves or min(1 + rollouts // ROLLOUTS_PER_LEAF, LEAVES_AT_MOST)


def live(tree: Tree, node: Node) -> list[Node]:
    """The children that are in selection."""
    children = map(tree.__getitem__, node.children)
    return [child for child in children if not (child.pruned or child.closed)]


class Selected(NamedTuple):
    """Leaves of one round.

    Args:
        evaluate: Those that need programs.
        expand: Those that need children; they may be among the others.
    """

    evaluate: tuple[str, ...] = ()
    expand: tuple[str, ...] = ()


def select(tree: Tree, config: SearchConfig, count: int = 1, ahead: Sequence[str] = ()) -> Selected:
    """The next leaves: those that need programs, or were evaluated and have no children.

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
    walk = _Walk(tree, config, ahead)
    while count > len(walk.evaluate) and len(walk.evaluate) + len(walk.expand) < 2 * count - 1:
        if not walk.takes_one():
            break
    return Selected(tuple(walk.evaluate), tuple(walk.expand))


class _Walk:
    """Walks down the tree, each kept apart from those before by virtual visits."""

    def __init__(self, tree: Tree, config: SearchConfig, ahead: Sequence[str]) -> None:
        self.tree, self.config = tree, config
        self.pending = Counter(node.id for leaf in ahead for node in tree.path(leaf))
        self.blocked = set(ahead)
        self.evaluate: list[str] = []
        self.expand: list[str] = []

    def takes_one(self) -> bool:
        """Descends to the best leaf that is not blocked, stepping back out of branches without one."""
        while "0" not in self.blocked and not self.tree["0"].closed:
            node = self.tree["0"]
            while not self._takes(node):
                options = [child for child in live(self.tree, node) if child.id not in self.blocked]
                if not options:
                    self.blocked.add(node.id)
                    break
                node = self._best(node, options)
            else:
                self.pending.update(above.id for above in self.tree.path(node.id))
                return True
        return False

    def _best(self, parent: Node, options: Sequence[Node]) -> Node:
        return max(options, key=lambda child: _rank(parent, child, self.config, self.pending))

    def _takes(self, node: Node) -> bool:
        """Whether the walk ends here, which is noted."""
        if node.id not in self.evaluate and self._wants_programs(node):
            self.evaluate.append(node.id)
            if needs_value(node, self.config):
                self.blocked.add(node.id)
            return True
        if node.id not in self.expand and needs_children(node, self.config):
            self.expand.append(node.id)
            self.blocked.add(node.id)
            return True
        return False

    def _wants_programs(self, node: Node) -> bool:
        """Its share of the visits, or all of them at a root that has nothing else left."""
        if needs_programs(node, self.config, self.pending[node.id]):
            return True
        last = self.config.resample > 0 and node.parent is None and node.value is not None
        return last and not needs_children(node, self.config) and not live(self.tree, node)


def _rank(parent: Node, child: Node, config: SearchConfig, pending: Counter[str]) -> tuple[float, float]:
    """P-UCB, and the prior where it ties, as it does while N(s) is 1."""
    prior = child.thought.prior if config.priors and child.thought else 1.0
    return p_ucb(parent, child, config, pending), prior
