"""Runs an evaluation: every solver on every problem. Each row is kept as soon as it is made."""

import asyncio
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from bdc_agents.config import Budget
from bdc_agents.errors import BDCError, ConfigError
from bdc_agents.evaluate.config import EvalConfig
from bdc_agents.evaluate.order import Order, Shared
from bdc_agents.evaluate.results import Key, Point, Results, Row, all_passed
from bdc_agents.evaluate.solvers.protocol import (
    FRESH,
    Answer,
    Continuing,
    Solver,
    Spent,
    Start,
    all_used,
)
from bdc_agents.runs import lineage_of
from bdc_agents.runs.hidden import score_hidden
from bdc_agents.sandbox.protocol import Executor
from bdc_agents.search.round.budget import caps_on_calls
from bdc_agents.search.round.calls import derive_seed
from bdc_agents.search.round.set_aside import silence
from bdc_agents.types import Frozen, Hidden, Task, Trace, Verdict, content_hash

FAILURES_ALLOWED = 5
"""Consecutive rows without any agent's answer, after which the evaluation ends: the endpoints are down, and
going on would only fill the table with failures. Chosen, not measured."""


class Unanswered(Frozen):
    """A row that could not be made, because no agent answered."""

    problem: str
    solver: str
    sample: int
    reason: str

    @property
    def key(self) -> tuple[str, str, int]:
        """That of the row."""
        return self.problem, self.solver, self.sample


class Report(Frozen):
    """The result of a run of an evaluation, which several runs may complete.

    Args:
        wanted: All rows of the evaluation.
        made: Rows that this run made.
        unanswered: Rows for which no agent answered.
        interrupted: Whether a person stopped it.
    """

    wanted: int
    made: int
    unanswered: tuple[Unanswered, ...] = ()
    interrupted: bool = False


class Job(Frozen, arbitrary_types_allowed=True):
    """One row to make.

    Args:
        start: What the solver starts from.
    """

    task: Task
    solver: Solver
    sample: int
    start: Start = FRESH

    @property
    def key(self) -> Key:
        """That of its row."""
        return self.task.problem.id, self.solver.name, self.sample


def jobs(config: EvalConfig, tasks: Sequence[Task], solvers: Sequence[Solver]) -> Iterator[Job]:
    """Every row of an evaluation: all solvers on one problem, then the next one."""
    for task in tasks:
        for solver in solvers:
            for sample in range(1 if solver.repeats else config.samples):
                yield Job(task=task, solver=solver, sample=sample)


def learning(config: EvalConfig, solvers: Sequence[Solver]) -> list[str]:
    """The solvers that start from what moves gave on earlier problems."""
    return [one.name for one in solvers if config.learn and isinstance(one, Continuing) and one.learns]


def shared(config: EvalConfig, budget: Budget, solvers: Sequence[Solver]) -> Shared | None:
    """The pool that the problems of each solver share; None where each has its own budget.

    Args:
        config: With the pool.
        budget: Of one problem.
        solvers: All of them.

    Raises:
        ConfigError: If a solver cannot go on with more.
    """
    if not caps_on_calls(config.pool):
        return None
    lifted: dict[str, frozenset[str]] = {}
    for one in solvers:
        if not isinstance(one, Continuing):
            raise ConfigError(
                f"solver {one.name!r} cannot go on with more of a budget that problems share; leave it out, "
                "or give each problem its own (--calls)"
            )
        lifted[one.name] = one.lifted
    return Shared(pool=config.pool, each=budget, lifted=lifted)


def lineage(record: Mapping[str, Any], tasks: Sequence[Task]) -> dict[str, Any]:
    """What rows depend on besides the configuration: the problems, the prompts, the models."""
    came_from = lineage_of(" ".join(record["eval"]["datasets"]), record)
    return {
        "problems": len(tasks),
        "problems_hash": problems_hash(tasks),
        "prompts": came_from.prompts,
        "models": came_from.models,
    }


def problems_hash(tasks: Sequence[Task]) -> str:
    """A hash of a problem set: of what solvers see, and of the numbers of hidden tests."""
    shown = json.dumps([task.problem.model_dump(mode="json") for task in tasks])
    return content_hash(f"{shown}{[len(task.hidden) for task in tasks]}")


async def evaluate(
    config: EvalConfig,
    tasks: Sequence[Task],
    solvers: Sequence[Solver],
    executor: Executor,
    results: Results,
    on_row: Callable[[Row | Unanswered], None] = lambda _: None,
    budget: Budget | None = None,
) -> Report:
    """Makes every row that is missing.

    Cancelling it, as Ctrl-C does, ends it; finished rows are kept. A row for which no agent answers is left
    to a later run. After `FAILURES_ALLOWED` such rows in a row the evaluation ends.

    Args:
        config: Samples, seed and concurrency.
        tasks: The problems, with the hidden tests that score the programs.
        solvers: Solvers with distinct names.
        executor: Runs programs on the hidden tests.
        results: The folder of the evaluation.
        on_row: Takes each row as it is made.
        budget: Of one problem, which it gets first where problems share a pool.

    Raises:
        ConfigError: If a solver cannot go on with more of a pool.
        BDCError: If the sandbox fails or the disk is full.
    """
    wanted = {job.key: job for job in jobs(config, tasks, solvers)}
    pool = shared(config, budget or Budget(), solvers)
    order = Order([*wanted], results, learning(config, solvers), pool)
    visit = _Visit(config, wanted, order, executor, results, on_row)
    interrupted = False
    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(config.concurrency):
                group.create_task(visit.work())
    except asyncio.CancelledError:
        if (current := asyncio.current_task()) is not None:
            current.uncancel()
        interrupted = True
    except ExceptionGroup as group:
        raise _first(group) from None
    return Report(
        wanted=len(wanted), made=visit.made, unanswered=tuple(visit.unanswered), interrupted=interrupted
    )


