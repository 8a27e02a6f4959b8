"""`bdc demo`: the shipped problems with local models."""

from pathlib import Path
from typing import Annotated

import typer

from bdc_agents.cli.options import Agents, AllowUnsafe, AsJson, Config, NoCache, Quiet
from bdc_agents.cli.exits import guarded
from bdc_agents.errors import UsageError

EXAMPLES = (
    "bdc demo",
    "bdc demo --distill --minutes 6",
    "bdc demo --minutes 5 --agent openai:gpt-4o-mini --out runs/mini",
)


@guarded
def demo(
    minutes: Annotated[float, typer.Option(min=0.1, help="For all problems together.")] = 10.0,
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
    from bdc_agents.cli.inputs import read_settings

    if traces and not distill:
        raise UsageError("--traces is what experts are trained on: it goes with --distill")
    settings = read_settings(config, cache=not no_cache, allow_unsafe=allow_unsafe)
    from bdc_agents.cli.demo import demo as run

    further = (traces or []) if distill else None
    return run(settings, agent or [], minutes=minutes, out=out, distill=further, as_json=as_json, quiet=quiet)
