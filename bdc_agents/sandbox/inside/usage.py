"""Measures the CPU time and memory of a test's processes, and whether they do anything at all."""

import os
import resource
import time
from typing import Any

_LOOK_SECONDS = 0.025  # Between two looks at memory: a program fills some 50 MB in that time.
_WORKING_SHARE = 0.05  # Of a processor: a busy machine may give so little, and a sleeping program takes less.
_PATIENCE_SECONDS = 1.0  # Before a process counts as idle: a busy machine starts it late.
_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGESIZE")
_KB = 1024
_KB_OF_A_THREAD = 32  # The kernel's memory for each; without namespaces nothing else limits their number.


def sizes() -> tuple[int, int]:
    """Bytes of this process: of its address space, and in use."""
    try:
        with open("/proc/self/statm", "rb") as pages:
            whole, resident = map(int, pages.read().split()[:2])
    except OSError:
        return 64 * 2**20, 16 * 2**20  # about what the bare interpreter takes
    return whole * _PAGE, resident * _PAGE


class Counter:
    """Counts for one test: the named processes, or all of this namespace.

    Memory is what was touched. Address space that is only reserved, such as that of a thread's
    stack, is none.

    Args:
        pids: The processes that were started, the program's first.
        group: Whether these may start others, which are then counted too.
    """

    def __init__(self, pids: tuple[int, ...], group: bool) -> None:
        self._pids, self._group = pids, group and os.getpid() == 1
        self._inherited = sizes()[1]
        self._status: int | None = None
        self.restart()

    def restart(self) -> None:
        """Counts time from now on."""
        self._started = self._looked = time.monotonic()
        self._before = self._cpu()

    def patience(self, limits: dict[str, Any]) -> float:
        """Seconds that may pass before the next look."""
        return min(_LOOK_SECONDS, (limits["cpu_seconds"] - self._spent()) / (os.cpu_count() or 1))

    def over(self, limits: dict[str, Any]) -> str | None:
        """The limit that was passed: `cpu`, `memory`, or `idle`.

        CPU time decides, since wall time depends on what else the machine does. But a process that
        neither uses CPU time nor can be waiting for it only sleeps.
        """
        spent, now = self._spent(), time.monotonic()
        if spent >= limits["cpu_seconds"]:
            return "cpu"
        patience = max(_PATIENCE_SECONDS, limits["cpu_seconds"])
        if now - self._started > patience + spent / _WORKING_SHARE:
            return "idle"
        if now - self._looked >= _LOOK_SECONDS:
            self._looked = now
            return "memory" if self.too_large(limits) else None
        return None

    def too_large(self, limits: dict[str, Any], peak: int = 0) -> bool:
        """Whether more memory was taken than is allowed.

        Args:
            limits: Of the job.
            peak: Bytes that the program's process had at most, where that has ended.
        """
        if not peak and self._group:
            return _memory_of_all() > limits["memory_mb"] * 2**20
        return (peak or self._peak()) - self._inherited > limits["memory_mb"] * 2**20

    def close(self) -> None:
        """Closes the file that it looks at."""
        if self._status is not None:
            os.close(self._status)

    def _peak(self) -> int:
        """Bytes that the program had at most; 0 where this cannot be seen."""
        try:
            if self._status is None:  # not earlier: it is hidden until the process is confined
                self._status = os.open(f"/proc/{self._pids[0]}/status", os.O_RDONLY)
            status = os.pread(self._status, 4096, 0)  # The whole of it: some 1,500 bytes.
        except OSError:  # the process has ended, or /proc is not there
            return 0
        now = _kilobytes(status, b"VmRSS") + _kilobytes(status, b"VmSwap")
        kernels = _kilobytes(status, b"VmPTE") + _kilobytes(status, b"Threads") * _KB_OF_A_THREAD
        return (max(now, _kilobytes(status, b"VmHWM")) + kernels) * _KB

    def _spent(self) -> float:
        return self._cpu() - self._before

    def _cpu(self) -> float:
        if self._group:
            return _cpu_of_all()
        return sum(map(_cpu_of, self._pids))


def _kilobytes(status: bytes, name: bytes) -> int:
    """A number of `/proc/PID/status`, where a process can write its name, but no line."""
    _, found, rest = status.partition(b"\n" + name + b":")
    return int(rest.split(maxsplit=1)[0]) if found else 0


def _cpu_of(pid: int) -> float:
    """CPU seconds of all threads of a process, by the clock that the kernel keeps for it."""
    try:
        return time.clock_gettime(~pid << 3 | 2)
    except OSError:
        return 0.0


def _others() -> list[str]:
    try:
        return [name for name in os.listdir("/proc") if name.isdigit() and name != "1"]
    except OSError:
        return []


def _cpu_of_all() -> float:
    reaped = resource.getrusage(resource.RUSAGE_CHILDREN)
    total = reaped.ru_utime + reaped.ru_stime
    for pid in _others():
        fields = _read(f"/proc/{pid}/stat").rpartition(b")")[2].split()
        total += sum(map(int, fields[11:15])) / _TICKS  # proc(5): its own time and its children's
    return total


def _memory_of_all() -> int:
    """Bytes of all processes, pages that they share counted once."""
    total = 0
    for pid in _others():
        for line in _read(f"/proc/{pid}/smaps_rollup").splitlines():
            if line.startswith(b"Pss:"):
                total += int(line.split()[1]) * _KB
    return total


def _read(path: str) -> bytes:
    """A file of `/proc`, as bytes: a process may have given itself a name in no encoding."""
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError:
        return b""
