"""Clusters of problems: who belongs where, and where a new problem belongs."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from bdc_agents.config import WithPresets
from bdc_agents.embed.encoder import Encoder, Vectors
from bdc_agents.errors import ModelError, UsageError
from bdc_agents.experts.atomic_write import replacing
from bdc_agents.experts.library import ExpertLibrary
from bdc_agents.untrusted import read_object

Floats = NDArray[np.float32]
Integers = NDArray[np.int64]
Method = Literal["umap-hdbscan", "pca-hdbscan", "kmeans"]

CLUSTERS = "clusters.json"
"""The file of a library that holds its clusters."""
SHARED = -1
"""The label of a problem that is in no cluster: it trains the shared expert alone."""
PROBE = "Given n integers, print the length of the longest increasing subsequence."
"""A text whose vector every library keeps: an encoder that gives another vector is not the library's."""
_PROBE_COSINE = 0.999
"""The same encoder on other hardware or in another number format differs by rounding only; another encoder by
far more. Chosen, not measured."""

# The paper (arXiv 2502.12492) uses k-means with K = 3.
PRESETS: dict[str, dict[str, Any]] = {"default": {}, "paper": {"method": "kmeans", "clusters": 3}}


class ClusterSettings(WithPresets):
    """How problems are clustered; `ClusterSettings.preset("paper")` has the published ones.

    Args:
        method: UMAP then HDBSCAN, the most stable one (mean ARI 0.67, PCA 0.51, k-means 0.58:
            benchmarks/results/clusters.md); the same with scikit-learn's PCA and HDBSCAN only; or k-means.
        clusters: K of k-means; None takes the K of the best silhouette.
        max_clusters: Most clusters, and so experts; the smallest are dissolved into the others. The
            default is chosen, not measured.
        min_tokens: Fewest tokens to learn in a cluster; smaller ones are dissolved. As a start: at a few
            thousand tokens experts have been seen not to improve on the shared one
            (benchmarks/results/distill.md).
        min_rows: Smallest group that HDBSCAN calls a cluster; None for 4 % of the problems.
        noise: Problems that HDBSCAN leaves out go to their largest soft membership, or train the
            shared expert alone.
        dimensions: Dimensions of the vectors before HDBSCAN; UMAP's guide to clustering takes 10.
        neighbors: Neighbours in UMAP's graph; 15 is UMAP's default.
        seed: Seed of everything random.
    """

    kind = "cluster"
    presets = PRESETS

    # The upper bounds are far above sensible values, and catch slips and hostile files.
    method: Method = "umap-hdbscan"
    clusters: int | None = Field(default=None, ge=1, le=256)
    max_clusters: int = Field(default=8, ge=1, le=256)
    min_tokens: int = Field(default=5_000, ge=0)
    min_rows: int | None = Field(default=None, ge=2)
    noise: Literal["assign", "shared"] = "assign"
    dimensions: int = Field(default=10, ge=2, le=100)
    neighbors: int = Field(default=15, ge=2, le=200)
    seed: int = Field(default=42, ge=0, lt=2**32)


