"""Writes files and folders that readers find whole even if the writer is killed; opens SQLite files."""

import ctypes
import errno
import fcntl
import os
import shutil
import sqlite3
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from secrets import token_hex

_RETRY_SECONDS = 0.02
"""Pause before asking SQLite again to turn on its log, which takes another process a few milliseconds."""
_AT_FDCWD, _RENAME_EXCHANGE = -100, 2  # Linux's `renameat2`: relative to the working folder; exchange.
_SWAPS = 10
"""Tries of a replacement in two steps: a reader may put the old folder back in between, hardly 10 times."""


def user_cache() -> Path:
    """The folder of the user's cache on this platform.

    Raises:
        RuntimeError: If there is no home folder.
    """
    home = os.environ.get("XDG_CACHE_HOME")
    return (Path(home) if home else Path.home() / ".cache") / "bdc-agents"


@contextmanager
def replacing(target: Path, mode: int = 0o666) -> Iterator[Path]:
    """Yields a temporary file that replaces the target when the block ends; if it raises, nothing changes.

    Args:
        target: The file. A link is replaced itself; what it leads to stays as it is.
        mode: Mode of the new file before the umask.

    Raises:
        OSError: If it cannot be written; the old file stays.
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


@contextmanager
def replacing_folder(target: Path) -> Iterator[Path]:
    """Yields a new folder that replaces the target when the block ends; if it raises, nothing changes.

    Readers find the old folder or the new one, whenever the writer is killed: the two are exchanged in one
    step. If the file system cannot do that, the old folder is put aside for a moment, and `put_back` finds
    it there. Leftovers of killed writers beside the target are removed.

    Args:
        target: The folder. A link to a folder stays; what it leads to is replaced.

    Raises:
        OSError: If it cannot be written; the old folder stays.
    """
    target = Path(os.path.realpath(target))
    put_back(target)
    _sweep(target)
    # Not by `tempfile`, whose folders only their owner may read: here the umask decides.
    temporary = target.with_name(f".{target.name}.new-{token_hex(8)}")
    temporary.mkdir()
    held = os.open(temporary, os.O_RDONLY | os.O_DIRECTORY)
    try:
        try_lock(held)
        yield temporary
        for file in temporary.rglob("*"):
            _to_disk(file)
        _swap(temporary, target)
    finally:
        os.close(held)
        shutil.rmtree(temporary, ignore_errors=True)


def put_back(target: Path) -> bool:
    """Brings back a folder that a writer put aside before it was killed.

    Returns:
        Whether there was one.
    """
    aside = sorted(target.parent.glob(f".{_literal(target.name)}.old-*"))
    if target.exists() or not aside:
        return False
    try:
        aside[-1].rename(target)
    except OSError:  # The writer lives after all, or another reader was quicker.
        return target.exists()
    return True


def _swap(fresh: Path, target: Path) -> None:
    """Replaces a folder by another, and removes the old one."""
    if not target.exists():
        fresh.rename(target)
    elif not _exchange(fresh, target):
        _put_aside_and_replace(fresh, target)


def _exchange(one: Path, other: Path) -> bool:
    """Exchanges two folders in one step; False where this file system or kernel cannot."""
    rename = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if rename is None:
        return False
    paths = os.fsencode(one), os.fsencode(other)
    return rename(_AT_FDCWD, paths[0], _AT_FDCWD, paths[1], _RENAME_EXCHANGE) == 0


def _put_aside_and_replace(fresh: Path, target: Path) -> None:
    for _ in range(_SWAPS):
        aside = target.with_name(fresh.name.replace(".new-", ".old-"))
        held = os.open(target, os.O_RDONLY | os.O_DIRECTORY)
        try:
            try_lock(held)  # For a moment it may be the only copy, so nobody may sweep it away.
            target.rename(aside)
            fresh.rename(target)
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                put_back(target)
                raise
        else:
            shutil.rmtree(aside, ignore_errors=True)
            return
        finally:
            os.close(held)
    raise OSError(errno.EBUSY, os.strerror(errno.EBUSY), str(target))


def _sweep(target: Path) -> None:
    """Removes what killed writers left; living writers hold a lock on theirs."""
    for kind in ("new", "old"):
        for left in target.parent.glob(f".{_literal(target.name)}.{kind}-*"):
            try:
                held = os.open(left, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
            except OSError:
                continue
            if try_lock(held):
                shutil.rmtree(left, ignore_errors=True)
            os.close(held)


def _literal(name: str) -> str:
    """A glob pattern that matches only this name."""
    return "".join(f"[{letter}]" if letter in "*?[" else letter for letter in name)


def _to_disk(file: Path) -> None:
    """Waits until a file would survive a loss of power."""
    if file.is_symlink() or not (file.is_file() or file.is_dir()):
        return
    held = os.open(file, os.O_RDONLY)
    try:
        os.fsync(held)
    finally:
        os.close(held)


def private(folder: Path) -> int:
    """The mode of files with prompts, programs and replies: for their owner alone.

    If the owner has opened the folder to a group, for the group too.
    """
    return 0o660 if folder.stat().st_mode & stat.S_IWGRP else 0o600


def own(file: Path, flags: int = os.O_RDWR) -> int:
    """Opens a file of a run folder, and makes it if it is missing; refuses a link, a pipe and a device.

    By a link anyone who can write to the folder could make its user write to any of the user's files.

    Raises:
        OSError: If it is no plain file, or cannot be opened.
    """
    flags |= os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
    descriptor = os.open(file, flags, private(file.parent))
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "it is no plain file", str(file))
    return descriptor


def own_database(file: Path) -> None:
    """Like `own`, for a file that SQLite then opens by name, and for its side files.

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
    """Takes a file's lock if it is free; returns whether it did. The process's end releases it."""
    try:
        fcntl.flock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def open_database(path: Path, busy_seconds: float) -> sqlite3.Connection:
    """Opens an SQLite file for many threads and processes at once; each statement is a transaction.

    Args:
        path: The file; made if it is missing.
        busy_seconds: How long to wait for others before giving up.

    Raises:
        sqlite3.Error: If it cannot be opened, is damaged, or stays locked.
    """
    connection = sqlite3.connect(path, timeout=busy_seconds, isolation_level=None, check_same_thread=False)
    try:
        _refuse_programs(connection)
        _write_ahead(connection, time.monotonic() + busy_seconds)
        connection.execute("PRAGMA synchronous = NORMAL")
    except BaseException:
        connection.close()
        raise
    return connection


def _refuse_programs(connection: sqlite3.Connection) -> None:
    """Refuses a database that would run its maker's statements when a row is read or written.

    A view in the place of a table can be an endless query, and a trigger can change other rows.

    Raises:
        sqlite3.DatabaseError: If it holds a view or a trigger; none of ours does.
    """
    connection.execute("PRAGMA trusted_schema = OFF")
    found = connection.execute(
        "SELECT type, name FROM sqlite_master WHERE type NOT IN ('table', 'index') LIMIT 1"
    ).fetchone()
    if found:
        raise sqlite3.DatabaseError(
            f"it holds a {found[0]!s:.20} named {found[1]!r:.40}, and no database of ours does"
        )


def _write_ahead(connection: sqlite3.Connection, until: float) -> None:
    """Turns the write-ahead log on. If two do so at once, SQLite may refuse one without waiting."""
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > until:
                raise
            time.sleep(_RETRY_SECONDS)
