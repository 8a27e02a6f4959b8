"""The job table's SQL statements, which SQLite and Postgres share."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterable, Sequence
from contextlib import AbstractContextManager
from functools import reduce
from typing import Any, Protocol

from pydantic import TypeAdapter

from bdc_agents.config import Budget
from bdc_agents.runs.jobs.table import (
    LEASE_SECONDS,
    MAX_FAILURES,
    MAX_LOSSES,
    Job,
    Pooled,
    Spent,
    Summary,
    Totals,
    fresh,
)
from bdc_agents.runs.sharing.blocks import block_of, known_to, open_until
from bdc_agents.runs.sharing.pool import Ended, Pool, first_share, next_shares
from bdc_agents.search.policy.beliefs import Beliefs
from bdc_agents.search.round.budget import Amount
from bdc_agents.types import Frozen, Usage

SCHEMA = (
    """CREATE TABLE IF NOT EXISTS bdc_jobs (
        run TEXT NOT NULL, id TEXT NOT NULL, dataset TEXT NOT NULL, position BIGINT NOT NULL,
        state TEXT NOT NULL DEFAULT 'waiting', owner TEXT, expires DOUBLE PRECISION,
        failures INTEGER NOT NULL DEFAULT 0, losses INTEGER NOT NULL DEFAULT 0, reason TEXT,
        solved INTEGER, kept INTEGER, calls BIGINT, tokens BIGINT, money DOUBLE PRECISION,
        PRIMARY KEY (run, id))""",
    """CREATE INDEX IF NOT EXISTS bdc_jobs_by_state ON bdc_jobs (run, state, losses, position)""",
    """CREATE TABLE IF NOT EXISTS bdc_spent (
        run TEXT NOT NULL, owner TEXT NOT NULL,
        calls BIGINT NOT NULL, tokens BIGINT NOT NULL, money DOUBLE PRECISION NOT NULL,
        held_calls BIGINT NOT NULL, held_tokens BIGINT NOT NULL, held_money DOUBLE PRECISION NOT NULL,
        PRIMARY KEY (run, owner))""",
    # Tables of their own, so that those of older runs stay as they are.
    """CREATE TABLE IF NOT EXISTS bdc_told (
        run TEXT NOT NULL, id TEXT NOT NULL, told TEXT NOT NULL, PRIMARY KEY (run, id))""",
    """CREATE TABLE IF NOT EXISTS bdc_known (
        run TEXT NOT NULL, block BIGINT NOT NULL, known TEXT NOT NULL, PRIMARY KEY (run, block))""",
    # Where problems share a budget: of each that has ended or was given more, its budgets (the last one is
    # that of its round), how its last round ended, and where its search goes on.
    """CREATE TABLE IF NOT EXISTS bdc_rounds (
        run TEXT NOT NULL, id TEXT NOT NULL, caps TEXT NOT NULL, ended TEXT, state TEXT,
        PRIMARY KEY (run, id))""",
)
_SUMMARY = ("solved", "kept", "calls", "tokens", "money")
_MARK_DONE = """UPDATE bdc_jobs SET state = 'done', owner = NULL, expires = NULL, reason = NULL,
    solved = ?, kept = ?, calls = ?, tokens = ?, money = ? WHERE run = ? AND id = ? AND state <> 'done'"""

_BUDGETS = TypeAdapter(tuple[Budget, ...])


class Cursor(Protocol):
    """The result of a statement, as both databases return it."""

    @property
    def rowcount(self) -> int:
        """The number of changed rows."""
        ...

    def fetchall(self) -> Sequence[Any]:
        """All rows."""
        ...


class SqlJobs(ABC):
    """A `JobTable` in an SQL database.

    Args:
        run: Tells the jobs of this run from others in the database.
        limit: The most jobs to work on, from the start of the table; None for all.
        lease_seconds: How long a lease holds without a heartbeat.
        is_gone: Whether the holder of a lease has certainly ended.
        learns: Whether searches start from what moves gave in others of the run.
        pool: What the problems share.
    """

    def __init__(
        self,
        run: str,
        limit: int | None,
        lease_seconds: float,
        is_gone: Callable[[str], bool],
        learns: bool = False,
        pool: Pool = Pool(),  # noqa: B008 - frozen
    ) -> None:
        self._run = run
        self._limit = 2**62 if limit is None else limit  # More than any table holds; fits a BIGINT.
        self._lease_seconds = lease_seconds
        self._is_gone = is_gone
        self._learns = learns
        self._pool = pool
        self._share_of_each: Budget | None = None
        self._known: dict[int, Beliefs] = {}

    @abstractmethod
    def _transaction(self) -> AbstractContextManager[Callable[..., Cursor]]:
        """A transaction; yields a function that runs one statement, with `?` for each value."""

    @abstractmethod
    def _now(self) -> float:
        """The time in seconds on a clock that all users of the table share."""

    def _locking(self, select: str) -> str:
        """A SELECT whose rows nobody else may change until the transaction ends."""
        return select

    def _locking_free(self, select: str) -> str:
        """As `_locking`, but skips rows that others are changing."""
        return select

    def _lock_spending(self, run: Callable[..., Cursor]) -> None:
        """Keeps others from reserving until the transaction ends."""
        del run

    def _lock_rounds(self, run: Callable[..., Cursor]) -> None:
        """Keeps others from beginning a round until the transaction ends."""
        del run

    # --- jobs -----------------------------------------------------------------------------------

    def add(self, jobs: Iterable[Job]) -> int:
        """See `JobTable`."""
        with self._transaction() as run:
            (last,) = run(
                "SELECT COALESCE(MAX(position), -1) FROM bdc_jobs WHERE run = ?", self._run
            ).fetchall()
            position, new = last[0] + 1, 0
            for job in jobs:
                added = run(
                    "INSERT INTO bdc_jobs (run, id, dataset, position) VALUES (?, ?, ?, ?) "
                    "ON CONFLICT (run, id) DO NOTHING",
                    *(self._run, job.id, job.dataset, position),
                ).rowcount
                position, new = position + added, new + added
        return new

    def drop(self, keep: Collection[str]) -> int:
        """See `JobTable`."""
        kept, undone = set(keep), "run = ? AND state IN ('waiting', 'failed')"
        with self._transaction() as run:
            rows = run(self._locking(f"SELECT id FROM bdc_jobs WHERE {undone}"), self._run).fetchall()  # noqa: S608
            gone = [job_id for (job_id,) in rows if job_id not in kept]
            for job_id in gone:
                run("DELETE FROM bdc_jobs WHERE run = ? AND id = ?", self._run, job_id)
        return len(gone)

    def lease(self, owner: str, count: int) -> list[Job]:
        """See `JobTable`."""
        if count < 1:
            return []
        with self._transaction() as run:
            now = self._now()
            self._take_back(run, now)
            self._share(run)
            rows = run(
                self._locking_free(
                    "SELECT id, dataset, position FROM bdc_jobs "
                    "WHERE run = ? AND state = 'waiting' AND position < ? "
                    "ORDER BY losses, failures, position LIMIT ?"
                ),
                *(self._run, min(self._limit, self._open_until(run)), count),
            ).fetchall()
            for job_id, *_ in rows:
                run(
                    "UPDATE bdc_jobs SET state = 'leased', owner = ?, expires = ? WHERE run = ? AND id = ?",
                    *(owner, now + self._lease_seconds, self._run, job_id),
                )
            return [
                Job(
                    id=job_id,
                    dataset=dataset,
                    known=self._known_to(run, block_of(position)),
                    **self._round_of(run, job_id),
                )
                for job_id, dataset, position in rows
            ]

    def _open_until(self, run: Callable[..., Cursor]) -> int:
        """The position before which jobs may be leased."""
        if not self._learns:
            return self._limit
        # A problem that goes on with more of a pool has told what it tells: no block waits for it.
        ((first,),) = run(
            "SELECT MIN(position) FROM bdc_jobs WHERE run = ? AND state IN ('waiting', 'leased') AND NOT "
            "EXISTS (SELECT 1 FROM bdc_rounds WHERE bdc_rounds.run = bdc_jobs.run "
            "AND bdc_rounds.id = bdc_jobs.id AND ended IS NOT NULL)",
            self._run,
        ).fetchall()
        return self._limit if first is None else open_until(first)

    def _known_to(self, run: Callable[..., Cursor], block: int) -> Beliefs:
        """What the jobs of a block start from, which is written down once."""
        if not (self._learns and known_to(block)):
            return Beliefs()
        if block not in self._known:
            if not self._stored(run, block):
                run(
                    "INSERT INTO bdc_known (run, block, known) VALUES (?, ?, ?) "
                    "ON CONFLICT (run, block) DO NOTHING",
                    *(self._run, block, self._told_before(run, known_to(block)).model_dump_json()),
                )
            # Read again: another process may have been first.
            ((known,),) = self._stored(run, block)
            self._known[block] = Beliefs.model_validate_json(known)
        return self._known[block]

    def _stored(self, run: Callable[..., Cursor], block: int) -> Sequence[Any]:
        return run("SELECT known FROM bdc_known WHERE run = ? AND block = ?", self._run, block).fetchall()

    def _told_before(self, run: Callable[..., Cursor], position: int) -> Beliefs:
        """What moves gave in the searches of all done jobs before a position."""
        rows = run(
            "SELECT told FROM bdc_told JOIN bdc_jobs ON bdc_jobs.run = bdc_told.run "
            "AND bdc_jobs.id = bdc_told.id WHERE bdc_jobs.run = ? AND state = 'done' AND position < ? "
            "ORDER BY position",
            *(self._run, position),
        ).fetchall()
        return reduce(Beliefs.plus, (Beliefs.model_validate_json(told) for (told,) in rows), Beliefs())

    def _take_back(self, run: Callable[..., Cursor], now: float) -> None:
        """Puts jobs back to waiting whose holder is gone or was silent for too long."""
        held = run(
            self._locking_free("SELECT id, owner, expires FROM bdc_jobs WHERE run = ? AND state = 'leased'"),
            self._run,
        ).fetchall()
        gone = {owner: self._is_gone(owner) for owner in {owner for _, owner, _ in held}}
        for job_id, owner, expires in held:
            if expires <= now or gone[owner]:
                self._lose(run, job_id)

    def _lose(self, run: Callable[..., Cursor], job_id: str) -> None:
        run(
            "UPDATE bdc_jobs SET losses = losses + 1, owner = NULL, expires = NULL, "
            "state = CASE WHEN losses + 1 >= ? THEN 'failed' ELSE 'waiting' END, "
            "reason = ? WHERE run = ? AND id = ?",
            *(MAX_LOSSES, f"its worker vanished {MAX_LOSSES} times", self._run, job_id),
        )

    def heartbeat(self, owner: str, ids: Collection[str]) -> set[str]:
        """See `JobTable`."""
        with self._transaction() as run:
            expires = self._now() + self._lease_seconds
            return {
                job_id
                for job_id in ids
                if run(
                    "UPDATE bdc_jobs SET expires = ? "
                    "WHERE run = ? AND id = ? AND owner = ? AND state = 'leased'",
                    *(expires, self._run, job_id, owner),
                ).rowcount
            }

    def finish(
        self,
        owner: str,
        job_id: str,
        store: Callable[[], Summary],
        caps: Budget | None = None,
        state: str = "",
    ) -> bool:
        """See `JobTable`."""
        del owner
        with self._transaction() as run:
            rows = run(
                self._locking("SELECT id FROM bdc_jobs WHERE run = ? AND id = ? AND state <> 'done'"),
                *(self._run, job_id),
            ).fetchall()
            # Who was silent for long may hand over what others have done since, and gone on from.
            if not rows or (self._pool and caps != self._caps(run, job_id)[-1]):
                return False
            summary = store()
            run(_MARK_DONE, *_values(summary), self._run, job_id)
            self._tell(run, job_id, summary)
            self._end_round(run, job_id, summary, state)
            return True

    def _tell(self, run: Callable[..., Cursor], job_id: str, summary: Summary) -> None:
        # With a pool, what is told first counts: blocks may have started from it.
        kept = "NOTHING" if self._pool else "UPDATE SET told = excluded.told"
        run(
            f"INSERT INTO bdc_told (run, id, told) VALUES (?, ?, ?) ON CONFLICT (run, id) DO {kept}",  # noqa: S608
            *(self._run, job_id, summary.told.model_dump_json()),
        )

    # --- a budget that all share ----------------------------------------------------------------

    def _first(self, run: Callable[..., Cursor]) -> Budget:
        """The budget of a first round. The problems of a pool are all added before any is leased or found."""
        if self._share_of_each is None:
            ((members,),) = run(
                "SELECT COUNT(*) FROM bdc_jobs WHERE run = ? AND position < ?", self._run, self._limit
            ).fetchall()
            self._share_of_each = first_share(self._pool.whole, members, self._pool.each)
        return self._share_of_each

    def _caps(self, run: Callable[..., Cursor], job_id: str) -> tuple[Budget, ...]:
        """The budgets of a problem, one for each round."""
        rows = run("SELECT caps FROM bdc_rounds WHERE run = ? AND id = ?", self._run, job_id).fetchall()
        return _BUDGETS.validate_json(rows[0][0]) if rows else (self._first(run),)

    def _round_of(self, run: Callable[..., Cursor], job_id: str) -> dict[str, Any]:
        """The fields of a job that say which round it is in."""
        if not self._pool:
            return {}
        rows = run("SELECT state FROM bdc_rounds WHERE run = ? AND id = ?", self._run, job_id).fetchall()
        return {"caps": self._caps(run, job_id), "state": (rows[0][0] or "") if rows else ""}

    def _end_round(self, run: Callable[..., Cursor], job_id: str, summary: Summary, state: str) -> None:
        """Notes how a problem's round ended; where it was the last of its round, the next one begins."""
        if not self._pool:
            return
        caps = self._caps(run, job_id)
        goes_on = self._pool.goes_on(summary.solved, summary.stopped_by)
        used = Amount(summary.calls, summary.tokens, summary.money)
        ended = Ended(used=used, caps=caps[-1], open=goes_on).model_dump_json()
        run(
            "INSERT INTO bdc_rounds (run, id, caps, ended, state) VALUES (?, ?, ?, ?, ?) "
            "ON CONFLICT (run, id) DO UPDATE SET ended = excluded.ended, state = excluded.state",
            *(self._run, job_id, _BUDGETS.dump_json(caps).decode(), ended, state if goes_on else None),
        )
        self._share(run)

    def _share(self, run: Callable[..., Cursor]) -> None:
        """Where all problems have ended their round, puts those back to waiting that get more."""
        if not self._pool or self._anything_open(run):
            return
        self._lock_rounds(run)
        if self._anything_open(run):  # Another process was first.
            return
        members = self._members(run)
        more = next_shares(self._pool.whole, {number: one.ended for number, one in enumerate(members)})
        for number, budget in more.items():
            one = members[number]
            caps = _BUDGETS.dump_json((*one.caps, budget)).decode()
            run("UPDATE bdc_rounds SET caps = ? WHERE run = ? AND id = ?", caps, self._run, one.id)
            run(
                "UPDATE bdc_jobs SET state = 'waiting', failures = 0, losses = 0 WHERE run = ? AND id = ?",
                *(self._run, one.id),
            )

    def _anything_open(self, run: Callable[..., Cursor]) -> bool:
        query = (
            "SELECT 1 FROM bdc_jobs WHERE run = ? AND position < ? AND state IN ('waiting', 'leased') LIMIT 1"
        )
        return bool(run(query, self._run, self._limit).fetchall())

    def _members(self, run: Callable[..., Cursor]) -> "list[_Member]":
        """The problems that share the pool, in order."""
        rows = run(
            "SELECT bdc_jobs.id, state, caps, ended FROM bdc_jobs LEFT JOIN "
            "(SELECT run, id, caps, ended FROM bdc_rounds) AS rounds "
            "ON rounds.run = bdc_jobs.run AND rounds.id = bdc_jobs.id "
            "WHERE bdc_jobs.run = ? AND position < ? ORDER BY position",
            *(self._run, self._limit),
        ).fetchall()
        first = [self._first(run)] if rows else []
        found: list[_Member] = []
        for job_id, state, caps, ended in rows:
            own = _BUDGETS.validate_json(caps) if caps else tuple(first)
            # What may be tried again, or is at work, holds all of its budget: nobody else gets it.
            held = Ended(used=self._pool.held(own[-1]), caps=own[-1])
            last = Ended.model_validate_json(ended) if ended else None
            used = held.used if state == "failed" else last.used if last else Amount()
            now = last if last and state == "done" else held
            found.append(_Member(id=job_id, caps=own, ended=now, used=used))
        return found

    def pooled(self) -> Pooled:
        """See `JobTable`."""
        if not self._pool:
            return Pooled()
        with self._transaction() as run:
            members = self._members(run)
        return Pooled(
            pool=self._pool.whole,
            used=reduce(Amount.plus, (one.used for one in members), Amount()),
            rounds=max((len(one.caps) for one in members), default=0),
            problems=len(members),
            budgets={one.id: one.caps for one in members if len(one.caps) > 1},
            unsolved=tuple(one.id for one in members if one.ended.open),
        )

    # --- jobs that are not done -----------------------------------------------------------------

    def fail(self, owner: str, job_id: str, reason: str, *, final: bool = False) -> None:
        """See `JobTable`."""
        with self._transaction() as run:
            run(
                "UPDATE bdc_jobs SET failures = failures + 1, owner = NULL, expires = NULL, reason = ?, "
                "state = CASE WHEN failures + 1 >= ? THEN 'failed' ELSE 'waiting' END "
                "WHERE run = ? AND id = ? AND owner = ? AND state = 'leased'",
                *(reason, 0 if final else MAX_FAILURES, self._run, job_id, owner),
            )
            self._share(run)

    def release(self, owner: str, ids: Collection[str]) -> None:
        """See `JobTable`."""
        with self._transaction() as run:
            for job_id in ids:
                run(
                    "UPDATE bdc_jobs SET state = 'waiting', owner = NULL, expires = NULL "
                    "WHERE run = ? AND id = ? AND owner = ? AND state = 'leased'",
                    *(self._run, job_id, owner),
                )

    def lose(self, owner: str) -> None:
        """See `JobTable`."""
        with self._transaction() as run:
            held = run(
                self._locking("SELECT id FROM bdc_jobs WHERE run = ? AND owner = ? AND state = 'leased'"),
                *(self._run, owner),
            ).fetchall()
            for (job_id,) in held:
                self._lose(run, job_id)
            self._share(run)

    def retry(self) -> int:
        """See `JobTable`."""
        with self._transaction() as run:
            return run(
                "UPDATE bdc_jobs SET state = 'waiting', failures = 0, losses = 0, reason = NULL "
                "WHERE run = ? AND state = 'failed'",
                self._run,
            ).rowcount

    def found(self, summaries: Iterable[tuple[str, Summary]]) -> int:
        """See `JobTable`."""
        new = 0
        with self._transaction() as run:
            for job_id, summary in summaries:
                if self._pool and summary.caps != self._caps(run, job_id)[-1]:
                    continue  # Of another round.
                marked = run(_MARK_DONE, *_values(summary), self._run, job_id).rowcount
                self._tell(run, job_id, summary)
                if marked:
                    self._end_round(run, job_id, summary, "")
                new += marked
        return new

    def reopen(self, ids: Collection[str]) -> None:
        """See `JobTable`."""
        with self._transaction() as run:
            for job_id in ids:
                run(
                    "UPDATE bdc_jobs SET state = 'waiting', solved = NULL, kept = NULL, calls = NULL, "
                    "tokens = NULL, money = NULL WHERE run = ? AND id = ? AND state = 'done'",
                    *(self._run, job_id),
                )
                run(
                    "UPDATE bdc_rounds SET ended = NULL, state = NULL WHERE run = ? AND id = ?",
                    *(self._run, job_id),
                )

    # --- reports --------------------------------------------------------------------------------

    def done(self) -> set[str]:
        """See `JobTable`."""
        with self._transaction() as run:
            rows = run("SELECT id FROM bdc_jobs WHERE run = ? AND state = 'done'", self._run).fetchall()
        return {job_id for (job_id,) in rows}

    def failures(self) -> dict[str, str]:
        """See `JobTable`."""
        with self._transaction() as run:
            rows = run(
                "SELECT id, reason FROM bdc_jobs WHERE run = ? AND state = 'failed' ORDER BY position",
                self._run,
            ).fetchall()
        return {job_id: reason or "" for job_id, reason in rows}

    def totals(self) -> Totals:
        """See `JobTable`."""
        sums = ", ".join(f"COALESCE(SUM({name}), 0)" for name in _SUMMARY)
        with self._transaction() as run:
            rows = run(
                f"SELECT state, COUNT(*), {sums} FROM bdc_jobs "  # noqa: S608 - names of this module
                "WHERE run = ? AND position < ? GROUP BY state",
                *(self._run, self._limit),
            ).fetchall()
        counts = {state: count for state, count, *_ in rows}
        summed = [sum(column) for column in zip(*(row[2:] for row in rows), strict=True)] or [0] * len(
            _SUMMARY
        )
        return Totals.model_validate(counts | dict(zip(_SUMMARY, summed, strict=True)))

    # --- the budget of the run ------------------------------------------------------------------

    def reserve(self, owner: str, bound: Usage, budget: Budget) -> str | None:
        """See `JobTable`."""
        most = fresh(bound)
        with self._transaction() as run:
            self._lock_spending(run)
            before = self._spent(run)
            after = Spent(
                calls=before.calls + most.calls,
                tokens=before.tokens + most.tokens,
                money=before.money + most.money,
            )
            if cap := after.over(budget):
                return cap
            self._open_account(run, owner)
            run(
                "UPDATE bdc_spent SET held_calls = held_calls + ?, held_tokens = held_tokens + ?, "
                "held_money = held_money + ? WHERE run = ? AND owner = ?",
                *(most.calls, most.tokens, most.money, self._run, owner),
            )
        return None

    def settle(self, owner: str, bound: Usage, used: Usage) -> None:
        """See `JobTable`."""
        most, real = fresh(bound), fresh(used)
        with self._transaction() as run:
            self._open_account(run, owner)
            run(
                "UPDATE bdc_spent SET calls = calls + ?, tokens = tokens + ?, money = money + ?, "
                "held_calls = held_calls - ?, held_tokens = held_tokens - ?, held_money = held_money - ? "
                "WHERE run = ? AND owner = ?",
                *(real.calls, real.tokens, real.money, most.calls, most.tokens, most.money),
                *(self._run, owner),
            )

    def _open_account(self, run: Callable[..., Cursor], owner: str) -> None:
        run(
            "INSERT INTO bdc_spent VALUES (?, ?, 0, 0, 0, 0, 0, 0) ON CONFLICT (run, owner) DO NOTHING",
            *(self._run, owner),
        )

    def spent(self) -> Spent:
        """See `JobTable`."""
        with self._transaction() as run:
            return self._spent(run)

    def _spent(self, run: Callable[..., Cursor]) -> Spent:
        ((calls, tokens, money),) = run(
            "SELECT COALESCE(SUM(calls + held_calls), 0), COALESCE(SUM(tokens + held_tokens), 0), "
            "COALESCE(SUM(money + held_money), 0) FROM bdc_spent WHERE run = ?",
            self._run,
        ).fetchall()
        # Rounding can leave a sum of fractions a hair below 0.
        return Spent(calls=int(calls), tokens=int(tokens), money=max(0.0, float(money)))


class _Member(Frozen):
    """A problem that shares the pool.

    Args:
        caps: Its budgets, one for each round.
        ended: How its last round ended; it holds its whole budget as long as it has not.
        used: What it has used so far, or holds where it failed.
    """

    id: str
    caps: tuple[Budget, ...]
    ended: Ended
    used: Amount


def _values(summary: Summary) -> list[Any]:
    return [int(summary.solved), int(summary.kept), summary.calls, summary.tokens, summary.money]


__all__ = ["LEASE_SECONDS", "SCHEMA", "Cursor", "SqlJobs"]
