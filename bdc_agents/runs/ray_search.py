"""Searching on a Ray node: a worker whose coordinator is the driver of the run."""

import asyncio
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AsyncExitStack
from typing import Any

from bdc_agents.config import Budget
from bdc_agents.data import load_task
from bdc_agents.errors import ProblemError
from bdc_agents.runs.endpoints import Load, metered
from bdc_agents.runs.jobs import Job
from bdc_agents.runs.ray_calls import Outbox, SearchPlan
from bdc_agents.runs.ray_node import NodeWorker, data_here, until_stopped, without_data
from bdc_agents.runs.worker import Worker
from bdc_agents.sandbox import create_executor
from bdc_agents.types import Task, Trace, Usage


class DriverCoordinator:
    """A `Coordinator` whose methods are calls to the driver.

    Args:
        outbox: Carries the calls.
        budget: Of the run: without caps nothing is asked about it.
        load: From an address to a task, to see that this node has a data set.
    """

    def __init__(self, outbox: Outbox, budget: Budget, load: Callable[[str], Task]) -> None:
        self._ask = outbox.ask
        self._load = load
        self._capped = any(cap is not None for name, cap in budget if name != "seconds")
        self._seen = set[str]()

    async def lease(self, count: int) -> Sequence[Job] | None:
        """See `Coordinator`.

        Raises:
            ConfigError: If this node does not have the data: its problems go to another one.
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
        """Loads the first problem of each data set: the driver has done so with all of them."""
        if job.dataset not in self._seen:
            await asyncio.to_thread(self._load, job.id)
            self._seen.add(job.dataset)

    async def heartbeat(self, ids: Collection[str], loads: Mapping[str, Load]) -> Collection[str]:
        """See `Coordinator`."""
        return await self._ask("heartbeat", list(ids), dict(loads))

    async def done(self, job_id: str, trace: Trace) -> None:
        """See `Coordinator`."""
        await self._ask("done", job_id, trace)

    async def failed(self, job_id: str, reason: str, *, final: bool = False) -> None:
        """See `Coordinator`."""
        await self._ask("failed", job_id, reason, final)

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
    """Searches on one node; the class of the Ray actor. Its arguments are those of `NodeWorker`."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._worker: Worker | None = None

    async def _run(self, plan: SearchPlan) -> str | None:
        config = plan.worker.model_copy(update={"data": data_here(plan.data)})

        def load(address: str) -> Task:
            return load_task(address, data=config.data)

        async with AsyncExitStack() as stack:
            sandbox = self._executor or create_executor(plan.settings.sandbox)
            if self._executor is None:
                stack.push_async_callback(sandbox.aclose)
            coordinator = DriverCoordinator(self._outbox, plan.budget, load)
            endpoints = metered(self._kept_agents(plan), plan.settings, plan.names, coordinator, plan.budget)
            for endpoint in endpoints:
                stack.push_async_callback(endpoint.aclose)
            self._worker = Worker(coordinator, endpoints, sandbox, config, load)
            await until_stopped(self._worker.run(), self._stopping, self._worker.stop)
            return self._worker.cap

    def _loads(self) -> Mapping[str, Load]:
        return self._worker.loads() if self._worker else {}

    def _running(self) -> int:
        return self._worker.running if self._worker else 0
