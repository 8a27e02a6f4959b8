"""What a call reserves of a run's budget is given back, also where its search is cancelled meanwhile."""

import asyncio
from random import Random

import pytest

from bdc_agents.agents.protocol import Reply, Request
from bdc_agents.errors import AgentError
from bdc_agents.runs.collect.endpoints import BudgetSpent, MeteredAgent
from bdc_agents.testing import ScriptedAgent, run_simulated
from bdc_agents.types import Usage


class SlowPurse:
    """A purse of calls somewhere else: it reserves in the midst of a request that takes a while."""

    def __init__(self, cap: int = 10**6) -> None:
        self.cap, self.held, self.spent = cap, 0, 0

    async def reserve(self, bound: Usage) -> str | None:
        await asyncio.sleep(0.01)
        if self.held + self.spent + bound.calls > self.cap:
            return "calls"
        self.held += bound.calls
        # The answer is on its way: whoever is cancelled now does not hear of it.
        try:
            await asyncio.sleep(0.01)
        except asyncio.CancelledError:
            raise AssertionError("a request to a table cannot be taken back") from None
        return None

    async def settle(self, bound: Usage, used: Usage) -> None:
        await asyncio.sleep(0.01)
        self.held -= bound.calls
        self.spent += used.calls


class Slow(ScriptedAgent):
    tries = 1

    def bound(self, request: Request) -> Usage:
        return super().bound(request).model_copy(update={"calls": request.tries or self.tries})

    async def reply(self, request: Request) -> Reply:
        await asyncio.sleep(0.02)
        return await super().reply(request)


def test_a_call_that_is_cancelled_at_any_moment_leaves_nothing_reserved() -> None:
    async def run() -> SlowPurse:
        purse, random = SlowPurse(), Random(1)
        agent = MeteredAgent(Slow("ann", lambda _: "x"), slots=8, purse=purse)
        for _ in range(400):
            task = asyncio.create_task(agent.reply(Request(messages=())))
            await asyncio.sleep(random.uniform(0, 0.07))
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        await asyncio.sleep(1)
        return purse

    purse = run_simulated(run())
    assert purse.held == 0
    assert 0 < purse.spent < 400


@pytest.mark.parametrize(("cap", "tries"), [(4, None), (3, 1), (1, 1)])
def test_with_little_left_a_call_is_made_once(cap: int, tries: int | None) -> None:
    async def run() -> list[int | None]:
        agent = Slow("ann", lambda _: "x")
        agent.tries = 4
        await MeteredAgent(agent, slots=1, purse=SlowPurse(cap)).reply(Request(messages=()))
        return [request.tries for request in agent.requests]

    assert run_simulated(run()) == [tries]


def test_with_nothing_left_it_is_not_made() -> None:
    async def run() -> None:
        await MeteredAgent(Slow("ann", lambda _: "x"), slots=1, purse=SlowPurse(0)).reply(
            Request(messages=())
        )

    with pytest.raises(BudgetSpent):
        run_simulated(run())


def test_a_failed_call_settles_what_its_tries_took() -> None:
    class Failing(Slow):
        async def reply(self, request: Request) -> Reply:
            raise AgentError("ann", "empty", Usage(calls=3, failed=3))

    async def run() -> SlowPurse:
        purse = SlowPurse()
        agent = MeteredAgent(Failing("ann", str), slots=1, purse=purse)
        with pytest.raises(AgentError):
            await agent.reply(Request(messages=()))
        return purse

    purse = run_simulated(run())
    assert (purse.held, purse.spent) == (0, 3)
