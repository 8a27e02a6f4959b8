"""`bdc eval`: solvers on problem sets, from what was typed to a folder of results and a report."""

import asyncio
import json
import signal
import sys
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer
from rich.console import Group
from rich.table import Table
from rich.text import Text

from bdc_agents.cli.download import fetch_weights
from bdc_agents.cli.exits import ENVIRONMENT, INTERRUPTED, guarded, note, results, tell_own
from bdc_agents.cli.inputs import agent_names as default_team
from bdc_agents.cli.inputs import closing
from bdc_agents.cli.options import (
    Agents,
    AllowUnsafe,
    AsJson,
    Data,
    EngineName,
    KnownBeliefs,
    NoCache,
    RayAddress,
    Silent,
)
from bdc_agents.config import OPTIONS, Budget, Settings, StoreConfig
from bdc_agents.errors import ConfigError
from bdc_agents.sandbox import create_executor
from bdc_agents.types import Task
from bdc_agents.view.text import called, count, money, one_line, plural, with_short_names

# `--help` needs nothing of what searches, nor of chat models, which take two seconds to import.
if TYPE_CHECKING:
    from bdc_agents.cli.evaluate_progress import Progress
    from bdc_agents.evaluate.config import EvalConfig
    from bdc_agents.evaluate.figures.metrics import Interval
    from bdc_agents.evaluate.figures.summary import Figures, Pair, Summary
    from bdc_agents.evaluate.results import Results
    from bdc_agents.evaluate.run import Report
    from bdc_agents.evaluate.solvers.protocol import Solver
    from bdc_agents.runs.collect.left_out import LeftOut

ADVICE_FILE = "advice.md"
PROBLEMS = 40
"""Problems to advise on, where nobody says how many: a share of 40 is known to about 15 points, which is
enough to see what is worth most, and not to tell solvers apart that are alike."""
CALLS = 16
"""Calls for each of them, likewise: those of most published comparisons of this kind."""
EXAMPLES = (
    "bdc eval demo --solver single:local:qwen2.5-coder-0.5b --temperature 0",
    "bdc eval humaneval --data DATA --solver single:small --solver best-of:8 --solver search --calls 8",
    "bdc eval humaneval --data DATA --solver repair:4 --solver search --calls-total 2000 --out runs/pool",
    "bdc eval mbpp:test --limit 100 --shuffle-seed 0 --solver single:large --samples 10 --k 1 --k 5",
    "bdc eval humaneval --solver repair:4,agents=large --solver search:paper,rollouts=8 --out runs/he",
    "bdc eval humaneval --solver single:my-model@http://localhost:8000/v1 --json",
    "bdc eval humaneval --solver search --engine ray --ray-address 10.0.0.1:6379",
    "bdc eval problems.jsonl --advise                # what pays for these problems and your agents",
    "bdc eval --config eval.toml --out runs/again    # a file with [eval], or an earlier eval.json",
)


