"""Runs one command of a workspace, or moves one file, in a confined process; holds it to its limits.

Unlike a program of a search, a command may start other programs, and what it writes stays for the next.
When it ends, so does every process that it started.
"""

import errno
import os
import select
import time
from typing import Any

from . import usage, wire
from .isolation import confine, kernel
from .processes import end_all

_CHUNK = 65536  # The default size of a pipe's buffer: no read can give more.
_LOOK_SECONDS = 0.05  # Between two looks at memory, as far as a busy machine allows.
_SHELLS = ("/bin/bash", "/bin/sh")
_NO_SHELL = 127  # As a shell says that a command is not there.
_FILE_ERRORS = {
    errno.ENOENT: 2,
    errno.EACCES: 3,
    errno.EPERM: 3,
    errno.EROFS: 3,
    errno.EISDIR: 4,
    errno.ENOTDIR: 5,
    errno.EEXIST: 5,
    errno.ENAMETOOLONG: 5,
    errno.EINVAL: 5,
}
"""Exit statuses of a file that could not be moved; 1 is any other reason, whose text is the output."""


class Output:
    """What processes print, as far as a limit: its beginning is kept, the rest is read and dropped.

    Args:
        descriptor: Where to read.
        room: Bytes that are kept.
    """

    def __init__(self, descriptor: int, room: int) -> None:
        os.set_blocking(descriptor, False)
        self.descriptor, self._room = descriptor, room
        self.kept, self.truncated = bytearray(), False

    def take(self) -> bool:
        """Takes in what is there; false at the end, when nobody holds the other end."""
        try:
            chunk = os.read(self.descriptor, _CHUNK)
        except BlockingIOError:
            return True
        left = self._room - len(self.kept)
        self.kept += chunk[:left]
        self.truncated = self.truncated or len(chunk) > left
        return bool(chunk)

    def take_rest(self) -> None:
        """Takes in what is left once every process has ended."""
        while self.take():
            continue


def serve(job: dict[str, Any], rules: confine.Rules, control: int) -> None:
    """Does what the caller asks, and tells it how that ended: `answered` says that nothing was dropped.

    Args:
        job: `kind` is `execute`, `put` or `get`; with `limits`.
        rules: What holds for the process.
        control: The socket to the caller, watched for its end.
    """
    limits = job["limits"]
    rules = rules._replace(address_space=rules.address_space + limits["memory_mb"] * 2**20)
    started = time.monotonic()
    output, theirs = os.pipe()
    pid = os.fork()
    if pid == 0:
        _run(job, rules, theirs)
    os.close(theirs)
    printed = Output(output, limits["output_bytes"])
    counter = usage.Counter((pid,), group=True)
    reason = _wait(pid, printed, counter, control, limits, started + limits["wall_seconds"])
    status = end_all((pid,))[pid].status
    printed.take_rest()
    seconds = time.monotonic() - started
    ending = wire.Ending(reason, status, not printed.truncated, seconds, bytes(printed.kept), b"")
    wire.send(control, wire.pack_ending(ending))


def _wait(
    pid: int, printed: Output, counter: usage.Counter, control: int, limits: dict[str, Any], deadline: float
) -> str:
    """What came first: `exit`, or the limit that was passed. What is printed beyond the limit is dropped."""
    process, poll = kernel.watch(pid), select.poll()
    poll.register(control, 0)
    poll.register(process, select.POLLIN)
    poll.register(printed.descriptor, select.POLLIN)
    looked = 0.0
    while (now := time.monotonic()) < deadline:
        if now - looked >= _LOOK_SECONDS:
            looked = now
            if counter.too_large(limits):
                return "memory"
        for descriptor, _ in poll.poll(1000 * min(_LOOK_SECONDS, deadline - now) + 1):
            if descriptor == control:
                raise SystemExit(0)  # the caller is gone
            if descriptor == process:
                return "exit"
            if not printed.take():
                poll.unregister(descriptor)
    return "wall"


def _run(job: dict[str, Any], rules: confine.Rules, output: int) -> None:
    """In the process of the command."""
    status = 1
    try:
        nothing = os.open(os.devnull, os.O_RDONLY)
        confine.confine(job["limits"], rules, (nothing, output, output))
        status = {"execute": _execute, "put": _put, "get": _get}[job["kind"]](job)
    except OSError as error:
        status = _FILE_ERRORS.get(error.errno or 0, 1)
        wire.send(1, os.strerror(error.errno or 0).encode())
    except (ValueError, MemoryError) as error:  # a NUL in a path; a file that does not fit
        status = 5 if isinstance(error, ValueError) else 1
        wire.send(1, type(error).__name__.encode())
    finally:
        os._exit(status)


def _execute(job: dict[str, Any]) -> int:
    for shell in _SHELLS:
        if os.path.exists(shell):
            os.execve(shell, [shell, "-c", job["command"]], job["environment"])  # noqa: S606 - what it is for
    wire.send(1, b"there is no shell in this sandbox")
    return _NO_SHELL


def _put(job: dict[str, Any]) -> int:
    path = job["path"]
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb") as file:
        file.write(job["data"])
    return 0


def _get(job: dict[str, Any]) -> int:
    with open(job["path"], "rb") as file:
        while part := file.read(1 << 20):
            wire.send(1, part)
    return 0
