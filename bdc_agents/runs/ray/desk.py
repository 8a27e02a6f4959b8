"""How the workers of a run call the driver, the process that runs the command.

Ray lets every process call an actor, and none call a driver; its way out is an actor that coordinates.
Here that actor is thin: the desk passes the workers' calls on, and the driver answers them. The job
table, the results and the replies stay in the driver, since an actor has the user and the environment of
`ray start` and not those of the command: it may not be allowed to write the folder, does not know where
the user's cache is, and would have to be sent the password of a Postgres table. The folder's lock, the
signals and the progress view cannot leave the driver at all.

The desk lives on the driver's node, so that no other node takes it along.
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
"""The method that may wait for what other workers do."""


class NodeLost(Exception):
    """A node or a process on it has vanished."""


class Actor(Protocol):
    """An object in a process of its own, perhaps on another machine; pickled, it is still the same one."""

    async def call(self, method: str, *arguments: Any) -> Any:
        """Calls a method.

        Raises:
            NodeLost: If its process is gone.
            Exception: What the method raises.
        """
        ...

    async def kill(self) -> None:
        """Ends its process; one that is gone is no error."""
        ...


@dataclass(frozen=True)
class Line:
    """What a worker calls the driver with.

    Args:
        desk: A `Desk`.
        worker: Who calls.
    """

    desk: Actor
    worker: int

    async def ask(self, method: str, *arguments: Any, **named: Any) -> Any:
        """Calls a method of the driver.

        Raises:
            BDCError: If it raised there.
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
        """For the driver: the calls that are new, as soon as there is one."""
        calls = [await self._calls.get()]
        while not self._calls.empty():
            calls.append(self._calls.get_nowait())
        return calls

    async def answer(self, number: int, value: Any, error: str | None) -> None:
        """For the driver: answers a call by a value, or by why there is none."""
        answer = self._answers.pop(number)
        if answer.done():  # who asked has given up
            return
        if error is None:
            answer.set_result(value)
        else:
            answer.set_exception(BDCError(error))


class Service:
    """Answers in the driver what workers ask at a desk, while its block runs; the desk ends with it.

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
        """Lets one more worker call these methods."""
        line = Line(self._desk, next(self._workers))
        self._methods[line.worker] = methods
        return line

    async def dismiss(self, line: Line) -> None:
        """Refuses what this worker calls from now on, and finishes what it has called."""
        del self._methods[line.worker]
        serving = {task: call for task, call in self._serving.items() if call.worker == line.worker}
        for task, call in serving.items():
            if call.method == WAITS:  # on behalf of nobody now
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
            # A worker that was taken for lost may live on behind a broken network: others do its work now.
            if call.worker not in self._methods:
                raise BDCError("the driver has taken this worker for lost")
            value = await self._methods[call.worker][call.method](*call.arguments, **call.named)
        except Exception as error:
            log.debug("%s", call.method, exc_info=True)
            known = isinstance(error, BDCError | OSError)
            reason = str(error) if known else f"{type(error).__name__}: {error}"
        with suppress(NodeLost):  # `lost` tells
            await self._desk.call("answer", call.number, value, reason)
