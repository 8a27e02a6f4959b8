"""The OpenAI-compatible server of a library, as an ASGI app.

POST /v1/chat/completions   in one piece, or as a stream of events
GET  /v1/models             `bdc` (the routed mixture), `base`, and each expert
GET  /health                whether it takes requests; needs no key
GET  /metrics               counts for Prometheus
"""

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterable
from contextlib import aclosing, asynccontextmanager, suppress
from time import monotonic
from typing import Any, TypeVar

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from bdc_agents.errors import BDCError, ModelError, UsageError
from bdc_agents.serve.backends.protocol import ChatPiece, ChatReply, ChatRequest, PromptTooLong
from bdc_agents.serve.http.guard import CHAT, RETRY_SECONDS, Guard, ServerLimits
from bdc_agents.serve.http.hosts import ANY, Hosts
from bdc_agents.serve.http.metrics import Metrics
from bdc_agents.serve.http.openai import (
    DONE,
    ChatBody,
    Completion,
    Refused,
    error_body,
    event,
    read_body,
    shortened,
)
from bdc_agents.serve.routed_model import RoutedModel

T = TypeVar("T")
Handler = Callable[[Request], Awaitable[Response]]
log = logging.getLogger(__name__)


class _Gone(Exception):
    """The client has hung up."""


def create_app(
    model: RoutedModel,
    *,
    key: str | None,
    limits: ServerLimits | None = None,
    hosts: Iterable[str] | None = None,
) -> Guard:
    """The server as an ASGI app. It frees the model when it ends.

    Args:
        model: The library to serve.
        key: API key that clients must send; None lets anyone use the server who can reach it.
        limits: See `ServerLimits`. `bdc_agents.serve.http.server` enforces the limits of connections; under
            another server, that server's own limits apply.
        hosts: Names that requests may address, besides those of this machine itself; `*` for every name.
            None allows every name if there is a key, because web pages do not know it, and no other name
            if there is no key.
    """
    limits = limits or ServerLimits()
    if hosts is None:
        hosts = () if key is None else (ANY,)
    metrics = Metrics()
    handlers = _Handlers(model, limits, metrics)

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        yield
        await model.aclose()

    app = Starlette(
        routes=[
            Route(CHAT, handlers.safely(handlers.chat), methods=["POST"]),
            Route("/v1/models", handlers.safely(handlers.models)),
            Route("/v1/models/{name:path}", handlers.safely(handlers.model)),
            Route("/health", handlers.safely(handlers.health)),
            Route("/metrics", handlers.safely(handlers.metrics)),
        ],
        exception_handlers={HTTPException: _no_such_door},
        lifespan=lifespan,
    )
    app.router.redirect_slashes = False  # A redirect would go to whatever host the request names.
    guard = Guard(app, key, limits, metrics, Hosts(hosts))
    app.state.guard = guard
    return guard


