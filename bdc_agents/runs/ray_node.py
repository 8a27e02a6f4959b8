"""The side of a run on a Ray node: an actor whose questions the driver fetches and answers."""

import asyncio
import os
from collections.abc import Awaitable, Callable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from bdc_agents.agents import load_agents
from bdc_agents.agents.protocol import Agent
from bdc_agents.config import Settings, StoreConfig
from bdc_agents.errors import BDCError, ConfigError, ProblemError, UsageError
from bdc_agents.runs.endpoints import Load
from bdc_agents.runs.ray_calls import Answer, Ended, NodePlan, Outbox, Polled
from bdc_agents.runs.ray_replies import DriverReplies, KeptAgent
from bdc_agents.runs.store import prompts_hash
from bdc_agents.sandbox import Executor

POLL_SECONDS = 1.0
"""A poll that finds nothing returns after so long: with it come fresh loads."""
LoadAgents = Callable[[Settings, Sequence[str]], Sequence[Agent]]


class NodeWorker:
    """One node's worker, as the driver calls it: the base of the Ray actors.

    Args:
        agents: From settings and names to agents.
        executor: The sandbox; None for the one that the settings ask for.
    """

    def __init__(self, agents: LoadAgents = load_agents, executor: Executor | None = None) -> None:
        self._agents = agents
        self._executor = executor
        self._outbox = Outbox()
        self._ended: Ended | None = None
        self._stopping = asyncio.Event()
        self._working: asyncio.Task[None] | None = None

    async def start(self, plan: Any) -> None:
        """Starts to work; all that comes of it, refusals too, is told by `poll`."""
        self._working = asyncio.create_task(self._work(plan))

    async def poll(self) -> Polled:
        """What the worker asks since the last poll, and how it goes."""
        if self._ended is None:
            calls = await self._outbox.fetch(POLL_SECONDS)
        else:
            calls = await self._outbox.fetch(0)
        return Polled(calls=calls, loads=dict(self._loads()), running=self._running(), ended=self._ended)

    async def answer(self, answers: Sequence[Answer]) -> None:
        """Takes the driver's answers to calls."""
        self._outbox.answer(answers)

    async def stop(self) -> None:
        """Gives up what runs; the worker then ends."""
        self._stopping.set()

    async def _run(self, plan: Any) -> str | None:
        """Works until nothing is left or it shall stop; returns the cap that is spent."""
        raise NotImplementedError

    def _loads(self) -> Mapping[str, Load]:
        return {}

    def _running(self) -> int:
        return 0

    async def _work(self, plan: NodePlan) -> None:
        try:
            _check_versions(plan)
            if plan.folder.is_dir():
                os.chdir(plan.folder)
            ended = Ended(cap=await self._run(plan))
        except BDCError as error:
            ended = Ended(error=str(error), usage=isinstance(error, UsageError))
        except Exception as error:
            ended = Ended(error=f"a fault of bdc itself: {type(error).__name__}: {error}")
        self._ended = ended
        self._outbox.wake()

    def _kept_agents(self, plan: NodePlan) -> list[KeptAgent]:
        """The agents of this node, whose replies the driver keeps: what is on its disk may be lost."""
        bare = plan.settings.model_copy(update={"store": StoreConfig(cache=False)})
        replies = DriverReplies(self._outbox.ask)
        return [
            KeptAgent(agent, replies, plan.settings.agent(name))
            for agent, name in zip(self._agents(bare, plan.names), plan.names, strict=True)
        ]


async def until_stopped(work: Awaitable[Any], stopping: asyncio.Event, stop: Callable[[], object]) -> None:
    """Waits for work, and calls `stop` when it shall end before it is done."""

    async def watch() -> None:
        await stopping.wait()
        stop()

    watching = asyncio.create_task(watch())
    try:
        await work
    finally:
        watching.cancel()


def data_here(folder: Path | None) -> Path | None:
    """The driver's data folder where this node has it too; None leaves it to `BDC_DATA`."""
    return folder if folder is not None and folder.is_dir() else None


def without_data(error: ProblemError) -> ConfigError:
    """What a node says that cannot load the problems of a run."""
    return ConfigError(
        f"it cannot load {error}; put the data where the driver has it, or name its folder by "
        "BDC_DATA before Ray is started there"
    )


def _check_versions(plan: NodePlan) -> None:
    here = (version("bdc-agents"), prompts_hash())
    if here != (plan.package, plan.prompts):
        raise ConfigError(
            f"it has bdc-agents {here[0]} with prompts {here[1]}, the driver {plan.package} with "
            f"{plan.prompts}; install the same there"
        )
