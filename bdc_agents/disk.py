"""Files that a reader finds whole whenever their writer is killed, and that one process works on."""

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

from bdc_agents.errors import UsageError

_RETRY_SECONDS = 0.02
_AT_FDCWD, _RENAME_EXCHANGE = -100, 2
_SWAPS = 10
"""Tries of a replacement in two steps, between which a reader may have put the old folder back."""


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


@contextmanager
def replacing_folder(target: Path) -> Iterator[Path]:
    """A new folder beside the target, which takes its place at the end, and not if it raises.

    A reader finds the old folder or the new one, whenever the writer is killed: the two are exchanged
    in one step. Where the file system cannot do that, the old one is put aside for a moment;
    `put_back` finds it there. What killed writers left beside the target is taken away.

    Args:
        target: A link to a folder stays, and what it leads to is replaced.

    Raises:
        OSError: If it cannot be written; what was there is kept.
    """
    target = Path(os.path.realpath(target))
    put_back(target)
    _sweep(target)
    # Not by `tempfile`, whose folders are their owner's alone: the umask decides who may read.
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
    """Brings back a folder that was put aside by a writer that was killed before it had replaced it.

    Returns:
        Whether there was one.
    """
    aside = sorted(target.parent.glob(f".{_literal(target.name)}.old-*"))
    if target.exists() or not aside:
        return False
    try:
        aside[-1].rename(target)
    except OSError:  # Its writer lives after all, or another reader was quicker.
        return target.exists()
    return True


def _swap(fresh: Path, target: Path) -> None:
    """Puts a folder in the place of another, which is gone afterwards."""
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
            try_lock(held)  # It may be all that there is for a moment: nobody is to sweep it away.
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
    """Takes away what killed writers left; those that live hold a lock on theirs."""
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
    """A name as a pattern that nothing else matches."""
    return "".join(f"[{letter}]" if letter in "*?[" else letter for letter in name)


def _to_disk(file: Path) -> None:
    """Waits until a file would outlast a loss of power."""
    if file.is_symlink() or not (file.is_file() or file.is_dir()):
        return
    held = os.open(file, os.O_RDONLY)
    try:
        os.fsync(held)
    finally:
        os.close(held)


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
        _refuse_programs(connection)
        _write_ahead(connection, time.monotonic() + busy_seconds)
        connection.execute("PRAGMA synchronous = NORMAL")
    except BaseException:
        connection.close()
        raise
    return connection


def _refuse_programs(connection: sqlite3.Connection) -> None:
    """Refuses a database in which reading or writing a row would run what its maker wrote.

    A view in the place of a table can be a query without end, and a trigger changes other rows.

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
    """Turns the write-ahead log on; of two that do so at once SQLite may refuse one without a wait."""
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > until:
                raise
            time.sleep(_RETRY_SECONDS)
