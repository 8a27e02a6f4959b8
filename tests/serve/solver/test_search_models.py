"""The search behind the server, over real connections: OpenAI's client, LangChain's, and two editors'."""

import asyncio
import json
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest

pytest.importorskip("starlette")
pytest.importorskip("uvicorn")

from bdc_agents.agents.protocol import Reply, Request
from bdc_agents.errors import AgentError
from bdc_agents.runs import read_traces
from bdc_agents.sandbox import create_executor
from bdc_agents.sandbox.protocol import Executor
from bdc_agents.serve import ServerLimits
from bdc_agents.serve.http.search import SearchModels
from bdc_agents.serve.keeping import trace_keeper
from bdc_agents.testing import ScriptedAgent

from .running import KEY, Running

STATED = "Write double(n). double(2) should be 4 and double(3) should be 6."
RIGHT = "```python\ndef double(n):\n    return 2 * n\n```"
ASK: dict[str, Any] = {"model": "bdc-search", "messages": [{"role": "user", "content": STATED}]}


def learns(request: Request) -> str:
    """Wrong at first, and right from another seed on."""
    return RIGHT if request.seed % 4 else "```python\ndef double(n):\n    return n + 2\n```"


@pytest.fixture(scope="module")
def executor() -> Iterator[Executor]:
    made = create_executor()
    yield made
    asyncio.run(made.aclose())


@pytest.fixture
def serve(executor: Executor) -> Iterator[Callable[..., Running]]:
    running: list[Running] = []

    def start(
        *respond: Callable[[Request], str],
        agents: Any = None,
        limits: ServerLimits | None = None,
        origins: Any = (),
        **options: Any,
    ) -> Running:
        agents = agents or [ScriptedAgent(f"agent-{number}", one) for number, one in enumerate(respond)]
        seconds = (limits or ServerLimits()).seconds
        models = SearchModels(agents, executor, seconds=seconds, **options)
        running.append(Running([models], limits, origins=origins))
        return running[-1]

    yield start
    for one in running:
        one.stop()


def client_of(running: Running) -> Any:
    return openai.OpenAI(base_url=f"{running.url}/v1", api_key=KEY, max_retries=0)


def test_health_names_no_library_where_none_is_served(serve: Callable[..., Running]) -> None:
    assert httpx.get(f"{serve(learns).url}/health").json() == {"status": "ok", "library": None}


# --- those who mean well ----------------------------------------------------------------------------


def test_the_answer_holds_the_program_its_verdict_and_the_cost(serve: Callable[..., Running]) -> None:
    with client_of(serve(learns, learns)) as client:
        assert [model.id for model in client.models.list()] == ["bdc-search", "bdc-search-paper"]
        answer: Any = client.chat.completions.create(**ASK)
    text = answer.choices[0].message.content
    assert "**Solved**: `double` passes 2 of 2 tests" in text
    assert "def double(n):\n    return 2 * n" in text
    assert "I understood: the function `double`" in answer.choices[0].message.reasoning_content
    told = answer.bdc
    assert (told["solved"], told["passed"], told["tests"]) == (True, 2, 2)
    assert told["code"] == "def double(n):\n    return 2 * n"
    assert told["calls"] >= 3
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens > 0


def test_a_stream_tells_how_far_it_is_and_then_the_answer(serve: Callable[..., Running]) -> None:
    with client_of(serve(learns, learns)) as client:
        pieces: list[Any] = list(
            client.chat.completions.create(**ASK, stream=True, stream_options={"include_usage": True})
        )
    deltas = [piece.choices[0].delta for piece in pieces if piece.choices]
    reasoning = [number for number, delta in enumerate(deltas) if getattr(delta, "reasoning_content", None)]
    content = [number for number, delta in enumerate(deltas) if delta.content]
    assert reasoning
    assert content
    assert max(reasoning) < min(content)
    thought = "".join(deltas[number].reasoning_content for number in reasoning)
    assert "I understood" in thought
    assert "programs in a tree of" in thought
    assert pieces[-2].bdc["solved"] is True
    assert pieces[-1].usage.total_tokens > 0


