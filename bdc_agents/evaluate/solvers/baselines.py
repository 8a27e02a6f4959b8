"""The solvers that a search is compared with: one agent, best-of-N, self-repair."""

import asyncio
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import partial
from itertools import count

from langchain_core.messages import BaseMessage

from bdc_agents.agents.protocol import Agent, Request
from bdc_agents.config import Budget
from bdc_agents.errors import ConfigError
from bdc_agents.evaluate.solvers.protocol import (
    FRESH,
    Answer,
    Candidate,
    Solver,
    Start,
    answer_of,
    spent,
)
from bdc_agents.evaluate.solvers.registry import Spec, Tools, register_solver
from bdc_agents.prompts import repair_program, write_program
from bdc_agents.sandbox.protocol import Executor
from bdc_agents.search.nodes.boost import read_draft
from bdc_agents.search.nodes.execute import execute, program_key
from bdc_agents.search.round.budget import Account, Amount, caps_on_calls, check_prices, passed, total
from bdc_agents.search.round.calls import Answer as Answered
from bdc_agents.search.round.calls import Call, ask, derive_seed, failures, read_each, settle
from bdc_agents.search.round.clock import is_late, now
from bdc_agents.search.round.plan import Want, afford
from bdc_agents.search.traces import FAILURES_SHOWN, trace_of
from bdc_agents.types import Attempt, Frozen, Node, Problem, Program

LIFTED = frozenset({*Amount._fields, "rollouts"})
"""What ends a baseline that a larger budget lifts: also the number of its programs."""
ROOT = "0"
"""The id of the tree's root, which is all there is of a baseline's tree."""


class _Draft(Frozen, arbitrary_types_allowed=True):
    """The result of one call; without a program if no reply came, or it held none."""

    answered: Answered
    key: str = ""
    program: Program | None = None
    seconds: float


