"""Weighs the experts for a problem: embeds its text once and asks the router.

`layer_weights` spells out the experts of a request as weights by layer, expert and rank.
"""

import asyncio
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, Literal

import torch
from torch import Tensor

from bdc_agents.embed.encoder import BASE, Encoder, EncoderConfig, config_named
from bdc_agents.embed.load import load_encoder
from bdc_agents.errors import ModelError
from bdc_agents.experts.clusters import CLUSTERS, library_clusters
from bdc_agents.experts.library import ExpertLibrary
from bdc_agents.experts.router import ROUTER, Router
from bdc_agents.serve.backends.prompts import whole
from bdc_agents.serve.backends.protocol import ExpertWeights, Weigher
from bdc_agents.sync import run_sync

Alone = Callable[[], AbstractContextManager[Any]]


class RouterWeigher:
    """Weighs the experts for a problem by a router.

    Args:
        router: The library's router; untrained, it follows the clusters.
        encoder: The encoder that the library's clusters were made with.
        by: See `ExpertWeights`.
        alone: A context for the encoder to run in, if it shares its model with others.
    """

    def __init__(
        self,
        router: Router,
        encoder: Encoder,
        by: Literal["router", "clusters"] = "router",
        alone: Alone | None = None,
    ) -> None:
        lock = threading.Lock()
        self._router = router.eval()
        self._encoder = encoder
        self._by: Literal["router", "clusters"] = by
        self._alone: Alone = alone or (lambda: lock)

    async def __call__(self, text: str) -> ExpertWeights:
        """The weights for one problem. They depend on its text alone."""
        return await asyncio.to_thread(self._weigh, text)

    def _weigh(self, text: str) -> ExpertWeights:
        with self._alone():
            vector = self._encoder.embed([whole(text)])
        layers = {name: weights[0] for name, weights in self._router.weights(vector).items()}
        return ExpertWeights(_means(layers, self._router), layers, by=self._by)


def _means(layers: Mapping[str, Any], router: Router) -> dict[str, float]:
    """Each expert's mean weight, over all ranks and routed layers."""
    routed = [layers[name].mean(-1) for name in router.routed]
    total: Any = sum(routed[1:], start=routed[0])
    return dict(zip(router.experts, (total / len(routed)).tolist(), strict=True))


class OneExpert:
    """The weigher of a library with one expert: that expert gets every problem."""

    def __init__(self, name: str) -> None:
        self._weights = ExpertWeights({name: 1.0}, by="library")

    async def __call__(self, text: str) -> ExpertWeights:
        """That expert at its full strength."""
        del text
        return self._weights


def library_weigher(
    library: ExpertLibrary,
    encoder: Encoder | EncoderConfig | None = None,
    base: tuple[Any, Any] | None = None,
    alone: Alone | None = None,
) -> Weigher:
    """A library's weigher: its router, else its clusters, else its one expert.

    Args:
        encoder: None for the encoder that the library names.
        base: Model and tokenizer, for libraries whose base also embedded the problems.
        alone: See `RouterWeigher`, for such libraries.

    Raises:
        ModelError: If the router or the clusters are damaged, or the encoder does not match.
    """
    trained = ROUTER in library.manifest.files
    if not trained and not _can_place(library):
        return OneExpert(library.names[0])
    router = Router.load(library) if trained else Router.start(library)
    clusters = library_clusters(library)
    config = encoder or config_named(clusters.encoder)
    shares_base = isinstance(config, EncoderConfig) and config.model == BASE
    if shares_base and base is None:
        raise ModelError(
            f"library {library.folder}: its base is also its encoder, and does not run in this process; "
            "serve it with the backend 'transformers'"
        )
    found = run_sync(load_encoder(config, base=base)) if isinstance(config, EncoderConfig) else config
    clusters.check_encoder(found)
    return RouterWeigher(router, found, "router" if trained else "clusters", alone if shares_base else None)


def _can_place(library: ExpertLibrary) -> bool:
    """Whether there is anything to decide: at least two clusters and two experts."""
    several = CLUSTERS in library.manifest.files and len(library.names) > 1
    return several and library_clusters(library).count > 1


def layer_weights(
    experts: ExpertWeights | str | None, names: Sequence[str], layers: Sequence[str], rank: int
) -> dict[str, Tensor]:
    """The weights that a request means. Experts and layers that it does not name have weight 0.

    Args:
        experts: As in `ChatRequest`.
        names: All experts, in order.
        layers: All adapted layers.

    Returns:
        By layer, shape (experts, rank).
    """
    order, given = _given(experts, names)
    found = {}
    for layer in layers:
        found[layer] = torch.zeros(len(names), rank)
        own = given if isinstance(given, Tensor) else given.get(layer)
        if own is not None:
            found[layer][order] = own.detach().float().cpu().expand(len(order), rank)
    return found


def _given(
    experts: ExpertWeights | str | None, names: Sequence[str]
) -> tuple[list[int], Tensor | Mapping[str, Tensor]]:
    """The numbers of the experts, and their weights: one tensor for every layer, or by layer."""
    if experts is None:
        return [], {}
    if isinstance(experts, str):
        return [names.index(experts)], torch.ones(1, 1)
    order = [names.index(name) for name in experts.experts]
    if experts.layers is not None:
        return order, experts.layers
    return order, torch.tensor([[weight] for weight in experts.experts.values()])
