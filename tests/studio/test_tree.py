"""The tree pages on the port of a real `langgraph dev`: while a search runs, at past steps, and stepped into.

pip install 'bdc-agents[studio]'
BDC_TEST_STUDIO=1 python -m pytest tests/studio/test_tree.py
"""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any
from uuid import uuid4

import httpx
import pytest
from langgraph_sdk import get_client

from bdc_agents.testing import ScriptedEndpoint
from bdc_agents.types import Trace

PROBLEM = {
    "id": "double",
    "statement": "Write double(x), which returns twice x. </script><script>alert(1)</script>",
    "public_tests": ["double(4) -> 8", {"args": [3], "expected": 6}],
}
MESSAGE = "Write double(x), which returns twice x. double(4) should be 8."
CALL_SECONDS = 0.3
"""Of a reply, so that a search runs for a while, and can be met in the midst of it."""


def respond(body: dict[str, Any]) -> str:
    """The agent called right is right; the one called wrong never is."""
    time.sleep(CALL_SECONDS)
    if "reasonableness" in str(body["messages"]):
        idea = {"thought": f"idea {body['seed'] % 997}", "reasonableness": 0.5}
        return json.dumps({"thoughts": [idea]})
    factor = 2 if body["model"] == "right" else 3 + body["seed"] % 9973
    return f"```python\ndef double(x):\n    return {factor} * x\n```"


@pytest.fixture(scope="module")
def server(langgraph_dev: Callable[..., str]) -> Iterator[str]:
    with ScriptedEndpoint(respond) as endpoint:
        agent = '[agents.{0}]\nmodel = "{0}"\nbase_url = "{1}"\napi_key = "k"\n'
        yield langgraph_dev("".join(agent.format(name, endpoint.url) for name in ("wrong", "right")))


@pytest.fixture
async def client(server: str) -> AsyncIterator[Any]:
    async with get_client(url=server) as client:
        yield client


@pytest.fixture
async def http(server: str) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=server, timeout=60) as http:
        yield http


class Watched:
    """A search in a thread of the server, and its page."""

    def __init__(self, client: Any, http: httpx.AsyncClient, thread: str) -> None:
        self.client, self.http, self.thread = client, http, thread

    async def get(self, path: str, **more: Any) -> Any:
        answer = await self.http.get(f"/tree/{self.thread}/{path}", **more)
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def post(self, action: str, **body: Any) -> httpx.Response:
        return await self.http.post(f"/tree/{self.thread}/{action}", json=body)

    async def trace(self, checkpoint: str = "") -> Trace | None:
        found = (await self.get("trace", params={"checkpoint": checkpoint}))["trace"]
        return None if found is None else Trace.model_validate(found)

    async def until(self, holds: Callable[[Trace], bool]) -> Trace:
        """Waits until its trace is so."""
        for _ in range(150):
            if (trace := await self.trace()) and holds(trace):
                return trace
            await asyncio.sleep(0.2)
        raise AssertionError(await self.get("trace"))

    async def end(self) -> Trace:
        """Waits until nothing runs."""
        for _ in range(300):
            if (await self.get("trace"))["status"] != "busy":
                trace = await self.trace()
                assert trace
                return trace
            await asyncio.sleep(0.2)
        raise AssertionError("it runs for ever")


@pytest.fixture
def begin(client: Any, http: httpx.AsyncClient) -> Callable[..., Any]:
    """Starts a search, or a conversation, in the background."""

    async def begun(graph: str = "search", agents: tuple[str, ...] = ("wrong",), **search: Any) -> Watched:
        thread = (await client.threads.create())["thread_id"]
        given = (
            {"problem": PROBLEM}
            if graph == "search"
            else {"messages": [{"role": "user", "content": MESSAGE}]}
        )
        context = {"agents": [*agents], "search": {"rollouts": 40, "leaves": 2} | search}
        await client.runs.create(thread, graph, input=given, context=context)
        return Watched(client, http, thread)

    return begun


# --- watching ---------------------------------------------------------------------------------------------


async def test_the_tree_grows_on_its_page_while_the_search_runs(begin: Any, server: str) -> None:
    search = await begin(rollouts=8)
    early = await search.until(lambda trace: len(trace.nodes) > 1)
    assert (await search.get("trace"))["status"] == "busy"
    page = await search.http.get(f"/tree/{search.thread}")
    assert page.status_code == 200
    assert "alert(1)</script>" not in page.text
    end = await search.end()
    assert len(end.nodes) > len(early.nodes)
    assert end.solution.stopped_by == "rollouts"
    assert end.settings["search"]["rollouts"] == 8
    state: Any = await search.client.threads.get_state(search.thread)
    assert {node.id for node in end.nodes} == set(state["values"]["tree"])
    assert state["values"]["tree_url"] == f"{server}/tree/{search.thread}"


