"""What must hold before a search is worth its budget: modules that tests need, and a checker that works."""

from collections.abc import Iterable, Sequence

from bdc_agents.errors import ProblemError
from bdc_agents.sandbox.modules import missing_modules, remedy
from bdc_agents.sandbox.own_checker import checked
from bdc_agents.sandbox.protocol import Executor, job_for
from bdc_agents.syntax import modules_needed
from bdc_agents.types import CallTest, Problem, ScriptTest, StdinTest, TestCase, TestResult


async def check_premises(problem: Problem, executor: Executor) -> None:
    """Refuses a problem that no program can solve in this sandbox. It costs nothing but for rare problems.

    Raises:
        ProblemError: If its tests or preamble import what the sandbox lacks, or a checker of its own
            fails on, or refuses, an output that a public test expects.
        SandboxError: If the sandbox itself failed.
    """
    code = (problem.preamble, problem.checker.code, *code_of(problem.public_tests))
    await check_modules(problem.id, "its tests, preamble or checker import", code, executor)
    if problem.checker.code:
        names = [f"public_tests[{number}]" for number in range(len(problem.public_tests))]
        await check_checker(problem, problem.public_tests, names, executor)


async def check_modules(problem: str, who: str, code: Iterable[str], executor: Executor) -> None:
    """Refuses code that imports modules which the sandbox lacks.

    Args:
        problem: Its id.
        who: Imports them; the message begins with it.
        code: To look at.
        executor: The sandbox.

    Raises:
        ProblemError: If it does; the message names the modules and the remedy.
    """
    names = frozenset[str]().union(*map(modules_needed, code))
    if missing := await missing_modules(names, executor):
        raise ProblemError(
            f"{problem}: {who} {', '.join(missing)}, which programs in the sandbox do not have, so none can "
            f"pass; {remedy(missing)}"
        )


def code_of(tests: Iterable[TestCase]) -> tuple[str, ...]:
    """The code of tests, which runs beside a program."""
    return tuple(
        test.code if isinstance(test, ScriptTest) else test.setup
        for test in tests
        if isinstance(test, ScriptTest | CallTest)
    )


async def check_checker(
    problem: Problem,
    tests: Sequence[TestCase],
    names: Sequence[str],
    executor: Executor,
    *,
    secret: bool = False,
) -> None:
    """Lets a problem's own checker judge what the tests themselves expect.

    Args:
        problem: With a checker of its own.
        tests: Those of stdin that say what they expect are tried.
        names: What they are called.
        executor: The sandbox.
        secret: Whether nothing may be told of what the checker says about them.

    Raises:
        ProblemError: If the checker fails, or says that it is wrong.
    """
    tried = [
        (name, test)
        for name, test in zip(names, tests, strict=True)
        if isinstance(test, StdinTest) and any(test.expected)
    ]
    job = job_for(problem, "", [test for _, test in tried])
    unknown = [TestResult(outcome="wrong") for _ in tried]
    # One of the accepted answers is what a program may print; that the others pass, too, is seen later.
    found = await checked(job, unknown, [test.expected[0] for _, test in tried], executor.run)
    for (name, _), result in zip(tried, found, strict=True):
        if result.outcome != "passed":
            said = "" if secret else f": {result.error or 'it says no'}"
            raise ProblemError(
                f"{problem.id}: the checker does not accept what {name} itself expects{said}; "
                "mend the checker or the test"
            )
