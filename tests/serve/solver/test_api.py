"""The server, over real connections: OpenAI's own client, LangChain's, and callers who mean no good."""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from langchain.chat_models import init_chat_model

pytest.importorskip("starlette")
pytest.importorskip("uvicorn")

from bdc_agents.serve import ChatRequest, RoutedModel, ServerLimits
from bdc_agents.serve.backends.protocol import PromptTooLong
from bdc_agents.serve.http.server import listen

from .running import HEADERS, KEY, Running

ASK = {"model": "bdc", "messages": [{"role": "user", "content": "hi"}]}


def respond(request: ChatRequest) -> str:
    said = request.messages[-1]["content"]
    if said == "too long":
        raise PromptTooLong(2000, 1000)
    if said == "break":
        raise RuntimeError("secret detail")
    return f"you said {said}"


@pytest.fixture
def start(scripted: Callable[..., RoutedModel]) -> Iterator[Callable[..., Running]]:
    running: list[Running] = []

    def make(delay: float = 0.0, model: RoutedModel | None = None, **limits: Any) -> Running:
        running.append(Running(model or scripted(respond, delay), ServerLimits(**limits)))
        return running[-1]

    yield make
    for one in running:
        one.stop()


@pytest.fixture(scope="module")
def server(scripted: Callable[..., RoutedModel]) -> Iterator[Running]:
    """One for all tests that leave it as it was."""
    running = Running(scripted(respond), ServerLimits())
    yield running
    running.stop()


@pytest.fixture
def client(server: Running) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{server.url}/v1", api_key=KEY, max_retries=0) as client:
        yield client


# --- those who mean well --------------------------------------------------------------------------


def test_openais_client_in_one_piece_and_as_a_stream(client: openai.OpenAI) -> None:
    messages: Any = ASK["messages"]
    whole: Any = client.chat.completions.create(model="bdc", messages=messages, max_tokens=30)
    assert whole.choices[0].message.content == "you said hi"
    assert whole.choices[0].finish_reason == "stop"
    assert whole.usage.total_tokens == 7 + len("you said hi")
    assert whole.bdc["experts"] == {"cluster-0": 0.02, "cluster-1": 0.98}
    stream = client.chat.completions.create(
        model="cluster-0", messages=messages, stream=True, stream_options={"include_usage": True}
    )
    pieces: list[Any] = list(stream)
    assert "".join(p.choices[0].delta.content or "" for p in pieces if p.choices) == "you said hi"
    assert pieces[-2].choices[0].finish_reason == "stop"
    assert pieces[-2].bdc["experts"] == {"cluster-0": 1.0}
    assert pieces[-1].usage.completion_tokens == len("you said hi")
    assert len(pieces) > 4


def test_several_answers_to_one_request(client: openai.OpenAI, server: Running) -> None:
    ask: Any = {"model": "bdc", "messages": ASK["messages"], "n": 3, "seed": 5, "temperature": 1.0}
    whole = client.chat.completions.create(**ask)
    assert [choice.message.content for choice in whole.choices] == ["you said hi"] * 3
    assert whole.usage is not None
    assert whole.usage.completion_tokens == 3 * len("you said hi"), "all of them; the prompt counts once"
    assert whole.usage.prompt_tokens == 7
    backend: Any = server.model.backend
    assert [request.seed for request in backend.requests[-3:]] == [5, 6, 7]
    texts = ["", "", ""]
    ends: list[int] = []
    for piece in client.chat.completions.create(**ask, stream=True, stream_options={"include_usage": True}):
        for choice in piece.choices:
            texts[choice.index] += choice.delta.content or ""
            ends += [choice.index] if choice.finish_reason else []
    assert texts == ["you said hi"] * 3
    assert sorted(ends) == [0, 1, 2]


def test_the_mixture_has_the_librarys_name_too(client: openai.OpenAI) -> None:
    messages: Any = ASK["messages"]
    whole: Any = client.chat.completions.create(model="scripted", messages=messages)
    assert whole.bdc["experts"] == {"cluster-0": 0.02, "cluster-1": 0.98}


