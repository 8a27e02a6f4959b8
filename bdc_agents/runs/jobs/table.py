"""The interface of job tables: which problem of a run is waiting, leased, done or failed.

    waiting ──lease──► leased ──finish──► done
       ▲                 │ └─fail, at its last try──► failed
       └──release, fail, expiry, or a holder that is gone──┘

The table outlives every process, and any number of them may work on it. Only the first to finish a job
stores its result, so a problem gets exactly one record.
"""

from collections.abc import Callable, Collection, Iterable
from typing import Protocol

from pydantic import Field

from bdc_agents.config import Budget
from bdc_agents.search.policy.beliefs import Beliefs
from bdc_agents.search.round.budget import Amount, caps_on_calls
from bdc_agents.types import Frozen, Problem, Usage, content_hash

LEASE_SECONDS = 120.0
"""How long a lease holds without a heartbeat. Four heartbeats fit, so that a pause of the network loses
none; a machine that died keeps its jobs no longer than this."""
MAX_FAILURES = 3
"""Failed tries before a job is given up: a server's trouble may pass, and each try costs calls.
Chosen, not measured."""
MAX_LOSSES = 10
"""Vanished holders before a job is given up. A kill says nothing of the job, so there may be many of
them; yet a problem that ends its process must not do so forever. Chosen, not measured."""


class Job(Frozen):
    """One problem to be searched.

    Args:
        id: The problem's address, from which it is loaded.
        dataset: The data set as the user named it, such as `mbpp:train`.
        content: The problem's `problem_hash`, where it was read. No table keeps it.
        hidden: The hash of its hidden tests, likewise.
        known: What moves gave on problems before its block, which its search starts from.
        caps: Its budgets where problems share one: of its first round, and of each that went on with more.
        state: Where its search goes on, as `runs.rounds` reads it; empty where it begins, or begins again.
    """

    id: str
    dataset: str = ""
    content: str = ""
    hidden: str = ""
    known: Beliefs = Beliefs()
    caps: tuple[Budget, ...] = ()
    state: str = ""


def problem_hash(problem: Problem) -> str:
    """The hash of a problem's content, which changes when the problem is edited.

    Labels do not count, nor do limits, which may differ on another machine.
    """
    return content_hash(problem.model_dump_json(exclude={"difficulty", "tags", "limits"}))


class Summary(Frozen):
    """The result of a finished problem in numbers.

    Args:
        contents: Hashes of the problem that was searched: as it was, and without its public tests,
            which agents may have written.
        hidden: The hash of the hidden tests that scored it; empty where unknown.
        solved: Whether its program passes the public tests.
        kept: Whether its trace may be trained on.
        told: What moves gave in its search.
        caps: The budget that it ended with.
        stopped_by: What ended its search.
    """

    contents: tuple[str, ...] = ()
    hidden: str = ""
    solved: bool = False
    kept: bool = False
    calls: int = 0
    tokens: int = 0
    money: float = 0.0
    told: Beliefs = Beliefs()
    caps: Budget = Budget()
    stopped_by: str | None = None


class Totals(Frozen):
    """The whole table in numbers; `solved` and later ones are sums over the jobs that have a trace."""

    waiting: int = 0
    leased: int = 0
    done: int = 0
    failed: int = 0
    solved: int = 0
    kept: int = 0
    calls: int = 0
    tokens: int = 0
    money: float = 0.0

    @property
    def total(self) -> int:
        """All jobs."""
        return self.waiting + self.leased + self.done + self.failed

    @property
    def open(self) -> int:
        """Jobs that are still to be done."""
        return self.waiting + self.leased


class Spent(Frozen):
    """What a run really spent; cached replies count nothing.

    Args:
        calls, tokens, money: The settled use, and the bounds of the calls in flight.
    """

    calls: int = Field(default=0, ge=0)
    tokens: int = Field(default=0, ge=0)
    money: float = Field(default=0.0, ge=0)

    def over(self, budget: Budget) -> str | None:
        """The cap that is exceeded; None where none is."""
        spent = self.model_dump()
        caps = {name: cap for name, cap in budget if cap is not None and name in spent}
        # 1e-9: the rounding error of many small amounts of money is no overspending.
        return next((name for name, cap in caps.items() if spent[name] > cap * (1 + 1e-9)), None)


