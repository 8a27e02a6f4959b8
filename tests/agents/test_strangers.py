"""Endpoints that are none: login pages, words, nothing, redirects, and servers that are not there."""

import asyncio
import json
import socket
from types import SimpleNamespace
from urllib.parse import urlsplit

import httpx
import pytest
from langchain_openai import ChatOpenAI
from openai import DefaultAsyncHttpxClient

from bdc_agents.agents.bodies import stranger
from bdc_agents.agents.chat import ChatAgent
from bdc_agents.agents.failures import NotAReply, diagnose
from bdc_agents.agents.redirects import keep_home, same_server
from bdc_agents.errors import AgentError

from .asking import reason_of
from .conftest import serving

PAGE = "<!doctype html><html><head><title>Sign in</title></head><body><h1>Welcome</h1>" + "<p>words</p>" * 500
DEEP = "[" * 200_000
STRANGERS = {
    "a page": (PAGE, "a web page (Sign in; Welcome)"),
    "a page after a comment": (f"<!-- nginx -->\n{PAGE}", "a web page (Sign in; Welcome)"),
    "words": ("OK, it works", "text (OK, it works)"),
    "nothing": (b"", "an empty body"),
    "blanks": (" \n", "an empty body"),
    "a text": ('"hi"', "JSON that is no object"),
    "null": ("null", "JSON that is no object"),
    "a list": ([1, 2], "JSON that is no object"),
    "keys": ({"status": "ok"}, "JSON without choices (status)"),
    "detail": ({"detail": "Not Found"}, "JSON without choices (Not Found)"),
    "deep": (DEEP, "JSON that is nested too deeply"),
    "deep object": ('{"a":' * 200_000, "JSON that is nested too deeply"),
    "no such place": (
        {"error": "Unexpected endpoint or method. (POST /chat)"},
        "an error (Unexpected endpoint",
    ),
}


@pytest.mark.parametrize("kind", STRANGERS)
async def test_what_is_no_api_is_told_at_once(endpoint, make_agent, ask, step, kind):
    body, told = STRANGERS[kind]
    endpoint.default = lambda _: step(body, headers={"Content-Type": "text/html"})
    with pytest.raises(AgentError) as caught:
        await make_agent(retries=3).reply(ask())
    assert len(endpoint.asked) == 1
    assert caught.value.lasting
    assert caught.value.usage.calls == 0
    assert f"sent {told}" in caught.value.reason
    assert "instead of a chat completion; check base_url" in caught.value.reason
    assert len(caught.value.reason) < 500


async def test_a_completion_is_read_once(endpoint, make_agent, ask, monkeypatch):
    read, found = json.loads, list[str]()

    def loads(text, *args, **options):
        found.extend(["whole"] if "choices" in str(text) else [])
        return read(text, *args, **options)

    monkeypatch.setattr(json, "loads", loads)
    assert (await make_agent().reply(ask())).text == "hello"
    assert found == ["whole"]


async def test_without_v1_it_is_said_to_add_it(endpoint, make_agent, ask, step):
    endpoint.default = lambda _: step(PAGE)
    root = endpoint.url.removesuffix("/v1")
    assert "add /v1 to the end of base_url" in await reason_of(make_agent(base_url=root), ask())


async def test_an_agent_that_has_answered_is_asked_again(endpoint, make_agent, ask, step):
    agent = make_agent()
    await agent.reply(ask("a"))
    endpoint.script(step(PAGE), step(b""))
    assert (await agent.reply(ask("b"))).text == "hello"


async def test_where_a_redirect_leads_is_told(endpoint, make_agent, ask, step):
    login = endpoint.url.replace("/v1", "/login?token=abcdef")
    endpoint.script(step(b"", 307, {"Location": login}), step(PAGE))
    reason = await reason_of(make_agent(), ask())
    assert "after a redirect to" in reason
    assert "/login" in reason
    assert "abcdef" not in reason


