"""A connection of the server, with time limits for everything that its client has to do.

Without them, clients that never go on could fill the server. If there are too many connections, the one
whose client has kept the server waiting longest makes room.
"""

import asyncio
import json
import sys
from collections import Counter
from collections.abc import Callable
from enum import Enum, auto
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from bdc_agents.serve.http.guard import ServerLimits
from bdc_agents.serve.http.openai import error_body

HEAD_BYTES = 64 * 1024
"""Most bytes of a request's line and headers. nginx takes 32 KiB, Apache 8 KiB a line; this is the default of
uvicorn's h11."""
BODY_PIECES = 10_000
"""Most pieces of one body. Reading a piece takes the server some 8 microseconds whatever its size, so a
megabyte in chunks of one byte would take 10 seconds."""
LINGER_SECONDS = 5.0
"""Time for a client to read its answer before the connection is cut; cut at once, the answer might be lost.
Chosen, not measured."""


class Awaited(Enum):
    """What a connection waits for."""

    HEAD = auto()
    """The client sends the line and headers of a request."""
    NEXT = auto()
    """The client sends another request."""
    BODY = auto()
    """The client sends the body of a request. `Guard` limits this time."""
    REST = auto()
    """The client sends the rest of a body that is answered already."""
    READER = auto()
    """The client goes on reading."""
    CLOSE = auto()
    """The client reads the last answer; then the connection is closed."""
    ANSWER = auto()
    """The server answers."""


class _Parser(h11.Connection):
    """Refuses bodies in too many pieces, which would keep the server busy, and other versions of HTTP.

    h11 would read those as if they were 1.1.
    """

    _pieces = 0

    def next_event(self) -> Any:
        event = super().next_event()
        if isinstance(event, h11.Request) and not event.http_version.startswith(b"1."):
            raise h11.RemoteProtocolError("this server only speaks HTTP/1.1", error_status_hint=505)
        self._pieces = self._pieces + 1 if isinstance(event, h11.Data) else 0
        if self._pieces > BODY_PIECES:
            raise h11.RemoteProtocolError(f"a body in more than {BODY_PIECES} pieces", error_status_hint=413)
        return event


