"""What stands before the server's handlers: names, the key, the body, the limits, the clock."""

import asyncio
import hmac
import json
from collections.abc import Awaitable, Callable, MutableMapping
from hashlib import sha256
from typing import Any

from bdc_agents.serve.http.hosts import Hosts
from bdc_agents.serve.http.metrics import Metrics
from bdc_agents.serve.http.openai import Refused, event
from bdc_agents.types import Frozen

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

OPEN = ("/health",)
"""Paths that need no key and are answered also when the server is full."""
CHAT = "/v1/chat/completions"
RETRY_SECONDS = 1


class ServerLimits(Frozen):
    """What one server takes on.

    Args:
        requests: Requests that are being answered at once; more are told to come again.
        body_bytes: Of one request.
        seconds: That the answer to one request may take, from when its body is there.
        max_tokens: Of a reply whose request names no limit.
        grace: Seconds that running requests get to finish when the server is told to stop.
        connections: That are open at once. For one more, the one that has kept the server waiting
            longest is closed.
        head_seconds: That a client has for a request's line and headers.
        body_seconds: That a client has for a request's body.
        idle_seconds: That a connection is kept for another request.
        read_seconds: That a client may stop reading its answer.
    """

    requests: int = 32
    body_bytes: int = 1024 * 1024
    seconds: float = 300.0
    max_tokens: int = 1024
    grace: float = 30.0
    connections: int = 256
    head_seconds: float = 10.0
    body_seconds: float = 30.0
    idle_seconds: float = 30.0
    read_seconds: float = 30.0


class _Gone(Exception):
    """The client has hung up."""


class Guard:
    """Lets a request through to the app, or refuses it. The app gets the body in one piece.

    A place among the requests that are being answered is taken when the body is there, so that
    whoever sends slowly holds up no one.

    Args:
        app: The handlers.
        key: That callers must send as a bearer token; None for a server without one.
        limits: See `ServerLimits`.
        metrics: Where requests and refusals are counted.
        hosts: Names that requests may be for.
    """

    def __init__(
        self, app: App, key: str | None, limits: ServerLimits, metrics: Metrics, hosts: Hosts
    ) -> None:
        self._app = app
        self._key = _digest(key) if key is not None else None
        self._limits = limits
        self._metrics = metrics
        self._hosts = hosts
        self._running = 0
        self.draining = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handles one request as ASGI has it."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
        elif scope["type"] != "http":
            await send({"type": "websocket.close"})
        else:
            try:
                await self._admit(scope, receive, send)
            except Refused as refused:
                await self._refuse(send, refused)
            except _Gone:
                self.turned_away("gone")

    def turned_away(self, reason: str) -> None:
        """Counts a request or a connection that was not served."""
        self._metrics.add("bdc_refused_total", reason=reason)

    async def _admit(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._hosts.check(scope["headers"])
        if scope["path"] in OPEN:
            await self._app(scope, receive, send)
            return
        self._check_key(scope)
        if self.draining:
            raise Refused("the server is stopping", 503, kind="server_error", reason="stopping")
        self._check_room(scope)
        _check_json(scope)
        body = await self._body(scope, receive)
        self._check_room(scope)
        await self._within_time(scope, _replayed(body, receive), send)

    def _check_key(self, scope: Scope) -> None:
        """Takes the same time whatever the key that was sent."""
        if self._key is None:
            return
        kind, _, given = (_values(scope, b"authorization") or [b""])[0].partition(b" ")
        same = hmac.compare_digest(sha256(given.strip()).digest(), self._key)
        if not (same and kind.lower() == b"bearer"):
            raise Refused("the API key is missing or wrong", 401, "invalid_api_key", reason="key")

    def _check_room(self, scope: Scope) -> None:
        if scope["path"] == CHAT and self._running >= self._limits.requests:
            raise Refused(
                f"{self._running} requests are being answered; come again",
                429,
                "too_many_requests",
                kind="rate_limit_error",
                reason="busy",
            )

    async def _body(self, scope: Scope, receive: Receive) -> bytes:
        """The body, of which no more than the limit is read, for no longer than the limit."""
        limit = self._limits.body_bytes
        too_large = Refused(f"the body is larger than {limit} bytes", 413, "request_too_large", reason="size")
        told = next(iter(_values(scope, b"content-length")), b"0")
        # Compared by length first: `int` refuses, and is slow at, numbers of thousands of digits.
        if told.isdigit() and (len(told) > 20 or int(told) > limit):
            raise too_large
        data = bytearray()
        try:
            async with asyncio.timeout(self._limits.body_seconds):
                while True:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        raise _Gone
                    data += message.get("body", b"")
                    if len(data) > limit:
                        raise too_large
                    if not message.get("more_body", False):
                        return bytes(data)
        except TimeoutError:
            message = f"the body was not there after {self._limits.body_seconds:g} seconds"
            raise Refused(message, 408, "timeout", reason="slow") from None

    async def _within_time(self, scope: Scope, receive: Receive, send: Send) -> None:
        started = False

        async def sending(message: Message) -> None:
            nonlocal started
            started = started or message["type"] == "http.response.start"
            await send(message)

        self._running += 1
        self._metrics.add("bdc_requests_in_flight", 1)
        clock = asyncio.timeout(self._limits.seconds)
        try:
            async with clock:
                await self._app(scope, receive, sending)
        except TimeoutError:
            if not clock.expired():
                raise
            message = f"not done after {self._limits.seconds:g} seconds"
            late = Refused(message, 504, "timeout", kind="server_error", reason="time")
            if not started:
                raise late from None
            self.turned_away("time")  # A stream: its reader is told in the stream.
            await send({"type": "http.response.body", "body": event(late.body()), "more_body": False})
        finally:
            self._running -= 1
            self._metrics.add("bdc_requests_in_flight", -1)

    async def _refuse(self, send: Send, refused: Refused) -> None:
        self.turned_away(refused.reason)
        data = json.dumps(refused.body()).encode()
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(data)).encode())]
        if refused.status == 401:
            headers.append((b"www-authenticate", b"Bearer"))
        if refused.status in (429, 503):
            headers.append((b"retry-after", str(RETRY_SECONDS).encode()))
        await send({"type": "http.response.start", "status": refused.status, "headers": headers})
        await send({"type": "http.response.body", "body": data, "more_body": False})


def _check_json(scope: Scope) -> None:
    """Makes sure that a body is declared to be JSON, for which a browser asks the server before it sends."""
    lengths = _values(scope, b"content-length")
    if not _values(scope, b"transfer-encoding") and all(length.strip(b"0") == b"" for length in lengths):
        return
    kinds = [value.partition(b";")[0].strip().lower() for value in _values(scope, b"content-type")]
    if kinds != [b"application/json"]:
        message = "the body must be JSON and say so: send the header Content-Type: application/json"
        raise Refused(message, 415, "unsupported_media_type", reason="type")


def _replayed(body: bytes, receive: Receive) -> Receive:
    """Gives the body that was read already, then whatever else is received."""
    told = False

    async def receiving() -> Message:
        nonlocal told
        if told:
            return await receive()
        told = True
        return {"type": "http.request", "body": body, "more_body": False}

    return receiving


def _values(scope: Scope, name: bytes) -> list[bytes]:
    return [value for key, value in scope["headers"] if key == name]


def _digest(key: str) -> bytes:
    return sha256(key.encode()).digest()
