"""The course of a solver: what it would have handed over from when on, and what was used by then.

All solvers are charged alike: for the calls up to the program's own, in the order in which they were
asked, whichever reply came first. A cap on calls cuts that order, so this is what the cap would leave.
"""

from collections.abc import Iterable, Sequence
from time import monotonic

from bdc_agents.agents.protocol import Agent, Reply, Request
from bdc_agents.agents.replies.reading import extract_code
from bdc_agents.errors import AgentError
from bdc_agents.evaluate.solvers import Answer, Candidate, Spent
from bdc_agents.search.execute import program_key
from bdc_agents.types import Problem, Program, Trace, Usage


def answer_of(trace: Trace, candidates: Sequence[Candidate]) -> Answer:
    """The answer of a solver that has ended: its solution is the last candidate.

    Among equals the votes of later programs decide, so that one from before may be handed over.
    """
    last = candidates[-1].program if candidates else ""
    key = next((key for key, found in trace.programs.items() if found.code == trace.solution.code), last)
    end = () if key == last else (Candidate(program=key, after=all_used(trace)),)
    return Answer(trace=trace, candidates=(*candidates, *end))


def all_used(trace: Trace) -> Spent:
    """What a solver used from its beginning to its end."""
    return spent(trace.solution.usage.values(), trace.solution.seconds)


def spent(used: Iterable[Usage], seconds: float) -> Spent:
    """What some calls used together."""
    whole = sum(used, Usage())
    return Spent(calls=whole.calls, tokens=whole.tokens, seconds=seconds, cost=whole.cost)


class Course:
    """Follows a search: the calls in the order in which they were asked, and the programs as they ran."""

    def __init__(self, problem: Problem, agents: Sequence[Agent]) -> None:
        self._entry_point = problem.defines
        self._started = monotonic()
        self._used: list[Usage] = []
        self._first: dict[str, int] = {}
        self._ran: dict[str, tuple[float, float]] = {}
        self.agents = [_Followed(agent, self) for agent in agents]

    def asked(self) -> int:
        """The number of the next call, which counts as failed until it is answered."""
        self._used.append(Usage(calls=1, failed=1))
        return len(self._used) - 1

    def answered(self, call: int, used: Usage, text: str = "", truncated: bool = False) -> None:
        """Notes what a call took, and the program in its reply."""
        self._used[call] = used
        if code := extract_code(text, self._entry_point, truncated=truncated):
            key = program_key(code)
            self._first[key] = min(call, self._first.get(key, call))

    def ran(self, key: str, program: Program) -> None:
        """Notes the verdict on a program."""
        self._ran[key] = program.reward, monotonic() - self._started

    def answer(self, trace: Trace) -> Answer:
        """The answer, with each program that passed more tests than those asked for before it."""
        found, best, seconds = list[Candidate](), -1.0, 0.0
        for key in sorted(self._ran.keys() & self._first.keys(), key=self._first.__getitem__):
            reward, ended = self._ran[key]
            seconds = max(seconds, ended)
            if reward > best:
                best = reward
                used = self._used[: self._first[key] + 1]
                found.append(Candidate(program=key, after=spent(used, seconds)))
        return answer_of(trace, found)


class _Followed:
    """An agent whose calls are noted."""

    def __init__(self, agent: Agent, course: Course) -> None:
        self.name = agent.name
        self._agent = agent
        self._course = course

    def bound(self, request: Request) -> Usage:
        return self._agent.bound(request)

    async def reply(self, request: Request) -> Reply:
        call = self._course.asked()
        try:
            reply = await self._agent.reply(request)
        except AgentError as error:
            self._course.answered(call, (error.usage or Usage(failed=1)) + Usage(calls=1))
            raise
        # What asks for JSON holds no program, whatever its text looks like.
        text = "" if request.json_schema else reply.text
        self._course.answered(call, reply.usage, text, reply.truncated)
        return reply

    async def aclose(self) -> None:
        await self._agent.aclose()
