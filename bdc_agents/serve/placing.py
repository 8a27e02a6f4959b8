"""From a problem's text to the weights of the experts: embed it once, ask the router."""

import asyncio
import threading
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import Any, Literal

from bdc_agents.embed.encoder import BASE, Encoder, EncoderConfig, config_named
from bdc_agents.embed.load import load_encoder
from bdc_agents.errors import ModelError
from bdc_agents.experts.adapters import CLUSTERS, library_clusters
from bdc_agents.experts.library import ExpertLibrary
from bdc_agents.experts.router import ROUTER, Router
from bdc_agents.serve.backends.prompts import whole
from bdc_agents.serve.backends.protocol import ExpertWeights, Place
from bdc_agents.sync import run_sync

Alone = Callable[[], AbstractContextManager[Any]]


class RouterPlace:
    """Weighs the experts for a problem by a router.

    Args:
        router: Of a library; without training it places problems as the clusters do.
        encoder: The one that the library's clusters were made with.
        by: See `ExpertWeights`.
        alone: A context within which the encoder runs, where it shares its model with others.
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
        """The weights for one problem; the same text has the same ones, whoever asks beside it."""
        return await asyncio.to_thread(self._weigh, text)

    def _weigh(self, text: str) -> ExpertWeights:
        with self._alone():
            vector = self._encoder.embed([whole(text)])
        layers = {name: weights[0] for name, weights in self._router.weights(vector).items()}
        return ExpertWeights(_means(layers, self._router), layers, by=self._by)


def _means(layers: Mapping[str, Any], router: Router) -> dict[str, float]:
    """Each expert's weight, over all ranks and all layers that are routed."""
    routed = [layers[name].mean(-1) for name in router.routed]
    total: Any = sum(routed[1:], start=routed[0])
    return dict(zip(router.experts, (total / len(routed)).tolist(), strict=True))


class OneExpert:
    """Where a library has one expert, every problem is its problem."""

    def __init__(self, name: str) -> None:
        self._weights = ExpertWeights({name: 1.0}, by="library")

    async def __call__(self, text: str) -> ExpertWeights:
        """That expert at its full strength."""
        del text
        return self._weights


def library_place(
    library: ExpertLibrary,
    encoder: Encoder | EncoderConfig | None = None,
    base: tuple[Any, Any] | None = None,
    alone: Alone | None = None,
) -> Place:
    """How a library places problems: by its router, else by its clusters, else on its one expert.

    Args:
        encoder: None for the one that the library names.
        base: Model and tokenizer, for libraries whose problems were embedded by the base itself.
        alone: See `RouterPlace`, for such libraries.

    Raises:
        ModelError: If the router or the clusters are damaged, or the encoder is another one.
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
            f"library {library.folder}: its problems were embedded by its base itself, which does not run in "
            "this process; serve it with the backend 'transformers'"
        )
    found = run_sync(load_encoder(config, base=base)) if isinstance(config, EncoderConfig) else config
    clusters.check_encoder(found)
    return RouterPlace(router, found, "router" if trained else "clusters", alone if shares_base else None)


def _can_place(library: ExpertLibrary) -> bool:
    """Whether there is something to decide: two clusters or more, and two experts or more."""
    several = CLUSTERS in library.manifest.files and len(library.names) > 1
    return several and library_clusters(library).count > 1