class Session:
    """The calls for one problem. It keeps them within the budget, runs their programs, and makes a trace.

    Args:
        problem: The problem to solve.
        agents: The agents that may be asked.
        executor: Runs programs on the public tests.
        budget: Caps on all calls together.
    """

    def __init__(self, problem: Problem, agents: Sequence[Agent], executor: Executor, budget: Budget) -> None:
        self.problem = problem
        self.agents = {agent.name: agent for agent in agents}
        self.executor = executor
        self.budget = budget
        self.drafts: list[_Draft] = []
        self.cut: str | None = None
        self._started = now()
        self._deadline = self._started + budget.seconds if budget.seconds else None
        self._account = Account(caps_on_calls(budget))

    @property
    def seconds(self) -> float:
        """Wall time since it began."""
        return now() - self._started

    @property
    def best(self) -> Program | None:
        """The program it would hand over now."""
        return _best(self.drafts)

    @property
    def solved(self) -> bool:
        """Whether a program passes every public test."""
        return bool(self.best and self.best.verdict and self.best.verdict.passed)

    async def write(self, calls: Sequence[Call]) -> bool:
        """Makes the calls that the budget has room for; returns whether all were made and answered.

        Raises:
            ConfigError: If there is a cap on money and no price of an agent is known.
        """
        check_prices(self.budget, ((c.agent, self.agents[c.agent].bound(c.request)) for c in calls))
        used = total(settle([draft.answered for draft in self.drafts]))
        self.cut = passed(self.budget, used) or ("seconds" if is_late(self._deadline) else None)
        if self.cut:
            return False
        fitting, self.cut = afford([Want(call) for call in calls], self.agents, self._account)
        drafts = await asyncio.gather(*(self._draft(call) for call in fitting))
        self.drafts += drafts
        return not self.cut and all(draft.answered.reply for draft in drafts)

    async def _draft(self, call: Call) -> _Draft:
        [answered] = await ask([call], self.agents, self._deadline, lambda _: None, self._account)
        [read] = await read_each(partial(read_draft, problem=self.problem), [answered])
        if read is None or not read.code:
            return _Draft(answered=answered, seconds=self.seconds)
        key, program = program_key(read.code), Program(code=read.code, agent=call.agent)
        run = await execute({key: program}, {}, self.problem, self.executor, self._deadline)
        return _Draft(answered=answered, key=key, program=run[key], seconds=self.seconds)

    def answer(self, settings: dict[str, object]) -> Answer:
        """The answer with its trace: a tree of the root alone, which all programs were written for."""
        answers = [draft.answered for draft in self.drafts]
        malformed = [draft.answered for draft in self.drafts if draft.answered.reply and not draft.key]
        programs: dict[str, Program] = {}
        for draft in self.drafts:
            if draft.program:
                programs.setdefault(draft.key, draft.program)
        attempts = [_attempt(draft, programs) for draft in self.drafts if draft.answered.reply]
        rewards = [attempt.reward for attempt in attempts]
        value = sum(rewards) / len(rewards) if rewards else None
        root = Node(id=ROOT, attempts=tuple(attempts), value=value, closed=True)
        trace = trace_of(
            {
                "problem": self.problem.model_dump(mode="json"),
                "tree": {ROOT: root.model_dump(mode="json")},
                "programs": {key: program.model_dump(mode="json") for key, program in programs.items()},
                "usage": settle(answers, malformed),
                "set_aside": {} if any(answer.reply for answer in answers) else failures(answers),
                "rollouts": 1,
                "seconds": self.seconds,
                "tier": self.executor.tier,
                "stopped_by": self._stopped_by(),
            },
            settings,
        )
        return answer_of(trace, [*self._candidates()])

    def _stopped_by(self) -> str:
        if self.solved:
            return "solved"
        answers = [draft.answered for draft in self.drafts]
        if failures(answers) and not any(answer.reply for answer in answers):
            return "agents"
        return self.cut or "rollouts"

    def _candidates(self) -> Iterator[Candidate]:
        """The answers after the first call, after the first two, and so on."""
        last = ""
        for number in range(1, len(self.drafts) + 1):
            drafts = self.drafts[:number]
            key = _best_key(drafts)
            if key and key != last:
                last = key
                seconds = max(draft.seconds for draft in drafts)
                used = (draft.answered.usage for draft in drafts)
                yield Candidate(program=key, after=spent(used, seconds))


def _attempt(draft: _Draft, programs: dict[str, Program]) -> Attempt:
    reward = programs[draft.key].reward if draft.key else 0.0
    return Attempt(program=draft.key, agent=draft.answered.call.agent, reward=reward)


def _best_key(drafts: Sequence[_Draft]) -> str:
    """The key of the best draft by the search's rule: most public tests, then most votes, then the first."""
    votes = Counter(draft.key for draft in drafts)
    rewards: dict[str, float] = {}
    for draft in drafts:
        if draft.program:
            rewards.setdefault(draft.key, draft.program.reward)
    return max(rewards, key=lambda key: (rewards[key], votes[key]), default="")


def _best(drafts: Sequence[_Draft]) -> Program | None:
    key = _best_key(drafts)
    return next((draft.program for draft in drafts if draft.key == key), None) if key else None


class BestOf:
    """Several programs, written independently of each other; the best on the public tests is chosen.

    Args:
        name: The solver's name.
        agents: Agents, which take turns.
        count: Programs in all; with one it is a single agent.
        temperature: Sampling temperature.
        executor, budget: As for `Session`.
    """

    learns = False

    def __init__(
        self,
        name: str,
        agents: Sequence[Agent],
        count: int,
        temperature: float,
        executor: Executor,
        budget: Budget,
    ) -> None:
        self.name = name
        self.repeats = temperature == 0 and count == 1
        self._agents = agents
        self._count = count
        self._temperature = temperature
        self._executor = executor
        self._budget = budget

    @property
    def lifted(self) -> frozenset[str]:
        """Nothing where further programs would be the same."""
        return LIFTED if self._temperature else frozenset()

    async def solve(self, problem: Problem, seed: int, start: Start = FRESH) -> Answer:
        """Asks for all programs at once; with more of a pool, for one more at a time until one passes."""
        session = Session(problem, self._agents, self._executor, start.budget(self._budget))
        messages = write_program(problem, ())

        def call(number: int) -> Call:
            agent = self._agents[number % len(self._agents)]
            return _call(agent, messages, self._temperature, seed, number)

        wrote = await session.write([call(number) for number in range(self._count)])
        number = self._count
        while len(start.caps) > 1 and wrote and not session.solved:
            wrote = await session.write([call(number)])
            number += 1
        return session.answer({"solver": self.name, "temperature": self._temperature, "seed": seed})


