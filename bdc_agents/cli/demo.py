"""`bdc demo`: the shipped problems, solved by two local models within some minutes."""

import asyncio
import json
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from bdc_agents.cli.download import fetch_weights
from bdc_agents.cli.exits import ENVIRONMENT, INTERRUPTED, SOLVED, UNSOLVED, guarded, note, results
from bdc_agents.cli.inputs import closing, read_settings
from bdc_agents.cli.options import Agents, AllowUnsafe, AsJson, Config, NoCache, Quiet
from bdc_agents.config import AgentConfig, Budget, Settings
from bdc_agents.data import load_tasks
from bdc_agents.errors import UsageError
from bdc_agents.sandbox import Executor, create_executor
from bdc_agents.types import Task, Trace
from bdc_agents.view.html import render_html
from bdc_agents.view.live import PlainView, View, watch
from bdc_agents.view.text import called, count, ending, one_line, passes, value_colour

# `--help` needs nothing of what searches, nor of chat models, which take two seconds to import.
if TYPE_CHECKING:
    from bdc_agents.agents import Agent
    from bdc_agents.cli.watched_search import Finished

EXAMPLES = (
    "bdc demo",
    "bdc demo --distill --minutes 6",
    "bdc demo --minutes 5 --agent openai:gpt-4o-mini --out runs/mini",
)
AGENTS = {
    "qwen-0.5b": AgentConfig(model="local:qwen2.5-coder-0.5b"),
    "qwen-1.5b": AgentConfig(model="local:qwen2.5-coder-1.5b"),
}
REPORT = "report.html"
FAIR_SHARES = 1.5
"""How many times its even share of the time left one problem may take."""


@guarded
def demo(
    minutes: Annotated[float, typer.Option(min=0.1, help="Time limit for all problems together.")] = 10.0,
    agent: Agents = None,
    out: Annotated[Path, typer.Option(metavar="DIR", help="Run folder.")] = Path("runs/demo"),
    distill: Annotated[
        bool,
        typer.Option(
            "--distill",
            help="Then train experts on what was solved, and let them answer a problem that was kept "
            "back; needs pip install 'bdc-agents[local,distill]'.",
        ),
    ] = False,
    traces: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="RUN",
            help="With --distill: traces of other searches to train on too, such as "
            "experts/traces/second.jsonl.gz. May be repeated.",
        ),
    ] = None,
    config: Config = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
    no_cache: NoCache = False,
    allow_unsafe: AllowUnsafe = False,
) -> int:
    """Solve the shipped problems with two local models.

    Their weights, 1.6 GB, are downloaded once. A table and an HTML report come at the end.
    """
    if traces and not distill:
        raise UsageError("--traces is what experts are trained on: it goes with --distill")
    settings = read_settings(config, cache=not no_cache, allow_unsafe=allow_unsafe)
    further = (traces or []) if distill else None
    return _demo(settings, agent or [], minutes, out, further, as_json=as_json, quiet=quiet)


def _demo(
    settings: Settings,
    asked: Sequence[str],
    minutes: float,
    out: Path,
    distill: Sequence[Path] | None,
    *,
    as_json: bool,
    quiet: bool,
) -> int:
    """Solves the demo set and writes its report; with `distill` goes on to the other stages.

    Args:
        settings: With the options over them.
        asked: Agents instead of the two local models.
        minutes: For all searches together; a first download is not counted.
        out: Run folder.
        distill: Train experts on what was solved, and let them answer a problem that was kept back; runs
            whose traces they are trained on too. None ends with the searches.
        as_json: One JSON object on stdout instead of a table.
        quiet: Plain lines instead of the live view.

    Returns:
        The exit code: 0 when at least one problem was solved, 3 when no agent has answered.
    """
    from bdc_agents.agents import load_agents
    from bdc_agents.cli.demo_distill import KEPT_BACK, require_stages, show, tell
    from bdc_agents.cli.distill import read_all
    from bdc_agents.cli.search_record import run_settings
    from bdc_agents.cli.solve import silent
    from bdc_agents.runs import open_run, write_solution, write_trace

    if distill is not None:
        require_stages()
    further = read_all(distill) if distill else ([], {})
    settings = settings.model_copy(update={"agents": AGENTS | settings.agents})
    names = [*(asked or AGENTS)]
    agents = load_agents(settings, names)
    executor = create_executor(settings.sandbox)
    folder = open_run(out, run_settings(settings, names))
    done: list[tuple[Task, Finished]] = []

    def keep(trace: Trace) -> None:
        write_trace(folder, trace)
        write_solution(folder, trace, alone=False)

    def watched(task: Task) -> View:
        if as_json and (quiet or not sys.stderr.isatty()):
            return PlainView(task.problem, lambda _: None, settings.search.rollouts)
        console = Console(stderr=True)
        return watch(task.problem, console, rollouts=settings.search.rollouts, plain=quiet)

    try:
        tasks = [task for task in load_tasks("demo") if distill is None or task.problem.id != KEPT_BACK]
        asyncio.run(_solve_all(settings, names, agents, executor, tasks, minutes * 60, watched, keep, done))
    finally:
        told = _conclude(done, folder, as_json)
        stopped = any(finished.interrupted for _, finished in done)
        if as_json and (stopped or distill is None) and told:
            print(json.dumps(told))
    if stopped:
        note("interrupted; what was found is kept")
        return INTERRUPTED
    if not any(_solved(finished) for _, finished in done):
        solutions = [finished.trace.solution for _, finished in done if finished.trace]
        reasons = [why for solution in solutions if (why := silent(solution))]
        # Some searches may have ended before their first request had.
        if not reasons or any(used.tokens for solution in solutions for used in solution.usage.values()):
            return UNSOLVED
        note(f"error: {reasons[-1]}")
        return ENVIRONMENT
    if distill is not None:
        found = [(finished.trace, finished.hidden) for _, finished in done if finished.trace]
        story = tell(found, *further, settings, names, folder, quiet or as_json)
        if as_json:
            print(json.dumps(told | story.model_dump(mode="json")))
        else:
            show(story, results())
    return SOLVED


