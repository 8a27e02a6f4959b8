"""The coordinator of a run: owns the job table and the trace file, and serves the workers."""

import asyncio
import logging
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from bdc_agents.config import Budget
from bdc_agents.runs.collect.endpoints import Load
from bdc_agents.runs.folder import TRACE_FILE, write_trace
from bdc_agents.runs.jobs.owners import new_owner
from bdc_agents.runs.jobs.table import Job, JobTable, Pooled, Summary, problem_hash
from bdc_agents.search.policy.beliefs import read_beliefs
from bdc_agents.types import Problem, Trace, Usage
from bdc_agents.untrusted import read_json

log = logging.getLogger(__name__)
T = TypeVar("T")
OnTrace = Callable[[Trace], None]


class TraceFile:
    """The trace file of a run: one record a problem, also with several writers.

    Args:
        folder: A folder of `open_run`.
        rounds: Whether problems get a record for each round of a budget that all share; the last one counts.
    """

    def __init__(self, folder: Path, *, rounds: bool = False) -> None:
        self._folder = folder
        self._rounds = rounds
        self._known: dict[str, Summary] = {}
        self._history: list[tuple[str, Summary]] = []
        self._edited: set[str] = set()
        self._offset = 0
        self._line = 0

    def read(self) -> Mapping[str, Summary]:
        """Summaries of the traces in the file, by problem; reads only what is new.

        A line that is no trace is left out, with a warning that names it.
        """
        with (self._folder / TRACE_FILE).open("rb") as file:
            file.seek(self._offset)
            for line in file:
                if not line.endswith(b"\n"):
                    break  # A process is writing this line, or was killed while it did.
                self._offset += len(line)
                self._line += 1
                if line.strip():
                    self._take(line)
        return self._known

    def history(self) -> Sequence[tuple[str, Summary]]:
        """What the table is made from again: the last summary of each problem, or of each of its rounds."""
        there = self.read()
        return self._history if self._rounds else [*there.items()]

    def edited(self, jobs: Iterable[Job]) -> set[str]:
        """Problems that were edited after their trace was made; each may get a new trace."""
        there = self.read()
        self._edited = {job.id for job in jobs if job.id in there and _is_edited(job, there[job.id])}
        return set(self._edited)

    def add(self, trace: Trace) -> Summary:
        """Appends a trace, unless its problem has one. Only one process at a time may call this."""
        problem = trace.problem.id
        there = self.read().get(problem)
        if there is None or problem in self._edited or (self._rounds and there.caps != _caps(trace.settings)):
            write_trace(self._folder, trace)
            self._edited.discard(problem)
        return self.read()[problem]

    def _take(self, line: bytes) -> None:
        try:
            data = read_json(line, finite=False)
            # A problem that was edited and searched again counts by its last trace.
            summary = self._known[data["problem"]["id"]] = _summary(data)
            if self._rounds:
                self._history.append((data["problem"]["id"], summary))
        except (ValueError, KeyError, TypeError, AttributeError):
            log.warning(
                "%s:%d: not a trace, and left out: its problem is searched again",
                self._folder / TRACE_FILE,
                self._line,
            )


def _is_edited(job: Job, done: Summary) -> bool:
    """Whether the problem or its hidden tests changed since its trace was made."""
    shown = bool(job.content) and job.content not in done.contents
    return shown or bool(job.hidden and done.hidden and job.hidden != done.hidden)


def _summary(data: Mapping[str, Any]) -> Summary:
    usage = [Usage.model_validate(used) for used in data["solution"]["usage"].values()]
    used = sum(usage, Usage())
    problem = Problem.model_validate(data["problem"])
    return Summary(
        contents=(problem_hash(problem), problem_hash(problem.model_copy(update={"public_tests": ()}))),
        hidden=str((data.get("lineage") or {}).get("hidden") or ""),
        solved=data["solution"]["solved"],
        kept=bool((data.get("decision") or {}).get("kept")),
        calls=used.calls,
        tokens=used.tokens,
        money=used.cost or 0.0,
        told=read_beliefs(data.get("beliefs") or {}),
        caps=_caps(data.get("settings") or {}),
        stopped_by=data["solution"].get("stopped_by"),
    )


def _caps(settings: Mapping[str, Any]) -> Budget:
    """The budget that a trace's search ended with; none where its settings tell of none."""
    try:
        return Budget.model_validate(settings.get("budget") or {})
    except ValidationError:
        return Budget()