@dataclass(frozen=True, eq=False)
class Clusters:
    """Clusters of problems, and the rule by which new ones are placed.

    A new problem has no program yet, so each centroid is the mean of the *problem* embeddings of a
    cluster's members, even where they were clustered by problem and output together. A problem
    belongs to the nearest centroid; how surely, a softmax over squared distances says, whose
    temperature was fitted on the members, each held out of its own centroid.

    Args:
        ids: The problems, in the order they came.
        labels: The cluster of each, or `SHARED`.
        memberships: Share of each problem in each cluster, [n, K]; rows sum to 1. The label of a
            problem that has one is its largest share.
        tokens: Tokens to learn, of each problem.
        centroids: Means of problem embeddings, [K, d]; not of unit length.
        temperature: Temperature of the placement, in squared distance.
        encoder: Name of the encoder.
        probe: Its vector of `PROBE`; empty if the vectors came from elsewhere.
        settings: The settings of the clustering.
        notes: Notes for people: clusters dissolved, fallbacks.
    """

    ids: tuple[str, ...]
    labels: Integers
    memberships: Floats
    tokens: Integers
    centroids: Floats
    temperature: float
    encoder: str = ""
    probe: Floats = field(default_factory=lambda: np.zeros(0, np.float32))
    settings: ClusterSettings = field(default_factory=ClusterSettings)
    notes: tuple[str, ...] = ()

    @property
    def count(self) -> int:
        """K, the number of clusters."""
        return len(self.centroids)

    def sizes(self) -> Integers:
        """Problems in each cluster."""
        return np.bincount(self.labels[self.labels >= 0], minlength=self.count)

    def token_sizes(self) -> Integers:
        """Tokens to learn in each cluster."""
        kept = self.labels >= 0
        weights = np.bincount(self.labels[kept], weights=self.tokens[kept], minlength=self.count)
        return weights.astype(np.int64)

    def label_of(self) -> Mapping[str, int]:
        """The cluster of each problem, by its id."""
        return dict(zip(self.ids, self.labels.tolist(), strict=True))

    def place(self, vectors: Vectors) -> Floats:
        """Memberships of new problems, [m, K]; rows sum to 1, the nearest centroid has most.

        Args:
            vectors: Their embeddings, [m, d], from the same encoder.

        Raises:
            ModelError: If the vectors are of another size.
        """
        vectors = np.atleast_2d(vectors)
        if vectors.shape[1] != self.centroids.shape[1]:
            raise ModelError(
                f"vectors of {vectors.shape[1]} numbers, centroids of {self.centroids.shape[1]}: "
                f"the clusters were made with the encoder {self.encoder!r}; use it"
            )
        return soft_placement(vectors, self.centroids, self.temperature)

    def similarities(self, vectors: Vectors) -> Floats:
        """Cosine similarity of unit vectors to each centroid, [m, K]: what a router reads."""
        lengths = np.linalg.norm(self.centroids, axis=1)
        # A centroid of length 0 is similar to nothing, instead of dividing by it.
        return (np.atleast_2d(vectors) @ (self.centroids.T / np.maximum(lengths, 1e-12))).astype(np.float32)

    def check_encoder(self, encoder: Encoder) -> None:
        """Makes sure that an encoder gives the vectors which these clusters were made of.

        Raises:
            ModelError: If it does not.
        """
        if not self.probe.size:
            return
        vector = encoder.embed([PROBE])[0]
        if vector.shape != self.probe.shape or float(vector @ self.probe) < _PROBE_COSINE:
            raise ModelError(
                f"the encoder {encoder.name!r} gives other vectors than {self.encoder!r}, with which the "
                "clusters were made; load that one, or cluster and train anew"
            )

    def to_json(self) -> str:
        """The clusters as text, exact to the last bit of each number."""
        return json.dumps(
            {
                "version": 1,
                "method": self.settings.method,
                "encoder": self.encoder,
                "clusters": [
                    {"label": k, "problems": int(size), "tokens": int(tokens)}
                    for k, (size, tokens) in enumerate(zip(self.sizes(), self.token_sizes(), strict=True))
                ],
                "notes": self.notes,
                "settings": self.settings.model_dump(mode="json"),
                "temperature": self.temperature,
                "ids": self.ids,
                "labels": self.labels.tolist(),
                "tokens": self.tokens.tolist(),
                "centroids": _numbers(self.centroids),
                "probe": _numbers(self.probe),
                "memberships": _numbers(self.memberships),
            }
        )

    @classmethod
    def from_json(cls, text: str, source: str = "clusters.json") -> Self:
        """What `to_json` wrote.

        Raises:
            UsageError: If it is something else.
        """
        try:
            data = read_object(text)
            found = cls(
                ids=tuple(data["ids"]),
                labels=np.array(data["labels"], np.int64),
                memberships=np.array(data["memberships"], np.float32).reshape(len(data["ids"]), -1),
                tokens=np.array(data["tokens"], np.int64),
                centroids=np.array(data["centroids"], np.float32),
                temperature=float(data["temperature"]),
                encoder=data["encoder"],
                probe=np.array(data["probe"], np.float32),
                settings=ClusterSettings.model_validate(data["settings"]),
                notes=tuple(data["notes"]),
            )
            found._check()
        except (ValueError, KeyError, TypeError, OverflowError) as error:
            reason = f"{type(error).__name__}: {error}"
            raise UsageError(f"{source}: not clusters of version 1 ({reason}); cluster again") from None
        return found

    def _check(self) -> None:
        n, k = len(self.ids), self.count
        shapes = self.labels.shape, self.tokens.shape, self.memberships.shape
        if shapes != ((n,), (n,), (n, k)) or self.centroids.ndim != 2 or k == 0:
            raise ValueError(f"shapes {shapes} do not fit {n} problems and {k} clusters")
        if n and not (self.labels.min() >= SHARED and self.labels.max() < k):
            raise ValueError("a label is out of range")
        if not all(isinstance(text, str) for text in (*self.ids, self.encoder, *self.notes)):
            raise ValueError("an id, a note or the encoder's name is no text")
        numbers = (self.centroids, self.memberships, self.probe)
        if not (all(np.isfinite(own).all() for own in numbers) and 0 < self.temperature < np.inf):
            raise ValueError("a centroid, a share, the probe or the temperature is not a number")

    def save(self, file: Path | str) -> Path:
        """Writes the clusters to a JSON file, atomically."""
        file = Path(file)
        with replacing(file) as temporary:
            temporary.write_text(self.to_json(), encoding="utf-8")
        return file

    @classmethod
    def load(cls, file: Path | str) -> Self:
        """Reads what `save` wrote.

        Raises:
            UsageError: If the file cannot be read or holds something else.
        """
        try:
            text = Path(file).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(f"clusters {str(file)!r} cannot be read: {error}") from None
        return cls.from_json(text, str(file))


def soft_placement(vectors: Vectors, centroids: Floats, temperature: float) -> Floats:
    """softmax over k of -||x - c_k||^2 / temperature, [m, K]."""
    # ||x||^2 is the same for every k and falls out of the softmax.
    x, c = vectors.astype(np.float64), centroids.astype(np.float64)
    return softmax((2 * x @ c.T - (c**2).sum(1)) / temperature)


def softmax(scores: NDArray[np.float64]) -> Floats:
    """Over the last axis, as float32."""
    powers = np.exp(scores - scores.max(-1, keepdims=True))
    return (powers / powers.sum(-1, keepdims=True)).astype(np.float32)


def _numbers(array: Floats) -> Any:
    """The array as lists of floats; the shortest decimals that read back to the same float32."""
    return np.char.mod("%.9g", array).astype(np.float64).tolist()


def library_clusters(library: ExpertLibrary) -> Clusters:
    """A library's clusters.

    Raises:
        ModelError: If it has no clusters, so that there is nothing to route by.
    """
    if CLUSTERS not in library.manifest.files:
        raise ModelError(
            f"library {library.folder} has no {CLUSTERS}: its one expert needs no router; cluster more "
            "problems and train again"
        )
    try:
        return Clusters.from_json(library.read(CLUSTERS).decode(), str(library.folder / CLUSTERS))
    except ModelError:
        raise
    except UsageError as error:
        raise ModelError(str(error)) from None
