"""The worker of one node, the base of all: an actor that gets a plan and calls the driver."""

import asyncio
import os
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from bdc_agents.agents import ReplyCache, load_agents
from bdc_agents.agents.failures import shown_url
from bdc_agents.agents.protocol import Agent, Reply
from bdc_agents.config import AgentConfig, Settings
from bdc_agents.errors import BDCError, ConfigError, ProblemError, UsageError
from bdc_agents.runs.collect.endpoints import Load
from bdc_agents.runs.ray.desk import Line
from bdc_agents.runs.store import prompts_hash
from bdc_agents.sandbox import Executor
from bdc_agents.types import Frozen

REPORT_SECONDS = 1.0
"""Time between two reports of the loads: often enough for a person who watches."""
_KEY_LIKE = ("key", "token", "secret", "password", "credential", "header", "auth")
"""Parts of an option's name that say that its value is secret, as integrations call theirs."""


class NodePlan(Frozen):
    """What a node needs for its part of any run; plain data without keys.

    Args:
        settings: Settings of the agents and the sandbox.
        names: Agents, as `load_agents` takes them.
        folder: The driver's working folder, for relative paths.
        data: The driver's folder of data sets.
        package, prompts: Version and hash, which must be the same on the node.
    """

    settings: Settings
    names: tuple[str, ...]
    folder: Path
    data: Path | None = None
    package: str
    prompts: str


class NodeWorker:
    """The worker of one node, the base of the actors' classes.

    Args:
        agents: Loads the agents, as `load_agents` does.
        executor: The sandbox; None for the one that the settings ask for.
    """

    def __init__(
        self, agents: Callable[..., list[Agent]] = load_agents, executor: Executor | None = None
    ) -> None:
        self._agents = agents
        self._executor = executor
        self._working: asyncio.Task[str | None] | None = None
        self._stopped = False

    async def run(self, plan: Any, driver: Line) -> str | None:
        """Works until nothing is left or it shall stop; returns the budget's cap that is spent, or None.

        Raises:
            BDCError: If this node can do no more; a `ConfigError` if the caller's settings are the reason.
        """
        try:
            _check_versions(plan)
            if plan.folder.is_dir():
                os.chdir(plan.folder)
            return await self._reported(plan, driver)
        # Plain errors only: one that cannot be pickled would not reach the driver.
        except UsageError as error:
            raise ConfigError(str(error)) from None
        except BDCError as error:
            raise BDCError(str(error)) from None
        except Exception as error:
            raise BDCError(f"a fault of bdc itself: {type(error).__name__}: {error}") from None

    async def stop(self) -> None:
        """Gives up what runs; `run` then returns."""
        self._stopped = True
        if self._working is not None:
            self._working.cancel()

    async def _reported(self, plan: Any, driver: Line) -> str | None:
        """Works, and reports to the driver meanwhile and once at the end."""
        reporting = asyncio.create_task(self._report(driver))
        self._working = asyncio.create_task(self._run(plan, driver))
        try:
            await asyncio.wait([self._working])
            return None if self._stopped else self._working.result()
        finally:
            self._working.cancel()
            reporting.cancel()
            await asyncio.gather(self._working, reporting, return_exceptions=True)
            await self._tell(driver)

    async def _report(self, driver: Line) -> None:
        while True:
            await self._tell(driver)
            await asyncio.sleep(REPORT_SECONDS)

    async def _tell(self, driver: Line) -> None:
        await driver.ask("report", dict(self._loads()), self._running())

    async def _run(self, plan: Any, driver: Line) -> str | None:
        """Does the work of `run`; cancelled if it shall stop."""
        raise NotImplementedError

    def _loads(self) -> Mapping[str, Load]:
        return {}

    def _running(self) -> int:
        return 0

    def _load_agents(self, plan: NodePlan, driver: Line) -> list[Agent]:
        """The agents of this node. The driver keeps their replies, since this disk may be lost."""
        return self._agents(plan.settings, plan.names, replies=DriverReplies(driver))


class DriverReplies(ReplyCache):
    """A reply cache that keeps its replies in the driver's cache.

    Args:
        driver: Line to the driver.
    """

    def __init__(self, driver: Line) -> None:
        super().__init__(Path())
        self._driver = driver

    async def get(self, key: str) -> Reply | None:
        """See `ReplyCache`."""
        return await self._driver.ask("reply", key)

    async def put(self, key: str, reply: Reply) -> None:
        """See `ReplyCache`."""
        await self._driver.ask("keep", key, reply)


def common_plan(settings: Settings, names: Sequence[str], data: Path | None) -> dict[str, Any]:
    """The fields of a `NodePlan`.

    Args:
        settings: Settings of the run.
        names: The agents that take part; the settings of others do not travel.
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


def _check_versions(plan: NodePlan) -> None:
    here = (version("bdc-agents"), prompts_hash())
    if here != (plan.package, plan.prompts):
        raise ConfigError(
            f"it has bdc-agents {here[0]} with prompts {here[1]}, the driver {plan.package} with "
            f"{plan.prompts}; install the same there"
        )


def data_here(folder: Path | None) -> Path | None:
    """The driver's data folder if this node has it too; None leaves the folder to `BDC_DATA`."""
    return folder if folder is not None and folder.is_dir() else None


def without_data(error: ProblemError) -> ConfigError:
    """The error of a node that cannot load the problems of a run."""
    return ConfigError(
        f"it cannot load {error}; put the data where the driver has it, or name its folder by "
        "BDC_DATA before Ray is started there"
    )