class Connection(H11Protocol):
    """uvicorn's connection, with a time limit for everything that the client has to do.

    Args:
        limits: See `ServerLimits`.
        turned_away: Called with the reason for each connection that is cut or refused.
        uvicorns: uvicorn's own arguments of a protocol.
    """

    def __init__(self, *, limits: ServerLimits, turned_away: Callable[[str], None], **uvicorns: Any) -> None:
        super().__init__(**uvicorns)
        self.conn = _Parser(h11.SERVER, HEAD_BYTES)
        self._limits = limits
        self._turned_away = turned_away
        self._seconds = {
            Awaited.HEAD: limits.head_seconds,
            Awaited.NEXT: limits.idle_seconds,
            Awaited.REST: LINGER_SECONDS,
            Awaited.READER: limits.read_seconds,
            Awaited.CLOSE: LINGER_SECONDS,
        }
        self._timer: asyncio.TimerHandle | None = None
        self.awaited = Awaited.HEAD
        self.since = 0.0

    # --- events -------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Starts the clock; makes room if there are too many connections."""
        super().connection_made(transport)
        self._wait(Awaited.HEAD)
        if len(self.connections) > self._limits.connections:
            self._make_room()

    def data_received(self, data: bytes) -> None:
        """Reads on even if the client has sent its next request already, so as to notice when it leaves."""
        super().data_received(data)
        if self.flow.read_paused and len(self.conn.trailing_data[0]) < HEAD_BYTES and not self._has_body():
            self.flow.resume_reading()
        self._look()

    def on_response_complete(self) -> None:
        """Waits for the next request."""
        super().on_response_complete()
        self._look()

    def pause_writing(self) -> None:
        """Starts the clock of a client that does not read."""
        super().pause_writing()
        self._look()

    def resume_writing(self) -> None:
        """Stops the clock of the reader."""
        super().resume_writing()
        self._look()

    def timeout_keep_alive_handler(self) -> None:
        """Does nothing, because `_late` replaces uvicorn's own clock."""

    def shutdown(self) -> None:
        """Closes after the current answer; at once if there is no whole request."""
        if self.transport.is_closing():
            return
        if self.awaited is Awaited.BODY:
            self._refuse("stopping", 503, "the server is stopping")
        else:
            super().shutdown()
            self._look()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stops the clock."""
        super().connection_lost(exc)
        if self._timer is not None:
            self._timer.cancel()

    def send_400_response(self, msg: str) -> None:
        """Answers a request that is not HTTP, in the words of h11's error, which is being handled."""
        error = sys.exc_info()[1]
        self._refuse("protocol", getattr(error, "error_status_hint", 400), f"not understood: {error or msg}")

    def _should_upgrade(self) -> bool:
        return False  # uvicorn's own method would log a line for each attempt.

    # --- clocks -------------------------------------------------------------------------------

    def _look(self) -> None:
        """Starts another clock if the connection now waits for something else."""
        if (now := self._awaits()) is not self.awaited:
            self._wait(now)

    def _awaits(self) -> Awaited:
        theirs, ours = self.conn.their_state, self.conn.our_state
        if self.transport.is_closing():
            return Awaited.CLOSE
        if self.flow.write_paused:
            return Awaited.READER
        if theirs is h11.IDLE:
            fresh = self.cycle is None or self.conn.trailing_data[0]
            return Awaited.HEAD if fresh else Awaited.NEXT
        if theirs is h11.SEND_BODY:
            return Awaited.BODY if ours in (h11.SEND_RESPONSE, h11.SEND_BODY) else Awaited.REST
        return Awaited.ANSWER

    def _has_body(self) -> bool:
        """Whether the data that is held back is a body, which the handlers will read."""
        return self.conn.their_state is h11.SEND_BODY or bool(self.cycle and self.cycle.body)

    def _wait(self, awaited: Awaited) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self.awaited, self.since = awaited, self.loop.time()
        seconds = self._seconds.get(awaited)
        self._timer = None if seconds is None else self.loop.call_later(seconds, self._late)

    def _late(self) -> None:
        if self.awaited is Awaited.HEAD and self.conn.trailing_data[0]:
            self._refuse("slow", 408, f"no whole request after {self._limits.head_seconds:g} seconds")
        elif self.awaited in (Awaited.HEAD, Awaited.NEXT):
            self.transport.close()
        else:
            self._turned_away("slow")
            self.transport.abort()
        self._look()

    # --- cutting and refusing -----------------------------------------------------------------

    def _make_room(self) -> None:
        """Cuts the connection that waits longest for its client, of the peer with the most such ones."""
        waiting = [
            one
            for one in self.connections
            if isinstance(one, Connection) and one is not self and one.awaited is not Awaited.ANSWER
        ]
        if not waiting:
            self._refuse("connections", 503, f"{self._limits.connections} connections are open; come again")
            return
        held = Counter(one.peer for one in waiting)
        chosen = max(waiting, key=lambda one: (held[one.peer], -one.since))
        self._turned_away("connections")
        self.connections.discard(chosen)  # At once, because other new connections count it before it is gone.
        chosen.transport.abort()

    @property
    def peer(self) -> str:
        """The client's address."""
        return self.client[0] if self.client else ""

    def _refuse(self, reason: str, status: int, message: str) -> None:
        """Answers with the reason, if no answer has begun, and closes the connection."""
        self._turned_away(reason)
        if self.conn.our_state not in (h11.IDLE, h11.SEND_RESPONSE):
            self.transport.abort()
            return
        if self.cycle is not None:  # Its handler must not answer any more.
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        kind = "server_error" if status >= 500 else "invalid_request_error"
        body = json.dumps(error_body(message, kind)).encode()
        headers = [
            ("content-type", "application/json"),
            ("content-length", str(len(body))),
            ("connection", "close"),
        ]
        events = (h11.Response(status_code=status, headers=headers), h11.Data(data=body), h11.EndOfMessage())
        for event in events:
            self.transport.write(self.conn.send(event))
        self.transport.close()
        self._look()