def test_models_are_listed(client: openai.OpenAI) -> None:
    assert [model.id for model in client.models.list()] == [
        "bdc",
        "base",
        "cluster-0",
        "cluster-1",
        "scripted",
    ]
    assert client.models.retrieve("cluster-1").owned_by == "scripted"
    with pytest.raises(openai.NotFoundError, match="did you mean cluster-"):
        client.models.retrieve("cluster-9")


async def test_langchains_client(server: Running) -> None:
    from langchain_openai import ChatOpenAI

    async with httpx.AsyncClient() as connections:
        chat: Any = ChatOpenAI(
            model="bdc",
            base_url=f"{server.url}/v1",
            api_key=KEY,  # pyright: ignore[reportArgumentType]
            max_retries=0,
            http_async_client=connections,
        )
        assert (await chat.ainvoke("hi")).content == "you said hi"
        chunks = [chunk async for chunk in chat.astream("hi")]
        assert "".join(str(chunk.content) for chunk in chunks) == "you said hi"
        replies = await chat.abatch([f"{n}" for n in range(8)])
    assert [reply.content for reply in replies] == [f"you said {n}" for n in range(8)]


def test_init_chat_model_reaches_a_library_by_its_server(server: Running) -> None:
    """LangChain's list of providers is closed: `bdc:` is none of them, as docs/serving.md says."""
    chat: Any = init_chat_model("openai:bdc", base_url=f"{server.url}/v1", api_key=KEY, max_retries=0)
    assert chat.invoke("hi").content == "you said hi"
    with pytest.raises(ValueError, match="model_provider"):
        init_chat_model("bdc:experts/library/mine")


def test_a_real_model_behind_the_server(start: Callable[..., Running], tiny: RoutedModel) -> None:
    # The server frees its model when it ends; this one is shared with other tests.
    shared = RoutedModel(tiny.backend, tiny.place, tiny.experts, "tiny")

    async def keep() -> None:
        """Leaves the backend open."""

    shared.aclose = keep  # type: ignore[method-assign]
    running = start(model=shared)
    with openai.OpenAI(base_url=f"{running.url}/v1", api_key=KEY) as client:
        ask: Any = {"messages": ASK["messages"], "max_tokens": 9, "seed": 1, "temperature": 0.8}
        whole = client.chat.completions.create(model="bdc", **ask)
        stream = client.chat.completions.create(model="bdc", stream=True, **ask)
        text = "".join(piece.choices[0].delta.content or "" for piece in stream)
        assert text == whole.choices[0].message.content
        with pytest.raises(openai.BadRequestError, match="context holds 1024") as error:
            client.chat.completions.create(model="bdc", messages=[{"role": "user", "content": "x" * 2000}])
        assert error.value.code == "context_length_exceeded"


# --- health, metrics, the key ------------------------------------------------------------------------


def test_health_needs_no_key_and_metrics_count(start: Callable[..., Running]) -> None:
    running = start()
    assert httpx.get(f"{running.url}/health").json() == {"status": "ok", "library": "scripted"}
    assert running.post(ASK).status_code == 200
    assert running.post(ASK | {"model": "nonsense"}).status_code == 404
    assert running.post(ASK, headers={}).status_code == 401
    lines = running.metrics().splitlines()
    assert 'bdc_requests_total{model="bdc",status="200"} 1' in lines
    assert 'bdc_requests_total{model="",status="404"} 1' in lines
    assert 'bdc_refused_total{reason="key"} 1' in lines
    assert 'bdc_completion_tokens_total{model="bdc"} 11' in lines
    assert "bdc_request_seconds_count 1" in lines
    assert all(line.startswith("#") or len(line.rsplit(" ", 1)) == 2 for line in lines)


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": "Bearer wrong"},
        {"Authorization": KEY},
        {"Authorization": f"Basic {KEY}"},
        {"Authorization": "Bearer"},
        {"Authorization": f"Bearer {KEY[:-1]}"},
        {"Authorization": b"Bearer \xff\xfe"},
        {"x-api-key": KEY},
    ],
)
def test_a_wrong_key_gets_no_detail(server: Running, headers: dict[str, Any]) -> None:
    backend: Any = server.model.backend
    before = len(backend.requests)
    for path in ("/v1/models", "/v1/chat/completions", "/metrics", "/nowhere"):
        answer = httpx.get(f"{server.url}{path}", headers=headers)
        assert answer.status_code == 401
        told = "the API key is missing or wrong: send it in the header Authorization: Bearer KEY"
        assert answer.json()["error"]["message"] == told
        assert answer.headers["www-authenticate"] == "Bearer"
    assert len(backend.requests) == before


