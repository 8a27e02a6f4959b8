"""Clusters of solved problems, each to have an expert of its own.

Problems are clustered, not rows: the plan and the program of a problem must have the same expert,
because a problem is placed once for its whole generation.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bdc_agents.distill.clustering.partition import Partition, fit_kmeans, partition
from bdc_agents.distill.items import (
    CountTokens,
    Embedded,
    embed_items,
    estimate_tokens,
    items_of_rows,
    items_of_traces,
)
from bdc_agents.embed.encoder import Encoder, Vectors
from bdc_agents.experts.clusters import (
    SHARED,
    Clusters,
    ClusterSettings,
    Floats,
    Integers,
    soft_placement,
    softmax,
)
from bdc_agents.extras import need
from bdc_agents.search.traces import Row
from bdc_agents.types import Trace

_EDGE = 1e-4
"""How much larger a label's membership is made than the next one: visible in float32, too
small to change a mixture."""
_SMALL = 2_000_000
"""Numbers (rows times size) below which one thread is enough; 5000 vectors of MiniLM. Chosen, not
measured."""
_TEMPERATURES = np.logspace(-3, 0.5, 36)
"""Temperatures to try. Squared distances of unit vectors lie in [0, 4]: from nearly hard to nearly uniform,
in steps of a quarter."""


def cluster_traces(
    traces: Iterable[Trace],
    encoder: Encoder,
    settings: ClusterSettings | None = None,
    *,
    count: CountTokens = estimate_tokens,
) -> Clusters:
    """Clusters the solved problems of some traces.

    Args:
        traces: Those that may be trained on.
        count: Tokens of a text, by the base model's tokenizer.

    Raises:
        UsageError: If no trace has training rows, or there are fewer than the clusters asked for.
    """
    return cluster_items(embed_items(items_of_traces(traces, count), encoder), settings)


def cluster_rows(
    rows: Iterable[Row],
    encoder: Encoder,
    settings: ClusterSettings | None = None,
    *,
    problems: Mapping[str, str] | None = None,
    count: CountTokens = estimate_tokens,
) -> Clusters:
    """Clusters the problems of some training rows; see `items_of_rows` and `cluster_traces`."""
    return cluster_items(embed_items(items_of_rows(rows, problems, count), encoder), settings)


def cluster_items(embedded: Embedded, settings: ClusterSettings | None = None) -> Clusters:
    """Clusters embedded items; the same for the same items in any order.

    Raises:
        UsageError: If there are fewer items than the clusters asked for.
    """
    settings = settings or ClusterSettings()
    with threads(embedded.vectors):
        return _cluster(embedded, settings)


def _cluster(embedded: Embedded, settings: ClusterSettings) -> Clusters:
    ids = [item.id for item in embedded.items]
    tokens = np.array([item.tokens for item in embedded.items], np.int64)
    order = own_order(embedded)
    vectors, queries = embedded.vectors[order], embedded.queries[order]
    found = _feed(vectors, partition(vectors, settings), tokens[order], settings)
    memberships = _soften(vectors, found) if settings.method == "kmeans" else found.memberships
    labels = _labelled(found.memberships, found.noise, settings)
    by_size = _largest_first(labels, tokens[order], memberships.shape[1])
    labels = np.append(np.argsort(by_size), SHARED)[labels]
    memberships = _untied(memberships[:, by_size], labels)
    centroids = _means(queries, labels, memberships.shape[1])
    back = np.argsort(order)
    return Clusters(
        ids=tuple(ids),
        labels=labels[back],
        memberships=memberships[back],
        tokens=tokens,
        centroids=centroids,
        temperature=_temperature(queries, labels, centroids),
        encoder=embedded.encoder,
        probe=np.zeros(0, np.float32) if embedded.probe is None else embedded.probe,
        settings=settings,
        notes=found.notes,
    )


def threads(vectors: Vectors) -> AbstractContextManager[Any]:
    """Within the context, small inputs use one thread; on a busy machine, several wait for each other."""
    limits: Callable[..., AbstractContextManager[Any]] = need("threadpoolctl").threadpool_limits
    return limits(1 if vectors.size < _SMALL else None)


def own_order(embedded: Embedded) -> Integers:
    """An order of the items that does not depend on how they came, for seeds and ties."""
    items, vectors = embedded.items, embedded.vectors
    return np.array(sorted(range(len(items)), key=lambda i: (vectors[i].tobytes(), items[i].id)))


def held_out_scores(queries: Vectors, labels: Integers, centroids: Floats) -> NDArray[np.float64]:
    """2 x.c_k - ||c_k||^2 for labelled items, each left out of its own centroid, [n, K].

    An item that is alone in its cluster cannot be held out and keeps its centroid.
    """
    x, c = queries.astype(np.float64), centroids.astype(np.float64)
    scores = 2 * x @ c.T - (c**2).sum(1)
    sizes = np.bincount(labels, minlength=len(c))[labels][:, None]
    own = np.where(sizes > 1, (sizes * c[labels] - x) / np.maximum(sizes - 1, 1), c[labels])
    scores[np.arange(len(x)), labels] = 2 * (x * own).sum(1) - (own**2).sum(1)
    return scores


def _feed(vectors: Vectors, found: Partition, tokens: Integers, settings: ClusterSettings) -> Partition:
    """Dissolves the smallest cluster as long as one starves or there are too many."""
    most = settings.clusters or settings.max_clusters
    dissolved = 0
    while (k := found.memberships.shape[1]) > 1:
        labels = _labelled(found.memberships, found.noise, settings)
        kept = labels >= 0
        sizes = np.bincount(labels[kept], weights=tokens[kept], minlength=k)
        rows = np.bincount(labels[kept], minlength=k)
        smallest = int(np.lexsort((rows, sizes))[0])
        if rows[smallest] and sizes[smallest] >= settings.min_tokens and k <= most:
            break
        found = _without(vectors, found, smallest, settings)
        dissolved += 1
    if not dissolved:
        return found
    note = (
        f"{dissolved} of the clusters found were dissolved into others, as more than {most} or with fewer "
        f"than {settings.min_tokens:,} tokens to learn"
    )
    if k == 1:
        note += f"; there are {int(tokens.sum()):,} in all: lower min_tokens or give more traces"
    return Partition(found.memberships, found.noise, found.space, (*found.notes, note))


def _without(vectors: Vectors, found: Partition, gone: int, settings: ClusterSettings) -> Partition:
    """The partition without one cluster, whose rows go where they belong next."""
    labels, k = found.labels, found.memberships.shape[1]
    rest = [other for other in range(k) if other != gone and (labels == other).any()] or [0 if gone else 1]
    means = _means(found.space, labels, k)[rest]
    if settings.method == "kmeans":
        labels = fit_kmeans(vectors, len(rest), settings.seed, means).labels_
        return Partition(np.eye(len(rest))[labels], found.noise, found.space, found.notes)
    soft = found.memberships[:, rest]
    lost = soft.sum(1) <= 1e-9  # Rows that were in the cluster that is gone alone, but for rounding.
    if lost.any():
        soft[lost] = np.eye(len(rest))[soft_placement(found.space[lost], means, 1.0).argmax(1)]
    return Partition(soft / soft.sum(1, keepdims=True), found.noise, found.space, found.notes)


def _soften(vectors: Vectors, found: Partition) -> Floats:
    """Soft memberships for k-means, by the rule that places new problems."""
    means = _means(vectors, found.labels, found.memberships.shape[1])
    return soft_placement(vectors, means, _temperature(vectors, found.labels, means))


def _untied(memberships: NDArray[Any], labels: Integers) -> Floats:
    """Memberships in which the label's share is the largest, even where others were as large."""
    kept = labels >= 0
    clear = np.asarray(memberships, np.float64).copy()
    clear[kept, labels[kept]] = np.maximum(clear[kept, labels[kept]], clear[kept].max(1)) + _EDGE
    return (clear / clear.sum(1, keepdims=True)).astype(np.float32)


