"""P-UCB: the value of an action and how much is left to explore behind it (PG-TD, arXiv 2303.05510)."""

from collections import Counter
from collections.abc import Mapping
from math import log, sqrt

from bdc_agents.config import SearchConfig
from bdc_agents.types import Node


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
    ahead: Mapping[str, int] = pending or {}
    visits = parent.visits + ahead.get(parent.id, 0)
    taken = child.returns + ahead.get(child.id, 0)
    prior = child.thought.prior if config.priors and child.thought else 1.0
    return child.best_return + exploration(visits, config) * prior * sqrt(log(visits)) / (1 + taken)