# --- bad requests ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"messages": []}, 'messages: it is empty; send a list such as [{"role": "user"'),
        ({"messages": None}, 'messages: a list is needed; send a list such as [{"role": "user"'),
        ({"messages": [{"role": "robot", "content": "x"}]}, "role"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, "image_url"),
        ({"messages": [{"role": "system", "content": "x"}]}, "no text from the user"),
        ({"messages": [{"role": "user", "content": "too long"}]}, "context holds 1000"),
        ({"temperature": 3}, "temperature"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"n": 0}, "n: "),
        ({"n": 17}, "n: "),
        ({"budget": {"calls": 3}}, "a budget is for the models that search"),
        ({"tool_choice": "required"}, "does not call tools"),
        ({"response_format": {"type": "json_object"}}, "cannot be held to a schema here"),
        ({"logprobs": True}, "logprobs"),
        ({"top_k": 40}, "top_k: draws are shaped by temperature and top_p"),
        ({"min_p": 0.05}, "min_p"),
        ({"best_of": 3}, "best_of: a request gets one reply"),
        ({"repetition_penalty": 1.1}, "repetition_penalty"),
        ({"stop_token_ids": [3]}, "stop_token_ids: is not known here"),
        ({"guided_json": {"a": 1}}, "guided_json"),
        ({"reasoning_effort": "high"}, "reasoning_effort"),
        ({"add_generation_prompt": False}, "add_generation_prompt"),
        ({"tempreature": 1}, "tempreature"),
        ({"a\x1b" * 400: 1}, "is not known here"),
        ({"messages": [{"role": "user", "content": None}]}, "has no content"),
        ({"messages": [{"role": "system"}, {"role": "user", "content": "x"}]}, "'system' has no content"),
    ],
)
def test_what_cannot_be_answered_is_said(server: Running, change: dict[str, Any], says: str) -> None:
    for stream in (False, True):
        answer = server.post(ASK | change | {"stream": stream})
        assert answer.status_code == 400
        assert says in answer.json()["error"]["message"]


def test_what_asks_for_what_is_done_anyway_is_answered(server: Running) -> None:
    """What clients send unasked: defaults of the field, and fields that change no reply."""
    off = {
        "top_k": -1,
        "min_p": 0,
        "best_of": 1,
        "n": 1,
        "presence_penalty": 0,
        "logprobs": False,
        "tools": [],
    }
    told = {
        "user": "me",
        "metadata": {"a": "b"},
        "store": True,
        "tool_choice": "auto",
        "modalities": ["text"],
    }
    assert server.post(ASK | off | told).status_code == 200


TOOL_CALL = {"id": "a", "type": "function", "function": {"name": "add", "arguments": '{"a": 1}'}}


