"""`bdc solve`: one problem."""

from pathlib import Path
from typing import Annotated

import typer

from bdc_agents.cli.options import Agents, AllowUnsafe, AsJson, Config, Data, NoCache, Preset, Quiet
from bdc_agents.cli.exits import guarded

EXAMPLES = (
    "bdc solve demo:longest-streak",
    'bdc solve "Write add(a, b)." --test "assert add(1, 2) == 3"',
    "bdc solve humaneval:HumanEval/31 --data DATA --json",
    "bdc solve --resume runs/one",
    "bdc solve problem.json -a openai:gpt-4o-mini -a local:qwen2.5-coder-0.5b --calls 40 --out runs/one",
)


@guarded
def solve(
    target: Annotated[
        str | None, typer.Argument(help="An address such as demo:NAME, a .json file, or a problem in words.")
    ] = None,
    test: Annotated[
        list[str] | None,
        typer.Option(
            metavar="TEST",
            help='A public test of a problem in words: "assert f(2) == 4", "f(2) -> 4", or "2 3 -> 5" for '
            "a program on stdin; may be repeated.",
        ),
    ] = None,
    agent: Agents = None,
    data: Data = None,
    preset: Preset = None,
    rollouts: Annotated[int | None, typer.Option(help="Leaves evaluated at most.")] = None,
    calls: Annotated[int | None, typer.Option(help="Cap on calls of all agents together.")] = None,
    tokens: Annotated[int | None, typer.Option(help="Cap on tokens.")] = None,
    money: Annotated[float | None, typer.Option(help="Cap on US dollars.")] = None,
    seconds: Annotated[float | None, typer.Option(help="Cap on wall time.")] = None,
    seed: Annotated[int | None, typer.Option(help="Everything random derives from it.")] = None,
    config: Config = None,
    out: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Write the trace, the program and every step of the search there."),
    ] = None,
    resume: Annotated[
        Path | None,
        typer.Option(metavar="RUN", help="Go on with the search that --out RUN keeps, as it was started."),
    ] = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
    no_cache: NoCache = False,
    allow_unsafe: AllowUnsafe = False,
) -> int:
    """Solve one problem.

    The agents search; what they write runs on the public tests; the best program is shown.
    """
    from bdc_agents.cli.inputs import find_task, read_settings
    from bdc_agents.errors import UsageError

    if (target is None) == (resume is None) or (resume and (test or agent or out)):
        raise UsageError(
            "give either a target or a run folder to go on with: bdc solve TARGET, or "
            "bdc solve --resume RUN, which takes its problem, tests, agents and folder from there"
        )
    options = {"rollouts": rollouts, "seed": seed}
    caps = {"calls": calls, "tokens": tokens, "money": money, "seconds": seconds}
    settings = read_settings(
        config,
        preset=preset,
        search=options,
        budget=caps,
        cache=not no_cache,
        allow_unsafe=allow_unsafe,
    )
    if resume:
        from bdc_agents.cli.resume import resume as go_on

        given = settings.search.model_dump() if preset else options
        return go_on(resume, settings, given, caps, data=data, as_json=as_json, quiet=quiet)
    assert target is not None
    task = find_task(target, test or [], data)
    from bdc_agents.cli.solve import solve as run

    return run(task, settings, agent or [], target=target, out=out, as_json=as_json, quiet=quiet)
