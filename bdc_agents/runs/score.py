"""Scores finished programs on the hidden tests; only counts come back."""

import asyncio
from itertools import compress

from bdc_agents.sandbox import Executor, job_for
from bdc_agents.types import Hidden, Task, Trace


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
