"""What passes between the caller and the sandbox.

In: frames of `marshal`, which only the caller writes. A script test is a frame that says how long the
script is, followed by the script itself, which the supervisor leaves to the checker. Out: lines of
plain words, each followed by the bytes that it announces; they come from the supervisor, and what a
program said is only ever inside those bytes.
"""

import marshal
import os
import struct
from typing import Any, NamedTuple

READY, TAKEN, RESULT = "ready", "taken", "result"
"""A job can be sent; it has arrived, and from here on its program may be the cause of anything."""
FAILED, BROKEN = "failed", "broken"
"""Followed by a reason: no program has run, so the sandbox is at fault; one has, and may have done it."""


class Ending(NamedTuple):
    """How the process of one test ended.

    Args:
        reason: `exit`, or the limit that ended it: `wall`, `idle`, `cpu`, `memory` or `output`.
        status: Exit status, or a negative signal number.
        answered: Whether there is a whole report.
        seconds: Wall time.
        output: What the program printed, as far as the limit.
        report: JSON. That of a script test is written by its checker, any other in the hostile
            process.
    """

    reason: str
    status: int
    answered: bool
    seconds: float
    output: bytes
    report: bytes


def pack(frame: dict[str, Any]) -> bytes:
    """A frame for `receive`."""
    body = marshal.dumps(frame)
    return struct.pack(">I", len(body)) + body


def receive(descriptor: int) -> dict[str, Any]:
    """The next frame.

    Raises:
        EOFError: If the other side has closed.
    """
    (length,) = struct.unpack(">I", read(descriptor, 4))
    return marshal.loads(read(descriptor, length))  # noqa: S302 - written by the caller only


def read(descriptor: int, length: int) -> bytes:
    """So many bytes, and not one more.

    Raises:
        EOFError: If the other side has closed.
    """
    parts = bytearray()
    while len(parts) < length:
        chunk = os.read(descriptor, length - len(parts))
        if not chunk:
            raise EOFError
        parts += chunk
    return bytes(parts)


def send(descriptor: int, data: bytes) -> None:
    """Writes all of it."""
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def pack_ending(ending: Ending, report_follows: int = 0) -> bytes:
    """One line and two bodies, for `parse_ending`.

    Args:
        ending: How the test ended.
        report_follows: Bytes of a report that the sender sends after this, in place of the ending's.
    """
    answered = "yes" if ending.answered else "no"
    sizes = f"{len(ending.output)} {report_follows or len(ending.report)}"
    line = f"{RESULT} {ending.reason} {ending.status} {answered} {ending.seconds:.6f} {sizes}\n"
    return line.encode() + ending.output + ending.report


def parse_ending(line: str) -> tuple[Ending, int, int]:
    """An ending still without its bodies, and their lengths.

    Raises:
        ValueError: If it is no such line.
    """
    word, reason, status, answered, seconds, output, report = line.split()
    if word != RESULT:
        raise ValueError(line)
    return Ending(reason, int(status), answered == "yes", float(seconds), b"", b""), int(output), int(report)
