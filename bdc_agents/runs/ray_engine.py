"""The engine that searches on all nodes of a Ray cluster; the driver owns job table and trace file.

Each node has one worker with its own agents and its own sandbox. It gets problems as addresses and
loads them from its own disk, and it finds API keys in its own environment: neither hidden tests nor
keys travel. What the agents replied is kept by the driver, so that a lost node loses no reply but
those in flight.
"""

from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from bdc_agents.agents.failures import shown_url
from bdc_agents.config import AgentConfig, Settings
from bdc_agents.errors import ConfigError
from bdc_agents.runs.coordinate import TableCoordinator
from bdc_agents.runs.engine import Engine, OpenRun
from bdc_agents.runs.ray_calls import SearchPlan
from bdc_agents.runs.ray_cluster import Cluster, connected
from bdc_agents.runs.ray_search import SearchNode
from bdc_agents.runs.ray_session import Method
from bdc_agents.runs.ray_spread import Spread
from bdc_agents.runs.store import prompts_hash

_KEY_LIKE = ("key", "token", "secret", "password", "credential", "header", "auth")


def ray_engine(address: str | None = None) -> Engine:
    """The engine that searches on the nodes of a Ray cluster.

    Args:
        address: As for `connected`; None starts a Ray of one node.
    """

    async def run(opened: OpenRun) -> str | None:
        plan = plan_for(opened)
        async with connected(address) as cluster:
            return await search_on(cluster, opened, plan)

    return run


async def search_on(cluster: Cluster, opened: OpenRun, plan: SearchPlan) -> str | None:
    """Works on a run until nothing is left or it shall stop; returns the cap that is spent.

    Raises:
        BDCError: If no node can work any more, or the cluster is gone.
    """
    spread = Spread(
        cluster,
        SearchNode,
        plan,
        lambda: TableSide(opened.coordinator()),
        store=opened.settings.store,
        stop=opened.stop,
        tell=opened.notes.append,
    )
    opened.loads, opened.running = spread.loads, spread.running
    return await spread.run()


class TableSide:
    """One node's part of a job table.

    Args:
        coordinator: In whose name the node holds its problems.
    """

    def __init__(self, coordinator: TableCoordinator) -> None:
        self.lost = coordinator.lost
        self.methods: Mapping[str, Method] = {
            "lease": coordinator.lease,
            "heartbeat": coordinator.heartbeat,
            "done": coordinator.done,
            "failed": lambda job, reason, final: coordinator.failed(job, reason, final=final),
            "release": coordinator.release,
            "reserve": coordinator.reserve,
            "settle": coordinator.settle,
        }


def plan_for(opened: OpenRun) -> SearchPlan:
    """What every node is told of a run.

    Raises:
        ConfigError: If a key would have to travel.
    """
    common = common_plan(opened.settings, opened.names, opened.worker.data)
    return SearchPlan(**common, worker=opened.worker, budget=opened.config.budget)


def common_plan(settings: Settings, names: Sequence[str], data: Path | None) -> dict[str, Any]:
    """The fields of a `NodePlan`.

    Args:
        settings: Of the run.
        names: The agents that take part; the others' settings stay here.
        data: Folder of the data sets.

    Raises:
        ConfigError: If a key would have to travel.
    """
    used = {name: config for name, config in settings.agents.items() if name in names}
    for name, config in used.items():
        _check_no_key(name, config)
    return {
        "settings": settings.model_copy(update={"agents": used}),
        "names": tuple(names),
        "folder": Path.cwd(),
        "data": data.absolute() if data else None,
        "package": version("bdc-agents"),
        "prompts": prompts_hash(),
    }


def _check_no_key(name: str, config: AgentConfig) -> None:
    url = config.base_url or ""
    found = next((key for key in config.options if any(part in key.lower() for part in _KEY_LIKE)), None)
    if config.api_key is not None:
        found = "api_key"
    elif config.proxy is not None:
        found = "proxy"
    elif any(not value.get_secret_value().startswith("$") for value in config.headers.values()):
        found = "headers"
    elif url and shown_url(url) != url.rstrip("/"):
        found = "base_url"
    if found:
        raise ConfigError(
            f"agent {name!r}: {found} may hold a key, and keys do not travel to other nodes; set the key in "
            "the environment of each node before Ray is started there, and name that variable by api_key_env"
        )
