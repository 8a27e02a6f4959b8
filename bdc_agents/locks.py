"""File locks that the kernel releases when their holder ends, however it ends.

Not filelock (4.3.1 was tried): it locks no folder, as `disk.replacing_folder` must, it shares a lock only
through a database of its own, and by default it falls back to files that outlive a killed holder. It takes
60 times as long for a lock, and 0.1 s to import.
"""

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

from bdc_agents.disk import own, try_lock
from bdc_agents.errors import UsageError

POLL_SECONDS = 0.05
"""Time between two tries: the kernel tells a coroutine of no released lock, and a try is one system call."""


def open_private(path: Path) -> int:
    """Opens the file; makes it for this user alone. Started programs do not inherit the descriptor."""
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)


def is_locked(path: Path) -> bool:
    """Whether some process holds the file's lock exclusively."""
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return False
    try:
        return not try_lock(descriptor, shared=True)
    finally:
        os.close(descriptor)


async def wait_lock(descriptor: int, *, shared: bool = False) -> None:
    """Waits until the lock is free and takes it."""
    while not try_lock(descriptor, shared=shared):  # noqa: ASYNC110 - the kernel sends no event.
        await asyncio.sleep(POLL_SECONDS)


@asynccontextmanager
async def locked(path: Path, waiting: Callable[[], None] = lambda: None) -> AsyncIterator[None]:
    """Holds a file's lock exclusively.

    Args:
        path: The lock file.
        waiting: Called once if there is another holder to wait for.
    """
    descriptor = open_private(path)
    try:
        if not try_lock(descriptor):
            waiting()
            await wait_lock(descriptor)
        yield
    finally:
        os.close(descriptor)


@contextmanager
def one_process(lock: Path, refusal: str) -> Iterator[None]:
    """Keeps other processes out while its block runs.

    Args:
        lock: The lock file; made if it is missing.
        refusal: The error message of a second process.

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
