"""Runs a problem's own checker on what programs printed: in the sandbox, in a separate process.

It runs like the code of a script test, which only its own process ever reads, so expected answers stay out of
every program's reach. A program's output is hostile and reaches the checker only as text. A checker that
raises, hangs or returns no verdict passes nothing, and is reported as the problem's fault.
"""

from collections.abc import Awaitable, Callable, Sequence

from bdc_agents.types import Limits, ScriptTest, StdinTest, TestResult, Verdict

from .judge import trim
from .protocol import Job

FAULT = "the problem's checker failed on this output"
"""Beginning of the error of a result that a broken checker could not judge."""

_LIMITS = Limits(cpu_seconds=5.0, memory_mb=1024)
"""Limits of a checker for each output: as much as a program takes to write it. Chosen, not measured."""
_WRONG, _BROKEN = "WrongOutput", "BrokenChecker"

# The checker runs as another module, so that `if __name__ == "__main__"` and functions named `test_...` in
# its file do nothing here. It may print; nobody reads it.
_HARNESS = """\
class {wrong}(Exception):
    pass
class {broken}(Exception):
    pass
def decide():
    names = {{"__name__": "checker"}}
    try:
        exec(compile({code!r}, "checker.py", "exec"), names)
        found = names[{function!r}]({stdin!r}, {printed!r}, {expected!r})
    except BaseException as error:
        raise {broken}(type(error).__name__ + ": " + str(error)) from None
    if found is True:
        return True
    if found is False:
        raise {wrong}("")
    if type(found) is str:
        raise {wrong}(found)
    raise {broken}("it returned " + type(found).__name__ + ", not True, False or a sentence")
assert decide() is True
"""


async def checked(
    job: Job,
    results: Sequence[TestResult],
    printed: Sequence[str | None],
    run: Callable[[Job], Awaitable[Verdict]],
) -> tuple[TestResult, ...]:
    """The results with the checker's verdicts in place of "not run".

    Args:
        job: The job; its checker has code.
        results: Results of its tests.
        printed: The program's whole output for each test that ran; None where it failed anyway.
        run: Runs a job in the sandbox.
    """
    asked = [
        (number, _script(job, test, output, expected))
        for number, (test, output) in enumerate(zip(job.tests, printed, strict=False))
        if isinstance(test, StdinTest) and output is not None
        for expected in test.expected
    ]
    if not asked:
        return tuple(results)
    limits = _LIMITS.model_copy(update={"memory_mb": max(_LIMITS.memory_mb, job.limits.memory_mb)})
    scripts = tuple(script for _, script in asked)
    verdict = await run(Job(code="", tests=scripts, limits=limits, group=job.group))
    decided = list(results)
    for (number, _), found in zip(asked, verdict.results, strict=True):
        # One accepted answer is enough; a fault of the checker counts more than a refusal.
        if decided[number].outcome != "passed":
            decided[number] = _decided(decided[number], found)
    return tuple(decided)


def _script(job: Job, test: StdinTest, printed: str, expected: str) -> ScriptTest:
    code = _HARNESS.format(
        wrong=_WRONG,
        broken=_BROKEN,
        code=job.checker.code,
        function=job.checker.function,
        stdin=test.stdin,
        printed=printed,
        expected=expected,
    )
    return ScriptTest(code=code)


def _decided(result: TestResult, found: TestResult) -> TestResult:
    if found.outcome == "passed":
        return result.model_copy(update={"outcome": "passed", "error": ""})
    kind, _, said = found.error.partition(": ")
    if found.outcome == "error" and found.error.startswith(_WRONG):
        return result.model_copy(update={"outcome": "wrong", "error": trim(said)})
    why = said if found.error.startswith(_BROKEN) else found.error or found.outcome
    return result.model_copy(
        update={"outcome": "error", "error": trim(f"{FAULT}: {why or kind}"), "line": None}
    )
