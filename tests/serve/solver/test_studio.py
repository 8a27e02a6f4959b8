"""`graphs/solve.py` in a real `langgraph dev`, driven as Studio drives it.

    pip install 'bdc-agents[studio,distill]'
    BDC_TEST_STUDIO=1 python -m pytest tests/serve/solver/test_studio.py

The library is a random model that writes no program: System 1 fails, and System 2 has to solve.
"""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from langgraph_sdk import get_client

from bdc_agents.testing import ScriptedEndpoint

PROBLEM = {
    "id": "double",
    "statement": "Write double(x), which returns twice x.",
    "entry_point": "double",
    "public_tests": [{"kind": "call", "call": "double(4)", "expected": ["8"]}],
}
CONTEXT = {"samples": 2, "max_tokens": 8}


def respond(_: Any) -> str:
    time.sleep(0.2)  # So that a search runs for a while.
    return "```python\ndef double(x):\n    return 2 * x\n```"


@pytest.fixture(scope="module")
def server(langgraph_dev: Callable[..., str], one_expert: Path) -> Iterator[str]:
    with ScriptedEndpoint(respond) as endpoint:
        agent = f'[agents.right]\nmodel = "m"\nbase_url = "{endpoint.url}"\napi_key = "k"\n'
        yield langgraph_dev(agent, BDC_LIBRARY=str(one_expert))


@pytest.fixture
async def client(server: str) -> AsyncIterator[Any]:
    async with get_client(url=server) as client:
        yield client


async def test_system_two_solves_what_system_one_did_not(client: Any) -> None:
    thread = (await client.threads.create())["thread_id"]
    parts = [
        part
        async for part in client.runs.stream(
            thread,
            "solve",
            input={"problem": PROBLEM},
            context=CONTEXT,
            stream_mode=["updates", "custom"],
        )
    ]
    steps = [step for part in parts if part.event == "updates" for step in part.data]
    assert [steps[0], steps[1], steps[-1]] == ["route", "answer", "escalate"]
    assert "check" in steps
    state: Any = await client.threads.get_state(thread)
    answer = state["values"]["answer"]
    assert (answer["system"], answer["solved"]) == (2, True)
    assert answer["experts"] == {"shared": 1.0}
    assert "2 * x" in answer["code"]


async def test_a_past_checkpoint_forks_without_the_search(client: Any) -> None:
    thread = (await client.threads.create())["thread_id"]
    first: Any = await client.runs.wait(thread, "solve", input={"problem": PROBLEM}, context=CONTEXT)
    history: Any = await client.threads.get_history(thread, limit=100)
    past = next(state for state in history if state["next"] == ["check"])
    forked: Any = await client.runs.wait(
        thread,
        "solve",
        input=None,
        checkpoint_id=past["checkpoint"]["checkpoint_id"],
        context=CONTEXT | {"escalate": False},
    )
    assert (first["answer"]["solved"], forked["answer"]["solved"]) == (True, False)
    assert forked["answer"]["system"] == 1


async def test_schemas_show_real_fields(client: Any) -> None:
    (assistant,) = await client.assistants.search(graph_id="solve")
    schemas: Any = await client.assistants.get_schemas(assistant["assistant_id"])
    context = json.dumps(schemas["context_schema"])
    assert all(field in context for field in ("samples", "temperature", "escalate", "money"))
    assert "public_tests" in json.dumps(schemas["input_schema"])
    graph: Any = await client.assistants.get_graph(assistant["assistant_id"])
    assert {"route", "answer", "check", "escalate"} <= {node["id"] for node in graph["nodes"]}


async def test_every_checkpoint_is_edited_and_goes_on(client: Any) -> None:
    thread = (await client.threads.create())["thread_id"]
    await client.runs.wait(thread, "solve", input={"problem": PROBLEM}, context=CONTEXT)
    history: Any = await client.threads.get_history(thread, limit=100)
    for past in history[:0:-1]:
        edited: Any = await client.threads.update_state(
            thread,
            {"problem": PROBLEM} | ({} if "__start__" in past["next"] else {"note": "edited"}),
            checkpoint_id=past["checkpoint"]["checkpoint_id"],
        )
        end: Any = await client.runs.wait(
            thread,
            "solve",
            input=None,
            checkpoint_id=edited["checkpoint"]["checkpoint_id"],
            context=CONTEXT,
        )
        assert end["answer"]["solved"] is True


async def test_the_search_of_a_solver_has_a_page_and_its_steps_are_forked(client: Any, server: str) -> None:
    thread = (await client.threads.create())["thread_id"]
    stream = client.runs.stream(
        thread, "solve", input={"problem": PROBLEM}, context=CONTEXT, stream_mode="custom"
    )
    first, *_ = [part.data async for part in stream if part.event == "custom"]
    assert (first["type"], first["tree_url"]) == ("routed", f"{server}/tree/{thread}")
    async with httpx.AsyncClient(base_url=f"{server}/tree", timeout=60) as http:
        trace = (await http.get(f"/{thread}/trace")).json()["trace"]
        assert trace["solution"]["solved"]
        points = (await http.get(f"/{thread}/checkpoints")).json()
        past = next(point["id"] for point in points if point["node"] == "select")
        assert past.startswith("escalate:")
        early = (await http.get(f"/{thread}/trace", params={"checkpoint": past})).json()["trace"]
        assert 0 < len(early["programs"]) + 1 <= len(trace["programs"])
        told = await http.post(f"/{thread}/continue", json={"calls": 3})
        assert told.status_code == 409
        assert "fork a checkpoint" in told.json()["error"]
        forked = (await http.post(f"/{thread}/fork", json={"checkpoint": past, "calls": 3})).json()
        for _ in range(100):
            found = (await http.get(f"/{forked['thread']}/trace")).json()
            if found["status"] == "idle":
                break
            await asyncio.sleep(0.2)
        assert found["trace"]["solution"]["solved"]
        rows = {row["id"]: row for row in (await http.get("/threads")).json()}
        assert rows[thread]["outcome"] == rows[forked["thread"]]["outcome"] == "solved"
    fork: Any = await client.threads.get(forked["thread"])
    assert fork["metadata"]["graph_id"] == "search"


async def test_the_search_of_a_solver_is_watched_while_it_runs(client: Any, server: str) -> None:
    thread = (await client.threads.create())["thread_id"]
    await client.runs.create(thread, "solve", input={"problem": PROBLEM}, context=CONTEXT)
    seen = []
    async with httpx.AsyncClient(base_url=f"{server}/tree/{thread}", timeout=60) as http:
        for _ in range(300):
            found = (await http.get("/trace")).json()
            seen.append((found["status"], found["trace"] is not None))
            if found["status"] == "idle":
                break
            await asyncio.sleep(0.05)
    assert ("busy", True) in seen
    assert seen[-1] == ("idle", True)
