"""Tests whether clusters mean anything: against structureless data, left-out problems and people's labels."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from bdc_agents.distill.clustering.agreement import Agreement, agreement
from bdc_agents.distill.clustering.cluster import cluster_items, held_out_scores, own_order
from bdc_agents.distill.clustering.describe import ClusterFacts, describe_clusters
from bdc_agents.distill.clustering.partition import reduce, silhouette
from bdc_agents.distill.items import Embedded
from bdc_agents.embed.encoder import Vectors, unit
from bdc_agents.errors import ModelError
from bdc_agents.experts.clusters import Clusters
from bdc_agents.extras import need
from bdc_agents.types import Frozen

SIGNIFICANT = 0.05
"""The usual level; 19 draws and the clusters themselves can just reach it."""
STABLE = 0.6
"""Mean ARI from which clusters are called stable. As a start: UMAP with HDBSCAN reached 0.56 to 0.78 on the
sets of benchmarks/results/clusters.md."""
_KEPT = 0.8
"""Share of the problems in a refit; the texts below and benchmarks/results/clusters.md say "a fifth is left
out"."""
_PLACED = 0.7
"""Share of problems placed by their text alone, below which a warning is given. As a start, not measured:
clusters of statements reached 0.82 to 0.94 with UMAP, those of statement and solution 0.71
(benchmarks/results/clusters.md)."""


class Validation(Frozen):
    """What can be said about some clusters; a number that does not apply is None.

    Args:
        silhouette: Mean over the problems, by cosine distance of the embeddings.
        silhouette_chance: The same for data without clusters: normal, of the same covariance,
            clustered in the same way; mean over the draws.
        silhouette_p: Share of draws that do at least as well, counting the clusters themselves.
        dbcv: Density-based clustering validation, in the reduced space.
        stability: Mean ARI with clusters of four fifths of the problems, drawn at random.
        stability_low: The lowest of these.
        placement: Share of problems which their text alone, without the output, puts into their
            cluster, each held out of the centroids.
        placement_chance: Share of the largest cluster: what always naming it would reach.
        agreements: With each kind of label of the data.
        clusters: What each is about.
        verdict: In words.
        warnings: What speaks against training an expert for each.
    """

    silhouette: float | None = None
    silhouette_chance: float | None = None
    silhouette_p: float | None = None
    dbcv: float | None = None
    stability: float | None = None
    stability_low: float | None = None
    placement: float | None = None
    placement_chance: float | None = None
    agreements: tuple[Agreement, ...] = ()
    clusters: tuple[ClusterFacts, ...] = ()
    verdict: str = ""
    warnings: tuple[str, ...] = ()


def validate(
    clusters: Clusters, embedded: Embedded, *, refits: int = 10, draws: int = 19, permutations: int = 999
) -> Validation:
    """Validates clusters. Labels are read here and nowhere else.

    Args:
        clusters: Of `embedded`, in its order.
        refits: Times that a part of the problems is clustered, for stability; 0 for not at all.
        draws: Draws of structureless data that are clustered; 19 can show p = 0.05; 0 for none.
        permutations: Random deals against which agreement with labels is tested.
    """
    seed = clusters.settings.seed
    found: dict[str, Any] = {"clusters": describe_clusters(clusters, embedded)}
    if clusters.count > 1:
        kept = clusters.labels >= 0
        found["silhouette"] = silhouette(embedded.vectors[kept], clusters.labels[kept], seed)
        found |= _against_chance(clusters, embedded, found["silhouette"], draws)
        found["dbcv"] = _dbcv(clusters, embedded)
        found |= _stability(clusters, embedded, refits) | _placement(clusters, embedded)
        found["agreements"] = tuple(_agreements(clusters, embedded, permutations))
    drawn = Validation(**found)
    return drawn.model_copy(update={"verdict": _verdict(drawn), "warnings": tuple(_warnings(drawn))})


def _against_chance(
    clusters: Clusters, embedded: Embedded, observed: float | None, draws: int
) -> dict[str, float]:
    if observed is None or draws < 1:
        return {}
    random = np.random.default_rng(clusters.settings.seed)
    values = []
    for _ in range(draws):
        null = _structureless(embedded.vectors, random)
        labels = cluster_items(replace(embedded, vectors=null, queries=null), clusters.settings).labels
        score = silhouette(null[labels >= 0], labels[labels >= 0], clusters.settings.seed)
        # A draw without clusters is worse than any clusters.
        values.append(-1.0 if score is None else score)
    some = [value for value in values if value > -1] or [0.0]
    p = (1 + sum(value >= observed for value in values)) / (1 + draws)
    return {"silhouette_chance": float(np.mean(some)), "silhouette_p": p}


def _structureless(vectors: Vectors, random: np.random.Generator) -> Vectors:
    """As many unit vectors from one normal distribution of the same mean and covariance."""
    middle = vectors.mean(0, dtype=np.float64)
    _, spread, axes = np.linalg.svd(vectors - middle, full_matrices=False)
    factors = random.standard_normal((len(vectors), len(spread))) * spread / np.sqrt(max(1, len(vectors) - 1))
    return unit(middle + factors @ axes)


