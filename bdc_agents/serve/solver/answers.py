"""The solver's data: its settings, the problem as it reads it, and the answer that it chooses."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypeVar

from pydantic import Field, ValidationError

from bdc_agents.config import Budget, explain
from bdc_agents.data import problem_from_statement
from bdc_agents.data.jsonl import read_problem
from bdc_agents.errors import refuse, unknown
from bdc_agents.search.nodes.execute import program_key
from bdc_agents.types import Frozen, Given, Problem, Solution, StoppedBy, Task, Usage, Verdict

Settings = TypeVar("Settings", bound=Frozen)

SOLVER = "solver"
"""The key of System 1's usage, beside those of the agents."""

_FUNCTION = re.compile(r"\b(?:write|implement|define|function|def)\s+`?([A-Za-z_]\w*)\s*\(", re.IGNORECASE)


class SolverConfig(Given):
    """How the solver answers a problem.

    Args:
        samples: Most programs of System 1: one greedy program and, if it fails a public test, the
            others by sampling. A problem without public tests gets one. The default is chosen, not
            measured: a few samples cost far less than a search.
        temperature, top_p: For the programs after the first. The defaults are chosen, not measured.
        max_tokens: Most tokens of one reply.
        escalate: Whether System 2 may search if no program of System 1 passes.
        seed: Everything random derives from it.
    """

    samples: int = Field(default=4, ge=1, le=64)
    temperature: float = Field(default=0.7, gt=0, le=2)
    top_p: float = Field(default=0.95, gt=0, le=1)
    max_tokens: int = Field(default=512, ge=1)
    escalate: bool = True
    seed: int = 42


class SolverAnswer(Frozen):
    """The solver's program, and how it came about.

    Args:
        solved: Whether it passes every public test; None if there are none.
        reward: Share of public tests passed, in [0, 1].
        system: 1 is the routed solver, 2 the search.
        confidence: System 1's confidence: the geometric mean of the probabilities of its reply's
            tokens, in (0, 1]. It tells sure from unsure; it is not the chance of being right.
        experts: How much each expert acted: 1 is its full strength.
        routed_by: What weighed them: `router`, `clusters`, or `library` if there is one expert.
        usage: Usage by agent; System 1's own under `solver`.
        samples: Programs that System 1 wrote.
        stopped_by: What ended the search; None if there was no search.
        note: What a person should know: why there was no search, or what could not be kept.
        kept: Whether the trace store has the search's trace.
    """

    problem_id: str
    code: str
    solved: bool | None = None
    reward: float = 0.0
    system: Literal[1, 2] = 1
    confidence: float | None = None
    experts: dict[str, float] = {}
    routed_by: Literal["router", "clusters", "library"] = "router"
    verdict: Verdict | None = None
    usage: dict[str, Usage] = {}
    samples: int = 0
    stopped_by: StoppedBy | None = None
    tier: str = ""
    seconds: float = 0.0
    note: str = ""
    kept: bool = False


def problem_of(given: Any) -> Problem:
    """Reads the problem that a caller gives.

    Args:
        given: A `Problem` or a `Task`; a problem's fields, with tests in any form that a file may have
            (docs/problems.md); or the statement alone. A statement without tests may name the
            function: "Write add(a, b)".

    Raises:
        ProblemError: If it is none of these.
    """
    problem = problem_from_statement(given) if isinstance(given, str) else read_problem(given)
    named = _FUNCTION.search(problem.statement)
    if isinstance(given, Problem | Task) or problem.public_tests or problem.entry_point or named is None:
        return problem
    return problem.model_copy(update={"entry_point": named[1]})


def rest_of(budget: Budget, used: Usage, seconds: float) -> Budget | None:
    """The rest of a budget; None if nothing is left."""
    left = {
        "calls": None if budget.calls is None else budget.calls - used.calls,
        "tokens": None if budget.tokens is None else budget.tokens - used.tokens,
        "money": None if budget.money is None else budget.money - (used.cost or 0.0),
        "seconds": None if budget.seconds is None else budget.seconds - seconds,
    }
    if any(value is not None and value <= 0 for value in left.values()):
        return None
    return Budget.model_validate(left)


def read_context(
    context: Mapping[str, Any] | None, config: SolverConfig, budget: Budget
) -> tuple[SolverConfig, Budget]:
    """The settings of one run: its context overrides the solver's own.

    Raises:
        ConfigError: If a key is unknown, or a value out of range; its message has a line for each.
    """
    known = {*SolverConfig.model_fields, *Budget.model_fields}
    given = dict(context or {})
    wrong = [unknown("key of the context", str(key), known) for key in given if key not in known]
    found = _changed(config, given, wrong), _changed(budget, given, wrong)
    refuse(wrong)
    return found


def _changed(settings: Settings, given: Mapping[str, Any], wrong: list[str]) -> Settings:
    changes = {key: value for key, value in given.items() if key in type(settings).model_fields}
    try:
        return settings.model_validate(settings.model_dump() | changes) if changes else settings
    except ValidationError as error:
        wrong += explain(error, "context", type(settings)).splitlines()
        return settings


# --- choosing -----------------------------------------------------------------------------


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
