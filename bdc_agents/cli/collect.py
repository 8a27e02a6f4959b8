"""`bdc collect`: many problems into one run folder, from what was typed to an exit code."""

import asyncio
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from pydantic import ValidationError
from rich.console import Console

from bdc_agents.cli.download import fetch_weights
from bdc_agents.cli.exits import ENVIRONMENT, SOLVED, UNSOLVED, USAGE, guarded, note, own_rows
from bdc_agents.cli.inputs import agent_names, read_settings
from bdc_agents.cli.options import (
    Agents,
    AllowUnsafe,
    AsJson,
    Calls,
    Config,
    Data,
    EngineName,
    KnownBeliefs,
    Learn,
    Money,
    NoCache,
    Preset,
    Quiet,
    RayAddress,
    Tokens,
)
from bdc_agents.config import Budget, Settings, explain
from bdc_agents.errors import ConfigError, unknown
from bdc_agents.view.text import count, money, plural

# What searches imports LangGraph and chat models, which take two seconds; `--help` and mistakes need none.
if TYPE_CHECKING:
    from bdc_agents.evaluate.figures.survey import Survey
    from bdc_agents.runs.collect.engine import Engine
    from bdc_agents.runs.collect.run import CollectConfig, Collected

EXAMPLES = (
    "bdc collect mbpp:train --data DATA --out runs/mbpp",
    "bdc collect demo --out runs/demo -a local:qwen2.5-coder-0.5b --quiet",
    "bdc collect mbpp:601-700 apps --filter apps:difficulty=introductory --out runs/mixed",
    "bdc collect humaneval --out runs/he --limit 20 --shuffle-seed 1 --budget calls=2000,money=5",
    "bdc collect mbpp:train --out runs/pool --calls-total 3000    # unsolved ones get what others left",
    "bdc collect mbpp:train --out runs/mbpp --engine ray --ray-address 10.0.0.1:6379",
    "bdc collect mbpp:train --out runs/mbpp --json    # once more: goes on where it was cut off",
)
REPORT_FILE = "report.html"
FAILURES_TOLD = 10
"""Reasons that are told, and problems that are named for each: they fill a screen at most."""
_SIGNAL = 128
"""Added to a signal's number, as shells do it."""


@guarded
def collect(
    dataset: Annotated[
        list[str],
        typer.Argument(
            help="What to search: NAME, a split or range of it such as mbpp:train or mbpp:601-974, ids such "
            "as demo:ID,ID, or a .jsonl file."
        ),
    ],
    out: Annotated[Path, typer.Option(metavar="DIR", help="Run folder. An existing run is resumed.")],
    agent: Agents = None,
    data: Data = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Most problems of this run.")] = None,
    only: Annotated[
        list[str] | None,
        typer.Option(
            "--filter",
            metavar="KEY=VALUE,...",
            help="Only problems with one of these values. KEY is difficulty or tag; NAME:KEY=VALUE filters "
            "one data set. May be repeated.",
        ),
    ] = None,
    shuffle_seed: Annotated[
        int | None, typer.Option(help="Shuffle the problems; the same seed gives the same order.")
    ] = None,
    run_budget: Annotated[
        list[str] | None,
        typer.Option(
            "--budget",
            metavar="CAP=NUMBER,...",
            help="Caps that the whole run never exceeds: calls, tokens, money (US dollars), and seconds of "
            "this command. May be repeated.",
        ),
    ] = None,
    preset: Preset = None,
    rollouts: Annotated[
        int | None, typer.Option(help="Most rollouts (programs evaluated) for each problem.")
    ] = None,
    calls: Calls = None,
    tokens: Tokens = None,
    money: Money = None,
    seconds: Annotated[float | None, typer.Option(help="Cap on wall time for each problem.")] = None,
    calls_total: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Calls of all problems together: each first gets an even share, and unsolved ones go on "
            "with what the others left.",
        ),
    ] = None,
    tokens_total: Annotated[int | None, typer.Option(min=1, help="Tokens, likewise.")] = None,
    money_total: Annotated[float | None, typer.Option(help="US dollars, likewise.")] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of everything random in a search.")] = None,
    beliefs: KnownBeliefs = None,
    learn: Learn = True,
    concurrency: Annotated[
        int | None,
        typer.Option(min=1, help="Searches at once. Default: as many as keep the endpoints busy."),
    ] = None,
    table: Annotated[
        str | None,
        typer.Option(metavar="URL", help="Job table in Postgres, for several machines: postgresql://..."),
    ] = None,
    engine: Annotated[
        EngineName,
        typer.Option(
            help="local: in this process; ray: on every node of a Ray cluster, each with the agents' "
            "whole concurrency."
        ),
    ] = EngineName.LOCAL,
    ray_address: RayAddress = None,
    config: Config = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
    no_cache: NoCache = False,
    allow_unsafe: AllowUnsafe = False,
) -> int:
    """Search many problems and keep their traces.

    The same command again goes on where it was cut off; several processes may share one folder.
    """
    from bdc_agents.runs.collect.run import CollectConfig

    settings = read_settings(
        config,
        preset=preset,
        search={"rollouts": rollouts, "seed": seed},
        budget={"calls": calls, "tokens": tokens, "money": money, "seconds": seconds},
        beliefs=beliefs,
        cache=not no_cache,
        allow_unsafe=allow_unsafe,
    )
    chosen = CollectConfig(
        datasets=tuple(dataset),
        data=data,
        filters=tuple(only or ()),
        shuffle_seed=shuffle_seed,
        limit=limit,
        budget=read_budget(run_budget or []),
        pool=_pool(calls=calls_total, tokens=tokens_total, money=money_total),
        concurrency=concurrency,
        table=table,
        learn=learn,
    )
    chosen_engine = engine_for(engine.value, ray_address)
    return _collect(chosen, settings, agent or [], out, chosen_engine, as_json=as_json, quiet=quiet)


