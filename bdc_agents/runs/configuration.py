"""The configuration of a run: recorded in its folder, and compared when the run is resumed."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from bdc_agents.agents.failures import shown_url
from bdc_agents.agents.load import distinct
from bdc_agents.config import AgentConfig, Budget, SearchConfig, Settings
from bdc_agents.errors import ConfigError, in_a_sentence, other_agents
from bdc_agents.runs.folder import RUN_FILE, open_run, read_run
from bdc_agents.runs.jobs.table import Job
from bdc_agents.runs.store import prompts_hash
from bdc_agents.search.budget import caps_on_calls
from bdc_agents.types import content_hash

_SECRET = {"api_key", "api_key_env", "base_url", "options"}
"""Agent settings that never reach the disk as they are: each may hold a key."""
_SHAPES_REPLIES = ("model", "temperature", "max_tokens", "structured", "path", "options")
"""Agent settings that must not change within a run; limits, key and address may."""
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


def open_collection(out: Path, asked: Mapping[str, Any]) -> tuple[Path, list[str]]:
    """Makes the folder of a run, or opens it to resume the run.

    Args:
        out: The folder.
        asked: What `describe` returned.

    Returns:
        The folder, and each change that the run may survive, one line each.

    Raises:
        ConfigError: If the folder holds a run of another configuration; its message lists every
            difference.
        UsageError: If the folder cannot be used.
    """
    if not (out / RUN_FILE).is_file():
        return open_run(out, asked), []
    kept = read_run(out).settings
    if kept.get("command") != "collect":
        raise ConfigError(f"{out} holds a run of another command than bdc collect; name another folder")
    told = list(_differences(kept, asked))
    if told:
        shared = (
            "; the problems of a run that share a budget stay as they are, and so does the budget"
            if any(line.startswith("pool.") for line in told)
            else ""
        )
        raise ConfigError(
            f"{out} holds a run of another configuration: {in_a_sentence(told)}{shared}.\n"
            f"Put {'this' if len(told) == 1 else 'these'} back to go on with it, or begin another run: --out "
            f"{out}-2"
        )
    notes = []
    if kept.get("prompts") != asked.get("prompts"):
        notes.append("the prompts have changed since this run began; the lineage of each trace names its own")
    return open_run(out, asked), notes


def _differences(kept: Mapping[str, Any], asked: Mapping[str, Any]) -> Iterator[str]:
    """One line for each key whose change would make this another run."""
    before, after = _essence(kept), _essence(asked)
    if changed := other_agents(before["agents"], after["agents"]):
        yield changed
    for one, other in ((before, after), (after, before)):
        both = one["agents"].keys() & other["agents"].keys()
        one["agents"] = {name: one["agents"][name] for name in sorted(both)}
    then, now = dict(_flat(before)), dict(_flat(after))
    for key in sorted(then.keys() | now.keys()):
        if key not in now:
            yield f"{key}: {then[key]!r} in the run, not there now"
        elif key not in then:
            yield f"{key}: not there in the run, {now[key]!r} now"
        elif then[key] != now[key]:
            yield f"{key}: {then[key]!r} in the run, {now[key]!r} now"


def _essence(settings: Mapping[str, Any]) -> dict[str, Any]:
    agents = {
        name: {key: agent.get(key) for key in _SHAPES_REPLIES}
        for name, agent in dict(settings.get("agents", {})).items()
    }
    # A key that is newer than the run counts as its default.
    defaults = {"search": SearchConfig(), "budget": Budget()}
    filled = {
        key: default.model_dump(mode="json") | dict(settings.get(key, {}))
        for key, default in defaults.items()
    }
    kept = {key: value for key, value in settings.items() if key != "prompts"}
    return {"learn": True} | kept | filled | {"agents": agents}


def _flat(settings: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in settings.items():
        if isinstance(value, Mapping) and value:
            yield from _flat(value, f"{prefix}{key}.")
        elif value not in ({}, []):
            yield prefix + key, value
