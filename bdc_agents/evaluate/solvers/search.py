"""The search as a solver: any preset, any settings.

All solvers are charged alike: for the calls up to the program's own, in the order in which they were asked,
whichever reply came first. A cap on calls cuts that order, so this is what the cap would leave.
"""

from collections.abc import Sequence
from functools import partial
from time import monotonic
from typing import Any

from langgraph.checkpoint.memory import InMemorySaver
from pydantic import ValidationError

from bdc_agents.agents.protocol import Agent, Reply, Request
from bdc_agents.agents.replies.asked import read_program
from bdc_agents.config import Budget, SearchConfig, explain
from bdc_agents.errors import AgentError, ConfigError, unknown
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
from bdc_agents.runs.sharing.blocks import learns, starting_from
from bdc_agents.sandbox.protocol import Executor
from bdc_agents.search import SearchEvent, asolve, trace_of
from bdc_agents.search.nodes.execute import program_key
from bdc_agents.search.resume.checkpoints import PlainSerializer
from bdc_agents.search.round.budget import Amount
from bdc_agents.types import Node, Problem, Program, Trace, Usage


class Search:
    """The search over all of its agents.

    Args:
        name: The solver's name.
        agents: The agents that take part.
        config: Search settings, whose seed each sample replaces by its own.
        executor, budget: As for `asolve`.
    """

    repeats = False

    def __init__(
        self, name: str, agents: Sequence[Agent], config: SearchConfig, executor: Executor, budget: Budget
    ) -> None:
        self.name = name
        self._agents = agents
        self._config = config
        self._executor = executor
        self._budget = budget

    @property
    def learns(self) -> bool:
        """Whether its searches make use of what moves gave before."""
        return learns(self._config)

    @property
    def lifted(self) -> frozenset[str]:
        """The caps on calls."""
        return frozenset(Amount._fields)

    async def solve(self, problem: Problem, seed: int, start: Start = FRESH) -> Answer:
        """Searches one tree; leaves alone a problem without anything to aim at."""
        config = starting_from(self._config, start.known).model_copy(update={"seed": seed})
        if not problem.public_tests and not config.self_tests:
            return Answer(trace=_untried(problem, config, self._executor.tier))
        course = Course(problem, self._agents)

        def on_event(event: SearchEvent) -> None:
            if event["type"] == "program":
                course.ran(event["key"], Program.model_validate(event["program"]))

        # The steps of earlier rounds are made again, from cached replies: no round changes what was before.
        kept = InMemorySaver(serde=PlainSerializer()) if len(start.caps) > 1 else None
        first, *more = start.caps or (self._budget,)
        search = partial(
            asolve,
            problem,
            course.agents,
            executor=self._executor,
            search=config,
            on_event=on_event,
            checkpointer=kept,
        )
        trace = await search(budget=first)
        for budget in more:
            trace = await search(budget=budget)
        return course.answer(trace)


class Course:
    """Records a search: calls in the order in which they were asked, and verdicts as programs ran."""

    def __init__(self, problem: Problem, agents: Sequence[Agent]) -> None:
        self._problem = problem
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
        """Records the usage of a call, and the program in its reply."""
        self._used[call] = used
        if code := read_program(text, self._problem, truncated=truncated):
            key = program_key(code)
            self._first[key] = min(call, self._first.get(key, call))

    def ran(self, key: str, program: Program) -> None:
        """Records the verdict on a program."""
        self._ran[key] = program.reward, monotonic() - self._started

    def answer(self, trace: Trace) -> Answer:
        """The answer. Its candidates are the programs that pass more tests than all asked for earlier."""
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
    """An agent whose calls a `Course` records."""

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
        # A reply in JSON is no program, whatever its text looks like.
        text = "" if request.json_schema else reply.text
        self._course.answered(call, reply.usage, text, reply.truncated)
        return reply

    async def aclose(self) -> None:
        await self._agent.aclose()


def _untried(problem: Problem, config: SearchConfig, tier: str) -> Trace:
    return trace_of(
        {
            "problem": problem.model_dump(mode="json"),
            "tree": {"0": Node(closed=True).model_dump(mode="json")},
            "programs": {},
            "stopped_by": "exhausted",
            "tier": tier,
        },
        {"search": config.model_dump(mode="json")},
    )


def _search(spec: Spec, tools: Tools) -> Solver:
    """`search` has the settings of the configuration, `search:PRESET` those of the preset."""
    config = search_config(spec, tools.search, tools.temperature)
    return Search(spec.text, spec.chosen(tools), config, tools.executor, tools.budget)


def search_config(spec: Spec, base: SearchConfig, temperature: float | None) -> SearchConfig:
    """The settings of a search solver.

    Args:
        spec: The solver's name, whose argument is a preset and whose options are changes.
        base: The settings if it names no preset.
        temperature: The temperature if it names none.

    Raises:
        ConfigError: If there is no such preset or setting, or a value is out of range.
    """
    fields = [name for name in SearchConfig.model_fields if name != "seed"]
    changes: dict[str, Any] = {key: value for key, value in spec.options.items() if key != "agents"}
    for key in changes:
        if key not in fields:
            raise ConfigError(f"solver {spec.text!r}: {unknown('option', key, ['agents', *fields])}")
    # What is known of the agents holds for any preset.
    known = {"beliefs": base.beliefs} if base.beliefs else {}
    start = SearchConfig.preset(spec.argument, **known) if spec.argument else base
    if temperature is not None:
        changes = {"temperature": temperature} | changes
    changes = {key: None if value == "none" else value for key, value in changes.items()}
    try:
        return SearchConfig.model_validate(start.model_dump(exclude_unset=True) | changes)
    except ValidationError as error:
        raise ConfigError(explain(error, f"solver {spec.text!r}", SearchConfig)) from None


register_solver("search", _search, "search[:PRESET]")