class TableCoordinator:
    """A `Coordinator` over a job table and a trace file of this process.

    Args:
        table: The jobs.
        traces: Where finished problems go.
        budget: Budget of the whole run.
        owner: Name under which the leases are held.
        on_trace: Called with every trace that is handed over.
        threads: The one thread that touches the table; shared by the coordinators of one table.
        on_round: Called with what became of the pool, when jobs of a round after the first are leased.
        selected: The jobs as they were selected, by id; no table keeps the hashes of their problems.
        refused: Takes the ids of problems that cannot be used.
    """

    def __init__(
        self,
        table: JobTable,
        traces: TraceFile,
        budget: Budget | None = None,
        *,
        owner: str | None = None,
        on_trace: OnTrace | None = None,
        threads: ThreadPoolExecutor | None = None,
        selected: Mapping[str, Job] | None = None,
        refused: set[str] | None = None,
        on_round: Callable[[Pooled], None] | None = None,
    ) -> None:
        self.owner = owner or new_owner()
        self.loads: Mapping[str, Load] = {}
        self._table = table
        self._traces = traces
        self._budget = budget or Budget()
        self._selected = selected or {}
        self._refused = refused if refused is not None else set[str]()
        self._on_trace = on_trace
        self._on_round = on_round
        self._round = 1
        # A thread, since the loop must not wait for a disk; only one, since the table locks anyway.
        self._threads = threads or ThreadPoolExecutor(1, thread_name_prefix="bdc-jobs")
        self._capped = any(cap is not None for name, cap in self._budget if name != "seconds")
        self._held = 0
        self._settled = asyncio.Condition()
        self._unsettled = Usage()

    async def _do(self, work: Callable[..., T], *values: Any, **named: Any) -> T:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, lambda: work(*values, **named))

    async def lease(self, count: int) -> Sequence[Job] | None:
        """See `Coordinator`."""
        if jobs := await self._do(self._table.lease, self.owner, count):
            number = max(len(job.caps) for job in jobs)
            if self._on_round and number > self._round:
                self._round = number
                self._on_round(await self._do(self._table.pooled))
            return [self._as_selected(job) for job in jobs]
        return [] if (await self._do(self._table.totals)).open else None

    def _as_selected(self, job: Job) -> Job:
        """A job with the hashes that it was selected with, and what the table says that it starts from."""
        selected = self._selected.get(job.id)
        told = {"known": job.known, "caps": job.caps, "state": job.state}
        return selected.model_copy(update=told) if selected else job

    async def heartbeat(self, ids: Collection[str], loads: Mapping[str, Load]) -> Collection[str]:
        """See `Coordinator`."""
        self.loads = loads
        await self._settle_rest()
        return await self._do(self._table.heartbeat, self.owner, ids)

    async def done(self, job_id: str, trace: Trace, state: str = "") -> None:
        """See `Coordinator`."""
        stored = await self._do(
            self._table.finish,
            *(self.owner, job_id, lambda: self._traces.add(trace)),
            caps=_caps(trace.settings),
            state=state,
        )
        await self._settle_rest()
        if stored and self._on_trace:
            self._on_trace(trace)

    async def failed(self, job_id: str, reason: str, *, final: bool = False) -> None:
        """See `Coordinator`."""
        log.info("%s: %s", job_id, reason)
        if final:
            self._refused.add(job_id)
        await self._do(self._table.fail, self.owner, job_id, reason, final=final)

    async def release(self, ids: Collection[str]) -> None:
        """See `Coordinator`."""
        await self._settle_rest()
        await self._do(self._table.release, self.owner, ids)

    async def lost(self) -> None:
        """Gives back all that the owner holds, after it has vanished."""
        await self._do(self._table.lose, self.owner)

    async def reserve(self, bound: Usage) -> str | None:
        """See `Purse`. Waits where only the bounds of calls in flight stand in the way: they take less."""
        if not self._capped:
            return None
        async with self._settled:
            while cap := await self._do(self._table.reserve, self.owner, bound, self._budget):
                if not self._held:
                    return cap
                await self._settled.wait()
            self._held += 1
        return None

    async def settle(self, bound: Usage, used: Usage) -> None:
        """See `Purse`. Without a cap, the use is written when the next problem ends."""
        if not self._capped:
            self._unsettled += used if used.calls > used.cached else Usage()
            return
        await self._do(self._table.settle, self.owner, bound, used)
        async with self._settled:
            self._held -= 1
            self._settled.notify_all()

    async def _settle_rest(self) -> None:
        used, self._unsettled = self._unsettled, Usage()
        if used.calls:
            await self._do(self._table.settle, self.owner, Usage(), used)