@pytest.mark.parametrize(
    ("turns", "read"),
    [
        ([{"role": "assistant", "content": None}], [("assistant", "")]),
        ([{"role": "assistant"}], [("assistant", "")]),
        ([{"role": "assistant", "content": None, "refusal": "no"}], [("assistant", "no")]),
        (
            [{"role": "assistant", "content": [{"type": "refusal", "refusal": "no"}]}],
            [("assistant", "no")],
        ),
        (
            [
                {"role": "assistant", "content": None, "tool_calls": [TOOL_CALL]},
                {"role": "tool", "tool_call_id": "a", "content": [{"type": "text", "text": "2"}]},
            ],
            [("assistant", 'Calling the tool `add` with {"a": 1}.'), ("user", "The tool returned:\n2")],
        ),
        (
            [
                {"role": "assistant", "content": "Well", "function_call": TOOL_CALL["function"]},
                {"role": "function", "name": "add", "content": None},
            ],
            [
                ("assistant", 'Well\nCalling the tool `add` with {"a": 1}.'),
                ("user", "The tool returned:\n"),
            ],
        ),
    ],
)
def test_histories_of_clients_that_use_tools_are_read(
    server: Running, turns: list[dict[str, Any]], read: list[tuple[str, str]]
) -> None:
    backend: Any = server.model.backend
    hi = {"role": "user", "content": "hi"}
    assert server.post(ASK | {"messages": [hi, *turns, hi]}).status_code == 200
    asked = backend.requests[-1]
    assert [(one["role"], one["content"]) for one in asked.messages[1:-1]] == read
    assert asked.experts.experts["cluster-0"] == 0.06, "the router reads what the user says"


def test_a_fault_of_the_server_tells_nothing_of_its_inside(server: Running) -> None:
    answer = server.post(ASK | {"messages": [{"role": "user", "content": "break"}]})
    assert answer.status_code == 500
    assert "secret detail" not in answer.text
    assert server.post(ASK).status_code == 200


def test_too_large_a_body_is_refused_also_when_its_size_is_not_told(start: Callable[..., Running]) -> None:
    running = start(body_bytes=5000)
    large = json.dumps(ASK | {"messages": [{"role": "user", "content": "x" * 6000}]}).encode()
    assert running.post(large).status_code == 413

    def chunks() -> Iterator[bytes]:
        yield from (large[place : place + 1000] for place in range(0, len(large), 1000))

    answer = running.post(b"", content=chunks())
    assert answer.status_code == 413
    assert "5000 bytes" in answer.json()["error"]["message"]


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
names = st.sampled_from([*ASK, "temperature", "stop", "seed", "stream", "max_tokens", "stream_options", "n"])
bodies = st.binary(max_size=40) | st.dictionaries(names, values).map(lambda change: ASK | change)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(body=bodies)
def test_no_body_breaks_the_server(server: Running, body: Any) -> None:
    answer = server.post(body if isinstance(body, bytes) else json.dumps(body).encode())
    assert answer.status_code in (200, 400, 404)
    if answer.status_code != 200:
        assert answer.json()["error"]["message"]


# --- limits, time, leaving -----------------------------------------------------------------------------


async def test_too_many_requests_are_told_to_come_again(start: Callable[..., Running]) -> None:
    running = start(delay=0.05, requests=2)
    async with httpx.AsyncClient(headers=HEADERS, timeout=300) as client:
        url = f"{running.url}/v1/chat/completions"
        answers = await asyncio.gather(*(client.post(url, json=ASK) for _ in range(6)))
        busy = [answer for answer in answers if answer.status_code == 429]
        assert [answer.status_code for answer in answers].count(200) == 2
        assert len(busy) == 4
        assert busy[0].headers["retry-after"] == "1"
        assert (await client.post(url, json=ASK)).status_code == 200


@pytest.mark.parametrize("stream", [False, True])
def test_a_request_that_takes_too_long_is_ended(start: Callable[..., Running], stream: bool) -> None:
    running = start(delay=0.2, seconds=0.5)
    answer = running.post(ASK | {"stream": stream})
    if stream:
        assert answer.status_code == 200
        assert "not done after 0.5 seconds" in answer.text
        assert "[DONE]" not in answer.text
        with (
            openai.OpenAI(base_url=f"{running.url}/v1", api_key=KEY, max_retries=0) as client,
            pytest.raises(openai.APIError, match="not done after"),
        ):
            list(client.chat.completions.create(stream=True, **ASK))  # pyright: ignore
    else:
        assert answer.status_code == 504
        assert answer.json()["error"]["code"] == "timeout"
    assert running.model.backend.running == 0  # pyright: ignore[reportAttributeAccessIssue]


