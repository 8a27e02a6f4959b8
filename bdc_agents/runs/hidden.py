"""What a run does with hidden tests: scores programs, examines a task before its search, makes further tests.

Hidden tests run in the sandbox here, and only counts, doubts and kinds of failures leave this module.
"""

import asyncio
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import compress

from bdc_agents.data import dataset_names
from bdc_agents.data.rows import is_literal
from bdc_agents.sandbox import Executor, job_for
from bdc_agents.sandbox.judge import TEXT_BUDGET
from bdc_agents.sandbox.modules import missing_modules, remedy
from bdc_agents.search.choice.inputs import comparison, further_inputs
from bdc_agents.search.nodes.start import check_checker, check_modules, check_premises, code_of
from bdc_agents.syntax import modules_needed
from bdc_agents.types import (
    CallTest,
    Hidden,
    HiddenTests,
    StdinTest,
    Task,
    TestCase,
    TestResult,
    Trace,
)

ENOUGH_TESTS = 20
"""A problem with this many tests gets no further ones: they would hardly double the number. Chosen, not
measured."""


# --- scores ----------------------------------------------------------------------------------------


async def score_hidden(task: Task, code: str, executor: Executor) -> Hidden | None:
    """Runs a program on the hidden tests; None if there are none."""
    if not len(task.hidden):
        return None
    if not code:
        return Hidden(passed=0, total=len(task.hidden))
    verdict = await executor.run(job_for(task.problem, code, task.hidden.reveal()))
    return Hidden(
        passed=sum(result.outcome == "passed" for result in verdict.results), total=len(task.hidden)
    )


async def right_programs(
    task: Task, trace: Trace, hidden: Hidden | None, executor: Executor
) -> tuple[str, ...]:
    """The programs of a search that pass every public and hidden test, by key.

    Several right programs for one problem teach more than one does (arXiv 2308.01825), and a search
    may hold a right one beside the wrong one that it handed over.

    Args:
        hidden: What `score_hidden` counted for the handed-over program, which is not run again.

    Returns:
        The keys, that of the handed-over program first; none if there are no hidden tests.
    """
    if hidden is None:
        return ()

    async def is_right(code: str) -> bool:
        score = hidden if code == trace.solution.code else await score_hidden(task, code, executor)
        return score is not None and score.all_passed

    passing = [key for key, program in trace.programs.items() if program.verdict and program.verdict.passed]
    passing.sort(key=lambda key: trace.programs[key].code != trace.solution.code)
    right = await asyncio.gather(*(is_right(trace.programs[key].code) for key in passing))
    return tuple(compress(passing, right))


# --- before a search -------------------------------------------------------------------------------


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


# --- further tests ---------------------------------------------------------------------------------


async def with_reference_tests(task: Task, executor: Executor) -> Task:
    """Adds further hidden tests to a task whose known solution passes the tests it has.

    The inputs differ from those on which a search compares programs. No tests are made if several
    answers are right, if the known solution fails or is slow, or for values that are no literals.

    Args:
        task: The task with its known solution.
        executor: Runs the known solution.

    Raises:
        SandboxError: If the sandbox fails.
    """
    problem, own = task.problem, task.hidden.reveal()
    reference = task.hidden.reveal_reference()
    tests = (*problem.public_tests, *own)
    if not reference or problem.unjudged or not tests or len(tests) >= ENOUGH_TESTS:
        return task
    if not (await executor.run(job_for(problem, reference, tests))).passed:
        return task
    inputs = further_inputs(problem.model_copy(update={"public_tests": tests[::-1]}))
    verdict = await executor.run(job_for(comparison(problem), reference, inputs))
    made = _tests(inputs, verdict.results)
    return task.model_copy(update={"hidden": HiddenTests((*own, *made), reference)})


def _tests(inputs: Sequence[TestCase], results: Sequence[TestResult]) -> Iterator[TestCase]:
    """The inputs that gave a value, with that value, unless it was too long to be kept whole."""
    for test, result in zip(inputs, results, strict=False):
        if result.outcome != "wrong" or len(result.actual) >= TEXT_BUDGET:
            continue
        if isinstance(test, StdinTest) and "\\" in result.actual:
            continue  # The backslash may be an escape for an unseen character, and not what was printed.
        if isinstance(test, StdinTest) or (isinstance(test, CallTest) and is_literal(result.actual)):
            yield test.model_copy(update={"expected": (result.actual,)})