class Repair:
    """A program, then corrections of the last one after the public tests that it fails.

    Args:
        name: The solver's name.
        agents: Agents, which take turns; the first one writes.
        rounds: Most corrections.
        temperature: Sampling temperature.
        executor, budget: As for `Session`.
    """

    learns = False

    def __init__(
        self,
        name: str,
        agents: Sequence[Agent],
        rounds: int,
        temperature: float,
        executor: Executor,
        budget: Budget,
    ) -> None:
        self.name = name
        self.repeats = temperature == 0
        self._agents = agents
        self._rounds = rounds
        self._temperature = temperature
        self._executor = executor
        self._budget = budget

    @property
    def lifted(self) -> frozenset[str]:
        """Corrections go on as far as a budget does."""
        return LIFTED

    async def solve(self, problem: Problem, seed: int, start: Start = FRESH) -> Answer:
        """Writes, runs, corrects, until the public tests pass or the rounds are used.

        With more of a pool, corrections go on.
        """
        session = Session(problem, self._agents, self._executor, start.budget(self._budget))
        ask_first = write_program(problem, ())
        messages: Sequence[BaseMessage] = ask_first
        for number in count() if len(start.caps) > 1 else range(self._rounds + 1):
            agent = self._agents[number % len(self._agents)]
            call = _call(agent, messages, self._temperature, seed, number)
            if not await session.write([call]) or session.solved or not problem.public_tests:
                break
            last = session.drafts[-1].program
            messages = repair_program(ask_first, last, FAILURES_SHOWN) if last else ask_first
        return session.answer({"solver": self.name, "temperature": self._temperature, "seed": seed})


def _call(agent: Agent, messages: Sequence[BaseMessage], temperature: float, seed: int, number: int) -> Call:
    """The request for one program; its seed is its own."""
    request = Request(
        messages=tuple(messages),
        temperature=temperature,
        seed=derive_seed(seed, ROOT, "program", agent.name, number),
    )
    return Call(agent=agent.name, purpose="boost", node=ROOT, request=request)


_OPTIONS = ("agents", "temperature")


def _single(spec: Spec, tools: Tools) -> Solver:
    spec.check_options(_OPTIONS)
    agents = spec.chosen(tools)
    if len(agents) != 1:
        names = " or ".join(f"single:{agent.name}" for agent in agents)
        raise ConfigError(f"solver {spec.text!r} is one agent; say which: {names}")
    return BestOf(spec.text, agents, 1, spec.temperature(tools), tools.executor, tools.budget)


def _best_of(spec: Spec, tools: Tools) -> Solver:
    spec.check_options(_OPTIONS)
    count = spec.count("the number of programs")
    return BestOf(spec.text, spec.chosen(tools), count, spec.temperature(tools), tools.executor, tools.budget)


def _repair(spec: Spec, tools: Tools) -> Solver:
    spec.check_options(_OPTIONS)
    rounds = spec.count("the number of corrections")
    return Repair(
        spec.text, spec.chosen(tools), rounds, spec.temperature(tools), tools.executor, tools.budget
    )


register_solver("single", _single, "single:AGENT")
register_solver("best-of", _best_of, "best-of:N")
register_solver("repair", _repair, "repair:ROUNDS")
