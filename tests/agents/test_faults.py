"""Agents over a real client and a real server that fails in every way endpoints do."""

import asyncio
import time

import pytest

from bdc_agents.agents import chat
from bdc_agents.agents.chat import ChatAgent
from bdc_agents.agents.failures import how_long
from bdc_agents.agents.providers import chat_model
from bdc_agents.config import AgentConfig
from bdc_agents.errors import AgentError, ModelError

from .asking import asked_once, failing, reason_of

# --- failures that pass ---------------------------------------------------------------------

PASSING = [
    "timeout",
    "cut",
    "408",
    "409",
    "429",
    "500",
    "503",
    "null",
    "empty",
    "shape",
    "half",
    "told",
    "gzip",
]


def passing(kind, step, completion):
    return {
        "timeout": lambda: step(completion(), delay=0.9),
        "cut": lambda: step(completion(), cut=True),
        "half": lambda: step('{"choices": [{"mess'),
        "told": lambda: step({"error": {"message": "model not loaded"}}),
        "gzip": lambda: step(b"no gzip at all", headers={"Content-Encoding": "gzip"}),
        "null": lambda: step(completion(None)),
        "empty": lambda: step(completion(" \n")),
        "shape": lambda: step({"choices": []}),
    }.get(kind, lambda: failing(int(kind), step))()


@pytest.mark.parametrize("kind", PASSING)
async def test_a_passing_failure_is_tried_again(endpoint, make_agent, ask, step, completion, kind):
    endpoint.script(passing(kind, step, completion))
    reply = await make_agent(timeout=0.6 if kind == "timeout" else 5.0).reply(ask())
    assert reply.text == "hello"
    refused = kind.isdigit()  # Nobody worked on it; on all others an LLM may have.
    assert (reply.usage.calls, reply.usage.failed) == (1 if refused else 2, 1)
    assert len(endpoint.asked) == 2


async def test_an_empty_reply_is_tried_again_with_another_seed(endpoint, make_agent, ask, step, completion):
    endpoint.script(step(completion("")), step(completion("  ")))
    await make_agent().reply(ask(seed=5))
    seeds = [body["seed"] for body in endpoint.asked]
    assert seeds[0] == 5
    assert len(set(seeds)) == 3


@pytest.mark.parametrize("kind", PASSING)
async def test_a_request_takes_no_more_calls_than_it_may(endpoint, make_agent, ask, step, completion, kind):
    endpoint.default = lambda body: passing(kind, step, completion)
    agent, request = make_agent(timeout=0.1 if kind == "timeout" else 5.0), ask(tries=1)
    with pytest.raises(AgentError) as caught:
        await agent.reply(request)
    assert agent.bound(request).calls == 1
    assert len(endpoint.asked) == (3 if kind.isdigit() else 1)
    assert caught.value.usage.calls == (0 if kind.isdigit() else 1)


@pytest.mark.parametrize(
    ("status", "fields", "lasting"),
    [
        (401, {}, True),
        (403, {}, True),
        (404, {}, True),
        (400, {}, False),
        (422, {}, False),
        (400, {"code": "context_length_exceeded"}, False),
        (429, {"headers": {"Retry-After": "61"}}, False),
        (500, {}, False),
    ],
)
async def test_what_says_something_of_the_agent_lasts(
    endpoint, make_agent, ask, step, status, fields, lasting
):
    endpoint.default = lambda body: failing(status, step, **fields)
    with pytest.raises(AgentError) as caught:
        await make_agent(retries=0).reply(ask())
    assert caught.value.lasting is lasting


async def test_a_server_that_is_not_there_is_no_call(make_agent, ask):
    with pytest.raises(AgentError) as caught:
        await make_agent(base_url="http://127.0.0.1:9/v1").reply(ask())
    assert (caught.value.usage.calls, caught.value.usage.failed) == (0, 3)
    assert not caught.value.lasting


@pytest.mark.parametrize("kind", PASSING)
async def test_tries_end(endpoint, make_agent, ask, step, completion, kind):
    endpoint.script(*(passing(kind, step, completion) for _ in range(5)))
    reason = await reason_of(make_agent(timeout=0.1 if kind == "timeout" else 5.0), ask())
    assert "3 tries" in reason
    assert len(endpoint.asked) == 3


async def test_an_empty_reply_was_paid_for(endpoint, make_agent, ask, step, completion):
    endpoint.script(step(completion("", usage=(11, 0))))
    usage = (await make_agent(price_input=1.0, price_output=1.0).reply(ask())).usage
    assert (usage.prompt_tokens, usage.completion_tokens) == (22, 3)
    assert usage.cost == pytest.approx(25e-6)


async def test_retries_stay_within_the_bound(endpoint, make_agent, ask, step, completion):
    request = ask("x" * 400)
    agent = make_agent(retries=20, max_tokens=100)
    endpoint.default = lambda body: step(completion("", usage=(100, 50)))
    await reason_of(agent, request)
    bound = agent.bound(request)
    assert 1 < len(endpoint.asked) * 150 <= bound.tokens


async def test_the_server_says_how_long_to_wait(endpoint, make_agent, ask, step):
    endpoint.script(failing(429, step, headers={"Retry-After": "0.4"}))
    await make_agent().reply(ask())
    assert endpoint.times[1] - endpoint.times[0] >= 0.4


