"""How many calls are in flight and how often they start, whoever cancels and in whatever loop."""

import asyncio
import time
from itertools import pairwise

import pytest

from bdc_agents.agents.chat import ChatAgent
from bdc_agents.agents.limits import Pace
from bdc_agents.agents.providers import chat_model
from bdc_agents.config import AgentConfig

from .asking import asked_once


@pytest.mark.parametrize("limit", [1, 3])
async def test_the_concurrency_limit_is_never_passed(endpoint, make_agent, ask, step, completion, limit):
    endpoint.default = lambda body: step(completion(), delay=0.05)
    agent = make_agent(concurrency=limit)
    await asyncio.gather(*(agent.reply(ask(str(n))) for n in range(12)))
    assert endpoint.most_in_flight == limit


async def test_calls_are_spaced_out():
    pace, starts = Pace(per_second=50), []

    async def call():
        await pace.turn()
        starts.append(time.monotonic())

    await asyncio.gather(*(call() for _ in range(6)))
    assert all(later - sooner >= 0.018 for sooner, later in pairwise(starts))


async def test_an_agent_keeps_its_rate(endpoint, make_agent, ask):
    agent = make_agent(requests_per_second=20)
    await asyncio.gather(*(agent.reply(ask(str(n))) for n in range(6)))
    assert endpoint.times[-1] - endpoint.times[1] >= 4 / 20 * 0.7


async def test_a_cancelled_call_gives_its_place_back(endpoint, make_agent, ask, step, completion):
    endpoint.script(step(completion(), delay=0.5))
    agent = make_agent(concurrency=1)
    task = asyncio.create_task(agent.reply(ask("slow")))
    await asked_once(endpoint)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (await agent.reply(ask("next"))).text == "hello"


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.usefixtures("swept")
def test_one_agent_serves_several_loops_one_after_another(endpoint, ask):
    config = AgentConfig(model="fake", base_url=endpoint.url, concurrency=1, retries=0)
    agent = ChatAgent("a", chat_model("a", config), config)

    async def use():
        replies = await asyncio.gather(*(agent.reply(ask(str(n))) for n in range(4)))
        return [reply.text for reply in replies]

    for _ in range(3):
        assert asyncio.run(use()) == ["hello"] * 4
    asyncio.run(agent.aclose())
