"""`bdc compare`: the ways to use a library's experts, in one table."""

from pathlib import Path
from typing import Annotated

import typer

from bdc_agents.cli.options import AllowUnsafe, AsJson, Data, Silent
from bdc_agents.cli.exits import guarded

EXAMPLES = (
    "bdc compare experts/library/mine --problems mbpp:11-110 --traces runs/mbpp --data DATA",
    "bdc compare experts/library/mine --problems humaneval --method experts --method router-default",
    "bdc compare --config runs/compare/compare.json --out runs/again",
)


@guarded
def compare(
    library: Annotated[
        Path | None, typer.Argument(metavar="LIBRARY", help="A library of bdc distill.")
    ] = None,
    problems: Annotated[
        list[str] | None,
        typer.Option(metavar="SET", help="A data set or a range such as mbpp:11-110; may be repeated."),
    ] = None,
    traces: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="RUN",
            help="What the library was made from; the routers and X-LoRA that it does not hold are trained "
            "on it. May be repeated.",
        ),
    ] = None,
    method: Annotated[
        list[str] | None,
        typer.Option(
            "--method",
            "--methods",
            metavar="NAME,...",
            help="base, experts, uniform, nearest, membership, ties, dare, arrow, xlora, router-default, "
            "router-paper; all by default; may be repeated.",
        ),
    ] = None,
    out: Annotated[
        Path, typer.Option(metavar="DIR", help="Folder of the results; one that is there is gone on with.")
    ] = Path("runs/compare"),
    data: Data = None,
    limit: Annotated[int | None, typer.Option(help="At most so many problems.")] = None,
    only: Annotated[
        list[str] | None,
        typer.Option("--filter", metavar="KEY=VALUE,...", help="Only problems of this difficulty or tag."),
    ] = None,
    shuffle_seed: Annotated[int | None, typer.Option(help="A random order that depends on it alone.")] = None,
    max_tokens: Annotated[int | None, typer.Option(help="Of one reply; 512 by default.")] = None,
    batch: Annotated[int | None, typer.Option(help="Replies that are written at once; 8 by default.")] = None,
    density: Annotated[
        float | None, typer.Option(help="Share of entries that TIES and DARE keep; 0.5 by default.")
    ] = None,
    base: Annotated[
        str | None, typer.Option(metavar="MODEL", help="Where the base is, if not where the library says.")
    ] = None,
    dtype: Annotated[str | None, typer.Option(help="Of the base: auto, float32 or bfloat16.")] = None,
    config: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="The compare.json of a comparison; options come over it."),
    ] = None,
    as_json: AsJson = False,
    quiet: Silent = False,
    allow_unsafe: AllowUnsafe = False,
) -> int:
    """Compare the ways to use a library's experts.

    Base, each expert, the adapter trained on all data, mixtures, TIES, DARE, Arrow, X-LoRA and the
    hypernetwork, on problems that the library has not seen: loss, problems solved by one greedy
    program each, tokens a second, and memory. The same command again goes on where it was cut off.
    """
    from bdc_agents.cli.compare import run

    options = {
        "library": str(library) if library else None,
        "problems": tuple(problems or ()),
        "traces": tuple(map(str, traces or ())),
        "methods": tuple(name.strip() for text in method or () for name in text.split(",") if name.strip()),
        "filters": tuple(only or ()),
        "limit": limit,
        "shuffle_seed": shuffle_seed,
        "max_tokens": max_tokens,
        "batch": batch,
        "density": density,
        "base": base,
        "dtype": dtype,
    }
    return run(config, options, out, data=data, as_json=as_json, quiet=quiet, allow_unsafe=allow_unsafe)
