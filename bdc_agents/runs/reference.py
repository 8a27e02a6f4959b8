"""Makes further hidden tests from a problem's known solution and changed inputs, as EvalPlus does.

A set with two or three tests a problem lets many wrong programs pass. Varied inputs make more tests, and
the known solution gives their answers. Some inputs may break the statement's rules, and a published set is
scored by its own tests, so further tests are made only on request.
"""

from collections.abc import Iterator, Sequence

from bdc_agents.data.rows import is_literal
from bdc_agents.sandbox import Executor, job_for
from bdc_agents.sandbox.judge import TEXT_BUDGET
from bdc_agents.search.inputs import comparison, further_inputs
from bdc_agents.types import CallTest, HiddenTests, StdinTest, Task, TestCase, TestResult

ENOUGH_TESTS = 20
"""A problem with this many tests gets no further ones: they would hardly double the number. Chosen, not
measured."""


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
