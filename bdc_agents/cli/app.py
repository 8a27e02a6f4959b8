"""The program `bdc`: its commands, registered; what they do is imported when they are called."""

import atexit
import gc
import os
import sys
from typing import Annotated

import typer

from bdc_agents.cli.commands import (
    agents,
    collect,
    compare,
    config,
    demo,
    distill,
    doctor,
    evaluate,
    export,
    serve,
    solve,
    view,
)
from bdc_agents.cli.options import epilog

app = typer.Typer(
    name="bdc",
    help="Several language models search one tree of thoughts and hand over a program that passes the tests.",
    epilog=epilog(
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


# A command is a module with EXAMPLES and a function, whose signature has its options.
app.command("solve", epilog=epilog(*solve.EXAMPLES))(solve.solve)
app.command("demo", epilog=epilog(*demo.EXAMPLES))(demo.demo)
app.command("export", epilog=epilog(*export.EXAMPLES))(export.export)
app.command("distill", epilog=epilog(*distill.EXAMPLES))(distill.distill)
app.command("compare", epilog=epilog(*compare.EXAMPLES))(compare.compare)
app.command("serve", epilog=epilog(*serve.EXAMPLES))(serve.serve)
app.command("agents", epilog=epilog(*agents.EXAMPLES))(agents.agents)
app.command("view", epilog=epilog(*view.EXAMPLES))(view.view)
app.command("doctor", epilog=epilog(*doctor.EXAMPLES))(doctor.doctor)
app.command("config", epilog=epilog(*config.EXAMPLES))(config.config)
app.command("collect", epilog=epilog(*collect.EXAMPLES))(collect.collect)
app.command("eval", epilog=epilog(*evaluate.EXAMPLES))(evaluate.evaluate)


def main() -> None:
    """The entry point `bdc`."""
    # At its end Python searches all modules for garbage: half a second of the four of a short search.
    atexit.register(gc.freeze)
    for stream in (sys.stdout, sys.stderr):
        # A terminal that cannot show a character gets its code, never a crash.
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")  # pyright: ignore[reportAttributeAccessIssue]
    app(prog_name="bdc")