def _collect(
    config: "CollectConfig",
    settings: Settings,
    asked: Sequence[str],
    out: Path,
    engine: "Engine | None",
    *,
    as_json: bool,
    quiet: bool,
) -> int:
    from bdc_agents.cli.collect_progress import view_for
    from bdc_agents.runs.collect.run import collect as run
    from bdc_agents.runs.sharing.beliefs import keep_beliefs

    names, why = agent_names(settings, asked)
    if why:
        note(why)
    config = config.model_copy(update={"agents": tuple(names)})
    if engine is None:  # other machines need weights of their own
        asyncio.run(fetch_weights(settings, names))
    silent = as_json and (quiet or not sys.stderr.isatty())
    view = view_for(Console(stderr=True), str(out), plain=quiet, silent=silent)
    with view:
        collected, signal = run(
            config,
            out,
            settings,
            engine=engine,
            on_trace=view.on_trace,
            on_progress=view.on_progress,
            on_note=view.on_note,
            on_stop=lambda _: view.on_stop(),
        )
    found = write_report(out)
    known = keep_beliefs(out) if found else None
    if as_json:
        signs = [finding.model_dump() for finding in found.findings] if found else []
        print(json.dumps(as_object(collected) | {"findings": signs}))
    else:
        _report(collected, found)
        if known:
            note(f"what moves gave, for searches to come: --beliefs {collected.folder}")
    if signal is not None:
        return _SIGNAL + signal
    if collected.failures:  # A problem that is not solved has its trace; these have none.
        return USAGE if len(collected.refused) == len(collected.failures) else ENVIRONMENT
    return SOLVED if collected.ended == "complete" and not own_rows(collected.left_out) else UNSOLVED


def engine_for(name: str, ray_address: str | None) -> "Engine | None":
    """The engine of `--engine` and `--ray-address`; None for the one in this process.

    Raises:
        ConfigError: If an address is given to an engine that has none.
    """
    if name == "ray":
        from bdc_agents.runs.ray.engine import ray_engine

        return ray_engine(ray_address)
    if ray_address is not None:
        raise ConfigError("--ray-address needs --engine ray")
    return None


def read_budget(texts: Sequence[str]) -> Budget:
    """The caps of `--budget calls=100,money=2.5`.

    Raises:
        ConfigError: If one is unknown or no number.
    """
    caps: dict[str, Any] = {}
    for part in (part.strip() for text in texts for part in text.split(",")):
        name, equals, value = (piece.strip() for piece in part.partition("="))
        if not equals:
            raise ConfigError(f"not a budget: {part!r}; write CAP=NUMBER, such as calls=1000")
        if name not in Budget.model_fields:
            raise ConfigError(unknown("cap of --budget", name, Budget.model_fields))
        caps[name] = value
    try:
        return Budget.model_validate(caps)
    except ValidationError as error:
        raise ConfigError(explain(error, "--budget", Budget)) from None


def _pool(**caps: float | None) -> Budget:
    """The caps of `--calls-total` and its kind.

    Raises:
        ConfigError: If one is out of range.
    """
    try:
        return Budget.model_validate(caps)
    except ValidationError as error:
        raise ConfigError(explain(error, "--calls-total, --tokens-total, --money-total", Budget)) from None


def as_object(collected: "Collected") -> dict[str, Any]:
    """The end of a run as plain data, for machines."""
    progress = collected.progress
    loads = {
        name: load.model_dump() | {"share": round(load.share, 4)} for name, load in progress.loads.items()
    }
    return {
        "run": str(collected.folder),
        "ended": collected.ended,
        **progress.totals.model_dump(),
        "solve_rate": progress.solve_rate,
        "done_here": progress.done_here,
        "seconds": round(progress.seconds, 2),
        "calls_made": progress.made,
        "spent": progress.spent.model_dump(),
        **({"pool": _pool_as_object(collected)} if collected.pooled.problems else {}),
        "endpoints": loads,
        "failures": collected.failures,
        "left_out": {row.where: row.reason for row in collected.left_out},
        "notes": list(collected.notes),
    }


