"""Agents over a real client and a real server that fails in every way endpoints do."""

import asyncio
import gc
import json
import time
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from langchain_core.language_models import FakeListChatModel
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage

from bdc_agents.agents.chat import ChatAgent
from bdc_agents.agents.limits import Pace
from bdc_agents.agents.models import chat_model
from bdc_agents.agents.protocol import Agent, Request
from bdc_agents.config import AgentConfig
from bdc_agents.errors import AgentError, ModelError
from bdc_agents.types import Usage

SCHEMA = {
    "title": "Answer",
    "type": "object",
    "properties": {"answer": {"type": "string"}},
    "required": ["answer"],
    "additionalProperties": False,
}


def failing(status, step, message="it broke", **fields):
    headers = fields.pop("headers", {})
    return step({"error": {"message": message, **fields}}, status, headers)


async def reason_of(agent, request):
    with pytest.raises(AgentError) as caught:
        await agent.reply(request)
    assert "\n" not in caught.value.reason
    return caught.value.reason


async def asked_once(endpoint):
    async with asyncio.timeout(5):
        while not endpoint.asked:  # noqa: ASYNC110 - the server is in another thread
            await asyncio.sleep(0.005)


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
    assert 0 < usage.seconds < 5


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


# --- failures that pass ---------------------------------------------------------------------

PASSING = ["timeout", "cut", "408", "409", "429", "500", "503", "html", "null", "empty", "shape", "list"]


def passing(kind, step, completion):
    return {
        "timeout": lambda: step(completion(), delay=0.9),
        "cut": lambda: step(completion(), cut=True),
        "html": lambda: step("<html>busy</html>"),
        "null": lambda: step(completion(None)),
        "empty": lambda: step(completion(" \n")),
        "shape": lambda: step({"choices": []}),
        "list": lambda: step([1, 2]),
    }.get(kind, lambda: failing(int(kind), step))()


@pytest.mark.parametrize("kind", PASSING)
async def test_a_passing_failure_is_tried_again(endpoint, make_agent, ask, step, completion, kind):
    endpoint.script(passing(kind, step, completion))
    reply = await make_agent(timeout=0.6 if kind == "timeout" else 5.0).reply(ask())
    assert reply.text == "hello"
    assert (reply.usage.calls, reply.usage.failed) == (1, 1)
    assert len(endpoint.asked) == 2


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


async def test_nobody_waits_for_an_hour(endpoint, make_agent, ask, step):
    endpoint.script(failing(429, step, headers={"Retry-After": "3600"}))
    started = time.monotonic()
    assert "rate limit" in await reason_of(make_agent(), ask())
    assert time.monotonic() - started < 2
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


@pytest.mark.filterwarnings("ignore:.*not default parameter:UserWarning")
async def test_an_unknown_option_is_named(endpoint, make_agent, ask):
    reason = await reason_of(make_agent(options={"tempo": 3}), ask())
    assert "tempo" in reason
    assert "check its options" in reason
    assert not endpoint.asked


# --- limits ---------------------------------------------------------------------------------


@pytest.mark.parametrize("limit", [1, 3])
async def test_the_concurrency_limit_is_never_passed(endpoint, make_agent, ask, step, completion, limit):
    endpoint.default = lambda body: step(completion(), delay=0.05)
    agent = make_agent(concurrency=limit)
    await asyncio.gather(*(agent.reply(ask(str(n))) for n in range(12)))
    assert endpoint.most_in_flight == limit


async def test_calls_are_spaced_out():
    pace, starts = Pace(per_second=50), []

    async def call():
        await pace.turn()
        starts.append(time.monotonic())

    await asyncio.gather(*(call() for _ in range(6)))
    assert all(later - sooner >= 0.018 for sooner, later in pairwise(starts))


async def test_an_agent_keeps_its_rate(endpoint, make_agent, ask):
    agent = make_agent(requests_per_second=20)
    await asyncio.gather(*(agent.reply(ask(str(n))) for n in range(6)))
    assert endpoint.times[-1] - endpoint.times[1] >= 4 / 20 * 0.7


