"""The OpenAI-compatible server, as an ASGI app.

POST /v1/chat/completions   in one piece, or as a stream of events
GET  /v1/models             all models: of a library, of the solver, of the search
GET  /health                whether it takes requests; needs no key
GET  /metrics               counts for Prometheus
GET  /openapi.json          what each of these takes and answers, in OpenAPI's form
"""

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import aclosing, asynccontextmanager, suppress
from time import monotonic
from typing import TypeVar

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from bdc_agents.errors import BDCError, UsageError, unknown
from bdc_agents.serve.backends.protocol import PromptTooLong
from bdc_agents.serve.http.completion import Completion
from bdc_agents.serve.http.description import Health, Model, described
from bdc_agents.serve.http.guard import CHAT, RETRY_SECONDS, Guard, ServerLimits
from bdc_agents.serve.http.hosts import ANY, Hosts, Origins
from bdc_agents.serve.http.library import LibraryModels
from bdc_agents.serve.http.metrics import Metrics
from bdc_agents.serve.http.openai import (
    DONE,
    ChatBody,
    ErrorBody,
    Refused,
    body_of,
    error_body,
    event,
    read_fields,
    shortened,
)
from bdc_agents.serve.http.served import NO_LIBRARY, Answer, Piece, Served
from bdc_agents.serve.routed_model import RoutedModel
from bdc_agents.sync import ended

T = TypeVar("T")
Handler = Callable[[Request], Awaitable[Response]]
log = logging.getLogger(__name__)


class _Gone(Exception):
    """The client has hung up."""


def create_app(
    model: RoutedModel | Served | Sequence[Served],
    *,
    key: str | None,
    limits: ServerLimits | None = None,
    hosts: Iterable[str] | None = None,
    origins: Iterable[str] = (),
) -> Guard:
    """The server as an ASGI app. It frees the models when it ends.

    Args:
        model: The library to serve, or whatever answers under a name; of two with one name the first does.
        key: API key that clients must send; None lets anyone use the server who can reach it.
        limits: See `ServerLimits`. `bdc_agents.serve.http.server` enforces the limits of connections; under
            another server, that server's own limits apply.
        hosts: Names that requests may address, besides those of this machine itself; `*` for every name.
            None allows every name if there is a key, because web pages do not know it, and no other name
            if there is no key.
        origins: Pages that may use the server through a browser (CORS), such as `http://localhost:3000`.

    Raises:
        ConfigError: If a host is no name, or an origin none.
    """
    limits = limits or ServerLimits()
    if hosts is None:
        hosts = () if key is None else (ANY,)
    metrics = Metrics()
    if isinstance(model, RoutedModel):
        model = LibraryModels(model, limits.max_tokens)
    served = model if isinstance(model, Sequence) else (model,)
    handlers = _Handlers(served, metrics, with_key=key is not None)

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        yield
        for one in served:
            await one.aclose()

    app = Starlette(
        routes=[
            Route(CHAT, handlers.safely(handlers.chat), methods=["POST"]),
            Route("/v1/models", handlers.safely(handlers.models)),
            Route("/v1/models/{name:path}", handlers.safely(handlers.model)),
            Route("/health", handlers.safely(handlers.health)),
            Route("/metrics", handlers.safely(handlers.metrics)),
            Route("/openapi.json", handlers.safely(handlers.description)),
        ],
        exception_handlers={HTTPException: _no_such_door},
        lifespan=lifespan,
    )
    app.router.redirect_slashes = False  # A redirect would go to whatever host the request names.
    guard = Guard(app, key, limits, metrics, Hosts(hosts), Origins(origins))
    app.state.guard = guard
    return guard


