"""Examines a task before its search: refuses what cannot be solved here, and reports doubts.

It runs hidden tests and never shows them.
"""

from collections import Counter

from bdc_agents.data import dataset_names
from bdc_agents.sandbox import Executor, job_for
from bdc_agents.sandbox.modules import missing_modules, remedy
from bdc_agents.search.premises import check_checker, check_modules, check_premises, code_of
from bdc_agents.syntax import modules_needed
from bdc_agents.types import Task


async def examine(task: Task, executor: Executor) -> tuple[str, ...]:
    """Refuses a task that no program can solve here, and reports what is doubtful about it.

    Args:
        task: With its hidden tests and its reference program, if there is one.
        executor: The sandbox.

    Returns:
        One line for each doubt.

    Raises:
        ProblemError: If a test needs a module that the sandbox lacks, or the problem's own checker
            does not work.
        SandboxError: If the sandbox itself failed.
    """
    problem, hidden = task.problem, task.hidden.reveal()
    await check_premises(problem, executor)
    await check_modules(problem.id, "its hidden tests import", code_of(hidden), executor)
    if problem.checker.code:
        names = _names(task)[len(problem.public_tests) :]
        await check_checker(problem, hidden, names, executor, secret=True)
    return (*task.warnings, *await _of_reference(task, executor))


def _names(task: Task) -> list[str]:
    """Names of the tests, public ones first; a test without a name gets its number."""
    public = [f"public_tests[{number}]" for number in range(len(task.problem.public_tests))]
    default = [*public, *(f"hidden_tests[{number}]" for number in range(len(task.hidden)))]
    return [*task.names, *default[len(task.names) :]]


async def _of_reference(task: Task, executor: Executor) -> tuple[str, ...]:
    """Whether the reference program of a person's own problem passes the problem's tests."""
    reference, problem = task.hidden.reveal_reference(), task.problem
    if reference is None or problem.id.partition(":")[0] in dataset_names():
        return ()  # The makers of a data set have tried its references.
    if missing := await missing_modules(modules_needed(reference), executor):
        return (
            f"{problem.id}: the reference program imports {', '.join(missing)}, which programs in the "
            f"sandbox do not have; {remedy(missing)}",
        )
    hidden = task.hidden.reveal()
    tests = [*problem.public_tests, *hidden]
    verdict = await executor.run(job_for(problem, reference, tests))
    if not tests or verdict.passed:
        return ()
    names = [*_names(task)[: len(problem.public_tests)], *(["a hidden test"] * len(hidden))]
    failed = Counter(
        name for name, one in zip(names, verdict.results, strict=True) if one.outcome != "passed"
    )
    listed = ", ".join(f"{name} ({count} times)" if count > 1 else name for name, count in failed.items())
    first = next(one for one in verdict.results if one.outcome != "passed")
    # An error's text may give a hidden test away; its kind does not.
    why = first.outcome if verdict.results.index(first) >= len(problem.public_tests) else first.error
    return (
        f"{problem.id}: the reference program fails {failed.total()} of {len(tests)} tests: {listed} "
        f"({why or first.outcome}); mend it or the tests",
    )
