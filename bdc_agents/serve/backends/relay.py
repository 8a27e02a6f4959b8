"""Shared by the backends: passes pieces of replies between threads, and collects them into whole replies."""

import asyncio
import threading
from collections.abc import AsyncGenerator, Callable, Coroutine, Sequence
from concurrent.futures import Future
from contextlib import aclosing, suppress
from typing import Any, TypeVar

from bdc_agents.errors import BDCError, ModelError, unknown
from bdc_agents.serve.backends.protocol import ChatPiece, ChatReply, ChatRequest

T = TypeVar("T")
Emit = Callable[[ChatPiece | Exception], None]
"""Takes each piece of a reply, or the error; called on any thread."""
CLOSED = "the backend is closed; open the library again"


class Relay:
    """Hands the pieces of one reply to the event loop that made the relay."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._pieces: asyncio.Queue[ChatPiece | Exception] = asyncio.Queue()

    def emit(self, piece: ChatPiece | Exception) -> None:
        """See `Emit`."""
        with suppress(RuntimeError):  # The loop is closed, so nobody waits.
            self._loop.call_soon_threadsafe(self._pieces.put_nowait, piece)

    async def pieces(self) -> AsyncGenerator[ChatPiece]:
        """The pieces, up to the one with the whole reply. Raises the error, if there is one."""
        while True:
            piece = await self._pieces.get()
            if isinstance(piece, Exception):
                raise piece
            yield piece
            if piece.reply is not None:
                return


class LoopThread:
    """An event loop on its own thread, for connections and locks that belong to one loop."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._lock = threading.Lock()
        self._closed = False

    def start(self, work: Coroutine[Any, Any, T]) -> "Future[T]":
        """Starts work in the loop. Cancelling the future cancels the work.

        Raises:
            BDCError: If the loop is closed.
        """
        with self._lock:
            if self._closed:
                work.close()
                raise BDCError(CLOSED)
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                threading.Thread(target=_run, args=(self._loop,), name="bdc-backend", daemon=True).start()
            return asyncio.run_coroutine_threadsafe(work, self._loop)

    async def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Runs work in the loop and returns its result."""
        return await asyncio.wrap_future(self.start(work))

    async def close(self, last: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Cancels running work, does the last work and ends the loop.

        Args:
            last: The last work; not called if the loop never started.
        """
        with self._lock:
            already, self._closed = self._closed, True
            loop = self._loop
        if loop is None or already:
            return

        async def end() -> None:
            running = asyncio.all_tasks() - {asyncio.current_task()}
            for task in running:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)
            await last()

        await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(end(), loop))
        loop.call_soon_threadsafe(loop.stop)


def _run(loop: asyncio.AbstractEventLoop) -> None:
    loop.run_forever()
    loop.run_until_complete(loop.shutdown_asyncgens())  # Also lets sockets finish closing.
    loop.close()


async def whole_replies(
    stream: Callable[[ChatRequest], AsyncGenerator[ChatPiece]], requests: Sequence[ChatRequest]
) -> list[ChatReply]:
    """The replies of a backend's streams, in order. If one fails, or the call is cancelled, all end."""
    work = [asyncio.ensure_future(_whole(stream(request))) for request in requests]
    try:
        return list(await asyncio.gather(*work))
    except BaseException:
        for reply in work:
            reply.cancel()
        await asyncio.gather(*work, return_exceptions=True)
        raise


async def _whole(stream: AsyncGenerator[ChatPiece]) -> ChatReply:
    async with aclosing(stream) as pieces:
        async for piece in pieces:
            if piece.reply is not None:
                return piece.reply
    raise AssertionError("a stream ends with its reply")


def check_experts(request: ChatRequest, known: Sequence[str]) -> None:
    """Makes sure that the experts of a request exist.

    Raises:
        ModelError: If one does not.
    """
    asked = request.experts
    named = () if asked is None else (asked,) if isinstance(asked, str) else asked.experts
    for name in named:
        if name not in known:
            raise ModelError(unknown("expert", name, known))
