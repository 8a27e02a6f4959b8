"""The reports of a program's or a test script's process on how a test went, and how a script's gets out.

A script's report quotes the script. The next program's process is forked from the supervisor, and must
find no word of any script there. So that report never enters the supervisor's memory: it goes into a
`Note`, which the supervisor passes on unread.
"""

import json
import os
import struct
import types
from typing import Any

from . import values, wire

PROGRAM, TEST = "program.py", "test.py"
MAIN = "__main__"
"""The name of a script's module, as where plain Python runs it."""

OUT_OF_MEMORY, PROGRAM_ENDED = 86, 87
"""Exit statuses: not even the report fits into memory; the program's process is gone."""

LEFT, RIGHT = "__left_side__", "__right_side__"
"""Names that keep both sides of an `assert L == R`; Python does not mangle them in a class either."""

_LONGEST_TEXT = 2000
"""Characters of a text in a report: more than a result keeps, and small beside a pipe's buffer."""

TOLD = "__told_by_the_program__"
"""Attribute in which an exception from the other process keeps its description from there."""


def send(descriptor: int, report: dict[str, Any]) -> None:
    """Sends a report: the length of its JSON, and its JSON."""
    body = json.dumps(report).encode()
    try:
        wire.send(descriptor, struct.pack(">I", len(body)) + body)
    except OSError:
        return  # the program closed the pipe


def describe(error: BaseException) -> dict[str, Any]:
    """Type, message and place of an exception, and both sides of an assertion that failed."""
    told: dict[str, Any] = getattr(error, TOLD, {})
    report: dict[str, Any] = dict(told) or {"error": type(error).__name__, "message": message(error)}
    report = {key: shortened(value) for key, value in report.items()}
    frames = _frames(error)
    lines: dict[str, int | None] = {frame.tb_frame.f_code.co_filename: frame.tb_lineno for frame in frames}
    if isinstance(error, SyntaxError) and PROGRAM not in lines and TEST not in lines:
        lines[str(error.filename)] = error.lineno
    report.setdefault("line", lines.get(PROGRAM))
    report["test_line"] = lines.get(TEST)
    if not told and TEST in lines and isinstance(error, AssertionError):
        report["failed_assert"] = True
        last = frames[-1].tb_frame
        if last.f_code.co_filename == TEST and LEFT in last.f_locals and RIGHT in last.f_locals:
            report["left"], report["right"] = (values.show(last.f_locals[name]) for name in (LEFT, RIGHT))
    return report


def message(error: BaseException) -> str:
    """What an exception says, cut to a length; never raises an ordinary exception."""
    try:
        return shortened(error.msg if isinstance(error, SyntaxError) else str(error))
    except Exception:
        return "(its message could not be read)"


def shortened(text: Any) -> Any:
    """A text without its middle, where it is long; anything else as it is."""
    if not isinstance(text, str) or len(text) <= _LONGEST_TEXT:
        return text
    return f"{text[: _LONGEST_TEXT // 2]} … {text[-_LONGEST_TEXT // 2 :]}"


def _frames(error: BaseException) -> list[types.TracebackType]:
    frames: list[types.TracebackType] = []
    here = error.__traceback__
    while here is not None:
        frames.append(here)
        here = here.tb_next
    return frames


# --- the note of a script -----------------------------------------------------------------------------

_HEARD = b"!"
_LENGTH_BYTES = 4  # Lengths up to 4 GiB, far above the output limit.
_REPORT_AT = len(_HEARD) + _LENGTH_BYTES


def note_heard(descriptor: int) -> None:
    """Notes, in the script's process, that the whole script was read from the caller."""
    os.write(descriptor, _HEARD)


class Note:
    """A file in memory: a mark that the script was read, and then what `send` writes."""

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
        """Closes the file."""
        os.close(self.descriptor)
