"""The desk: an actor through which workers call the driver, the process that runs the command.

In Ray any process can call an actor, but none can call the driver. Ray's advice is an actor that
coordinates. Ours is thin: the desk passes the workers' calls on, and the driver answers them. The job
table, the results and the replies stay in the driver, because an actor runs with the user and the
environment of `ray start`, not with those of the command. It may not be allowed to write the folder, does
not know the user's cache, and would need the password of a Postgres table. The folder's lock, the signals
and the progress view cannot leave the driver at all.

The desk lives on the driver's node, so that the loss of another node does not take it along.
"""

import asyncio
import logging
from collections.abc import Callable, Coroutine, Mapping
from contextlib import suppress
from dataclasses import dataclass
from itertools import count
from typing import Any, Protocol, Self

from bdc_agents.errors import BDCError

log = logging.getLogger(__name__)

Method = Callable[..., Coroutine[Any, Any, Any]]
WAITS = "reserve"
"""The only method that may wait for other workers: for the budget that they hold."""


class NodeLost(Exception):
    """A node or a process on it has vanished."""


class Actor(Protocol):
    """An object in its own process, perhaps on another machine; a pickled copy means the same object."""

    async def call(self, method: str, *arguments: Any) -> Any:
        """Calls a method.

        Raises:
            NodeLost: If its process is gone.
            Exception: What the method raises.
        """
        ...

    async def kill(self) -> None:
        """Ends its process, if it still runs."""
        ...


@dataclass(frozen=True)
class Line:
    """A worker's line to the driver.

    Args:
        desk: A `Desk`.
        worker: Number of the worker.
    """

    desk: Actor
    worker: int

    async def ask(self, method: str, *arguments: Any, **named: Any) -> Any:
        """Calls a method of the driver.

        Raises:
            BDCError: If the method raised.
            NodeLost: If the desk is gone.
        """
        return await self.desk.call("ask", self.worker, method, arguments, named)


@dataclass(frozen=True)
class Call:
    """A call that waits for its answer."""

    number: int
    worker: int
    method: str
    arguments: tuple[Any, ...]
    named: dict[str, Any]


class Desk:
    """The class of the actor."""

    def __init__(self) -> None:
        self._numbers = count()
        self._calls = asyncio.Queue[Call]()
        self._answers: dict[int, asyncio.Future[Any]] = {}

    async def ask(self, worker: int, method: str, arguments: tuple[Any, ...], named: dict[str, Any]) -> Any:
        """For workers; see `Line`."""
        call = Call(next(self._numbers), worker, method, arguments, named)
        answer = self._answers[call.number] = asyncio.get_running_loop().create_future()
        self._calls.put_nowait(call)
        return await answer

    async def take(self) -> list[Call]:
        """For the driver: waits for new calls and returns them."""
        calls = [await self._calls.get()]
        while not self._calls.empty():
            calls.append(self._calls.get_nowait())
        return calls

    async def answer(self, number: int, value: Any, error: str | None) -> None:
        """For the driver: answers a call with a value or an error."""
        answer = self._answers.pop(number)
        if answer.done():  # The caller has given up.
            return
        if error is None:
            answer.set_result(value)
        else:
            answer.set_exception(BDCError(error))


class Service:
    """Answers the calls at a desk in the driver, while its block runs; the desk ends with the block.

    Args:
        desk: A `Desk`.
    """

    lost: asyncio.Task[None]
    """Raises `NodeLost` when the desk is gone."""

    def __init__(self, desk: Actor) -> None:
        self._desk = desk
        self._workers = count()
        self._methods: dict[int, Mapping[str, Method]] = {}
        self._serving: dict[asyncio.Task[None], Call] = {}

    def admit(self, methods: Mapping[str, Method]) -> Line:
        """Admits one more worker, which may call these methods."""
        line = Line(self._desk, next(self._workers))
        self._methods[line.worker] = methods
        return line

    async def dismiss(self, line: Line) -> None:
        """Refuses further calls of this worker, and finishes those that it has made."""
        del self._methods[line.worker]
        serving = {task: call for task, call in self._serving.items() if call.worker == line.worker}
        for task, call in serving.items():
            if call.method == WAITS:  # Nobody is there to use what it would reserve.
                task.cancel()
        await asyncio.gather(*serving, return_exceptions=True)

    async def __aenter__(self) -> Self:
        self.lost = asyncio.create_task(self._answer_all())
        return self

    async def __aexit__(self, *_: object) -> None:
        self.lost.cancel()
        await asyncio.gather(self.lost, *self._serving, return_exceptions=True)
        await self._desk.kill()

    async def _answer_all(self) -> None:
        while True:
            for call in await self._desk.call("take"):
                task = asyncio.create_task(self._serve(call))
                self._serving[task] = call
                task.add_done_callback(self._serving.pop)

    async def _serve(self, call: Call) -> None:
        value, reason = None, None
        try:
            # A worker behind a broken network may live on after it was given up; others do its work now.
            if call.worker not in self._methods:
                raise BDCError("the driver has given this worker up")
            value = await self._methods[call.worker][call.method](*call.arguments, **call.named)
        except Exception as error:
            log.debug("%s", call.method, exc_info=True)
            known = isinstance(error, BDCError | OSError)
            reason = str(error) if known else f"{type(error).__name__}: {error}"
        with suppress(NodeLost):  # `lost` reports it.
            await self._desk.call("answer", call.number, value, reason)
