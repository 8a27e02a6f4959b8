"""The command line, from the app itself."""

from collections.abc import Iterator
from importlib import import_module
from typing import Any

import typer

from bdc_agents.cli.app import COMMANDS, app, command


def commands_page() -> str:
    """Each command with its arguments, options and examples."""
    group: Any = typer.main.get_command(app)
    parts = ["# The command line", f"{group.help} `bdc COMMAND --help` says what is below.", _list()]
    for name in COMMANDS:
        parts += _command(name)
    parts += ["## Exit codes", "[Errors](errors.md#exit-codes) says what each means and what to do."]
    return "\n\n".join(parts) + "\n"


def _list() -> str:
    rows = [f"| [`bdc {name}`](#bdc-{name}) | {line} |" for name, (_, line) in COMMANDS.items()]
    return "\n".join(["| command | does |", "|---|---|", *rows])


def _command(name: str) -> Iterator[str]:
    made = command(name)
    yield f"## `bdc {name}` {{ #bdc-{name} }}"
    yield _prose(made.help or "")
    examples = "\n".join(import_module(COMMANDS[name][0]).EXAMPLES)
    yield f"```sh\n{examples}\n```"
    rows = [row for one in made.params if not getattr(one, "hidden", False) if (row := _row(one))]
    yield "\n".join(["| option | means |", "|---|---|", *rows])


def _prose(text: str) -> str:
    return "\n\n".join(" ".join(part.split()) for part in text.replace("\b", "").split("\n\n"))


def _row(one: Any) -> str:
    if one.name == "help":
        return ""
    if one.param_type_name == "argument":
        written = f"`{one.metavar or one.name}`"
    else:
        names = "/".join([*reversed(one.opts), *one.secondary_opts])
        takes = "" if one.is_flag else f" {one.metavar or _kind(one)}"
        written = f"`{names}{takes}`"
    default = one.default
    none = callable(default) or default in (None, False, (), [])
    shown = "" if none else f" Default: `{getattr(default, 'value', default)}`."
    return f"| {written} | {_cell(one.help or '')}{shown} |"


def _kind(option: Any) -> str:
    """What an option without a metavar takes; older releases of typer have click's types."""
    described = getattr(option, "type_descriptor", None)
    name = getattr(described.annotation, "__name__", "") if described else option.type.name
    return {"int": "N", "integer": "N", "float": "N"}.get(name, name.upper())


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")
