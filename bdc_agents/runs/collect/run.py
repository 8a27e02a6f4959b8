"""Collect: search every problem of some data sets, and keep the traces.

A run can be killed at any moment. The same call resumes it: problems that are done stay done, and a
search that was cut off takes the replies it had from the cache.
"""

import asyncio
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

from bdc_agents.config import Budget, SearchConfig, Settings, StoreConfig
from bdc_agents.errors import ConfigError
from bdc_agents.runs.collect.configuration import describe, pool_of
from bdc_agents.runs.collect.coordinator import OnTrace, TraceFile
from bdc_agents.runs.collect.engine import CollectConfig, Engine, OpenRun, local_engine
from bdc_agents.runs.collect.left_out import LeftOut, summary, write_left_out
from bdc_agents.runs.collect.progress import Progress, amounts
from bdc_agents.runs.collect.resume import open_collection, reconcile
from bdc_agents.runs.collect.selection import Filter, Selection, select_jobs
from bdc_agents.runs.collect.worker import WorkerConfig
from bdc_agents.runs.jobs.sqlite import JOBS_FILE, SqliteJobs
from bdc_agents.runs.jobs.table import JobTable, Pooled, Spent, Totals
from bdc_agents.runs.sharing.blocks import learns
from bdc_agents.runs.sharing.pool import Pool, first_share
from bdc_agents.runs.signals import graceful
from bdc_agents.sandbox.modules import missing_packages
from bdc_agents.search.round.budget import caps_on_calls
from bdc_agents.types import UNJUDGED, Frozen, content_hash

CACHE_FOLDER = "cache"
"""Folder of the replies where the settings turn the cache off: without it, a killed run would pay twice."""
PROGRESS_SECONDS = 0.5
"""Time between two progress reports: often enough for a person who watches; two short queries each."""
DOUBTS_TOLD = 10
"""Lines on doubtful problems that are shown: a file with a hundred has one fault a hundred times."""


class Collected(Frozen):
    """How a call of `acollect` ended.

    Args:
        folder: The run.
        ended: `complete`, `stopped`, or the cap of the run's budget that is spent.
        progress: The run at its end.
        failures: Why problems have no trace, by id.
        notes: What a person should know, one line each.
        refused: Problems without a trace whose file was changed while the run was under way.
        left_out: Rows that cannot be used; `left-out.jsonl` lists all that is not searched.
        pooled: What became of the budget that the problems share.
    """

    folder: Path
    ended: str
    progress: Progress
    failures: dict[str, str] = {}
    notes: tuple[str, ...] = ()
    refused: tuple[str, ...] = ()
    left_out: tuple[LeftOut, ...] = ()
    pooled: Pooled = Pooled()


async def acollect(
    config: CollectConfig,
    out: Path | str,
    settings: Settings,
    *,
    engine: Engine | None = None,
    on_trace: OnTrace | None = None,
    on_progress: Callable[[Progress], None] | None = None,
    on_note: Callable[[str], None] | None = None,
    stop: asyncio.Event | None = None,
) -> Collected:
    """Searches problems and keeps their traces in a run folder; resumes a run that was cut off.

    Several processes may collect into one folder: they share the work.

    Args:
        config: What is collected.
        out: The run folder.
        settings: Settings of the searches, the agents and the sandbox.
        engine: Does the work; None searches in this process.
        on_trace: Called with each finished problem's trace.
        on_progress: Called with the progress of the run, twice a second.
        on_note: Called with each line that a person should know.
        stop: Set it to end the run: no new problem starts and running ones are given up. The next
            call redoes them from the cached replies.

    Raises:
        UsageError: If the data sets, filters or settings cannot be used, or the folder holds a run
            of another configuration.
        BDCError: If no agent answers any more, or the table or the disk fails.
    """
    began = time.monotonic()
    opened = await asyncio.to_thread(
        _open, config, Path(out), settings, on_trace or (lambda _: None), on_note or (lambda _: None)
    )
    opened.stop = stop or opened.stop
    reporting = asyncio.create_task(_report(opened, began, on_progress)) if on_progress else None
    try:
        cap = await _within_seconds(opened, engine or local_engine(), began)
        return await _conclude(opened, cap, began)
    finally:
        if reporting:
            reporting.cancel()
            with suppress(asyncio.CancelledError):
                await reporting
        opened.threads.shutdown()
        opened.table.close()