async def test_the_first_event_of_a_run_links_to_the_page(client: Any, server: str) -> None:
    thread = (await client.threads.create())["thread_id"]
    stream = client.runs.stream(
        thread,
        "search",
        input={"problem": PROBLEM},
        context={"agents": ["right"], "search": {"rollouts": 2}},
        stream_mode="custom",
    )
    first, *_ = [part.data async for part in stream if part.event == "custom"]
    assert (first["type"], first["tree_url"]) == ("started", f"{server}/tree/{thread}")


async def test_events_tell_that_a_search_begins_grows_and_ends(begin: Any) -> None:
    search = await begin(rollouts=16)
    told: list[tuple[str, Any]] = []
    async with search.http.stream("GET", f"/tree/{search.thread}/events") as stream:
        assert stream.headers["content-type"].startswith("text/event-stream")
        name = ""
        async for line in stream.aiter_lines():
            if line.startswith("event: "):
                name = line.removeprefix("event: ")
            elif line.startswith("data: "):
                told.append((name, json.loads(line.removeprefix("data: "))))
            if told and told[-1] == ("status", {"status": "idle"}):
                break
    assert told[0] == ("status", {"status": "busy"})
    changed = [data for name, data in told if name == "changed"]
    assert len(changed) > 1
    assert all(data.keys() == {"nodes", "calls"} for data in changed)
    # Whoever reads at the last change has the end of the search.
    assert told[-2][0] == "changed"
    assert (await search.end()).solution.stopped_by == "rollouts"


async def test_every_step_of_a_search_can_be_looked_at_again(begin: Any) -> None:
    search = await begin(rollouts=6)
    end = await search.end()
    points = await search.get("checkpoints")
    assert [point["at"] for point in points] == sorted(point["at"] for point in points)
    assert points[1]["node"] == "start"
    assert points[-1]["node"] == "finish"
    seen = [await search.trace(point["id"]) for point in points]
    assert seen[0] is None  # Before the search has begun.
    sizes = [len(trace.nodes) for trace in seen[1:]]
    assert sizes == sorted(sizes)
    assert (sizes[0], sizes[-1]) == (1, len(end.nodes))
    for point, trace in zip(points[1:], seen[1:], strict=True):
        assert point["calls"] == sum(used.calls for used in trace.solution.usage.values())
    history: Any = await search.client.threads.get_history(search.thread, limit=100)
    assert {point["id"] for point in points} <= {past["checkpoint"]["checkpoint_id"] for past in history}


async def test_the_list_tells_what_became_of_each_search(begin: Any, http: httpx.AsyncClient) -> None:
    solved = await begin(agents=("right",), rollouts=3)
    failed = await begin(rollouts=2)
    for search in (solved, failed):
        await search.end()
    rows = {row["id"]: row for row in (await http.get("/tree/threads")).json()}
    assert rows[solved.thread]["outcome"] == "solved"
    assert rows[failed.thread]["outcome"] == "not solved; the search had done its rollouts"
    assert rows[failed.thread]["url"] == f"/tree/{failed.thread}"
    page = await http.get("/tree")
    assert f'href="/tree/{solved.thread}"' in page.text


async def test_nothing_is_sent_again_that_has_not_changed(begin: Any) -> None:
    search = await begin(rollouts=2)
    await search.end()
    first = await search.http.get(f"/tree/{search.thread}/trace")
    again = await search.http.get(
        f"/tree/{search.thread}/trace", headers={"if-none-match": first.headers["etag"]}
    )
    assert (again.status_code, again.content) == (304, b"")


async def test_what_is_not_there_is_told(begin: Any, http: httpx.AsyncClient) -> None:
    for thread in (str(uuid4()), "nonsense"):
        for path in ("trace", "events", "checkpoints"):
            answer = await http.get(f"/tree/{thread}/{path}")
            assert answer.status_code == 404
            assert thread in answer.json()["error"]
        answer = await http.post(f"/tree/{thread}/veto", json={"node": "0.0"})
        assert answer.status_code == 404
    page = await http.get(f"/tree/{uuid4()}")
    assert page.status_code == 404
    assert "there is no search" in page.text
    search = await begin(rollouts=1)
    await search.end()
    answer = await http.get(f"/tree/{search.thread}/trace", params={"checkpoint": str(uuid4())})
    assert answer.status_code == 404
    assert "has no checkpoint" in answer.json()["error"]


