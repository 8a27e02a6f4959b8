"""The backend `transformers`: the base runs in this process, with every expert attached."""

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

    async def generate(self, requests: Sequence[ChatRequest]) -> list[ChatReply]:
        """The replies, in order; see `Backend`."""
        return await whole_replies(self.stream, requests)

    async def stream(self, request: ChatRequest) -> AsyncGenerator[ChatPiece]:
        """The reply in pieces; see `Backend`."""
        check_experts(request, self.experts)
        relay = Relay()
        ticket = Ticket(request, relay.emit)
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
