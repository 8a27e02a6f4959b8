"""What an agent said in which nothing was found stands in the trace, once for each call."""

import json
from collections.abc import Callable
from typing import Any

from bdc_agents.config import SearchConfig
from bdc_agents.search import asolve
from bdc_agents.testing import ScriptedAgent, ScriptedExecutor
from bdc_agents.types import Problem, Trace

REFUSAL = "I am sorry, but I cannot help with that."


async def test_a_reply_without_a_program_is_kept_with_the_reason(
    make_executor: Callable[..., ScriptedExecutor], problem: Problem
) -> None:
    mute = ScriptedAgent("mute", lambda _: REFUSAL)
    trace = await asolve(problem, [mute], executor=make_executor(), search=SearchConfig(rollouts=6))
    unread = [call for call in trace.calls if call.unread]
    assert len(unread) == trace.solution.usage["mute"].malformed == len(mute.requests)
    assert {call.said for call in unread} == {REFUSAL}
    assert any("no code block" in call.unread for call in unread if call.purpose == "boost")
    assert any("no JSON" in call.unread for call in unread if call.purpose == "expand")


async def test_what_was_read_is_not_kept(
    pair: Any, make_executor: Callable[..., ScriptedExecutor], problem: Problem
) -> None:
    trace = await asolve(problem, pair, executor=make_executor(), search=SearchConfig(rollouts=3))
    assert trace.calls
    assert not any(call.unread or call.said for call in trace.calls)


async def test_a_trace_from_before_the_field_loads(
    pair: Any, make_executor: Callable[..., ScriptedExecutor], problem: Problem
) -> None:
    trace = await asolve(problem, pair, executor=make_executor(), search=SearchConfig(rollouts=3))
    data = json.loads(trace.model_dump_json())
    for call in data["calls"]:
        del call["unread"], call["said"]
    assert Trace.model_validate(data) == trace
