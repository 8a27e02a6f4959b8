"""The interface of sandboxes: `Job` (a program and tests) in, verdict out."""

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from bdc_agents.types import CallTest, Checker, Frozen, Limits, Problem, StdinTest, TestCase, Verdict

_SPREAD = 2
"""How many times longer a right output may be, for blanks, line ends and digits that the checker ignores."""
_ESCAPED = 12
"""Bytes of the longest encoding of a literal's character: an astral one takes two `\\uXXXX` escapes."""


class Job(Frozen):
    """One program and the tests to run it on.

    Args:
        code: The program as an agent wrote it.
        tests: Tests to run in order, each with its own limits; all run, for partial credit.
        preamble: Code that runs before the program in the same namespace. Lines in verdicts count from
            the program's first.
        checker: How to compare outputs and values.
        limits: CPU and wall seconds for each test, memory and output for the program.
        entry_point: The name under which script tests find the program's function, even if it is
            a built-in's.
        stop_at_failure: Whether to skip the tests after the first failure, for callers who give no
            partial credit.
        group: Whose job it is; waiting groups take turns.
    """

    code: str
    tests: tuple[TestCase, ...]
    preamble: str = ""
    checker: Checker = Checker()
    limits: Limits = Limits()
    entry_point: str | None = None
    stop_at_failure: bool = False
    group: str = ""


@runtime_checkable
class Executor(Protocol):
    """Runs hostile programs; safe to share between concurrent searches."""

    @property
    def tier(self) -> str:
        """Name of the isolation in force, which every verdict holds."""
        ...

    async def run(self, job: Job) -> Verdict:
        """Runs one program on its tests.

        Cancelling the call kills the program. A program that fails, hangs or attacks gives a
        verdict; only a broken sandbox raises.

        Raises:
            SandboxError: If the sandbox itself failed.
        """
        ...

    async def aclose(self) -> None:
        """Ends every child process. The executor cannot be used afterwards."""
        ...


def job_for(problem: Problem, code: str, tests: Sequence[TestCase]) -> Job:
    """Makes the job that runs a program for a problem on some tests.

    Raises the problem's output limit if these tests expect more, since a lower one would let no program
    pass. It is raised here because the search sees the problem, which must not tell how much a hidden
    test expects.
    """
    needed = max((_bytes_expected(test) for test in tests), default=0)
    room = max(problem.limits.output_bytes, needed)
    return Job(
        code=code,
        tests=tuple(tests),
        preamble=problem.preamble,
        checker=problem.checker,
        limits=problem.limits.model_copy(update={"output_bytes": room}),
        entry_point=problem.entry_point,
        group=problem.id,
    )


def _bytes_expected(test: TestCase) -> int:
    """Bytes that a right program may print, or that the value of its call may take when sent."""
    match test:
        case StdinTest(expected=texts):
            return _SPREAD * max(len(text.encode("utf-8", "surrogatepass")) for text in texts)
        case CallTest(expected=texts):
            return _ESCAPED * max(map(len, texts))
    return 0