class _Handlers:
    def __init__(self, model: RoutedModel, limits: ServerLimits, metrics: Metrics) -> None:
        self._model = model
        self._limits = limits
        self._metrics = metrics

    # --- health, metrics and models -----------------------------------------------------------

    async def health(self, request: Request) -> Response:
        """200 if the server takes requests, 503 if it is stopping."""
        stopping = request.app.state.guard.draining
        told = {"status": "stopping" if stopping else "ok", "library": self._model.name}
        headers = {"retry-after": str(RETRY_SECONDS)} if stopping else None
        return JSONResponse(told, 503 if stopping else 200, headers)

    async def metrics(self, _: Request) -> Response:
        """The metrics, as text for Prometheus."""
        return PlainTextResponse(self._metrics.text(), media_type="text/plain; version=0.0.4")

    async def models(self, _: Request) -> Response:
        """All models of the library."""
        return JSONResponse({"object": "list", "data": [self._described(name) for name in self._model.names]})

    async def model(self, request: Request) -> Response:
        """One model."""
        return JSONResponse(self._described(self._check(request.path_params["name"])))

    def _described(self, name: str) -> dict[str, Any]:
        return {"id": name, "object": "model", "created": 0, "owned_by": self._model.name}

    def _check(self, name: str) -> str:
        try:
            return self._model.check(name)
        except ModelError as error:
            raise Refused(str(error), 404, "model_not_found", "model") from None

    # --- chat ---------------------------------------------------------------------------------

    async def chat(self, request: Request) -> Response:
        """Answers a conversation."""
        began = monotonic()
        body = read_body(await request.body())
        self._check(body.model)
        messages = [message.plain() for message in body.messages]
        asked = await self._model.request(
            messages, model=body.model, text=body.said() or None, **body.sampling(self._limits.max_tokens)
        )
        completion = Completion(body.model, asked)
        if body.stream:
            return await self._streamed(request, body, asked, completion, began)
        (reply,) = await _while_there(request, self._model.backend.generate([asked]))
        self._count(body.model, reply, began)
        return JSONResponse(completion.whole(reply))

    async def _streamed(
        self, request: Request, body: ChatBody, asked: ChatRequest, completion: Completion, began: float
    ) -> Response:
        """A stream. It waits for the first piece, so that an error still gets its own HTTP status."""
        pieces = self._model.backend.stream(asked)
        first = await _while_there(request, anext(pieces))
        self._metrics.observe("bdc_first_token_seconds", monotonic() - began)
        events = self._events(body, first, pieces, completion, began)
        return _Stream(events, pieces)

    async def _events(
        self,
        body: ChatBody,
        first: ChatPiece,
        rest: AsyncGenerator[ChatPiece],
        completion: Completion,
        began: float,
    ) -> AsyncIterator[bytes]:
        yield event(completion.first())
        try:
            async for piece in _chained(first, rest):
                if piece.text:
                    yield event(completion.piece(piece.text))
                if piece.reply is not None:
                    self._count(body.model, piece.reply, began)
                    yield event(completion.last(piece.reply))
                    if body.stream_options and body.stream_options.include_usage:
                        yield event(completion.usage(piece.reply))
        except BDCError as error:
            yield event(error_body(str(error), "server_error"))
            return
        yield DONE

    def _count(self, model: str, reply: ChatReply, began: float) -> None:
        self._metrics.add("bdc_requests_total", model=model, status="200")
        self._metrics.add("bdc_prompt_tokens_total", reply.prompt_tokens, model=model)
        self._metrics.add("bdc_completion_tokens_total", reply.completion_tokens, model=model)
        self._metrics.observe("bdc_request_seconds", monotonic() - began)

    # --- errors -------------------------------------------------------------------------------

    def safely(self, handler: Handler) -> Handler:
        """Wraps a handler: its errors become bodies that OpenAI's clients can read."""

        async def handle(request: Request) -> Response:
            try:
                return await handler(request)
            except _Gone:
                return Response(status_code=499)  # nginx's status for a client that has gone
            except Exception as error:
                status, body = _told(error)
                self._metrics.add("bdc_requests_total", model="", status=str(status))
                return JSONResponse(body, status)

        return handle


async def _no_such_door(request: Request, error: Exception) -> Response:
    """The answer to an unknown path, or to a method that a path does not have."""
    assert isinstance(error, HTTPException)
    where = shortened(request.scope["path"])
    message = f"there is no {where!r} here; see /v1/models and {CHAT}"
    if error.status_code == 405:
        # Starlette keeps the methods in a set, whose order changes between processes.
        allowed = ", ".join(sorted((error.headers or {}).get("Allow", "").split(", ")))
        message = f"{where} is not for {shortened(request.method)}, but for {allowed}"
    return JSONResponse(error_body(message), error.status_code, error.headers)


def _told(error: Exception) -> tuple[int, dict[str, Any]]:
    """The HTTP status and body for an error. An error of our own reveals nothing of the server's inside."""
    if isinstance(error, Refused):
        return error.status, error.body()
    if isinstance(error, PromptTooLong):
        return 400, error_body(str(error), code="context_length_exceeded", param="messages")
    if isinstance(error, UsageError):
        return 400, error_body(str(error))
    log.error("a request failed", exc_info=error)
    return 500, error_body("the server failed; its log says how", "server_error")


class _Stream(StreamingResponse):
    """A stream of events; when it ends, for any reason, the work behind it ends too."""

    def __init__(self, events: AsyncIterator[bytes], pieces: AsyncGenerator[ChatPiece]) -> None:
        super().__init__(events, media_type="text/event-stream", headers={"cache-control": "no-store"})
        self._pieces = pieces

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        async with aclosing(self._pieces):
            await super().__call__(scope, receive, send)


async def _chained(first: ChatPiece, rest: AsyncGenerator[ChatPiece]) -> AsyncIterator[ChatPiece]:
    yield first
    if first.reply is None:
        async for piece in rest:
            yield piece


async def _while_there(request: Request, work: Awaitable[T]) -> T:
    """The result of some work; cancels the work if the client hangs up.

    Raises:
        _Gone: If the client hangs up.
    """
    task, gone = asyncio.ensure_future(work), asyncio.ensure_future(_disconnected(request))
    try:
        await asyncio.wait({task, gone}, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise _Gone
        return task.result()
    finally:
        for one in (task, gone):
            one.cancel()
            with suppress(asyncio.CancelledError, Exception):
                await one


async def _disconnected(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
