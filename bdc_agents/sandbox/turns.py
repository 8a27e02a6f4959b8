"""`Turns`: a semaphore for several event loops and threads, in which groups take turns."""

import asyncio
import threading
from collections import OrderedDict, deque
from contextlib import suppress


class Turns:
    """Like `asyncio.Semaphore`, but bound to no event loop, and with groups that take turns.

    Args:
        size: How many may hold a slot at once.
    """

    def __init__(self, size: int) -> None:
        self._free = size
        self._lock = threading.Lock()
        self._waiting: OrderedDict[str, deque[asyncio.Future[None]]] = OrderedDict()

    async def take(self, group: str) -> None:
        """Waits for a slot.

        Args:
            group: Group of the caller; each waiting group gets one slot before any gets its second.
        """
        with self._lock:
            if self._free:
                self._free -= 1
                return
            future = asyncio.get_running_loop().create_future()
            self._waiting.setdefault(group, deque()).append(future)
        try:
            await future
        except asyncio.CancelledError:
            if not self._withdraw(group, future) and future.done() and not future.cancelled():
                self.give()
            raise

    def give(self) -> None:
        """Gives a slot back, to the next in turn."""
        with self._lock:
            future = self._next()
            if future is None:
                self._free += 1
                return
        try:
            future.get_loop().call_soon_threadsafe(self._grant, future)
        except RuntimeError:  # The event loop of the next one is closed.
            self.give()

    def _next(self) -> asyncio.Future[None] | None:
        if not self._waiting:
            return None
        group, futures = self._waiting.popitem(last=False)
        future = futures.popleft()
        if futures:
            self._waiting[group] = futures
        return future

    def _grant(self, future: asyncio.Future[None]) -> None:
        if future.done():  # Cancelled meanwhile.
            self.give()
        else:
            future.set_result(None)

    def _withdraw(self, group: str, future: asyncio.Future[None]) -> bool:
        with self._lock, suppress(ValueError):
            futures = self._waiting.get(group, deque())
            futures.remove(future)
            if not futures:
                self._waiting.pop(group, None)
            return True
        return False
