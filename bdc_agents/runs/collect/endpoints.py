"""The agents of a run as endpoints with slots: they queue calls, measure load and keep the budget."""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from time import monotonic
from typing import Protocol

from bdc_agents.agents.load import distinct
from bdc_agents.agents.protocol import Agent, Reply, Request
from bdc_agents.agents.usage import of_failed
from bdc_agents.config import AgentConfig, Budget, Settings
from bdc_agents.errors import BDCError
from bdc_agents.search.round.budget import check_prices
from bdc_agents.types import Frozen, Usage

LOCAL_SLOTS = 4
"""Slots of a local model whose options name none; the default of `ServerOptions`."""


class BudgetSpent(Exception):
    """The run's budget has no room for a call; ends the search that asked for it."""

    def __init__(self, cap: str) -> None:
        super().__init__(f"the run's budget of {cap} is spent")
        self.cap = cap


class Purse(Protocol):
    """Keeps the budget of a run: each call is reserved, made and settled."""

    async def reserve(self, bound: Usage) -> str | None:
        """Reserves the most that a call can take; returns the cap that leaves no room, or None."""
        ...

    async def settle(self, bound: Usage, used: Usage) -> None:
        """Replaces the reservation by the real use."""
        ...


class Load(Frozen):
    """The load of one endpoint at a moment, and its use so far.

    Args:
        slots: Requests it answers at once.
        in_flight, waiting: Requests that have a slot, and that wait for one.
        busy: Slot seconds in use since its first request.
        seconds: Time since its first request.
        usage: Usage of its answered calls.
        cut_off: Calls that were given up while they were made; the endpoint may charge them all the same.
    """

    slots: int
    in_flight: int = 0
    waiting: int = 0
    busy: float = 0.0
    seconds: float = 0.0
    usage: Usage = Usage()
    cut_off: int = 0

    @property
    def made(self) -> int:
        """Calls that were made, or are under way: what came from the cache was not."""
        return self.usage.calls - self.usage.cached + self.cut_off + self.in_flight

    @property
    def share(self) -> float:
        """Slot seconds in use over all slot seconds, in [0, 1]."""
        return min(1.0, self.busy / (self.slots * self.seconds)) if self.seconds else 0.0

    def __add__(self, other: "Load") -> "Load":
        """The endpoints of two machines, or two agents, together."""
        return Load(
            slots=self.slots + other.slots,
            in_flight=self.in_flight + other.in_flight,
            waiting=self.waiting + other.waiting,
            busy=self.busy + other.busy,
            seconds=max(self.seconds, other.seconds),
            usage=self.usage + other.usage,
            cut_off=self.cut_off + other.cut_off,
        )


@dataclass
class _Tally:
    """Slot seconds, added up whenever the number of requests in flight changes."""

    clock: Callable[[], float]
    in_flight: int = 0
    busy: float = 0.0
    first: float | None = None
    changed: float = 0.0

    def change(self, by: int) -> None:
        now = self.clock()
        if self.first is None and by > 0:
            self.first = now
        self.busy += self.in_flight * (now - self.changed)
        self.changed, self.in_flight = now, self.in_flight + by


