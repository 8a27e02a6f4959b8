"""`BackendExecutor`: runs programs in another sandbox, such as Docker or any backend of deepagents."""

import base64
import binascii
import shlex
import time
from collections.abc import Sequence
from typing import Any, Protocol
from uuid import uuid4

from bdc_agents.errors import SandboxError
from bdc_agents.types import TestResult, Verdict

from .bootstrap import START, first_frame_as_source
from .frames import frames_of
from .inside import wire
from .judge import accepted_values, judge, lost, printed
from .own_checker import checked
from .protocol import Job
from .turns import Turns

_MARK = "bdc-endings:"
"""Marks the answer in an output that may hold other text of the backend."""
_SLACK_SECONDS = 60
"""Time beyond the program's own limits for the backend to start and answer. Chosen, not measured: remote
machines may take a while to wake up."""

# Runs in the backend: passes what was uploaded to a sandbox process and prints its answer as text. It holds
# test scripts, so it is not dumpable (PR_SET_DUMPABLE is 4): no program of its user can read its memory.
_RELAY = """
import base64, ctypes, os, socket, subprocess, sys, threading
if ctypes.CDLL(None).prctl(*map(ctypes.c_ulong, (4, 0, 0, 0, 0))):
    sys.exit("the memory of this process cannot be closed to others")
start, frames = sys.argv[1], sys.argv[2]
data = open(frames, "rb").read()
os.unlink(frames)
ours, theirs = socket.socketpair()
command = [sys.executable, "-s", "-S", "-P", "-B", "-X", "utf8", "-c", start]
environment = {"PYTHONHASHSEED": "0", "LC_ALL": "C.UTF-8", "TZ": "UTC"}
child = subprocess.Popen(command, stdin=theirs, stdout=subprocess.DEVNULL, env=environment)
theirs.close()
threading.Thread(target=ours.sendall, args=(data,), daemon=True).start()
parts = []
while part := ours.recv(65536):
    parts.append(part)
child.wait()
print("MARK" + base64.b64encode(b"".join(parts)).decode() + ".")
""".replace("MARK", _MARK)


class Backend(Protocol):
    """The part of deepagents' `SandboxBackendProtocol` that is used."""

    async def aexecute(self, command: str, *, timeout: int | None = None) -> Any:  # noqa: ASYNC109
        """Runs a shell command; the answer has `output`, `exit_code` and `truncated`."""
        ...

    async def aupload_files(self, files: list[tuple[str, bytes]]) -> Sequence[Any]:
        """Writes files; each answer has `error`."""
        ...


class BackendExecutor:
    """An `Executor` that relies on a backend's isolation; expected values never go there.

    Only the limits and the system call filter of the tier `unsafe` separate two programs in one
    backend; anything more is up to the backend.

    Args:
        backend: An object with the methods of `Backend`; needs Python 3.11 or newer as `python`.
        name: Name of the tier in verdicts.
        workers: Programs sent at once.
        python: The interpreter in the backend.
    """

    def __init__(
        self, backend: Backend, name: str = "backend", workers: int = 4, python: str = "python3"
    ) -> None:
        self._backend, self._name, self._python = backend, name, python
        self._turns = Turns(workers)
        self._closed = False

    @property
    def tier(self) -> str:
        """Name of the isolation in force."""
        return self._name

    async def run(self, job: Job) -> Verdict:
        """Runs one program on its tests.

        Raises:
            ProblemError: If an expected value is no Python literal.
            SandboxError: If the backend failed, or the executor is closed.
        """
        for test in job.tests:
            accepted_values(test)
        if not job.tests:
            return Verdict(results=(), tier=self.tier)
        await self._turns.take(job.group)
        try:
            started = time.monotonic()
            results, outputs = _judged(job, await self._answer(job))
        finally:
            self._turns.give()
        if job.checker.code:
            results = await checked(job, results, outputs, self.run)
        return Verdict(results=results, tier=self.tier, seconds=time.monotonic() - started)

    async def aclose(self) -> None:
        """Takes no further jobs. The backend's owner has to end the backend."""
        self._closed = True

    async def _answer(self, job: Job) -> bytes:
        if self._closed:
            raise SandboxError("this executor is closed; create another")
        file = f"/tmp/bdc-{uuid4().hex}"  # noqa: S108 - in the backend
        try:
            for uploaded in await self._backend.aupload_files([(file, _payload(job))]):
                if uploaded.error:
                    raise SandboxError(f"the backend did not take a file: {uploaded.error}")
            command = shlex.join([self._python, "-c", _RELAY, START, file])
            seconds = int(job.limits.wall_seconds * len(job.tests)) + _SLACK_SECONDS
            answer = await self._backend.aexecute(command, timeout=seconds)
        except SandboxError:
            raise
        except (OSError, RuntimeError) as error:
            raise SandboxError(f"the backend failed: {error}") from error
        _, found, text = answer.output.partition(_MARK)
        try:
            if not found or "." not in text:
                raise ValueError("the answer is not there, or cut off")
            return base64.b64decode(text.partition(".")[0], validate=True)
        except (ValueError, binascii.Error) as error:
            raise SandboxError(
                f"the backend's answer makes no sense: {error}; it said: {answer.output[-300:]}"
            ) from None


def _payload(job: Job) -> bytes:
    folder = "/tmp"  # noqa: S108 - in the backend; a program's files stay there
    setup = {
        **dict.fromkeys(("namespaces", "bubblewrap", "landlock", "isolated", "warm", "commands"), False),
        **{"packages": [], "folders": [], "files": [], "work": folder, "keep_files": True},
    }
    frames = [wire.pack(setup), *frames_of(job), wire.pack({"kind": "end"})]
    return first_frame_as_source() + b"".join(frames)


def _judged(job: Job, answer: bytes) -> tuple[tuple[TestResult, ...], list[str | None]]:
    """The results, and the outputs that the problem's own checker has to judge."""
    ready, _, rest = answer.partition(b"\n")
    if ready.decode("utf-8", "replace") != wire.READY:
        raise SandboxError(f"the sandbox did not start in the backend: {ready[:300]!r}")
    taken, _, rest = rest.partition(b"\n")
    if taken.decode("utf-8", "replace") != wire.TAKEN:
        raise SandboxError(f"the sandbox in the backend did not take the program: {taken[:300]!r}")
    results: list[TestResult] = []
    outputs: list[str | None] = []
    for test in job.tests:
        line, found, rest = rest.partition(b"\n")
        text = line.decode("utf-8", "replace")
        if text.startswith(wire.FAILED) and not results:
            raise SandboxError(f"the sandbox in the backend {text}")
        try:
            ending, output, report = wire.parse_ending(text)
        except ValueError:  # It ended or broke, perhaps through the program.
            outputs.append(None)
            results.append(
                lost(test, f"the sandbox was killed: {text}" if found else "the sandbox was killed")
            )
            continue
        ending = ending._replace(output=rest[:output], report=rest[output : output + report])
        results.append(judge(test, ending, job.checker, job.code))
        outputs.append(printed(test, ending))
        rest = rest[output + report :]
    return tuple(results), outputs
