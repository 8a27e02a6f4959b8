"""Attaches a library's experts to its base, after a check of that base, and assigns them to clusters."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from bdc_agents.errors import ModelError, UsageError
from bdc_agents.experts.base import Base
from bdc_agents.experts.library import ADAPTER, AdapterConfig, ExpertLibrary
from bdc_agents.experts.lora import StackedAdapters
from bdc_agents.experts.membership import Clusters

CLUSTERS = "clusters.json"


def check_base(library: ExpertLibrary, base: Base) -> None:
    """Makes sure that a library's experts were trained on this base.

    Raises:
        ModelError: If they were not; says what differs.
    """
    theirs, ours = library.manifest.base, base.identity.model_dump()
    different = [
        key
        for key in ("sha256", "parameters", "template")
        if theirs.get(key) and ours.get(key) and theirs[key] != ours[key]
    ]
    if different:
        key = different[0]
        raise ModelError(
            f"library {library.folder} adapts {theirs.get('name')!r} ({key} {theirs[key]!s:.16}), and this "
            f"base is {ours['name']!r} ({key} {ours[key]!s:.16}); load the base that the library names"
        )


def adapter_config(library: ExpertLibrary) -> AdapterConfig:
    """The shape of a library's adapters."""
    return AdapterConfig.model_validate(library.manifest.adapters)


def load_experts(
    library: ExpertLibrary,
    model: Any,
    names: Sequence[str] | None = None,
) -> StackedAdapters:
    """Attaches experts to a model, frozen, to route rows through them.

    Args:
        model: The library's base.
        names: Of the experts; None for all.

    Raises:
        ModelError: If an expert is missing or damaged, or does not fit the model.
    """
    names = library.names if names is None else tuple(names)
    states = {name: library.weights(name) for name in names}
    config = adapter_config(library).model_copy(update={"dropout": 0.0})
    adapters = StackedAdapters(model, tuple(states), config)
    try:
        for row, state in enumerate(states.values()):
            adapters.load(row, state)
    except ModelError:
        adapters.detach()
        raise
    for layer in adapters.layers.values():
        layer.a.requires_grad_(False)
        layer.b.requires_grad_(False)
    return adapters


def expert_hashes(library: ExpertLibrary, names: Sequence[str]) -> dict[str, str]:
    """The SHA-256 of each expert's weights, as the library names it."""
    files = library.manifest.files
    return {name: files[f"experts/{library.expert(name).name}/{ADAPTER}"].sha256 for name in names}


def duplicate_of(library: ExpertLibrary) -> dict[str, str]:
    """Experts with the same weights as another; by name, the other being the shared expert or an earlier one.

    An expert that its cluster did not improve still has the weights that it started from.
    """
    experts = sorted(library.manifest.experts, key=lambda expert: expert.cluster >= 0)
    first: dict[str, str] = {}
    hashes = expert_hashes(library, [expert.name for expert in experts])
    return {name: kept for name, mark in hashes.items() if (kept := first.setdefault(mark, name)) != name}


def distinct(library: ExpertLibrary) -> tuple[str, ...]:
    """The names of the experts, without duplicates of others."""
    same = duplicate_of(library)
    return tuple(name for name in library.names if name not in same)


def routable(library: ExpertLibrary) -> bool:
    """Whether a library has clusters, and experts that differ to choose from."""
    return CLUSTERS in library.manifest.files and len(distinct(library)) > 1


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


def ownership(library: ExpertLibrary, clusters: int, shared: float = 0.0) -> tuple[tuple[str, ...], Tensor]:
    """The experts to mix, and the share of each cluster's problems that each of them takes.

    A cluster without an expert of its own falls to the expert trained on all rows.

    Args:
        clusters: How many there are.
        shared: Share of every cluster that the expert trained on all rows takes besides.

    Returns:
        Their names, and the shares, shape (clusters, experts); rows sum to 1.

    Raises:
        ModelError: If a cluster has no expert and none was trained on all rows, or fewer than two
            experts are left.
    """
    own = {e.cluster: e.name for e in library.manifest.experts if 0 <= e.cluster < clusters}
    everyone = next((e.name for e in library.manifest.experts if e.cluster < 0), None)
    orphans = [cluster for cluster in range(clusters) if cluster not in own]
    if everyone is None and (orphans or shared):
        what = f"cluster {orphans[0]} has no expert" if orphans else f"shared = {shared:g}"
        raise ModelError(
            f"library {library.folder}: {what}, and no expert was trained on all rows; "
            "train with shared = true"
        )
    names = [own[cluster] for cluster in sorted(own)]
    if everyone is not None and (orphans or shared):
        names.append(everyone)
    if len(names) < 2:
        raise ModelError(
            f"library {library.folder} has {len(names)} expert to route to; a router needs two or more"
        )
    shares = torch.zeros(clusters, len(names))
    for cluster in range(clusters):
        shares[cluster, names.index(own.get(cluster, everyone or ""))] = 1.0 - shared
        if shared:
            shares[cluster, -1] += shared
    return tuple(names), shares
