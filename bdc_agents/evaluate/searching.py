"""The search as a solver: any preset, any settings."""

from collections.abc import Sequence
from typing import Any

from pydantic import ValidationError

from bdc_agents.agents.protocol import Agent
from bdc_agents.config import Budget, SearchConfig, explain
from bdc_agents.errors import ConfigError, unknown
from bdc_agents.evaluate.course import Course
from bdc_agents.evaluate.solvers import Answer, Solver, Spec, Tools, register_solver
from bdc_agents.sandbox.protocol import Executor
from bdc_agents.search import asolve, trace_of
from bdc_agents.types import Node, Problem, Program, Trace


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
        course = Course(problem, self._agents)

        def on_event(event: dict[str, Any]) -> None:
            if event["type"] == "program":
                course.ran(event["key"], Program.model_validate(event["program"]))

        trace = await asolve(
            problem,
            course.agents,
            executor=self._executor,
            search=config,
            budget=self._budget,
            on_event=on_event,
        )
        return course.answer(trace)


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
        return SearchConfig.model_validate(start.model_dump(exclude_unset=True) | changes)
    except ValidationError as error:
        raise ConfigError(explain(error, f"solver {spec.text!r}", SearchConfig)) from None


register_solver("search", _search, "search[:PRESET]")
