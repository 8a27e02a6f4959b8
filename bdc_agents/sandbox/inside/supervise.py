"""Holds the processes of a test to their limits; when the test ends, so does all that they started."""

import os
import select
import signal
import struct
import time
from typing import Any

from . import reports, usage, wire
from .isolation import kernel
from .isolation.confine import Rules
from .processes import Ended, end_all, start

_CHUNK = 65536  # The default size of a pipe's buffer: no read can give more.
_REPORT_SLACK = 8192  # For an error's text, beside the values that the output limit bounds.
_SHORTEST_WAIT = 0.01  # So that looks at a program near its limit do not take its processor.
_LAST_WORDS_SECONDS = 1.0  # For a program to end by itself, after its checker ended because the program did.


class Intake:
    """What comes through a pipe, as far as a limit.

    The program holds the other end, and through `/proc` it may open this end, too: it can fill,
    empty and close the pipe, and open it again, at any moment.

    Args:
        descriptor: Where to read.
        room: Bytes that may come.
        keep: Whether what came is wanted, or only its size.
    """

    def __init__(self, descriptor: int, room: int, keep: bool) -> None:
        os.set_blocking(descriptor, False)
        self.descriptor, self._room, self._keep = descriptor, room, keep
        self.restart()

    def restart(self) -> None:
        """Forgets what came."""
        self.data, self._size = bytearray(), 0

    @property
    def overflowed(self) -> bool:
        """Whether more came than there is room for."""
        return self._size > self._room

    def take(self) -> bool:
        """Takes in what is there; false at the end, when nobody holds the other end."""
        try:
            chunk = os.read(self.descriptor, _CHUNK)
        except BlockingIOError:  # the program was faster, and took it back
            return True
        self._size += len(chunk)
        if self._keep and not self.overflowed:
            self.data += chunk
        return bool(chunk)

    def take_all(self) -> None:
        """Takes in what is left, or enough to see that it is too much: the program may still write."""
        before = -1
        while before < self._size and not self.overflowed:
            before = self._size
            self.take()


class Session:
    """The processes that run a program: on one test, or on one call after another.

    Args:
        job: The program, its preamble and limits.
        test: The first test; all are of its kind.
        rules: The filter and limits that hold.
        control: The socket to the caller, watched for its end.
    """

    def __init__(self, job: dict[str, Any], test: dict[str, Any], rules: Rules, control: int) -> None:
        self._limits, self._control, self._kind = job["limits"], control, test["kind"]
        self.alive, self._inbox = True, bytearray()
        self._ends = start(job, test, rules, control)
        self._counter = usage.Counter(self._ends.pids, self._limits["processes"] > 1)
        self._processes = [kernel.watch(pid) for pid in self._ends.pids]
        self._poll = select.poll()
        self._poll.register(control, 0)
        self._poll.register(self._processes[-1], select.POLLIN)
        room = self._limits["output_bytes"]
        self._output = Intake(self._ends.output, room, keep=self._kind == "stdin")
        self._intakes = {self._ends.output: self._output}
        if self._ends.report is not None:
            self._report = Intake(self._ends.report, room + _REPORT_SLACK, keep=True)
            self._intakes[self._ends.report] = self._report
        for descriptor in self._intakes:
            self._poll.register(descriptor, select.POLLIN)
        if self._ends.tests is not None:
            os.set_blocking(self._ends.tests, False)

    def answer(self, test: dict[str, Any]) -> bool:
        """Runs one test, and tells the caller how that ended.

        Unless it was answered while the process lives, the session is over.

        Returns:
            Whether the caller's next frame can be read: not if the checker left a part of its script unread.

        Raises:
            SystemExit: If the caller has gone.
        """
        ending, note = self._run(test), self._ends.note
        if note is None:
            wire.send(self._control, wire.pack_ending(ending))
            return True
        length = note.length()
        if length > self._limits["output_bytes"] + _REPORT_SLACK:
            ending, length = ending._replace(reason="output", answered=False), 0
        wire.send(self._control, wire.pack_ending(ending, report_follows=length))
        note.pass_on(self._control, length)
        return note.heard

    def _run(self, test: dict[str, Any]) -> wire.Ending:
        started = time.monotonic()
        for intake in self._intakes.values():
            intake.restart()
        self._counter.restart()
        if self._ends.tests is not None:
            self._hand_over(wire.pack({key: test[key] for key in ("call", "setup")}))
        reason, status = self._wait(started + self._limits["wall_seconds"]), 0
        if reason == "answered":
            reason = "memory" if self._counter.too_large(self._limits) else "exit"
        else:
            status, peak = self._end()
            if status == -signal.SIGXCPU:
                reason = "cpu"
            elif status == 0 and reason == "exit" and self._counter.too_large(self._limits, peak):
                reason = "memory"
        for intake in self._intakes.values():
            intake.take_all()
        if any(intake.overflowed for intake in self._intakes.values()):
            reason = "output"
        if reason != "exit" and self.alive:
            self._end()
        seconds, printed = time.monotonic() - started, bytes(self._output.data)
        if self._ends.note:
            return wire.Ending(reason, status, self._ends.note.length() > 0, seconds, b"", b"")
        body = self._whole_report()
        return wire.Ending(reason, status, body is not None, seconds, printed, body or b"")

    def close(self) -> None:
        """Ends every process, and closes this side's descriptors."""
        if self.alive:
            self._end()
        self._counter.close()
        if self._ends.note:
            self._ends.note.close()
        for descriptor in (*self._processes, *self._intakes):
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
            self._write_on(descriptor, events)
            return None
        intake = self._intakes[descriptor]
        if not intake.take():
            self._poll.unregister(descriptor)
        if intake.overflowed:
            return "output"
        return "answered" if self._kind == "call" and self._whole_report() is not None else None

    def _write_on(self, descriptor: int, events: int) -> None:
        try:
            del self._inbox[: os.write(descriptor, self._inbox)]
        except BlockingIOError:
            return
        except BrokenPipeError:
            self._inbox.clear()
        if not self._inbox or events & select.POLLERR:
            self._poll.unregister(descriptor)

    def _whole_report(self) -> bytes | None:
        """The report, if all that its first bytes announce is there."""
        data = self._report.data
        if len(data) < 4:
            return None
        (length,) = struct.unpack(">I", data[:4])
        return bytes(data[4:]) if len(data) == 4 + length else None

    # --- ending

    def _end(self) -> tuple[int, int]:
        """Ends every process.

        Returns:
            How the program's ended, or for a script its checker's; and the bytes of memory that
            the program's had at most.
        """
        program, last = self._ends.pids[0], self._ends.pids[-1]
        if program != last:
            _await_last_words(self._processes[-1], last, self._processes[0])
        self.alive = False
        ended = end_all(self._ends.pids)
        killed = Ended(-signal.SIGKILL, 0)
        first, final = ended.get(program, killed), ended.get(last, killed)
        return (first if final.status == reports.PROGRAM_ENDED else final).status, first.peak


def _await_last_words(checker_process: int, pid: int, program_process: int) -> None:
    """Lets the program end by itself if the checker ended because the program did."""
    if _readable(checker_process):
        found = os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT | os.WNOHANG)
        if found and found.si_status == reports.PROGRAM_ENDED:
            _readable(program_process, _LAST_WORDS_SECONDS)


def _readable(descriptor: int, seconds: float = 0.0) -> bool:
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    return any(event & select.POLLIN for _, event in poll.poll(seconds * 1000))