def collect(
    config: CollectConfig,
    out: Path | str,
    settings: Settings,
    *,
    engine: Engine | None = None,
    on_trace: OnTrace | None = None,
    on_progress: Callable[[Progress], None] | None = None,
    on_note: Callable[[str], None] | None = None,
    on_stop: Callable[[int], None] | None = None,
) -> tuple[Collected, int | None]:
    """`acollect` for callers that are not asynchronous, ended gracefully by Ctrl-C or SIGTERM.

    Args:
        config, out, settings, engine, on_trace, on_progress, on_note: As for `acollect`.
        on_stop: Called with the signal that ends the run; a second one ends the process at once.

    Returns:
        What `acollect` returns, and the signal that ended it, if any.
    """

    async def run() -> tuple[Collected, int | None]:
        with graceful(on_stop) as stop:
            collected = await acollect(
                config,
                out,
                settings,
                engine=engine,
                on_trace=on_trace,
                on_progress=on_progress,
                on_note=on_note,
                stop=stop.event,
            )
        return collected, stop.signal if collected.ended == "stopped" else None

    return asyncio.run(run())


def _open(
    config: CollectConfig, out: Path, settings: Settings, on_trace: OnTrace, on_note: Callable[[str], None]
) -> OpenRun:
    """Opens the run folder and fills its table with the jobs."""
    names = config.agents or tuple(settings.agents)
    filters = [Filter.parse(text) for text in config.filters]
    selection = select_jobs(
        config.datasets,
        data=config.data,
        filters=filters,
        shuffle_seed=config.shuffle_seed,
        untested=settings.search.self_tests,
    )
    members = selection.jobs[: config.limit]
    pool = Pool(whole=config.pool, each=settings.budget)
    first = first_share(config.pool, len(members), settings.budget) if pool else settings.budget
    asked = describe(
        settings,
        names,
        config.datasets,
        config.filters,
        config.shuffle_seed,
        config.learn,
        pool_of(config.pool, members),
    )
    folder, notes = open_collection(out, asked)
    write_left_out(folder, [*selection.left_out, *_untried(selection)])
    notes += summary(selection.left_out)
    if pool:
        notes += _of_pool(config.pool, first, len(members), settings.search)
    if selection.without_tests:
        left = len(selection.without_tests)
        notes.append(f"{left} of the problems have no public test and are left out")
    if selection.interactive:
        notes.append(f"left out, since no test can judge a dialogue: {', '.join(selection.interactive)}")
    notes += (*selection.unmatched, *selection.doubts[:DOUBTS_TOLD])
    if len(selection.doubts) > DOUBTS_TOLD:
        notes.append(f"... and {len(selection.doubts) - DOUBTS_TOLD} more such lines on other problems")
    if missing := missing_packages(selection.packages, settings.sandbox.packages):
        notes.append(missing)
    if not settings.store.cache:
        kept = StoreConfig(cache=True, path=folder / CACHE_FOLDER)
        settings = settings.model_copy(update={"store": kept})
    table = _table(config, folder, asked, learns=config.learn and learns(settings.search), pool=pool)
    traces = TraceFile(folder, rounds=bool(pool))
    table.add(selection.jobs)
    notes += reconcile(table, traces, selection.jobs, owns=config.table is None)
    for note in notes:
        on_note(note)
    worker = WorkerConfig(
        search=settings.search,
        budget=settings.budget,
        lineage=asked,
        data=config.data,
        concurrency=config.concurrency,
    )
    return OpenRun(
        folder=folder,
        settings=settings,
        config=config,
        worker=worker,
        table=table,
        traces=traces,
        on_trace=on_trace,
        on_note=on_note,
        stop=asyncio.Event(),
        threads=ThreadPoolExecutor(1, thread_name_prefix="bdc-jobs"),
        selected={job.id: job for job in selection.jobs},
        notes=notes,
        left_out=selection.left_out,
    )


