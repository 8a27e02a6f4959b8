"""`bdc solve`: one problem, from what was typed to an exit code."""

import asyncio
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console, Group, RenderableType
from rich.syntax import Syntax
from rich.text import Text

from bdc_agents.cli.download import fetch_weights
from bdc_agents.cli.exits import ENVIRONMENT, INTERRUPTED, SOLVED, UNSOLVED, guarded, note, results
from bdc_agents.cli.inputs import agent_names, check_tests, closing, find_task, read_settings
from bdc_agents.cli.options import (
    Agents,
    AllowUnsafe,
    AsJson,
    Calls,
    Config,
    Data,
    KnownBeliefs,
    Money,
    NoCache,
    Preset,
    Quiet,
    Tokens,
)
from bdc_agents.config import Settings
from bdc_agents.errors import UsageError
from bdc_agents.types import Hidden, Solution, Task, Trace
from bdc_agents.view.text import plural, printable

# What searches imports LangGraph and chat models, which take two seconds; `--help` and mistakes need none.
if TYPE_CHECKING:
    from bdc_agents.agents import Agent
    from bdc_agents.cli.watched_search import Finished
    from bdc_agents.sandbox import Executor
    from bdc_agents.view.live import View

EXAMPLES = (
    "bdc solve demo:longest-streak",
    'bdc solve "Write add(a, b)." --test "assert add(1, 2) == 3"',
    "bdc solve humaneval:HumanEval/31 --data DATA --json",
    "bdc solve --resume runs/one",
    "bdc solve problem.json -a openai:gpt-4o-mini -a local:qwen2.5-coder-0.5b --calls 40 --out runs/one",
)
TREE_LINES = 30
"""Of the tree in the report; `bdc view` shows all of it."""


@guarded
def solve(
    target: Annotated[
        str | None,
        typer.Argument(help="An address such as demo:NAME, a .json file, - for one on stdin, or words."),
    ] = None,
    test: Annotated[
        list[str] | None,
        typer.Option(
            metavar="TEST",
            help='A public test of a problem in words: "assert f(2) == 4", "f(2) -> 4", or "2 3 -> 5" for '
            "a program on stdin. May be repeated.",
        ),
    ] = None,
    agent: Agents = None,
    data: Data = None,
    preset: Preset = None,
    rollouts: Annotated[int | None, typer.Option(help="Most rollouts: programs evaluated.")] = None,
    calls: Calls = None,
    tokens: Tokens = None,
    money: Money = None,
    seconds: Annotated[float | None, typer.Option(help="Cap on wall time.")] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of everything random.")] = None,
    beliefs: KnownBeliefs = None,
    config: Config = None,
    out: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Write the trace, the program and every step of the search there."),
    ] = None,
    resume: Annotated[
        Path | None,
        typer.Option(metavar="RUN", help="Resume the search that --out RUN keeps, with its settings."),
    ] = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
    no_cache: NoCache = False,
    allow_unsafe: AllowUnsafe = False,
) -> int:
    """Solve one problem.

    The agents search; what they write runs on the public tests; the best program is shown.
    """
    if (target is None) == (resume is None) or (resume and (test or out)):
        raise UsageError(
            "give either a target or a run folder to go on with: bdc solve TARGET, or "
            "bdc solve --resume RUN, which takes its problem, tests and folder from there"
        )
    options = {"rollouts": rollouts, "seed": seed}
    caps = {"calls": calls, "tokens": tokens, "money": money, "seconds": seconds}
    settings = read_settings(
        config,
        preset=preset,
        search=options,
        budget=caps,
        beliefs=beliefs,
        cache=not no_cache,
        allow_unsafe=allow_unsafe,
    )
    if resume:
        given = settings.search.model_dump() if preset else options
        return _resume(resume, settings, given, caps, data, agent or [], as_json=as_json, quiet=quiet)
    assert target is not None
    task = find_task(target, test or [], data)
    return _solve(task, settings, agent or [], target, out, as_json=as_json, quiet=quiet)


def _resume(
    folder: Path,
    settings: Settings,
    given: Mapping[str, Any],
    caps: Mapping[str, Any],
    data: Path | None,
    asked: Sequence[str],
    *,
    as_json: bool,
    quiet: bool,
) -> int:
    """Goes on with the search that a run folder keeps; a finished one is shown again."""
    from bdc_agents.cli.search_record import read_search
    from bdc_agents.cli.watched_search import Finished

    kept = read_search(folder, settings, given, caps, data, asked)
    if kept.finished:
        note("this search has finished; its result:")
        finished = Finished(kept.finished)
        _report(finished, None, as_json)
        return _exit_code(finished)
    return _solve(
        kept.task,
        kept.settings,
        kept.names,
        kept.target,
        folder,
        resumes=True,
        as_json=as_json,
        quiet=quiet,
    )


