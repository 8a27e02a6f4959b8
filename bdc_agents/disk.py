"""Files that a reader finds whole whenever their writer is killed, and that one process works on."""

import fcntl
import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import mkstemp

from bdc_agents.errors import UsageError

PRIVATE = 0o600
"""Of files that hold prompts, programs and replies: they are their owner's alone, whatever the umask."""
_RETRY_SECONDS = 0.02


@contextmanager
def replacing(target: Path) -> Iterator[Path]:
    """A temporary file beside the target, which takes its place at the end, and not if it raises.

    Raises:
        OSError: If it cannot be written; what was there is kept.
    """
    descriptor, name = mkstemp(dir=target.parent, prefix=f".{target.name}.")
    os.close(descriptor)
    temporary = Path(name)
    try:
        yield temporary
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        temporary.chmod(0o644)
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)


def try_lock(descriptor: int, *, shared: bool = False) -> bool:
    """Takes a file's lock if it is free; says whether it did. Its end releases it, however it ends."""
    try:
        fcntl.flock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


@contextmanager
def one_process(lock: Path, refusal: str) -> Iterator[None]:
    """Keeps other processes away from what the lock file stands for.

    Args:
        lock: Made where it is missing.
        refusal: What a second process is told.

    Raises:
        UsageError: If another process holds it.
    """
    with lock.open("w") as file:
        if not try_lock(file.fileno()):
            raise UsageError(refusal)
        yield


def open_database(path: Path, busy_seconds: float) -> sqlite3.Connection:
    """An SQLite file that many threads and processes use at once, each statement its own transaction.

    Args:
        path: Made where it is missing.
        busy_seconds: How long to wait for others before giving up.

    Raises:
        sqlite3.Error: If it cannot be opened, is damaged, or stays locked.
    """
    connection = sqlite3.connect(path, timeout=busy_seconds, isolation_level=None, check_same_thread=False)
    try:
        _write_ahead(connection, time.monotonic() + busy_seconds)
        connection.execute("PRAGMA synchronous = NORMAL")
    except BaseException:
        connection.close()
        raise
    return connection


def _write_ahead(connection: sqlite3.Connection, until: float) -> None:
    """Turns the write-ahead log on; of two that do so at once SQLite may refuse one without a wait."""
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > until:
                raise
            time.sleep(_RETRY_SECONDS)
