"""Opening a library in this process: its base, its experts on it, and its router."""

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from bdc_agents.distill.base import Base, load_base
from bdc_agents.distill.experts import check_base
from bdc_agents.distill.library import ExpertLibrary
from bdc_agents.errors import ModelError
from bdc_agents.serve.backend import ChatRequest, ExpertWeights, Place
from bdc_agents.serve.mix import Mixture
from bdc_agents.serve.placing import library_place
from bdc_agents.serve.transformers_backend import TransformersBackend
from bdc_agents.types import content_hash


def open_in_process(
    folder: Path,
    *,
    base: Base | str | None,
    encoder: Any,
    dtype: str,
    device: str | None,
    slots: int,
    context: int | None,
) -> tuple[TransformersBackend, Place, tuple[str, ...]]:
    """Loads what `RoutedModel.from_library` describes.

    Returns:
        The backend, how problems are placed, and the names of the experts.
    """
    library = ExpertLibrary(folder)
    loaded = base if isinstance(base, Base) else _load(library, base, dtype, device)
    check_base(library, loaded)
    # Before the experts are attached: an encoder that is the base itself is known by its layers.
    place = library_place(library, encoder, (loaded.model, loaded.tokenizer), lambda: rows.alone())
    mixture = Mixture.attach(loaded.model, library)
    rows = RowMixtures(mixture)
    backend = TransformersBackend(
        loaded.model,
        loaded.tokenizer,
        mixture.experts,
        rows,
        identity=content_hash(library.manifest.model_dump_json()),
        context=context,
        slots=slots,
        detach=rows.detach,
    )
    return backend, place, mixture.experts


def _load(library: ExpertLibrary, base: str | None, dtype: str, device: str | None) -> Base:
    told = library.manifest.base
    name = base or str(told.get("name", ""))
    try:
        return load_base(
            name,
            revision=None if base else told.get("revision"),
            dtype=dtype,
            quantize=told.get("quantize"),
            device=device,
        )
    except ModelError as error:
        where = "the base that was named" if base else "its base"
        raise ModelError(f"library {library.folder}: {where} cannot be had: {error}") from None


class RowMixtures:
    """Brings the experts of a batch's rows into the model.

    Args:
        mixture: All experts, attached to the model.
    """

    def __init__(self, mixture: Mixture) -> None:
        self._mixture = mixture
        self._lock = threading.Lock()
        self._open = ExitStack()
        self._of: tuple[ChatRequest, ...] = ()

    @contextmanager
    def __call__(self, requests: Sequence[ChatRequest]) -> Iterator[None]:
        """Within it, row b of a batch meets the experts of request b."""
        with self._lock:
            # A batch stays the same for many tokens, and so does its mixture.
            if self._of != tuple(requests):
                self._rest()
                self._open.enter_context(self._mixture.use(self._stack(requests)))
                self._of = tuple(requests)
            yield

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Within it, the model is the base, and no batch runs."""
        with self._lock:
            self._rest()
            yield

    def detach(self) -> None:
        """Takes the experts off the model."""
        with self.alone():
            self._mixture.detach()

    def _rest(self) -> None:
        self._open.close()
        self._of = ()

    def _stack(self, requests: Sequence[ChatRequest]) -> dict[str, Tensor]:
        """By layer, of shape (batch, experts, rank)."""
        rows = [self._row(request.experts) for request in requests]
        names, rank = self._mixture.experts, self._mixture.rank
        stacked = {layer: torch.zeros(len(rows), len(names), rank) for layer in self._mixture.layers}
        for layer, weights in stacked.items():
            for number, (order, given) in enumerate(rows):
                own = given if isinstance(given, Tensor) else given.get(layer)
                if own is not None:
                    weights[number, order] = own.float().cpu().expand(len(order), rank)
        return stacked

    def _row(self, experts: ExpertWeights | str | None) -> tuple[list[int], Tensor | Mapping[str, Tensor]]:
        """Which experts a row has, and their weights: the same in every layer, or by layer."""
        if experts is None:
            return [], {}
        names = self._mixture.experts
        if isinstance(experts, str):
            return [names.index(experts)], torch.ones(1, 1)
        order = [names.index(name) for name in experts.experts]
        if experts.layers is not None:
            return order, experts.layers
        return order, torch.tensor([[weight] for weight in experts.experts.values()])
