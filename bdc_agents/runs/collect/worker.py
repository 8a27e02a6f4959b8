"""The worker: takes problems from a coordinator, searches them, and hands their traces back.

The coordinator owns the job table and the trace file. A worker may run beside it or on another
machine. Problems travel as addresses; hidden tests are loaded where they are scored.
"""

import asyncio
import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol

from bdc_agents.config import Budget, SearchConfig
from bdc_agents.data import load_task
from bdc_agents.errors import BDCError, ProblemError, SandboxRefused
from bdc_agents.runs.collect.endpoints import BudgetSpent, Load, MeteredAgent, Purse
from bdc_agents.runs.hidden import examine, right_programs, score_hidden
from bdc_agents.runs.honest import observe
from bdc_agents.runs.jobs.table import LEASE_SECONDS, Job, problem_hash
from bdc_agents.runs.sharing.blocks import starting_from
from bdc_agents.runs.sharing.rounds import search_in_rounds
from bdc_agents.runs.store import decide, lineage_of
from bdc_agents.sandbox import Executor
from bdc_agents.search.round.set_aside import silence
from bdc_agents.types import Given, Task, Trace

log = logging.getLogger(__name__)

HEARTBEAT_SECONDS = LEASE_SECONDS / 4
"""Two heartbeats may be lost before the lease expires."""
POLL_SECONDS = 0.1
"""Time between two looks at the endpoints' demand while there is work. Demand changes within a search, so no
event tells of it; next to replies that take seconds, a tenth is nothing."""
IDLE_SECONDS = 1.0
"""Time between two requests for work while others do the last of it."""
SPARE = 0.25
"""Requests that should wait at the busiest endpoint, as a share of its slots: one is there when a slot gets
free. Endpoints of 8 and 32 slots are busy 99.5 % of the time until work runs out
(benchmarks/results/collect.json)."""
MOST_PER_SLOT = 4
"""The most searches at once for each slot. Searches in their sandboxes ask nobody, so without a bound a slow
sandbox would gather ever more of them. Chosen, not measured."""
SILENT_IN_A_ROW = 5
"""Searches in a row that no agent answers before the worker ends: with no endpoint left, each further problem
would only fail too. Chosen, not measured."""


class Coordinator(Purse, Protocol):
    """The owner of the job table and the trace file, as a worker sees it.

    Every method may be a call over the network.
    """

    async def lease(self, count: int) -> Sequence[Job] | None:
        """Takes up to `count` problems.

        Returns:
            The problems; an empty list if others hold all that is left, None if nothing is left.
        """
        ...

    async def heartbeat(self, ids: Collection[str], loads: Mapping[str, Load]) -> Collection[str]:
        """Reports that these problems are being worked on, and the loads of the endpoints, by agent.

        Returns:
            The problems that this worker still holds; it must give up the others.
        """
        ...

    async def done(self, job_id: str, trace: Trace, state: str = "") -> None:
        """Hands over a finished problem: its trace with decision and lineage, and where it would go on."""
        ...

    async def failed(self, job_id: str, reason: str, *, final: bool = False) -> None:
        """Reports that a problem failed; `final` if another try would fail too."""
        ...

    async def release(self, ids: Collection[str]) -> None:
        """Gives problems back undone."""
        ...


class WorkerConfig(Given):
    """What a worker needs besides its agents and sandbox; plain data.

    Args:
        search, budget: Settings for one problem.
        lineage: The settings of the run, as `lineage_of` takes them.
        data: Folder of the data sets on this machine.
        concurrency: Searches at once; None for as many as keep the endpoints busy.
    """

    search: SearchConfig = SearchConfig()
    budget: Budget = Budget()
    lineage: dict[str, Any] = {}
    data: Path | None = None
    concurrency: int | None = None


