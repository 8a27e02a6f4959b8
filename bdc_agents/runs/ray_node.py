"""The side of a run on a Ray node: a worker whose coordinator is the driver of the run."""

import asyncio
import os
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AsyncExitStack
from importlib.metadata import version
from pathlib import Path

from bdc_agents.agents import load_agents
from bdc_agents.agents.protocol import Agent
from bdc_agents.config import AgentConfig, Budget, Settings, StoreConfig
from bdc_agents.data import load_task
from bdc_agents.errors import BDCError, ConfigError, ProblemError, UsageError
from bdc_agents.runs.endpoints import Load, metered
from bdc_agents.runs.jobs import Job
from bdc_agents.runs.ray_calls import Answer, Ended, Outbox, Plan, Polled
from bdc_agents.runs.ray_replies import DriverReplies, KeptAgent
from bdc_agents.runs.store import prompts_hash
from bdc_agents.runs.worker import Worker
from bdc_agents.sandbox import Executor, create_executor
from bdc_agents.types import Task, Trace, Usage

POLL_SECONDS = 1.0
"""A poll that finds nothing returns after so long: with it come fresh loads."""


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
            raise ConfigError(
                f"it cannot load {error}; put the data where the driver has it, or name its folder by "
                "BDC_DATA before Ray is started there"
            ) from None
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


class NodeWorker:
    """One node's worker, as the driver calls it; the class of the Ray actor.

    Args:
        agents: From settings and names to agents.
        executor: The sandbox; None for the one that the settings ask for.
    """

    def __init__(
        self,
        agents: Callable[[Settings, Sequence[str]], Sequence[Agent]] = load_agents,
        executor: Executor | None = None,
    ) -> None:
        self._agents = agents
        self._executor = executor
        self._outbox = Outbox()
        self._ended: Ended | None = None
        self._worker: Worker | None = None
        self._stopping = False
        self._working: asyncio.Task[None] | None = None

    async def start(self, plan: Plan) -> None:
        """Starts to work; all that comes of it, refusals too, is told by `poll`."""
        self._working = asyncio.create_task(self._work(plan))

    async def poll(self) -> Polled:
        """What the worker asks since the last poll, and how it goes."""
        if self._ended is None:
            calls = await self._outbox.fetch(POLL_SECONDS)
        else:
            calls = await self._outbox.fetch(0)
        loads, running = (self._worker.loads(), self._worker.running) if self._worker else ({}, 0)
        return Polled(calls=calls, loads=loads, running=running, ended=self._ended)

    async def answer(self, answers: Sequence[Answer]) -> None:
        """Takes the driver's answers to calls."""
        self._outbox.answer(answers)

    async def stop(self) -> None:
        """Gives up what runs; the worker then ends."""
        self._stopping = True
        if self._worker:
            self._worker.stop()

    async def _work(self, plan: Plan) -> None:
        try:
            ended = Ended(cap=await self._run(plan))
        except BDCError as error:
            ended = Ended(error=str(error), usage=isinstance(error, UsageError))
        except Exception as error:
            ended = Ended(error=f"a fault of bdc itself: {type(error).__name__}: {error}")
        self._ended = ended
        self._outbox.wake()

    async def _run(self, plan: Plan) -> str | None:
        _check_versions(plan)
        if plan.folder.is_dir():
            os.chdir(plan.folder)
        config = plan.worker.model_copy(update={"data": _data_here(plan.worker.data)})

        def load(address: str) -> Task:
            return load_task(address, data=config.data)

        async with AsyncExitStack() as stack:
            sandbox = self._executor or create_executor(plan.settings.sandbox)
            if self._executor is None:
                stack.push_async_callback(sandbox.aclose)
            # Replies are kept by the driver: what a node has on its disk is lost with the node.
            bare = plan.settings.model_copy(update={"store": StoreConfig(cache=False)})
            replies = DriverReplies(self._outbox.ask)
            agents = zip(self._agents(bare, plan.names), plan.names, strict=True)
            kept = [
                KeptAgent(agent, replies, plan.settings.agents.get(name) or AgentConfig(model=name))
                for agent, name in agents
            ]
            coordinator = DriverCoordinator(self._outbox, plan.budget, load)
            endpoints = metered(kept, plan.settings, plan.names, coordinator, plan.budget)
            for endpoint in endpoints:
                stack.push_async_callback(endpoint.aclose)
            self._worker = Worker(coordinator, endpoints, sandbox, config, load)
            if self._stopping:
                return None
            await self._worker.run()
            return self._worker.cap


def _check_versions(plan: Plan) -> None:
    here = (version("bdc-agents"), prompts_hash())
    if here != (plan.package, plan.prompts):
        raise ConfigError(
            f"it has bdc-agents {here[0]} with prompts {here[1]}, the driver {plan.package} with "
            f"{plan.prompts}; install the same there"
        )


def _data_here(folder: Path | None) -> Path | None:
    """The driver's data folder where this node has it too; None leaves it to `BDC_DATA`."""
    return folder if folder is not None and folder.is_dir() else None