class _Handlers:
    """The server's paths.

    Args:
        served: What answers; clients that name no model get the first one's first.
        metrics: Counts requests and tokens.
        with_key: Whether the server asks for a key.
    """

    def __init__(self, served: Sequence[Served], metrics: Metrics, *, with_key: bool) -> None:
        self._served: dict[str, Served] = {}
        for one in served:
            self._served |= {name: one for name in one.names if name not in self._served}
        self._owner = next((one.owner for one in served if one.owner != NO_LIBRARY), None)
        self._metrics = metrics
        self._with_key = with_key

    # --- what there is ------------------------------------------------------------------------

    async def health(self, request: Request) -> Response:
        """200 if the server takes requests, 503 if it is stopping."""
        stopping = request.app.state.guard.draining
        told = Health(status="stopping" if stopping else "ok", library=self._owner)
        headers = {"retry-after": str(RETRY_SECONDS)} if stopping else None
        return JSONResponse(told, 503 if stopping else 200, headers)

    async def metrics(self, _: Request) -> Response:
        """The metrics, as text for Prometheus."""
        return PlainTextResponse(self._metrics.text(), media_type="text/plain; version=0.0.4")

    async def models(self, _: Request) -> Response:
        """All models."""
        return JSONResponse({"object": "list", "data": [self._described(name) for name in self._served]})

    async def model(self, request: Request) -> Response:
        """One model."""
        name = request.path_params["name"]
        self._find(name)
        return JSONResponse(self._described(name))

    async def description(self, _: Request) -> Response:
        """The server's own description."""
        ignored = {field for one in self._served.values() for field in one.ignores}
        return JSONResponse(described([*self._served], ignored, with_key=self._with_key))

    def _described(self, name: str) -> Model:
        return {"id": name, "object": "model", "created": 0, "owned_by": self._served[name].owner}

    def _find(self, name: str) -> Served:
        found = self._served.get(name)
        if found is None:
            raise Refused(unknown("model", name, self._served), 404, "model_not_found", "model")
        return found

    # --- chat ---------------------------------------------------------------------------------

    async def chat(self, request: Request) -> Response:
        """Answers a conversation."""
        began = monotonic()
        body, served = self._read(await request.body())
        completion = Completion(body.model)
        if body.stream:
            return await self._streamed(request, body, served, completion, began)
        answers = await _while_there(request.receive, served.answers(body))
        self._count(body.model, answers, began)
        return JSONResponse(completion.whole(answers))

    def _read(self, data: bytes) -> tuple[ChatBody, Served]:
        """The body, with a model, and who answers it."""
        fields = read_fields(data)
        if fields.get("model", "") == "":
            fields["model"] = next(iter(self._served))
        name = fields["model"]
        known = self._served.get(name) if isinstance(name, str) else None
        body = body_of(fields, known.ignores if known else ())
        return body, self._find(body.model)

    async def _streamed(
        self, request: Request, body: ChatBody, served: Served, completion: Completion, began: float
    ) -> Response:
        """A stream. It waits for the first piece, so that an error still gets its own HTTP status."""
        pieces = served.stream(body)
        first = await _while_there(request.receive, anext(pieces))
        self._metrics.observe("bdc_first_token_seconds", monotonic() - began)
        events = self._events(body, first, pieces, completion, began)
        return _Stream(events, pieces)

    async def _events(
        self,
        body: ChatBody,
        first: Piece,
        rest: AsyncGenerator[Piece],
        completion: Completion,
        began: float,
    ) -> AsyncIterator[bytes]:
        for choice in range(body.n or 1):
            yield event(completion.first(choice))
        answers: list[Answer] = []
        try:
            async for piece in _chained(first, rest):
                if piece.text or piece.reasoning:
                    yield event(completion.piece(piece))
                if piece.answer is not None:
                    answers.append(piece.answer)
                    yield event(completion.last(piece.choice, piece.answer))
        except Refused as refused:
            yield event(refused.body())
            return
        except BDCError as error:
            yield event(error_body(str(error), "server_error", "backend_failed"))
            return
        self._count(body.model, answers, began)
        if body.stream_options and body.stream_options.include_usage:
            yield event(completion.usage(answers))
        yield DONE

    def _count(self, model: str, answers: Sequence[Answer], began: float) -> None:
        self._metrics.add("bdc_requests_total", model=model, status="200")
        self._metrics.add("bdc_prompt_tokens_total", answers[0].prompt_tokens, model=model)
        written = sum(answer.completion_tokens for answer in answers)
        self._metrics.add("bdc_completion_tokens_total", written, model=model)
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


def _told(error: Exception) -> tuple[int, ErrorBody]:
    """The HTTP status and body for an error. A fault of ours reveals nothing of the server's inside."""
    if isinstance(error, Refused):
        return error.status, error.body()
    if isinstance(error, PromptTooLong):
        return 400, error_body(str(error), code="context_length_exceeded", param="messages")
    if isinstance(error, UsageError):
        return 400, error_body(str(error))
    if isinstance(error, BDCError):  # It is worded for people, and a stream that has begun has it, too.
        log.error("a request failed: %s", error)
        return 502, error_body(str(error), "server_error", "backend_failed")
    log.error("a request failed", exc_info=error)
    return 500, error_body("the server failed; its log says how", "server_error")


class _Stream(StreamingResponse):
    """A stream of events; when it ends or its client leaves, the work behind it ends too.

    Not by Starlette's own call, whose task group cancels again and again; see `cancelled_once`.
    """

    def __init__(self, events: AsyncIterator[bytes], pieces: AsyncGenerator[Piece]) -> None:
        super().__init__(events, media_type="text/event-stream", headers={"cache-control": "no-store"})
        self._pieces = pieces

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        del scope
        async with aclosing(self._pieces):
            with suppress(_Gone):
                await _while_there(receive, self.stream_response(send))


async def _chained(first: Piece, rest: AsyncGenerator[Piece]) -> AsyncIterator[Piece]:
    yield first
    async for piece in rest:
        yield piece


async def _while_there(receive: Receive, work: Awaitable[T]) -> T:
    """The result of some work; cancels the work if the client hangs up.

    Raises:
        _Gone: If the client hangs up.
    """
    task, gone = asyncio.ensure_future(work), asyncio.ensure_future(_disconnected(receive))
    try:
        await asyncio.wait({task, gone}, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise _Gone
        return task.result()
    finally:
        await ended(asyncio.gather(task, gone, return_exceptions=True))


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
