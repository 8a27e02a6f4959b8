"""Makes what a configuration names: the problems, the agents, the solvers."""

import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path

from bdc_agents.agents import Agent, load_agents
from bdc_agents.config import Settings
from bdc_agents.data import dataset_names, load_task, load_tasks
from bdc_agents.errors import ConfigError, ProblemError
from bdc_agents.evaluate.config import EvalConfig

# The kinds of solvers register themselves when they are imported.
from bdc_agents.evaluate.solvers import baselines, search  # noqa: F401
from bdc_agents.evaluate.solvers.protocol import Solver
from bdc_agents.evaluate.solvers.registry import Spec, Tools, check_kind, create_solver
from bdc_agents.runs.collect.left_out import LeftOut, summary
from bdc_agents.runs.collect.selection import Filter, select_jobs
from bdc_agents.sandbox.modules import missing_packages
from bdc_agents.sandbox.protocol import Executor
from bdc_agents.types import Task

log = logging.getLogger(__name__)


def choose_tasks(
    config: EvalConfig,
    data: Path | None = None,
    packages: Collection[str] | None = None,
    on_left_out: Callable[[LeftOut], object] | None = None,
) -> list[Task]:
    """The problems of an evaluation, in the order in which they are solved.

    Args:
        config: Data sets, filters, shuffle and limit.
        data: Folder of the data sets; None for the one that `BDC_DATA` names.
        packages: Packages that programs may import, to warn if known solutions need others; None for no
            warning.
        on_left_out: Called with each row that cannot be used; those are told in warnings, too.

    Raises:
        ProblemError: If a data set is unknown or missing, or its problems have no tests.
        UsageError: If a filter is malformed or leaves nothing.
    """
    if not config.datasets:
        raise ProblemError(
            f"no data set: name one or more, such as humaneval; known: {', '.join(dataset_names())}"
        )
    chosen = select_jobs(
        config.datasets,
        data=data,
        filters=[Filter.parse(text) for text in config.filters],
        shuffle_seed=config.shuffle_seed,
        untested=not config.public_only,
    )
    for line in chosen.unmatched:
        log.warning("%s", line)
    if on_left_out:
        for row in chosen.left_out:
            on_left_out(row)
    for line in summary(chosen.left_out):
        log.warning("%s", line)
    if chosen.interactive:
        log.warning("left out, since no test can judge a dialogue: %s", ", ".join(chosen.interactive))
    if packages is not None and (missing := missing_packages(chosen.packages, packages)):
        log.warning("%s", missing)
    tasks = _load([job.id for job in chosen.jobs], data)
    testable = [task for task in tasks if task.problem.public_tests or len(task.hidden)]
    if not testable:
        raise ProblemError(
            f"none of the {len(tasks)} problems of {', '.join(config.datasets)} has a test, so there is "
            "nothing to measure"
        )
    return testable[: config.limit]


def _load(addresses: Sequence[str], data: Path | None) -> list[Task]:
    """The tasks of some addresses. Each data set is read once, because it may come over the network."""
    ids: dict[str, list[str]] = {}
    for name, _, problem_id in (address.partition(":") for address in addresses):
        ids.setdefault(name, []).append(problem_id)
    named = {name: some for name, some in ids.items() if name in dataset_names()}
    tasks = (task for name, some in named.items() for task in load_tasks(name, data=data, ids=some))
    found = {task.problem.id: task for task in tasks}
    return [found[one] if one in found else load_task(one, data=data) for one in addresses]


def specs(config: EvalConfig) -> list[Spec]:
    """The names of an evaluation's solvers, taken apart.

    Raises:
        ConfigError: If there are none, a kind is unknown or an option malformed.
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
    """The settings, with an agent for each name of the form `MODEL@http://HOST/v1`."""
    found = {name: settings.agent(name) for name in names if name not in settings.agents}
    added = {name: config for name, config in found.items() if config.base_url}
    return settings.model_copy(update={"agents": settings.agents | added}) if added else settings


def agent_names(named: Sequence[Spec], team: Sequence[str]) -> list[str]:
    """All agents that take part: those that solvers name, and the team if a solver names none."""
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
    """The solvers, checked before any call to an LLM.

    Args:
        config: Its temperature is the default of solvers.
        settings: Settings of search and budget.
        named: The names from `specs`.
        agents: The agents from `load_team`.
        team: Agents of a solver that names none.
        executor: Runs programs on the public tests.

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
    """Refuses a solver's temperature that an agent's own temperature would silently override."""
    for spec in named:
        wanted = spec.number("temperature", config.temperature, float)
        for name in spec.agents() or team:
            own = settings.agents[name].temperature if name in settings.agents else None
            if wanted is not None and own is not None and own != wanted:
                raise ConfigError(
                    f"solver {spec.text!r}: agent {name!r} has a temperature of its own ({own}), which wins "
                    f"over {wanted}; take it out of [agents.{name}], or leave the solver's out"
                )