class Pooled(Frozen):
    """What became of a budget that the problems share.

    Args:
        pool: The whole of it.
        used: What the problems used that have ended, and what those hold that have failed.
        rounds: How often it was shared out.
        problems: How many share it.
        budgets: Of each problem that was given more than at first, one for each round, in the order of the
            run.
        unsolved: Problems that would still go on, of those that have ended.
    """

    pool: Budget = Budget()
    used: Amount = Amount()
    rounds: int = 0
    problems: int = 0
    budgets: dict[str, tuple[Budget, ...]] = {}
    unsolved: tuple[str, ...] = ()

    @property
    def left(self) -> dict[str, float]:
        """What nobody used, by cap."""
        return {
            name: max(0, cap - getattr(self.used, name)) for name, cap in caps_on_calls(self.pool).items()
        }


class JobTable(Protocol):
    """The jobs of a run and its spending; safe for several threads and processes.

    Args of all methods:
        owner: A name of `new_owner`, under which leases and reservations are held.
    """

    def add(self, jobs: Iterable[Job]) -> int:
        """Adds jobs at the end; a known job stays as it is.

        Returns:
            How many are new.
        """
        ...

    def drop(self, keep: Collection[str]) -> int:
        """Removes the waiting and failed jobs that are not among these; returns how many."""
        ...

    def lease(self, owner: str, count: int) -> list[Job]:
        """Takes up to `count` waiting jobs, including those whose holder is gone or silent.

        Where searches learn from each other, a block of `runs.blocks` opens when all jobs before the block
        before it are done, or have failed for good. What they told is then written down, and all jobs of the
        block get it, whatever is done or tried again later.

        Where problems share a budget, those that it stopped wait again once all have ended, each with more,
        as long as there is any. What a block starts from is what was told in first rounds.
        """
        ...

    def heartbeat(self, owner: str, ids: Collection[str]) -> set[str]:
        """Prolongs leases.

        Returns:
            The jobs that the owner still holds; another owner has the rest.
        """
        ...

    def finish(
        self,
        owner: str,
        job_id: str,
        store: Callable[[], Summary],
        caps: Budget | None = None,
        state: str = "",
    ) -> bool:
        """Marks a job as done.

        Args:
            owner: Who did it, whether or not its lease still holds.
            job_id: The job.
            store: Stores the result; called while nobody else can finish the job, or not at all.
            caps: The budget that it was searched with; where problems share one, it names the round.
            state: Where its search would go on with more; kept as long as it may.

        Returns:
            False if the job was done already, or is in another round by now.
        """
        ...

    def fail(self, owner: str, job_id: str, reason: str, *, final: bool = False) -> None:
        """Counts a failed try; the job waits for the next one, or is given up.

        Args:
            owner: Who tried; nothing happens if the job has another owner by now.
            job_id: The job.
            reason: One line for people.
            final: Whether another try would fail too.
        """
        ...

    def release(self, owner: str, ids: Collection[str]) -> None:
        """Gives jobs back undone."""
        ...

    def lose(self, owner: str) -> None:
        """Takes back all that a vanished owner holds, and counts the losses."""
        ...

    def retry(self) -> int:
        """Puts all failed jobs back to waiting with their counts at zero; returns how many."""
        ...

    def found(self, summaries: Iterable[tuple[str, Summary]]) -> int:
        """Marks jobs as done whose result exists; returns how many are newly marked."""
        ...

    def reopen(self, ids: Collection[str]) -> None:
        """Puts done jobs back to waiting, whose results are lost or outdated."""
        ...

    def done(self) -> set[str]:
        """The ids of all done jobs."""
        ...

    def failures(self) -> dict[str, str]:
        """Why jobs have failed, by id."""
        ...

    def totals(self) -> Totals:
        """The table in numbers."""
        ...

    def pooled(self) -> Pooled:
        """What became of the budget that the problems share."""
        ...

    def reserve(self, owner: str, bound: Usage, budget: Budget) -> str | None:
        """Reserves the most that a call can take, if the run's caps leave room.

        Returns:
            The cap that leaves no room; None if the call is reserved.
        """
        ...

    def settle(self, owner: str, bound: Usage, used: Usage) -> None:
        """Replaces a reservation by the call's real use."""
        ...

    def spent(self) -> Spent:
        """What the run has spent, over all its processes, past ones included."""
        ...

    def close(self) -> None:
        """Closes the table."""
        ...


def fresh(used: Usage) -> Spent:
    """The part of a call's usage that was really spent, without cached replies."""
    if used.cached >= used.calls > 0:
        return Spent()
    return Spent(
        calls=used.calls - used.cached,
        tokens=used.tokens,
        money=max(0.0, (used.cost or 0.0) - used.saved),
    )
