"""What makes a search the search it is, kept in its state: a search that goes on is compared with it."""

from collections.abc import Iterator, Mapping
from typing import Any

from bdc_agents.agents.protocol import Agent
from bdc_agents.config import Budget, SearchConfig
from bdc_agents.types import Problem, content_hash

SHAPES_REPLIES = ("model", "temperature", "max_tokens", "structured", "path")
"""Of an agent's settings: what must stay while a search lasts; its limits, key and address may change."""
_CAP = "budget."


def origin_of(
    problem: Problem, agents: Mapping[str, Agent], search: SearchConfig, budget: Budget
) -> dict[str, Any]:
    """Everything that decides what a search does, as flat data small enough for every checkpoint.

    What is a default is left out; of the problem and the agents there are hashes.

    Args:
        problem: As the caller passed it, before agents write tests of their own.
        agents: Those that take part.
        search: The policy, with its seed.
        budget: The one part that may change when a search goes on.
    """
    fields = problem.model_dump(mode="json", exclude_defaults=True, exclude={"difficulty", "tags"})
    policy = search.model_dump(mode="json", exclude_defaults=True)
    return {
        **{f"problem.{name}": content_hash(repr(value)) for name, value in fields.items()},
        **{f"agents.{name}": content_hash(repr(_shape(agent))) for name, agent in agents.items()},
        **{f"search.{name}": value for name, value in policy.items()},
        **_caps(budget),
    }


def with_budget(origin: Mapping[str, Any], budget: Budget) -> dict[str, Any]:
    """The origin of a search that has gone on with another budget."""
    return {key: value for key, value in origin.items() if not key.startswith(_CAP)} | _caps(budget)


def with_statement(origin: Mapping[str, Any], statement: str) -> dict[str, Any]:
    """The origin of a search whose problem has another statement now."""
    return {**origin, "problem.statement": content_hash(repr(statement))}


def budget_of(origin: Mapping[str, Any]) -> Budget:
    """The budget that a search ended with."""
    return Budget.model_validate(
        {key.removeprefix(_CAP): cap for key, cap in origin.items() if key.startswith(_CAP)}
    )


def differences(then: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[str]:
    """One line for each thing, the budget apart, that is not what it was when the search began."""
    defaults = {f"search.{name}": value for name, value in SearchConfig().model_dump(mode="json").items()}
    for key in sorted(then.keys() | now.keys()):
        before, after = (origin.get(key, defaults.get(key)) for origin in (then, now))
        if before == after or key.startswith(_CAP):
            continue
        if key.startswith("search."):
            yield f"{key}: {before!r} in the search, {after!r} now"
        elif before is None or after is None:
            yield f"{key}: {'only in the search' if after is None else 'only now'}"
        else:
            yield f"{key}: another one than in the search"


def raised(stopped_by: str | None, before: Budget, now: Budget) -> bool:
    """Whether the cap that ended a search is higher now, or gone."""
    if stopped_by not in Budget.model_fields:
        return False
    then, cap = getattr(before, stopped_by), getattr(now, stopped_by)
    return then is not None and (cap is None or cap > then)


def _caps(budget: Budget) -> dict[str, Any]:
    return {f"{_CAP}{name}": cap for name, cap in budget.model_dump(exclude_none=True).items()}


def _shape(agent: Agent) -> list[Any]:
    config = getattr(agent, "config", None)
    return [str(getattr(config, name, "")) for name in SHAPES_REPLIES]