@pytest.mark.parametrize("stream", [False, True])
def test_a_caller_who_hangs_up_frees_the_server(start: Callable[..., Running], stream: bool) -> None:
    running = start(delay=0.1)
    backend: Any = running.model.backend
    long = ASK | {"stream": stream, "messages": [{"role": "user", "content": "x" * 500}]}
    if stream:
        with httpx.stream("POST", f"{running.url}/v1/chat/completions", json=long, headers=HEADERS) as answer:
            next(answer.iter_lines())
    else:
        with pytest.raises(httpx.ReadTimeout):
            running.post(long, timeout=0.3)
    _until(lambda: backend.requests and backend.running == 0)


def test_told_to_stop_it_finishes_what_runs_and_takes_no_more(start: Callable[..., Running]) -> None:
    running = start(delay=0.1)
    backend: Any = running.model.backend
    answers: list[httpx.Response] = []
    work = threading.Thread(target=lambda: answers.append(running.post(ASK | {"stream": True})))
    with httpx.Client(headers=HEADERS, base_url=running.url) as open_connection:
        assert open_connection.get("/health").status_code == 200
        work.start()
        _until(lambda: backend.running == 1)
        running.app.draining = True
        assert open_connection.get("/health").status_code == 503
        refused = open_connection.post("/v1/chat/completions", json=ASK)
        assert refused.status_code == 503
        assert refused.headers["retry-after"] == "1"
    running.stop()
    work.join(10)
    assert answers[0].text.endswith("data: [DONE]\n\n")
    assert backend.closed


def test_what_does_not_end_within_the_grace_is_told_so(start: Callable[..., Running]) -> None:
    running = start(delay=30, grace=1)
    backend: Any = running.model.backend
    answers: dict[bool, httpx.Response] = {}

    def ask(stream: bool) -> None:
        answers[stream] = running.post(ASK | {"stream": stream})

    work = [threading.Thread(target=ask, args=(stream,)) for stream in (False, True)]
    for one in work:
        one.start()
    _until(lambda: backend.running == 2)
    running.stop()
    for one in work:
        one.join(10)
    for answer in answers.values():
        assert answer.status_code == 503, "a stream whose first piece had not come has its own status, too"
        assert answer.json()["error"]["code"] == "stopping"


def test_a_stream_that_does_not_end_within_the_grace_is_told_so(start: Callable[..., Running]) -> None:
    running = start(delay=0.3, grace=1)
    long = ASK | {"stream": True, "messages": [{"role": "user", "content": "x" * 500}]}
    with httpx.stream("POST", f"{running.url}/v1/chat/completions", json=long, headers=HEADERS) as answer:
        lines = answer.iter_lines()
        assert next(lines).startswith("data:")
        running.stop()
        assert json.loads([line for line in lines if line][-1][5:])["error"]["code"] == "stopping"


def test_a_process_that_gets_sigterm_finishes_its_stream_and_exits_with_0(tmp_path: Path) -> None:
    script = Path(__file__).parents[1] / "endpoint" / "served.py"
    log = (tmp_path / "log").open("w+")
    with subprocess.Popen(
        [sys.executable, str(script)], stderr=log, env=os.environ | {"BDC_API_KEY": KEY}
    ) as process:
        try:
            _until(lambda: "listening at" in (tmp_path / "log").read_text(), 30)
            url = (tmp_path / "log").read_text().split("listening at ")[1].split()[0]
            with httpx.stream(
                "POST", f"{url}/chat/completions", json=ASK | {"stream": True}, headers=HEADERS, timeout=20
            ) as answer:
                lines = answer.iter_lines()
                assert next(lines).startswith("data:")
                process.send_signal(signal.SIGTERM)
                assert [line for line in lines if line][-1] == "data: [DONE]"
            assert process.wait(20) == 0
        finally:
            process.kill()
    log.close()
    assert KEY not in (tmp_path / "log").read_text()


def test_a_port_that_is_taken_is_named() -> None:
    from bdc_agents.errors import ConfigError

    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(ConfigError, match="another --port"):
        listen("127.0.0.1", taken.getsockname()[1])


def _until(true: Callable[[], object], seconds: float = 120.0) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it did not come to pass in time"
        time.sleep(0.02)
