"""Engines do the work of a run: the one of this process, and the type that all have."""

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import field_validator

from bdc_agents.agents import Agent, load_agents
from bdc_agents.config import Budget, Settings
from bdc_agents.runs.collect.coordinator import OnTrace, TableCoordinator, TraceFile
from bdc_agents.runs.collect.endpoints import Load, metered
from bdc_agents.runs.collect.left_out import LeftOut
from bdc_agents.runs.collect.progress import ENOUGH, RECENT, round_line
from bdc_agents.runs.collect.worker import Worker, WorkerConfig
from bdc_agents.runs.jobs.table import Job, JobTable, Pooled
from bdc_agents.runs.sharing.pool import shareable
from bdc_agents.sandbox import Executor, create_executor
from bdc_agents.types import Given, Trace


class CollectConfig(Given):
    """What is collected, and how.

    Args:
        datasets: Data sets, as `select_jobs` takes them.
        agents: Names for `load_agents`; empty for all that are configured.
        data: Folder of the data sets.
        filters: Such as `difficulty=introductory`; see `Filter`.
        shuffle_seed: Puts the problems into a random order.
        limit: The most problems, from the start of that order; may be raised later.
        budget: Caps on the whole run. Calls, tokens and money count what all commands on the run
            really spent, without cached replies; seconds count this command alone.
        pool: Calls, tokens or money of all problems together: those that are not solved go on with what the
            others left. Cached replies count, as in the budget of one problem.
        concurrency: Searches at once; None for as many as keep the endpoints busy.
        table: A Postgres URL of the job table, for several machines; None for a file of the run.
            Each machine names its own folder, which is called the same everywhere and gets the
            traces of what was searched there.
        learn: Whether later problems start from what moves gave on earlier ones, by blocks; see
            `runs.blocks`. False starts all alike.
    """

    datasets: tuple[str, ...]
    agents: tuple[str, ...] = ()
    data: Path | None = None
    filters: tuple[str, ...] = ()
    shuffle_seed: int | None = None
    limit: int | None = None
    budget: Budget = Budget()
    pool: Budget = Budget()
    concurrency: int | None = None
    table: str | None = None
    learn: bool = True

    @field_validator("pool")
    @classmethod
    def _no_time(cls, value: Budget) -> Budget:
        return shareable(value)


@dataclass
class OpenRun:
    """An open run, as an engine gets it.

    Args:
        folder: The run folder.
        settings: Settings of the searches, with the reply cache in its place.
        config: What is collected.
        worker: Configuration of each worker; engines of several machines change its `data`.
        table, traces: Owned by this process.
        selected: The jobs as they were selected, by id.
        refused: Problems that turned out to be none that can be used.
        on_trace: Called with every trace that comes in.
        on_note: Called with each line that a person should know.
        stop: Set when the run shall end.
        loads: Set by the engine: returns the load of each endpoint, by agent.
        running: Set by the engine: returns how many searches are under way.
        left_out: Rows that cannot be used.
    """

    folder: Path
    settings: Settings
    config: CollectConfig
    worker: WorkerConfig
    table: JobTable
    traces: TraceFile
    on_trace: OnTrace
    on_note: Callable[[str], None]
    stop: asyncio.Event
    threads: ThreadPoolExecutor
    selected: Mapping[str, Job] = field(default_factory=dict[str, Job])
    refused: set[str] = field(default_factory=set[str])
    loads: Callable[[], Mapping[str, Load]] = dict
    running: Callable[[], int] = int
    ended: set[str] = field(default_factory=set[str])
    round: int = 1
    recent: deque[float] = field(default_factory=lambda: deque(maxlen=RECENT))
    notes: list[str] = field(default_factory=list)
    left_out: tuple[LeftOut, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """The agents, as `load_agents` takes them."""
        return self.config.agents or tuple(self.settings.agents)

    def coordinator(self) -> TableCoordinator:
        """A coordinator with an owner of its own: one for each worker."""
        return TableCoordinator(
            self.table,
            self.traces,
            self.config.budget,
            on_trace=self._took,
            threads=self.threads,
            selected=self.selected,
            refused=self.refused,
            on_round=self._began,
        )

    @property
    def done_here(self) -> int:
        """Problems that ended since this command began, in one round or several."""
        return len(self.ended)

    @property
    def seconds_each(self) -> float | None:
        """Mean seconds of the last problems; None while there are too few."""
        if len(self.recent) < ENOUGH:
            return None
        return (time.monotonic() - self.recent[0]) / len(self.recent)

    def _took(self, trace: Trace) -> None:
        self.ended.add(trace.problem.id)
        self.recent.append(time.monotonic())
        self.on_trace(trace)

    def _began(self, pooled: Pooled) -> None:
        """Tells of a round of the pool, once for all workers."""
        if pooled.rounds > self.round:
            self.round = pooled.rounds
            self.on_note(round_line(pooled))


Engine = Callable[[OpenRun], Awaitable[str | None]]
"""Works on a run until nothing is left or it shall stop; returns the budget's cap that is spent, or None."""


def local_engine(agents: Sequence[Agent] | None = None, executor: Executor | None = None) -> Engine:
    """The engine that searches in this process.

    Args:
        agents: Agents of the caller; None for those of the settings.
        executor: Sandbox of the caller; None for the strongest one of this machine.
    """

    async def run(opened: OpenRun) -> str | None:
        async with AsyncExitStack() as stack:
            sandbox = executor or create_executor(opened.settings.sandbox)
            if executor is None:
                stack.push_async_callback(sandbox.aclose)
            mine = list(agents) if agents is not None else load_agents(opened.settings, opened.names)
            coordinator = opened.coordinator()
            endpoints = metered(mine, opened.settings, opened.names, coordinator, opened.config.budget)
            if agents is None:
                for endpoint in endpoints:
                    stack.push_async_callback(endpoint.aclose)
            worker = Worker(coordinator, endpoints, sandbox, opened.worker)
            opened.loads, opened.running = worker.loads, lambda: worker.running
            await _until_stopped(worker, opened.stop)
            return worker.cap

    return run


async def _until_stopped(worker: Worker, stop: asyncio.Event) -> None:
    async def watch() -> None:
        await stop.wait()
        worker.stop()

    watching = asyncio.create_task(watch())
    try:
        await worker.run()
    finally:
        watching.cancel()