def _first(group: ExceptionGroup[Exception]) -> Exception:
    """One of several errors at once: one of ours where there is one."""
    flat = [error for error in group.exceptions if not isinstance(error, ExceptionGroup)]
    return next((error for error in flat if isinstance(error, BDCError)), flat[0] if flat else group)


class _Visit:
    """The workers of one run, and what they share."""

    def __init__(
        self,
        config: EvalConfig,
        jobs: Mapping[Key, Job],
        order: Order,
        executor: Executor,
        results: Results,
        on_row: Callable[[Row | Unanswered], None],
    ) -> None:
        self._config = config
        self._jobs = jobs
        self._order = order
        self._ended = asyncio.Event()
        self._at_work = 0
        self._executor = executor
        self._results = results
        self._on_row = on_row
        self._in_a_row = 0
        self.made = 0
        self.unanswered: list[Unanswered] = []

    async def work(self) -> None:
        """Takes one job after another until none is left, or the agents are gone."""
        while self._in_a_row < FAILURES_ALLOWED:
            self._ended.clear()
            lot = self._order.take()
            if lot is None and not self._at_work:
                return
            if lot is None:  # Others wait for a problem that is still at work.
                await self._ended.wait()
                continue
            self._at_work += 1
            try:
                await self._one(self._jobs[lot.key].model_copy(update={"start": lot.start}))
            finally:
                self._at_work -= 1
                self._ended.set()

    async def _one(self, job: Job) -> None:
        made = await make(job, self._config.seed, self._executor)
        if isinstance(made, Unanswered):
            self._in_a_row += 1
            self._order.missed(made.key)
            self.unanswered.append(made)
            self._on_row(made)
            return
        self._in_a_row = 0
        self._results.add(*made)
        self._order.made(made[0])
        self.made += 1
        self._on_row(made[0])


async def make(job: Job, seed: int, executor: Executor) -> tuple[Row, Trace] | Unanswered:
    """Makes one row: has the solver solve the problem, and scores its programs.

    Args:
        job: The row to make.
        seed: Seed of the evaluation.
        executor: Runs programs on the hidden tests.

    Returns:
        The row with its trace; an `Unanswered` if no agent answered.

    Raises:
        BDCError: If the sandbox fails.
    """
    own = derive_seed(seed, job.solver.name, job.sample)
    if isinstance(job.solver, Continuing):
        answer = await job.solver.solve(job.task.problem, own, job.start)
    else:
        answer = await job.solver.solve(job.task.problem, own)
    trace = answer.trace
    if reasons := "; ".join(silence(trace.solution)):
        return Unanswered(
            problem=job.task.problem.id, solver=job.solver.name, sample=job.sample, reason=reasons
        )
    row = await score(job, answer, executor)
    return row, trace.model_copy(update={"settings": trace.settings | {"sample": job.sample}})


async def score(job: Job, answer: Answer, executor: Executor) -> Row:
    """The row of an answer. Each of its programs runs once on the hidden tests."""
    trace, solution = answer.trace, answer.trace.solution
    programs = [trace.programs[candidate.program] for candidate in answer.candidates]
    codes = [*dict.fromkeys((*(program.code for program in programs), solution.code))]
    counts = await asyncio.gather(*(score_hidden(job.task, code, executor) for code in codes))
    hidden = dict(zip(codes, counts, strict=True))
    points = [
        _point(candidate.after, all_passed(_public(job.task, program.verdict), hidden[program.code]))
        for candidate, program in zip(answer.candidates, programs, strict=True)
    ]
    public = _public(job.task, solution.verdict)
    if solution.code and (not programs or programs[-1].code != solution.code):
        points.append(_point(all_used(trace), all_passed(public, hidden[solution.code])))
    problem = job.task.problem
    return Row(
        problem=problem.id,
        difficulty=problem.difficulty,
        tags=problem.tags,
        solver=job.solver.name,
        sample=job.sample,
        code=solution.code,
        public=public,
        hidden=hidden[solution.code],
        usage=solution.usage,
        seconds=solution.seconds,
        stopped_by=solution.stopped_by,
        points=tuple(points),
        beliefs=trace.beliefs,
        caps=job.start.caps,
    )


def _point(after: Spent, solved: bool) -> Point:
    return Point(
        calls=after.calls,
        tokens=after.tokens,
        seconds=round(after.seconds, 3),
        cost=after.cost,
        solved=solved,
    )


def _public(task: Task, verdict: Verdict | None) -> Hidden:
    """Counts of the problem's own public tests, without those that agents wrote."""
    total = len(task.problem.public_tests)
    results = verdict.results if verdict and total else ()
    return Hidden(passed=sum(result.outcome == "passed" for result in results), total=total)
