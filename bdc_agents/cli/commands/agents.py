"""`bdc agents`: the configured agents and the local models."""

from typing import Annotated

import typer

from bdc_agents.cli.options import Agents, AsJson, Config
from bdc_agents.cli.exits import guarded

EXAMPLES = (
    "bdc agents",
    "bdc agents --ping",
    "bdc agents -a openai:gpt-4o-mini --ping",
)


@guarded
def agents(
    ping: Annotated[bool, typer.Option("--ping", help="Ask each agent for a short reply.")] = False,
    agent: Agents = None,
    config: Config = None,
    as_json: AsJson = False,
) -> int:
    """List the configured agents and the local models."""
    from bdc_agents.cli.inputs import read_settings

    settings = read_settings(config)
    from bdc_agents.cli.agents import agents as run

    return run(settings, agent or [], pinged=ping, as_json=as_json)
