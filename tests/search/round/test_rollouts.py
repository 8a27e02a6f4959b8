"""What ends a search: the budget where there is one, rollouts where they are set, 16 where nothing is."""

from collections.abc import Callable

import pytest

from bdc_agents.config import PRESETS, Budget, SearchConfig
from bdc_agents.search import asolve
from bdc_agents.search.round.budget import ROLLOUTS, ROLLOUTS_AT_MOST, rollouts_at_most
from bdc_agents.testing import ScriptedAgent, ScriptedExecutor
from bdc_agents.types import Problem

MakeExecutor = Callable[..., ScriptedExecutor]
ANY, FIVE = SearchConfig(), SearchConfig(rollouts=5)


@pytest.mark.parametrize(
    ("search", "budget", "free", "most"),
    [
        (ANY, Budget(), False, ROLLOUTS),
        (ANY, Budget(calls=40), False, None),
        (ANY, Budget(tokens=40), False, None),
        (ANY, Budget(money=1), False, ROLLOUTS_AT_MOST),
        (ANY, Budget(money=1), True, ROLLOUTS),
        (ANY, Budget(seconds=9), True, ROLLOUTS_AT_MOST),
        (ANY, Budget(seconds=9, calls=4), True, None),
        (FIVE, Budget(), False, 5),
        (FIVE, Budget(calls=40), False, 5),
        (SearchConfig.preset("paper"), Budget(calls=400), False, 16),
    ],
)
def test_the_default_gives_way_to_a_budget(
    search: SearchConfig, budget: Budget, free: bool, most: int | None
) -> None:
    assert rollouts_at_most(search, budget, free=free) == most


@pytest.mark.parametrize("budget", [Budget(calls=40), Budget(tokens=40_000), Budget(money=0.4)])
async def test_a_budget_alone_is_used_to_its_end(
    budget: Budget, pair: list[ScriptedAgent], make_executor: MakeExecutor, problem: Problem
) -> None:
    for agent in pair:
        agent.price = 0.01
    trace = await asolve(problem, pair, executor=make_executor(0), budget=budget)
    assert trace.solution.stopped_by in ("calls", "tokens", "money")
    assert trace.solution.tree.rollouts > ROLLOUTS


@pytest.mark.parametrize("name", PRESETS)
async def test_without_a_budget_sixteen_leaves_are_evaluated(
    name: str, pair: list[ScriptedAgent], make_executor: MakeExecutor, problem: Problem
) -> None:
    search = SearchConfig.preset(name)
    trace = await asolve(problem, pair, executor=make_executor(0), search=search)
    assert trace.solution.stopped_by == "rollouts"
    assert trace.solution.tree.rollouts == ROLLOUTS


async def test_explicit_rollouts_hold_beside_a_budget(
    pair: list[ScriptedAgent], make_executor: MakeExecutor, problem: Problem
) -> None:
    trace = await asolve(problem, pair, executor=make_executor(0), search=FIVE, budget=Budget(calls=400))
    assert (trace.solution.stopped_by, trace.solution.tree.rollouts) == ("rollouts", 5)