class Worker:
    """Searches problems side by side over shared agents until none is left or it is stopped.

    Args:
        coordinator: Gives out the problems and takes the traces.
        agents: Agents that all searches share.
        executor: The sandbox.
        config: Configuration of the searches.
        load: Loads the task of an address.
    """

    def __init__(
        self,
        coordinator: Coordinator,
        agents: Sequence[MeteredAgent],
        executor: Executor,
        config: WorkerConfig,
        load: Callable[[str], Task] | None = None,
    ) -> None:
        self._coordinator = coordinator
        self._agents = agents
        self._executor = executor
        self._config = config
        self._load = load or (lambda address: load_task(address, data=config.data))
        self._running: dict[str, asyncio.Task[None]] = {}
        self._starting: set[str] = set()
        self._wake = asyncio.Event()
        self._stopping = False
        self._silent: list[str] = []
        self._error: Exception | None = None
        self.cap: str | None = None
        """The cap of the run's budget that ended the work."""

    @property
    def running(self) -> int:
        """Searches that are under way."""
        return len(self._running)

    def stop(self) -> None:
        """Starts no further problem and gives the running ones up; `run` then returns."""
        self._stopping = True
        self._wake.set()

    async def run(self) -> None:
        """Works until nothing is left, the run's budget is spent, or it is stopped.

        Raises:
            BDCError: If no agent answers any more, or the sandbox or the coordinator fails for good.
        """
        beating = asyncio.create_task(self._beat())
        try:
            await self._work()
        finally:
            beating.cancel()
            await self._give_up(list(self._running))
        if self._error is not None:
            raise self._error

    async def _work(self) -> None:
        while not self._ends():
            self._wake.clear()  # Before looking for work, so that no later event is missed.
            jobs = await self._coordinator.lease(self._room()) if self._room() > 0 else []
            if jobs is None:  # Nothing is left; the last searches end.
                if not self._running:
                    return
                await self._nap(IDLE_SECONDS)
                continue
            for job in jobs:
                self._start(job)
            await self._nap(POLL_SECONDS if jobs or self._room() < 1 else IDLE_SECONDS)

    def _ends(self) -> bool:
        if self.cap and not self._running:
            return True
        return self._stopping or self._error is not None

    async def _nap(self, seconds: float) -> None:
        """Sleeps, at most until a search ends or the worker is stopped."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._wake.wait()

    def _room(self) -> int:
        """How many searches to start now, so that the busiest endpoint has a request for every slot.

        A search in its sandbox asks nobody and makes room for another. More searches than keep the
        busiest endpoint at work would only wait there.
        """
        if self.cap:
            return 0
        if self._config.concurrency is not None:
            return self._config.concurrency - len(self._running)
        most = MOST_PER_SLOT * sum(agent.slots for agent in self._agents) - len(self._running)
        wanted = (
            agent.slots + max(1, int(SPARE * agent.slots)) - agent.demand - len(self._starting)
            for agent in self._agents
        )
        return min(most, *wanted)

    # --- one problem ----------------------------------------------------------------------------

    def _start(self, job: Job) -> None:
        self._starting.add(job.id)
        task = self._running[job.id] = asyncio.create_task(self._attend(job))
        task.add_done_callback(lambda _: self._ended(job.id))

    def _ended(self, job_id: str) -> None:
        self._running.pop(job_id, None)
        self._starting.discard(job_id)
        self._wake.set()

    async def _attend(self, job: Job) -> None:
        """Works on a problem and reports the outcome; if no report gets through, the worker ends."""
        try:
            found = await self._outcome(job)
            if found is not None:
                await asyncio.shield(self._coordinator.done(job.id, *found))
        except Exception as error:
            # The result could not be handed over; the disk may be full. Going on would only lose more.
            self._end(error)
            await self._release([job.id])

    async def _outcome(self, job: Job) -> tuple[Trace, str] | None:
        """The trace of a problem, and where it would go on with more of a pool.

        None if there is none, and the coordinator knows why.
        """
        try:
            return await self._solve(job)
        except BudgetSpent as spent:
            self.cap = spent.cap
            await self._coordinator.release([job.id])
        except SandboxRefused:
            raise
        except BDCError as error:
            await self._coordinator.failed(job.id, str(error), final=isinstance(error, ProblemError))
        except Exception as error:
            log.debug("%s", job.id, exc_info=True)
            await self._coordinator.failed(job.id, f"a fault of bdc itself: {type(error).__name__}: {error}")
        return None

    async def _solve(self, job: Job) -> tuple[Trace, str]:
        task = await asyncio.to_thread(self._load_as_selected, job)
        config = self._config
        if len(job.caps) < 2:  # In later rounds it has been done.
            for line in await examine(task, self._executor):
                log.warning("%s", line)
        trace, state, silent = await search_in_rounds(
            task.problem,
            list(self._agents),
            job.caps or (config.budget,),
            executor=self._executor,
            search=starting_from(config.search, job.known),
            state=job.state,
            on_event=lambda event: self._on_event(job.id, event),
        )
        if reasons := "; ".join(silence(trace.solution)) or silent:
            self._count_silent(trace.problem.id, reasons)
            raise BDCError(f"no agent answered: {reasons}")
        self._silent.clear()
        hidden = await score_hidden(task, trace.solution.code, self._executor)
        right = await right_programs(task, trace, hidden, self._executor)
        if hidden is None:
            trace = await observe(trace, self._executor)
        lineage = lineage_of(job.dataset, config.lineage, task.hidden)
        found = {"decision": decide(trace, hidden, right), "lineage": lineage}
        return trace.model_copy(update=found), state if job.caps else ""

    def _load_as_selected(self, job: Job) -> Task:
        """Loads the task of a job.

        Raises:
            ProblemError: If it is not the one that was selected: a file may be replaced or cut off while
                its problems are searched, and no run mixes two versions of it.
        """
        changed = ProblemError(
            f"{job.dataset or job.id} was changed while the run was under way and no longer holds this as it "
            "was; the same command again searches what is there then"
        )
        try:
            task = self._load(job.id)
        except ProblemError as error:
            if not job.content:
                raise
            log.info("%s: %s", job.id, error)
            raise changed from None
        if job.content and (problem_hash(task.problem), task.hidden.digest()) != (job.content, job.hidden):
            raise changed
        return task

    def _on_event(self, job_id: str, event: Mapping[str, Any]) -> None:
        if event["type"] == "asked":
            self._starting.discard(job_id)

    def _count_silent(self, problem: str, reasons: str) -> None:
        """Ends the worker if search after search finds no agent that answers."""
        self._silent.append(problem)
        if len(self._silent) >= SILENT_IN_A_ROW:
            self._end(BDCError(f"no agent answers any more: {reasons}"))

    def _end(self, error: Exception) -> None:
        """Ends the worker; `run` raises the first such error."""
        self._error = self._error or error
        self._wake.set()

    # --- leases ---------------------------------------------------------------------------------

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(HEARTBEAT_SECONDS)
            mine = list(self._running)
            try:
                held = set(await self._coordinator.heartbeat(mine, self.loads()))
            except BDCError as error:
                log.warning("the leases could not be prolonged: %s", error)
                continue
            for job_id in mine:
                if job_id not in held and (task := self._running.get(job_id)):
                    task.cancel()

    def loads(self) -> dict[str, Load]:
        """The load of each endpoint, by agent."""
        return {agent.name: agent.load() for agent in self._agents}

    async def _give_up(self, ids: Sequence[str]) -> None:
        tasks = [task for job_id in ids if (task := self._running.get(job_id))]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._release(ids)

    async def _release(self, ids: Sequence[str]) -> None:
        try:
            await self._coordinator.release(ids)
        except Exception as error:
            log.warning("%d problems could not be given back; their leases expire: %s", len(ids), error)
