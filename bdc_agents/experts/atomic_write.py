"""Writes a library's files atomically: a reader finds the old file or the new one, never a part."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bdc_agents import disk
from bdc_agents.errors import BDCError


@contextmanager
def replacing(target: Path) -> Iterator[Path]:
    """A temporary file beside the target, which replaces it at the end.

    Raises:
        BDCError: If the disk is full; what was there is kept.
    """
    with explained(target), disk.replacing(target) as temporary:
        yield temporary


@contextmanager
def explained(target: Path) -> Iterator[None]:
    """Within the context, a full disk raises an error for people.

    Raises:
        BDCError: If the disk is full.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise BDCError(f"cannot write {str(target)!r}: {error.strerror}; what was there is kept") from error
