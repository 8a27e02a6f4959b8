"""Options that several commands have, and how their help ends."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from bdc_agents.cli.exits import EXIT_CODES


class EngineName(StrEnum):
    """What does the work of a run."""

    LOCAL = "local"
    RAY = "ray"


Agents = Annotated[
    list[str] | None,
    typer.Option(
        "--agent",
        "-a",
        metavar="NAME",
        help="An agent of bdc.toml, a model such as openai:gpt-4o-mini or local:qwen2.5-coder-0.5b, or "
        "MODEL@http://HOST/v1. May be repeated.",
    ),
]
Config = Annotated[
    Path | None, typer.Option(metavar="FILE", help="Settings. Default: bdc.toml of this folder.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout, and nothing else.")]
Quiet = Annotated[
    bool,
    typer.Option("--quiet", "-q", help="Plain lines instead of the live view; with --json no progress."),
]
Silent = Annotated[bool, typer.Option("--quiet", "-q", help="Show no progress.")]
NoCache = Annotated[bool, typer.Option("--no-cache", help="Ask again, even where a reply is kept on disk.")]
AllowUnsafe = Annotated[
    bool, typer.Option("--allow-unsafe", help="Run programs even if this machine offers no isolation.")
]
Calls = Annotated[int | None, typer.Option(help="Cap on calls of all agents for one problem or request.")]
Tokens = Annotated[int | None, typer.Option(help="Cap on tokens, likewise.")]
Money = Annotated[float | None, typer.Option(help="Cap on US dollars, likewise.")]
KeptIn = Annotated[
    Path | None, typer.Option(metavar="DIR", help="Write the trace of each search to this run folder.")
]
Data = Annotated[Path | None, typer.Option(metavar="DIR", help="Folder of the data sets. Default: BDC_DATA.")]
Preset = Annotated[
    str | None, typer.Option(metavar="NAME", help="default, or paper: the published constants.")
]
KnownBeliefs = Annotated[
    Path | None,
    typer.Option(
        "--beliefs",
        metavar="RUN",
        help="What moves by these agents gave before: a run of bdc collect, or its beliefs.json.",
    ),
]
Learn = Annotated[
    bool,
    typer.Option(
        "--learn/--no-learn",
        help="Start later problems from what moves gave on earlier ones, by blocks; or all alike.",
    ),
]
RayAddress = Annotated[
    str | None,
    typer.Option(
        metavar="HOST:PORT",
        help="With --engine ray: the cluster's head, or auto for the one on this machine. Default: start "
        "a Ray of one node.",
    ),
]


def epilog(*examples: str) -> str:
    """The end of a command's help: examples of its use, and the exit codes."""
    return "\n\n".join(["\b\nExamples:\n" + "\n".join(f"  {line}" for line in examples), EXIT_CODES])
