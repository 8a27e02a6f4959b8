"""The cluster report: an offline page with a map to explore, and the map as a picture."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bdc_agents.distill.clustering.cluster import own_order, threads
from bdc_agents.distill.clustering.describe import ClusterFacts
from bdc_agents.distill.clustering.validation import Validation
from bdc_agents.distill.items import Embedded
from bdc_agents.errors import ModelError
from bdc_agents.experts.atomic_write import replacing
from bdc_agents.experts.clusters import Clusters
from bdc_agents.extras import need
from bdc_agents.page import asset, drawing_script, embed_json, render_page

# Twelve hues that differ on light and dark pages; further clusters repeat them.
COLOURS = (
    *("#2f6fdb", "#e07a1f", "#1c9660", "#c43d7d", "#7a52cc", "#0e93ab"),
    *("#a98200", "#d1443a", "#667a1e", "#8f5b39", "#52637d", "#e561a6"),
)
_NONE = "#9aa4b1"
_TEXT_SHOWN = 1500
"""Characters of a problem on the page: a whole short statement, without letting the page grow to
megabytes."""


def write_cluster_report(
    folder: Path | str,
    clusters: Clusters,
    embedded: Embedded,
    validation: Validation,
    title: str = "Clusters",
) -> tuple[Path, ...]:
    """Writes `clusters.html`, `validation.json` and, where matplotlib is installed, `clusters.png`.

    Args:
        folder: Made where it is missing.

    Returns:
        The files.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    points = map_points(clusters, embedded)
    page, numbers, picture = folder / "clusters.html", folder / "validation.json", folder / "clusters.png"
    with replacing(page) as file:
        file.write_text(render_map(clusters, embedded, validation, points, title), encoding="utf-8")
    with replacing(numbers) as file:
        file.write_text(validation.model_dump_json(indent=1) + "\n", encoding="utf-8")
    try:
        with replacing(picture) as file:
            draw_map(file, clusters, validation, points, title)
    except ModelError:
        return page, numbers
    return page, numbers, picture


def map_points(clusters: Clusters, embedded: Embedded) -> NDArray[np.float64]:
    """A place on a plane for each problem, near those that are alike, [n, 2].

    By UMAP where it made the clusters, else by scikit-learn's t-SNE; the same for the same seed.
    """
    order = own_order(embedded)
    vectors, seed = embedded.vectors[order], clusters.settings.seed
    if len(vectors) < 5:  # So few need no map; a row of dots will do.
        return np.stack([np.arange(len(vectors)), np.zeros(len(vectors))], 1).astype(np.float64)
    near = min(clusters.settings.neighbors, len(vectors) - 1)
    with warnings.catch_warnings(), threads(vectors):
        warnings.simplefilter("ignore")
        if clusters.settings.method == "umap-hdbscan":
            # The spectral start fails on the graphs of few problems. A `min_dist` above UMAP's 0.1 keeps dots
            # apart; chosen by eye.
            method = need("umap").UMAP(
                n_neighbors=near, min_dist=0.15, metric="cosine", random_state=seed, n_jobs=1, init="pca"
            )
        else:
            # 30 is scikit-learn's default. t-SNE reads three times as many neighbours as the perplexity says.
            spread = min(30.0, (len(vectors) - 1) / 3)
            method = need("sklearn.manifold").TSNE(perplexity=spread, metric="cosine", random_state=seed)
        found = method.fit_transform(vectors)
    return np.asarray(found, np.float64)[np.argsort(order)]


def render_map(
    clusters: Clusters,
    embedded: Embedded,
    validation: Validation,
    points: NDArray[np.float64],
    title: str = "Clusters",
) -> str:
    """One offline page: verdict, map, and what each cluster is about. It runs no text it shows."""
    shown = validation.model_dump(mode="json", exclude={"clusters"})
    data = {
        "meta": f"{_method(clusters)}; vectors by {clusters.encoder or 'an encoder without a name'}",
        "notes": clusters.notes,
        "validation": shown,
        "clusters": [facts.model_dump(mode="json") for facts in validation.clusters],
        "points": [_point(row, clusters, embedded, points) for row in range(len(clusters.ids))],
    }
    package = __package__ or ""
    return render_page(
        title,
        asset(package, "map.html"),
        style=asset(package, "map.css"),
        script=drawing_script(package, "map.js"),
        parts={"data": embed_json(data)},
    )


def draw_map(
    file: Path,
    clusters: Clusters,
    validation: Validation,
    points: NDArray[np.float64],
    title: str = "Clusters",
) -> None:
    """The map as a PNG picture.

    Raises:
        ModelError: If matplotlib is not installed.
    """
    need("matplotlib", "report").use("agg", force=False)
    effects = need("matplotlib.patheffects", "report")
    figure = need("matplotlib.figure", "report").Figure(figsize=(9, 5.6), dpi=150, layout="constrained")
    axes = figure.subplots()
    for facts in validation.clusters:
        mine = clusters.labels == facts.label
        place, surely = points[mine], clusters.memberships[mine].max(1)
        colour = COLOURS[facts.label % len(COLOURS)] if facts.label >= 0 else _NONE
        axes.scatter(*place.T, s=26, c=colour, alpha=0.25 + 0.75 * surely, linewidths=0)
        axes.scatter([], [], s=26, c=colour, linewidths=0, label=_name(facts))  # for the legend, opaque
        if facts.label >= 0:
            words = ", ".join(facts.terms[:2]) or f"cluster {facts.label}"
            text = axes.annotate(
                words, np.median(place, 0), ha="center", va="center", weight="bold", fontsize=9
            )
            text.set_path_effects([effects.withStroke(linewidth=3, foreground="white")])
    axes.set_xticks([])
    axes.set_yticks([])
    for side in axes.spines.values():
        side.set_color("#dde1e7")
    axes.set_title(f"{title}: {_method(clusters)}", loc="left", fontsize=11)
    axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), frameon=False, fontsize=8.5)
    figure.savefig(file, format="png")


def _name(facts: ClusterFacts) -> str:
    number = facts.label if facts.label >= 0 else "in none"
    return f"{number}: {facts.problems} problems, {facts.tokens:,} tokens"


def _method(clusters: Clusters) -> str:
    words = {"umap-hdbscan": "UMAP, then HDBSCAN", "pca-hdbscan": "PCA, then HDBSCAN", "kmeans": "k-means"}
    found = "1 cluster" if clusters.count == 1 else f"{clusters.count} clusters"
    return f"{found} of {len(clusters.ids)} problems by {words[clusters.settings.method]}"


def _point(row: int, clusters: Clusters, embedded: Embedded, points: NDArray[np.float64]) -> dict[str, Any]:
    item, shares = embedded.items[row], clusters.memberships[row]
    # Three digits are finer than a pixel of the map and than the percentages shown.
    return {
        "id": item.id,
        "x": round(float(points[row, 0]), 3),
        "y": round(float(points[row, 1]), 3),
        "label": int(clusters.labels[row]),
        "share": round(float(shares.max()), 3),
        "memberships": [round(float(share), 3) for share in shares],
        "tokens": int(clusters.tokens[row]),
        "text": item.problem[:_TEXT_SHOWN],
        "labels": item.labels,
    }
