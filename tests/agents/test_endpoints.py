"""The shapes of real endpoints, through the real client and a real server."""

import gzip
import json

import pytest

from .asking import SCHEMA, reason_of
from .shapes import ALONE, CONTEXTS, ERRORS, LIMITS, NO_JSON, RATE_LIMITS, REFUSALS, THOUGHTS, openai


@pytest.fixture
def endpoint(shared):
    shared.clear()
    return shared


def refusing(refusal, step, completion):
    def answer(body):
        refused = any(name in body for name in refusal.taken)
        return step(refusal.body, refusal.status) if refused else step(completion())

    return answer


async def test_a_key_that_an_endpoint_echoes_is_hidden_in_the_reply(
    endpoint, make_agent, ask, step, completion
):
    key = "sk-1234567890abcdefghij"
    endpoint.default = lambda body: step(completion(f"You sent Bearer {key}; type application/json"))
    agent = make_agent(api_key=key, headers={"X-Type": "application/json"})
    assert (await agent.reply(ask())).text == "You sent Bearer ***; type application/json"


# --- parameters -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "refusal", REFUSALS, ids=lambda refusal: f"{refusal.server}-{'-'.join(refusal.taken)}"
)
async def test_a_refused_parameter_is_left_out_once_and_told(
    endpoint, make_agent, ask, step, completion, refusal, caplog
):
    endpoint.default = refusing(refusal, step, completion)
    agent = make_agent(options=refusal.options, retries=0)
    reply = await agent.reply(ask())
    assert (reply.text, reply.usage.failed, len(endpoint.asked)) == ("hello", 1, 2)
    assert endpoint.asked[0].keys() >= {*refusal.taken}
    lost = endpoint.asked[0].keys() - endpoint.asked[1].keys()
    assert lost == {*refusal.taken}
    assert endpoint.asked[1].keys() - endpoint.asked[0].keys() == {*refusal.instead}
    assert (await agent.reply(ask("again"))).usage.failed == 0
    assert all(any(name in note for note in agent.notes) for name in refusal.taken)
    assert len(caplog.messages) == len(agent.notes) == len(refusal.taken)


@pytest.mark.filterwarnings("ignore:.*structured output feature:UserWarning")
@pytest.mark.parametrize(("server", "status", "body"), NO_JSON, ids=lambda value: str(value)[:20])
async def test_json_is_asked_for_in_the_next_way(
    endpoint, make_agent, ask, step, completion, server, status, body
):
    def answer(sent):
        return step(body, status) if "response_format" in sent else step(completion('{"answer": "4"}'))

    endpoint.default = answer
    agent = make_agent(retries=0)
    reply = await agent.reply(ask(json_schema=SCHEMA))
    assert json.loads(reply.text) == {"answer": "4"}
    ways = [sent.get("response_format", {}).get("type") for sent in endpoint.asked]
    assert ways == ["json_schema", "json_object", None]
    await agent.reply(ask("again", json_schema=SCHEMA))
    assert len(endpoint.asked) == 4
    assert {"seed", "temperature", "max_tokens"} <= endpoint.asked[-1].keys()
    assert agent.notes == ("JSON is asked for in the prompt alone, as the endpoint refuses json_schema",)


@pytest.mark.parametrize(("server", "most", "body"), LIMITS, ids=[case[0] for case in LIMITS])
async def test_a_limit_that_is_too_high_becomes_the_highest_allowed(
    endpoint, make_agent, ask, step, completion, server, most, body
):
    endpoint.default = lambda sent: step(body, 400) if sent["max_tokens"] > most else step(completion())
    agent = make_agent(retries=0, max_tokens=32768)
    assert (await agent.reply(ask())).text == "hello"
    assert (await agent.reply(ask("again"))).usage.failed == 0
    assert [sent["max_tokens"] for sent in endpoint.asked] == [32768, most, most]
    assert f"{most:,}" in agent.notes[0]


@pytest.mark.parametrize(("server", "room", "body"), CONTEXTS, ids=[case[0] for case in CONTEXTS])
async def test_a_reply_takes_what_the_context_leaves_for_it_this_once(
    endpoint, make_agent, ask, step, completion, server, room, body
):
    endpoint.script(step(body, 400))
    agent = make_agent(retries=0, max_tokens=32768)
    assert (await agent.reply(ask())).text == "hello"
    await agent.reply(ask("a shorter one"))
    assert [sent["max_tokens"] for sent in endpoint.asked] == [32768, room, 32768]


async def test_both_names_of_the_limit_may_be_refused(endpoint, make_agent, ask, step, completion):
    def answer(sent):
        held = next((name for name in ("max_tokens", "max_completion_tokens") if name in sent), None)
        return step(openai(f"Unknown parameter: '{held}'", param=held), 400) if held else step(completion())

    endpoint.default = answer
    assert (await make_agent().reply(ask())).usage.failed == 2


async def test_a_server_that_refuses_everything_is_not_asked_for_ever(endpoint, make_agent, ask, step):
    limit = 10_000

    def answer(sent):
        return step(openai(f"max_tokens is too large, at most {sent.get('max_tokens', limit) - 1}"), 400)

    endpoint.default = answer
    assert "max_tokens is too large" in await reason_of(make_agent(max_tokens=limit), ask())
    assert len(endpoint.asked) < 20


