"""Guard: checks each request before the handlers see it: host, key, limits, body and time."""

import asyncio
import hmac
import json
from collections.abc import Awaitable, Callable, MutableMapping
from hashlib import sha256
from typing import Any

from bdc_agents.serve.http.hosts import Hosts, Message, Origins, Send
from bdc_agents.serve.http.metrics import Metrics
from bdc_agents.serve.http.openai import Refused, event
from bdc_agents.types import Given

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

PREFLIGHT = (
    (b"access-control-allow-methods", b"GET, POST"),
    # Clients send headers of their own, such as x-stainless-lang. `*` does not stand for this one.
    (b"access-control-allow-headers", b"*, authorization"),
    (b"access-control-max-age", b"600"),  # What Starlette and most others take.
)
"""What a page is told that asks whether it may send a request (CORS)."""
OPEN = ("/health",)
"""Paths that need no key, and are answered even when the server is full."""
NO_KEY = "the API key is missing or wrong: send it in the header Authorization: Bearer KEY"
"""Whatever is wrong with it: who tries keys learns nothing."""
CHAT = "/v1/chat/completions"
STOPPING = "the server is stopping; ask again in a while"
RETRY_SECONDS = 1
"""The smallest `Retry-After`, in seconds: a place is free as soon as one reply ends."""


class ServerLimits(Given):
    """The limits of one server. The defaults are chosen, not measured.

    Args:
        requests: Requests that are answered at once; further ones get 429. The default lets each of 8
            slots have 3 requests waiting.
        body_bytes: Largest body of a request. The default, 1 MiB, holds the text of any context.
        seconds: Longest answer to a request, counted from when its body is there.
        max_tokens: Most tokens of a reply whose request sets no limit.
        grace: Seconds for running requests to finish when the server stops; Kubernetes also gives 30.
        connections: Open connections at once. A further one closes the one that has kept the server
            waiting longest.
        head_seconds: Time for a client to send a request's line and headers.
        body_seconds: Time for a client to send a request's body.
        idle_seconds: How long a connection is kept for another request.
        read_seconds: How long a client may stop reading its answer.
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
    """Passes a request to the app, or refuses it. The app gets the body in one piece.

    A request counts against `requests` once its body is there, so that a slow sender holds up nobody.

    Args:
        app: The handlers.
        key: API key that clients must send as a bearer token; None for a server without a key.
        limits: See `ServerLimits`.
        metrics: Counts requests and refusals.
        hosts: Names that requests may address.
        origins: Pages that may use the server through a browser.
        work: The path whose requests count against `requests`.
    """

    def __init__(
        self,
        app: App,
        key: str | None,
        limits: ServerLimits,
        metrics: Metrics,
        hosts: Hosts,
        origins: Origins,
        work: str = CHAT,
    ) -> None:
        self._work = work
        self._app = app
        self._key = _digest(key) if key is not None else None
        self._limits = limits
        self._metrics = metrics
        self._hosts = hosts
        self._origins = origins
        self._running = 0
        self._clocks: set[asyncio.Timeout] = set()
        self.draining = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handles one ASGI request."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
        elif scope["type"] != "http":
            await send({"type": "websocket.close"})
        else:
            send = self._origins.told(scope["headers"], send)
            try:
                await self._admit(scope, receive, send)
            except Refused as refused:
                await self._refuse(send, refused)
            except _Gone:
                self.turned_away("gone")

    def turned_away(self, reason: str) -> None:
        """Counts a request or connection that is not served."""
        self._metrics.add("bdc_refused_total", reason=reason)

    def end_within(self, seconds: float) -> None:
        """Ends the requests that run in so many seconds; their clients are told that the server stops."""
        self.draining = True
        last = asyncio.get_running_loop().time() + seconds
        for clock in self._clocks:
            clock.reschedule(min(last, clock.when() or last))

    async def _admit(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._hosts.check(scope["headers"], self._origins.names)
        if scope["method"] == "OPTIONS" and self._origins.allow(scope["headers"]):
            # A browser asks before it sends a key, so it asks without one.
            await send({"type": "http.response.start", "status": 204, "headers": list(PREFLIGHT)})
            await send({"type": "http.response.body", "body": b"", "more_body": False})
            return
        if scope["path"] in OPEN:
            await self._app(scope, receive, send)
            return
        self._check_key(scope)
        if self.draining:
            raise Refused(STOPPING, 503, "stopping", kind="server_error", reason="stopping")
        self._check_room(scope)
        _check_json(scope)
        body = await self._body(scope, receive)
        self._check_room(scope)
        await self._within_time(scope, _replayed(body, receive), send)

    def _check_key(self, scope: Scope) -> None:
        """Compares the key in constant time, so that the time reveals nothing about it."""
        if self._key is None:
            return
        kind, _, given = (_values(scope, b"authorization") or [b""])[0].partition(b" ")
        same = hmac.compare_digest(sha256(given.strip()).digest(), self._key)
        if not (same and kind.lower() == b"bearer"):
            raise Refused(NO_KEY, 401, "invalid_api_key", reason="key")

    def _check_room(self, scope: Scope) -> None:
        if scope["path"] == self._work and self._running >= self._limits.requests:
            raise Refused(
                f"{self._running} requests are being answered; come again",
                429,
                "too_many_requests",
                kind="rate_limit_error",
                reason="busy",
            )

    async def _body(self, scope: Scope, receive: Receive) -> bytes:
        """Reads the body, within the limits of size and time."""
        limit = self._limits.body_bytes
        too_large = Refused(f"the body is larger than {limit} bytes", 413, "request_too_large", reason="size")
        told = next(iter(_values(scope, b"content-length")), b"0")
        # Checks the digits first (2**64 has 20), because `int` is slow at thousands of digits, and refuses
        # them.
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
                self._clocks.add(clock)
                await self._app(scope, receive, sending)
        except TimeoutError:
            if not clock.expired():
                raise
            late = self._late()
            if not started:
                raise late from None
            self.turned_away(late.reason)  # A stream has begun, so the error goes into it.
            await send({"type": "http.response.body", "body": event(late.body()), "more_body": False})
        finally:
            self._clocks.discard(clock)
            self._running -= 1
            self._metrics.add("bdc_requests_in_flight", -1)

    def _late(self) -> Refused:
        """Why a request is ended whose time is up."""
        if self.draining:
            return Refused(STOPPING, 503, "stopping", kind="server_error", reason="stopping")
        message = f"not done after {self._limits.seconds:g} seconds"
        return Refused(message, 504, "timeout", kind="server_error", reason="time")

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
    """Requires a body to be declared as JSON. Pages of other sites then need the server's consent (CORS)."""
    lengths = _values(scope, b"content-length")
    if not _values(scope, b"transfer-encoding") and all(length.strip(b"0") == b"" for length in lengths):
        return
    kinds = [value.partition(b";")[0].strip().lower() for value in _values(scope, b"content-type")]
    if kinds != [b"application/json"]:
        message = "the body must be JSON and say so: send the header Content-Type: application/json"
        raise Refused(message, 415, "unsupported_media_type", reason="type")


def _replayed(body: bytes, receive: Receive) -> Receive:
    """A `receive` that returns the body that was read already, then further messages."""
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
