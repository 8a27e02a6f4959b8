"""Agents over a real client and a real server: one call, what it asks for, and what it may take at most."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from langchain_core.language_models import FakeListChatModel
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage

from bdc_agents.agents.chat import ChatAgent
from bdc_agents.agents.protocol import Agent, Request
from bdc_agents.config import AgentConfig
from bdc_agents.errors import ConfigError
from bdc_agents.types import Usage

from .asking import SCHEMA, failing, reason_of

# --- one call -------------------------------------------------------------------------------


async def test_a_reply_and_what_was_sent(endpoint, make_agent, ask):
    agent = make_agent(max_tokens=99, price_input=1.0, price_output=10.0)
    reply = await agent.reply(ask("2 + 2?", temperature=0.3, seed=2**31 + 5))
    assert isinstance(agent, Agent)
    assert (reply.text, reply.truncated) == ("hello", False)
    sent = endpoint.asked[0]
    assert (sent["temperature"], sent["seed"], sent["max_tokens"]) == (0.3, 5, 99)
    assert sent["messages"] == [{"role": "user", "content": "2 + 2?"}]
    usage = reply.usage
    assert (usage.calls, usage.failed, usage.prompt_tokens, usage.completion_tokens) == (1, 0, 11, 3)
    assert usage.cost == pytest.approx((11 * 1.0 + 3 * 10.0) / 1e6)
    assert 0 < usage.seconds < 300


async def test_the_agents_own_temperature_wins(endpoint, make_agent, ask):
    await make_agent(temperature=0.1).reply(ask(temperature=0.9))
    assert endpoint.asked[0]["temperature"] == 0.1


async def test_without_a_key_the_users_openai_key_stays_here(endpoint, make_agent, ask, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-users-own-key")
    await make_agent().reply(ask())
    assert "sk-users-own-key" not in str(endpoint.headers)


async def test_usage_is_estimated_where_the_endpoint_sends_none(endpoint, make_agent, ask, step, completion):
    endpoint.script(step(completion("x" * 80, usage=None)))
    reply = await make_agent().reply(ask("y" * 40))
    assert (reply.usage.prompt_tokens, reply.usage.completion_tokens) == (10, 20)
    assert reply.usage.cost is None


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ([{"type": "text", "text": "a"}, {"type": "text", "text": "b"}], "ab"),
        ("<think>why</think>so", "<think>why</think>so"),
    ],
)
async def test_blocks_are_joined_and_reasoning_is_left_in(
    endpoint, make_agent, ask, step, completion, content, text
):
    endpoint.script(step(completion(content)))
    assert (await make_agent().reply(ask())).text == text


async def test_half_characters_do_not_crash(endpoint, make_agent, ask, step, completion):
    endpoint.script(step(json.dumps(completion("X")).replace('"X"', '"\\ud83d!"')))
    assert (await make_agent().reply(ask())).text == "?!"


@pytest.mark.parametrize("text", ["half a sen", ""])
async def test_a_truncated_reply_is_a_reply(endpoint, make_agent, ask, step, completion, text):
    endpoint.script(step(completion(text, reason="length")))
    reply = await make_agent().reply(ask(json_schema=SCHEMA))
    assert reply.truncated
    assert reply.text == text


# --- parameters and JSON that an endpoint refuses -------------------------------------------


async def test_json_is_asked_for_by_schema(endpoint, make_agent, ask):
    await make_agent().reply(ask(json_schema=SCHEMA))
    assert endpoint.asked[0]["response_format"] == {
        "type": "json_schema",
        "json_schema": {"name": "Answer", "schema": SCHEMA, "strict": True},
    }
    assert len(endpoint.asked[0]["messages"][0]["content"]) == 2


async def test_an_open_schema_is_not_called_strict(endpoint, make_agent, ask):
    await make_agent().reply(ask(json_schema={"type": "object", "properties": {"a": {}}}))
    assert "strict" not in endpoint.asked[0]["response_format"]["json_schema"]


@pytest.mark.parametrize("status", [400, 422])
@pytest.mark.parametrize("known", ["json_object", None])
async def test_refused_ways_to_ask_for_json_are_remembered(
    endpoint, make_agent, ask, step, completion, status, known
):
    def answer(body):
        wanted = body.get("response_format", {}).get("type")
        if wanted in (None, known):
            return step(completion('{"answer": "4"}'))
        return failing(status, step, f"{wanted} is not available")

    endpoint.default = answer
    agent = make_agent()
    reply = await agent.reply(ask(json_schema=SCHEMA))
    assert json.loads(reply.text) == {"answer": "4"}
    assert reply.usage.failed == len(endpoint.asked) - 1 == (1 if known else 2)
    assert '"answer"' in endpoint.asked[-1]["messages"][-1]["content"]
    before = len(endpoint.asked)
    assert (await agent.reply(ask("again", json_schema=SCHEMA))).usage.failed == 0
    assert len(endpoint.asked) == before + 1


async def test_a_refusal_that_is_not_about_json_teaches_nothing(endpoint, make_agent, ask, step):
    endpoint.default = lambda body: failing(400, step, "the prompt is rude")
    agent = make_agent()
    await reason_of(agent, ask(json_schema=SCHEMA))
    endpoint.default = type(endpoint).default
    await agent.reply(ask(json_schema=SCHEMA))
    assert endpoint.asked[-1]["response_format"]["type"] == "json_schema"


@pytest.mark.parametrize("mode", ["json_object", "prompt"])
async def test_the_settings_can_choose_how_json_is_asked_for(endpoint, make_agent, ask, mode):
    await make_agent(structured=mode).reply(ask(json_schema=SCHEMA))
    asked = endpoint.asked[0]
    assert asked.get("response_format", {"type": "prompt"})["type"] == mode
    assert "JSON schema" in asked["messages"][0]["content"]


async def test_a_refused_parameter_is_left_out_from_then_on(endpoint, make_agent, ask, step, completion):
    def answer(body):
        if "temperature" in body:
            return failing(400, step, "Unsupported value: 'temperature' does not support 0.7")
        if "max_tokens" in body:
            return failing(400, step, "Unsupported parameter: 'max_tokens'; use 'max_completion_tokens'")
        return step(completion())

    endpoint.default = answer
    agent = make_agent(max_tokens=77)
    assert (await agent.reply(ask())).usage.failed == 2
    assert endpoint.asked[-1]["max_completion_tokens"] == 77
    reply = await agent.reply(ask("again", json_schema=SCHEMA))
    assert reply.usage.failed == 0


def test_an_unknown_option_is_refused_before_anything_is_asked(make_agent):
    with pytest.raises(ConfigError, match=r"'temprature'.*did you mean temperature.*extra_body"):
        make_agent(options={"temprature": 3})


# --- bounds ---------------------------------------------------------------------------------

messages = st.lists(
    st.builds(
        lambda kind, text: kind(text), st.sampled_from([HumanMessage, SystemMessage, AIMessage]), st.text()
    ),
    min_size=1,
    max_size=5,
)


@given(messages=messages, limit=st.integers(16, 4096), schema=st.sampled_from([None, SCHEMA]))
def test_the_bound_grows_with_every_byte(messages, limit, schema):
    config = AgentConfig(model="x", max_tokens=limit, price_input=2.0, price_output=3.0)
    agent = ChatAgent("a", FakeListChatModel(responses=["x"]), config)
    bound = agent.bound(Request(messages=tuple(messages), json_schema=schema))
    size = sum(len(str(message.content).encode()) for message in messages)
    assert bound.prompt_tokens >= size + (len(json.dumps(schema)) if schema else 0)
    assert (bound.calls, bound.completion_tokens) == (4, limit)
    assert bound.cost == pytest.approx((2.0 * bound.prompt_tokens + 3.0 * limit) / 1e6)


@pytest.mark.parametrize(
    "text", ["", "hello world", "def f(x):\n    return x\n" * 50, "日本語" * 90, "🙂" * 60]
)
@pytest.mark.parametrize("mode", ["prompt", "json_schema"])
async def test_no_call_takes_more_than_its_bound(endpoint, make_agent, ask, step, completion, text, mode):
    """The server counts as the greediest tokenizer could: one token for each byte."""

    def answer(body):
        content = "".join(message["content"] for message in body["messages"])
        schema = json.dumps(body.get("response_format", ""))
        spent = len(content.encode()) + len(schema) // 2
        return step(completion("word " * body["max_tokens"], usage=(spent, body["max_tokens"])))

    endpoint.default = answer
    agent = make_agent(structured=mode, max_tokens=32, price_input=1.0, price_output=2.0)
    request = ask(text, json_schema=SCHEMA)
    usage, bound = (await agent.reply(request)).usage, agent.bound(request)
    assert usage.prompt_tokens <= bound.prompt_tokens
    assert usage.completion_tokens <= bound.completion_tokens
    assert usage.cost is not None
    assert bound.cost is not None
    assert usage.cost <= bound.cost


def test_an_unasked_agent_has_a_bound_without_a_price():
    bound = ChatAgent("a", FakeListChatModel(responses=["x"])).bound(Request(messages=(HumanMessage("hi"),)))
    assert bound == Usage(calls=4, prompt_tokens=2 + 256 + 16, completion_tokens=1024, cost=None)


@pytest.mark.parametrize(
    ("setting", "wanted", "sent"), [(None, None, 1024), (None, 4096, 4096), (64, 4096, 64), (4096, 64, 4096)]
)
async def test_a_limit_in_the_settings_holds_and_then_that_of_the_request(
    endpoint, make_agent, ask, setting, wanted, sent
):
    agent, request = make_agent(max_tokens=setting), ask(max_tokens=wanted)
    await agent.reply(request)
    assert endpoint.asked[0]["max_tokens"] == agent.bound(request).completion_tokens == sent


class _Reasoner(FakeListChatModel):
    profile: dict = {"reasoning_output": True}


def test_a_model_that_is_known_to_reason_has_more_room():
    request = Request(messages=(HumanMessage("hi"),))
    assert ChatAgent("a", _Reasoner(responses=["x"])).bound(request).completion_tokens == 8192


async def test_a_reply_at_temperature_0_says_that_it_was_not_sampled(make_agent, ask):
    assert (await make_agent().reply(ask(temperature=0.7))).sampled
    assert not (await make_agent().reply(ask(temperature=0.0))).sampled
    assert not (await make_agent(temperature=0.0).reply(ask(temperature=0.7))).sampled
