"""Ends every process that a test started, wherever it is in the tree."""

import os
import signal
from typing import NamedTuple


class Ended(NamedTuple):
    """How a process ended.

    Args:
        status: Exit status, or a negative signal number.
        peak: Bytes of memory that it had at most.
    """

    status: int
    peak: int


def end_all(pids: tuple[int, ...]) -> dict[int, Ended]:
    """Kills every process that is left and reaps it; how those named ended."""
    found: dict[int, Ended] = {}
    while True:
        _kill_all(pids)
        try:
            pid, word, used = os.wait3(0)
        except ChildProcessError:
            return found
        if pid in pids:
            found[pid] = Ended(os.waitstatus_to_exitcode(word), used.ru_maxrss * 1024)


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
