"""The backend `transformers`: the base runs in this process, with every expert attached."""

import asyncio
import threading
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from contextlib import ExitStack, aclosing, contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from bdc_agents.errors import ModelError
from bdc_agents.experts.base import Base, check_base, load_base
from bdc_agents.experts.library import ExpertLibrary
from bdc_agents.experts.mixture import Mixture
from bdc_agents.serve.backends.protocol import ChatPiece, ChatReply, ChatRequest, Options, Weigher
from bdc_agents.serve.backends.relay import Relay, check_experts, whole_replies
from bdc_agents.serve.backends.transformers.decoding import Mix
from bdc_agents.serve.backends.transformers.engine import Engine, Ticket
from bdc_agents.serve.weighing import layer_weights, library_weigher
from bdc_agents.types import content_hash


class TransformersBackend:
    """A base with all experts attached. Requests share batches; each row has its own mixture.

    Args:
        model: A causal language model of transformers, with the experts attached.
        tokenizer: With a chat template.
        experts: Their names.
        mix: See `Mix`.
        identity: See `Backend`.
        context: Tokens of prompt and reply together; None for the model's own limit.
        slots: Replies that are written at once; further requests wait.
        detach: Removes the experts from the model.
    """

    mixes: Literal["rank", "expert"] = "rank"

    def __init__(
        self,
        model: Any,
        tokenizer: Any,
        experts: Sequence[str],
        mix: Mix,
        *,
        identity: str,
        context: int | None = None,
        slots: int = 8,
        detach: Callable[[], object] = lambda: None,
    ) -> None:
        model.eval()
        self.identity = identity
        self.context = _context(model, context)
        self.experts = tuple(experts)
        self._engine = Engine(model, tokenizer, mix, context=self.context, slots=slots)
        self._detach = detach

    @property
    def enforces(self) -> bool:
        """Whether it holds replies to a schema, for which llguidance must be installed."""
        return find_spec("llguidance") is not None

    async def generate(self, requests: Sequence[ChatRequest]) -> list[ChatReply]:
        """The replies, in order; see `Backend`."""
        return await whole_replies(self.stream, requests)

    async def stream(self, request: ChatRequest) -> AsyncGenerator[ChatPiece]:
        """The reply in pieces; see `Backend`."""
        check_experts(request, self.experts)
        relay = Relay()
        guide = None
        if request.schema is not None:
            guide = await asyncio.to_thread(self._engine.guides.guide, request.schema)
        ticket = Ticket(request, relay.emit, guide)
        self._engine.submit(ticket)
        try:
            async with aclosing(relay.pieces()) as pieces:
                async for piece in pieces:
                    yield piece
        finally:
            ticket.dropped = True

    async def aclose(self) -> None:
        """Ends running requests, and leaves the model without experts."""
        await asyncio.to_thread(self._engine.close)
        self._detach()


def _context(model: Any, asked: int | None) -> int:
    """The context: what the caller asks for, or the model's own limit.

    Raises:
        ModelError: If the caller asks for more than the limit, or neither is known.
    """
    made_for = getattr(model.config.get_text_config(), "max_position_embeddings", None)
    if asked is not None and made_for is not None and asked > made_for:
        raise ModelError(f"a context of {asked} tokens was asked for, and the base was made for {made_for}")
    if asked is None and made_for is None:
        raise ModelError("the base does not say how many tokens its context holds; give it as `context`")
    return int(asked or made_for or 0)


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
        # Of the same kind: what this machine lacks is another matter than a wrong name.
        raise type(error)(f"library {library.folder}: {where} cannot be loaded: {error}") from None
