"""The backend in process: the base in transformers, with every expert attached to it at once."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing, suppress
from typing import Any, Literal

from bdc_agents.errors import ModelError, unknown
from bdc_agents.serve.backend import ChatPiece, ChatReply, ChatRequest
from bdc_agents.serve.decoding import Mix
from bdc_agents.serve.engine import Engine, Ticket


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
        work = [asyncio.ensure_future(self._reply(request)) for request in requests]
        try:
            return list(await asyncio.gather(*work))
        except BaseException:
            for reply in work:
                reply.cancel()
            await asyncio.gather(*work, return_exceptions=True)
            raise

    async def _reply(self, request: ChatRequest) -> ChatReply:
        async with aclosing(self.stream(request)) as pieces:
            async for piece in pieces:
                if piece.reply is not None:
                    return piece.reply
        raise AssertionError("a stream ends with its reply")

    async def stream(self, request: ChatRequest) -> AsyncGenerator[ChatPiece]:
        """The reply in pieces; see `Backend`."""
        self._check(request)
        loop = asyncio.get_running_loop()
        told: asyncio.Queue[ChatPiece | Exception] = asyncio.Queue()

        def tell(piece: ChatPiece | Exception) -> None:
            with suppress(RuntimeError):  # A loop that was closed in the meantime waits for nothing.
                loop.call_soon_threadsafe(told.put_nowait, piece)

        ticket = Ticket(request, tell)
        self._engine.submit(ticket)
        try:
            while True:
                piece = await told.get()
                if isinstance(piece, Exception):
                    raise piece
                yield piece
                if piece.reply is not None:
                    return
        finally:
            ticket.dropped = True

    def _check(self, request: ChatRequest) -> None:
        asked = request.experts
        named = () if asked is None else (asked,) if isinstance(asked, str) else asked.experts
        for name in named:
            if name not in self.experts:
                raise ModelError(unknown("expert", name, self.experts))

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
