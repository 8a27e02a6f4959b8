"""Spreads any kind of run over the nodes of a Ray cluster, with a worker on each."""

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import reduce
from operator import add
from typing import Protocol

from bdc_agents.agents.cache import ReplyCache
from bdc_agents.agents.protocol import Reply
from bdc_agents.config import StoreConfig
from bdc_agents.errors import BDCError
from bdc_agents.runs.collect.endpoints import Load
from bdc_agents.runs.ray.cluster import RayCluster
from bdc_agents.runs.ray.desk import Actor, Desk, Method, NodeLost, Service
from bdc_agents.runs.ray.node import NodePlan, NodeWorker

log = logging.getLogger(__name__)

LOOK_SECONDS = 2.0
"""Time between two looks at the nodes of the cluster: a new node waits no longer, and a look is one small
query."""
STOP_SECONDS = 30.0
"""Time for the workers to give up what runs before they are ended. Chosen, not measured: sandboxes wind up in
seconds."""
MOST_LOSSES = 3
"""Workers that may vanish from one node, each soon after its start, before it gets no more: one loss may be
chance, three are the node's fault."""
SOON_SECONDS = 600.0
"""A worker that lasted longer did real work; its loss starts a new count."""
NODELESS_SECONDS = 300.0
"""Time without any node before the run is given up: a cluster that grows on demand needs minutes to start
one."""


class Side(Protocol):
    """The driver's side of one node's part of a run, with the methods that its worker calls."""

    async def lost(self) -> None:
        """Gives back all that the node still holds, after it vanished or ended."""
        ...


class _Part:
    """One node's part of a run, as the driver sees it.

    Args:
        side: The driver's side, under whose name the node holds its work.
    """

    def __init__(self, side: Side) -> None:
        self.side = side
        self.begun = time.monotonic()
        self.actor: Actor | None = None
        self.at_work = False
        """Whether its worker has started, which it does when the node has a core free."""
        self.loads: Mapping[str, Load] = {}
        self.running = 0

    async def report(self, loads: Mapping[str, Load], running: int) -> None:
        """Takes a worker's report of its loads and running searches."""
        self.at_work, self.loads, self.running = True, loads, running

    async def stop(self) -> None:
        """Asks the worker to give up what runs."""
        if self.actor is not None:
            with suppress(NodeLost):
                await self.actor.call("stop")


