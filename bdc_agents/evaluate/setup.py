"""From a configuration to what an evaluation needs: agents, solvers, and a record of it all."""

from collections.abc import Mapping, Sequence

from bdc_agents.agents import Agent, load_agents
from bdc_agents.config import Settings
from bdc_agents.errors import ConfigError

# The kinds of solvers register themselves when they are imported.
from bdc_agents.evaluate import baselines, searching  # noqa: F401
from bdc_agents.evaluate.config import EvalConfig
from bdc_agents.evaluate.solvers import Solver, Spec, Tools, check_kind, create_solver
from bdc_agents.sandbox.protocol import Executor


def specs(config: EvalConfig) -> list[Spec]:
    """The solvers of an evaluation as they were named.

    Raises:
        ConfigError: If there are none, a kind is not known or an option malformed.
    """
    if not config.solvers:
        raise ConfigError(
            "no solver: name one or more, such as --solver single:AGENT --solver best-of:8 --solver search"
        )
    found = [Spec.parse(text) for text in config.solvers]
    for spec in found:
        check_kind(spec)
    return found


def with_endpoints(settings: Settings, names: Sequence[str]) -> Settings:
    """The settings with an agent for every name that is written as `MODEL@http://HOST/v1`."""
    found = {name: settings.agent(name) for name in names if name not in settings.agents}
    added = {name: config for name, config in found.items() if config.base_url}
    return settings.model_copy(update={"agents": settings.agents | added}) if added else settings


def agent_names(named: Sequence[Spec], team: Sequence[str]) -> list[str]:
    """All agents that take part: those of the team that some solver takes, and those named by one."""
    whole = [*team] if any(not spec.agents() for spec in named) else []
    return [*dict.fromkeys([*whole, *(name for spec in named for name in spec.agents())])]


def load_team(settings: Settings, names: Sequence[str]) -> dict[str, Agent]:
    """The agents by name.

    Raises:
        ConfigError: If a name is unknown, or an API key is missing.
        ModelError: If a model is unknown, or a package that it needs is not installed.
    """
    return {agent.name: agent for agent in load_agents(settings, names)} if names else {}


def build_solvers(
    config: EvalConfig,
    settings: Settings,
    named: Sequence[Spec],
    agents: Mapping[str, Agent],
    team: Sequence[str],
    executor: Executor,
) -> list[Solver]:
    """The solvers, checked before anything is asked.

    Args:
        config: Its temperature is that of solvers which name none.
        settings: Search and budget.
        named: Of `specs`.
        agents: Of `load_team`.
        team: Who takes part where a solver names nobody.
        executor: Runs the programs.

    Raises:
        ConfigError: If an argument or an option cannot be used.
    """
    tools = Tools(
        agents=agents,
        team=tuple(team),
        executor=executor,
        search=settings.search,
        budget=settings.budget,
        temperature=config.temperature,
    )
    _check_temperatures(config, settings, named, team)
    return [create_solver(spec, tools) for spec in named]


def _check_temperatures(
    config: EvalConfig, settings: Settings, named: Sequence[Spec], team: Sequence[str]
) -> None:
    """An agent's own temperature wins over any request's, which must not go unnoticed."""
    for spec in named:
        wanted = spec.number("temperature", config.temperature, float)
        for name in spec.agents() or team:
            own = settings.agents[name].temperature if name in settings.agents else None
            if wanted is not None and own is not None and own != wanted:
                raise ConfigError(
                    f"solver {spec.text!r}: agent {name!r} has a temperature of its own ({own}), which wins "
                    f"over {wanted}; take it out of [agents.{name}], or leave the solver's out"
                )
