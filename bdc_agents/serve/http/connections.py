"""One connection of the server: who keeps whom waiting, and for how long.

A server that waits as long as its clients like can be filled by clients that never go on. So whatever a
connection waits for that is the client's to do has a time, and where there are too many connections,
the one whose client has kept the server waiting longest makes room.
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
"""Of a request's line and headers; what common servers take, and more."""
BODY_PIECES = 10_000
"""Of one body. Reading a piece costs the server some 8 microseconds whatever its size, and chunks of one
byte would make that 10 seconds for a megabyte."""
LINGER_SECONDS = 5.0
"""To take in an answer before the connection is cut: closed at once, it might never arrive."""


class Awaited(Enum):
    """What a connection waits for."""

    HEAD = auto()
    """The client: the line and headers of a request."""
    NEXT = auto()
    """The client: another request."""
    BODY = auto()
    """The client: the body of a request. `Guard` has its clock."""
    REST = auto()
    """The client: the end of a body to which the answer was given already."""
    READER = auto()
    """The client: that it reads on."""
    CLOSE = auto()
    """The client: that it reads the last, after which the connection is closed."""
    ANSWER = auto()
    """The server."""


class _Parser(h11.Connection):
    """Refuses bodies in so many pieces that to read them keeps the server from all else.

    And what is of another version of HTTP, which h11 would read as if it were 1.1.
    """

    _pieces = 0

    def next_event(self) -> Any:
        event = super().next_event()
        if isinstance(event, h11.Request) and not event.http_version.startswith(b"1."):
            raise h11.RemoteProtocolError("this server speaks HTTP/1.1 alone", error_status_hint=505)
        self._pieces = self._pieces + 1 if isinstance(event, h11.Data) else 0
        if self._pieces > BODY_PIECES:
            raise h11.RemoteProtocolError(f"a body in more than {BODY_PIECES} pieces", error_status_hint=413)
        return event


class Connection(H11Protocol):
    """uvicorn's connection, with a time for all that the client has to do.

    Args:
        limits: See `ServerLimits`.
        turned_away: Told why, for each connection that is cut or refused.
        uvicorns: What uvicorn gives each of its protocols.
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

    # --- what happens to it -------------------------------------------------------------------

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Makes room for itself where there is none."""
        super().connection_made(transport)
        self._wait(Awaited.HEAD)
        if len(self.connections) > self._limits.connections:
            self._make_room()

    def data_received(self, data: bytes) -> None:
        """Reads on also where a client has sent another request already, to notice that it leaves."""
        super().data_received(data)
        if self.flow.read_paused and len(self.conn.trailing_data[0]) < HEAD_BYTES and not self._has_body():
            self.flow.resume_reading()
        self._look()

    def on_response_complete(self) -> None:
        """Waits for the next request."""
        super().on_response_complete()
        self._look()

    def pause_writing(self) -> None:
        """Waits for the reader."""
        super().pause_writing()
        self._look()

    def resume_writing(self) -> None:
        """Has been read."""
        super().resume_writing()
        self._look()

    def timeout_keep_alive_handler(self) -> None:
        """Nothing: `_late` has the clocks."""

    def shutdown(self) -> None:
        """Closes once the answer is given, which is at once where a request is not there as a whole."""
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
        """Says what is no HTTP; called while h11's error is handled, whose words and status are better."""
        error = sys.exc_info()[1]
        self._refuse("protocol", getattr(error, "error_status_hint", 400), f"not understood: {error or msg}")

    def _should_upgrade(self) -> bool:
        return False  # uvicorn's own would log a line for each.

    # --- who waits for whom -------------------------------------------------------------------

    def _look(self) -> None:
        """Starts another clock where something else is waited for than before."""
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
        """Whether what is held back is a body that the handlers have yet to take."""
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

    # --- room, and the last word --------------------------------------------------------------

    def _make_room(self) -> None:
        """Cuts the connection that has waited longest for its client, of the peer that has most of them."""
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
        self.connections.discard(chosen)  # At once: more may be waiting to be let in than are cut by then.
        chosen.transport.abort()

    @property
    def peer(self) -> str:
        """The address of the other side."""
        return self.client[0] if self.client else ""

    def _refuse(self, reason: str, status: int, message: str) -> None:
        """Says why, if it is still this side's turn to say something, and closes."""
        self._turned_away(reason)
        if self.conn.our_state not in (h11.IDLE, h11.SEND_RESPONSE):
            self.transport.abort()
            return
        if self.cycle is not None:  # Its handler has no more say.
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
