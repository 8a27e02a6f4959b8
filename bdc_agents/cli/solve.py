"""`bdc solve`: one problem, from what was typed to an exit code."""

import asyncio
import json
import sys
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.syntax import Syntax
from rich.text import Text

from bdc_agents.agents import Agent, load_agents
from bdc_agents.agents.failures import shown_url
from bdc_agents.cli.inputs import agent_names, check_tests
from bdc_agents.cli.exits import ENVIRONMENT, INTERRUPTED, SOLVED, UNSOLVED, note
from bdc_agents.cli.watched_search import Finished, search
from bdc_agents.cli.download import fetch_weights
from bdc_agents.config import Settings
from bdc_agents.runs import CHECKPOINT_FILE, open_run, read_run, read_traces, write_solution, write_trace
from bdc_agents.runs.examine import examine
from bdc_agents.sandbox import Executor, create_executor
from bdc_agents.search.budget import ROLLOUTS_AT_MOST, rollouts_at_most
from bdc_agents.types import Hidden, Task, Trace
from bdc_agents.view.live import PlainView, View, watch
from bdc_agents.view.text import plural, printable
from bdc_agents.view.tree import tree_report

TREE_LINES = 30
"""Of the tree in the report; `bdc view` shows all of it."""


def solve(
    task: Task,
    settings: Settings,
    asked: Sequence[str],
    *,
    target: str,
    out: Path | None,
    as_json: bool,
    quiet: bool,
    resumes: bool = False,
) -> int:
    """Solves a task and reports it.

    Args:
        task: The problem with its hidden tests.
        settings: With the options over them.
        asked: Agents of the command line.
        target: The problem as it was named.
        out: Run folder; None writes nothing.
        as_json: One JSON object on stdout instead of a report.
        quiet: Plain lines instead of the live view; with `as_json`, no progress at all.
        resumes: Whether `out` holds this search, to go on with.

    Returns:
        The exit code.
    """
    check_tests(task.problem, settings.search)
    names, why = agent_names(settings, asked)
    agents = load_agents(settings, names)
    executor = create_executor(settings.sandbox)
    started = run_settings(settings, names) | origin(task, target, names)
    folder = open_run(out, started) if out else None
    checkpoint = _checkpoint(folder, started, resumes) if folder else None
    if why:
        note(why)

    def keep(trace: Trace) -> None:
        if folder:
            write_trace(folder, trace)
            write_solution(folder, trace)

    view = _view(task, settings, as_json, quiet)
    finished = asyncio.run(_run(task, settings, names, agents, executor, view, keep, checkpoint, resumes))
    report(finished, folder, as_json)
    return exit_code(finished)


async def _run(
    task: Task,
    settings: Settings,
    names: Sequence[str],
    agents: Sequence[Agent],
    executor: Executor,
    view: View,
    keep: Callable[[Trace], None],
    checkpoint: Path | None,
    resumes: bool,
) -> Finished:
    async with closing(agents, executor):
        for line in await examine(task, executor):
            note(f"warning: {line}")
        await fetch_weights(settings, names)
        return await search(
            task, agents, executor, settings.search, settings.budget, view, keep, checkpoint, resumes
        )


def closing(agents: Sequence[Agent], executor: Executor) -> AsyncExitStack:
    """Frees agents and executor at its end, whatever one of them raises."""
    stack = AsyncExitStack()
    stack.push_async_callback(executor.aclose)
    for agent in agents:
        stack.push_async_callback(agent.aclose)
    return stack


def run_settings(settings: Settings, names: Sequence[str]) -> dict[str, Any]:
    """What a run folder says of its settings; nothing that may hold a key."""
    return {
        "agents": {name: _agent_settings(settings, name) for name in names},
        "search": settings.search.model_dump(mode="json"),
        "budget": settings.budget.model_dump(mode="json"),
    }


def _checkpoint(folder: Path, started: dict[str, Any], resumes: bool) -> Path | None:
    """Where the steps of this search are kept; None in a folder that is for another search."""
    file = folder / CHECKPOINT_FILE
    if resumes:
        return file
    if read_run(folder).settings != started:
        note(f"{folder} holds a run with other settings: this search joins it and cannot be resumed")
        return None
    traces = read_traces(folder)
    if traces and traces[-1].solution.stopped_by != "interrupted":
        for old in folder.glob(f"{CHECKPOINT_FILE}*"):  # The same search once more, from its start.
            old.unlink()
    return file


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


def _view(task: Task, settings: Settings, as_json: bool, quiet: bool) -> View:
    most = rollouts_at_most(settings.search, settings.budget)
    rollouts = None if most == ROLLOUTS_AT_MOST else most
    if as_json and (quiet or not sys.stderr.isatty()):
        return PlainView(task.problem, lambda _: None, rollouts)
    return watch(task.problem, Console(stderr=as_json), rollouts=rollouts, plain=quiet)


def report(finished: Finished, folder: Path | None, as_json: bool) -> None:
    """Prints what came of a search."""
    trace = finished.trace
    if trace is None:
        note("interrupted before the first step; there is nothing to keep")
    elif as_json:
        print(json.dumps(as_object(trace, finished.hidden)))
    else:
        console = Console()
        console.print(_picture(trace, finished.hidden))
        print_code(trace.solution.code, console)
    if folder and trace and not as_json:
        note(f"written to {folder}; see all of it with: bdc view {folder}")
    if finished.interrupted and trace:
        kept = f"kept in {folder}" if folder else "shown above; --out DIR keeps it on disk"
        note(f"interrupted after {plural(trace.solution.tree.rollouts, 'rollout')}; what was found is {kept}")


def as_object(trace: Trace, hidden: Hidden | None) -> dict[str, Any]:
    """The result as plain data, for machines."""
    counts = hidden.model_dump() if hidden else None
    return trace.solution.model_dump(mode="json") | {"hidden": counts}


def _picture(trace: Trace, hidden: Hidden | None) -> Group:
    parts: list[RenderableType] = [tree_report(trace, TREE_LINES)]
    if hidden and not trace.solution.code:
        # Counts of what was not run read as a program that fails.
        parts += [Text(), Text("hidden tests: none were run, as there is no program", "yellow")]
    elif hidden:
        style = "green" if hidden.passed == hidden.total else "yellow"
        parts += [Text(), Text(f"hidden tests: {hidden.passed} of {hidden.total} passed", style)]
    return Group(*parts)


def print_code(code: str, console: Console) -> None:
    """The program in colour in a terminal; as it is, to be used further, anywhere else."""
    if not code:
        return
    console.print()
    if console.file.isatty():
        console.print(Syntax(printable(code), "python", background_color="default", word_wrap=True))
    else:
        print(code, file=console.file)


def exit_code(finished: Finished) -> int:
    """0 where it is solved; see `EXIT_CODES`."""
    if finished.interrupted or finished.trace is None:
        return INTERRUPTED
    solution = finished.trace.solution
    if solution.solved:
        return SOLVED
    if solution.stopped_by != "agents":
        return UNSOLVED
    reasons = "\n".join(f"  {name}: {reason}" for name, reason in solution.set_aside.items())
    note(f"error: no agent answers any more:\n{reasons}")
    return ENVIRONMENT
