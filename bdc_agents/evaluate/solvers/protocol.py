"""The interface of solvers: a problem in, programs with the compute that they took out."""

from collections.abc import Iterable, Sequence
from typing import Protocol, runtime_checkable

from bdc_agents.config import Budget
from bdc_agents.search.policy.beliefs import Beliefs
from bdc_agents.types import Frozen, Problem, Trace, Usage


class Spent(Frozen):
    """The compute that a solver has used up to some moment.

    Args:
        calls, tokens: Calls and tokens of all agents.
        seconds: Wall time since the solver began.
        cost: US dollars; None if no price is known.
    """

    calls: int = 0
    tokens: int = 0
    seconds: float = 0.0
    cost: float | None = None


class Candidate(Frozen):
    """A program that was the solver's answer for a while.

    Args:
        program: Its key in the trace.
        after: The compute used when it became the answer.
    """

    program: str
    after: Spent


class Answer(Frozen):
    """A solver's answer to a problem.

    Args:
        trace: Everything that the solver wrote; its solution is the answer.
        candidates: The answers in their order; the last one is the solution.
    """

    trace: Trace
    candidates: tuple[Candidate, ...] = ()


def answer_of(trace: Trace, candidates: Sequence[Candidate]) -> Answer:
    """The answer of a solver that has ended, with its solution as the last candidate.

    Votes of later programs break ties, so the solution may be an earlier candidate again.
    """
    last = candidates[-1].program if candidates else ""
    key = next((key for key, found in trace.programs.items() if found.code == trace.solution.code), last)
    end = () if key == last else (Candidate(program=key, after=all_used(trace)),)
    return Answer(trace=trace, candidates=(*candidates, *end))


def all_used(trace: Trace) -> Spent:
    """The compute of a solver from beginning to end."""
    return spent(trace.solution.usage.values(), trace.solution.seconds)


def spent(used: Iterable[Usage], seconds: float) -> Spent:
    """The compute of some calls together."""
    whole = sum(used, Usage())
    return Spent(calls=whole.calls, tokens=whole.tokens, seconds=seconds, cost=whole.cost)


@runtime_checkable
class Solver(Protocol):
    """Something that solves problems; safe to use for several at once."""

    @property
    def name(self) -> str:
        """Its name in results."""
        ...

    @property
    def repeats(self) -> bool:
        """Whether all samples of a problem would be the same, so that one is enough."""
        ...

    async def solve(self, problem: Problem, seed: int) -> Answer:
        """Solves one problem.

        Args:
            problem: Without its hidden tests.
            seed: Seed of the sample; the same seed asks for the same replies.

        Raises:
            SandboxError: If programs cannot be run.
        """
        ...


class Start(Frozen):
    """What a solver starts from at a problem.

    Args:
        known: What moves gave on earlier problems.
        caps: Its budgets where problems share one: of its first round, and of each that went on with more.
            None for the solver's own.
    """

    known: Beliefs = Beliefs()
    caps: tuple[Budget, ...] = ()

    def budget(self, own: Budget) -> Budget:
        """The last of its budgets, or the solver's own."""
        return self.caps[-1] if self.caps else own


FRESH = Start()


@runtime_checkable
class Continuing(Solver, Protocol):
    """A solver that may start from what moves gave on earlier problems, and go on with a larger budget."""

    @property
    def learns(self) -> bool:
        """Whether it makes use of what moves gave."""
        ...

    @property
    def lifted(self) -> frozenset[str]:
        """What ends it, as in `stopped_by`, that a larger budget lifts."""
        ...

    async def solve(self, problem: Problem, seed: int, start: Start = ...) -> Answer:
        """See `Solver`.

        Args:
            problem, seed: As for `Solver`.
            start: With more than one budget it does what it did with all but the last, which asks for the
                same replies again, and goes on.
        """
        ...
