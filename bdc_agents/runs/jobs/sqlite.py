"""The job table in an SQLite file of the run folder, for all processes of one machine."""

import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from bdc_agents.disk import open_database, own_database
from bdc_agents.errors import BDCError
from bdc_agents.runs.jobs.owners import is_gone as process_is_gone
from bdc_agents.runs.jobs.sql import SCHEMA, Cursor, SqlJobs
from bdc_agents.runs.jobs.table import LEASE_SECONDS
from bdc_agents.runs.sharing.pool import Pool

JOBS_FILE = "jobs.sqlite"
_BUSY_SECONDS = 60.0
"""How long to wait for another process's write, which takes milliseconds; longer means that it hangs."""


class SqliteJobs(SqlJobs):
    """A `JobTable` in an SQLite file.

    Args:
        file: The file; it is made if it does not exist.
        limit, lease_seconds, is_gone, learns, pool: As for `SqlJobs`.
        clock: Clock in seconds since the epoch.

    Raises:
        BDCError: If the file cannot be opened or is damaged.
    """

    def __init__(
        self,
        file: Path,
        *,
        limit: int | None = None,
        lease_seconds: float = LEASE_SECONDS,
        is_gone: Callable[[str], bool] = process_is_gone,
        learns: bool = False,
        pool: Pool = Pool(),  # noqa: B008 - frozen
        clock: Callable[[], float] = time.time,
    ) -> None:
        super().__init__("", limit, lease_seconds, is_gone, learns, pool)
        self._file = file
        self._clock = clock
        self._lock_of_threads = threading.Lock()
        with self._explained():
            own_database(file)
            self._connection = open_database(file, _BUSY_SECONDS)
        with self._transaction() as run:
            for statement in SCHEMA:
                run(statement)

    def _now(self) -> float:
        return self._clock()

    @contextmanager
    def _transaction(self) -> Iterator[Callable[..., Cursor]]:
        with self._lock_of_threads, self._explained():
            # Immediate: of two transactions that read before they write, SQLite would fail one.
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._statement
            except BaseException:
                self._connection.execute("ROLLBACK")
                raise
            self._connection.execute("COMMIT")

    def _statement(self, statement: str, *values: str | float | None) -> Cursor:
        return self._connection.execute(statement, values)

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise BDCError(
                f"the job table {str(self._file)!r} cannot be used: {error}; if it is damaged, remove it "
                "with its -wal and -shm files: it is made again from the traces, which are the record"
            ) from error

    def close(self) -> None:
        """See `JobTable`."""
        with self._lock_of_threads:
            self._connection.close()
