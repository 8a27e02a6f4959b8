import asyncio
import pickle
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest

from bdc_agents.agents import load_agents
from bdc_agents.errors import BDCError
from bdc_agents.runs import ray_node, ray_spread
from bdc_agents.runs.ray_calls import Answer, NodePlan, Polled
from bdc_agents.runs.ray_node import NodeWorker
from bdc_agents.runs.ray_session import NodeLost
from bdc_agents.testing import ScriptedExecutor


def over_the_wire(value: Any) -> Any:
    return pickle.loads(pickle.dumps(value))


class FakeNode:
    """A `NodeWorker` in this process that can be cut off; all that comes and goes is pickled."""

    def __init__(self, worker: type[NodeWorker], agents: Any, executor: Any) -> None:
        self.worker = worker(agents, executor)
        self.gone = asyncio.Event()
        self.delivered: list[Any] = []

    async def _call(self, method: Callable[..., Any], *values: Any) -> Any:
        if self.gone.is_set():
            raise NodeLost("the machine is off")
        self.delivered += values
        call = asyncio.create_task(method(*over_the_wire(values)))
        gone = asyncio.create_task(self.gone.wait())
        await asyncio.wait([call, gone], return_when=asyncio.FIRST_COMPLETED)
        gone.cancel()
        if not call.done() or self.gone.is_set():
            call.cancel()
            raise NodeLost("the machine is off")
        return over_the_wire(call.result())

    async def start(self, plan: NodePlan) -> None:
        await self._call(self.worker.start, plan)

    async def poll(self) -> Polled:
        return await self._call(self.worker.poll)

    async def answer(self, answers: Sequence[Answer]) -> None:
        await self._call(self.worker.answer, answers)

    async def stop(self) -> None:
        await self._call(self.worker.stop)

    async def kill(self) -> None:
        self.gone.set()
        if self.worker._working:
            self.worker._working.cancel()


class Full(FakeNode):
    """A node without a core free for a worker."""

    async def start(self, plan: NodePlan) -> None:
        await asyncio.sleep(3600)


class FakeCluster:
    """Nodes in this process.

    Args:
        names: Of those that are there; more may join, or be lost.
    """

    def __init__(self, *names: str) -> None:
        self.alive = {name: name for name in names}
        self.opened: list[tuple[str, FakeNode]] = []
        self.executor = ScriptedExecutor(lambda job: 0.0)  # each search uses all its calls
        self.agents: Callable[..., Any] = load_agents
        self.gone = False
        self.full: set[str] = set()

    async def nodes(self) -> Mapping[str, str]:
        if self.gone:
            raise BDCError("the Ray cluster does not answer any more")
        return dict(self.alive)

    async def open(self, node_id: str, worker: type[NodeWorker]) -> FakeNode:
        node = (Full if node_id in self.full else FakeNode)(worker, self.agents, self.executor)
        self.opened.append((node_id, node))
        return node

    async def lose(self, name: str) -> None:
        self.alive.pop(name, None)
        await next(node for node_id, node in reversed(self.opened) if node_id == name).kill()


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray_spread, "LOOK_SECONDS", 0.05)
    monkeypatch.setattr(ray_node, "POLL_SECONDS", 0.05)


@pytest.fixture
def nodes() -> type[FakeCluster]:
    """Makes a cluster of nodes in this process, by their names."""
    return FakeCluster