async def _solve_all(
    settings: Settings,
    names: Sequence[str],
    agents: "Sequence[Agent]",
    executor: Executor,
    tasks: Sequence[Task],
    seconds: float,
    watched: Callable[[Task], View],
    keep: Callable[[Trace], None],
    done: "list[tuple[Task, Finished]]",
) -> None:
    from bdc_agents.cli.watched_search import search
    from bdc_agents.runs.sharing.beliefs import beliefs_of
    from bdc_agents.runs.sharing.blocks import starting_from

    async with closing(agents, executor):
        await fetch_weights(settings, names)
        deadline = time.monotonic() + seconds
        for number, task in enumerate(tasks):
            left = deadline - time.monotonic()
            if left < 1:
                note(f"the time is up: {len(tasks) - number} of {len(tasks)} problems were not tried")
                return
            budget = _share(settings.budget, left, len(tasks) - number)
            # One at a time, so each may start from all before it.
            told = beliefs_of(before.trace for _, before in done if before.trace)
            config = starting_from(settings.search, told)
            finished = await search(task, agents, executor, config, budget, watched(task), keep)
            done.append((task, finished))
            _tell(task, finished)
            if finished.interrupted:
                return


def _share(budget: Budget, left: float, problems: int) -> Budget:
    """The budget of one problem: a hard one may take more than its even share of the time."""
    seconds = min(left, FAIR_SHARES * left / problems, budget.seconds or left)
    return budget.model_copy(update={"seconds": seconds})


def _tell(task: Task, finished: "Finished") -> None:
    if finished.trace:
        solution = finished.trace.solution
        calls = sum(used.calls for used in solution.usage.values())
        result = ending(solution, calls)
        note(f"{task.problem.id}: {result}, in {solution.seconds:.0f} s")


def _solved(finished: "Finished") -> bool:
    return finished.trace is not None and finished.trace.solution.solved


def _conclude(done: "Sequence[tuple[Task, Finished]]", folder: Path, as_json: bool) -> dict[str, Any]:
    """Writes the report of what was done, however it ended, and shows the table, or returns it as data."""
    from bdc_agents.cli.solve import as_object
    from bdc_agents.runs import write_text

    traces = [finished.trace for _, finished in done if finished.trace]
    if not traces:
        return {}
    report = folder / REPORT
    write_text(report, render_html(traces, "bdc demo"))
    if as_json:
        problems = [as_object(finished.trace, finished.hidden) for _, finished in done if finished.trace]
        solved = sum(trace.solution.solved for trace in traces)
        return {"solved": solved, "total": len(traces), "report": str(report), "problems": problems}
    console = results()
    console.print(_table(done))
    console.print(Text(f"\nevery tree, program and verdict: {report}"))
    return {}


def _table(done: "Sequence[tuple[Task, Finished]]") -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="dim")
    for name in ("problem", "difficulty", "public", "hidden", "calls", "tokens", "seconds", "solved by"):
        table.add_column(name, justify="left" if name in {"problem", "difficulty", "solved by"} else "right")
    for task, finished in done:
        if finished.trace:
            table.add_row(*_cells(task, finished.trace, finished))
    solved = sum(_solved(finished) for _, finished in done)
    hidden = [finished.hidden for _, finished in done if finished.hidden]
    right = sum(score.passed == score.total for score in hidden)
    table.caption = f"{solved} of {len(done)} solved; {right} of {len(hidden)} pass all hidden tests too"
    table.caption_justify = "left"
    return table


def _cells(task: Task, trace: Trace, finished: "Finished") -> list[Text]:
    solution, hidden = trace.solution, finished.hidden
    passed, _ = passes(solution.verdict)
    unrun = bool(solution.code) and solution.verdict is None  # The time was up before it had run to the end.
    usage = solution.usage.values()
    return [
        Text(one_line(task.problem.id.removeprefix("demo:"), 40)),
        Text(one_line(task.problem.difficulty or "-", 12)),
        Text("-") if unrun else _score(passed, len(task.problem.public_tests)),
        _score(hidden.passed, hidden.total) if hidden else Text("-"),
        Text(str(sum(used.calls for used in usage))),
        Text(count(sum(used.tokens for used in usage))),
        Text(f"{solution.seconds:.1f}"),
        Text(one_line(called(solution.agent or "-"), 40) if solution.solved else "-"),
    ]


def _score(passed: int, total: int) -> Text:
    return Text(f"{passed}/{total}", value_colour(passed / total if total else None))
