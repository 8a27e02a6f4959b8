"""Counts that cannot be are corrected and told: of an endpoint, and of any agent."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bdc_agents.agents.usage import believed
from bdc_agents.types import Usage

HUGE = 10**30
LIMIT = 100


@pytest.mark.parametrize(
    ("told", "counted", "wrong"),
    [
        ((11, 3), (11, 3), 0),
        ((-1, 3), (10, 3), 1),
        ((11, -1), (11, 20), 1),
        ((-1, -1), (10, 20), 1),
        ((0, 0), (10, 20), 1),
        ((11, 0), (11, 20), 1),
        ((0, 3), (10, 3), 1),
        ((HUGE, 3), ("bound", 3), 1),
        ((11, HUGE), (11, LIMIT), 1),
        (None, (10, 20), 0),
    ],
)
async def test_an_endpoints_counts_are_held_to_what_can_be(
    endpoint, make_agent, ask, step, completion, told, counted, wrong
):
    endpoint.script(step(completion("x" * 80, usage=told)))
    agent, request = make_agent(max_tokens=LIMIT, price_input=1.0, price_output=1.0), ask("y" * 40)
    used, bound = (await agent.reply(request)).usage, agent.bound(request)
    prompt = bound.prompt_tokens if counted[0] == "bound" else counted[0]
    assert (used.prompt_tokens, used.completion_tokens) == (prompt, counted[1])
    assert (used.misreported, used.excess) == (wrong, 0)
    assert 0 < used.cost <= bound.cost


async def test_what_is_written_beyond_the_limit_is_counted_and_told(
    endpoint, make_agent, ask, step, completion
):
    endpoint.script(step(completion("word " * 400, usage=(11, 400))))
    used = (await make_agent(max_tokens=LIMIT).reply(ask())).usage
    assert (used.completion_tokens, used.excess, used.misreported) == (400, 300, 0)


async def test_a_long_text_without_counts_is_not_taken_to_be_within_the_limit(
    endpoint, make_agent, ask, step, completion
):
    endpoint.script(step(completion("x" * 4000, usage=None)), step(completion("x" * 480, usage=None)))
    agent = make_agent(max_tokens=LIMIT)
    assert (await agent.reply(ask())).usage.completion_tokens == 1000
    # A guess that is a little above the limit is a guess.
    assert (await agent.reply(ask())).usage.completion_tokens == LIMIT


BOUND = Usage(calls=3, prompt_tokens=500, completion_tokens=LIMIT, cost=0.01)
counts = st.one_of(st.integers(-10, 1000), st.sampled_from([-HUGE, HUGE]))


@given(
    calls=counts,
    prompt=counts,
    completion=counts,
    cost=st.one_of(st.none(), st.floats(), st.floats(0, 0.01)),
    text=st.text(max_size=400),
)
def test_no_agent_is_believed_more_than_its_bound(calls, prompt, completion, cost, text):
    # Not validated, as an agent of somebody else's may leave it.
    told = Usage.model_construct(
        **Usage().model_dump()
        | {"calls": calls, "prompt_tokens": prompt, "completion_tokens": completion, "cost": cost}
    )
    used = believed(told, BOUND, text)
    assert 1 <= used.calls <= BOUND.calls
    assert used.prompt_tokens >= 0
    assert 0 <= used.completion_tokens <= max(LIMIT, len(text.encode()))
    assert used.tokens <= BOUND.tokens + used.excess
    assert used.cost is None or (math.isfinite(used.cost) and used.cost >= 0)
    possible = (
        1 <= calls <= 3
        and prompt >= 0
        and 0 <= completion <= LIMIT
        and prompt + completion <= BOUND.tokens
        and (cost is None or 0 <= cost <= 0.01)
    )
    if possible:
        assert used == told
    if prompt < 0 or completion < 0 or HUGE in (prompt, completion):
        assert used.misreported


@pytest.mark.parametrize(
    "usage",
    [
        [1, 2],
        "many",
        {"prompt_tokens": "12", "completion_tokens": None},
        {"prompt_tokens": 1.5, "completion_tokens": 2.5},
        {"prompt_tokens": 9, "completion_tokens": 0, "prompt_tokens_details": "none"},
    ],
)
async def test_no_usage_of_whatever_form_costs_a_good_reply(
    endpoint, make_agent, ask, step, completion, usage
):
    body = completion("def f(): return 1", usage=None) | {"usage": usage}
    endpoint.script(step(body))
    reply = await make_agent().reply(ask())
    assert reply.text == "def f(): return 1"
    assert reply.usage.completion_tokens > 0
    assert reply.usage.misreported == 1


@pytest.mark.parametrize(
    "message",
    [
        {"content": "def f(): return 1"},
        {"role": None, "content": "def f(): return 1"},
        {"role": "assistant", "content": "def f(): return 1", "tool_calls": [{"function": None}]},
        {"role": "assistant", "content": "def f(): return 1", "function_call": "f"},
    ],
)
async def test_no_message_of_another_form_costs_a_good_reply(
    endpoint, make_agent, ask, step, completion, message
):
    body = completion("x")
    body["choices"][0]["message"] = message
    endpoint.script(step(body))
    assert (await make_agent().reply(ask())).text == "def f(): return 1"
