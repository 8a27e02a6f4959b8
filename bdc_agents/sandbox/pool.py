"""The pool of warm workers: starts them when needed, reuses and renews them, leaves none behind."""

import asyncio
import os
import shutil
import tempfile
import weakref
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from bdc_agents.errors import SandboxError

from .tiers import Tier
from .turns import Turns
from .worker import Worker

_JOBS_PER_WARM_WORKER = 1000
"""Jobs before a worker is renewed, in case it gathers memory. As a start: its start is shared by so many jobs
that it costs nothing."""


class Pool:
    """The workers of one executor.

    Args:
        tier: How they are isolated.
        size: Workers at once.
    """

    def __init__(self, tier: Tier, size: int) -> None:
        self._tier, self._size = tier, size
        self._begin_empty()
        self._jobs_per_worker = _JOBS_PER_WARM_WORKER if tier.setup["warm"] else 1
        self.closed = False
        forked = weakref.WeakMethod(self._forked)
        os.register_at_fork(after_in_child=lambda: (method := forked()) and method())

    def _begin_empty(self) -> None:
        self._turns = Turns(self._size)
        self._workers: set[Worker] = set()
        self._idle: list[Worker] = []
        self._at_end = weakref.finalize(self, _end_all, self._workers)

    def _forked(self) -> None:
        """Forgets the workers after a fork: two processes that use one worker would mix up its answers."""
        self._at_end.detach()
        for worker in self._workers:
            worker.let_go()
        self._begin_empty()

    @asynccontextmanager
    async def worker(self, group: str) -> AsyncIterator[Worker]:
        """A worker that is ready for a job; it is ended if the caller's block raises.

        Args:
            group: The job's group, which waits for its turn.

        Raises:
            SandboxError: If no worker can be started, or the pool is closed.
        """
        await self._turns.take(group)
        try:
            async with self._folder() as work, self._used(work) as worker:
                yield worker
        finally:
            self._turns.give()

    async def aclose(self) -> None:
        """Ends all workers; callers that wait for one or use one get an error."""
        self.closed = True
        idle, self._idle = self._idle, []
        for worker in list(self._workers):
            worker.terminate()
        await asyncio.gather(*(self._end(worker) for worker in idle))

    @asynccontextmanager
    async def _folder(self) -> AsyncIterator[str]:
        """The folder that programs may write to: in their own file system, or else one made for them."""
        if self._tier.setup["isolated"]:
            yield self._tier.setup["work"]
            return
        folder = await asyncio.to_thread(tempfile.mkdtemp, prefix="bdc-program-")
        try:
            yield folder
        finally:
            await asyncio.shield(asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True))

    @asynccontextmanager
    async def _used(self, work: str) -> AsyncIterator[Worker]:
        worker = await self._ready(work)
        done = False
        try:
            yield worker
            done = True
        finally:
            worker.jobs += 1
            if worker.jobs == self._jobs_per_worker:
                worker.spent = True
            if done and not worker.spent and not self.closed:
                self._idle.append(worker)
            else:
                await asyncio.shield(self._end(worker))

    async def _ready(self, work: str) -> Worker:
        """An idle worker that still lives, or a new one."""
        while True:
            if self.closed:
                raise SandboxError("this executor is closed; create another")
            fresh = not self._idle
            worker = await self._start(work) if fresh else self._idle.pop()
            try:
                await worker.ready()
                return worker
            except BaseException as error:
                await asyncio.shield(self._end(worker))
                if fresh or not isinstance(error, SandboxError):
                    raise

    async def _start(self, work: str) -> Worker:
        """Starts a worker in a thread, since a fork and exec would block the event loop."""
        starting = asyncio.create_task(asyncio.to_thread(self._begin, work))
        try:
            return await asyncio.shield(starting)
        except asyncio.CancelledError:
            (begun,) = await asyncio.gather(starting, return_exceptions=True)
            if isinstance(begun, Worker):
                await self._end(begun)
            raise

    def _begin(self, work: str) -> Worker:
        worker = Worker(self._tier, work)
        self._workers.add(worker)
        return worker

    async def _end(self, worker: Worker) -> None:
        await worker.end()
        self._workers.discard(worker)


def _end_all(workers: set[Worker]) -> None:
    for worker in workers:
        worker.end_now()