def test_what_was_understood_is_told_before_any_agent_answers(serve: Callable[..., Running]) -> None:
    running = serve(agents=[Waiting()])
    with client_of(running) as client:
        pieces: Any = client.chat.completions.create(**ASK, stream=True)
        next(pieces)
        assert "I understood" in next(pieces).choices[0].delta.reasoning_content
        pieces.close()


def test_a_follow_up_goes_on_from_the_same_tree(serve: Callable[..., Running]) -> None:
    running = serve(learns, learns)
    with client_of(running) as client:
        first: Any = client.chat.completions.create(**ASK)
        said = {"role": "assistant", "content": first.choices[0].message.content}
        more = {"role": "user", "content": "double(-1) should be -2"}
        second: Any = client.chat.completions.create(
            model="bdc-search", messages=[*ASK["messages"], said, more]
        )
        assert second.bdc["tests"] == 3
        assert second.bdc["calls"] == 0, "the program that is known passes the new test, too"
        assert "known programs again" in second.choices[0].message.reasoning_content
        # The same once more, as after "regenerate": from the tree of the first message, not of the second.
        again: Any = client.chat.completions.create(
            model="bdc-search", messages=[*ASK["messages"], said, more]
        )
        assert (again.bdc["tests"], again.bdc["calls"]) == (3, 0)
        thanks: Any = client.chat.completions.create(
            model="bdc-search",
            messages=[*ASK["messages"], said, more, said, {"role": "user", "content": "thanks!"}],
        )
        assert "Say what should change" in thanks.choices[0].message.content
        assert thanks.usage.total_tokens == 0


def test_a_conversation_that_the_server_never_saw_is_read_as_a_whole(serve: Callable[..., Running]) -> None:
    messages: Any = [
        {"role": "system", "content": "You are an assistant in an editor. Write Java."},
        *ASK["messages"],
        {"role": "assistant", "content": "def double(n): return n"},
        {"role": "user", "content": "double(-1) should be -2"},
    ]
    with client_of(serve(learns, learns)) as client:
        answer: Any = client.chat.completions.create(model="bdc-search", messages=messages)
    assert (answer.bdc["tests"], answer.bdc["solved"]) == (3, True)


UNTESTED: Any = [{"role": "user", "content": "Write a function double(n) that returns twice n."}]


def proposing(expected: str) -> Callable[[Request], str]:
    """Proposes a test with this answer where it is asked for tests, and is right else."""

    def respond(request: Request) -> str:
        asked = '"tests"' in str(request.messages) or request.json_schema is not None
        return f'{{"tests": [{{"call": "double(4)", "expected": "{expected}"}}]}}' if asked else RIGHT

    return respond


def test_tests_that_two_agents_propose_alike_are_taken(serve: Callable[..., Running]) -> None:
    with client_of(serve(proposing("8"), proposing("8"))) as client:
        answer: Any = client.chat.completions.create(model="bdc-search", messages=UNTESTED)
    assert (answer.bdc["solved"], answer.bdc["tests"]) == (True, 1)
    assert "who agree on them" in answer.choices[0].message.reasoning_content


def test_tests_on_which_agents_differ_are_asked_about(serve: Callable[..., Running]) -> None:
    with client_of(serve(proposing("8"), proposing("9"))) as client:
        asked: Any = client.chat.completions.create(model="bdc-search", messages=UNTESTED)
        question = asked.choices[0].message.content
        assert asked.bdc == {"waiting_for": "tests"}
        assert asked.usage.total_tokens > 0, "asking for tests costs calls"
        turns = [*UNTESTED, {"role": "assistant", "content": question}]
        told: Any = client.chat.completions.create(
            model="bdc-search", messages=[*turns, {"role": "user", "content": "double(4) should be 8"}]
        )
    assert (told.bdc["solved"], told.bdc["tests"]) == (True, 1)


def test_the_traces_are_kept_under_the_name_that_the_answer_has(
    serve: Callable[..., Running], tmp_path: Path
) -> None:
    with client_of(serve(learns, learns, keep=trace_keeper(tmp_path / "run", "served"))) as client:
        one: Any = client.chat.completions.create(**ASK)
        two: Any = client.chat.completions.create(**ASK | {"model": "bdc-search-paper"})
    traces = {trace.problem.id: trace for trace in read_traces(tmp_path / "run")}
    assert traces.keys() == {one.bdc["trace"], two.bdc["trace"]}
    assert traces[one.bdc["trace"]].settings["search"]["policy"] == "default"
    assert traces[two.bdc["trace"]].settings["search"]["policy"] == "paper"
    assert traces[one.bdc["trace"]].solution.solved


