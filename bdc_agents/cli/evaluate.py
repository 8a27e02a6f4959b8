"""`bdc eval`: solvers on problem sets, from what was typed to a folder of results and a report."""

import asyncio
import json
import signal
import sys
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from rich.console import Console

from bdc_agents.cli.inputs import agent_names as default_team
from bdc_agents.cli.evaluate_progress import Progress, findings_text, progress, summary_table
from bdc_agents.cli.exits import ENVIRONMENT, INTERRUPTED, SOLVED, note
from bdc_agents.cli.solve import closing
from bdc_agents.cli.download import fetch_weights
from bdc_agents.config import Budget, Settings
from bdc_agents.errors import ConfigError
from bdc_agents.evaluate.choose import choose_tasks
from bdc_agents.evaluate.config import EvalConfig, as_record, build, read_config
from bdc_agents.evaluate.report.page import write_report
from bdc_agents.evaluate.results import REPORT_FILE, Results
from bdc_agents.evaluate.run import Report, evaluate, lineage
from bdc_agents.evaluate.setup import agent_names, build_solvers, load_team, specs, with_endpoints
from bdc_agents.evaluate.solvers import Solver
from bdc_agents.evaluate.summary import Summary, write_summary
from bdc_agents.runs.examine import examine
from bdc_agents.runs.reference import with_reference_tests
from bdc_agents.runs.stopping import graceful
from bdc_agents.sandbox import create_executor
from bdc_agents.types import Task
from bdc_agents.view.text import plural


def run(
    file: Path | None,
    options: Mapping[str, Any],
    caps: Mapping[str, Any],
    *,
    data: Path | None,
    out: Path,
    engine: str = "local",
    ray_address: str | None = None,
    inspect: bool,
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
        data: Folder of the data sets.
        out: Folder of the evaluation.
        engine: `local`, or `ray` for the nodes of a Ray cluster.
        ray_address: Of the cluster.
        inspect: Whether to write logs of inspect_ai too.
        cache: False leaves the reply cache out.
        allow_unsafe: True runs programs where there is no isolation.
        as_json: The summary as one JSON object on stdout.
        quiet: Plain lines instead of the live view; with `as_json`, no progress at all.

    Returns:
        The exit code.
    """
    if ray_address is not None and engine != "ray":
        raise ConfigError("--ray-address needs --engine ray")
    config, settings = read_config(file)
    config = _changed(config, options)
    settings = _settings(settings, caps, cache, allow_unsafe)
    named = specs(config)
    tasks = choose_tasks(config, data, settings.sandbox.packages)
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
    if report.interrupted:
        note(f"interrupted after {len(results.rows)} of {report.wanted} rows; the same command goes on")
        return INTERRUPTED
    return ENVIRONMENT if report.unanswered else SOLVED


def _changed(config: EvalConfig, options: Mapping[str, Any]) -> EvalConfig:
    given = {
        key: value
        for key, value in options.items()
        if value is not None and value is not False and value != []
    }
    return build(EvalConfig, config.model_dump() | given, "options")


def _settings(settings: Settings, caps: Mapping[str, Any], cache: bool, allow_unsafe: bool) -> Settings:
    given = {key: value for key, value in caps.items() if value is not None}
    changes: dict[str, Any] = {"budget": build(Budget, settings.budget.model_dump() | given, "options")}
    if not cache:
        changes["store"] = settings.store.model_copy(update={"cache": False})
    if allow_unsafe:
        changes["sandbox"] = settings.sandbox.model_copy(update={"allow_unsafe": True})
    return settings.model_copy(update=changes)


def _with_reference_tests(tasks: Sequence[Task], settings: Settings, engine: str) -> list[Task]:
    """The tasks with the hidden tests that their known solutions make.

    Raises:
        ConfigError: If the nodes of a cluster, which load the problems themselves, would not have them.
    """
    if engine != "local":
        raise ConfigError("--reference-tests works on this machine only; leave it or --engine out")

    async def made() -> list[Task]:
        executor = create_executor(settings.sandbox)
        async with closing([], executor):
            return list(await asyncio.gather(*(with_reference_tests(task, executor) for task in tasks)))

    return asyncio.run(made())


def _team(config: EvalConfig, settings: Settings, named: Sequence[str]) -> tuple[Settings, list[str]]:
    """Who takes part where a solver names nobody; agents that solvers name need no further ones."""
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

    config: EvalConfig
    settings: Settings
    tasks: Sequence[Task]
    team: Sequence[str]
    names: Sequence[str]


class Place(NamedTuple):
    """Where it is done: the solvers as they are called there, and what makes the rows."""

    solvers: Sequence[Solver]
    evaluate: Callable[[Results, Progress], Coroutine[Any, Any, Report]]


def _here(asked: Asked) -> Place:
    """In this process."""
    config, settings, tasks, team, names = asked
    agents = load_team(settings, names)
    executor = create_executor(settings.sandbox)
    solvers = build_solvers(config, settings, specs(config), agents, team, executor)

    async def run(results: Results, view: Progress) -> Report:
        async with closing([*agents.values()], executor):
            for task in tasks:
                for line in await examine(task, executor):
                    note(f"warning: {line}")
            await fetch_weights(settings, agents)
            with _stoppable():
                return await evaluate(config, tasks, solvers, executor, results, view.on_row)

    return Place(solvers, run)


def _on_ray(asked: Asked, data: Path | None, address: str | None) -> Place:
    """On the nodes of a Ray cluster."""
    from bdc_agents.evaluate.on_ray import evaluate_on_ray, plan_for, solvers_elsewhere

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


def _conclude(summary: Summary, out: Path, tasks: Sequence[Task], *, inspect: bool) -> None:
    if not summary.solvers:
        return
    write_report(out, tasks, summary)
    if inspect:
        from bdc_agents.evaluate.inspect_log import write_logs

        for file in write_logs(out, [task.problem for task in tasks]):
            note(f"written for inspect_ai: {file}")


def _tell(summary: Summary, report: Report, out: Path, as_json: bool) -> None:
    for failed in report.unanswered[-1:]:
        note(
            f"error: {plural(len(report.unanswered), 'row')} could not be made, as no agent answered; the "
            f"same command tries again. Last: {failed.problem} with {failed.solver}: {failed.reason}"
        )
    if as_json:
        print(json.dumps(summary.model_dump(mode="json") | {"folder": str(out)}))
        return
    if summary.solvers:
        console = Console()
        console.print(summary_table(summary))
        console.print(findings_text(summary))
        print(f"\neverything: {out / REPORT_FILE}", file=sys.stdout)