@guarded
def evaluate(
    dataset: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="DATASET...", help="NAME, a split or range of it such as mbpp:test, or a .jsonl file."
        ),
    ] = None,
    solver: Annotated[
        list[str] | None,
        typer.Option(
            metavar="SOLVER",
            help="single:AGENT, best-of:N, repair:ROUNDS, search or search:PRESET; options after commas, "
            "such as best-of:8,agents=a+b,temperature=0.8. May be repeated; the others are compared with "
            "the first.",
        ),
    ] = None,
    agent: Agents = None,
    data: Data = None,
    out: Annotated[
        Path, typer.Option(metavar="DIR", help="Folder of the results. An existing one is resumed.")
    ] = Path("runs/eval"),
    samples: Annotated[int | None, typer.Option(help="Times each solver solves each problem.")] = None,
    k: Annotated[list[int] | None, typer.Option(metavar="K", help="For pass@k. May be repeated.")] = None,
    temperature: Annotated[
        float | None,
        typer.Option(
            help="Temperature of solvers without their own; 0 is greedy. Default: that of [search]."
        ),
    ] = None,
    limit: Annotated[int | None, typer.Option(help="Most problems.")] = None,
    only: Annotated[
        list[str] | None,
        typer.Option(
            "--filter",
            metavar="KEY=VALUE,...",
            help="Only problems of this difficulty or tag. May be repeated.",
        ),
    ] = None,
    public_only: Annotated[
        bool, typer.Option("--public-only", help="Leave out problems without public tests.")
    ] = False,
    reference_tests: Annotated[
        bool,
        typer.Option(
            "--reference-tests",
            help="Add hidden tests: what known solutions answer to changed inputs. Figures then differ from "
            "those of the published sets.",
        ),
    ] = False,
    shuffle_seed: Annotated[
        int | None, typer.Option(help="Shuffle the problems; the same seed gives the same order.")
    ] = None,
    calls: Annotated[int | None, typer.Option(help="Cap on a solver's calls for one problem.")] = None,
    tokens: Annotated[int | None, typer.Option(help="Cap on its tokens.")] = None,
    money: Annotated[float | None, typer.Option(help="Cap on its US dollars.")] = None,
    seconds: Annotated[float | None, typer.Option(help="Cap on its wall time.")] = None,
    calls_total: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Calls of each solver for all problems together: each first gets an even share, and "
            "unsolved ones go on with what the others left.",
        ),
    ] = None,
    tokens_total: Annotated[int | None, typer.Option(min=1, help="Tokens, likewise.")] = None,
    money_total: Annotated[float | None, typer.Option(help="US dollars, likewise.")] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of everything random.")] = None,
    beliefs: KnownBeliefs = None,
    learn: Annotated[
        bool | None,
        typer.Option(
            "--learn/--no-learn",
            help="Start a search from what its moves gave on earlier problems, by blocks (default); or all "
            "alike.",
        ),
    ] = None,
    concurrency: Annotated[
        int | None, typer.Option(help="Problems at once on each node. Default: 4.")
    ] = None,
    engine: Annotated[
        EngineName, typer.Option(help="local: in this process; ray: on every node of a Ray cluster.")
    ] = EngineName.LOCAL,
    ray_address: RayAddress = None,
    config: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Settings with a table [eval], or an eval.json; else bdc.toml."),
    ] = None,
    advice: Annotated[
        bool,
        typer.Option(
            "--advise",
            help="Say what pays here: which solver, moves, agents and settings. Where they are not given, "
            f"takes {PROBLEMS} problems, {CALLS} calls for each, and the search beside best-of-N and "
            "self-repair by each agent.",
        ),
    ] = False,
    inspect: Annotated[
        bool, typer.Option("--inspect", help="Also write logs for inspect_ai, into OUT/inspect.")
    ] = False,
    as_json: AsJson = False,
    quiet: Silent = False,
    no_cache: NoCache = False,
    allow_unsafe: AllowUnsafe = False,
) -> int:
    """Compare solvers on problem sets.

    Every program is scored on hidden tests that no solver sees. The same command again goes on
    where it was cut off; the folder has results, a summary and a report for people.
    """
    options = {
        "datasets": dataset,
        "solvers": solver,
        "agents": agent,
        "samples": samples,
        "k": k,
        "temperature": temperature,
        "limit": limit,
        "filters": only,
        "public_only": public_only or None,
        "reference_tests": reference_tests or None,
        "shuffle_seed": shuffle_seed,
        "seed": seed,
        "learn": learn,
        "concurrency": concurrency,
    }
    caps = {"calls": calls, "tokens": tokens, "money": money, "seconds": seconds}
    pool = {"calls": calls_total, "tokens": tokens_total, "money": money_total}
    if any(pool.values()):
        options["pool"] = {name: cap for name, cap in pool.items() if cap is not None}
    return _evaluate(
        config,
        options,
        caps,
        beliefs=beliefs,
        data=data,
        out=out,
        engine=engine.value,
        ray_address=ray_address,
        inspect=inspect,
        advice=advice,
        cache=not no_cache,
        allow_unsafe=allow_unsafe,
        as_json=as_json,
        quiet=quiet,
    )