def _labelled(memberships: NDArray[Any], noise: NDArray[np.bool_], settings: ClusterSettings) -> Integers:
    labels = memberships.argmax(1).astype(np.int64)
    # With one cluster there is nothing between clusters.
    aside = noise if settings.noise == "shared" and memberships.shape[1] > 1 else np.zeros_like(noise)
    return np.where(aside, SHARED, labels)


def _largest_first(labels: Integers, tokens: Integers, k: int) -> list[int]:
    """The clusters by their tokens; of equal ones, that of the first row first."""
    rows = [np.flatnonzero(labels == number) for number in range(k)]
    return sorted(range(k), key=lambda n: (-int(tokens[rows[n]].sum()), rows[n][0] if len(rows[n]) else 0))


def _means(vectors: NDArray[Any], labels: Integers, k: int) -> Floats:
    """The mean of each cluster's rows; of all rows for a cluster without any."""
    rows = [np.flatnonzero(labels == number) for number in range(k)]
    means = [vectors[some if len(some) else slice(None)].mean(0, dtype=np.float64) for some in rows]
    return np.stack(means).astype(np.float32)


def _temperature(queries: Vectors, labels: Integers, centroids: Floats) -> float:
    """The temperature at which held-out placement predicts the labels best, by its likelihood."""
    kept = labels >= 0
    if len(centroids) == 1:
        return 1.0
    scores = held_out_scores(queries[kept], labels[kept], centroids)
    own = np.arange(len(scores)), labels[kept]
    # The clip keeps the logarithm finite where a share rounds to zero.
    losses = [-np.log(softmax(scores / t)[own].clip(1e-12)).mean() for t in _TEMPERATURES]
    return float(_TEMPERATURES[int(np.argmin(losses))])
