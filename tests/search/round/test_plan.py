"""A round's plan: made once, kept in the state, and divided between the steps that run side by side."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from langgraph.runtime import Runtime

from bdc_agents.agents.protocol import Reply, Request
from bdc_agents.config import Budget, SearchConfig
from bdc_agents.search import asolve
from bdc_agents.search.policy.beliefs import Beliefs
from bdc_agents.search.round.budget import Account, Amount
from bdc_agents.search.round.clock import Clock
from bdc_agents.search.round.plan import Plan, shares, stored
from bdc_agents.search.round.round import Round
from bdc_agents.search.round.step import Step
from bdc_agents.testing import ScriptedAgent, ScriptedExecutor
from bdc_agents.types import Move, Node, Problem, Thought, Tree, Usage

from ..conftest import answer

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
        sides = (("boost", boost), ("expand", expand))
        for side, own in sides:
            assert found[side][name] >= used + getattr(own, name) - 1e-9  # type: ignore[index]
        spare = [found[side][name] - used - getattr(own, name) for side, own in sides]  # type: ignore[index]
        assert -1e-6 <= spare[0] - spare[1] <= (1e-6 if name == "money" else 1), "half for each"


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
    assert account.reserve(Usage(calls=5, prompt_tokens=100)) is (None if cap > 1 else "calls"), "made once"
    if cap > 1:
        account.settle(Usage(calls=5, prompt_tokens=100), Usage(calls=1, prompt_tokens=60))
        assert account.used == Amount(2, 67, 0.0)


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


MOVE = Move(kind="answer", agent="ann", node="0")


@pytest.mark.parametrize(
    ("part", "calls"),
    [
        ({"write": {"0": ("ann",)}}, True),
        ({"refine": {"0": "ann"}}, True),
        ({"expand": {"0": ("ann",)}}, True),
        ({"moves": (MOVE,)}, True),
        ({"rewrite": {"0": ("ann",)}}, False),
        ({"caps": {"boost": {"calls": 1.0}}}, False),
    ],
)
def test_a_plan_has_calls_where_any_part_of_it_asks_something(part: dict[str, Any], calls: bool) -> None:
    assert Plan(**part).calls is calls


def round_of(
    agents: list[ScriptedAgent],
    problem: Problem,
    left: int,
    tree: Tree,
    plan: Plan | None = None,
    **config: Any,
) -> Round:
    """A round of a search that has so many calls left."""
    state: Any = {"problem": problem.model_dump(mode="json"), "tree": tree.patches()}
    state |= {"plan": stored(plan or Plan())}
    state |= {"usage": {"ann": Usage(calls=50 - left).model_dump(mode="json")}}
    search, named = SearchConfig(policy="paper", **config), {agent.name: agent for agent in agents}
    return Round(
        Step(
            named,
            search,
            Budget(calls=50),
            Problem.model_validate,
            state,
            Runtime(context={}),
            Clock(),
            Beliefs(),
        )
    )


ANSWERED = Tree().with_nodes(Node(value=0.5, evaluations=1, visits=2))


async def test_where_no_thought_with_its_program_fits_one_more_answer_may(
    pair: list[ScriptedAgent], problem: Problem
) -> None:
    def planned(left: int, tree: Tree = ANSWERED, **config: Any) -> tuple[Plan, str | None]:
        return round_of(pair, problem, left, tree, bandit=1, **config).affordable([], [], ["0"])

    plan, cut = planned(2, resample=0.5)
    assert plan.expand
    assert not plan.write
    assert cut is None
    plan, cut = planned(1, resample=0.5)
    assert [*plan.write] == ["0"]
    assert not plan.expand
    assert cut is None
    plan, cut = planned(1, resample=0.0)
    assert (plan.calls, cut) == (False, "calls")
    unanswered = Tree().with_nodes(Node())
    plan, cut = planned(1, unanswered, resample=0.5)
    assert (plan.calls, cut) == (False, "calls"), "a root that was never answered is not answered again"
    plan, cut = planned(0, resample=0.5)
    assert (plan.calls, cut) == (False, "calls")


async def test_only_the_first_thoughts_need_room_for_a_program(
    pair: list[ScriptedAgent], problem: Problem
) -> None:
    """A program for one of them is enough, and none where programs are written beside them."""

    def planned(left: int, evaluating: Sequence[str] = ()) -> list[int]:
        tree = ANSWERED.with_nodes(
            *(
                Node(id=key, parent="0", thought=Thought(text=key, agent="ann"), value=value)
                for key, value in (("0.0", 0.2), ("0.1", None))
            )
        ).change("0", children=("0.0", "0.1"))
        plan, _ = round_of(pair, problem, left, tree, bandit=None).affordable(evaluating, [], ["0.0"])
        return [sum(map(len, part.values())) for part in (plan.write, plan.expand)]

    assert [planned(left) for left in (1, 2, 3, 4)] == [[1, 0], [0, 1], [0, 2], [0, 2]]
    assert [planned(left, ["0.1"]) for left in (1, 2, 3, 4)] == [[1, 0], [2, 0], [2, 1], [2, 2]]


async def test_the_shares_of_both_steps_are_in_the_plan_where_both_have_calls(
    pair: list[ScriptedAgent], problem: Problem
) -> None:
    tree = ANSWERED.with_nodes(Node(id="0.0", parent="0", thought=Thought(text="t", agent="ann"))).change(
        "0", children=("0.0",)
    )
    both, _ = round_of(pair, problem, 10, tree, bandit=1).plan(["0.0"], [], ["0"])
    assert both.caps == {"boost": {"calls": 45}, "expand": {"calls": 45}}
    for leaves in ((["0.0"], [], []), ([], [], ["0"])):
        one, _ = round_of(pair, problem, 10, tree, bandit=1).plan(*leaves)
        assert one.calls
        assert one.caps == {}


@pytest.mark.parametrize(("beside", "held"), [({}, 2), ({"write": {"0": ("ann",)}}, 1)])
async def test_beside_planned_thoughts_a_program_is_held_unless_one_is_written(
    beside: dict[str, Any], held: int, pair: list[ScriptedAgent], problem: Problem
) -> None:
    plan = Plan(expand={"0": ("bob",)}, **beside)
    found = round_of(pair, problem, 9, ANSWERED, plan, bandit=1)
    assert [(call.agent, call.purpose) for call in found.thinking()] == [("bob", "expand")]
    assert found.step.account.used.calls == 41 + held
    nothing = round_of(pair, problem, 9, ANSWERED, Plan(), bandit=1)
    assert nothing.thinking() == []
    assert nothing.step.account.used.calls == 41