def _evaluate(
    file: Path | None,
    options: Mapping[str, Any],
    caps: Mapping[str, Any],
    *,
    beliefs: Path | None = None,
    data: Path | None,
    out: Path,
    engine: str = "local",
    ray_address: str | None = None,
    inspect: bool,
    advice: bool = False,
    cache: bool,
    allow_unsafe: bool,
    as_json: bool,
    quiet: bool,
) -> int:
    """Evaluates, or goes on with the evaluation that is in `out`.

    Args:
        file: Configuration; options come over it.
        options: Of `EvalConfig`, by name; those that are None or empty were not given.
        caps: Of `Budget`, likewise.
        beliefs: A run or file whose beliefs searches start from; None for those of the settings.
        data: Folder of the data sets.
        out: Folder of the evaluation.
        engine: `local`, or `ray` for the nodes of a Ray cluster.
        ray_address: Of the cluster.
        inspect: Whether to write logs of inspect_ai too.
        advice: Whether to say what pays, and to try for that what nobody named.
        cache: False leaves the reply cache out.
        allow_unsafe: True runs programs where there is no isolation.
        as_json: The summary as one JSON object on stdout.
        quiet: No progress; trouble alone is told, and with `as_json` nothing.

    Returns:
        The exit code.
    """
    from bdc_agents.cli.evaluate_progress import progress
    from bdc_agents.evaluate.config import as_record, read_config
    from bdc_agents.evaluate.figures.summary import write_summary
    from bdc_agents.evaluate.results import Results
    from bdc_agents.evaluate.run import lineage
    from bdc_agents.evaluate.setup import agent_names, choose_tasks, specs, with_endpoints
    from bdc_agents.runs.collect.run import CACHE_FOLDER
    from bdc_agents.search.round.budget import caps_on_calls

    if ray_address is not None and engine != "ray":
        raise ConfigError("--ray-address needs --engine ray")
    config, settings = read_config(file)
    config = _changed(config, options)
    settings = _settings(settings, caps, beliefs, cache, allow_unsafe)
    if advice:
        config, settings = _to_advise(config, settings)
    if caps_on_calls(config.pool) and not settings.store.cache:
        # What goes on with more asks for what it asked before: without a cache it would be paid twice.
        kept = StoreConfig(cache=True, path=out / CACHE_FOLDER)
        settings = settings.model_copy(update={"store": kept})
    named = specs(config)
    left_out: list[LeftOut] = []
    tasks = choose_tasks(config, data, settings.sandbox.packages, left_out.append)
    if config.reference_tests:
        tasks = _with_reference_tests(tasks, settings, engine)
    settings, team = _team(config, settings, [name for spec in named for name in spec.agents()])
    needed = any(not spec.agents() for spec in named)
    config = config.model_copy(update={"agents": tuple(team) if needed else ()})
    names = agent_names(named, team)
    settings = with_endpoints(settings, names)
    asked = Asked(config, settings, tasks, team, names)
    place = _on_ray(asked, data, ray_address) if engine == "ray" else _here(asked)
    record = as_record(config, settings, names)
    with Results(out, record, lineage(record, tasks)) as results:
        with progress(config, tasks, place.solvers, results, as_json=as_json, quiet=quiet) as view:
            report = asyncio.run(place.evaluate(results, view))
        summary = write_summary(out, tasks)
    _conclude(summary, out, tasks, inspect=inspect)
    _tell(summary, report, out, as_json)
    if advice and summary.solvers:
        _advise(summary, out, as_json)
    if report.interrupted:
        note(f"interrupted after {len(results.rows)} of {report.wanted} rows; the same command goes on")
        return INTERRUPTED
    if report.unanswered:
        return ENVIRONMENT
    return tell_own(left_out)


