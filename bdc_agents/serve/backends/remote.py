"""Shared by the backends whose model runs in another process, behind a `CompletionServer`."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager
from typing import Any, Literal

from bdc_agents.errors import BDCError
from bdc_agents.serve.backends.prompts import prompt_tokens
from bdc_agents.serve.backends.protocol import ChatPiece, ChatReply, ChatRequest
from bdc_agents.serve.backends.relay import CLOSED, Emit, LoopThread, Relay, check_experts, whole_replies


class Admission:
    """Lets requests in, first come, first served, while the server has room for them.

    Args:
        slots: Requests at once.
        tokens: Most tokens of their prompts and replies together; None for any number.
    """

    def __init__(self, slots: int, tokens: int | None = None) -> None:
        self._slots, self._tokens = slots, tokens
        self._turn, self._left = asyncio.Lock(), asyncio.Condition()

    @asynccontextmanager
    async def take(self, tokens: int) -> AsyncIterator[None]:
        """Waits for room for a request of so many tokens, and holds it within the context."""
        async with self._turn, self._left:
            await self._left.wait_for(lambda: self._fits(tokens))
            self._slots -= 1
            self._tokens = None if self._tokens is None else self._tokens - tokens
        try:
            yield
        finally:
            async with self._left:
                self._slots += 1
                self._tokens = None if self._tokens is None else self._tokens + tokens
                self._left.notify_all()

    def _fits(self, tokens: int) -> bool:
        return self._slots > 0 and (self._tokens is None or tokens <= self._tokens)


class RemoteBackend:
    """Sends prompts to a server as tokens.

    All connections belong to one event loop on its own thread, so that one backend serves any number of
    loops.

    Args:
        tokenizer: The base's tokenizer, with a chat template.
        experts: Their names.
        identity, context: See `Backend`.
        admission: Lets requests in while the server has room for them.
        loop_thread: Runs every connection to the server.
    """

    mixes: Literal["rank", "expert"] = "expert"
    enforces = True

    def __init__(
        self,
        tokenizer: Any,
        experts: Sequence[str],
        *,
        identity: str,
        context: int,
        admission: Admission,
        loop_thread: LoopThread,
    ) -> None:
        self.identity = identity
        self.context = context
        self.experts = tuple(experts)
        self._tokenizer = tokenizer
        self._admission = admission
        self._loop_thread = loop_thread

    async def generate(self, requests: Sequence[ChatRequest]) -> list[ChatReply]:
        """The replies, in order; see `Backend`."""
        return await whole_replies(self.stream, requests)

    async def stream(self, request: ChatRequest) -> AsyncGenerator[ChatPiece]:
        """The reply in pieces; see `Backend`."""
        check_experts(request, self.experts)
        relay = Relay()
        work = self._loop_thread.start(self._pass_on(request, relay.emit))
        try:
            async with aclosing(relay.pieces()) as pieces:
                async for piece in pieces:
                    yield piece
        finally:
            work.cancel()

    async def aclose(self) -> None:
        """Ends running requests and lets go of the server."""
        await self._loop_thread.close(self._leave)

    # --- in the loop of the backend ---------------------------------------------------------------

    async def _pass_on(self, request: ChatRequest, emit: Emit) -> None:
        try:
            prompt, limit = self._prompt(request)
            answer = aclosing(self._answer(request, prompt, limit))
            async with self._admission.take(len(prompt) + limit), answer as pieces:
                async for piece in pieces:
                    emit(piece)
        except BDCError as error:
            emit(error)
        except asyncio.CancelledError:  # `aclose` did it, or the caller, who does not listen any more.
            emit(BDCError(CLOSED))
            raise
        except Exception as error:
            emit(BDCError(f"the backend failed: {type(error).__name__}: {error}"))

    def _prompt(self, request: ChatRequest) -> tuple[list[int], int]:
        try:
            return prompt_tokens(self._tokenizer, request, self.context)
        except BDCError:
            raise
        except Exception as error:  # The base's own template may raise anything.
            raise BDCError(f"the prompt cannot be rendered: {error}") from error

    def _answer(self, request: ChatRequest, prompt: list[int], limit: int) -> AsyncGenerator[ChatPiece]:
        """The reply to a prompt, in pieces."""
        raise NotImplementedError

    async def _leave(self) -> None:
        """Lets go of the server."""
        raise NotImplementedError
