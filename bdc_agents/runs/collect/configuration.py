"""The configuration of a run, as its folder records it: `resume` compares it when the run goes on."""

from collections.abc import Mapping, Sequence
from typing import Any

from bdc_agents.agents.failures import shown_url
from bdc_agents.agents.load import distinct
from bdc_agents.config import AgentConfig, Budget, Settings
from bdc_agents.runs.jobs.table import Job
from bdc_agents.runs.store import prompts_hash
from bdc_agents.search.round.budget import caps_on_calls
from bdc_agents.types import content_hash

_SECRET = {"api_key", "api_key_env", "base_url", "options"}
"""Agent settings that never reach the disk as they are: each may hold a key."""
_SERVING = {"slots", "context", "threads"}
"""Options that say how a local model is served; they leave its replies as they are."""


def describe(
    settings: Settings,
    names: Sequence[str],
    datasets: Sequence[str],
    filters: Sequence[str] = (),
    shuffle_seed: int | None = None,
    learn: bool = True,
    pool: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """What the run folder records of a run, without anything that may hold a key.

    Args:
        settings: Settings with the command's options applied.
        names: Agents, as `load_agents` takes them.
        datasets, filters, shuffle_seed: Which problems, as the user asked for them.
        learn: Whether later problems start from what moves gave on earlier ones.
        pool: What the problems share, as `pool_of` says.
    """
    agents = {fresh: _agent(settings.agent(name)) for name, fresh in zip(names, distinct(names), strict=True)}
    return {
        "command": "collect",
        "datasets": list(datasets),
        "filters": list(filters),
        "shuffle_seed": shuffle_seed,
        "learn": learn,
        "agents": agents,
        "search": settings.search.model_dump(mode="json"),
        "budget": settings.budget.model_dump(mode="json"),
        "sandbox": {"packages": list(settings.sandbox.packages)},
        "prompts": prompts_hash(),
        **({"pool": dict(pool)} if pool else {}),
    }


def pool_of(pool: Budget, jobs: Sequence[Job]) -> dict[str, Any]:
    """What the run folder records of a pool: its caps, and by what hash the problems are known that share it.

    Any other problem would change everybody's share, so all stay as they are. Empty without a pool.
    """
    caps = caps_on_calls(pool)
    shared = content_hash(repr([(job.id, job.content, job.hidden) for job in jobs]))
    return {**caps, "problems": f"{len(jobs)} ({shared})"} if caps else {}


def _agent(config: AgentConfig) -> dict[str, Any]:
    # Only numbers among the options: a text may be a key.
    numbers = {
        key: value
        for key, value in config.options.items()
        if isinstance(value, int | float) and key not in _SERVING
    }
    return config.model_dump(mode="json", exclude=_SECRET) | {
        "endpoint": shown_url(config.base_url or ""),
        "options": numbers,
    }