@dataclass
class MeteredAgent:
    """An agent as one endpoint of a run: measures its load and keeps the run's budget.

    Args:
        agent: Who answers.
        slots: Requests it answers at once; more wait here in the order they came.
        purse: Reserves each call before it is made; None for no budget.
        clock: Monotonic clock in seconds.
    """

    agent: Agent
    slots: int
    purse: Purse | None = None
    clock: Callable[[], float] = monotonic
    waiting: int = 0
    usage: Usage = field(default_factory=Usage)
    cut_off: int = 0

    def __post_init__(self) -> None:
        self._gate = asyncio.Semaphore(self.slots)
        self._tally = _Tally(self.clock)
        self._giving_back: set[asyncio.Task[None]] = set()

    @property
    def name(self) -> str:
        """Its name in the configuration."""
        return self.agent.name

    @property
    def demand(self) -> int:
        """Requests in flight or waiting."""
        return self._tally.in_flight + self.waiting

    def bound(self, request: Request) -> Usage:
        """The most that this call can take."""
        return self.agent.bound(request)

    def load(self) -> Load:
        """Its load now, and its use so far."""
        self._tally.change(0)
        since = self._tally.first
        return Load(
            slots=self.slots,
            in_flight=self._tally.in_flight,
            waiting=self.waiting,
            busy=self._tally.busy,
            seconds=0.0 if since is None else self.clock() - since,
            usage=self.usage,
            cut_off=self.cut_off,
        )

    async def reply(self, request: Request) -> Reply:
        """Answers one request when a slot is free.

        Raises:
            AgentError: If it did not answer after its retries.
            BudgetSpent: If the run's budget has no room for the call.
        """
        self.waiting += 1
        try:
            await self._gate.acquire()
        finally:
            self.waiting -= 1
        self._tally.change(+1)
        try:
            return await self._reserved(request)
        finally:
            self._tally.change(-1)
            self._gate.release()

    async def _reserved(self, request: Request) -> Reply:
        if self.purse is None:
            return await self._counted(request)
        bound = self.bound(request)
        cap = await self._reserve(self.purse, bound)
        if cap and bound.calls > 1:
            # The bound covers retries. One try alone may still fit.
            request = request.model_copy(update={"tries": 1})
            bound = self.bound(request)
            cap = await self._reserve(self.purse, bound)
        if cap:
            raise BudgetSpent(cap)
        # A cancelled call may still be answered and charged, so its whole bound counts as spent.
        used = bound
        try:
            reply = await self._counted(request)
            used = reply.usage
            return reply
        except BDCError as error:
            used = of_failed(error)
            raise
        finally:
            await asyncio.shield(self.purse.settle(bound, used))

    async def _reserve(self, purse: Purse, bound: Usage) -> str | None:
        """Reserves a call's bound; gives it back if the caller is cancelled meanwhile."""
        reserving = asyncio.ensure_future(purse.reserve(bound))
        try:
            return await asyncio.shield(reserving)
        except asyncio.CancelledError:
            task = asyncio.ensure_future(self._give_back(purse, reserving, bound))
            self._giving_back.add(task)
            task.add_done_callback(self._giving_back.discard)
            raise

    async def _give_back(self, purse: Purse, reserving: "asyncio.Future[str | None]", bound: Usage) -> None:
        with suppress(Exception):  # A reservation that failed holds nothing.
            if await reserving is None:
                await purse.settle(bound, Usage())

    async def _counted(self, request: Request) -> Reply:
        try:
            reply = await self.agent.reply(request)
        except asyncio.CancelledError:
            self.cut_off += 1
            raise
        except BDCError as error:
            self.usage += of_failed(error)
            raise
        self.usage += reply.usage
        return reply

    async def aclose(self) -> None:
        """Frees what the agent holds."""
        await self.agent.aclose()


def metered(
    agents: Sequence[Agent],
    settings: Settings,
    names: Sequence[str],
    purse: Purse | None = None,
    budget: Budget | None = None,
) -> list[MeteredAgent]:
    """The agents as the endpoints of a run.

    Args:
        agents: Agents of `load_agents` or of the caller.
        settings, names: What they were loaded from.
        purse: Keeps the run's budget.
        budget: Budget of the run.

    Raises:
        ConfigError: If the budget caps money and an agent's price is not known.
    """
    nothing = Request(messages=())
    check_prices(budget or Budget(), ((agent.name, agent.bound(nothing)) for agent in agents))
    configs = {fresh: settings.agent(name) for name, fresh in zip(names, distinct(names), strict=True)}
    return [
        MeteredAgent(agent, slots_of(configs.get(agent.name) or AgentConfig(model=agent.name)), purse)
        for agent in agents
    ]


def slots_of(config: AgentConfig) -> int:
    """Requests that an agent's endpoint answers at once."""
    if not config.model.startswith("local:") or config.base_url:
        return config.concurrency
    slots = config.options.get("slots", LOCAL_SLOTS)
    return min(config.concurrency, slots) if isinstance(slots, int) else config.concurrency
