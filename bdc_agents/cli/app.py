"""The commands of `bdc` and their options; what they do is imported when they are called."""

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from bdc_agents.cli.distill import EXAMPLES as DISTILLS
from bdc_agents.cli.distill import distill
from bdc_agents.cli.export import EXAMPLES as EXPORTS
from bdc_agents.cli.export import export
from bdc_agents.cli.outcome import EXIT_CODES, guarded
from bdc_agents.cli.serve import EXAMPLES as SERVES
from bdc_agents.cli.serve import serve


def _examples(*lines: str) -> str:
    return "\n\n".join(["\b\nExamples:\n" + "\n".join(f"  {line}" for line in lines), EXIT_CODES])


app = typer.Typer(
    name="bdc",
    help="Several language models search one tree of thoughts and hand over a program that passes the tests.",
    epilog=_examples(
        "bdc doctor",
        "bdc demo",
        'bdc solve "Write add(a, b)." --test "assert add(1, 2) == 3"',
        "bdc COMMAND --help",
    ),
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)

Agents = Annotated[
    list[str] | None,
    typer.Option(
        "--agent",
        "-a",
        metavar="NAME",
        help="An agent of bdc.toml or a model such as openai:gpt-4o-mini or local:qwen2.5-coder-0.5b; "
        "may be repeated.",
    ),
]
Config = Annotated[
    Path | None, typer.Option(metavar="FILE", help="Settings; bdc.toml of this folder by default.")
]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON object on stdout and nothing else there.")]
Quiet = Annotated[
    bool,
    typer.Option("--quiet", "-q", help="Plain lines instead of the live view; with --json no progress."),
]
NoCache = Annotated[bool, typer.Option("--no-cache", help="Ask again what is answered on disk.")]
AllowUnsafe = Annotated[
    bool, typer.Option("--allow-unsafe", help="Run programs where this machine offers no isolation.")
]


@app.callback(invoke_without_command=True)
def _root(
    context: typer.Context,
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks; also BDC_DEBUG=1.")] = False,
    version: Annotated[bool, typer.Option("--version", help="Show the version.")] = False,
) -> None:
    del context
    if debug:
        os.environ["BDC_DEBUG"] = "1"
    if version:
        from importlib.metadata import version as version_of

        print(f"bdc-agents {version_of('bdc-agents')}")
        raise typer.Exit


@app.command(
    epilog=_examples(
        "bdc solve demo:longest-streak",
        'bdc solve "Write add(a, b)." --test "assert add(1, 2) == 3"',
        "bdc solve humaneval:HumanEval/31 --data DATA --json",
        "bdc solve --resume runs/one",
        "bdc solve problem.json -a openai:gpt-4o-mini -a local:qwen2.5-coder-0.5b --calls 40 --out runs/one",
    )
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
    data: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Folder of the data sets; BDC_DATA by default.")
    ] = None,
    preset: Annotated[
        str | None, typer.Option(metavar="NAME", help="default, or paper: the published constants.")
    ] = None,
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
    from bdc_agents.cli.choose import find_task, read_settings
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


@app.command(epilog=_examples("bdc demo", "bdc demo --minutes 5 --agent openai:gpt-4o-mini --out runs/mini"))
@guarded
def demo(
    minutes: Annotated[float, typer.Option(min=0.1, help="For all problems together.")] = 10.0,
    agent: Agents = None,
    out: Annotated[Path, typer.Option(metavar="DIR", help="Run folder.")] = Path("runs/demo"),
    config: Config = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
    no_cache: NoCache = False,
    allow_unsafe: AllowUnsafe = False,
) -> int:
    """Solve the shipped problems with two local models.

    Their weights, 1.6 GB, are downloaded once. A table and an HTML report come at the end.
    """
    from bdc_agents.cli.choose import read_settings

    settings = read_settings(config, cache=not no_cache, allow_unsafe=allow_unsafe)
    from bdc_agents.cli.demo import demo as run

    return run(settings, agent or [], minutes=minutes, out=out, as_json=as_json, quiet=quiet)


app.command("export", epilog=_examples(*EXPORTS))(export)
app.command("distill", epilog=_examples(*DISTILLS))(distill)
app.command("serve", epilog=_examples(*SERVES))(serve)


@app.command(epilog=_examples("bdc agents", "bdc agents --ping", "bdc agents -a openai:gpt-4o-mini --ping"))
@guarded
def agents(
    ping: Annotated[bool, typer.Option("--ping", help="Ask each agent for a short reply.")] = False,
    agent: Agents = None,
    config: Config = None,
    as_json: AsJson = False,
) -> int:
    """List the configured agents and the local models."""
    from bdc_agents.cli.choose import read_settings

    settings = read_settings(config)
    from bdc_agents.cli.agents import agents as run

    return run(settings, agent or [], pinged=ping, as_json=as_json)


@app.command(
    epilog=_examples(
        "bdc view runs/demo",
        "bdc view runs/demo --problem demo:longest-streak",
        "bdc view runs/demo --html demo.html",
    )
)
@guarded
def view(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A run folder or a file of traces.")],
    html: Annotated[Path | None, typer.Option(metavar="FILE", help="Write one offline page.")] = None,
    problem: Annotated[str | None, typer.Option(metavar="ID", help="Only this problem.")] = None,
) -> int:
    """Show a run: its trees, programs and figures."""
    from bdc_agents.cli.view import view as show

    return show(run, html=html, problem=problem)


@app.command(epilog=_examples("bdc doctor", "bdc doctor --json"))
@guarded
def doctor(config: Config = None, as_json: AsJson = False) -> int:
    """Say what this machine can do, what is missing and how to get it."""
    from bdc_agents.cli.doctor import doctor as run

    return run(config, as_json=as_json)


@app.command(epilog=_examples("bdc config --example > bdc.toml", "bdc config --schema"))
@guarded
def config(
    schema: Annotated[bool, typer.Option("--schema", help="Print the JSON schema of bdc.toml.")] = False,
    example: Annotated[bool, typer.Option("--example", help="Print a bdc.toml with every key.")] = False,
) -> int:
    """Explain the settings file."""
    from bdc_agents.cli import config as shown
    from bdc_agents.errors import UsageError

    if schema == example:
        raise UsageError("choose one: --example prints a bdc.toml with every key, --schema its JSON schema")
    print(shown.schema() if schema else shown.example(), end="\n" if schema else "")
    return 0


def main() -> None:
    """The entry point `bdc`."""
    for stream in (sys.stdout, sys.stderr):
        # A terminal that cannot show a character gets its code, never a crash.
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")  # pyright: ignore[reportAttributeAccessIssue]
    app(prog_name="bdc")
