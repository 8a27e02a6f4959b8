"""What a run folder says of the one search it keeps: written as it starts, read when it is to go on."""

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from pydantic import BaseModel, ValidationError

from bdc_agents.agents.failures import shown_url
from bdc_agents.cli.inputs import STDIN, find_task
from bdc_agents.config import Budget, SearchConfig, Settings, explain
from bdc_agents.errors import ConfigError, ProblemError, UsageError, in_a_sentence
from bdc_agents.runs import CHECKPOINT_FILE, read_run, read_traces
from bdc_agents.search.resume.origin import SHAPES_REPLIES, raised
from bdc_agents.types import Problem, Task, Trace

Read = TypeVar("Read", bound=BaseModel)


class KeptSearch(NamedTuple):
    """A search that a run folder keeps.

    Args:
        task: The problem; with its hidden tests, where they can be found again.
        settings: With the search settings and caps of the run.
        names: Its agents.
        target: The problem as it was named.
        finished: Its trace, where there is nothing left to do.
    """

    task: Task
    settings: Settings
    names: list[str]
    target: str
    finished: Trace | None


def run_settings(settings: Settings, names: Sequence[str]) -> dict[str, Any]:
    """What a run folder says of its settings; nothing that may hold a key."""
    return {
        "agents": {name: _agent_settings(settings, name) for name in names},
        "search": settings.search.model_dump(mode="json"),
        "budget": settings.budget.model_dump(mode="json"),
    }


def origin(task: Task, target: str, names: Sequence[str]) -> dict[str, Any]:
    """What a resumed search needs besides its settings: the problem, and who took part."""
    problem = task.problem.model_dump(mode="json")
    return {"names": list(names), "target": target, "problem": problem}


def _agent_settings(settings: Settings, name: str) -> dict[str, Any]:
    config = settings.agent(name)
    if config.model == name and name not in settings.agents:
        return {"model": name}
    return config.model_dump(mode="json", exclude={"api_key", "api_key_env", "base_url", "options"}) | {
        "endpoint": shown_url(config.base_url or "")
    }


def read_search(
    folder: Path,
    settings: Settings,
    given: Mapping[str, Any],
    caps: Mapping[str, Any],
    data: Path | None,
    asked: Sequence[str] = (),
) -> KeptSearch:
    """Reads the search of a run folder, to go on with as it was started.

    Args:
        folder: A run folder of `bdc solve --out`.
        settings: Where its agents are found by name.
        given: Search settings of the command line, which must be those of the run.
        caps: Of the command line, over those of the run.
        data: Folder of the data sets, for the hidden tests.
        asked: Agents of the command line, which must be of the run.

    Raises:
        UsageError: If the folder holds no search to resume, or other settings would change it.
    """
    kept = read_run(folder).settings
    if "problem" not in kept or not (folder / CHECKPOINT_FILE).is_file():
        raise UsageError(
            f"{str(folder)!r} keeps no single search; bdc solve TARGET --out RUN makes such a run"
        )
    task, search, budget = _read(kept, str(folder))
    names = _names(kept, str(folder))
    _refuse_others(asked, names, kept, folder)
    budget = budget.model_copy(update={key: cap for key, cap in caps.items() if cap is not None})
    traces = [trace for trace in read_traces(folder) if trace.problem.statement == task.problem.statement]
    finished = traces[-1] if traces and not _goes_on(traces[-1], budget) else None
    if finished is None:
        for name in names:
            _check_agent(name, kept, settings, asked, folder)
    _refuse_changes(kept, given, run_settings(settings, names))
    settings = settings.model_copy(update={"search": search, "budget": budget})
    target = str(kept["target"])
    if finished is None:
        task = _with_hidden_tests(task, target, data)
    return KeptSearch(task, settings, names, target, finished)


def _read(kept: Mapping[str, Any], source: str) -> tuple[Task, SearchConfig, Budget]:
    return (
        Task(problem=_part(kept, "problem", Problem, source)),
        _part(kept, "search", SearchConfig, source),
        _part(kept, "budget", Budget, source),
    )


