"""The driver's side of one Ray node: answers what its worker asks, and sees it end or vanish."""

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import suppress
from typing import Any, Protocol

from bdc_agents.agents.cache import ReplyCache
from bdc_agents.errors import BDCError
from bdc_agents.runs.endpoints import Load
from bdc_agents.runs.ray_calls import Answer, Call, Ended, NodePlan, Polled

log = logging.getLogger(__name__)

Method = Callable[..., Coroutine[Any, Any, Any]]
WAITS = "reserve"
"""The method that may wait for what other nodes do."""


class NodeLost(Exception):
    """A node or its worker has vanished."""


class Node(Protocol):
    """A `NodeWorker` on some machine; every method raises `NodeLost` where that is gone."""

    async def start(self, plan: NodePlan) -> None:
        """See `NodeWorker`."""
        ...

    async def poll(self) -> Polled:
        """See `NodeWorker`."""
        ...

    async def answer(self, answers: Sequence[Answer]) -> None:
        """See `NodeWorker`."""
        ...

    async def stop(self) -> None:
        """See `NodeWorker`."""
        ...

    async def kill(self) -> None:
        """Ends its process; one that is gone is no error."""
        ...


class Side(Protocol):
    """What the driver knows of one node's part of a run."""

    @property
    def methods(self) -> Mapping[str, Method]:
        """What its worker may call."""
        ...

    async def lost(self) -> None:
        """Gives back all that the node still holds: it is gone, or has ended."""
        ...


class NodeSession:
    """One node's part of a run.

    Args:
        node: Its worker.
        side: In whose name the node holds its work.
        replies: Kept for all nodes.
    """

    def __init__(self, node: Node, side: Side, replies: ReplyCache | None) -> None:
        self._node = node
        self._side = side
        self._replies = replies
        self._serving = set[asyncio.Task[None]]()
        self.loads: Mapping[str, Load] = {}
        self.running = 0
        self.started = False
        self._begun = time.monotonic()
        self._methods = {**side.methods, "reply": self._reply, "keep": self._keep}

    @property
    def seconds(self) -> float:
        """Since it was made."""
        return time.monotonic() - self._begun

    async def run(self, plan: NodePlan) -> Ended:
        """Serves the node until its worker ends; what it held goes back in any case.

        Raises:
            NodeLost: If it vanishes.
        """
        try:
            await self._node.start(plan)
            self.started = True
            while True:
                polled = await self._node.poll()
                self.loads, self.running = polled.loads, polled.running
                for call in polled.calls:
                    self._begin(call)
                if polled.ended is not None:
                    return polled.ended
        finally:
            self.running = 0
            await self._close()

    async def stop(self) -> None:
        """Asks the worker to give up what runs; `run` then returns."""
        with suppress(NodeLost):
            await self._node.stop()

    def _begin(self, call: Call) -> None:
        task = asyncio.create_task(self._serve(call), name=call.method)
        self._serving.add(task)
        task.add_done_callback(self._serving.discard)

    async def _serve(self, call: Call) -> None:
        try:
            answer = Answer(number=call.number, value=await self._methods[call.method](*call.arguments))
        except Exception as error:
            log.debug("%s", call.method, exc_info=True)
            known = isinstance(error, BDCError | OSError)
            reason = str(error) if known else f"{type(error).__name__}: {error}"
            answer = Answer(number=call.number, error=reason)
        with suppress(NodeLost):
            await self._node.answer([answer])

    async def _close(self) -> None:
        """Finishes what the node handed over, and gives back what it still held."""
        await self._node.kill()
        for task in self._serving:
            if task.get_name() == WAITS:  # on behalf of nobody now
                task.cancel()
        await asyncio.gather(*self._serving, return_exceptions=True)
        await self._side.lost()

    async def _reply(self, key: str) -> Any:
        return await self._replies.get(key) if self._replies else None

    async def _keep(self, key: str, reply: Any) -> None:
        if self._replies:
            await self._replies.put(key, reply)
