"""The clustering methods: from vectors to soft memberships.

Every function is deterministic for its seed, and is given its rows in an order that does not
depend on how the caller had them.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bdc_agents.embed.encoder import Vectors
from bdc_agents.errors import UsageError
from bdc_agents.experts.clusters import ClusterSettings, Floats, Integers
from bdc_agents.extras import need

_SILHOUETTE_SAMPLE = 4000
"""Problems above which the silhouette is taken on a sample: it needs all pairs, and 4000 have 16 million.
Chosen, not measured."""
_STARTS = 4
"""Random starts of k-means, of which the best counts. Chosen, not measured: `_best_k` fits every K up to
`max_clusters`."""
_MEMBERS = 0.04
"""The smallest cluster as a share of the problems; documented as `ClusterSettings.min_rows`. As a start, not
measured."""
_LEAST_MEMBERS = 5
"""The smallest cluster of a small set, where the share would give one or two problems; HDBSCAN's own default
is 5."""
_VOTERS = 10
"""Neighbours that vote on a soft membership, which is then known to a tenth. Chosen, not measured."""
# Excess of mass, HDBSCAN's default, tends to give one large cluster and a tiny one, and another K for
# another order of rows. Leaves are of more equal size, as experts need them.
_SELECTION = "leaf"


@dataclass(frozen=True, eq=False)
class Partition:
    """Soft memberships [n, K], rows summing to 1, and which rows belong nowhere by density.

    Args:
        space: Where the clusters were found: the vectors or what they were reduced to.
    """

    memberships: NDArray[np.float64]
    noise: NDArray[np.bool_]
    space: NDArray[np.floating[Any]]
    notes: tuple[str, ...] = ()

    @property
    def labels(self) -> Integers:
        """The cluster of the largest membership."""
        return self.memberships.argmax(1)


def partition(vectors: Vectors, settings: ClusterSettings) -> Partition:
    """Clusters vectors by the method that the settings name.

    Raises:
        UsageError: If there are fewer rows than clusters asked for.
    """
    if settings.clusters is not None and settings.clusters > len(vectors):
        raise UsageError(
            f"{settings.clusters} clusters of {len(vectors)} problems: ask for fewer, or give more traces"
        )
    if settings.method == "kmeans":
        return _by_kmeans(vectors, settings)
    return _by_density(vectors, settings)


def _by_kmeans(vectors: Vectors, settings: ClusterSettings) -> Partition:
    k = settings.clusters or _best_k(vectors, settings)
    labels = fit_kmeans(vectors, k, settings.seed).labels_
    return Partition(np.eye(k)[labels], np.zeros(len(vectors), bool), vectors)


def fit_kmeans(vectors: Vectors, k: int, seed: int, start: Floats | None = None) -> Any:
    """scikit-learn's k-means, run until nothing moves.

    Args:
        start: Centres to start from; None for the best of several random starts.
    """
    kmeans = need("sklearn.cluster").KMeans
    with warnings.catch_warnings():  # Fewer distinct rows than clusters leaves some empty.
        warnings.simplefilter("ignore")
        return kmeans(
            k,
            init="k-means++" if start is None else start,
            n_init=_STARTS if start is None else 1,
            max_iter=1000,  # Far more than it takes; a bound against a loop without end.
            tol=0,
            random_state=seed,
        ).fit(vectors)


def _best_k(vectors: Vectors, settings: ClusterSettings) -> int:
    """The K from 2 on with the best silhouette; 1 where there is nothing to part."""
    scores: dict[int, float] = {1: -1.0}
    for k in range(2, min(settings.max_clusters, len(vectors) - 1) + 1):
        score = silhouette(vectors, fit_kmeans(vectors, k, settings.seed).labels_, settings.seed)
        if score is not None:
            scores[k] = score
    return max(scores, key=lambda k: scores[k])


def silhouette(vectors: Vectors, labels: Integers, seed: int) -> float | None:
    """Mean silhouette by cosine distance, on a sample where there are many; None for one cluster."""
    if not 2 <= len(np.unique(labels)) < len(labels):
        return None
    score = need("sklearn.metrics").silhouette_score
    size = _SILHOUETTE_SAMPLE if len(labels) > _SILHOUETTE_SAMPLE else None
    return float(score(vectors, labels, metric="cosine", sample_size=size, random_state=seed))


def _by_density(vectors: Vectors, settings: ClusterSettings) -> Partition:
    least = settings.min_rows or max(_LEAST_MEMBERS, round(_MEMBERS * len(vectors)))
    if len(vectors) < 2 * least:
        note = f"{len(vectors)} problems are too few to look for clusters of {least}: one cluster"
        return _one(vectors, vectors, note)
    space = reduce(vectors, settings, settings.dimensions)
    soft = _hdbscan if settings.method == "umap-hdbscan" else _sklearn_hdbscan
    memberships, noise = soft(space, least)
    if memberships.shape[1] < 2:
        return _one(vectors, space, "no two groups are denser than what lies between them: one cluster")
    notes = (f"{noise.sum()} of {len(noise)} problems lie between the clusters",) if noise.any() else ()
    return Partition(memberships, noise, space, notes)


def _one(vectors: Vectors, space: NDArray[np.floating[Any]], note: str) -> Partition:
    return Partition(np.ones((len(vectors), 1)), np.zeros(len(vectors), bool), space, (note,))


def reduce(vectors: Vectors, settings: ClusterSettings, dimensions: int) -> NDArray[np.floating[Any]]:
    """Fewer dimensions, by UMAP or by PCA as the method says; the same for the same seed."""
    # UMAP's start needs two more rows than dimensions.
    dimensions = min(dimensions, len(vectors) - 2, vectors.shape[1])
    if settings.method != "umap-hdbscan":
        pca = need("sklearn.decomposition").PCA(dimensions, svd_solver="full")
        return pca.fit_transform(vectors.astype(np.float64))
    with warnings.catch_warnings():  # Its own use of NumPy and scikit-learn warns of the future.
        warnings.simplefilter("ignore")
        umap = need("umap").UMAP(
            n_neighbors=min(settings.neighbors, len(vectors) - 1),
            n_components=dimensions,
            min_dist=0.0,  # UMAP's guide to clustering: points may lie as close as they are alike.
            metric="cosine",
            random_state=settings.seed,
            n_jobs=1,  # A seed takes one thread anyway; UMAP warns otherwise.
        )
        return umap.fit_transform(vectors).astype(np.float64)


def _hdbscan(space: NDArray[np.floating[Any]], least: int) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """HDBSCAN with its own soft memberships, scaled to sum to 1."""
    hdbscan = need("hdbscan")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fitted = hdbscan.HDBSCAN(
            min_cluster_size=least,
            cluster_selection_method=_SELECTION,
            prediction_data=True,
            # Exact, and in this process: there are some thousand rows at most.
            approx_min_span_tree=False,
            core_dist_n_jobs=1,
        ).fit(space)
        if fitted.labels_.max() < 1:
            return np.ones((len(space), 1)), fitted.labels_ < 0
        found = np.nan_to_num(hdbscan.all_points_membership_vectors(fitted))
    return _scaled(found, space, fitted.labels_), fitted.labels_ < 0


def _sklearn_hdbscan(
    space: NDArray[np.floating[Any]], least: int
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """scikit-learn's HDBSCAN, which has no soft memberships: the nearest clustered rows vote."""
    # With `min_samples=1` the fewest rows are noise; larger values are more cautious.
    labels = (
        need("sklearn.cluster")
        .HDBSCAN(min_cluster_size=least, min_samples=1, cluster_selection_method=_SELECTION, copy=True)
        .fit(space)
        .labels_
    )
    inside = np.flatnonzero(labels >= 0)
    if labels.max() < 1:
        return np.ones((len(space), 1)), labels < 0
    votes = min(_VOTERS, len(inside))
    near = need("sklearn.neighbors").NearestNeighbors(n_neighbors=votes).fit(space[inside])
    found = np.eye(labels.max() + 1)[labels[inside][near.kneighbors(space)[1]]].mean(1)
    # A row that HDBSCAN has put into a cluster stays there: its own vote is just larger than all neighbours'
    # together.
    found[inside] = (found[inside] + np.eye(found.shape[1])[labels[inside]] * 1.001) / 2.001
    return found, labels < 0


def _scaled(
    found: NDArray[np.float64], space: NDArray[np.floating[Any]], labels: Integers
) -> NDArray[np.float64]:
    """Rows that sum to 1; a row without any membership goes to the nearest cluster mean."""
    empty = found.sum(1) <= 0
    if empty.any():
        means = np.stack([space[labels == k].mean(0) for k in range(found.shape[1])])
        apart = ((space[empty][:, None] - means) ** 2).sum(2)
        found[empty] = np.eye(found.shape[1])[apart.argmin(1)]
    return found / found.sum(1, keepdims=True)
