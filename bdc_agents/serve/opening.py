"""Opens a library for the backend `transformers`: loads the base, attaches the experts, loads the router."""

import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from bdc_agents.errors import ModelError
from bdc_agents.experts.adapters import check_base
from bdc_agents.experts.base import Base, load_base
from bdc_agents.experts.library import ExpertLibrary
from bdc_agents.experts.mixture import Mixture
from bdc_agents.serve.backends.in_process import TransformersBackend
from bdc_agents.serve.backends.layer_weights import layer_weights
from bdc_agents.serve.backends.protocol import ChatRequest, Weigher
from bdc_agents.serve.weighing import library_weigher
from bdc_agents.types import content_hash


@dataclass(frozen=True, eq=False)
class Options:
    """How to open a library; each backend reads its own part. See `RoutedModel.from_library`."""

    base: Any = None
    encoder: Any = None
    dtype: str = "auto"
    device: str | None = None
    slots: int = 8
    context: int | None = None
    url: str | None = None
    key: str | None = field(default=None, repr=False)
    adapters: Path | None = None


def open_in_process(folder: Path, options: Options) -> tuple[TransformersBackend, Weigher, tuple[str, ...]]:
    """Opens a library in this process; see `RoutedModel.from_library`.

    Returns:
        The backend, what weighs the experts, and their names.
    """
    library = ExpertLibrary(folder)
    base = options.base
    loaded = base if isinstance(base, Base) else _load(library, base, options.dtype, options.device)
    check_base(library, loaded)
    # Before the experts are attached, because the base may also be the encoder, and is checked by its layers.
    weigher = library_weigher(
        library, options.encoder, (loaded.model, loaded.tokenizer), lambda: rows.alone()
    )
    mixture = Mixture.attach(loaded.model, library)
    rows = RowMixtures(mixture)
    backend = TransformersBackend(
        loaded.model,
        loaded.tokenizer,
        mixture.experts,
        rows,
        identity=content_hash(library.manifest.model_dump_json()),
        context=options.context,
        slots=options.slots,
        detach=rows.detach,
    )
    return backend, weigher, mixture.experts


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
        where = "the base that you named" if base else "its base"
        raise ModelError(f"library {library.folder}: {where} cannot be loaded: {error}") from None


class RowMixtures:
    """Applies each request's experts to its row of the batch; see `Mix`.

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
        """Within the context, the model applies the experts of request b to row b of a batch."""
        with self._lock:
            # A batch stays the same for many tokens, so its mixture is set once.
            if self._of != tuple(requests):
                self._rest()
                self._open.enter_context(self._mixture.use(self._stack(requests)))
                self._of = tuple(requests)
            yield

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Within the context, the model is the bare base, and no batch runs."""
        with self._lock:
            self._rest()
            yield

    def detach(self) -> None:
        """Removes the experts from the model."""
        with self.alone():
            self._mixture.detach()

    def _rest(self) -> None:
        self._open.close()
        self._of = ()

    def _stack(self, requests: Sequence[ChatRequest]) -> dict[str, Tensor]:
        """The weights by layer, shape (batch, experts, rank)."""
        own = self._mixture
        rows = [layer_weights(r.experts, own.experts, own.layers, own.rank) for r in requests]
        return {layer: torch.stack([row[layer] for row in rows]) for layer in own.layers}
