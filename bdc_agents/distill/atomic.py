"""Files that a reader finds whole, old or new, whenever their writer is killed."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import mkstemp

from bdc_agents.errors import BDCError


@contextmanager
def replacing(target: Path) -> Iterator[Path]:
    """A temporary file beside the target, which takes its place at the end.

    Raises:
        BDCError: If the disk is full; what was there is kept.
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
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise BDCError(f"cannot write {str(target)!r}: {error.strerror}; what was there is kept") from error
    finally:
        temporary.unlink(missing_ok=True)
