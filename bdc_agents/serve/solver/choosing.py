"""Chooses the program that the solver returns."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from bdc_agents.search.execute import program_key
from bdc_agents.serve.solver.answers import SolverAnswer
from bdc_agents.types import Problem, Solution, Verdict


def best_of(
    problem: Problem, programs: Sequence[Mapping[str, Any]], common: Mapping[str, Any]
) -> SolverAnswer:
    """System 1's program with the highest reward. Ties break by how often it was written, then by order.

    Args:
        programs: Each with `code`, `confidence` and `verdict`.
        common: Fields of the answer that do not depend on the choice.
    """
    verdicts = [Verdict.model_validate(p["verdict"]) if p["verdict"] else None for p in programs]
    keys = [program_key(program["code"]) for program in programs]
    votes = Counter(keys)

    def rank(number: int) -> tuple[float, int]:
        verdict = verdicts[number]
        return (verdict.reward if verdict else 0.0), votes[keys[number]]

    best = max(range(len(programs)), key=rank)
    verdict = verdicts[best]
    return SolverAnswer(
        problem_id=problem.id,
        code=programs[best]["code"],
        solved=verdict.passed if verdict else None,
        reward=verdict.reward if verdict else 0.0,
        confidence=programs[best]["confidence"],
        verdict=verdict,
        samples=len(programs),
        tier=verdict.tier if verdict else "",
        **common,
    )


def better_of(own: SolverAnswer, found: Solution, common: Mapping[str, Any], *, kept: bool) -> SolverAnswer:
    """The search's program; System 1's if the search did not solve the problem and passes no more tests.

    Args:
        own: System 1's answer.
        found: The search's solution.
        common: As for `best_of`.
        kept: Whether the search's trace was stored.
    """
    usage = {**common["usage"], **found.usage}
    both: dict[str, Any] = {
        "usage": usage,
        "stopped_by": found.stopped_by,
        "kept": kept,
        "seconds": common["seconds"],
    }
    if own.code and own.reward >= found.reward and not found.solved:
        return own.model_copy(update=both)
    return SolverAnswer(
        problem_id=own.problem_id,
        code=found.code,
        solved=found.solved,
        reward=found.reward,
        system=2,
        verdict=found.verdict,
        samples=own.samples,
        tier=found.tier,
        **{**common, **both},
    )
