"""What makes a search the search it is: everything that decides what it does, and nothing else."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bdc_agents.agents.protocol import Agent
from bdc_agents.config import Budget, SearchConfig
from bdc_agents.search.resume.origin import budget_of, differences, origin_of, raised, with_budget
from bdc_agents.testing import ScriptedAgent
from bdc_agents.types import CallTest, Problem

PROBLEM = Problem(statement="Double.", entry_point="f", difficulty="easy", tags=("maths",))
budgets = st.builds(
    Budget,
    calls=st.none() | st.integers(1, 99),
    tokens=st.none() | st.integers(1, 99),
    seconds=st.none() | st.floats(0.1, 99),
)


class Configured(ScriptedAgent):
    def __init__(self, name: str, **settings: Any) -> None:
        super().__init__(name, str)
        self.config = type("Settings", (), settings)()


def agents(*names: str, **settings: Any) -> dict[str, Agent]:
    return {name: Configured(name, **settings) for name in names}


ORIGIN = origin_of(PROBLEM, agents("ann", model="m", api_key="k"), SearchConfig(seed=3), Budget(calls=9))


def lines(problem: Problem = PROBLEM, search: SearchConfig | None = None, **settings: Any) -> list[str]:
    names = settings.pop("names", ("ann",))
    given = agents(*names, **({"model": "m", "api_key": "k"} | settings))
    now = origin_of(problem, given, search or SearchConfig(seed=3), Budget())
    return list(differences(ORIGIN, now))


def test_the_same_search_with_another_budget_key_or_label_is_the_same() -> None:
    assert lines() == lines(api_key="other") == []
    assert lines(PROBLEM.model_copy(update={"difficulty": "hard", "tags": ()})) == []
    assert ORIGIN["budget.calls"] == 9
    assert ORIGIN["search.seed"] == 3
    assert len(str(ORIGIN)) < 400, "it is in every checkpoint"


@pytest.mark.parametrize("name", ["model", "temperature", "max_tokens", "structured", "path"])
def test_what_shapes_an_agents_replies_makes_another_search(name: str) -> None:
    settings: dict[str, Any] = {name: "another"}
    assert lines(PROBLEM, None, **settings) == ["agents.ann: another one than in the search"]


def test_each_difference_is_told_in_a_line() -> None:
    other = PROBLEM.model_copy(update={"public_tests": (CallTest(call="f(1)", expected=("2",)),)})
    assert lines(other) == ["problem.public_tests: only now"]
    assert lines(PROBLEM.model_copy(update={"statement": "Halve."})) == [
        "problem.statement: another one than in the search"
    ]
    assert lines(names=("bob",)) == ["agents.ann: only in the search", "agents.bob: only now"]
    width = SearchConfig().width
    assert lines(search=SearchConfig(seed=3, width=width + 1)) == [
        f"search.width: {width} in the search, {width + 1} now"
    ]
    assert lines(search=SearchConfig()) == [f"search.seed: 3 in the search, {SearchConfig().seed} now"]


@given(budgets, budgets)
def test_a_budget_may_change_and_is_read_as_it_was(before: Budget, now: Budget) -> None:
    origin = origin_of(PROBLEM, agents("ann"), SearchConfig(), before)
    assert budget_of(origin) == before
    changed = with_budget(origin, now)
    assert budget_of(changed) == now
    assert list(differences(origin, changed)) == []
    assert {key for key in origin if not key.startswith("budget.")} <= changed.keys()


@given(budgets, budgets, st.sampled_from(["calls", "tokens", "money", "seconds", "solved", None]))
def test_a_cap_is_raised_where_it_ended_the_search_and_is_higher_or_gone(
    before: Budget, now: Budget, stopped_by: str | None
) -> None:
    then, cap = (getattr(budget, stopped_by or "", None) for budget in (before, now))
    assert raised(stopped_by, before, now) is (then is not None and (cap or 1e9) > then)
    assert not raised(stopped_by, before, before)
