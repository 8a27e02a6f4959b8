"""The graph in a real `langgraph dev`, driven as Studio and an MCP client drive it.

    pip install 'bdc-agents[studio]'
    BDC_TEST_STUDIO=1 python -m pytest tests/studio

BDC_TEST_STUDIO may also name the `langgraph` command of another environment.
"""

import json
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import httpx
import pytest
from langgraph_sdk import get_client

from bdc_agents.testing import ScriptedEndpoint

PROBLEM = {
    "id": "double",
    "statement": "Write double(x), which returns twice x.",
    "public_tests": ["double(4) -> 8", {"args": [3], "expected": 6}],
}
SEARCH = {"rollouts": 3, "leaves": 2}


def respond(body: dict[str, Any]) -> str:
    """The agent called right is right; the one called wrong never is."""
    if "reasonableness" in str(body["messages"]):
        idea = {"thought": f"idea {body['seed'] % 97}", "reasonableness": 0.5}
        return json.dumps({"thoughts": [idea]})
    factor = 2 if body["model"] == "right" else 3 + body["seed"] % 97
    return f"```python\ndef double(x):\n    return {factor} * x\n```"


@pytest.fixture(scope="module")
def server(langgraph_dev: Callable[..., str]) -> Iterator[str]:
    """The address of a server that was started in a folder with a bdc.toml."""
    with ScriptedEndpoint(respond) as endpoint:
        agent = '[agents.{0}]\nmodel = "{0}"\nbase_url = "{1}"\napi_key = "k"\n'
        yield langgraph_dev("".join(agent.format(name, endpoint.url) for name in ("wrong", "right")))


@pytest.fixture
async def client(server: str) -> AsyncIterator[Any]:
    async with get_client(url=server) as client:
        yield client


async def test_a_run_streams_every_node_of_its_tree(client: Any) -> None:
    thread = await client.threads.create()
    context = {"agents": ["wrong"], "search": SEARCH}
    events = [
        part.data
        async for part in client.runs.stream(
            thread["thread_id"],
            "search",
            input={"problem": PROBLEM},
            context=context,
            stream_mode="custom",
        )
        if part.event == "custom"
    ]
    state: Any = await client.threads.get_state(thread["thread_id"])
    told = {event["node"]["id"] for event in events if event["type"] == "node"}
    assert told == set(state["values"]["tree"])
    assert len(told) > 1
    assert state["values"]["solution"]["solved"] is False
    assert state["values"]["solution"]["stopped_by"] == "rollouts"
    assert {event["type"] for event in events} >= {"started", "asked", "answered", "program", "finished"}


async def test_a_past_checkpoint_forks_with_another_agent_and_the_original_stays(client: Any) -> None:
    thread = (await client.threads.create())["thread_id"]
    first: Any = await client.runs.wait(
        thread,
        "search",
        input={"problem": PROBLEM},
        context={"agents": ["wrong"], "search": SEARCH},
    )
    assert first["solution"]["solved"] is False
    history: Any = await client.threads.get_history(thread, limit=100)
    past = next(
        s for s in history if "select" in s["next"] and s["values"]["rollouts"] == 1 and s["values"]["tree"]
    )
    forked: Any = await client.runs.wait(
        thread,
        "search",
        input=None,
        checkpoint_id=past["checkpoint"]["checkpoint_id"],
        context={"agents": ["right"], "search": SEARCH},
    )
    assert forked["solution"]["solved"] is True
    assert set(past["values"]["tree"]) <= set(forked["tree"])
    original: Any = await client.threads.get_state(
        thread, checkpoint_id=history[0]["checkpoint"]["checkpoint_id"]
    )
    assert original["values"]["solution"] == first["solution"]
    assert original["values"]["tree"] == first["tree"]
    assert original["values"]["programs"], "a state has what a history leaves out"
    assert not any("programs" in one["values"] for one in history)


async def test_every_checkpoint_is_edited_and_goes_on(client: Any) -> None:
    thread = (await client.threads.create())["thread_id"]
    context = {"agents": ["wrong"], "search": SEARCH}
    await client.runs.wait(thread, "search", input={"problem": PROBLEM}, context=context)
    history: Any = await client.threads.get_history(thread, limit=100)
    assert len(history) > 10
    for past in history[:0:-1]:
        begins = "__start__" in past["next"]
        edited: Any = await client.threads.update_state(
            thread,
            {"problem": PROBLEM} if begins else {"best": 0.0},
            checkpoint_id=past["checkpoint"]["checkpoint_id"],
        )
        at = edited["checkpoint"]["checkpoint_id"]
        there: Any = await client.threads.get_state(thread, checkpoint_id=at)
        assert there["next"] == (["start"] if begins else past["next"])
        end: Any = await client.runs.wait(thread, "search", input=None, checkpoint_id=at, context=context)
        assert end["solution"]["stopped_by"] == "rollouts"


async def test_events_do_not_end_after_25_steps(client: Any) -> None:
    thread = (await client.threads.create())["thread_id"]
    context = {"agents": ["wrong"], "search": {"rollouts": 12, "leaves": 1}}
    parts = [
        part
        async for part in client.runs.stream(
            thread, "search", input={"problem": PROBLEM}, context=context, stream_mode="events"
        )
    ]
    assert "error" not in {part.event for part in parts}
    state: Any = await client.threads.get_state(thread)
    assert state["values"]["solution"]["stopped_by"] == "rollouts"
    assert state["metadata"]["step"] > 30


