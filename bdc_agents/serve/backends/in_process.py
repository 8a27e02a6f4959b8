"""The backend in process: the base in transformers, with every expert attached to it at once."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from typing import Any, Literal

from bdc_agents.errors import ModelError
from bdc_agents.serve.backends.decoding import Mix
from bdc_agents.serve.backends.engine import Engine, Ticket
from bdc_agents.serve.backends.protocol import ChatPiece, ChatReply, ChatRequest
from bdc_agents.serve.backends.relay import Relay, check_experts, whole_replies


class TransformersBackend:
    """A base with all experts attached; requests share batches, each row with its own mixture.

    Args:
        model: A causal language model of transformers, with the experts attached.
        tokenizer: With a chat template.
        experts: Their names.
        mix: Brings the experts of a batch's rows into the model.
        identity: See `Backend`.
        context: Tokens of prompt and reply together; None for what the model was made for.
        slots: Replies that are written at once; more wait.
        detach: Takes the experts off the model again.
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

    async def generate(self, requests: Sequence[ChatRequest]) -> list[ChatReply]:
        """The replies, in order; see `Backend`."""
        return await whole_replies(self.stream, requests)

    async def stream(self, request: ChatRequest) -> AsyncGenerator[ChatPiece]:
        """The reply in pieces; see `Backend`."""
        check_experts(request, self.experts)
        relay = Relay()
        ticket = Ticket(request, relay.tell)
        self._engine.submit(ticket)
        try:
            async with aclosing(relay.pieces()) as pieces:
                async for piece in pieces:
                    yield piece
        finally:
            ticket.dropped = True

    async def aclose(self) -> None:
        """Ends what runs, and gives the model back as it was."""
        await asyncio.to_thread(self._engine.close)
        self._detach()


def _context(model: Any, asked: int | None) -> int:
    """Tokens that the model was made for, or fewer where fewer are asked for.

    Raises:
        ModelError: If more are asked for than the model was made for.
    """
    made_for = getattr(model.config.get_text_config(), "max_position_embeddings", None)
    if asked is not None and made_for is not None and asked > made_for:
        raise ModelError(f"a context of {asked} tokens was asked for, and the base was made for {made_for}")
    if asked is None and made_for is None:
        raise ModelError("the base does not say how many tokens its context holds; give it as `context`")
    return int(asked or made_for or 0)