class Spread:
    """A run on the nodes of a cluster, for as long as there is work.

    Args:
        cluster: The cluster.
        worker: Class of the worker that each node runs.
        plan: Plan that each node gets.
        side: Makes the driver's side of a node.
        called: The side's methods that workers may call.
        store: Settings of the cache that keeps the replies of all nodes.
        stop: Set when the run shall end.
        tell: Called with a line for each node that is lost or cannot work.
    """

    def __init__(
        self,
        cluster: RayCluster,
        worker: type[NodeWorker],
        plan: NodePlan,
        side: Callable[[], Side],
        called: Sequence[str],
        *,
        store: StoreConfig,
        stop: asyncio.Event,
        tell: Callable[[str], None],
    ) -> None:
        self._cluster = cluster
        self._worker = worker
        self._plan = plan
        self._side = side
        self._called = called
        self._stopped = stop
        self._told = tell
        self._replies = ReplyCache.open(store)
        self._parts: dict[str, _Part] = {}
        self._tasks: dict[asyncio.Task[str | None], str] = {}
        self._alive: Mapping[str, str] = {}
        self._names: dict[str, str] = {}
        self._losses = Counter[str]()
        self._refused: dict[str, BDCError] = {}
        self._over = False
        self._cap: str | None = None

    async def run(self) -> str | None:
        """Works until nothing is left or the run shall stop; returns the cap that is spent, or None.

        Raises:
            BDCError: If no node can work any more, or the cluster or the desk is gone.
        """
        stopping = asyncio.create_task(self._stopped.wait())
        try:
            async with Service(await self._cluster.start(Desk)) as service:
                try:
                    await self._work(service, stopping)
                finally:
                    await self._stop()
            return self._cap
        finally:
            stopping.cancel()
            if self._replies:
                self._replies.close()

    async def _work(self, service: Service, stopping: asyncio.Task[bool]) -> None:
        worked = time.monotonic()
        while not stopping.done():
            if not self._over:
                await self._open_parts(service)
            if self._over and not self._at_work():
                return  # Nothing is left for nodes whose worker has not started yet.
            if self._tasks:
                worked = time.monotonic()
            else:
                self._check_hope(worked)
            waited = [*self._tasks, service.lost, stopping]
            await asyncio.wait(waited, timeout=LOOK_SECONDS, return_when=asyncio.FIRST_COMPLETED)
            if service.lost.done():
                raise BDCError(
                    f"the process by which workers reach this one is lost ({service.lost.exception()}); the "
                    "same command goes on"
                )
            for task in [task for task in self._tasks if task.done()]:
                self._ended(self._tasks.pop(task), task)

    def _at_work(self) -> bool:
        return any(self._parts[node_id].at_work for node_id in self._tasks.values())

    async def _open_parts(self, service: Service) -> None:
        """Starts a worker on every node that has none."""
        self._alive = await self._cluster.nodes()
        self._names |= self._alive
        for node_id in self._alive:
            if node_id in self._tasks.values() or node_id in self._refused:
                continue
            part = self._parts[node_id] = _Part(self._side())
            self._tasks[asyncio.create_task(self._do(part, node_id, service))] = node_id

    async def _do(self, part: _Part, node_id: str, service: Service) -> str | None:
        """Runs one node's part until its worker ends; gives back what it held in any case.

        Raises:
            NodeLost: If the worker vanishes.
            BDCError: If it can do no more.
        """
        methods: dict[str, Method] = {name: getattr(part.side, name) for name in self._called}
        methods |= {"reply": self._reply, "keep": self._keep, "report": part.report}
        line = service.admit(methods)
        try:
            part.actor = await self._cluster.start(self._worker, node_id)
            return await part.actor.call("run", self._plan, line)
        finally:
            if part.actor is not None:
                await part.actor.kill()
            await service.dismiss(line)  # First finish what it has handed over, then give the rest back.
            part.running = 0
            await part.side.lost()

    async def _reply(self, key: str) -> Reply | None:
        return await self._replies.get(key) if self._replies else None

    async def _keep(self, key: str, reply: Reply) -> None:
        if self._replies:
            await self._replies.put(key, reply)

    def _check_hope(self, worked: float) -> None:
        """Raises if no node works and none is likely to."""
        if self._alive and self._refused.keys() >= self._alive.keys():
            last = list(self._refused.values())[-1]
            raise type(last)(f"no Ray node can work on this run: {last}")
        if time.monotonic() - worked > NODELESS_SECONDS:
            raise BDCError(
                f"no Ray node had a core for a worker for {NODELESS_SECONDS:.0f} s; start one with ray "
                "start, and the same command goes on"
            )

    def _ended(self, node_id: str, task: asyncio.Task[str | None]) -> None:
        """Handles the end of a node's part."""
        name = self._names.get(node_id, node_id)
        try:
            cap = task.result()
        except NodeLost as lost:
            lasted = time.monotonic() - self._parts.pop(node_id).begun
            self._losses[node_id] = 1 if lasted > SOON_SECONDS else self._losses[node_id] + 1
            self._tell(f"the worker on Ray node {name} is lost; others do its problems ({lost})")
            if self._losses[node_id] >= MOST_LOSSES:
                reason = f"the worker on node {name} was lost {MOST_LOSSES} times: {lost}"
                self._refused[node_id] = BDCError(reason)
            return
        except BDCError as error:
            self._refused[node_id] = type(error)(f"node {name}: {error}")
            self._tell(f"Ray node {name} does not work on this run: {error}")
            return
        self._over = True
        self._cap = self._cap or cap

    def _tell(self, text: str) -> None:
        self._told(text)
        log.warning("%s", text)

    async def _stop(self) -> None:
        """Ends all parts: gracefully, and by force after `STOP_SECONDS`."""
        begun = {task: part for task, node in self._tasks.items() if (part := self._parts[node]).at_work}
        asked = [asyncio.create_task(part.stop()) for part in begun.values()]
        if asked:
            await asyncio.wait([*asked, *begun], timeout=STOP_SECONDS)
        for task in [*asked, *self._tasks]:
            task.cancel()
        await asyncio.gather(*asked, *self._tasks, return_exceptions=True)

    def loads(self) -> Mapping[str, Load]:
        """What the endpoints do, by agent, over all nodes."""
        loads: dict[str, list[Load]] = {}
        for part in self._parts.values():
            for agent, load in part.loads.items():
                loads.setdefault(agent, []).append(load)
        return {agent: reduce(add, parts) for agent, parts in loads.items()}

    def running(self) -> int:
        """Searches, or other jobs, that are under way."""
        return sum(part.running for part in self._parts.values())
