"""Files that a reader finds whole whenever their writer is killed, and that one process works on."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import mkstemp

from bdc_agents.errors import UsageError


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
