"""`ProcessExecutor`: sends a program and its tests to a sandboxed worker and judges the answers."""

import asyncio
import os
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

from bdc_agents.errors import SandboxError
from bdc_agents.types import TestResult, Verdict

from .frames import frames_of
from .inside import wire
from .judge import accepted_values, judge, lost, printed
from .own_checker import checked
from .pool import Pool
from .protocol import Job
from .tiers import Tier
from .worker import Worker

_GRACE_SECONDS = 10.0
"""Time beyond a test's own limits. The supervisor inside enforces those; this is for one that cannot."""
_TAKE_SECONDS = 60.0
"""Time for a worker to take a job: its memory may have to come back from swap, and the job may be long."""
_TRIES = 3
"""Workers that are tried: a machine short of memory may have killed an idle one."""
_EXTRA_BYTES = 65536
"""Bytes of a report beyond those that the output limit bounds: an error's text and framing take far less."""
_END = wire.pack({"kind": "end"})


class ProcessExecutor:
    """The `Executor` of every tier; several event loops and threads may use it.

    Args:
        tier: How a process is isolated.
        workers: Programs run at once; None for one per core.
    """

    def __init__(self, tier: Tier, workers: int | None = None) -> None:
        self._tier = tier
        self._pool = Pool(tier, workers or os.cpu_count() or 1)

    @property
    def tier(self) -> str:
        """Name of the isolation in force."""
        return self._tier.name

    async def run(self, job: Job) -> Verdict:
        """Runs one program on its tests; cancelling it kills the program.

        Raises:
            ProblemError: If an expected value is no Python literal.
            SandboxError: If the sandbox itself failed, or is closed.
        """
        for test in job.tests:
            accepted_values(test)
        if not job.tests:
            return Verdict(results=(), tier=self.tier)
        try:
            for _ in range(_TRIES):
                async with self._pool.worker(job.group) as worker:
                    started = time.monotonic()
                    conversation = _Conversation(worker, job)
                    results = await conversation.results()
                    if self._pool.closed and any(result.outcome == "killed" for result in results):
                        raise SandboxError("its worker was ended")
                if results and job.checker.code:
                    results = await checked(job, results, conversation.printed, self.run)
                if results:
                    return Verdict(results=results, tier=self.tier, seconds=time.monotonic() - started)
            raise SandboxError("the sandbox ended before it took the program")
        except SandboxError:
            if self._pool.closed:
                raise SandboxError("this executor is closed; create another") from None
            raise

    async def aclose(self) -> None:
        """Ends every child process; jobs that were running raise SandboxError."""
        await self._pool.aclose()


def run_blocking(executor: ProcessExecutor, job: Job) -> Verdict:
    """Runs one job and closes the executor; works inside and outside of an event loop."""

    async def run_and_close() -> Verdict:
        try:
            return await executor.run(job)
        finally:
            await executor.aclose()

    with ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, run_and_close()).result()


class _Conversation:
    """The exchange with a worker about one job."""

    def __init__(self, worker: Worker, job: Job) -> None:
        self._worker, self._job = worker, job
        self._taken = False
        self.printed: list[str | None] = []
        """For each answered test, the output that the problem's own checker has to judge."""

    async def results(self) -> tuple[TestResult, ...]:
        """Sends the job, and judges each ending as it comes back.

        If the sandbox ends after it took the job, the program may be the cause, so that is a verdict.

        Returns:
            A result for each test; none if the sandbox ended before it took the job.

        Raises:
            SandboxError: If the sandbox could not start the program.
        """
        results: list[TestResult] = []
        reason = "not run, since a test before it failed"
        try:
            await self._exchange(results)
        except _Ended as ended:
            self._worker.spent, reason = True, str(ended)
            if not self._taken:
                return ()
        return (*results, *(lost(test, reason) for test in self._job.tests[len(results) :]))

    async def _exchange(self, results: list[TestResult]) -> None:
        job, frames = self._job, frames_of(self._job)
        ahead = 2 if job.stop_at_failure else len(frames)  # Frames sent before the first answer.
        sending = asyncio.create_task(self._worker.send(b"".join(frames[:ahead])))
        try:
            await self._wait_until_taken()
            for test, later in zip(job.tests, (*frames[ahead:], *[b""] * (ahead - 1)), strict=True):
                ending = await self._next_ending(first=not results)
                results.append(judge(test, ending, job.checker, job.code))
                if job.checker.code:
                    self.printed.append(printed(test, ending))
                elif job.stop_at_failure and results[-1].outcome != "passed":
                    break
                await self._worker.send(later)
            await sending
            await self._worker.send(_END)
        except ConnectionError:
            raise await self._ended() from None
        finally:
            sending.cancel()
            with suppress(asyncio.CancelledError, ConnectionError):
                await sending

    async def _wait_until_taken(self) -> None:
        try:
            async with asyncio.timeout(_TAKE_SECONDS):
                line = await self._worker.line()
        except TimeoutError:
            raise _Ended("the sandbox took no job") from None
        self._taken = line.strip() == wire.TAKEN
        if not self._taken:
            raise await self._ended(line.strip())

    async def _next_ending(self, first: bool) -> wire.Ending:
        """The ending of the next test.

        Args:
            first: Whether no program can have run before.

        Raises:
            _Ended: If the sandbox ended before, stopped, or sent nonsense.
            SandboxError: If it could not start the first program.
        """
        limits = self._job.limits
        try:
            async with asyncio.timeout(limits.wall_seconds + _GRACE_SECONDS):
                line = await self._worker.line()
                if line.startswith(wire.FAILED) and first:
                    raise SandboxError(f"the sandbox {line.strip()}")
                if not line or line.startswith((wire.FAILED, wire.BROKEN)):
                    raise await self._ended(line.strip())
                ending, output, report = wire.parse_ending(line)
                if output + report > 2 * limits.output_bytes + _EXTRA_BYTES:
                    raise ValueError(f"{output + report} bytes")
                body = await self._worker.body(output + report)
        except TimeoutError:
            raise _Ended("the sandbox stopped, and was killed") from None
        except (ValueError, EOFError) as error:
            raise _Ended(f"the sandbox was killed: it sent nonsense: {error}") from None
        return ending._replace(output=body[:output], report=body[output:])

    async def _ended(self, reason: str = "") -> "_Ended":
        found = reason or await self._worker.complaint()
        return _Ended(f"the sandbox was killed: {found}" if found else "the sandbox was killed")


class _Ended(Exception):
    """The sandbox cannot go on with its job."""
