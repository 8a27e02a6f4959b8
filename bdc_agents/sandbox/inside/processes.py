"""Starts the processes of a test, and ends every process that they started, wherever it is in the tree."""

import fcntl
import os
import signal
import socket
from typing import Any, NamedTuple

from . import run_program, run_script, wire
from .isolation.confine import Rules
from .reports import Note


class Ends(NamedTuple):
    """What the supervisor holds of the processes of a test.

    Args:
        pids: The program's; for a script, its checker's as the second.
        output: Where the program's output comes from.
        report: Where the program's report comes from.
        tests: Where calls go to.
        note: What the checker of a script writes down.
    """

    pids: tuple[int, ...]
    output: int
    report: int | None = None
    tests: int | None = None
    note: Note | None = None


def start(job: dict[str, Any], test: dict[str, Any], rules: Rules, control: int) -> Ends:
    """Starts them.

    Args:
        job: The program, its preamble and limits.
        test: The first test, of input or call; of a script only the size.
        rules: The filter and limits that hold.
        control: The socket to the caller, where the script waits to be read.
    """
    match test["kind"]:
        case "stdin":
            return _start_on_input(job, test["stdin"], rules)
        case "call":
            return _start_on_calls(job, rules)
        case _:
            return _start_script(job, test["size"], rules, control)


def _start_on_input(job: dict[str, Any], text: bytes, rules: Rules) -> Ends:
    output, report = os.pipe(), os.pipe()
    program = _fork_program(job, "stdin", rules, (_sealed(text), output[1], _sink(), report[1]))
    return Ends((program,), output[0], report[0])


def _start_on_calls(job: dict[str, Any], rules: Rules) -> Ends:
    output, report, tests = os.pipe(), os.pipe(), os.pipe()
    program = _fork_program(job, "call", rules, (_nothing(), output[1], _sink(), report[1], tests[0]))
    return Ends((program,), output[0], report[0], tests[1])


def _start_script(job: dict[str, Any], size: int, rules: Rules, control: int) -> Ends:
    """Starts the program first, and from a process that never read a script: then none is in it."""
    output = os.pipe()
    ours, theirs = (end.detach() for end in socket.socketpair())
    program = _fork_program(job, "script", rules, (_nothing(), output[1], _sink(), theirs))
    note = Note()
    keep = (_nothing(), _sink(), _sink(), note.descriptor, ours)
    last = os.fork()
    if last == 0:
        run_script.run(job, size, control, rules, keep)
    _close((*keep[:3], ours))
    return Ends((program, last), output[0], note=note)


def _fork_program(job: dict[str, Any], kind: str, rules: Rules, keep: tuple[int, ...]) -> int:
    pid = os.fork()
    if pid == 0:
        run_program.run(job, kind, rules, keep)
    _close(keep)
    return pid


def _close(descriptors: tuple[int, ...]) -> None:
    for descriptor in descriptors:
        os.close(descriptor)


def _nothing() -> int:
    return os.open(os.devnull, os.O_RDONLY)


def _sink() -> int:
    return os.open(os.devnull, os.O_WRONLY)


def _sealed(text: bytes) -> int:
    """A sealed file in memory with the input, so that a program can also seek in it."""
    descriptor = os.memfd_create("stdin", os.MFD_ALLOW_SEALING)
    wire.send(descriptor, text)
    os.lseek(descriptor, 0, os.SEEK_SET)
    seals = fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE
    fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, seals)
    return descriptor


# --- ending ---------------------------------------------------------------------------------------


class Ended(NamedTuple):
    """How a process ended.

    Args:
        status: Exit status, or a negative signal number.
        peak: Bytes of memory that it had at most.
    """

    status: int
    peak: int


def end_all(pids: tuple[int, ...]) -> dict[int, Ended]:
    """Kills every process that is left and reaps it; returns how those named ended."""
    found: dict[int, Ended] = {}
    while True:
        _kill_all(pids)
        try:
            pid, word, used = os.wait3(0)
        except ChildProcessError:
            return found
        if pid in pids:
            peak = used.ru_maxrss * 1024  # Linux counts it in kilobytes.
            found[pid] = Ended(os.waitstatus_to_exitcode(word), peak)


def _kill_all(pids: tuple[int, ...]) -> None:
    if os.getpid() == 1:  # then all other processes of this namespace are the program's
        _kill(-1)
        return
    for target in (*(-pid for pid in pids), *_children()):
        _kill(target)


def _children() -> list[int]:
    try:
        with open("/proc/thread-self/children", encoding="ascii") as children:
            return [int(child) for child in children.read().split()]
    except OSError:
        return []


def _kill(target: int) -> None:
    try:
        os.kill(target, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        return
