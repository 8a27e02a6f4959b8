"""File locks that the kernel releases when their holder ends, however it ends."""

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from bdc_agents.disk import try_lock

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
