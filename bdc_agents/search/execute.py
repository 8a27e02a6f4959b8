"""Execute: run the programs on the public tests, and give their nodes a value."""

from collections.abc import Mapping, Sequence
from math import fsum

from bdc_agents.agents.replies import normalise
from bdc_agents.sandbox.protocol import Executor, job_for
from bdc_agents.search.agreement import behaviour, further_inputs
from bdc_agents.search.calls import together
from bdc_agents.search.state import Json
from bdc_agents.types import Attempt, Problem, Program, Tree, content_hash


def program_key(code: str) -> str:
    """The key of a program: the same for programs that differ only in comments and layout."""
    return content_hash(normalise(code))


async def execute(
    written: Mapping[str, Program],
    known: Mapping[str, Json],
    problem: Problem,
    executor: Executor,
    *,
    compare: bool = False,
) -> dict[str, Program]:
    """Runs those programs that have not run before.

    Args:
        written: Programs by key.
        known: Programs that have run, by key.
        problem: Its public tests are the only ones run.
        executor: The sandbox.
        compare: Run those that pass on further inputs too, and keep how they behave there.

    Returns:
        The new programs with their verdicts, by key.
    """
    fresh = {key: program for key, program in written.items() if key not in known}
    ran = await together(_run(program, problem, executor, compare) for program in fresh.values())
    return dict(zip(fresh, ran, strict=True))


async def _run(program: Program, problem: Problem, executor: Executor, compare: bool) -> Program:
    verdict = await executor.run(job_for(problem, program.code, problem.public_tests))
    seen: tuple[str, ...] = ()
    if compare and verdict.passed and (inputs := further_inputs(problem)):
        seen = behaviour(await executor.run(job_for(problem, program.code, inputs)))
    return program.model_copy(update={"verdict": verdict, "behaviour": seen})


def evaluate(tree: Tree, leaf: str, attempts: Sequence[Attempt], judged: Mapping[str, float]) -> Tree:
    """Records the attempts at a node and sets V to the mean reward of those for its last thought.

    Args:
        tree: The search tree.
        leaf: The node.
        attempts: New attempts, which may be none where no reply held a program.
        judged: Rewards that a judge has changed, by program.
    """
    node = tree[leaf]
    rewards = [judged.get(attempt.program, attempt.reward) for attempt in attempts]
    written = node.written + len(rewards)
    before = (node.value or 0.0) * node.written
    return tree.change(
        leaf,
        attempts=(*node.attempts, *attempts),
        value=fsum((before, *rewards)) / written if written else 0.0,
        written=written,
        evaluations=node.evaluations + 1,
    )
