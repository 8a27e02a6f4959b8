"""`bdc eval`: solvers compared on problem sets."""

from pathlib import Path
from typing import Annotated

import typer

from bdc_agents.cli.options import Agents, AllowUnsafe, AsJson, Data, EngineName, NoCache, Quiet, RayAddress
from bdc_agents.cli.exits import guarded

EXAMPLES = (
    "bdc eval demo --solver single:local:qwen2.5-coder-0.5b --temperature 0",
    "bdc eval humaneval --data DATA --solver single:small --solver best-of:8 --solver search --calls 8",
    "bdc eval mbpp:test --limit 100 --shuffle-seed 0 --solver single:large --samples 10 --k 1 --k 5",
    "bdc eval humaneval --solver repair:4,agents=large --solver search:paper,rollouts=8 --out runs/he",
    "bdc eval humaneval --solver single:my-model@http://localhost:8000/v1 --json",
    "bdc eval humaneval --solver search --engine ray --ray-address 10.0.0.1:6379",
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
            "such as best-of:8,agents=a+b,temperature=0.8; may be repeated: the first is what others are "
            "compared with.",
        ),
    ] = None,
    agent: Agents = None,
    data: Data = None,
    out: Annotated[
        Path, typer.Option(metavar="DIR", help="Folder of the results; one that is there is gone on with.")
    ] = Path("runs/eval"),
    samples: Annotated[int | None, typer.Option(help="Times each solver solves each problem.")] = None,
    k: Annotated[list[int] | None, typer.Option(metavar="K", help="For pass@k; may be repeated.")] = None,
    temperature: Annotated[
        float | None,
        typer.Option(help="Of solvers that name none; 0 is greedy. By default that of [search]."),
    ] = None,
    limit: Annotated[int | None, typer.Option(help="At most so many problems.")] = None,
    only: Annotated[
        list[str] | None,
        typer.Option(
            "--filter",
            metavar="KEY=VALUE,...",
            help="Only problems of this difficulty or tag; may be repeated.",
        ),
    ] = None,
    public_only: Annotated[
        bool, typer.Option("--public-only", help="Leave out problems without public tests.")
    ] = False,
    reference_tests: Annotated[
        bool,
        typer.Option(
            "--reference-tests",
            help="Add hidden tests that known solutions make of changed inputs; figures are then not those "
            "of the published sets.",
        ),
    ] = False,
    shuffle_seed: Annotated[int | None, typer.Option(help="A random order that depends on it alone.")] = None,
    calls: Annotated[int | None, typer.Option(help="Cap on a solver's calls for one problem.")] = None,
    tokens: Annotated[int | None, typer.Option(help="Cap on its tokens.")] = None,
    money: Annotated[float | None, typer.Option(help="Cap on its US dollars.")] = None,
    seconds: Annotated[float | None, typer.Option(help="Cap on its wall time.")] = None,
    seed: Annotated[int | None, typer.Option(help="Everything random derives from it.")] = None,
    concurrency: Annotated[
        int | None, typer.Option(help="Problems at once, on each node; 4 by default.")
    ] = None,
    engine: Annotated[
        EngineName, typer.Option(help="local: in this process; ray: on every node of a Ray cluster.")
    ] = EngineName.LOCAL,
    ray_address: RayAddress = None,
    config: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Settings with a table [eval], or an eval.json; else bdc.toml."),
    ] = None,
    inspect: Annotated[
        bool, typer.Option("--inspect", help="Write logs that inspect_ai reads, too: OUT/inspect.")
    ] = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
    no_cache: NoCache = False,
    allow_unsafe: AllowUnsafe = False,
) -> int:
    """Compare solvers on problem sets.

    Every program is scored on hidden tests that no solver sees. The same command again goes on
    where it was cut off; the folder has results, a summary and a report for people.
    """
    from bdc_agents.cli.evaluate import run

    options = {
        "datasets": dataset,
        "solvers": solver,
        "agents": agent,
        "samples": samples,
        "k": k,
        "temperature": temperature,
        "limit": limit,
        "filters": only,
        "public_only": public_only,
        "reference_tests": reference_tests,
        "shuffle_seed": shuffle_seed,
        "seed": seed,
        "concurrency": concurrency,
    }
    caps = {"calls": calls, "tokens": tokens, "money": money, "seconds": seconds}
    return run(
        config,
        options,
        caps,
        data=data,
        out=out,
        engine=engine.value,
        ray_address=ray_address,
        inspect=inspect,
        cache=not no_cache,
        allow_unsafe=allow_unsafe,
        as_json=as_json,
        quiet=quiet,
    )