async def test_a_thread_without_a_search_is_no_error(client: Any, http: httpx.AsyncClient) -> None:
    thread = (await client.threads.create())["thread_id"]
    answer = await http.get(f"/tree/{thread}/trace")
    assert answer.json() == {"status": "idle", "checkpoint": None, "trace": None}
    assert (await http.get(f"/tree/{thread}")).status_code == 200
    assert (await http.get(f"/tree/{thread}/checkpoints")).json() == []
    assert (await http.post(f"/tree/{thread}/veto", json={"node": "0.0"})).status_code == 409
    assert (await http.post(f"/tree/{thread}/continue", json={})).status_code == 409
    assert thread not in {row["id"] for row in (await http.get("/tree/threads")).json()}


# --- stepping in ------------------------------------------------------------------------------------------


async def test_a_thought_is_added_and_a_branch_vetoed_while_the_search_runs(begin: Any) -> None:
    search = await begin()
    trace = await search.until(lambda trace: any(node.thought for node in trace.nodes))
    veto = next(node.id for node in trace.nodes if node.thought)
    assert (await search.post("veto", node=veto, why="Too slow.")).json() == {"status": "busy"}
    assert (await search.post("add", parent="0", thought="Add x to itself.")).json() == {"status": "busy"}

    def tried(trace: Trace) -> bool:
        return any(node.thought and node.thought.agent == "person" and node.attempts for node in trace.nodes)

    trace = await search.until(tried)
    before = {node.id: len(node.attempts) for node in trace.nodes if f"{node.id}.".startswith(f"{veto}.")}
    assert next(node for node in trace.nodes if node.id == veto).pruned
    assert [(row.decision, row.by) for row in trace.reviews] == [("reject", "person"), ("respond", "person")]
    end = await search.end()
    assert end.solution.stopped_by == "rollouts"
    assert {
        node.id: len(node.attempts) for node in end.nodes if f"{node.id}.".startswith(f"{veto}.")
    } == before


async def test_a_step_is_forked_with_another_agent_and_the_original_stays(begin: Any, server: str) -> None:
    search = await begin(rollouts=4)
    end = await search.end()
    points = await search.get("checkpoints")
    for point in points[1::4]:
        answer = await search.post("fork", checkpoint=point["id"], agents=["right"], calls=4)
        assert answer.status_code == 200, answer.text
        fork = Watched(search.client, search.http, answer.json()["thread"])
        assert answer.json()["url"] == f"/tree/{fork.thread}"
        past, forked = await search.trace(point["id"]), await fork.end()
        assert forked.solution.solved
        assert forked.solution.agent == "right"
        assert {node.id for node in past.nodes} <= {node.id for node in forked.nodes}
        assert 0 < forked.solution.usage["right"].calls <= 4
        state: Any = await search.client.threads.get_state(fork.thread)
        assert state["values"]["tree_url"] == f"{server}/tree/{fork.thread}"
        thread: Any = await search.client.threads.get(fork.thread)
        assert thread["metadata"]["forked_from"] == search.thread
    assert (await search.trace()) == end
    assert await search.get("checkpoints") == points
    listed = {row["id"] for row in (await search.http.get("/tree/threads")).json()}
    assert {search.thread, fork.thread} <= listed


async def test_a_running_search_is_forked_and_both_go_on(begin: Any) -> None:
    search = await begin(rollouts=8)
    await search.until(lambda trace: len(trace.nodes) > 1)
    answer = await search.post("fork", agents=["right"])
    fork = Watched(search.client, search.http, answer.json()["thread"])
    assert (await fork.end()).solution.solved
    end = await search.end()
    assert (end.solution.solved, end.solution.stopped_by) == (False, "rollouts")
    assert "right" not in end.solution.usage


async def test_a_search_that_has_ended_goes_on_with_more_calls(begin: Any) -> None:
    search = await begin(rollouts=2)
    used = sum(one.calls for one in (await search.end()).solution.usage.values())
    answer = await search.post("continue")
    assert answer.status_code == 409
    assert "say how many calls more" in answer.json()["error"]
    assert (await search.post("continue", calls=3)).json() == {"status": "busy"}
    end = await search.end()
    assert sum(one.calls for one in end.solution.usage.values()) == used + 3
    assert end.solution.stopped_by == "calls"
    assert end.reviews[-1].caps == {"calls": used + 3}


