"""The job table: which problem of a run is waiting, leased, done or failed; it outlives every process.

    waiting ──lease──► leased ──finish──► done
       ▲                 │ └─fail, at its last try──► failed
       └──release, fail, expiry, or a holder that is gone──┘

Any number of processes may work on one table. The first to finish a job has it; every later one is
told so, which is how a problem gets exactly one record.
"""

from collections.abc import Callable, Collection, Iterable
from typing import Protocol

from pydantic import Field

from bdc_agents.config import Budget
from bdc_agents.types import Frozen, Problem, Usage, content_hash

LEASE_SECONDS = 120.0
"""How long a lease holds without a heartbeat."""
MAX_FAILURES = 3
"""Tries that may fail before a job is given up."""
MAX_LOSSES = 10
"""Holders that may vanish before a job is given up: it may be what ends them."""


class Job(Frozen):
    """One problem to be searched.

    Args:
        id: The problem's address, from which it is loaded.
        dataset: The data set as it was asked for, such as `mbpp:train`.
        content: The hash of the problem, where it was read; see `problem_hash`. No table keeps it.
        hidden: That of its hidden tests, likewise.
    """

    id: str
    dataset: str = ""
    content: str = ""
    hidden: str = ""


def problem_hash(problem: Problem) -> str:
    """The hash of what a search is about: a problem that was edited since has another one.

    Labels do not count, nor limits, which may be set differently for another machine.
    """
    return content_hash(problem.model_dump_json(exclude={"difficulty", "tags", "limits"}))


class Summary(Frozen):
    """What is counted of a finished problem.

    Args:
        contents: The hashes of the problem that was searched: as it was, and without public tests, which
            the agents may have written.
        hidden: The hash of the hidden tests that scored it; empty where that is not known.
        solved: Whether its program passes the public tests.
        kept: Whether its trace may be trained on.
    """

    contents: tuple[str, ...] = ()
    hidden: str = ""
    solved: bool = False
    kept: bool = False
    calls: int = 0
    tokens: int = 0
    money: float = 0.0


class Totals(Frozen):
    """The whole table in numbers; the second half is summed over what is done."""

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
        """Jobs that somebody has still to do."""
        return self.waiting + self.leased


class Spent(Frozen):
    """What a run has really spent: cached replies count nothing.

    Args:
        calls, tokens, money: Settled, or reserved by calls in flight at the most they can take.
    """

    calls: int = Field(default=0, ge=0)
    tokens: int = Field(default=0, ge=0)
    money: float = Field(default=0.0, ge=0)

    def over(self, budget: Budget) -> str | None:
        """The cap that is passed; None where none is."""
        spent = self.model_dump()
        caps = {name: cap for name, cap in budget if cap is not None and name in spent}
        # Sums of many small amounts of money are off by rounding, which is no overspending.
        return next((name for name, cap in caps.items() if spent[name] > cap * (1 + 1e-9)), None)


class JobTable(Protocol):
    """Jobs by problem, and what their run has spent; safe for several threads and processes.

    Args of all methods:
        owner: A name of `new_owner`; leases and reservations are in its name.
    """

    def add(self, jobs: Iterable[Job]) -> int:
        """Adds jobs behind those that are there; one that is known is left as it is.

        Returns:
            How many are new.
        """
        ...

    def lease(self, owner: str, count: int) -> list[Job]:
        """Takes up to `count` waiting jobs, those whose holder is gone or silent among them."""
        ...

    def heartbeat(self, owner: str, ids: Collection[str]) -> set[str]:
        """Makes leases last longer.

        Returns:
            Those of the jobs that the owner still holds; the others are somebody else's now.
        """
        ...

    def finish(self, owner: str, job_id: str, store: Callable[[], Summary]) -> bool:
        """Marks a job as done.

        Args:
            owner: Who did it, whether or not its lease still holds.
            job_id: The job.
            store: Keeps its result; called while nobody else can finish the job, or not at all.

        Returns:
            False if the job was done before.
        """
        ...

    def fail(self, owner: str, job_id: str, reason: str, *, final: bool = False) -> None:
        """Counts a failed try; the job waits for another one, or is given up.

        Args:
            owner: Who tried; nothing happens where the job is somebody else's now.
            job_id: The job.
            reason: One line for people.
            final: Whether another try would fail too.
        """
        ...

    def release(self, owner: str, ids: Collection[str]) -> None:
        """Gives jobs back undone."""
        ...

    def lose(self, owner: str) -> None:
        """Takes back all that an owner holds, who has vanished; this is counted."""
        ...

    def retry(self) -> int:
        """Lets all failed jobs wait again with their counts at zero; says how many."""
        ...

    def found(self, summaries: Iterable[tuple[str, Summary]]) -> int:
        """Marks jobs as done whose result is there; says how many were not marked before."""
        ...

    def reopen(self, ids: Collection[str]) -> None:
        """Lets done jobs wait again: their results are lost."""
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

    def reserve(self, owner: str, bound: Usage, budget: Budget) -> str | None:
        """Reserves what a call can take at most, if the run's caps leave room for it.

        Returns:
            The cap that does not; None where it is reserved.
        """
        ...

    def settle(self, owner: str, bound: Usage, used: Usage) -> None:
        """Replaces a reservation by what the call has taken."""
        ...

    def spent(self) -> Spent:
        """What the run has spent, over all processes that ever worked on it."""
        ...

    def close(self) -> None:
        """Closes the table."""
        ...


def fresh(used: Usage) -> Spent:
    """The part of a call's usage that was really spent, and not answered from the cache."""
    if used.cached >= used.calls > 0:
        return Spent()
    return Spent(
        calls=used.calls - used.cached,
        tokens=used.tokens,
        money=max(0.0, (used.cost or 0.0) - used.saved),
    )
