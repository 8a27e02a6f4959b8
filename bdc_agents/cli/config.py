"""`bdc config`: the settings file explained, by example and by schema."""

import json
from importlib.resources import files
from typing import Annotated, Any

import typer

from bdc_agents.cli.exits import SOLVED, guarded
from bdc_agents.config import PRESETS, Settings
from bdc_agents.errors import UsageError

EXAMPLES = (
    "bdc config --example > bdc.toml",
    "bdc config --schema",
)


@guarded
def config(
    schema: Annotated[bool, typer.Option("--schema", help="Print the JSON schema of bdc.toml.")] = False,
    example: Annotated[bool, typer.Option("--example", help="Print a bdc.toml with every key.")] = False,
) -> int:
    """Explain the settings file."""
    if schema == example:
        raise UsageError("choose one: --example prints a bdc.toml with every key, --schema its JSON schema")
    print(_schema() if schema else _example(), end="\n" if schema else "")
    return SOLVED


def _schema() -> str:
    """The JSON schema of `bdc.toml`."""
    found: dict[str, Any] = Settings.model_json_schema()
    preset = {"enum": [*PRESETS], "default": "default", "description": "Knobs that the others start from."}
    found["$defs"]["SearchConfig"]["properties"]["preset"] = preset
    return json.dumps(found, indent=2)


def _example() -> str:
    """A `bdc.toml` with every key, its default and what it does."""
    return (files("bdc_agents.cli") / "example.toml").read_text(encoding="utf-8")