def _stability(clusters: Clusters, embedded: Embedded, refits: int) -> dict[str, float]:
    if refits < 1:
        return {}
    ari = need("sklearn.metrics").adjusted_rand_score
    random = np.random.default_rng(clusters.settings.seed + 1)
    # Fewer problems have fewer tokens, so the limit shrinks with them.
    less = {"min_tokens": round(_KEPT * clusters.settings.min_tokens)}
    settings = clusters.settings.model_copy(update=less)
    size = max(settings.clusters or 2, round(_KEPT * len(embedded.items)))
    values = []
    for _ in range(refits):
        rows = np.sort(random.choice(len(embedded.items), size, replace=False))
        part = replace(
            embedded,
            items=tuple(embedded.items[row] for row in rows),
            vectors=embedded.vectors[rows],
            queries=embedded.queries[rows],
        )
        values.append(float(ari(clusters.labels[rows], cluster_items(part, settings).labels)))
    return {"stability": float(np.mean(values)), "stability_low": min(values)}


def _placement(clusters: Clusters, embedded: Embedded) -> dict[str, float]:
    kept = clusters.labels >= 0
    labels = clusters.labels[kept]
    placed = held_out_scores(embedded.queries[kept], labels, clusters.centroids).argmax(1)
    return {
        "placement": float((placed == labels).mean()),
        "placement_chance": float(clusters.sizes().max() / len(labels)),
    }


def _dbcv(clusters: Clusters, embedded: Embedded) -> float | None:
    """None where the library that computes it is not installed."""
    try:
        validity = need("hdbscan.validity").validity_index
    except ModelError:
        return None
    order = own_order(embedded)
    space = reduce(embedded.vectors[order], clusters.settings, clusters.settings.dimensions)
    with np.errstate(all="ignore"):
        value = float(validity(np.asarray(space, np.float64), clusters.labels[order]))
    return value if np.isfinite(value) else None


def _agreements(clusters: Clusters, embedded: Embedded, permutations: int) -> Iterator[Agreement]:
    for kind in sorted({kind for item in embedded.items for kind in item.labels}):
        values = [item.labels.get(kind, ()) for item in embedded.items]
        found = agreement(
            kind, values, clusters.labels, permutations=permutations, seed=clusters.settings.seed
        )
        if found is not None:
            yield found


def _verdict(found: Validation) -> str:
    count = sum(facts.label >= 0 for facts in found.clusters)
    if count < 2:
        return "One cluster: the data was not parted, and one expert learns it all."
    parts = [f"{count} clusters."]
    if found.silhouette is not None and found.silhouette_p is not None:
        holds = (
            "hold together better than"
            if found.silhouette_p <= SIGNIFICANT
            else "are no tighter than those of"
        )
        parts.append(
            f"They {holds} structureless data (silhouette {found.silhouette:.2f} against "
            f"{found.silhouette_chance:.2f}, p = {found.silhouette_p:.2g})."
        )
    if found.stability is not None:
        back = "come back" if found.stability >= STABLE else "do not come back reliably"
        parts.append(f"They {back} when a fifth of the problems is left out (ARI {found.stability:.2f}).")
    if found.placement is not None:
        parts.append(
            f"From its text alone a problem is put into its own cluster in {found.placement:.0%} of cases."
        )
    parts += [_agreement_in_words(one) for one in found.agreements]
    return " ".join(parts)


def _agreement_in_words(one: Agreement) -> str:
    word = "agree" if one.p <= SIGNIFICANT else "do not agree"
    return (
        f"They {word} with {one.label} (NMI {one.nmi:.2f}, by chance {one.nmi_chance:.2f}, "
        f"ARI {one.ari:.2f}, p = {one.p:.2g})."
    )


def _warnings(found: Validation) -> Iterator[str]:
    if sum(facts.label >= 0 for facts in found.clusters) < 2:
        return
    agreed = [one.label for one in found.agreements if one.p <= SIGNIFICANT]
    if found.silhouette_p is not None and found.silhouette_p > SIGNIFICANT:
        yield (
            f"the clusters are no tighter than chance, though they agree with {', '.join(agreed)}: "
            "their borders are soft, so mix experts rather than switch them"
            if agreed
            else "the clusters are not better than chance: one expert on all data may do as well"
        )
    if found.stability is not None and found.stability < STABLE:
        yield (
            f"the clusters depend on which problems were drawn (ARI {found.stability:.2f}): "
            "fewer clusters or more traces would steady them"
        )
    if found.agreements and not agreed:
        kinds = ", ".join(one.label for one in found.agreements)
        yield f"the clusters have nothing to do with what people say of the problems ({kinds})"
    if found.placement is not None and found.placement < _PLACED:
        yield (
            f"only {found.placement:.0%} of the problems can be placed from their text alone: "
            "new problems will often meet an expert of another cluster"
        )
