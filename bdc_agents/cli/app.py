"""The program `bdc`: a table of its commands; the module of a command is imported when it is called."""

import atexit
import gc
import os
import sys
from importlib import import_module
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

from bdc_agents.cli.exits import fail
from bdc_agents.cli.options import epilog

COMMANDS = {
    "solve": ("bdc_agents.cli.solve", "Solve one problem."),
    "demo": ("bdc_agents.cli.demo", "Solve the shipped problems with two local models."),
    "export": ("bdc_agents.cli.export", "Write what a run found as training data or tables."),
    "distill": ("bdc_agents.cli.distill", "Turn solved problems into a library of LoRA experts."),
    "compare": ("bdc_agents.cli.compare", "Compare the ways to use a library's experts."),
    "serve": (
        "bdc_agents.cli.serve",
        "Serve the search, or a library, to every client that speaks OpenAI's chat protocol.",
    ),
    "mcp": ("bdc_agents.cli.mcp", "Serve the search to editors and agents that speak MCP."),
    "agents": ("bdc_agents.cli.agents", "List the configured agents and the local models."),
    "view": ("bdc_agents.cli.view", "Show a run: its trees, programs and figures."),
    "doctor": (
        "bdc_agents.cli.doctor",
        "Say what this machine can do, what is missing and how to get it.",
    ),
    "config": ("bdc_agents.cli.config", "Explain the settings file."),
    "collect": ("bdc_agents.cli.collect", "Search many problems and keep their traces."),
    "eval": ("bdc_agents.cli.evaluate", "Compare solvers on problem sets."),
}
"""By name: its module, which has EXAMPLES and a function of the module's name, and its line in the list."""


class Commands(TyperGroup):
    """A group that knows its commands by one line each until one is called."""

    def __init__(self, **given: Any) -> None:
        super().__init__(**given)
        self.commands = {name: TyperCommand(name, help=line) for name, (_, line) in COMMANDS.items()}

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """The command that is called, whole: its options come from its module."""
        name, line, rest = super().resolve_command(ctx, args)
        if name is None or line is None:
            return name, line, rest
        try:
            return name, command(name), rest
        # A module that cannot be imported ends the command as what it does would.
        except (Exception, KeyboardInterrupt) as error:
            raise typer.Exit(fail(error, as_json="--json" in rest)) from error


def command(name: str) -> Any:
    """A command with its options, imported now.

    Args:
        name: One of `COMMANDS`.
    """
    module = import_module(COMMANDS[name][0])
    function = getattr(module, module.__name__.rpartition(".")[2])
    alone = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)
    alone.command(name, epilog=epilog(*module.EXAMPLES))(function)
    return typer.main.get_command(alone)


app = typer.Typer(
    name="bdc",
    cls=Commands,
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


def main() -> None:
    """The entry point `bdc`."""
    # At its end Python searches all modules for garbage: half a second of the four of a short search.
    atexit.register(gc.freeze)
    for stream in (sys.stdout, sys.stderr):
        # A terminal that cannot show a character gets its code, never a crash.
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")  # pyright: ignore[reportAttributeAccessIssue]
    app(prog_name="bdc")
