"""Runs the ASGI app in uvicorn until SIGTERM or SIGINT."""

import logging
import math
import signal
import socket
import sys
from collections.abc import Callable
from functools import partial
from types import FrameType
from typing import Any

import uvicorn

from bdc_agents.errors import ConfigError
from bdc_agents.serve.http.connections import Connection
from bdc_agents.serve.http.guard import Guard, ServerLimits

BACKLOG = 256
"""Connections that the system holds before the server accepts them; as many as the default of `connections`.
Chosen, not measured."""
TELL_SECONDS = 2.0
"""Of the grace, what is left to tell clients that their requests are not finished. Chosen, not measured."""
_OWN_FILES = 128
"""File descriptors kept for the base, the experts, the event loop and a process beside this one. An upper
guess, not measured."""


class Server(uvicorn.Server):
    """A server that refuses new requests as soon as it is told to stop, and finishes the running ones.

    Args:
        app: The app of `create_app`.
        limits: See `ServerLimits`.
    """

    def __init__(self, app: Guard, limits: ServerLimits) -> None:
        limits = limits.model_copy(update={"connections": min(limits.connections, _descriptors())})
        # uvicorn's type asks for a class, but any callable that makes a protocol works.
        connection: Any = partial(Connection, limits=limits, turned_away=app.turned_away)
        config = uvicorn.Config(
            app,
            http=connection,
            ws="none",
            # At WARNING it logs a line for each request that is not HTTP; the metrics count those.
            log_level=logging.ERROR,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            backlog=BACKLOG,
            timeout_graceful_shutdown=math.ceil(limits.grace),
        )
        super().__init__(config)
        self._app = app
        self._grace = limits.grace

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """On SIGTERM and SIGINT, refuses new requests and stops; a second SIGINT stops at once."""
        del frame
        self._app.draining = True
        self.force_exit = self.should_exit and sig == signal.SIGINT
        self.should_exit = True

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Lets the running requests end, and tells those that do not, before uvicorn cuts them off."""
        self._app.end_within(self._grace - min(TELL_SECONDS, self._grace / 10))
        await super().shutdown(sockets)


def _descriptors() -> int:
    """How many connections fit under the process's limit of open files.

    Up to `BACKLOG` more may be accepted before the first of them is cut.
    """
    try:
        import resource
    except ModuleNotFoundError:  # Windows has no such limit.
        return sys.maxsize
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return sys.maxsize if soft == resource.RLIM_INFINITY else max(1, soft - BACKLOG - _OWN_FILES)


def listen(host: str, port: int) -> socket.socket:
    """Opens a listening socket; port 0 takes a free one.

    Raises:
        ConfigError: If the address or port cannot be used.
    """
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return socket.create_server((host, port), family=family, backlog=BACKLOG)
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise ConfigError(
            f"cannot listen at {host} port {port}: {reason}; give another --port, or 0 for any free one"
        ) from None


def serve_forever(
    app: Guard, place: socket.socket, limits: ServerLimits, ready: Callable[[], None] = lambda: None
) -> None:
    """Serves until SIGTERM or SIGINT.

    Args:
        ready: Called when the server is about to take requests.
    """
    ready()
    Server(app, limits).run(sockets=[place])
