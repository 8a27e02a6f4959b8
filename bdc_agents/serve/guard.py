"""What stands before the server's handlers: the key, the limits, the clock."""

import asyncio
import hmac
import json
from collections.abc import Awaitable, Callable, MutableMapping
from hashlib import sha256
from typing import Any

from bdc_agents.serve.metrics import Metrics
from bdc_agents.serve.openai import error_body, event
from bdc_agents.types import Frozen

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

OPEN = ("/health",)
"""Paths that need no key and are answered also when the server is full."""
RETRY_SECONDS = 1


class ServerLimits(Frozen):
    """What one server takes on.

    Args:
        requests: Requests that are being answered at once; more are told to come again.
        body_bytes: Of one request.
        seconds: That one request may take.
        max_tokens: Of a reply whose request names no limit.
        grace: Seconds that running requests get to finish when the server is told to stop.
    """

    requests: int = 32
    body_bytes: int = 1024 * 1024
    seconds: float = 300.0
    max_tokens: int = 1024
    grace: float = 30.0


class Guard:
    """Lets a request through to the app, or refuses it.

    Args:
        app: The handlers.
        key: That callers must send as a bearer token; None for a server without one.
        limits: See `ServerLimits`.
        metrics: Where requests and refusals are counted.
    """

    def __init__(self, app: App, key: str | None, limits: ServerLimits, metrics: Metrics) -> None:
        self._app = app
        self._key = _digest(key) if key is not None else None
        self._limits = limits
        self._metrics = metrics
        self._running = 0
        self.draining = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handles one request as ASGI has it."""
        if scope["type"] != "http" or scope["path"] in OPEN:
            await self._app(scope, receive, send)
        elif not self._has_key(scope):
            await self._refuse(
                send, "key", 401, error_body("the API key is missing or wrong", code="invalid_api_key")
            )
        elif self.draining:
            await self._refuse(send, "stopping", 503, error_body("the server is stopping", "server_error"))
        elif scope["path"] == "/v1/chat/completions" and self._running >= self._limits.requests:
            message = f"{self._running} requests are being answered; come again"
            await self._refuse(
                send, "busy", 429, error_body(message, "rate_limit_error", "too_many_requests")
            )
        else:
            await self._within_time(scope, receive, send)

    def _has_key(self, scope: Scope) -> bool:
        """Takes the same time whatever the key that was sent."""
        if self._key is None:
            return True
        sent = next((value for name, value in scope["headers"] if name == b"authorization"), b"")
        kind, _, given = sent.partition(b" ")
        same = hmac.compare_digest(sha256(given.strip()).digest(), self._key)
        return same and kind.lower() == b"bearer"

    async def _within_time(self, scope: Scope, receive: Receive, send: Send) -> None:
        started = False

        async def sending(message: Message) -> None:
            nonlocal started
            started = started or message["type"] == "http.response.start"
            await send(message)

        self._running += 1
        self._metrics.add("bdc_requests_in_flight", 1)
        try:
            async with asyncio.timeout(self._limits.seconds):
                await self._app(scope, receive, sending)
        except TimeoutError:
            body = error_body(f"not done after {self._limits.seconds:g} seconds", "server_error", "timeout")
            if started:  # A stream: its reader is told in the stream.
                self._metrics.add("bdc_refused_total", reason="time")
                await send({"type": "http.response.body", "body": event(body), "more_body": False})
            else:
                await self._refuse(send, "time", 504, body)
        finally:
            self._running -= 1
            self._metrics.add("bdc_requests_in_flight", -1)

    async def _refuse(self, send: Send, reason: str, status: int, body: dict[str, Any]) -> None:
        self._metrics.add("bdc_refused_total", reason=reason)
        data = json.dumps(body).encode()
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(data)).encode())]
        if status == 401:
            headers.append((b"www-authenticate", b"Bearer"))
        if status in (429, 503):
            headers.append((b"retry-after", str(RETRY_SECONDS).encode()))
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": data, "more_body": False})


def _digest(key: str) -> bytes:
    return sha256(key.encode()).digest()
