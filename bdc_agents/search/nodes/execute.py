"""Execute: run the programs on the public tests, and give their nodes a value."""

import asyncio
from collections.abc import Mapping, Sequence
from math import fsum

from bdc_agents.agents.replies.reading import normalise
from bdc_agents.sandbox.protocol import Executor, Job, job_for
from bdc_agents.search.choice.agreement import behaviour
from bdc_agents.search.choice.inputs import comparison, further_inputs
from bdc_agents.search.round.calls import together
from bdc_agents.search.round.clock import now
from bdc_agents.search.state import Json
from bdc_agents.types import Attempt, Problem, Program, ProgramOutcome, Tree, Verdict, content_hash

EVALUATION_TRIES = 2
"""A node for which no reply came this often is worth 0: it may be its prompt that no agent answers."""


def program_key(code: str) -> str:
    """The key of a program: the same for programs that differ only in comments and layout."""
    return content_hash(normalise(code))


async def execute(
    written: Mapping[str, Program],
    known: Mapping[str, Json],
    problem: Problem,
    executor: Executor,
    deadline: float | None = None,
) -> dict[str, Program]:
    """Runs those programs that have no verdict yet.

    Args:
        written: Programs by key.
        known: Programs of earlier rounds, by key.
        problem: Its public tests are the only ones run.
        executor: The sandbox.
        deadline: Reading of the clock at which what still runs is killed.

    Returns:
        The new programs with their verdicts, by key; without one where the time was up before.
    """
    fresh = {key: program for key, program in written.items() if not known.get(key, {}).get("verdict")}
    jobs = [job_for(problem, program.code, problem.public_tests) for program in fresh.values()]
    verdicts = await together(_run(job, executor, deadline) for job in jobs)
    return {
        key: program.model_copy(update={"verdict": verdict})
        for (key, program), verdict in zip(fresh.items(), verdicts, strict=True)
    }


async def compare(
    passing: Mapping[str, Program], problem: Problem, executor: Executor, deadline: float | None = None
) -> dict[str, Program]:
    """Runs programs that pass on further inputs, and keeps how they behave there.

    Args:
        passing: By key; those whose behaviour is known are left alone.
        problem, executor, deadline: As for `execute`.

    Returns:
        The programs that were run, by key; those that the time was up for are not among them.
    """
    lacking = {key: program for key, program in passing.items() if not program.behaviour}
    inputs = further_inputs(problem) if lacking else ()
    if not inputs:
        return {}
    jobs = [job_for(comparison(problem), program.code, inputs) for program in lacking.values()]
    verdicts = await together(_run(job, executor, deadline) for job in jobs)
    return {
        key: program.model_copy(update={"behaviour": behaviour(verdict)})
        for (key, program), verdict in zip(lacking.items(), verdicts, strict=True)
        if verdict
    }


async def _run(job: Job, executor: Executor, deadline: float | None) -> Verdict | None:
    """The verdict; None where the deadline came first, at which the program was killed."""
    if deadline is not None and deadline <= now():
        return None
    limit = asyncio.timeout_at(deadline)
    try:
        async with limit:
            return await executor.run(job)
    except TimeoutError:
        if not limit.expired():
            raise
        return None


def outcome_of(program: Program | None) -> ProgramOutcome:
    """What the public tests of a program gave; `error` too where a reply held no program."""
    return program.verdict.outcome if program and program.verdict else "error"


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


def missed(tree: Tree, leaf: str) -> Tree:
    """Records that no reply came for a leaf, so that it is asked for with other seeds, and not for ever."""
    node = tree[leaf]
    tries = node.evaluations + 1
    value = 0.0 if node.value is None and tries >= EVALUATION_TRIES else node.value
    return tree.change(leaf, evaluations=tries, value=value)
