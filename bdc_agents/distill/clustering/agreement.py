"""Tests whether clusters agree with people's labels more than by chance.

An item may have several labels, such as tags: each pair of item and label is one observation, so
that with one label an item these are the usual scores. Chance is measured, not assumed: cluster
numbers are dealt out anew to the items, many times.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bdc_agents.experts.clusters import Integers
from bdc_agents.types import Frozen

_FEWEST = 10
"""Labelled items below which no agreement is reported; with fewer, chance alone looks large.
Chosen, not measured."""


class Agreement(Frozen):
    """How clusters agree with one kind of label.

    Args:
        label: Which, such as `difficulty`.
        items: Items that have it and are in a cluster.
        values: Different values among them.
        nmi, ari, homogeneity: Normalised mutual information (arithmetic mean), adjusted Rand index,
            and the share of the labels' entropy that the clusters explain.
        nmi_chance: Mean NMI of clusters dealt out at random; it is not 0.
        p: Share of random deals whose NMI is at least as large, counting the clusters themselves.
        permutations: Number of random deals.
    """

    label: str
    items: int
    values: int
    nmi: float
    ari: float
    homogeneity: float
    nmi_chance: float
    p: float
    permutations: int


def agreement(
    label: str,
    values: Sequence[Sequence[str]],
    clusters: Integers,
    *,
    permutations: int = 999,
    seed: int = 42,
) -> Agreement | None:
    """Agreement of clusters with one kind of label; None where too few items have it.

    Args:
        label: Its name.
        values: The labels of each item; empty if it has none.
        clusters: The cluster of each item; items with a negative one are left out.
        permutations: Random deals; with 999 the smallest p is 0.001.
    """
    rows = [row for row, found in enumerate(values) if found and clusters[row] >= 0]
    names = {name: column for column, name in enumerate(sorted({v for row in rows for v in values[row]}))}
    if len(rows) < _FEWEST or len(names) < 2:
        return None
    has = np.zeros((len(rows), len(names)))
    for number, row in enumerate(rows):
        has[number, [names[value] for value in values[row]]] = 1
    chosen = clusters[rows]
    nmi, ari, homogeneity = scores(_table(chosen, has))
    random = np.random.default_rng(seed)
    dealt = np.array([scores(_table(random.permutation(chosen), has))[0] for _ in range(permutations)])
    return Agreement(
        label=label,
        items=len(rows),
        values=len(names),
        nmi=nmi,
        ari=ari,
        homogeneity=homogeneity,
        nmi_chance=float(dealt.mean()) if permutations else 0.0,
        # 1e-12 covers rounding: a deal that equals the clusters must count.
        p=float((1 + (dealt >= nmi - 1e-12).sum()) / (1 + permutations)),
        permutations=permutations,
    )


def scores(table: NDArray[np.float64]) -> tuple[float, float, float]:
    """NMI, ARI and homogeneity of a contingency table of clusters and labels."""
    joint = table / table.sum()
    rows, columns = joint.sum(1), joint.sum(0)
    inside = joint > 0
    mutual = float((joint[inside] * np.log(joint[inside] / np.outer(rows, columns)[inside])).sum())
    of_rows, of_columns = _entropy(rows), _entropy(columns)
    mean = (of_rows + of_columns) / 2
    nmi = max(0.0, mutual) / mean if mean > 0 else 1.0
    return nmi, _ari(table), max(0.0, mutual) / of_columns if of_columns > 0 else 1.0


def top_labels(values: Sequence[Sequence[str]], count: int = 3) -> tuple[tuple[str, float], ...]:
    """The commonest labels of some items, each with the share of the items that have it."""
    having = [set(found) for found in values if found]
    counts = Counter(value for found in having for value in sorted(found))
    return tuple((value, number / len(having)) for value, number in counts.most_common(count))


def _table(clusters: Integers, has: NDArray[np.float64]) -> NDArray[np.float64]:
    one_hot = np.eye(int(clusters.max()) + 1)[clusters]
    table = one_hot.T @ has
    return table[table.sum(1) > 0]


def _entropy(shares: NDArray[np.float64]) -> float:
    some = shares[shares > 0]
    return float(-(some * np.log(some)).sum())


def _ari(table: NDArray[np.float64]) -> float:
    def pairs(counts: Any) -> float:
        return float((counts * (counts - 1) / 2).sum())

    both, rows, columns = pairs(table), pairs(table.sum(1)), pairs(table.sum(0))
    expected = rows * columns / pairs(table.sum())
    most = (rows + columns) / 2
    return 1.0 if most == expected else (both - expected) / (most - expected)
