"""A checker's note to the caller, which the supervisor passes on unread.

A report quotes its script. The next program's process is forked from the supervisor, and must not
find there what any script says; so a report never enters the supervisor's memory.
"""

import os
import struct

_HEARD = b"!"
_LENGTH_BYTES = 4  # Lengths up to 4 GiB, far above the output limit.
_REPORT_AT = len(_HEARD) + _LENGTH_BYTES


def heard(descriptor: int) -> None:
    """Says, in the checker, that the whole script was read from the caller."""
    os.write(descriptor, _HEARD)


class Note:
    """A file in memory: a mark that the script was read, and then what `reports.send` writes."""

    def __init__(self) -> None:
        self.descriptor = os.memfd_create("note")

    @property
    def heard(self) -> bool:
        """Whether the script was read; if not, nobody knows where the caller's next frame begins."""
        return os.fstat(self.descriptor).st_size >= len(_HEARD)

    def length(self) -> int:
        """Bytes of the report; 0 unless all of it is there."""
        size = os.fstat(self.descriptor).st_size - _REPORT_AT
        return size if size > 0 and self._announced() == size else 0

    def _announced(self) -> int:
        return struct.unpack(">I", os.pread(self.descriptor, _LENGTH_BYTES, len(_HEARD)))[0]

    def pass_on(self, descriptor: int, length: int) -> None:
        """Has the kernel copy the report into a socket."""
        start, end = _REPORT_AT, _REPORT_AT + length
        while start < end:
            start += os.sendfile(descriptor, self.descriptor, start, end - start)

    def close(self) -> None:
        """Lets it go."""
        os.close(self.descriptor)
