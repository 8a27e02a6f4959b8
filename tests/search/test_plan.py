"""A round's plan: made once, kept in the state, and divided between the steps that run side by side."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bdc_agents.agents.protocol import Reply, Request
from bdc_agents.config import Budget, SearchConfig
from bdc_agents.search import asolve
from bdc_agents.search.budget import Account, Amount
from bdc_agents.search.plan import Plan, shares, stored
from bdc_agents.testing import ScriptedAgent, ScriptedExecutor
from bdc_agents.types import Problem, Usage

from .conftest import answer

amounts = st.builds(Amount, st.integers(0, 50), st.integers(0, 10**6), st.floats(0, 10))


@given(before=amounts, boost=amounts, expand=amounts, more=amounts)
def test_the_shares_of_two_steps_are_the_whole(
    before: Amount, boost: Amount, expand: Amount, more: Amount
) -> None:
    caps = dict(before.plus(boost).plus(expand).plus(more)._asdict())
    found = shares(caps, before, boost, expand)
    for name, cap in caps.items():
        used = getattr(before, name)
        assert found["boost"][name] - used + found["expand"][name] == pytest.approx(cap)
        for side, own in (("boost", boost), ("expand", expand)):
            assert found[side][name] >= used + getattr(own, name) - 1e-9  # type: ignore[index]


@given(bounds=st.lists(st.integers(1, 9), max_size=20), cap=st.integers(1, 40))
def test_what_is_reserved_and_settled_leaves_nothing_behind(bounds: list[int], cap: int) -> None:
    account = Account({"calls": cap, "tokens": 10**6}, Usage(calls=1, prompt_tokens=7))
    held: list[tuple[Usage, int]] = []
    for tries in bounds:
        bound = Usage(calls=tries, prompt_tokens=100)
        if account.reserve(bound) is None:
            held.append((bound, 1 + account.reserve_tries(tries - 1)))
        assert account.used.calls <= max(cap, 1)
    for bound, tries in held:
        account.settle(bound, Usage(), tries)
    assert account.used == Amount(1, 7, 0.0)


def test_a_plan_is_stored_as_what_there_is_of_it() -> None:
    plan = Plan(write={"0.1": ("ann", "ann", "bob")}, caps={"boost": {"calls": 7}})
    assert stored(plan) == {"write": {"0.1": ["ann", "ann", "bob"]}, "caps": {"boost": {"calls": 7}}}
    assert Plan.model_validate(stored(plan)) == plan
    assert stored(Plan()) == {}


class Late(ScriptedAgent):
    """Answers some turns of the loop later, so that thoughts and programs overlap in every order."""

    async def reply(self, request: Request) -> Reply:
        for _ in range(request.seed % 7):
            await asyncio.sleep(0)
        return await super().reply(request)


@pytest.mark.parametrize("expand", ["lazy", "eager"])
async def test_merged_thoughts_and_second_programs_keep_the_cap_together(
    expand: Any, make_executor: Callable[..., ScriptedExecutor], problem: Problem
) -> None:
    merged = 0
    for seed in range(40):
        agents = [Late(name, lambda request, name=name: answer(name, request)) for name in ("ann", "bob")]
        budget = Budget(calls=8 + seed % 24)
        search = SearchConfig(
            merge=True,
            bandit=None,
            leaves=4,
            programs_per_agent=2,
            width=2,
            expand=expand,
            learn_from="all",
            seed=seed,
        )
        trace = await asolve(problem, agents, executor=make_executor(3), search=search, budget=budget)
        made = sum(len(agent.requests) for agent in agents)
        assert made == sum(usage.calls for usage in trace.solution.usage.values())
        assert made <= (budget.calls or 0)
        merged += sum("Several colleagues" in str(r.messages) for a in agents for r in a.requests)
    assert merged
