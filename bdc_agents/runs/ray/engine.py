"""The search on the nodes of a Ray cluster; the driver owns job table and trace file.

Each node has one worker with its own agents and its own sandbox. It gets problems as addresses and
loads them from its own disk, and it finds API keys in its own environment: neither hidden tests nor
keys travel. The driver keeps the replies, so that a lost node loses only those in flight.
"""

import asyncio
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AsyncExitStack
from functools import partial
from typing import Any

from bdc_agents.config import Budget
from bdc_agents.data import load_task
from bdc_agents.errors import ProblemError
from bdc_agents.runs.collect.endpoints import Load, metered
from bdc_agents.runs.collect.engine import Engine, OpenRun
from bdc_agents.runs.collect.worker import Worker, WorkerConfig
from bdc_agents.runs.jobs.table import Job
from bdc_agents.runs.ray.cluster import RayCluster
from bdc_agents.runs.ray.connect import connected
from bdc_agents.runs.ray.desk import Line
from bdc_agents.runs.ray.node import (
    NodePlan,
    NodeWorker,
    common_plan,
    data_here,
    without_data,
)
from bdc_agents.runs.ray.spread import Spread
from bdc_agents.sandbox import create_executor
from bdc_agents.types import Task, Usage

CALLED = ("lease", "heartbeat", "done", "failed", "release", "reserve", "settle")
"""The methods of a `TableCoordinator` that workers may call."""

# --- in the driver --------------------------------------------------------------------------------


class SearchPlan(NodePlan):
    """What a node needs to search.

    Args:
        worker: Configuration of the worker.
        budget: Budget of the whole run.
    """

    worker: WorkerConfig
    budget: Budget


def ray_engine(address: str | None = None) -> Engine:
    """The engine that searches on the nodes of a Ray cluster.

    Args:
        address: As for `connected`; None starts a Ray of one node.
    """

    async def run(opened: OpenRun) -> str | None:
        plan = plan_for(opened)
        async with connected(address) as cluster:
            return await search_on(cluster, opened, plan)

    return run


async def search_on(cluster: RayCluster, opened: OpenRun, plan: SearchPlan) -> str | None:
    """Works on a run until nothing is left or it shall stop; returns the cap that is spent, or None.

    Raises:
        BDCError: If no node can work any more, or the cluster is gone.
    """
    spread = Spread(
        cluster,
        SearchNode,
        plan,
        opened.coordinator,
        CALLED,
        store=opened.settings.store,
        stop=opened.stop,
        tell=opened.notes.append,
    )
    opened.loads, opened.running = spread.loads, spread.running
    return await spread.run()


def plan_for(opened: OpenRun) -> SearchPlan:
    """The plan of a run that every node gets.

    Raises:
        ConfigError: If a key would have to travel.
    """
    common = common_plan(opened.settings, opened.names, opened.worker.data)
    return SearchPlan(**common, worker=opened.worker, budget=opened.config.budget)


# --- on a node ------------------------------------------------------------------------------------


class DriverCoordinator:
    """A `Coordinator` whose methods are calls to the driver; it spares calls that need no answer.

    Args:
        driver: Takes the calls.
        budget: Budget of the run; without caps the driver is not asked to reserve.
        load: From an address to a task, to check that this node has a data set.
    """

    def __init__(self, driver: Line, budget: Budget, load: Callable[[str], Task]) -> None:
        self._ask = driver.ask
        self.heartbeat = partial(driver.ask, "heartbeat")
        self.done = partial(driver.ask, "done")
        self.failed = partial(driver.ask, "failed")
        self._load = load
        self._capped = any(cap is not None for name, cap in budget if name != "seconds")
        self._seen = set[str]()

    async def lease(self, count: int) -> Sequence[Job] | None:
        """See `Coordinator`.

        Raises:
            ConfigError: If this node lacks the data; its problems go to other nodes.
        """
        jobs: Sequence[Job] | None = await self._ask("lease", count)
        try:
            for job in jobs or ():
                await self._check(job)
        except ProblemError as error:
            await self.release([job.id for job in jobs or ()])
            raise without_data(error) from None
        return jobs

    async def _check(self, job: Job) -> None:
        """Loads the first problem of each data set; the driver has checked them all."""
        if job.dataset not in self._seen:
            await asyncio.to_thread(self._load, job.id)
            self._seen.add(job.dataset)

    async def release(self, ids: Collection[str]) -> None:
        """See `Coordinator`."""
        if ids:
            await self._ask("release", list(ids))

    async def reserve(self, bound: Usage) -> str | None:
        """See `Purse`."""
        return await self._ask("reserve", bound) if self._capped else None

    async def settle(self, bound: Usage, used: Usage) -> None:
        """See `Purse`."""
        if self._capped or used.calls > used.cached:
            await self._ask("settle", bound, used)


class SearchNode(NodeWorker):
    """Searches on one node; the class of the Ray actor. Takes the arguments of `NodeWorker`."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._worker: Worker | None = None

    async def _run(self, plan: SearchPlan, driver: Line) -> str | None:
        config = plan.worker.model_copy(update={"data": data_here(plan.data)})

        def load(address: str) -> Task:
            return load_task(address, data=config.data)

        async with AsyncExitStack() as stack:
            sandbox = self._executor or create_executor(plan.settings.sandbox)
            if self._executor is None:
                stack.push_async_callback(sandbox.aclose)
            coordinator = DriverCoordinator(driver, plan.budget, load)
            agents = self._load_agents(plan, driver)
            endpoints = metered(agents, plan.settings, plan.names, coordinator, plan.budget)
            for endpoint in endpoints:
                stack.push_async_callback(endpoint.aclose)
            self._worker = Worker(coordinator, endpoints, sandbox, config, load)
            await self._worker.run()
            return self._worker.cap

    def _loads(self) -> Mapping[str, Load]:
        return self._worker.loads() if self._worker else {}

    def _running(self) -> int:
        return self._worker.running if self._worker else 0
