"""A library's models behind the server: the mixture, the base, and each expert."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing, suppress
from dataclasses import replace

from bdc_agents.errors import UsageError
from bdc_agents.serve.backends.protocol import ChatReply, ChatRequest, ExpertWeights
from bdc_agents.serve.http.openai import ChatBody, Refused
from bdc_agents.serve.http.served import Answer, Mixed, Piece
from bdc_agents.serve.routed_model import NO_SCHEMAS, ROUTED, RoutedModel

NO_TOOLS = "the model calls no tools: it was trained to write programs, and answers in text"


class LibraryModels:
    """The models of one library. The mixture has two names, `bdc` and the library's own.

    Args:
        model: The opened library.
        max_tokens: Most tokens of a reply whose request sets no limit.
    """

    ignores: frozenset[str] = frozenset()

    def __init__(self, model: RoutedModel, max_tokens: int) -> None:
        self._model = model
        self._max_tokens = max_tokens

    @property
    def owner(self) -> str:
        """The library's name."""
        return self._model.name

    @property
    def names(self) -> Sequence[str]:
        """The mixture first."""
        return tuple(dict.fromkeys((*self._model.names, self._model.name)))

    async def answers(self, body: ChatBody) -> list[Answer]:
        """The replies, which are written together."""
        asked = await self._asked(body)
        replies = await self._model.backend.generate(asked)
        return [_answer(body, request, reply) for request, reply in zip(asked, replies, strict=True)]

    async def stream(self, body: ChatBody) -> AsyncGenerator[Piece]:
        """The replies in pieces, side by side."""
        asked = await self._asked(body)
        streams = [self._one(body, request, choice) for choice, request in enumerate(asked)]
        async with aclosing(side_by_side(streams)) as pieces:
            async for piece in pieces:
                yield piece

    async def aclose(self) -> None:
        """Frees the model."""
        await self._model.aclose()

    async def _one(self, body: ChatBody, request: ChatRequest, choice: int) -> AsyncGenerator[Piece]:
        async with aclosing(self._model.backend.stream(request)) as pieces:
            async for piece in pieces:
                answer = _answer(body, request, piece.reply) if piece.reply is not None else None
                yield Piece(piece.text, choice=choice, answer=answer)

    async def _asked(self, body: ChatBody) -> list[ChatRequest]:
        """A request for each answer; they differ by their seeds.

        Raises:
            Refused: If the body has a budget, for a reply of these models is one call; if it says nothing, or
                asks for JSON that cannot be enforced.
        """
        if body.budget is not None:
            raise Refused("a budget is for the models that search; leave it out", param="budget")
        name, schema = body.model, body.wanted()
        if schema is not None and not self._model.enforces:
            raise Refused(f"response_format: {NO_SCHEMAS}", param="response_format")
        try:
            request = await self._model.request(
                [message.plain() for message in body.messages],
                model=name if name in self._model.names else ROUTED,
                text=body.said() or None,
                schema=schema,
                **body.sampling(self._max_tokens),
            )
        except UsageError as error:
            raise Refused(str(error), param="messages") from None
        return [replace(request, seed=request.seed + number) for number in range(body.n or 1)]


def _answer(body: ChatBody, request: ChatRequest, reply: ChatReply) -> Answer:
    experts = request.experts
    if isinstance(experts, ExpertWeights):
        told = Mixed(confidence=reply.probability, experts=dict(experts.experts), routed_by=experts.by)
    else:
        told = Mixed(confidence=reply.probability, experts={} if experts is None else {experts: 1.0})
    if body.tools or body.functions:
        told["note"] = NO_TOOLS
    return Answer(reply.text, reply.prompt_tokens, reply.completion_tokens, reply.finish, told=told)


async def side_by_side(streams: Sequence[AsyncGenerator[Piece]]) -> AsyncGenerator[Piece]:
    """The pieces of several streams as they come. Closing it, or an error of one, closes them all."""
    if len(streams) == 1:
        async with aclosing(streams[0]) as pieces:
            async for piece in pieces:
                yield piece
        return
    # One piece waits for the client, so that no stream runs ahead of a client that reads slowly.
    found: asyncio.Queue[Piece | BaseException | None] = asyncio.Queue(1)

    async def read(stream: AsyncGenerator[Piece]) -> None:
        try:
            async with aclosing(stream) as pieces:
                async for piece in pieces:
                    await found.put(piece)
        except Exception as error:
            await found.put(error)
        else:
            await found.put(None)

    tasks = [asyncio.ensure_future(read(stream)) for stream in streams]
    try:
        left = len(tasks)
        while left:
            piece = await found.get()
            if isinstance(piece, BaseException):
                raise piece
            if piece is None:
                left -= 1
            else:
                yield piece
    finally:
        for task in tasks:
            task.cancel()
        for task in tasks:
            with suppress(asyncio.CancelledError, Exception):
                await task