async def test_a_cancelled_call_gives_its_place_back(endpoint, make_agent, ask, step, completion):
    endpoint.script(step(completion(), delay=0.5))
    agent = make_agent(concurrency=1)
    task = asyncio.create_task(agent.reply(ask("slow")))
    await asked_once(endpoint)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (await agent.reply(ask("next"))).text == "hello"


@pytest.fixture
def swept():
    """Sockets that loops left open are reported with the test that left them, and not with a later one."""
    yield
    gc.collect()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.usefixtures("swept")
def test_one_agent_serves_several_loops_one_after_another(endpoint, ask):
    config = AgentConfig(model="fake", base_url=endpoint.url, concurrency=1, retries=0)
    agent = ChatAgent("a", chat_model("a", config), config)

    async def use():
        replies = await asyncio.gather(*(agent.reply(ask(str(n))) for n in range(4)))
        return [reply.text for reply in replies]

    for _ in range(3):
        assert asyncio.run(use()) == ["hello"] * 4
    asyncio.run(agent.aclose())


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
    assert (bound.calls, bound.completion_tokens) == (1, limit)
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


# --- other chat models ----------------------------------------------------------------------


class Tuned(FakeListChatModel):
    """Declares a temperature and a token limit of its own name, and no seed."""

    temperature: float | None = None
    num_predict: int | None = None

    def _call(self, *args, **kwargs):
        return f"{self.temperature} {self.num_predict} {'seed' in kwargs}"


async def test_a_foreign_model_gets_the_parameters_it_declares(ask):
    model = Tuned(responses=["x"])
    agent = ChatAgent("a", model, AgentConfig(model="x", max_tokens=50))
    assert (await agent.reply(ask(temperature=0.2, seed=3))).text == "0.2 50 False"
    assert (model.temperature, model.num_predict) == (None, None)


async def test_a_foreign_model_is_asked_for_json_in_words(ask):
    seen = []

    class Recording(FakeListChatModel):
        def _call(self, messages, *args, **kwargs):
            seen.append(messages[-1].content)
            return "{}"

    await ChatAgent("a", Recording(responses=["x"])).reply(ask("hi", json_schema=SCHEMA))
    assert seen[0].startswith("hi\n\nReply with one JSON value")
    assert '"answer"' in seen[0]


async def test_a_model_whose_profile_says_so_is_asked_by_schema(ask):
    asked = []

    class Profiled(FakeListChatModel):
        def with_structured_output(self, schema, **options):
            asked.append((schema["title"], options))
            return self | (lambda message: {"raw": message, "parsed": None})

    model = Profiled(responses=['{"answer": "4"}'], profile={"structured_output": True})
    reply = await ChatAgent("a", model).reply(ask(json_schema=SCHEMA))
    assert reply.text == '{"answer": "4"}'
    assert asked == [("Answer", {"method": "json_schema", "include_raw": True})]


async def test_a_profile_that_is_wrong_does_no_harm(ask):
    model = FakeListChatModel(responses=["{}"], profile={"structured_output": True})
    assert (await ChatAgent("a", model).reply(ask(json_schema=SCHEMA))).text == "{}"


async def test_a_foreign_model_that_raises_gives_an_agent_error(ask):
    class Broken(FakeListChatModel):
        def _call(self, *args, **kwargs):
            raise NotImplementedError("no such thing")

    reason = await reason_of(ChatAgent("a", Broken(responses=["x"])), ask())
    assert "NotImplementedError: no such thing" in reason


def test_an_unasked_agent_has_a_bound_without_a_price():
    bound = ChatAgent("a", FakeListChatModel(responses=["x"])).bound(Request(messages=(HumanMessage("hi"),)))
    assert bound == Usage(calls=1, prompt_tokens=2 + 256 + 16, completion_tokens=1024, cost=None)
