"""Caps are exact, however many searches share the agents and whoever answers first."""

import asyncio
import os
from collections import Counter
from collections.abc import Callable
from random import Random
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bdc_agents.agents.protocol import Reply, Request
from bdc_agents.config import Budget, SearchConfig
from bdc_agents.errors import AgentError, ConfigError
from bdc_agents.search import asolve
from bdc_agents.search.round.calls import Answer, Call, settle
from bdc_agents.testing import ScriptedAgent, ScriptedExecutor
from bdc_agents.types import Problem, Trace, Usage

from ..variants import VARIANTS, config_of

MakeAgent = Callable[..., ScriptedAgent]
MakeExecutor = Callable[..., ScriptedExecutor]
# A thousand take a minute: BDC_TEST_EXHAUSTIVE=1.
RUNS, AT_ONCE = 1000 if os.environ.get("BDC_TEST_EXHAUSTIVE") else 250, 50
PRICE = 0.01


class Unsteady(ScriptedAgent):
    """Answers after a few turns of the loop, at any length, and fails now and then."""

    async def reply(self, request: Request) -> Reply:
        for _ in range(request.seed % 4):
            await asyncio.sleep(0)
        if request.seed % 97 == 0:
            raise AgentError(self.name, "gone")
        return await super().reply(request)


def random_case(random: Random) -> tuple[SearchConfig, Budget]:
    def maybe(value: float) -> float | None:
        return value if random.random() < 0.5 else None

    search = SearchConfig(
        rollouts=random.randint(1, 4),
        leaves=random.choice([1, 2, 8]),
        width=random.randint(1, 3),
        programs_per_agent=random.randint(1, 3),
        expand=random.choice(["lazy", "eager"]),
        merge=random.random() < 0.3,
        judge=random.random() < 0.3,
        bandit=random.choice([None, 1]),
        seed=random.randrange(10**6),
    )
    calls, tokens, money = random.randint(1, 25), random.randint(1, 40_000), random.uniform(0.005, 0.25)
    return search, Budget(calls=maybe(calls), tokens=maybe(tokens), money=maybe(money))  # type: ignore[arg-type]


def passed_caps(trace: Trace, budget: Budget) -> list[str]:
    used = list(trace.solution.usage.values())
    spent = {
        "calls": sum(u.calls for u in used),
        "tokens": sum(u.tokens for u in used),
        "money": sum(u.cost or 0 for u in used) - 1e-9,
    }
    return [name for name, amount in spent.items() if (cap := getattr(budget, name)) and amount > cap]


@pytest.mark.slow
async def test_hundreds_of_concurrent_searches_keep_to_their_caps(
    make_agent: Callable[..., ScriptedAgent], make_executor: Callable[..., ScriptedExecutor], problem: Problem
) -> None:
    agents = [Unsteady(name, make_agent(name).respond, price=PRICE) for name in ("ann", "bob")]
    executor, random = make_executor(4), Random(7)
    cases = [random_case(random) for _ in range(RUNS)]
    stopped: Counter[str] = Counter()
    for start in range(0, RUNS, AT_ONCE):
        batch = cases[start : start + AT_ONCE]
        traces = await asyncio.gather(
            *(asolve(problem, agents, executor=executor, search=s, budget=b) for s, b in batch)
        )
        for trace, (search, budget) in zip(traces, batch, strict=True):
            assert not passed_caps(trace, budget), (search, budget)
            stopped[trace.solution.stopped_by] += 1
    assert {"calls", "tokens", "money", "rollouts", "solved"} <= stopped.keys()


def test_what_failed_attempts_took_is_settled() -> None:
    call = Call(agent="ann", purpose="boost", node="0", request=Request(messages=()))
    used = Usage(failed=3, prompt_tokens=30, completion_tokens=7, cost=0.5)
    answer = Answer(call=call, error="gone", usage=used)
    assert settle([answer, answer]) == {"ann": (used + used).model_dump()}
    assert Answer(call=call, error="gone").usage == Usage(calls=1, failed=1)


@pytest.mark.parametrize("agents", [1, 2])
async def test_an_unsolved_search_uses_its_calls_to_the_last(
    pair: list[ScriptedAgent], make_executor: Callable[..., ScriptedExecutor], problem: Problem, agents: int
) -> None:
    """Where a thought and its program are too much for what is left, a direct answer is not."""
    search, executor = SearchConfig(rollouts=1000), make_executor(0)
    for calls in range(1, 25):
        trace = await asolve(
            problem, pair[:agents], executor=executor, search=search, budget=Budget(calls=calls)
        )
        assert trace.solution.stopped_by == "calls"
        assert sum(usage.calls for usage in trace.solution.usage.values()) == calls


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    calls=st.none() | st.integers(1, 40),
    tokens=st.none() | st.integers(1, 60_000),
    money=st.none() | st.floats(0.001, 0.4),
    name=st.sampled_from([*VARIANTS]),
)
async def test_no_cap_is_ever_passed(
    calls: int | None,
    tokens: int | None,
    money: float | None,
    name: str,
    make_agent: MakeAgent,
    make_executor: MakeExecutor,
    problem: Problem,
) -> None:
    agents = [ScriptedAgent(n, make_agent(n).respond, price=0.01) for n in ("ann", "bob")]
    budget = Budget(calls=calls, tokens=tokens, money=money)
    trace = await asolve(problem, agents, executor=make_executor(), search=config_of(name), budget=budget)
    used = list(trace.solution.usage.values())
    assert calls is None or sum(u.calls for u in used) <= calls
    assert tokens is None or sum(u.tokens for u in used) <= tokens
    assert money is None or sum(u.cost or 0 for u in used) <= money + 1e-9
    caps = {cap for cap in ("calls", "tokens", "money") if getattr(budget, cap)}
    assert trace.solution.stopped_by in caps | {"rollouts", "exhausted"}


async def test_a_cap_on_seconds_ends_the_search_in_time(
    problem: Problem, make_executor: MakeExecutor
) -> None:
    class Stuck(ScriptedAgent):
        async def reply(self, request: Request) -> Any:
            await asyncio.sleep(60)

    loop = asyncio.get_running_loop()
    before = loop.time()
    trace = await asolve(
        problem, [Stuck("ann", lambda _: "")], executor=make_executor(), budget=Budget(seconds=0.2)
    )
    assert loop.time() - before < 2
    assert trace.solution.stopped_by == "seconds"


async def test_a_cap_on_money_needs_prices(problem: Problem, make_executor: MakeExecutor) -> None:
    agents = [ScriptedAgent("ann", lambda _: "", price=None)]
    with pytest.raises(ConfigError, match="price_input"):
        await asolve(problem, agents, executor=make_executor(), budget=Budget(money=1))