def _changed(config: "EvalConfig", options: Mapping[str, Any]) -> "EvalConfig":
    from bdc_agents.evaluate.config import EvalConfig, build

    given = {key: value for key, value in options.items() if value is not None and value != []}
    return build(EvalConfig, config.model_dump() | given, OPTIONS)


def _settings(
    settings: Settings, caps: Mapping[str, Any], beliefs: Path | None, cache: bool, allow_unsafe: bool
) -> Settings:
    from bdc_agents.evaluate.config import build
    from bdc_agents.runs.sharing.beliefs import load_beliefs

    given = {key: value for key, value in caps.items() if value is not None}
    changes: dict[str, Any] = {"budget": build(Budget, settings.budget.model_dump() | given, OPTIONS)}
    if beliefs:
        known = {"beliefs": load_beliefs(beliefs).model_dump()}
        changes["search"] = settings.search.model_copy(update=known)
    if not cache:
        changes["store"] = settings.store.model_copy(update={"cache": False})
    if allow_unsafe:
        changes["sandbox"] = settings.sandbox.model_copy(update={"allow_unsafe": True})
    return settings.model_copy(update=changes)


def _to_advise(config: "EvalConfig", settings: Settings) -> "tuple[EvalConfig, Settings]":
    """Solvers, problems and calls where nobody named them."""
    from bdc_agents.evaluate.report.advice import solvers_to_try

    changes: dict[str, Any] = {} if config.limit else {"limit": PROBLEMS}
    if settings.budget.calls is None:
        settings = settings.model_copy(update={"budget": settings.budget.model_copy(update={"calls": CALLS})})
    if not config.solvers:
        _, team = _team(config, settings, ())
        changes["solvers"] = tuple(solvers_to_try(team, settings.budget.calls or CALLS))
    config = config.model_copy(update=changes)
    calls, problems = settings.budget.calls or CALLS, config.limit or PROBLEMS
    note(
        f"up to {len(config.solvers) * calls * problems:,} calls: {plural(len(config.solvers), 'solver')}, "
        f"{plural(problems, 'problem')}, {plural(calls, 'call')} for each"
    )
    return config, settings


def _advise(summary: "Summary", out: Path, as_json: bool) -> None:
    """Writes what pays here, and prints it."""
    from rich.markdown import Markdown

    from bdc_agents.evaluate.figures.groups import rows_by_solver
    from bdc_agents.evaluate.report.advice import advise, as_markdown
    from bdc_agents.evaluate.results import trace_folder
    from bdc_agents.runs import write_text
    from bdc_agents.runs.sharing.beliefs import keep_beliefs

    rows = rows_by_solver(out)
    places = {name: trace_folder(out, name) for name in summary.moves}
    beliefs = {name: str(place) for name, place in places.items() if keep_beliefs(place, rows[name])}
    text = as_markdown(advise(summary, rows, beliefs))
    write_text(out / ADVICE_FILE, text)
    if as_json:
        note(f"advice: {out / ADVICE_FILE}")
    else:
        results().print(Markdown(text))
        print(f"advice: {out / ADVICE_FILE}")


def _with_reference_tests(tasks: Sequence[Task], settings: Settings, engine: str) -> list[Task]:
    """The tasks with the hidden tests that their known solutions make.

    Raises:
        ConfigError: If the nodes of a cluster, which load the problems themselves, would not have them.
    """
    from bdc_agents.runs.hidden import with_reference_tests

    if engine != "local":
        raise ConfigError("--reference-tests works on this machine only; leave it or --engine out")

    async def made() -> list[Task]:
        executor = create_executor(settings.sandbox)
        async with closing([], executor):
            return list(await asyncio.gather(*(with_reference_tests(task, executor) for task in tasks)))

    return asyncio.run(made())