@pytest.mark.parametrize(
    "body",
    [
        "[" * 3000,
        '{"error":' * 3000,
        {"error": {"message": "x" * 10**6}},
        {"detail": [[[[[]]]]] * 999},
        "\0",
        "",
    ],
)
async def test_no_body_of_an_error_does_harm(endpoint, make_agent, ask, step, body):
    endpoint.default = lambda sent: step(body, 400)
    assert "refused the request (400)" in await reason_of(make_agent(), ask(json_schema=SCHEMA))


# --- replies --------------------------------------------------------------------------------


@pytest.mark.parametrize("server", THOUGHTS)
async def test_thoughts_beside_an_answer_are_no_part_of_it(
    endpoint, make_agent, ask, step, completion, server
):
    body = completion()
    body["choices"][0]["message"] |= THOUGHTS[server]
    endpoint.script(step(body))
    assert (await make_agent().reply(ask())).text == "so"


@pytest.mark.parametrize("server", ALONE)
async def test_an_answer_that_was_taken_for_a_thought_is_read(
    endpoint, make_agent, ask, step, completion, server
):
    body = completion(usage=None)
    body["choices"][0]["message"] |= ALONE[server]
    endpoint.script(step(body))
    reply = await make_agent().reply(ask())
    assert reply.text == "so"
    assert reply.usage.completion_tokens == 1


@pytest.mark.parametrize("server", ALONE)
async def test_thoughts_that_were_cut_off_are_no_answer(endpoint, make_agent, ask, step, completion, server):
    body = completion(reason="length", usage=(11, 1024))
    body["choices"][0]["message"] |= ALONE[server]
    endpoint.script(step(body))
    reply = await make_agent().reply(ask())
    assert (reply.text, reply.truncated, reply.usage.misreported) == ("", True, 0)


async def test_a_filtered_reply_is_called_so_and_not_asked_for_again(
    endpoint, make_agent, ask, step, completion
):
    endpoint.default = lambda sent: step(completion(None, reason="content_filter"))
    assert "content filter" in await reason_of(make_agent(), ask())
    assert len(endpoint.asked) == 1


async def test_a_gateway_whose_server_failed_half_way_is_asked_again(
    endpoint, make_agent, ask, step, completion
):
    endpoint.script(step(completion("half an ans", reason="error")))
    assert (await make_agent().reply(ask())).text == "hello"


async def test_what_is_thought_and_counted_in_the_total_alone_is_counted(
    endpoint, make_agent, ask, step, completion
):
    body = completion(usage=(11, 3))
    body["usage"]["total_tokens"] = 514
    endpoint.script(step(body))
    usage = (await make_agent(max_tokens=1000).reply(ask())).usage
    assert (usage.prompt_tokens, usage.completion_tokens, usage.misreported) == (11, 503, 0)


@pytest.mark.parametrize("packed", [False, True])
async def test_a_reply_without_end_is_not_read_to_its_end(
    endpoint, make_agent, ask, step, monkeypatch, packed
):
    monkeypatch.setattr("bdc_agents.agents.compatible.LONGEST_BODY", 100_000)
    body = json.dumps({"choices": [{"message": {"content": "x" * 400_000}}]})
    if packed:
        endpoint.script(step(gzip.compress(body.encode()), headers={"Content-Encoding": "gzip"}))
    else:
        endpoint.script(step(body))
    assert "sent more than any reply can be" in await reason_of(make_agent(), ask())
    assert len(endpoint.asked) == 1


async def test_a_packed_reply_is_read(endpoint, make_agent, ask, step, completion):
    body = gzip.compress(json.dumps(completion()).encode())
    endpoint.script(step(body, headers={"Content-Encoding": "gzip"}))
    assert (await make_agent().reply(ask())).text == "hello"


# --- failures -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("server", "status", "headers", "body"), RATE_LIMITS, ids=[case[0] for case in RATE_LIMITS]
)
async def test_a_rate_limit_is_waited_for(endpoint, make_agent, ask, step, server, status, headers, body):
    endpoint.script(step(body, status, headers))
    assert (await make_agent().reply(ask())).usage.failed == 1
    assert 0.2 <= endpoint.times[1] - endpoint.times[0] < 5


async def test_a_rate_limit_in_a_response_that_looks_well_is_one(endpoint, make_agent, ask, step):
    endpoint.default = lambda sent: step({"error": {"code": 429, "message": "Rate limited upstream"}})
    assert "rate limit" in await reason_of(make_agent(retries=0), ask())


@pytest.mark.parametrize(
    ("server", "status", "body", "word"), ERRORS, ids=[f"{case[0]}-{case[1]}" for case in ERRORS]
)
async def test_what_the_endpoint_said_is_in_the_message(
    endpoint, make_agent, ask, step, server, status, body, word
):
    endpoint.default = lambda sent: step(body, status)
    assert word in await reason_of(make_agent(), ask())
    assert len(endpoint.asked) == 1


async def test_an_overloaded_server_is_asked_again(endpoint, make_agent, ask, step):
    endpoint.script(
        step({"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}, 529)
    )
    assert (await make_agent().reply(ask())).text == "hello"
