"""Files that a reader finds whole whenever their writer is killed, and that one process works on."""

import errno
import fcntl
import os
import sqlite3
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from secrets import token_hex

from bdc_agents.errors import UsageError

_RETRY_SECONDS = 0.02


def user_cache() -> Path:
    """The folder of the user's cache on this platform.

    Raises:
        RuntimeError: If there is no home folder.
    """
    home = os.environ.get("XDG_CACHE_HOME")
    return (Path(home) if home else Path.home() / ".cache") / "bdc-agents"


@contextmanager
def replacing(target: Path, mode: int = 0o666) -> Iterator[Path]:
    """A temporary file beside the target, which takes its place at the end, and not if it raises.

    Args:
        target: A link is replaced, too, and what it leads to stays as it is.
        mode: Of the new file, less what the umask takes away.

    Raises:
        OSError: If it cannot be written; what was there is kept.
    """
    temporary = target.with_name(f".{target.name}.{token_hex(8)}")
    os.close(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode))
    try:
        yield temporary
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)


def private(folder: Path) -> int:
    """The mode of files that hold prompts, programs and replies: their owner's alone.

    A folder that its owner has opened to a group is shared with it.
    """
    return 0o660 if folder.stat().st_mode & stat.S_IWGRP else 0o600


def own(file: Path, flags: int = os.O_RDWR) -> int:
    """Opens a file of a run folder, made where it is missing, and no other file that a link leads to.

    Whoever can write to a folder could else have its user write to any file of that user's.

    Raises:
        OSError: If it is a link, or cannot be opened.
    """
    flags |= os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
    return os.open(file, flags, private(file.parent))


def own_database(file: Path) -> None:
    """As `own`, for a file that SQLite then opens by its name, with its side files.

    Raises:
        sqlite3.Error: If one is a link, or cannot be opened.
    """
    try:
        os.close(own(file))
        for side in ("-wal", "-shm", "-journal"):
            if file.with_name(file.name + side).is_symlink():
                raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
    except OSError as error:
        raise sqlite3.OperationalError(f"{error.strerror}: {str(file)!r}") from error


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
        UsageError: If another process holds it, it is a link, or cannot be opened.
    """
    try:
        descriptor = own(lock)
    except OSError as error:
        raise UsageError(f"cannot lock {str(lock)!r}: {error.strerror}") from error
    try:
        if not try_lock(descriptor):
            raise UsageError(refusal)
        yield
    finally:
        os.close(descriptor)


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
