"""A backend whose model runs in another process, behind a `CompletionServer`."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager
from typing import Any, Literal

from bdc_agents.errors import BDCError
from bdc_agents.serve.backends.prompts import prompt_tokens
from bdc_agents.serve.backends.protocol import ChatPiece, ChatReply, ChatRequest
from bdc_agents.serve.backends.relay import CLOSED, Home, Relay, Tell, check_experts, whole_replies


class Room:
    """Lets requests in, first come, first served, while there is room for them.

    Args:
        slots: Requests at once.
        tokens: Of their prompts and replies together; None for any number.
    """

    def __init__(self, slots: int, tokens: int | None = None) -> None:
        self._slots, self._tokens = slots, tokens
        self._turn, self._left = asyncio.Lock(), asyncio.Condition()

    @asynccontextmanager
    async def take(self, tokens: int) -> AsyncIterator[None]:
        """Within it, a request of so many tokens has its room."""
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
    """What backends of other processes have in common; prompts go out as tokens.

    All connections belong to an event loop on a thread of its own, so that one backend serves any
    number of loops.

    Args:
        tokenizer: Of the base, with a chat template.
        experts: Their names.
        identity, context: See `Backend`.
        room: Which requests the server works on at once.
    """

    mixes: Literal["rank", "expert"] = "expert"

    def __init__(
        self, tokenizer: Any, experts: Sequence[str], *, identity: str, context: int, room: Room, home: Home
    ) -> None:
        self.identity = identity
        self.context = context
        self.experts = tuple(experts)
        self._tokenizer = tokenizer
        self._room = room
        self._home = home

    async def generate(self, requests: Sequence[ChatRequest]) -> list[ChatReply]:
        """The replies, in order; see `Backend`."""
        return await whole_replies(self.stream, requests)

    async def stream(self, request: ChatRequest) -> AsyncGenerator[ChatPiece]:
        """The reply in pieces; see `Backend`."""
        check_experts(request, self.experts)
        relay = Relay()
        work = self._home.start(self._pass_on(request, relay.tell))
        try:
            async with aclosing(relay.pieces()) as pieces:
                async for piece in pieces:
                    yield piece
        finally:
            work.cancel()

    async def aclose(self) -> None:
        """Ends what runs and lets go of the server."""
        await self._home.close(self._leave)

    # --- in the loop of the backend ---------------------------------------------------------------

    async def _pass_on(self, request: ChatRequest, tell: Tell) -> None:
        try:
            prompt, limit = self._prompt(request)
            answer = aclosing(self._answer(request, prompt, limit))
            async with self._room.take(len(prompt) + limit), answer as pieces:
                async for piece in pieces:
                    tell(piece)
        except BDCError as error:
            tell(error)
        except asyncio.CancelledError:  # By the caller, who does not listen any more, or by `aclose`.
            tell(BDCError(CLOSED))
            raise
        except Exception as error:
            tell(BDCError(f"the backend failed: {type(error).__name__}: {error}"))

    def _prompt(self, request: ChatRequest) -> tuple[list[int], int]:
        try:
            return prompt_tokens(self._tokenizer, request, self.context)
        except BDCError:
            raise
        except Exception as error:  # Whatever the base's own template raises.
            raise BDCError(f"the prompt cannot be rendered: {error}") from error

    def _answer(self, request: ChatRequest, prompt: list[int], limit: int) -> AsyncGenerator[ChatPiece]:
        """The reply to a prompt, in pieces."""
        raise NotImplementedError

    async def _leave(self) -> None:
        """Lets go of the server."""
        raise NotImplementedError
