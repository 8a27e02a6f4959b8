"""A cluster of nodes that are objects of this process: all of Ray but Ray itself."""

import asyncio
import pickle
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from itertools import count
from typing import Any

import pytest

from bdc_agents.agents import load_agents
from bdc_agents.errors import BDCError
from bdc_agents.runs.ray import node, spread
from bdc_agents.runs.ray.cluster import RayCluster
from bdc_agents.runs.ray.desk import NodeLost
from bdc_agents.testing import ScriptedExecutor


def over_the_wire(value: Any) -> Any:
    return pickle.loads(pickle.dumps(value))


CALLER = ContextVar["FakeActor | None"]("CALLER", default=None)


class FakeActor:
    """An actor in this process that can be cut off; all that comes and goes is pickled.

    Args:
        made: What its methods are called of; None where no core is free for it.
    """

    numbers = count()
    all: dict[int, "FakeActor"] = {}

    def __init__(self, made: Any) -> None:
        self.made = made
        self.gone = asyncio.Event()
        self.delivered: list[Any] = []
        self.number = next(self.numbers)
        self.all[self.number] = self

    def __reduce__(self) -> Any:
        return the_same, (self.number,)

    async def call(self, method: str, *values: Any) -> Any:
        if self.gone.is_set() or ((caller := CALLER.get()) and caller.gone.is_set()):
            raise NodeLost("the machine is off")
        self.delivered += values
        call = asyncio.create_task(self._made(method, over_the_wire(values)))
        gone = asyncio.create_task(self.gone.wait())
        await asyncio.wait([call, gone], return_when=asyncio.FIRST_COMPLETED)
        gone.cancel()
        if not call.done() or self.gone.is_set():
            call.cancel()
            call.add_done_callback(lambda done: done.cancelled() or done.exception())
            raise NodeLost("the machine is off")
        return over_the_wire(call.result())

    async def _made(self, method: str, values: tuple[Any, ...]) -> Any:
        CALLER.set(self)  # of what it calls itself
        if self.made is None:
            await asyncio.sleep(3600)
        try:
            return await getattr(self.made, method)(*values)
        except Exception as error:
            raise over_the_wire(error) from None

    async def kill(self) -> None:
        self.gone.set()


def the_same(number: int) -> FakeActor:
    return FakeActor.all[number]


class FakeCluster(RayCluster):
    """Nodes in this process.

    Args:
        names: Of those that are there; more may join, or be lost.
    """

    def __init__(self, *names: str) -> None:
        self.alive = {name: name for name in names}
        self.opened: list[tuple[str, FakeActor]] = []
        self.executor = ScriptedExecutor(lambda job: 0.0)  # each search uses all its calls
        self.agents: Callable[..., Any] = load_agents
        self.gone = False
        self.full: set[str] = set()
        self.desk: Any = None

    async def nodes(self) -> Mapping[str, str]:
        if self.gone:
            raise BDCError("the Ray cluster does not answer any more")
        return dict(self.alive)

    async def start(self, kind: type[Any], node_id: str | None = None) -> FakeActor:
        if node_id is None:
            self.desk = FakeActor(kind())
            return self.desk
        actor = FakeActor(None if node_id in self.full else kind(self.agents, self.executor))
        self.opened.append((node_id, actor))
        return actor

    async def lose(self, name: str) -> None:
        self.alive.pop(name, None)
        await next(actor for node_id, actor in reversed(self.opened) if node_id == name).kill()

    def sent(self) -> bytes:
        """All that the driver has sent to the nodes."""
        return pickle.dumps([*(actor.delivered for _, actor in self.opened), self.desk.delivered])


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spread, "LOOK_SECONDS", 0.05)
    monkeypatch.setattr(node, "REPORT_SECONDS", 0.05)


@pytest.fixture
def nodes() -> type[FakeCluster]:
    """Makes a cluster of nodes in this process, by their names."""
    return FakeCluster
