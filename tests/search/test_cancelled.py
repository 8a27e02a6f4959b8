"""A search whose caller is cancelled as anyio, and so MCP, does it: again in each turn of the loop."""

import asyncio

import anyio
import pytest

from bdc_agents.agents.protocol import Reply, Request
from bdc_agents.data import problem_from_statement
from bdc_agents.search import asolve
from bdc_agents.sync import cancelled_once
from bdc_agents.testing import ScriptedAgent, ScriptedExecutor

PROBLEM = problem_from_statement("Write double(n).", ["assert double(2) == 4"])


class Waiting(ScriptedAgent):
    """Never answers; knows how many of its calls are in flight."""

    def __init__(self) -> None:
        super().__init__("waiting", lambda _: "")
        self.flying, self.began = 0, asyncio.Event()

    async def reply(self, request: Request) -> Reply:
        self.flying += 1
        self.began.set()
        try:
            await asyncio.sleep(600)
        finally:
            self.flying -= 1
        raise AssertionError


async def test_no_agent_is_asked_on_when_the_scope_of_the_caller_is_cancelled() -> None:
    agent = Waiting()
    async with anyio.create_task_group() as group:
        group.start_soon(lambda: asolve(PROBLEM, [agent], executor=ScriptedExecutor(lambda _: 0.0)))
        await agent.began.wait()
        group.cancel_scope.cancel()
    assert agent.flying == 0


async def test_what_is_cancelled_has_ended_when_the_caller_goes_on() -> None:
    told: list[str] = []

    async def work() -> None:
        try:
            await asyncio.sleep(600)
        except asyncio.CancelledError:
            told.append("cancelled")
            await asyncio.sleep(0.05)
            told.append("ended")
            raise

    with anyio.move_on_after(0.05):
        await cancelled_once(work())
    assert told == ["cancelled", "ended"], "once, and not in the midst of ending"


async def test_results_and_errors_pass_through() -> None:
    async def work(fails: bool) -> int:
        await asyncio.sleep(0)
        if fails:
            raise ValueError("no")
        return 3

    assert await cancelled_once(work(False)) == 3
    with pytest.raises(ValueError, match="no"):
        await cancelled_once(work(True))
