"""Runs the server of `bdc_agents.serve.api` until it is told to stop."""

import logging
import signal
import socket
from collections.abc import Callable
from types import FrameType

import uvicorn

from bdc_agents.errors import ConfigError
from bdc_agents.serve.guard import Guard, ServerLimits


class Server(uvicorn.Server):
    """A server that says so as soon as it is told to stop, and finishes what it has begun.

    Args:
        app: Of `create_app`.
        limits: How long running requests may take then.
    """

    def __init__(self, app: Guard, limits: ServerLimits) -> None:
        config = uvicorn.Config(
            app,
            log_level=logging.WARNING,
            access_log=False,
            server_header=False,
            timeout_keep_alive=30,
            timeout_graceful_shutdown=int(limits.grace),
            h11_max_incomplete_event_size=65536,
        )
        super().__init__(config)
        self._app = app

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """On SIGTERM and SIGINT: takes no new requests; a second SIGINT waits for nothing."""
        del frame
        self._app.draining = True
        self.force_exit = self.should_exit and sig == signal.SIGINT
        self.should_exit = True


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens there; port 0 takes a free one.

    Raises:
        ConfigError: If nobody can.
    """
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return socket.create_server((host, port), family=family, backlog=256)
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