def _team(config: "EvalConfig", settings: Settings, named: Sequence[str]) -> tuple[Settings, list[str]]:
    """Who takes part where a solver names nobody; agents that solvers name need no further ones."""
    from bdc_agents.evaluate.setup import with_endpoints

    if named and not config.agents and not settings.agents:
        return settings, [*dict.fromkeys(named)]
    settings = with_endpoints(settings, config.agents)
    team, why = default_team(settings, config.agents)
    if why:
        note(why)
    return settings, team


class Asked(NamedTuple):
    """What is to be evaluated.

    Args:
        config, settings: With the options over them.
        tasks: The problems.
        team: Who takes part where a solver names nobody.
        names: All agents that take part.
    """

    config: "EvalConfig"
    settings: Settings
    tasks: Sequence[Task]
    team: Sequence[str]
    names: Sequence[str]


class Place(NamedTuple):
    """Where it is done: the solvers as they are called there, and what makes the rows."""

    solvers: "Sequence[Solver]"
    evaluate: "Callable[[Results, Progress], Coroutine[Any, Any, Report]]"


def _here(asked: Asked) -> Place:
    """In this process."""
    from bdc_agents.cli.evaluate_progress import Progress
    from bdc_agents.evaluate.remembered import remembering
    from bdc_agents.evaluate.results import Results
    from bdc_agents.evaluate.run import Report
    from bdc_agents.evaluate.run import evaluate as evaluate_all
    from bdc_agents.evaluate.setup import build_solvers, load_team, specs
    from bdc_agents.runs.hidden import examine

    config, settings, tasks, team, names = asked
    agents = load_team(settings, names)
    executor = remembering(create_executor(settings.sandbox), config.pool)
    solvers = build_solvers(config, settings, specs(config), agents, team, executor)

    async def run(results: Results, view: Progress) -> Report:
        async with closing([*agents.values()], executor):
            for task in tasks:
                for line in await examine(task, executor):
                    note(f"warning: {line}")
            await fetch_weights(settings, agents)
            with _stoppable():
                return await evaluate_all(
                    config, tasks, solvers, executor, results, view.on_row, settings.budget
                )

    return Place(solvers, run)


def _on_ray(asked: Asked, data: Path | None, address: str | None) -> Place:
    """On the nodes of a Ray cluster."""

    from bdc_agents.cli.evaluate_progress import Progress
    from bdc_agents.evaluate.on_ray import evaluate_on_ray, plan_for, solvers_elsewhere
    from bdc_agents.evaluate.results import Results
    from bdc_agents.evaluate.run import Report
    from bdc_agents.runs.signals import graceful

    async def run(results: Results, view: Progress) -> Report:
        with graceful() as stop:
            return await evaluate_on_ray(
                *asked,
                results,
                address=address,
                data=data,
                on_row=view.on_row,
                tell=view.on_note,
                stop=stop.event,
            )

    return Place(solvers_elsewhere(plan_for(*asked, data)), run)


@contextmanager
def _stoppable() -> Iterator[None]:
    """Makes Ctrl-C and a polite request to end cancel the evaluation, once."""
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    assert task is not None
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, task.cancel)
    try:
        yield
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)


def _conclude(summary: "Summary", out: Path, tasks: Sequence[Task], *, inspect: bool) -> None:
    from bdc_agents.evaluate.report.inspect_log import write_logs
    from bdc_agents.evaluate.report.page import write_report

    if not summary.solvers:
        return
    write_report(out, tasks, summary)
    if inspect:
        for file in write_logs(out, [task.problem for task in tasks]):
            note(f"written for inspect_ai: {file}")


def _tell(summary: "Summary", report: "Report", out: Path, as_json: bool) -> None:
    from bdc_agents.evaluate.results import REPORT_FILE

    for failed in report.unanswered[-1:]:
        note(
            f"error: {plural(len(report.unanswered), 'row')} could not be made, as no agent answered; the "
            f"same command tries again. Last: {failed.problem} with {failed.solver}: {failed.reason}"
        )
    if as_json:
        print(json.dumps(summary.model_dump(mode="json") | {"folder": str(out)}))
        return
    if summary.solvers:
        console = results()
        console.print(_summary_table(summary))
        console.print(_findings_text(summary))
        print(f"\neverything: {out / REPORT_FILE}", file=sys.stdout)