def _pool_as_object(collected: "Collected") -> dict[str, Any]:
    pooled = collected.pooled
    return {
        "total": pooled.pool.model_dump(exclude_none=True),
        "used": pooled.used._asdict(),
        "left": pooled.left,
        "rounds": pooled.rounds,
        "budgets": {
            problem: [one.model_dump(exclude_none=True) for one in caps]
            for problem, caps in pooled.budgets.items()
        },
        "unsolved": list(pooled.unsolved),
    }


def write_report(out: Path) -> "Survey | None":
    """Writes the `report.html` of a run folder, and returns its figures; None while it has no trace.

    Raises:
        UsageError: If there is no such run.
    """
    from bdc_agents.evaluate.figures.survey import survey
    from bdc_agents.evaluate.report.collection import write_collection_report

    found = survey(out)
    if found:
        write_collection_report(out, found)
    return found


def _report(collected: "Collected", found: "Survey | None") -> None:
    from bdc_agents.runs.collect.left_out import LEFT_OUT_FILE, summary

    totals, spent = collected.progress.totals, collected.progress.spent
    rate = f" ({totals.solved / totals.done:.0%})" if totals.done else ""
    theirs = "on these: " if collected.ended != "complete" else ""
    print(
        f"{totals.done} of {plural(totals.total, 'problem')} done: {totals.solved} solved{rate}, "
        f"{totals.kept} kept; {theirs}{plural(totals.calls, 'call')}, {count(totals.tokens)} tokens, "
        f"{money(collected.progress.money)}"
    )
    if collected.pooled.problems:
        _tell_pool(collected)
    reasons: dict[tuple[str, str], list[str]] = {}
    for problem, reason in collected.failures.items():
        what = "no further round" if problem in collected.pooled.budgets else "no trace"
        reasons.setdefault((what, reason), []).append(problem)
    for (what, reason), problems in list(reasons.items())[:FAILURES_TOLD]:
        more = f" and {len(problems) - FAILURES_TOLD} more" if len(problems) > FAILURES_TOLD else ""
        note(f"{what} of {', '.join(problems[:FAILURES_TOLD])}{more}: {reason}")
    if len(reasons) > FAILURES_TOLD:
        note(f"and of {sum(map(len, list(reasons.values())[FAILURES_TOLD:]))} more")
    if collected.left_out:
        for line in summary(collected.left_out):
            note(line)
        note(f"  all: {collected.folder / LEFT_OUT_FILE}; the same command searches what is mended")
    if collected.ended == "stopped":
        made, cut = collected.progress.made, sum(one.cut_off for one in collected.progress.loads.values())
        lost = f", of which {cut} had no reply yet and may be charged" if cut else ""
        note(
            f"stopped: this command made {plural(made, 'call')}{lost}; the same command goes on with "
            f"{collected.folder}"
        )
    elif collected.ended != "complete":
        note(
            f"the run's budget of {collected.ended} is spent ({spent.calls} calls, {count(spent.tokens)} "
            f"tokens, {money(spent.money)}); the same command with more goes on"
        )
    for finding in found.findings if found else ():
        note(f"! {finding}")
    note(f"traces are in {collected.folder}; see them with: bdc view {collected.folder}")
    if found:
        _tell_skills(found)
        note(f"figures and plots: {collected.folder / REPORT_FILE}")


def _tell_pool(collected: "Collected") -> None:
    """Says what became of the budget that the problems share."""
    from bdc_agents.runs.collect.progress import SHOWN, amounts, given

    pooled = collected.pooled
    used = {name: getattr(pooled.used, name) for name in pooled.left}
    rounds = f" in {plural(pooled.rounds, 'round')}" if pooled.rounds > 1 else ""
    note(f"of the pool {amounts(used)} were used{rounds}, {amounts(pooled.left)} are left")
    if pooled.budgets:
        shown = [given(problem, caps, pooled.pool) for problem, caps in [*pooled.budgets.items()][:SHOWN]]
        rest = f" and {len(pooled.budgets) - SHOWN} more" if len(pooled.budgets) > SHOWN else ""
        note(f"given more than at first: {'; '.join(shown)}{rest}")
    if pooled.unsolved and collected.ended == "complete":
        note(
            f"the pool is spent, and {plural(len(pooled.unsolved), 'problem')} may be solved with more; a "
            "larger pool needs another --out, where the reply cache answers what was asked before"
        )


def _tell_skills(found: "Survey") -> None:
    from bdc_agents.evaluate.figures.summary import skills_line

    if len(found.skills) > 1:
        note(f"for [search] in bdc.toml, where the next bandit can start: {skills_line(found.skills)}")