def _part(kept: Mapping[str, Any], name: str, model: type[Read], source: str) -> Read:
    try:
        return model.model_validate(kept.get(name))
    except ValidationError as error:
        told, known = explain(error, f"{source}: {name}", model), ", ".join(model.model_fields)
        raise ConfigError(
            f"{told}\nrun.json is of another version, so start anew; of {name} this one knows {known}"
        ) from None


def _names(kept: Mapping[str, Any], source: str) -> list[str]:
    """The agents of the run."""
    names, agents = kept.get("names"), kept.get("agents")
    if not isinstance(names, list) or not isinstance(agents, dict) or not isinstance(kept.get("target"), str):
        raise ConfigError(f"{source}: run.json names no agents or no problem: start anew")
    for name in names:
        if not isinstance(name, str) or not isinstance(agents.get(name), dict):
            raise ConfigError(f"{source}: run.json says nothing of its agent {name!r:.80}: start anew")
    return names


def _refuse_others(asked: Sequence[str], names: Sequence[str], kept: Mapping[str, Any], folder: Path) -> None:
    for name in asked:
        if name not in names:
            raise ConfigError(
                f"a resumed search keeps its agents: {', '.join(names)}; {name!r:.80} is none of them.\n"
                f"Go on with it: {going_on(folder, names)}; or begin another search: {_anew(kept)}"
            )


def _check_agent(
    name: str, kept: Mapping[str, Any], settings: Settings, asked: Sequence[str], folder: Path
) -> None:
    """Refuses an agent that nobody but the run's folder knows.

    The folder may be somebody else's: what it calls an agent is one of these settings, or a plain model
    string, and never an address that prompts would be sent to, unless the person names it, too.

    Raises:
        ConfigError: If it is none of these.
    """
    if name in settings.agents or name in asked:
        return
    if "//" in name:
        raise ConfigError(
            f"{folder}: run.json names an agent at an address, {name!r:.200}, and a run may be somebody "
            f"else's; to ask it, name it as well: {going_on(folder, kept['names'])}"
        )
    if kept["agents"][name] != {"model": name}:
        raise ConfigError(
            f"{folder}: run.json names an agent {name!r:.80} that these settings do not have: add it to "
            "bdc.toml"
        )


def going_on(folder: Path, names: Sequence[str]) -> str:
    """The command that goes on with the search of a run folder.

    Args:
        folder: The run folder.
        names: Its agents; those at an address are to be named again.
    """
    agents = [part for name in names if "//" in name for part in ("-a", name)]
    return shlex.join(["bdc", "solve", "--resume", str(folder), *agents])


def _goes_on(trace: Trace, budget: Budget) -> bool:
    """Whether a search was cut off, or ended by a cap that is higher now."""
    spent = Budget.model_validate(trace.settings.get("budget") or {})
    stopped_by = trace.solution.stopped_by
    return stopped_by == "interrupted" or raised(stopped_by, spent, budget)


def _refuse_changes(kept: Mapping[str, Any], given: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    differences = [
        f"search.{key}: {kept['search'].get(key)!r} in the run, {value!r} now"
        for key, value in given.items()
        if value is not None and value != kept["search"].get(key)
    ]
    differences += [
        f"agents.{name}.{key}: {kept['agents'][name].get(key)!r} in the run, {agent.get(key)!r} now"
        for name, agent in now["agents"].items()
        for key in SHAPES_REPLIES
        if kept["agents"][name].get(key) != agent.get(key)
    ]
    if differences:
        raise ConfigError(
            f"a resumed search keeps its settings: {in_a_sentence(differences)}.\n"
            f"Leave them out to go on with it, or begin another search: {_anew(kept)}"
        )


def _anew(kept: Mapping[str, Any]) -> str:
    """The command that begins another search of the problem."""
    return shlex.join(["bdc", "solve", str(kept.get("target") or "TARGET"), "--out", "RUN"])


def _with_hidden_tests(task: Task, target: str, data: Path | None) -> Task:
    """The task with the hidden tests of its address, where they can be found again."""
    if target == STDIN:  # It was read when the search began.
        return task
    try:
        found = find_task(target, [], data)
    except ProblemError:
        return task
    return found if found.problem == task.problem else task
