"""Spreads a run over the nodes of a Ray cluster, whatever the run does: one session for each node."""

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Callable, Mapping
from functools import reduce
from operator import add

from bdc_agents.agents.cache import ReplyCache
from bdc_agents.config import StoreConfig
from bdc_agents.errors import BDCError, ConfigError
from bdc_agents.runs.endpoints import Load
from bdc_agents.runs.ray_calls import Ended, NodePlan
from bdc_agents.runs.ray_cluster import Cluster
from bdc_agents.runs.ray_node import NodeWorker
from bdc_agents.runs.ray_session import NodeLost, NodeSession, Side

log = logging.getLogger(__name__)

LOOK_SECONDS = 2.0
"""Between two looks at which nodes there are."""
STOP_SECONDS = 30.0
"""For the nodes to give up what runs."""
MOST_LOSSES = 3
"""Workers that may vanish from one node, each soon after its start, before it gets no other."""
SOON_SECONDS = 600.0
NODELESS_SECONDS = 300.0
"""Without any node to work on, before the run is given up."""


class Spread:
    """A run on the nodes of a cluster, for as long as there is work.

    Args:
        cluster: Where it is done.
        worker: What each node runs.
        plan: What each node is told.
        side: Makes the driver's side of a node.
        store: Where replies are kept for all nodes.
        stop: Set when the run shall end.
        tell: Told of nodes that are lost or cannot work.
    """

    def __init__(
        self,
        cluster: Cluster,
        worker: type[NodeWorker],
        plan: NodePlan,
        side: Callable[[], Side],
        *,
        store: StoreConfig,
        stop: asyncio.Event,
        tell: Callable[[str], None],
    ) -> None:
        self._cluster = cluster
        self._worker = worker
        self._plan = plan
        self._side = side
        self._stopped = stop
        self._told = tell
        self._replies = ReplyCache.open(store)
        self._sessions: dict[str, NodeSession] = {}
        self._tasks: dict[asyncio.Task[Ended], str] = {}
        self._alive: Mapping[str, str] = {}
        self._names: dict[str, str] = {}
        self._losses = Counter[str]()
        self._refused: dict[str, Ended] = {}
        self._over = False
        self._cap: str | None = None

    async def run(self) -> str | None:
        """Works until nothing is left or the run shall stop; returns the cap that is spent.

        Raises:
            BDCError: If no node can work any more, or the cluster is gone.
        """
        stopping = asyncio.create_task(self._stopped.wait())
        try:
            await self._work(stopping)
            return self._cap
        finally:
            stopping.cancel()
            await self._stop()
            if self._replies:
                self._replies.close()

    async def _work(self, stopping: asyncio.Task[bool]) -> None:
        worked = time.monotonic()
        while not stopping.done():
            if not self._over:
                await self._open_sessions()
            if self._over and not self._at_work():
                return  # a node that has no core free for a worker by now needs none
            if self._tasks:
                worked = time.monotonic()
            else:
                self._check_hope(worked)
            waited = [*self._tasks, stopping]
            await asyncio.wait(waited, timeout=LOOK_SECONDS, return_when=asyncio.FIRST_COMPLETED)
            for task in [task for task in self._tasks if task.done()]:
                self._ended(self._tasks.pop(task), task)

    def _at_work(self) -> bool:
        return any(self._sessions[node_id].started for node_id in self._tasks.values())

    async def _open_sessions(self) -> None:
        """Gives every node that has none a worker."""
        self._alive = await self._cluster.nodes()
        self._names |= self._alive
        for node_id in self._alive:
            if node_id in self._tasks.values() or node_id in self._refused:
                continue
            node = await self._cluster.open(node_id, self._worker)
            session = NodeSession(node, self._side(), self._replies)
            self._sessions[node_id] = session
            self._tasks[asyncio.create_task(session.run(self._plan))] = node_id

    def _check_hope(self, worked: float) -> None:
        """Raises where no node works and none is likely to."""
        if self._alive and self._refused.keys() >= self._alive.keys():
            last = list(self._refused.values())[-1]
            raise (ConfigError if last.usage else BDCError)(f"no Ray node can work on this run: {last.error}")
        if time.monotonic() - worked > NODELESS_SECONDS:
            raise BDCError(
                f"no Ray node had a core for a worker for {NODELESS_SECONDS:.0f} s; start one with ray "
                "start, and the same command goes on"
            )

    def _ended(self, node_id: str, task: asyncio.Task[Ended]) -> None:
        """Takes how a node's part ended."""
        name = self._names.get(node_id, node_id)
        try:
            ended = task.result()
        except NodeLost as lost:
            lasted = self._sessions.pop(node_id).seconds
            self._losses[node_id] = 1 if lasted > SOON_SECONDS else self._losses[node_id] + 1
            self._tell(f"the worker on Ray node {name} is lost; others do its problems ({lost})")
            if self._losses[node_id] >= MOST_LOSSES:
                reason = f"the worker on node {name} was lost {MOST_LOSSES} times: {lost}"
                self._refused[node_id] = Ended(error=reason)
            return
        if ended.error is not None:
            self._refused[node_id] = ended.model_copy(update={"error": f"node {name}: {ended.error}"})
            self._tell(f"Ray node {name} does not work on this run: {ended.error}")
            return
        self._over = True
        self._cap = self._cap or ended.cap

    def _tell(self, text: str) -> None:
        self._told(text)
        log.warning("%s", text)

    async def _stop(self) -> None:
        """Ends all sessions: gracefully, and after a while in any case."""
        sessions = {task: self._sessions[node_id] for task, node_id in self._tasks.items()}
        asked = [asyncio.create_task(session.stop()) for session in sessions.values() if session.started]
        if asked:
            begun = [task for task, session in sessions.items() if session.started]
            await asyncio.wait([*asked, *begun], timeout=STOP_SECONDS)
        for task in [*asked, *self._tasks]:
            task.cancel()
        await asyncio.gather(*asked, *self._tasks, return_exceptions=True)

    def loads(self) -> Mapping[str, Load]:
        """What the endpoints do, by agent, over all nodes."""
        loads: dict[str, list[Load]] = {}
        for session in self._sessions.values():
            for agent, load in session.loads.items():
                loads.setdefault(agent, []).append(load)
        return {agent: reduce(add, parts) for agent, parts in loads.items()}

    def running(self) -> int:
        """Searches, or whatever is worked on, that are under way."""
        return sum(session.running for session in self._sessions.values())