async def test_a_refusal_after_a_redirect_says_where_it_came_from(endpoint, make_agent, ask, step):
    other = endpoint.url.replace("/v1", "/v2/chat")
    endpoint.script(step(b"", 307, {"Location": other}), step({"error": "no"}, 405))
    assert f"sent the request on to {other}, which refused it (405)" in await reason_of(make_agent(), ask())


@pytest.mark.parametrize(
    ("model", "settings"), [("fake", {}), ("azure_openai:fake", {"api_version": "2024-10-21"})]
)
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_nothing_goes_along_to_another_server(endpoint, make_agent, ask, step, model, settings, status):
    with serving() as other:
        endpoint.default = lambda _: step(b"", status, {"Location": f"{other.url}/chat/completions"})
        agent = make_agent(model=model, api_key="sk-one", headers={"X-Key": "sk-two"}, **settings)
        reason = await reason_of(agent, ask())
    assert (len(endpoint.asked), other.paths) == (1, [])
    assert f"sent a redirect to another server ({other.url}/chat/completions)" in reason
    assert "write its address in base_url" in reason
    assert "sk-" not in reason


@pytest.mark.parametrize("place", ["_async_client", "root_async_client", "async_client", "http_async_client"])
@pytest.mark.parametrize("depth", [0, 1, 2])
async def test_clients_of_other_packages_stay_at_their_server_too(endpoint, step, place, depth):
    client = held = httpx.AsyncClient(follow_redirects=True, headers={"x-api-key": "sk-one"})
    for _ in range(depth):
        held = SimpleNamespace(_client=held)
    assert keep_home(SimpleNamespace(**{place: held}))
    assert keep_home(SimpleNamespace(**{place: held}))  # A second model of the same address shares it.
    async with client:
        with serving() as other:
            endpoint.script(step(b"", 307, {"Location": f"{other.url}/messages"}))
            with pytest.raises(NotAReply) as caught:
                await client.post(endpoint.url, json={"prompt": "p"})
            assert other.paths == []
        endpoint.script(step(b"", 307, {"Location": f"{endpoint.url}/messages"}), step({"choices": []}))
        assert (await client.post(endpoint.url, json={})).is_success
    assert "was not followed" in diagnose(caught.value).hint


async def test_a_model_that_anthropics_package_builds_stays_at_its_server(endpoint, make_agent, ask, step):
    pytest.importorskip("langchain_anthropic")
    with serving() as other:
        endpoint.default = lambda _: step(b"", 307, {"Location": f"{other.url}/v1/messages"})
        agent = make_agent(model="anthropic:claude", api_key="sk-one", headers={"X-Key": "sk-two"})
        reason = await reason_of(agent, ask())
    assert other.paths == []
    assert "a redirect to another server" in reason


def test_a_model_without_such_a_client_is_left_as_it_is():
    with httpx.Client() as blocking:
        assert not keep_home(SimpleNamespace(client=SimpleNamespace(_client=blocking), async_client=None))
        assert blocking.event_hooks["response"] == []


@pytest.mark.parametrize(
    ("other", "same"),
    [
        ("http://one.test/v2", True),
        ("http://one.test:80/v2", True),
        ("https://one.test/v1", True),
        ("http://one.test:81/v1", False),
        ("https://one.test:81/v1", False),
        ("http://one.test.evil/v1", False),
        ("http://two.test/v1", False),
        ("http://one.test@two.test/v1", False),
    ],
)
def test_one_server_is_one_host_and_port_or_its_https(other, same):
    assert same_server("http://one.test/v1", other) == same
    assert not same_server("https://one.test/v1", "http://one.test/v1")


def test_a_redirect_that_a_client_does_not_follow_says_what_to_do():
    response = httpx.Response(307, request=httpx.Request("POST", "http://one.test"))
    failure = diagnose(httpx.HTTPStatusError("307", request=response.request, response=response))
    assert (failure.kind, failure.detail) == ("foreign", "a redirect (307)")
    assert "base_url" in failure.hint


