"""`bdc collect`: many problems."""

from pathlib import Path
from typing import Annotated

import typer

from bdc_agents.cli.options import (
    Agents,
    AllowUnsafe,
    AsJson,
    Config,
    Data,
    EngineName,
    NoCache,
    Preset,
    Quiet,
    RayAddress,
)
from bdc_agents.cli.exits import guarded

EXAMPLES = (
    "bdc collect mbpp:train --data DATA --out runs/mbpp",
    "bdc collect demo --out runs/demo -a local:qwen2.5-coder-0.5b --quiet",
    "bdc collect mbpp:601-700 apps --filter apps:difficulty=introductory --out runs/mixed",
    "bdc collect humaneval --out runs/he --limit 20 --shuffle-seed 1 --budget calls=2000,money=5",
    "bdc collect mbpp:train --out runs/mbpp --engine ray --ray-address 10.0.0.1:6379",
    "bdc collect mbpp:train --out runs/mbpp --json    # once more: goes on where it was cut off",
)


@guarded
def collect(
    dataset: Annotated[
        list[str],
        typer.Argument(
            help="What to search: NAME, a split or range of it such as mbpp:train or mbpp:601-974, ids such "
            "as demo:ID,ID, or a .jsonl file."
        ),
    ],
    out: Annotated[Path, typer.Option(metavar="DIR", help="Run folder; one that is there is gone on with.")],
    agent: Agents = None,
    data: Data = None,
    limit: Annotated[int | None, typer.Option(min=1, help="At most so many problems in this run.")] = None,
    only: Annotated[
        list[str] | None,
        typer.Option(
            "--filter",
            metavar="KEY=VALUE,...",
            help="Only problems with one of these values; the key is difficulty or tag, for one data set "
            "NAME:KEY=VALUE; may be repeated.",
        ),
    ] = None,
    shuffle_seed: Annotated[int | None, typer.Option(help="A random order that depends on it alone.")] = None,
    run_budget: Annotated[
        list[str] | None,
        typer.Option(
            "--budget",
            metavar="CAP=NUMBER,...",
            help="Caps on the whole run, never passed: calls, tokens, money (US dollars), and seconds of "
            "this command; may be repeated.",
        ),
    ] = None,
    preset: Preset = None,
    rollouts: Annotated[int | None, typer.Option(help="Leaves evaluated at most, for each problem.")] = None,
    calls: Annotated[int | None, typer.Option(help="Cap on calls for each problem.")] = None,
    tokens: Annotated[int | None, typer.Option(help="Cap on tokens for each problem.")] = None,
    money: Annotated[float | None, typer.Option(help="Cap on US dollars for each problem.")] = None,
    seconds: Annotated[float | None, typer.Option(help="Cap on wall time for each problem.")] = None,
    seed: Annotated[int | None, typer.Option(help="Everything random in a search derives from it.")] = None,
    concurrency: Annotated[
        int | None,
        typer.Option(min=1, help="Searches at once; by default as many as keep the endpoints busy."),
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
    from bdc_agents.cli.inputs import read_settings

    settings = read_settings(
        config,
        preset=preset,
        search={"rollouts": rollouts, "seed": seed},
        budget={"calls": calls, "tokens": tokens, "money": money, "seconds": seconds},
        cache=not no_cache,
        allow_unsafe=allow_unsafe,
    )
    from bdc_agents.cli.collect import CollectConfig, engine_for, read_budget
    from bdc_agents.cli.collect import collect as run

    chosen = CollectConfig(
        datasets=tuple(dataset),
        data=data,
        filters=tuple(only or ()),
        shuffle_seed=shuffle_seed,
        limit=limit,
        budget=read_budget(run_budget or []),
        concurrency=concurrency,
        table=table,
    )
    chosen_engine = engine_for(engine.value, ray_address)
    return run(chosen, settings, agent or [], out=out, engine=chosen_engine, as_json=as_json, quiet=quiet)