async def test_schemas_show_real_fields(client: Any) -> None:
    (assistant,) = await client.assistants.search(graph_id="search")
    schemas: Any = await client.assistants.get_schemas(assistant["assistant_id"])
    for name in ("input_schema", "output_schema", "state_schema", "context_schema"):
        assert schemas[name], name
    context = json.dumps(schemas["context_schema"])
    assert all(field in context for field in ("rollouts", "stop_when_solved", "money", "agents", "paper"))
    assert "public_tests" in json.dumps(schemas["input_schema"])
    graph: Any = await client.assistants.get_graph(assistant["assistant_id"], xray=True)
    assert {"select", "expand", "boost", "execute", "backpropagate"} <= {
        node["id"] for node in graph["nodes"]
    }


async def test_a_wrong_setting_is_refused(client: Any) -> None:
    thread = (await client.threads.create())["thread_id"]
    parts = [
        part
        async for part in client.runs.stream(
            thread,
            "search",
            input={"problem": PROBLEM},
            context={"search": {"rolouts": 2}},
        )
    ]
    assert parts[-1].event == "error"
    assert parts[-1].data["error"] == "ConfigError"


async def test_a_conversation_streams_and_goes_on_from_its_tree(client: Any) -> None:
    """As agent-chat-ui drives it: values, and messages and events with those of subgraphs."""
    thread = (await client.threads.create())["thread_id"]

    async def say(text: str) -> tuple[set[str], list[str], Any]:
        parts = [
            part
            async for part in client.runs.stream(
                thread,
                "chat",
                input={"messages": [{"type": "human", "content": text}]},
                stream_mode=["values", "messages-tuple", "custom"],
                stream_subgraphs=True,
            )
        ]
        events = {part.event.partition("|")[0] for part in parts}
        chunks = [
            part.data[0]["content"].strip()
            for part in parts
            if part.event.startswith("messages") and part.data[0]["type"] == "AIMessageChunk"
        ]
        return events, chunks, (await client.threads.get_state(thread))["values"]

    events, chunks, state = await say("Write double(x), which returns twice x. double(4) should be 8.")
    assert events >= {"values", "messages", "custom"}
    assert "error" not in events
    assert any("program" in chunk for chunk in chunks)
    assert [message["type"] for message in state["messages"]] == ["human", "ai", "ai"]
    assert state["messages"][-1]["content"].startswith("**Solved**")
    tree = set(state["tree"])
    _, _, state = await say("double(3) should be 6")
    assert state["messages"][-1]["content"].startswith("**Solved**: `double` passes 2 of 2 tests.")
    assert set(state["tree"]) >= tree
    _, _, state = await say("thanks")
    assert len(state["messages"]) == 8


async def test_a_chat_client_finds_messages_in_the_schemas(client: Any) -> None:
    (assistant,) = await client.assistants.search(graph_id="chat")
    schemas: Any = await client.assistants.get_schemas(assistant["assistant_id"])
    assert [*schemas["input_schema"]["properties"]] == ["messages"]
    assert "messages" in schemas["output_schema"]["properties"]
    graph: Any = await client.assistants.get_graph(assistant["assistant_id"], xray=True)
    assert {"read", "propose", "reply", "search:select"} <= {node["id"] for node in graph["nodes"]}


def test_the_chat_is_an_agent_over_a2a(server: str) -> None:
    (assistant,) = httpx.post(f"{server}/assistants/search", json={"graph_id": "chat"}, timeout=60).json()
    part = {"kind": "text", "text": "Write double(x), which returns twice x. double(4) should be 8."}
    message = {"role": "user", "parts": [part], "messageId": "m1"}
    body = {"jsonrpc": "2.0", "id": "1", "method": "message/send", "params": {"message": message}}
    headers = {"Accept": "application/json"}
    url = f"{server}/a2a/{assistant['assistant_id']}"
    answer = httpx.post(url, json=body, headers=headers, timeout=120).json()
    assert "**Solved**" in json.dumps(answer["result"]), answer


def test_the_search_is_a_tool_over_mcp(server: str) -> None:
    def call(method: str, **params: Any) -> Any:
        body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
        headers = {"Accept": "application/json, text/event-stream"}
        answer = httpx.post(f"{server}/mcp/", json=body, headers=headers, timeout=60, follow_redirects=True)
        text = answer.text
        return json.loads(text.split("data:", 1)[1] if text.startswith("event:") else text)["result"]

    client = {"name": "test", "version": "1"}
    call("initialize", protocolVersion="2025-03-26", capabilities={}, clientInfo=client)
    tools = {tool["name"]: tool for tool in call("tools/list")["tools"]}
    tool = tools["bdc-search"]
    assert "program" in tool["description"]
    assert "problem" in tool["inputSchema"]["properties"]
    result = call("tools/call", name="bdc-search", arguments={"problem": PROBLEM})
    assert not result.get("isError")
    assert "def double" in result["content"][0]["text"]
