"""Runs the server of `bdc_agents.serve.http.api` until it is told to stop."""

import logging
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
"""Connections that the system holds before they are accepted."""
_OWN_FILES = 128
"""For the base, the experts, the event loop, a process beside this one."""


class Server(uvicorn.Server):
    """A server that says so as soon as it is told to stop, and finishes what it has begun.

    Args:
        app: Of `create_app`.
        limits: See `ServerLimits`.
    """

    def __init__(self, app: Guard, limits: ServerLimits) -> None:
        limits = limits.model_copy(update={"connections": min(limits.connections, _descriptors())})
        # uvicorn takes whatever makes a protocol, though it asks for a class.
        connection: Any = partial(Connection, limits=limits, turned_away=app.turned_away)
        config = uvicorn.Config(
            app,
            http=connection,
            ws="none",
            # Its warnings are one line for each request that is no HTTP: these are counted instead.
            log_level=logging.ERROR,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            backlog=BACKLOG,
            timeout_graceful_shutdown=int(limits.grace),
        )
        super().__init__(config)
        self._app = app

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """On SIGTERM and SIGINT: takes no new requests; a second SIGINT waits for nothing."""
        del frame
        self._app.draining = True
        self.force_exit = self.should_exit and sig == signal.SIGINT
        self.should_exit = True


def _descriptors() -> int:
    """Connections that fit beside all else under the process's limit of open files.

    As many as `BACKLOG` more may have been accepted before the first of them is cut.
    """
    try:
        import resource
    except ModuleNotFoundError:  # Windows has no such limit.
        return sys.maxsize
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return sys.maxsize if soft == resource.RLIM_INFINITY else max(1, soft - BACKLOG - _OWN_FILES)


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens there; port 0 takes a free one.

    Raises:
        ConfigError: If nobody can.
    """
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return socket.create_server((host, port), family=family, backlog=BACKLOG)
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise ConfigError(
            f"cannot listen at {host} port {port}: {reason}; give another --port, or 0 for any that is free"
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
