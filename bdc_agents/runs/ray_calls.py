"""What travels between the driver of a Ray run and its nodes.

Ray lets a driver call an actor, and not the other way round. So the driver polls: each poll brings
back what the worker asks, and further calls take the answers there.
"""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import Any

from bdc_agents.config import Budget, Settings
from bdc_agents.errors import BDCError
from bdc_agents.runs.endpoints import Load
from bdc_agents.runs.worker import WorkerConfig
from bdc_agents.types import Frozen


class NodePlan(Frozen):
    """What a node needs for its part of a run, whatever the run does; plain data without any key.

    Args:
        settings: Of the agents and the sandbox.
        names: Agents, as `load_agents` takes them.
        folder: The driver's working folder, for relative paths.
        data: Folder of the data sets, as the driver has it.
        package, prompts: What the node must have as the driver has it.
    """

    settings: Settings
    names: tuple[str, ...]
    folder: Path
    data: Path | None = None
    package: str
    prompts: str


class SearchPlan(NodePlan):
    """What a node needs to search.

    Args:
        worker: What the searches are like.
        budget: Of the whole run.
    """

    worker: WorkerConfig
    budget: Budget


class Call(Frozen):
    """One question of a worker to its coordinator: a method of it, and the arguments."""

    number: int
    method: str
    arguments: tuple[Any, ...]


class Answer(Frozen):
    """The answer to a call: a value, or why there is none."""

    number: int
    value: Any = None
    error: str | None = None


class Ended(Frozen):
    """How a worker ended.

    Args:
        cap: The cap of the run's budget that is spent.
        error: Why it can do no more; None where nothing was left or it was asked to end.
        usage: Whether the error is one of the caller's settings.
    """

    cap: str | None = None
    error: str | None = None
    usage: bool = False


class Polled(Frozen):
    """What a poll brings back; with `ended`, nothing more will come."""

    calls: tuple[Call, ...] = ()
    loads: dict[str, Load] = {}
    running: int = 0
    ended: Ended | None = None


class Outbox:
    """Calls that wait to be fetched, and those that wait for their answer."""

    def __init__(self) -> None:
        self._numbers = count()
        self._calls: list[Call] = []
        self._futures: dict[int, asyncio.Future[Any]] = {}
        self._filled = asyncio.Event()

    async def ask(self, method: str, *arguments: Any) -> Any:
        """Calls a method of the coordinator at the other side.

        Raises:
            BDCError: If it raised there.
        """
        number = next(self._numbers)
        future = self._futures[number] = asyncio.get_running_loop().create_future()
        self._calls.append(Call(number=number, method=method, arguments=arguments))
        self._filled.set()
        try:
            return await future
        finally:
            del self._futures[number]

    def answer(self, answers: Sequence[Answer]) -> None:
        """Takes answers; one that nobody waits for any more is left out."""
        for answer in answers:
            future = self._futures.get(answer.number)
            if future is None or future.done():
                continue
            if answer.error is None:
                future.set_result(answer.value)
            else:
                future.set_exception(BDCError(answer.error))

    async def fetch(self, seconds: float) -> tuple[Call, ...]:
        """Takes all calls; waits for the first one, at most so long."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._filled.wait()
        self._filled.clear()
        calls, self._calls = tuple(self._calls), []
        return calls

    def wake(self) -> None:
        """Ends a `fetch` that waits."""
        self._filled.set()