async def test_redirects_in_a_circle_end(endpoint, make_agent, ask, step):
    endpoint.default = lambda _: step(b"", 307, {"Location": endpoint.url})
    assert "redirects in a circle" in await reason_of(make_agent(), ask())


@pytest.mark.parametrize(
    "body", ["", "{", '{"choices": []}', '{"error": "x"}', '{"output": []}', "[1", "<" * 9**6]
)
def test_any_body_is_judged(body):
    assert bool(stranger(body)) == (body in ("", "<" * 9**6))


# --- servers that are not there -------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "hint"),
    [
        ("http://127.0.0.1:9/v1", "is a server running there?"),
        ("http://localhost:9/v1", "is a server running there?"),
        ("http://no-such-host.invalid/v1", "check the name of the host"),
    ],
)
async def test_each_reason_has_its_own_advice(make_agent, ask, url, hint):
    assert hint in await reason_of(make_agent(base_url=url, retries=0), ask())


async def test_a_connection_that_breaks_is_not_taken_for_no_server(
    endpoint, make_agent, ask, step, completion
):
    endpoint.default = lambda _: step(completion(), cut=True)
    reason = await reason_of(make_agent(retries=0), ask())
    assert "the connection broke" in reason
    assert "is a server running" not in reason


NOBODY = "http://127.0.0.1:9/v1"


async def tries(agent, request):
    with pytest.raises(AgentError) as caught:
        await agent.reply(request)
    assert not caught.value.lasting
    return caught.value.usage.failed


async def test_one_call_waits_for_a_server_and_the_others_do_not(make_agent, ask):
    agent = make_agent(base_url=NOBODY, retries=2)
    assert [await tries(agent, ask(text)) for text in "abc"] == [3, 1, 1]


async def test_calls_side_by_side_wait_together(make_agent, ask):
    agent = make_agent(base_url=NOBODY, retries=2)
    await asyncio.gather(*(tries(agent, ask(text)) for text in "abc"))
    assert await tries(agent, ask("d")) == 1


@pytest.fixture
async def gate(endpoint):
    """A port that leads to the endpoint while it is open: where it is, and how to open it."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]

    async def forward(reader, writer):
        there, back = await asyncio.open_connection("127.0.0.1", urlsplit(endpoint.url).port)
        back.write(await reader.read(2**16))
        writer.write(await there.read(2**16))
        writer.close()
        back.close()

    return f"http://127.0.0.1:{port}/v1", lambda: asyncio.start_server(forward, "127.0.0.1", port)


async def test_a_server_that_starts_later_is_found(gate, make_agent, ask):
    url, opened = gate
    agent = make_agent(base_url=url, retries=1)
    await tries(agent, ask("a"))
    async with await opened():
        assert (await agent.reply(ask("b"))).text == "hello"


async def test_a_server_that_answered_and_starts_again_is_waited_for(gate, make_agent, ask):
    url, opened = gate
    agent = make_agent(base_url=url, retries=2)
    async with await opened():
        await agent.reply(ask("a"))
    assert [await tries(agent, ask(text)) for text in "bc"] == [3, 3]


@pytest.mark.parametrize("more", [{}, {"use_responses_api": True}], ids=str)
async def test_a_page_is_told_of_a_model_of_the_callers_own_too(endpoint, ask, step, more):
    endpoint.default = lambda _: step(PAGE, headers={"Content-Type": "text/html"})
    # Connections that LangChain shares outlive the test's event loop.
    async with DefaultAsyncHttpxClient() as client:
        more |= {"http_async_client": client, "max_retries": 0}
        model = ChatOpenAI(model="m", base_url=endpoint.url, api_key="x", **more)
        with pytest.raises(AgentError) as caught:
            await ChatAgent("own", model).reply(ask())
    assert len(endpoint.asked) == 1
    assert caught.value.lasting
    assert "sent a web page (Sign in; Welcome) instead of a chat completion" in caught.value.reason
