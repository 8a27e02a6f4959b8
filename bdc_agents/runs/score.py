"""Score: run a finished program on the hidden tests; counts alone come back."""

from bdc_agents.sandbox import Executor, job_for
from bdc_agents.types import Hidden, Task


async def score_hidden(task: Task, code: str, executor: Executor) -> Hidden | None:
    """Runs a program on the hidden tests; None where there are none."""
    if not len(task.hidden):
        return None
    if not code:
        return Hidden(passed=0, total=len(task.hidden))
    verdict = await executor.run(job_for(task.problem, code, task.hidden.reveal()))
    return Hidden(
        passed=sum(result.outcome == "passed" for result in verdict.results), total=len(task.hidden)
    )
