"""The processes of a test, held to their limits; when it ends, so does everything they started."""

import fcntl
import os
import select
import signal
import socket
import struct
import time
from typing import Any, NamedTuple

from . import checker, kernel, reports, run_test, usage, wire
from .confine import Rules

_CHUNK = 65536
_REPORT_SLACK = 8192  # an error's text, beside the values that the output limit bounds
_SHORTEST_WAIT = 0.01
_LAST_WORDS_SECONDS = 1.0


class Session:
    """The processes that run a program: on one test, or on one call after another.

    Args:
        job: The program, its preamble and limits.
        test: The first test; all are of its kind.
        rules: The filter and limits that hold.
        control: The socket to the caller, watched for its end.
    """

    def __init__(self, job: dict[str, Any], test: dict[str, Any], rules: Rules, control: int) -> None:
        self._limits, self._control, self.kind = job["limits"], control, test["kind"]
        self.alive, self._inbox = True, bytearray()
        start = {"stdin": _start_on_input, "call": _start_on_calls, "script": _start_script}[self.kind]
        self._ends = start(job, test, rules)
        self._counter = usage.Counter(self._ends.pids, self._limits["processes"] > 1)
        self._processes = [kernel.watch(pid) for pid in self._ends.pids]
        self._poll = select.poll()
        for descriptor in (self._processes[-1], self._ends.output, self._ends.report):
            os.set_blocking(descriptor, False)
            self._poll.register(descriptor, select.POLLIN)
        if self._ends.tests is not None:
            os.set_blocking(self._ends.tests, False)
        self._poll.register(control, 0)

    def run(self, test: dict[str, Any]) -> wire.Ending:
        """Runs one test; unless it was answered while the process lives, the session is over.

        Raises:
            SystemExit: If the caller has gone.
        """
        started = time.monotonic()
        self.printed, self._report = bytearray(), bytearray()
        self._counter.restart()
        if self._ends.tests is not None:
            self._hand_over(wire.pack({key: test[key] for key in ("call", "setup")}))
        reason = self._wait(started + self._limits["wall_seconds"])
        status = 0 if reason == "answered" else self._end()
        reason = self._drain() or reason
        if reason == "output" and self.alive:
            self._end()
        body = self._whole_report()
        seconds = time.monotonic() - started
        printed = bytes(self.printed) if self.kind == "stdin" else b""
        reason = "cpu" if status == -signal.SIGXCPU else "exit" if reason == "answered" else reason
        return wire.Ending(reason, status, body is not None, seconds, printed, body or b"")

    def close(self) -> None:
        """Ends every process, and closes this side's descriptors."""
        if self.alive:
            self._end()
        for descriptor in (*self._processes, self._ends.output, self._ends.report):
            os.close(descriptor)
        if self._ends.tests is not None:
            os.close(self._ends.tests)

    # --- waiting

    def _hand_over(self, frame: bytes) -> None:
        self._inbox = bytearray(frame)
        assert self._ends.tests is not None
        self._poll.register(self._ends.tests, select.POLLOUT)

    def _wait(self, deadline: float) -> str:
        """What came first: `answered`, `exit`, or the limit that was passed."""
        while (left := deadline - time.monotonic()) > 0:
            over = self._counter.over(self._limits)
            if over:
                return over
            patience = min(left, max(_SHORTEST_WAIT, self._counter.patience(self._limits)))
            for descriptor, events in self._poll.poll(patience * 1000 + 1):
                ended = self._event(descriptor, events)
                if ended:
                    return ended
        return "wall"

    def _event(self, descriptor: int, events: int) -> str | None:
        if descriptor == self._control:
            raise SystemExit(0)
        if descriptor == self._processes[-1]:
            return "exit"
        if descriptor == self._ends.tests:
            self._write_on(events)
        elif not self._read(descriptor):
            return "output"
        elif self.kind == "call" and self._whole_report() is not None:
            return "answered"
        return None

    def _write_on(self, events: int) -> None:
        assert self._ends.tests is not None
        try:
            del self._inbox[: os.write(self._ends.tests, self._inbox)]
        except BlockingIOError:
            return
        except BrokenPipeError:
            self._inbox.clear()
        if not self._inbox or events & select.POLLERR:
            self._poll.unregister(self._ends.tests)

    def _drain(self) -> str | None:
        """Reads what is left in the pipes; `output` if it is too much."""
        for descriptor in (self._ends.output, self._ends.report):
            while _readable(descriptor):
                if not self._read(descriptor):
                    return "output"
        return None

    def _read(self, descriptor: int) -> bool:
        """Takes in what is there; false if that passes the limit."""
        report = descriptor == self._ends.report
        sink = self._report if report else self.printed
        room = self._limits["output_bytes"] + (_REPORT_SLACK if report else 0)
        chunk = os.read(descriptor, _CHUNK)
        if not chunk:
            self._poll.unregister(descriptor)
        sink += chunk[: room + 1 - len(sink)]
        return len(sink) <= room

    def _whole_report(self) -> bytes | None:
        """The report, if all that its first bytes announce is there."""
        if len(self._report) < 4:
            return None
        (length,) = struct.unpack(">I", self._report[:4])
        return bytes(self._report[4:]) if len(self._report) == 4 + length else None

    # --- ending

    def _end(self) -> int:
        """Ends every process; how the program's, or for a script its checker's, ended."""
        program, last = self._ends.pids[0], self._ends.pids[-1]
        if program != last:
            _await_last_words(self._processes[-1], last, self._processes[0])
        self.alive = False
        statuses = end_all(self._ends.pids)
        if statuses.get(last) == reports.PROGRAM_ENDED:
            return statuses.get(program, -signal.SIGKILL)
        return statuses.get(last, -signal.SIGKILL)