async def test_others_wait_too_when_the_server_asks_for_it(endpoint, make_agent, ask, step):
    agent = make_agent()
    endpoint.script(failing(429, step, headers={"retry-after-ms": "300"}))
    first = asyncio.create_task(agent.reply(ask("a")))
    await asked_once(endpoint)
    await asyncio.sleep(0.05)
    await asyncio.gather(first, agent.reply(ask("b")))
    assert min(endpoint.times[1:]) - endpoint.times[0] >= 0.3


async def test_a_wait_is_told_once_with_its_agent(endpoint, make_agent, ask, step, caplog, monkeypatch):
    monkeypatch.setattr(chat, "_TOLD_WAIT", 0.2)
    agent = make_agent()
    endpoint.default = lambda _: failing(429, step, headers={"Retry-After": "0.3"})
    await asyncio.gather(*(reason_of(agent, ask(text)) for text in "abc"), return_exceptions=True)
    told = [record.getMessage() for record in caplog.records if "asks to wait" in record.getMessage()]
    assert told[0] == f"agent {agent.name!r}: its endpoint asks to wait 1 s (429)"
    assert len(told) < len(endpoint.asked) / 2


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.2, "1 s"),
        (61, "61 s"),
        (91, "2 min"),
        (3600, "1 h"),
        (12_000, "3 h 20 min"),
        (172_801, "3 days"),
        (1e300, "more than a year"),
    ],
)
def test_a_wait_is_told_in_words(seconds, words):
    assert how_long(seconds) == words


async def test_nobody_waits_for_an_hour(endpoint, make_agent, ask, step):
    endpoint.script(failing(429, step, headers={"Retry-After": "3600"}))
    started = time.monotonic()
    reason = await reason_of(make_agent(), ask())
    assert "rate limit" in reason
    assert "it asks to wait 1 h: try again then, or use another agent" in reason
    assert time.monotonic() - started < 300
    assert len(endpoint.asked) == 1


# --- failures that stay, and what they say --------------------------------------------------


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (400, ["refused the request", "it broke"]),
        (401, ["refused the API key", "SMALL_KEY"]),
        (403, ["denied access", "SMALL_KEY"]),
        (404, ["no model 'fake'", "/v1"]),
        (422, ["refused the request"]),
    ],
)
async def test_a_lasting_failure_is_not_tried_again(
    endpoint, make_agent, ask, step, monkeypatch, status, words
):
    monkeypatch.setenv("SMALL_KEY", "sk-secret-12345")
    endpoint.script(failing(status, step))
    reason = await reason_of(make_agent(api_key_env="SMALL_KEY"), ask())
    assert all(word in reason for word in [*words, str(status), "127.0.0.1"])
    assert len(endpoint.asked) == 1


async def test_where_no_key_was_sent_it_is_said_how_to_send_one(endpoint, make_agent, ask, step):
    endpoint.script(failing(401, step))
    assert "name that by api_key_env" in await reason_of(make_agent(), ask())


async def test_an_empty_account_is_not_tried_again(endpoint, make_agent, ask, step):
    endpoint.script(failing(429, step, code="insufficient_quota"))
    assert "no quota left" in await reason_of(make_agent(), ask())
    assert len(endpoint.asked) == 1


async def test_an_unreachable_server_is_named(make_agent, ask):
    reason = await reason_of(make_agent(base_url="http://user:password@127.0.0.1:9/v1"), ask())
    assert "cannot reach http://127.0.0.1:9/v1" in reason
    assert "is a server running there?" in reason
    assert "password" not in reason


async def test_a_time_out_names_the_limit(endpoint, make_agent, ask, step, completion):
    endpoint.default = lambda body: step(completion(), delay=0.3)
    assert "no answer within 0.1 s" in await reason_of(make_agent(timeout=0.1, retries=0), ask())


@pytest.mark.parametrize("before", ["wrong key", "x" * 190])
async def test_keys_are_not_shown(endpoint, make_agent, ask, step, monkeypatch, caplog, before):
    key = "sk-very-secret-98765"
    monkeypatch.setenv("SMALL_KEY", key)
    agent = make_agent(api_key_env="SMALL_KEY")
    endpoint.script(failing(401, step, f"{before} {key}"))
    with pytest.raises(AgentError) as caught:
        await agent.reply(ask())
    assert any(key in str(headers) for headers in endpoint.headers)
    shown = [str(caught.value), repr(caught.value), repr(agent), repr(agent.config), caplog.text]
    assert not any(key[:9] in text for text in shown)
    assert caught.value.__suppress_context__


async def test_our_own_errors_pass_through(endpoint, ask):
    async def no_weights():
        raise ModelError("no weights")

    config = AgentConfig(model="fake", base_url=endpoint.url)
    agent = ChatAgent("a", chat_model("a", config), config, prepare=no_weights)
    with pytest.raises(ModelError, match="no weights"):
        await agent.reply(ask())


async def test_preparing_is_outside_the_time_limit(endpoint, ask):
    config = AgentConfig(model="fake", base_url=endpoint.url, timeout=0.6, retries=0)
    agent = ChatAgent("a", chat_model("a", config), config, prepare=lambda: asyncio.sleep(0.8))
    assert (await agent.reply(ask())).text == "hello"
    await agent.aclose()