def test_a_trace_that_cannot_be_written_costs_no_answer(
    serve: Callable[..., Running], tmp_path: Path
) -> None:
    keep = trace_keeper(tmp_path / "run", "served")
    (tmp_path / "run" / "trace.jsonl").unlink()
    (tmp_path / "run" / "trace.jsonl").mkdir()
    with client_of(serve(learns, learns, keep=keep)) as client:
        answer: Any = client.chat.completions.create(**ASK)
    assert answer.bdc["solved"]
    assert answer.bdc["note"].startswith("the trace was not kept")
    assert "trace" not in answer.bdc


def test_the_answer_as_json_holds_what_a_program_needs(serve: Callable[..., Running]) -> None:
    form = {"type": "json_object"}
    with client_of(serve(learns, learns)) as client:
        whole: Any = client.chat.completions.create(**ASK, response_format=form)
        told = json.loads(whole.choices[0].message.content)
        assert told == {"text": told["text"], **whole.bdc}
        assert "**Solved**" in told["text"]
        assert "return 2 * n" in told["code"]
        first = {"role": "assistant", "content": whole.choices[0].message.content}
        asked = [*ASK["messages"], first, {"role": "user", "content": "What can you do?"}]
        pieces = list(
            client.chat.completions.create(
                model="bdc-search", messages=asked, response_format=form, stream=True
            )
        )
        said = "".join(piece.choices[0].delta.content or "" for piece in pieces if piece.choices)
        assert json.loads(said)["text"]


async def test_langchains_client(serve: Callable[..., Running]) -> None:
    from langchain_openai import ChatOpenAI

    running = serve(learns, learns)
    async with httpx.AsyncClient() as connections:
        chat: Any = ChatOpenAI(
            model="bdc-search",
            base_url=f"{running.url}/v1",
            api_key=KEY,  # pyright: ignore[reportArgumentType]
            max_retries=0,
            http_async_client=connections,
        )
        reply = await chat.ainvoke(STATED)
        assert "**Solved**" in reply.content
        assert reply.usage_metadata["total_tokens"] > 0
        chunks = [chunk async for chunk in chat.astream(STATED)]
        assert "**Solved**" in "".join(str(chunk.content) for chunk in chunks)


# --- budgets and refusals ------------------------------------------------------------------------------


def test_a_requests_budget_holds(serve: Callable[..., Running]) -> None:
    wrong = ScriptedAgent(
        "wrong", lambda request: f"```python\ndef double(n):\n    return {len(str(request))}\n```"
    )
    running = serve(agents=[wrong], budget={"calls": 9})
    with client_of(running) as client:
        answer: Any = client.chat.completions.create(**ASK, extra_body={"budget": {"calls": 4}})
        assert answer.bdc["calls"] == len(wrong.requests) <= 4
        assert (answer.bdc["solved"], answer.bdc["stopped_by"]) == (False, "calls")
        before = len(wrong.requests)
        answer = client.chat.completions.create(**ASK)
        assert len(wrong.requests) - before <= 9


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"budget": {"cals": 3}}, "unknown key 'cals'; did you mean calls"),
        ({"budget": {"calls": 0}}, "at least 1 is needed"),
        ({"budget": {"seconds": "soon"}}, "seconds"),
        ({"budget": 4}, "budget"),
        ({"n": 2}, "one answer"),
        ({"tool_choice": "required"}, "tool_choice"),
        (
            {"response_format": {"type": "json_schema", "json_schema": {"schema": {"type": "object"}}}},
            "not by a schema of yours",
        ),
        ({"messages": [{"role": "user", "content": "hi"}]}, "Tell me what"),
        ({"messages": [{"role": "system", "content": STATED}]}, "Tell me what"),
    ],
)
def test_what_cannot_be_searched_for_is_said(
    serve: Callable[..., Running], change: dict[str, Any], says: str
) -> None:
    running = serve(learns)
    for stream in (False, True):
        answer = running.post(ASK | change | {"stream": stream})
        assert answer.status_code == 400, answer.text
        assert says in answer.json()["error"]["message"]


