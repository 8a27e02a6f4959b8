"""Replies that are cut off: asked for again with more room, told, and never half a program run."""

from collections.abc import Callable
from io import StringIO
from typing import Any

import pytest
from rich.console import Console

from bdc_agents.agents.protocol import Reply, Request
from bdc_agents.config import Budget, SearchConfig
from bdc_agents.errors import AgentError
from bdc_agents.search import asolve
from bdc_agents.testing import ScriptedAgent, ScriptedExecutor
from bdc_agents.types import Problem, Trace, Usage
from bdc_agents.view.live import PlainView
from bdc_agents.view.rows import AgentsView

FENCE = "`" * 3
WHOLE = f"{FENCE}python\ndef double(x):\n    return 2 * x\n{FENCE}"
HALF = f"<think>Perhaps\n{FENCE}python\ndef double(x):\n    return x\n{FENCE}\nBut no"


class Limited(ScriptedAgent):
    """Needs so many tokens for a program, and takes as many as it is given, up to `most`."""

    def __init__(self, needs: int, most: int = 10**6, usual: int = 100, refuses: int = 10**9) -> None:
        super().__init__("ann", lambda _: WHOLE)
        self.needs, self.most, self.usual, self.refuses = needs, most, usual, refuses
        self.limits: list[int] = []

    def limit(self, request: Request) -> int:
        return min(self.most, request.max_tokens or self.usual)

    def bound(self, request: Request) -> Usage:
        return Usage(calls=1, prompt_tokens=50, completion_tokens=self.limit(request))

    async def reply(self, request: Request) -> Reply:
        limit = self.limit(request)
        self.limits.append(limit)
        if limit >= self.refuses:
            raise AgentError("ann", "max_tokens is too large", Usage(calls=1, failed=1))
        cut = limit < self.needs
        used = Usage(calls=1, prompt_tokens=50, completion_tokens=limit if cut else self.needs)
        return Reply(text=HALF if cut else WHOLE, usage=used, truncated=cut)


MakeExecutor = Callable[..., ScriptedExecutor]
ONCE = SearchConfig(rollouts=1)


async def search(problem: Problem, agent: Limited, make: MakeExecutor, **more: Any) -> Trace:
    return await asolve(problem, [agent], executor=make(0), **{"search": ONCE} | more)


async def test_a_reply_is_asked_for_once_more_with_more_room(
    problem: Problem, make_executor: MakeExecutor
) -> None:
    agent, events = Limited(needs=500), list[dict[str, Any]]()
    trace = await search(problem, agent, make_executor, on_event=events.append)
    assert agent.limits == [100, 8192]
    assert [one.code for one in trace.programs.values()] == ["def double(x):\n    return 2 * x"]
    used = trace.solution.usage["ann"]
    assert (used.calls, used.truncated, used.tokens) == (2, 1, 50 + 100 + 50 + 500)
    [event] = [event for event in events if event["type"] == "truncated"]
    assert event == {
        "type": "truncated",
        "agent": "ann",
        "purpose": "boost",
        "node": "0",
        "max_tokens": 100,
        "again": 8192,
    }
    assert trace.solution.notes == (
        "ann: 1 reply cut off at the token limit; a larger max_tokens leaves more room",
    )


async def test_what_an_agent_needs_is_remembered(problem: Problem, make_executor: MakeExecutor) -> None:
    agent = Limited(needs=500)
    await search(problem, agent, make_executor, search=SearchConfig(rollouts=4, resample=1.0))
    assert agent.limits == [100, 8192, 8192, 8192, 8192]


async def test_a_limit_that_holds_is_not_asked_to_grow(problem: Problem, make_executor: MakeExecutor) -> None:
    agent, events = Limited(needs=500, most=100), list[dict[str, Any]]()
    trace = await search(problem, agent, make_executor, on_event=events.append)
    assert agent.limits == [100]
    assert trace.programs == {}
    assert trace.nodes[0].attempts[0].program == ""
    assert [event["again"] for event in events if event["type"] == "truncated"] == [None]


async def test_whoever_watches_is_told_why_a_reply_holds_no_code_and_what_to_do(
    problem: Problem, make_executor: MakeExecutor
) -> None:
    lines: list[str] = []
    view = PlainView(problem, lines.append, None)
    console = Console(file=StringIO(), width=200)
    await search(problem, Limited(needs=500, most=100), make_executor, on_event=view.on_event)
    assert any(line.endswith("ann was cut off at its limit of 100 tokens") for line in lines)
    told = "ann programs (0): no code, as the reply was cut off at 100 tokens: give the agent a larger "
    assert any(line.endswith(f"{told}max_tokens") for line in lines), lines
    console.print(AgentsView(view.board))
    assert "1 cut off at 100 tokens, raise max_tokens" in console.file.getvalue()


async def test_where_more_room_helps_nothing_is_left_to_do(
    problem: Problem, make_executor: MakeExecutor
) -> None:
    lines: list[str] = []
    view = PlainView(problem, lines.append, None)
    await search(problem, Limited(needs=500), make_executor, on_event=view.on_event)
    assert any(line.endswith("100 tokens; asked again with 8,192") for line in lines)
    assert not any("no code" in line for line in lines)
    assert view.board.agents["ann"].short == {}


async def test_where_the_endpoint_refuses_more_room_the_first_reply_counts(
    problem: Problem, make_executor: MakeExecutor
) -> None:
    agent = Limited(needs=500, refuses=1000)
    trace = await search(problem, agent, make_executor, search=SearchConfig(rollouts=3, resample=1.0))
    assert agent.limits == [100, 8192] * 3
    assert trace.solution.set_aside == {}
    assert trace.solution.stopped_by == "rollouts"


@pytest.mark.parametrize(
    ("budget", "limits"),
    [
        (Budget(calls=1), [100]),
        (Budget(calls=2), [100, 8192]),
        (Budget(tokens=8000), [100]),
        (Budget(tokens=8400), [100, 8192]),
    ],
)
async def test_no_more_room_than_the_budget_has(
    budget: Budget, limits: list[int], problem: Problem, make_executor: MakeExecutor
) -> None:
    agent = Limited(needs=500)
    trace = await search(problem, agent, make_executor, budget=budget)
    assert agent.limits[: len(limits)] == limits
    used = trace.solution.usage["ann"]
    assert budget.calls is None or used.calls <= budget.calls
    assert budget.tokens is None or used.tokens <= budget.tokens
