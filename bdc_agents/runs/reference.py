"""Further hidden tests: what a problem's known solution gives for changed inputs, as EvalPlus makes them.

A set with two or three tests for each problem lets many wrong programs pass. Their inputs, varied, make
more; what is right for them, the known solution says. An input may be one that the statement rules out, and
a published set is scored by its own tests, so these are made only for those who ask.
"""

from collections.abc import Iterator, Sequence

from bdc_agents.data.rows import is_literal
from bdc_agents.sandbox import Executor, job_for
from bdc_agents.sandbox.judge import TEXT_BUDGET
from bdc_agents.search.inputs import comparison, further_inputs
from bdc_agents.types import CallTest, HiddenTests, StdinTest, Task, TestCase, TestResult

MANY = 20
"""Tests of a problem from which none are made: they are as many as these would be."""


async def with_reference_tests(task: Task, executor: Executor) -> Task:
    """The task with further hidden tests, where its known solution passes those that it has.

    The inputs are others than those on which a search compares programs. None are made where several
    answers are right, where the known solution fails or is slow, or for values that are no literals.

    Args:
        task: With its known solution.
        executor: Runs it.

    Raises:
        SandboxError: If the sandbox fails.
    """
    problem, own = task.problem, task.hidden.reveal()
    reference = task.hidden.reveal_reference()
    tests = (*problem.public_tests, *own)
    if not reference or problem.unjudged or not tests or len(tests) >= MANY:
        return task
    if not (await executor.run(job_for(problem, reference, tests))).passed:
        return task
    inputs = further_inputs(problem.model_copy(update={"public_tests": tests[::-1]}))
    verdict = await executor.run(job_for(comparison(problem), reference, inputs))
    made = _tests(inputs, verdict.results)
    return task.model_copy(update={"hidden": HiddenTests((*own, *made), reference)})


def _tests(inputs: Sequence[TestCase], results: Sequence[TestResult]) -> Iterator[TestCase]:
    """The inputs for which a value came out, with that value; a long one is not known as a whole."""
    for test, result in zip(inputs, results, strict=False):
        if result.outcome != "wrong" or len(result.actual) >= TEXT_BUDGET:
            continue
        if isinstance(test, StdinTest) and "\\" in result.actual:
            continue  # perhaps it stands for a character that nobody sees, and so is not what was printed
        if isinstance(test, StdinTest) or (isinstance(test, CallTest) and is_literal(result.actual)):
            yield test.model_copy(update={"expected": (result.actual,)})