async def test_a_stopped_search_is_edited_and_goes_on(begin: Any, client: Any) -> None:
    search = await begin(rollouts=24)
    await search.until(lambda trace: any(node.thought and node.attempts for node in trace.nodes))
    [run] = await client.runs.list(search.thread)
    await client.runs.cancel(search.thread, run["run_id"], wait=True)
    assert (await search.get("trace"))["status"] == "interrupted"
    old = next(node for node in (await search.trace()).nodes if node.thought and node.attempts)
    assert (await search.post("edit", node=old.id, thought="Add x.")).json() == {"status": "interrupted"}
    trace = await search.trace()
    assert next(node for node in trace.nodes if node.id == old.id).attempts == old.attempts
    [new] = [node for node in trace.nodes if node.thought and node.thought.text == "Add x."]
    assert (await search.post("continue")).json() == {"status": "busy"}
    end = await search.end()
    assert next(node for node in end.nodes if node.id == new.id).attempts
    assert end.solution.stopped_by == "rollouts"


async def test_what_cannot_be_done_leaves_a_running_search_alone(begin: Any, client: Any) -> None:
    search = await begin(rollouts=12)
    await search.until(lambda trace: len(trace.nodes) > 1)
    for action, body, status in (
        ("edit", {"node": "0.77", "thought": "x"}, 400),
        ("edit", {"node": "0", "thought": "x"}, 400),
        ("add", {"parent": "0", "thought": ""}, 400),
        ("add", {"parent": "0", "thought": "x" * 2001}, 400),
        ("veto", {"node": "0"}, 400),
        ("veto", {"nodes": "0.0"}, 400),
        ("fork", {"agents": ["nobody"]}, 400),
        ("fork", {"agents": []}, 400),
        ("fork", {"calls": -1}, 400),
        ("fork", {"checkpoint": str(uuid4())}, 404),
        ("continue", {}, 409),
    ):
        answer = await search.post(action, **body)
        assert answer.status_code == status, (action, body, answer.text)
        assert answer.json()["error"]
    [run] = await client.runs.list(search.thread)
    assert run["status"] == "running"


async def test_a_solved_search_says_where_to_go_on(begin: Any) -> None:
    search = await begin(agents=("right",), rollouts=4)
    assert (await search.end()).solution.stopped_by == "solved"
    for action in ("continue", "fork"):
        answer = await search.post(action, calls=2)
        assert answer.status_code == 409
        assert "fork a checkpoint before" in answer.json()["error"]


# --- a conversation ---------------------------------------------------------------------------------------


async def test_a_conversation_links_to_its_tree_and_is_stepped_into(begin: Any, server: str) -> None:
    search = await begin("chat", rollouts=8)
    await search.until(lambda trace: len(trace.nodes) > 1)
    state: Any = await search.client.threads.get_state(search.thread)
    assert f"({server}/tree/{search.thread})" in state["values"]["messages"][-1]["content"]
    assert (await search.post("add", parent="0", thought="Add x to itself.")).json() == {"status": "busy"}
    end = await search.end()
    [own] = [node for node in end.nodes if node.thought and node.thought.agent == "person"]
    assert own.attempts
    assert end.reviews[0].by == "person"
    state = await search.client.threads.get_state(search.thread)
    assert state["values"]["messages"][-1]["content"].startswith("**Not solved**")
    assert own.id in state["values"]["tree"]


async def test_a_step_of_a_conversation_is_forked_into_another_conversation(begin: Any) -> None:
    search = await begin("chat", rollouts=4)
    end = await search.end()
    points = await search.get("checkpoints")
    assert len(points) > 8
    past = await search.trace(points[6]["id"])
    assert 0 < len(past.nodes) < len(end.nodes)
    answer = await search.post("fork", checkpoint=points[6]["id"], agents=["right"])
    fork = Watched(search.client, search.http, answer.json()["thread"])
    forked = await fork.end()
    assert {node.id for node in past.nodes} <= {node.id for node in forked.nodes}
    state: Any = await search.client.threads.get_state(fork.thread)
    kinds = [message["type"] for message in state["values"]["messages"]]
    texts = [message["content"] for message in state["values"]["messages"]]
    assert kinds == ["human", "ai", "ai", "ai"]
    assert "goes on from here with right" in texts[2]
    assert texts[3].startswith("**Solved**")
    original: Any = await search.client.threads.get_state(search.thread)
    assert len(original["values"]["messages"]) == 3


async def test_a_conversation_goes_on_by_a_message(begin: Any) -> None:
    search = await begin("chat", rollouts=2)
    before = await search.end()
    assert (await search.post("continue", calls=3)).json() == {"status": "busy"}
    end = await search.end()
    assert len(end.programs) > len(before.programs)
    state: Any = await search.client.threads.get_state(search.thread)
    kinds = [message["type"] for message in state["values"]["messages"]]
    assert kinds == ["human", "ai", "ai", "human", "ai", "ai"]
