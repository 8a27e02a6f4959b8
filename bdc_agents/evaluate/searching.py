"""The search as a solver: any preset, any settings."""

from collections.abc import Sequence
from time import monotonic
from typing import Any

from pydantic import ValidationError

from bdc_agents.agents.protocol import Agent
from bdc_agents.config import Budget, SearchConfig, explain
from bdc_agents.errors import ConfigError, unknown
from bdc_agents.evaluate.solvers import Answer, Candidate, Solver, Spec, Spent, Tools, register_solver
from bdc_agents.sandbox.protocol import Executor
from bdc_agents.search import asolve, trace_of
from bdc_agents.types import Node, Problem, Trace, Usage


class Search:
    """The search over all of its agents.

    Args:
        name: In results.
        agents: Who takes part.
        config: Settings; its seed is replaced by that of the sample.
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

    async def solve(self, problem: Problem, seed: int) -> Answer:
        """Searches one tree; a problem it has nothing to aim at it leaves alone."""
        config = self._config.model_copy(update={"seed": seed})
        if not problem.public_tests and not config.self_tests:
            return Answer(trace=_untried(problem, config, self._executor.tier))
        course = _Course()
        trace = await asolve(
            problem,
            self._agents,
            executor=self._executor,
            search=config,
            budget=self._budget,
            on_event=course.on_event,
        )
        return Answer(trace=trace, candidates=course.candidates(trace))


class _Course:
    """What the best program was in the course of a search, and what had been used by then."""

    def __init__(self) -> None:
        self._started = monotonic()
        self._used = Usage()
        self._best = -1.0
        self._found: list[Candidate] = []

    def on_event(self, event: dict[str, Any]) -> None:
        """Takes in one event of `asolve`."""
        if event["type"] == "answered":
            self._used += Usage.model_validate(event["usage"])
        elif event["type"] == "program":
            reward = _reward(event["program"])
            if reward > self._best:
                self._best = reward
                self._found.append(Candidate(program=event["key"], after=self._spent()))

    def candidates(self, trace: Trace) -> tuple[Candidate, ...]:
        """With the one that was handed over last: among equals the votes of later rollouts decide."""
        last = next((key for key, p in trace.programs.items() if p.code == trace.solution.code), None)
        if last and (not self._found or self._found[-1].program != last):
            return (*self._found, Candidate(program=last, after=self._spent()))
        return tuple(self._found)

    def _spent(self) -> Spent:
        used, seconds = self._used, monotonic() - self._started
        return Spent(calls=used.calls, tokens=used.tokens, seconds=seconds, cost=used.cost)


def _reward(program: dict[str, Any]) -> float:
    results = (program.get("verdict") or {}).get("results") or []
    passed = sum(result["outcome"] == "passed" for result in results)
    return passed / len(results) if results else 0.0


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
    """The settings that a search solver has.

    Args:
        spec: Its preset is its argument; its options are changes.
        base: Where it names no preset.
        temperature: Where it names none.

    Raises:
        ConfigError: If there is no such preset or setting, or a value is out of range.
    """
    fields = [name for name in SearchConfig.model_fields if name != "seed"]
    changes: dict[str, Any] = {key: value for key, value in spec.options.items() if key != "agents"}
    for key in changes:
        if key not in fields:
            raise ConfigError(f"solver {spec.text!r}: {unknown('option', key, ['agents', *fields])}")
    start = SearchConfig.preset(spec.argument) if spec.argument else base
    if temperature is not None:
        changes = {"temperature": temperature} | changes
    changes = {key: None if value == "none" else value for key, value in changes.items()}
    try:
        return SearchConfig.model_validate(start.model_dump() | changes)
    except ValidationError as error:
        raise ConfigError(explain(error, f"solver {spec.text!r}", SearchConfig)) from None


register_solver("search", _search, "search[:PRESET]")
