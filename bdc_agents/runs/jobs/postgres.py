"""The job table in a Postgres database, for processes on several machines."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from bdc_agents.errors import BDCError
from bdc_agents.extras import need
from bdc_agents.runs.jobs.owners import is_gone as process_is_gone
from bdc_agents.runs.jobs.sql import SCHEMA, Cursor, SqlJobs
from bdc_agents.runs.jobs.table import LEASE_SECONDS
from bdc_agents.runs.sharing.pool import Pool

_SETUP_KEY, _SPENDING_KEY, _ROUNDS_KEY = 7_042_001, 7_042_002, 7_042_003
"""Keys of the advisory locks for making the tables, for reserving and for sharing out a pool: any numbers no
other program uses."""


class PostgresJobs(SqlJobs):
    """A `JobTable` in Postgres. All processes share the server's clock.

    Args:
        url: Address for psycopg, such as `postgresql://user@host/database`.
        run: Tells this run from others in the database.
        limit, lease_seconds, is_gone, learns, pool: As for `SqlJobs`.
        clock: Clock in seconds; None for the server's.

    Raises:
        ModelError: If psycopg is not installed.
        BDCError: If the server cannot be reached or refuses.
    """

    def __init__(
        self,
        url: str,
        run: str,
        *,
        limit: int | None = None,
        lease_seconds: float = LEASE_SECONDS,
        is_gone: Callable[[str], bool] = process_is_gone,
        learns: bool = False,
        pool: Pool = Pool(),  # noqa: B008 - frozen
        clock: Callable[[], float] | None = None,
    ) -> None:
        super().__init__(run, limit, lease_seconds, is_gone, learns, pool)
        self._clock = clock
        self._lock_of_threads = threading.Lock()
        # One connection and no psycopg_pool: `TableCoordinator` uses the table in one thread.
        self._psycopg = need("psycopg")
        with self._explained():
            self._connection = self._psycopg.connect(url, autocommit=True)
        with self._transaction() as execute:
            execute("SELECT pg_advisory_xact_lock(?)", _SETUP_KEY)
            for statement in SCHEMA:
                execute(statement)

    def _now(self) -> float:
        if self._clock is not None:
            return self._clock()
        ((seconds,),) = self._statement(
            "SELECT EXTRACT(EPOCH FROM clock_timestamp())::double precision"
        ).fetchall()
        return seconds

    def _locking(self, select: str) -> str:
        return f"{select} FOR UPDATE"

    def _locking_free(self, select: str) -> str:
        return f"{select} FOR UPDATE SKIP LOCKED"

    def _lock_spending(self, run: Callable[..., Cursor]) -> None:
        run("SELECT pg_advisory_xact_lock(?, hashtext(?))", _SPENDING_KEY, self._run)

    def _lock_rounds(self, run: Callable[..., Cursor]) -> None:
        run("SELECT pg_advisory_xact_lock(?, hashtext(?))", _ROUNDS_KEY, self._run)

    @contextmanager
    def _transaction(self) -> Iterator[Callable[..., Cursor]]:
        with self._lock_of_threads, self._explained(), self._connection.transaction():
            yield self._statement

    def _statement(self, statement: str, *values: Any) -> Cursor:
        return self._connection.execute(statement.replace("?", "%s"), values)

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except self._psycopg.Error as error:
            text = str(error).strip() or type(error).__name__
            raise BDCError(f"the job table in Postgres cannot be used: {text}") from error

    def close(self) -> None:
        """See `JobTable`."""
        with self._lock_of_threads:
            self._connection.close()