def _solve(
    task: Task,
    settings: Settings,
    asked: Sequence[str],
    target: str,
    out: Path | None,
    *,
    resumes: bool = False,
    as_json: bool,
    quiet: bool,
) -> int:
    """Solves a task and reports it.

    Args:
        resumes: Whether `out` holds this search, to go on with.
    """
    from bdc_agents.agents import load_agents
    from bdc_agents.cli.search_record import going_on, origin, run_settings
    from bdc_agents.runs import open_run, write_solution, write_trace
    from bdc_agents.sandbox import create_executor

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
    _report(finished, folder, as_json, going_on(folder, names) if folder and checkpoint else "")
    return _exit_code(finished)


async def _run(
    task: Task,
    settings: Settings,
    names: Sequence[str],
    agents: "Sequence[Agent]",
    executor: "Executor",
    view: "View",
    keep: Callable[[Trace], None],
    checkpoint: Path | None,
    resumes: bool,
) -> "Finished":
    from bdc_agents.cli.watched_search import search
    from bdc_agents.runs.hidden import examine

    async with closing(agents, executor):
        for line in await examine(task, executor):
            note(f"warning: {line}")
        await fetch_weights(settings, names)
        return await search(
            task, agents, executor, settings.search, settings.budget, view, keep, checkpoint, resumes
        )


def _checkpoint(folder: Path, started: dict[str, Any], resumes: bool) -> Path | None:
    """Where the steps of this search are kept; None in a folder that is for another search."""
    from bdc_agents.runs import CHECKPOINT_FILE, read_run, read_traces

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


def _view(task: Task, settings: Settings, as_json: bool, quiet: bool) -> "View":
    from bdc_agents.search.round.budget import ROLLOUTS_AT_MOST, rollouts_at_most
    from bdc_agents.view.live import PlainView, watch

    most = rollouts_at_most(settings.search, settings.budget)
    rollouts = None if most == ROLLOUTS_AT_MOST else most
    if as_json and (quiet or not sys.stderr.isatty()):
        return PlainView(task.problem, lambda _: None, rollouts)
    console = Console(stderr=True)
    return watch(task.problem, console, rollouts=rollouts, budget=settings.budget, plain=quiet)


def _report(finished: "Finished", folder: Path | None, as_json: bool, again: str = "") -> None:
    """Prints what came of a search.

    Args:
        finished: What came of it.
        folder: Where it is kept, if anywhere.
        as_json: Whether a machine reads it.
        again: The command that goes on with it, if any does.
    """
    trace = finished.trace
    if trace is None:
        note("interrupted before the first step; there is nothing to keep")
    elif as_json:
        print(json.dumps(as_object(trace, finished.hidden)))
    else:
        console = results()
        console.print(_picture(trace, finished.hidden))
        print_code(trace.solution.code, console)
    if folder and trace and not as_json:
        note(f"written to {folder}; see all of it with: bdc view {folder}")
    if finished.interrupted and trace:
        kept = f"kept in {folder}" if folder else "shown above; --out DIR keeps it on disk"
        note(f"interrupted after {plural(trace.solution.tree.rollouts, 'rollout')}; what was found is {kept}")
        if again:
            note(f"go on with: {again}")


def as_object(trace: Trace, hidden: Hidden | None) -> dict[str, Any]:
    """The result as plain data, for machines."""
    counts = hidden.model_dump() if hidden else None
    return trace.solution.model_dump(mode="json") | {"hidden": counts}


def _picture(trace: Trace, hidden: Hidden | None) -> Group:
    from bdc_agents.view.tree import tree_report

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


def _exit_code(finished: "Finished") -> int:
    """0 where it is solved; see `EXIT_CODES`."""
    if finished.interrupted or finished.trace is None:
        return INTERRUPTED
    solution = finished.trace.solution
    if solution.solved:
        return SOLVED
    if why := silent(solution):
        note(f"error: {why}")
        return ENVIRONMENT
    return UNSOLVED


def silent(solution: Solution) -> str:
    """That no agent answers, and why; empty where one does."""
    from bdc_agents.search.round.set_aside import silence

    reasons = silence(solution)
    if not reasons:
        return ""
    ended = solution.stopped_by == "agents"
    what = "no agent answers any more" if ended else "no agent has answered, and the budget is used up"
    return "\n  ".join([f"{what}:", *reasons])
