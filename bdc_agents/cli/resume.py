"""`bdc solve --resume`: goes on with the search of a run folder, as it was started."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from bdc_agents.cli.inputs import find_task
from bdc_agents.cli.exits import note
from bdc_agents.cli.watched_search import Finished
from bdc_agents.cli.solve import exit_code, report, run_settings, solve
from bdc_agents.config import Budget, SearchConfig, Settings, explain
from bdc_agents.errors import ConfigError, ProblemError, UsageError
from bdc_agents.runs import CHECKPOINT_FILE, read_run, read_traces
from bdc_agents.search.origin import SHAPES_REPLIES, raised
from bdc_agents.types import Problem, Task, Trace

Read = TypeVar("Read", bound=BaseModel)


def resume(
    folder: Path,
    settings: Settings,
    given: Mapping[str, Any],
    caps: Mapping[str, Any],
    *,
    data: Path | None,
    as_json: bool,
    quiet: bool,
) -> int:
    """Goes on with an unfinished search; a finished one is shown again.

    Args:
        folder: A run folder of `bdc solve --out`.
        settings: Where its agents are found by name.
        given: Search settings of the command line, which must be those of the run.
        caps: Of the command line, over those of the run.
        data: Folder of the data sets, for the hidden tests.
        as_json, quiet: As for `solve`.

    Returns:
        The exit code, as for `solve`.

    Raises:
        UsageError: If the folder holds no search to resume, or other settings would change it.
    """
    kept = read_run(folder).settings
    if "problem" not in kept or not (folder / CHECKPOINT_FILE).is_file():
        raise UsageError(
            f"{str(folder)!r} keeps no single search; bdc solve TARGET --out RUN makes such a run"
        )
    task, search, budget = _read(kept, str(folder))
    names = _names(kept, settings, str(folder))
    _refuse_changes(kept, given, run_settings(settings, names))
    changed = {key: cap for key, cap in caps.items() if cap is not None}
    budget = budget.model_copy(update=changed)
    traces = [trace for trace in read_traces(folder) if trace.problem.statement == task.problem.statement]
    if traces and not _goes_on(traces[-1], budget):
        note("this search has finished; its result:")
        finished = Finished(traces[-1])
        report(finished, None, as_json)
        return exit_code(finished)
    settings = settings.model_copy(update={"search": search, "budget": budget})
    target = str(kept["target"])
    task = _with_hidden_tests(task, target, data)
    return solve(task, settings, names, target=target, out=folder, as_json=as_json, quiet=quiet, resumes=True)


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


def _names(kept: Mapping[str, Any], settings: Settings, source: str) -> list[str]:
    """The agents of the run.

    The folder may be somebody else's: what it calls an agent is one of these settings, or a plain model
    string, and never an address that prompts and a key would be sent to.
    """
    names, agents = kept.get("names"), kept.get("agents")
    if not isinstance(names, list) or not isinstance(agents, dict) or not isinstance(kept.get("target"), str):
        raise ConfigError(f"{source}: run.json names no agents or no problem: start anew")
    for name in names:
        if not isinstance(name, str) or not isinstance(agents.get(name), dict):
            raise ConfigError(f"{source}: run.json says nothing of its agent {name!r:.80}: start anew")
        if name not in settings.agents and (agents[name] != {"model": name} or "//" in name):
            raise ConfigError(
                f"{source}: run.json names an agent {name!r:.80} that these settings do not have: add it to "
                "bdc.toml"
            )
    return names


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
        listed = "\n".join(f"  {line}" for line in differences)
        raise ConfigError(
            f"a resumed search keeps its settings, or its tree would be that of neither:\n{listed}\n"
            "put them back, or start a new search with bdc solve TARGET --out RUN"
        )


def _with_hidden_tests(task: Task, target: str, data: Path | None) -> Task:
    """The task with the hidden tests of its address, where they can be found again."""
    try:
        found = find_task(target, [], data)
    except ProblemError:
        return task
    return found if found.problem == task.problem else task