def _await_last_words(checker_process: int, pid: int, program_process: int) -> None:
    """Where the checker ended since the program did, lets the program end of itself."""
    if _readable(checker_process):
        found = os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT | os.WNOHANG)
        if found and found.si_status == reports.PROGRAM_ENDED:
            _readable(program_process, _LAST_WORDS_SECONDS)


# --- starting ---------------------------------------------------------------------------------------


class Ends(NamedTuple):
    """What the supervisor holds of the processes of a test.

    Args:
        pids: The program's; for a script, its checker's as the second.
        output: Where the program's output comes from.
        report: Where the report comes from.
        tests: Where calls go to.
    """

    pids: tuple[int, ...]
    output: int
    report: int
    tests: int | None = None


def _start_on_input(job: dict[str, Any], test: dict[str, Any], rules: Rules) -> Ends:
    output, report = os.pipe(), os.pipe()
    keep = (_sealed(test["stdin"]), output[1], _nowhere(), report[1])
    return Ends((_fork_program(job, "stdin", rules, keep),), output[0], report[0])


def _start_on_calls(job: dict[str, Any], _: dict[str, Any], rules: Rules) -> Ends:
    output, report, tests = os.pipe(), os.pipe(), os.pipe()
    keep = (os.open(os.devnull, os.O_RDONLY), output[1], _nowhere(), report[1], tests[0])
    return Ends((_fork_program(job, "call", rules, keep),), output[0], report[0], tests[1])


def _start_script(job: dict[str, Any], test: dict[str, Any], rules: Rules) -> Ends:
    output, report = os.pipe(), os.pipe()
    ours, theirs = (end.detach() for end in socket.socketpair())
    keep = (os.open(os.devnull, os.O_RDONLY), _nowhere(), _nowhere(), report[1], ours)
    last = os.fork()
    if last == 0:
        checker.run(job, test, rules, keep)
    _close(keep)
    keep = (os.open(os.devnull, os.O_RDONLY), output[1], _nowhere(), theirs)
    return Ends((_fork_program(job, "script", rules, keep), last), output[0], report[0])


def _fork_program(job: dict[str, Any], kind: str, rules: Rules, keep: tuple[int, ...]) -> int:
    pid = os.fork()
    if pid == 0:
        run_test.run(job, kind, rules, keep)
    _close(keep)
    return pid


def _close(descriptors: tuple[int, ...]) -> None:
    for descriptor in descriptors:
        os.close(descriptor)


def _nowhere() -> int:
    return os.open(os.devnull, os.O_WRONLY)


def _sealed(text: bytes) -> int:
    """A sealed file in memory with the input, so that a program can also seek in it."""
    descriptor = os.memfd_create("stdin", os.MFD_ALLOW_SEALING)
    wire.send(descriptor, text)
    os.lseek(descriptor, 0, os.SEEK_SET)
    seals = fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE
    fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, seals)
    return descriptor


def _readable(descriptor: int, seconds: float = 0.0) -> bool:
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    return any(event & select.POLLIN for _, event in poll.poll(seconds * 1000))


# --- ending -----------------------------------------------------------------------------------------


def end_all(pids: tuple[int, ...]) -> dict[int, int]:
    """Kills every process that is left and reaps it; how those named ended."""
    statuses: dict[int, int] = {}
    while True:
        _kill_all(pids)
        try:
            ended, word = os.wait()
        except ChildProcessError:
            return statuses
        if ended in pids:
            statuses[ended] = os.waitstatus_to_exitcode(word)


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
