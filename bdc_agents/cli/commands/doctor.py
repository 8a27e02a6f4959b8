"""`bdc doctor`: what this machine can do."""

from bdc_agents.cli.options import AsJson, Config
from bdc_agents.cli.exits import guarded

EXAMPLES = (
    "bdc doctor",
    "bdc doctor --json",
)


@guarded
def doctor(config: Config = None, as_json: AsJson = False) -> int:
    """Say what this machine can do, what is missing and how to get it."""
    from bdc_agents.cli.doctor import doctor as run

    return run(config, as_json=as_json)