def test_agents_of_which_none_answers_are_an_error_of_the_server(serve: Callable[..., Running]) -> None:
    def refuses(_: Request) -> str:
        raise AgentError("one", "the key was refused", lasting=True)

    running = serve(refuses)
    answer = running.post(ASK)
    assert answer.status_code == 502
    assert answer.json()["error"]["code"] == "no_agent_answers"
    assert "the key was refused" in answer.json()["error"]["message"]
    events = running.post(ASK | {"stream": True}).text.split("\n\n")
    error = json.loads(events[-2].removeprefix("data: "))["error"]
    assert error["code"] == "no_agent_answers"


class Waiting(ScriptedAgent):
    """Never answers; knows how many of its calls are in flight."""

    def __init__(self) -> None:
        super().__init__("waiting", lambda _: "")
        self.flying = 0
        self.began = threading.Event()

    async def reply(self, request: Request) -> Reply:
        self.flying += 1
        self.began.set()
        try:
            await asyncio.sleep(600)
        finally:
            self.flying -= 1
        raise AssertionError


@pytest.mark.parametrize("stream", [False, True])
def test_a_client_that_leaves_stops_its_calls(serve: Callable[..., Running], stream: bool) -> None:
    agent = Waiting()  # A stream has told by then whom it asks: pieces have come, and more are waited for.
    running = serve(agents=[agent])
    with pytest.raises(httpx.ReadTimeout):
        running.post(ASK | {"stream": stream}, timeout=1.5)
    assert agent.began.wait(5)
    ends = time.monotonic() + 5
    while agent.flying and time.monotonic() < ends:
        time.sleep(0.05)
    assert agent.flying == 0


def test_a_search_hands_over_before_its_request_is_cut_off(serve: Callable[..., Running]) -> None:
    agent = Waiting()
    running = serve(agents=[agent], limits=ServerLimits(seconds=4))
    answer = running.post(ASK)
    assert answer.status_code == 200, answer.text
    assert answer.json()["bdc"]["stopped_by"] == "seconds"


# --- pages in a browser ---------------------------------------------------------------------------------

PAGE = "http://localhost:3000"


def test_a_page_that_is_allowed_may_ask_and_read(serve: Callable[..., Running]) -> None:
    running = serve(learns, origins=[PAGE])
    asks = {
        "Origin": PAGE,
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization,content-type,x-stainless-lang",
    }
    before = httpx.options(f"{running.url}/v1/chat/completions", headers=asks)
    assert before.status_code == 204
    assert before.headers["access-control-allow-origin"] == PAGE
    assert "authorization" in before.headers["access-control-allow-headers"]
    for key, status in ((KEY, 200), ("wrong", 401)):
        answer = httpx.get(
            f"{running.url}/v1/models", headers={"Origin": PAGE, "Authorization": f"Bearer {key}"}
        )
        assert answer.status_code == status
        assert answer.headers["access-control-allow-origin"] == PAGE, "so that the page can read the refusal"


@pytest.mark.parametrize(
    "origin", ["http://evil.example", "null", f"{PAGE}.evil.example", "http://localhost:3001"]
)
def test_other_pages_may_not(serve: Callable[..., Running], origin: str) -> None:
    running = serve(learns, origins=[PAGE])
    asks = {"Origin": origin, "Access-Control-Request-Method": "POST"}
    answer = httpx.options(f"{running.url}/v1/chat/completions", headers=asks)
    assert answer.status_code != 204
    assert "access-control-allow-origin" not in answer.headers


@pytest.mark.parametrize("wrong", ["*", "localhost:3000", "http://a.example/path", "ftp://a", "http://A"])
def test_what_is_no_origin_is_refused(serve: Callable[..., Running], wrong: str) -> None:
    from bdc_agents.errors import ConfigError

    with pytest.raises(ConfigError, match="is not an origin"):
        serve(learns, origins=[wrong])