def _untried(selection: Selection) -> Iterator[LeftOut]:
    """The problems that a search has nothing to aim at for."""
    yield from (LeftOut(where=one, reason=UNJUDGED["interactive"]) for one in selection.interactive)
    yield from (LeftOut(where=one, reason="it has no public test") for one in selection.without_tests)


def _of_pool(pool: Budget, first: Budget, problems: int, search: SearchConfig) -> list[str]:
    """What a person should know of a pool before it is used."""
    caps = caps_on_calls(pool)
    each = amounts({name: getattr(first, name) for name in caps})
    notes = [
        f"{amounts(caps)} for {problems} problems together: at first {each} for each; those that are not "
        "solved then go on with what the others left"
    ]
    if search.rollouts is not None:
        notes.append(
            f"rollouts = {search.rollouts} under [search] ends searches, whatever is left; leave it out"
        )
    return notes


def _table(
    config: CollectConfig, folder: Path, asked: Mapping[str, Any], *, learns: bool, pool: Pool
) -> JobTable:
    if config.table is None:
        return SqliteJobs(folder / JOBS_FILE, limit=config.limit, learns=learns, pool=pool)
    if not config.table.startswith(("postgresql://", "postgres://")):
        raise ConfigError(
            f"not a job table: {config.table!r:.40}; write postgresql://USER@HOST/DATABASE, or leave it out"
        )
    from bdc_agents.runs.jobs.postgres import PostgresJobs

    run = f"{folder.name}-{content_hash(repr(asked))}"
    return PostgresJobs(config.table, run, limit=config.limit, learns=learns, pool=pool)


async def _within_seconds(opened: OpenRun, engine: Engine, began: float) -> str | None:
    """Runs the engine, and stops it when the time of this command is up."""
    seconds = opened.config.budget.seconds
    if seconds is None:
        return await engine(opened)
    late = False

    def end() -> None:
        nonlocal late
        late = True
        opened.stop.set()

    timer = asyncio.get_running_loop().call_later(max(0.0, began + seconds - time.monotonic()), end)
    try:
        cap = await engine(opened)
    finally:
        timer.cancel()
    return "seconds" if late else cap


async def _conclude(opened: OpenRun, cap: str | None, began: float) -> Collected:
    progress = await _progress(opened, began)
    ended = "complete" if not progress.totals.open else cap or "stopped"
    failures = await asyncio.to_thread(opened.table.failures)
    pooled = await asyncio.to_thread(opened.table.pooled)
    return Collected(
        folder=opened.folder,
        ended=ended,
        progress=progress,
        failures=failures,
        refused=tuple(sorted(opened.refused & failures.keys())),
        notes=tuple(opened.notes),
        left_out=opened.left_out,
        pooled=pooled,
    )


async def _report(opened: OpenRun, began: float, on_progress: Callable[[Progress], None]) -> None:
    while True:
        on_progress(await _progress(opened, began))
        await asyncio.sleep(PROGRESS_SECONDS)


async def _progress(opened: OpenRun, began: float) -> Progress:
    def numbers() -> tuple[Totals, Spent]:
        return opened.table.totals(), opened.table.spent()

    totals, spent = await asyncio.get_running_loop().run_in_executor(opened.threads, numbers)
    return Progress(
        totals=totals,
        spent=spent,
        done_here=opened.done_here,
        running=opened.running(),
        seconds=time.monotonic() - began,
        seconds_each=opened.seconds_each,
        loads=dict(opened.loads()),
        stopping=opened.stop.is_set(),
    )


__all__ = ["CollectConfig", "Collected", "acollect", "collect"]