def _summary_table(summary: "Summary") -> Table:
    """The main figures, one line for each solver."""
    from bdc_agents.evaluate.figures.summary import pool_line

    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="dim")
    table.add_column("solver", overflow="fold", min_width=12)
    columns = _columns(summary)
    for name in columns:
        table.add_column(name, justify="right", no_wrap=True)
    names = [one.solver for one in summary.solvers]
    for one in summary.solvers:
        table.add_row(one_line(called(one.solver, names), 40), *(cell(one) for cell in columns.values()))
    most = max((one.problems for one in summary.solvers), default=0)
    size = f"{plural(most, 'problem')}; calls, tokens, seconds: mean for one; [95 % intervals]"
    caption = [*map(pool_line, summary.pools), *summary.claims, size]
    table.caption, table.caption_justify = Text("\n".join(caption), "dim"), "left"
    return table


def _columns(summary: "Summary") -> "dict[str, Callable[[Figures], str]]":
    """What each column shows; columns that would say nothing are left out."""
    solvers = summary.solvers
    columns: dict[str, Callable[[Figures], str]] = {}
    if len({one.problems for one in solvers}) > 1:
        columns["problems"] = lambda one: str(one.problems)
    columns["solved"] = lambda one: _interval(one.solved)
    for k in sorted({k for one in solvers for k in one.pass_at}):
        columns[f"pass@{k}"] = partial(_at_k, k=k)
    columns["tests"] = lambda one: f"{one.pass_rate.value:.1%}"
    if any(one.public for one in solvers):
        columns["public"] = lambda one: f"{one.public.value:.1%}" if one.public else "-"
    columns["calls"] = lambda one: f"{one.calls:.1f}"
    columns["tokens"] = lambda one: count(round(one.tokens))
    columns["seconds"] = lambda one: f"{one.seconds:.1f}"
    if any(one.cost for one in solvers):
        columns["dollars"] = lambda one: money(one.cost)
    return columns


def _at_k(one: "Figures", k: int) -> str:
    return f"{one.pass_at[k].value:.1%}" if k in one.pass_at else "-"


def _interval(interval: "Interval") -> str:
    return f"{interval.value:.1%} [{100 * interval.low:.0f}, {100 * interval.high:.0f}]"


def _findings_text(summary: "Summary") -> Group:
    """How the solvers compare, and the warnings."""
    from bdc_agents.evaluate.figures.summary import skills_line

    names = [one.solver for one in summary.solvers]
    lines = [Text(with_short_names(_compared(pair), names)) for pair in summary.pairs]
    if len(summary.skills) > 1:
        told = skills_line(summary.skills)
        lines.append(Text(f"where the bandit starts from, for [search] in bdc.toml: {told}"))
    if summary.signs:
        lines.append(Text())
    for sign in summary.signs:
        head = f"{called(sign.solver, names)}: " if sign.solver else ""
        lines.append(Text.assemble(("! ", "yellow"), f"{head}{sign.finding}"))
    return Group(*([Text(), *lines] if lines else []))


def _compared(pair: "Pair") -> str:
    found = pair.solved
    if not found.better and not found.worse:
        return f"{pair.first} against {pair.second}: the same on each of {plural(found.problems, 'problem')}"
    low, high = 100 * found.low, 100 * found.high
    sure = "" if found.clear else "; may be chance"
    return (
        f"{pair.first} against {pair.second}: {100 * found.value:+.1f} points [{low:+.1f}, {high:+.1f}], "
        f"better on {plural(found.better, 'problem')}, worse on {found.worse}{sure}"
    )
