"""The configuration of an evaluation: read from TOML or options, kept in `eval.json`, compared there.

    [eval]
    datasets = ["humaneval", "mbpp:test"]
    solvers = ["single:small", "best-of:8", "repair:4,agents=small", "search:paper,rollouts=8"]
    limit = 100
    shuffle_seed = 0

    [agents.small]
    model = "local:qwen2.5-coder-0.5b"

    [budget]
    calls = 16

The file stands alone: `bdc eval --config eval.toml --out runs/eval`.
"""

import json
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError, field_validator

from bdc_agents.agents.failures import shown_url
from bdc_agents.config import AgentConfig, Budget, Settings, explain
from bdc_agents.errors import ConfigError, other_agents
from bdc_agents.runs.sharing.pool import shareable
from bdc_agents.types import Given
from bdc_agents.untrusted import read_object, read_toml

SECTION = "eval"

_FREE = {
    SECTION: ("k", "concurrency"),
    "agents": ("base_url", "api_key_env", "timeout", "retries", "concurrency", "requests_per_second"),
}
"""Settings that may change when an evaluation goes on in its folder, because they change no row."""
_SERVING = ("slots", "context", "threads")
"""Options of a local agent that may change too: they only say how to serve the model."""


class EvalConfig(Given):
    """The table `[eval]` of a configuration file.

    Args:
        datasets: Data sets, such as `humaneval`, `mbpp:test`, `mbpp:601` or a `.jsonl` file.
        solvers: Solvers, as `Spec` reads them.
        agents: Names or model strings of the team; empty for all configured agents.
        samples: How often each solver solves each problem, each time with another seed.
        k: The k of pass@k.
        temperature: Default for solvers without their own temperature; None for that of the search settings.
        limit: Most problems, after filter and shuffle.
        filters: Conditions that all problems must meet, such as `difficulty=introductory`.
        public_only: Leave out problems without public tests.
        reference_tests: Add hidden tests to problems with few: known solutions' answers to changed inputs.
            The figures then differ from those of the published sets.
        shuffle_seed: None keeps the order of the data sets.
        seed: Everything random derives from it, together with the solver and the sample.
        learn: Whether a search starts from what its moves gave on earlier problems, by the blocks of
            `runs.blocks`; False starts all alike.
        pool: Calls, tokens or money of each solver for all problems together: those that are not solved go
            on with what the others left. Each sample has its own.
        concurrency: Problems at once. Each needs an agent's endpoint and a sandbox; as a start, not measured.
    """

    # The upper bounds are far above sensible values, and catch slips.
    datasets: tuple[str, ...] = Field(default=(), max_length=100)
    solvers: tuple[str, ...] = ()
    agents: tuple[str, ...] = ()
    samples: int = Field(default=1, ge=1, le=10_000)
    k: tuple[int, ...] = (1,)
    temperature: float | None = Field(default=None, ge=0, le=2)
    limit: int | None = Field(default=None, ge=1)
    filters: tuple[str, ...] = ()
    public_only: bool = False
    reference_tests: bool = False
    shuffle_seed: int | None = None
    seed: int = 42
    learn: bool = True
    pool: Budget = Budget()
    concurrency: int = Field(default=4, ge=1, le=1000)

    @field_validator("solvers", "datasets", "agents")
    @classmethod
    def _no_twins(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if twice := sorted({text for text in value if value.count(text) > 1}):
            raise ValueError(f"{', '.join(twice)} comes twice; name each once")
        return value

    @field_validator("pool")
    @classmethod
    def _no_time(cls, value: Budget) -> Budget:
        return shareable(value)

    @field_validator("k")
    @classmethod
    def _positive(cls, value: tuple[int, ...]) -> tuple[int, ...]:
        if not value or min(value) < 1:
            raise ValueError("each k of pass@k is at least 1")
        return tuple(sorted(set(value)))


def read_config(file: Path | None) -> tuple[EvalConfig, Settings]:
    """What a file says of an evaluation and of agents, search, budget and sandbox.

    Args:
        file: A TOML file with a table `[eval]` beside those of `bdc.toml`, or the `eval.json` of an
            earlier evaluation; None for `bdc.toml` of the working directory.

    Raises:
        ConfigError: If it is missing or malformed, or a value is not accepted.
    """
    place = file or Path("bdc.toml")
    if file is not None and not file.is_file():
        raise ConfigError(f"no configuration {str(file)!r}; write one, or leave --config out")
    data = _read(place) if place.is_file() else {}
    section = data.pop(SECTION, {})
    return build(EvalConfig, section, f"{place}: [{SECTION}]"), build(Settings, data, str(place))


def build(model: type[Any], data: Mapping[str, Any], source: str) -> Any:
    """A model from plain data.

    Raises:
        ConfigError: If a key is unknown or a value not accepted.
    """
    try:
        return model(**data)
    except ValidationError as error:
        raise ConfigError(explain(error, source, model)) from None
    except TypeError:
        raise ConfigError(f"{source}: a table of keys is expected, found {data!r:.80}") from None


def _read(file: Path) -> dict[str, Any]:
    try:
        text = file.read_text(encoding="utf-8")
        if file.suffix != ".json":
            return read_toml(text)
    except ValueError as error:
        raise ConfigError(f"{file}: not valid TOML: {error}") from None
    try:
        return dict(read_object(text, finite=False)["config"])
    except (ValueError, KeyError, TypeError):
        raise ConfigError(f"{file}: not the eval.json of an evaluation; name one, or a TOML file") from None


def as_record(config: EvalConfig, settings: Settings, names: list[str]) -> dict[str, Any]:
    """The configuration as plain data without secrets, which `read_config` takes again.

    Args:
        config: The configuration of the evaluation.
        settings: The settings of agents, search, budget and sandbox.
        names: The agents that take part.
    """
    agents = {name: settings.agent(name) for name in names}
    # Left out where it is off, so that an evaluation from before there were such tests can go on.
    without = {"reference_tests"} if not config.reference_tests else set[str]()
    without |= {"pool"} if config.pool == Budget() else set()
    return {
        SECTION: config.model_dump(mode="json", exclude=without),
        "agents": {name: _public(agent) for name, agent in agents.items()},
        "search": settings.search.model_dump(mode="json"),
        "budget": settings.budget.model_dump(mode="json"),
        "sandbox": {"packages": list(settings.sandbox.packages)},
    }


def _public(agent: AgentConfig) -> dict[str, Any]:
    """What may be shown of an agent: options that are texts may be keys."""
    shown = agent.model_dump(mode="json", exclude={"api_key", "options"}, exclude_none=True)
    if agent.base_url:
        shown["base_url"] = shown_url(agent.base_url)
    options = {key: value for key, value in agent.options.items() if isinstance(value, bool | int | float)}
    return shown | ({"options": options} if options else {})


def difference(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """The settings in which two configurations differ and that change rows.

    Returns:
        One line for each setting: its place, what it was, what it is now.
    """
    one, other = _compared(old), _compared(new)
    changed = other_agents(one["agents"], other["agents"])
    both = one["agents"].keys() & other["agents"].keys()
    before, after = _flat(_of_agents(one, both)), _flat(_of_agents(other, both))
    keys = [key for key in {**before, **after} if before.get(key) != after.get(key)]
    told = [f"{key}: was {_shown(before, key)}, is {_shown(after, key)}" for key in keys]
    return [changed, *told] if changed else told


def _of_agents(record: Mapping[str, Any], names: Collection[str]) -> dict[str, Any]:
    """A configuration as far as it is of some agents, whose models its lineage repeats."""
    lineage = dict(record.get("lineage", {}))
    if isinstance(lineage.get("models"), Mapping):
        lineage["models"] = {key: value for key, value in lineage["models"].items() if key in names}
    agents = {name: record["agents"][name] for name in sorted(names)}
    return {**record, "agents": agents, "lineage": lineage}


def _shown(values: Mapping[str, Any], key: str) -> str:
    return json.dumps(values[key])[:120] if key in values else "not set"


def _compared(record: Mapping[str, Any]) -> dict[str, Any]:
    kept = {key: value for key, value in record.items() if key != SECTION}
    # Before it could be chosen, all problems started alike.
    section = {"learn": False} | record.get(SECTION, {})
    kept[SECTION] = {key: value for key, value in section.items() if key not in _FREE[SECTION]}
    kept["agents"] = {
        name: {key: _replying(value) for key, value in agent.items() if key not in _FREE["agents"]}
        for name, agent in record.get("agents", {}).items()
    }
    return kept


def _replying(value: Any) -> Any:
    """An agent's options without those that shape no reply; any other value as it is."""
    if not isinstance(value, Mapping):
        return value
    return {key: inner for key, inner in value.items() if key not in _SERVING}


def _flat(value: Any, place: str = "") -> dict[str, Any]:
    if not isinstance(value, Mapping) or not value:
        return {place: value} if place else {}
    flat: dict[str, Any] = {}
    for key, inner in value.items():
        flat |= _flat(inner, f"{place}.{key}" if place else str(key))
    return flat
