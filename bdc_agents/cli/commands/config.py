"""`bdc config`: the settings file explained."""

from typing import Annotated

import typer

from bdc_agents.cli.exits import guarded

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
    from bdc_agents.cli import config as shown
    from bdc_agents.errors import UsageError

    if schema == example:
        raise UsageError("choose one: --example prints a bdc.toml with every key, --schema its JSON schema")
    print(shown.schema() if schema else shown.example(), end="\n" if schema else "")
    return 0
