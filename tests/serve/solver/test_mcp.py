"""The search over MCP: the official client, in process and over HTTP; the example's test has stdio."""

import asyncio
import os
import re
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("mcp", reason="needs the extra `mcp`")

from mcp import Client

from bdc_agents.agents.protocol import Reply, Request
from bdc_agents.config import Budget
from bdc_agents.errors import AgentError
from bdc_agents.runs import read_traces
from bdc_agents.sandbox import create_executor
from bdc_agents.sandbox.protocol import Executor
from bdc_agents.serve.keeping import trace_keeper
from bdc_agents.serve.mcp import create_mcp_server
from bdc_agents.testing import ScriptedAgent, ScriptedEndpoint

from ...listening import address

RIGHT = "```python\ndef double(n):\n    return 2 * n\n```"
GIVEN = {"statement": "Write double(n).", "tests": ["double(2) == 4", "assert double(3) == 6"]}


def learns(request: Request) -> str:
    return RIGHT if request.seed % 4 else "```python\ndef double(n):\n    return n + 2\n```"


@pytest.fixture
async def executor() -> AsyncIterator[Executor]:
    made = create_executor()
    yield made
    await made.aclose()


def scripted(*respond: Callable[[Request], str]) -> list[ScriptedAgent]:
    return [ScriptedAgent(f"agent-{number}", one) for number, one in enumerate(respond)]


def text_of(result: Any) -> str:
    return result.content[0].text


async def test_an_editors_agent_solves_checks_and_looks(executor: Executor, tmp_path: Path) -> None:
    keep = trace_keeper(tmp_path / "run", "mcp")
    seen: list[str] = []

    async def show(_: float, total: float | None, message: str | None) -> None:
        assert total is None
        seen.append(message or "")

    server = create_mcp_server(scripted(learns, learns), executor=executor, keep=keep)
    async with Client(server) as client:
        tools = {tool.name: tool for tool in (await client.list_tools()).tools}
        assert tools.keys() == {"solve", "run_tests", "view_tree"}
        assert set(tools["solve"].input_schema["required"]) == {"statement", "tests"}
        assert "ctx" not in tools["solve"].input_schema["properties"]
        found = await client.call_tool("solve", GIVEN, progress_callback=show)
        told = text_of(found)
        assert not found.is_error
        assert "Solved: the program passes all tests (2)." in told
        assert "return 2 * n" in told
        assert len(told) < 1500, "a small result"
        assert seen
        assert seen[-1].endswith("the best passes 100% of the tests")
        name = re.findall(r'Search "(\w+)"', told)[0]
        tree = text_of(await client.call_tool("view_tree", {"search": name}))
        assert "Nodes:\n- 0 the problem" in tree
        node = text_of(await client.call_tool("view_tree", {"search": name, "node": "0"}))
        assert "def double(n):" in node
    (trace,) = read_traces(tmp_path / "run")
    assert trace.problem.id.endswith(name)


@pytest.mark.parametrize(
    ("code", "tests", "says"),
    [
        ("def double(n): return 2 * n", ["double(2) == 4"], "passes 1 of 1 test."),
        ("def double(n): return n", ["double(2) == 4", "double(0) == 0"], "passes 1 of 2 tests.\nFailing:"),
        ("while True: pass", ["double(2) == 4"], "passes 0 of 1 test."),
        ("print(int(input()) + 1)", ["1 -> 2"], "passes 1 of 1 test."),
        ("def double(n): return 2 * n", "double(2) == 4\ndouble(3) == 6", "passes 2 of 2 tests."),
        ("import os; os.kill(os.getppid(), 9)", ["double(2) == 4"], "passes 0 of 1 test."),
    ],
)
async def test_programs_of_the_client_run_in_the_sandbox(
    executor: Executor, code: str, tests: Any, says: str
) -> None:
    async with Client(create_mcp_server(scripted(learns), executor=executor)) as client:
        result = await client.call_tool("run_tests", {"code": code, "tests": tests})
    assert not result.is_error
    assert says in text_of(result)


@pytest.mark.parametrize(
    ("tool", "arguments", "says"),
    [
        ("solve", GIVEN | {"tests": []}, "there is none, so nothing tells a right program"),
        ("solve", GIVEN | {"tests": ["double(2) =="]}, "tests"),
        ("solve", {"tests": ["f(1) == 1"]}, "statement"),
        ("run_tests", {"code": "x = 1", "tests": []}, "there is none"),
        ("run_tests", {"code": "x" * 200_000, "tests": ["f(1) == 1"]}, "100,000"),
        ("view_tree", {"search": "nonsense"}, "there is no search 'nonsense' here"),
        ("view_tree", {"search": "\x1b[31m" * 100}, "there is no search"),
        ("nonsense", {}, "unknown tool 'nonsense'; choose one of: run_tests, solve, view_tree"),
        ("slove", {}, "did you mean solve?"),
        ("solve", {"statement": "Write f."}, "tests: it is missing. Tests that the program must pass"),
        ("solve", {"statement": 5, "tests": ["f(1) == 1"]}, "statement: a text is needed"),
        ("solve", GIVEN | {"tests": 5}, "tests: a list is needed"),
        ("solve", GIVEN | {"tests": [1]}, "found 1"),
        ("solve", GIVEN | {"entrypoint": "f"}, "unknown argument 'entrypoint'; did you mean entry_point?"),
        ("solve", GIVEN | {"budget": {"calls": 3}}, "unknown argument 'budget'; choose one of"),
        ("run_tests", {"program": "x", "tests": ["f(1) == 1"]}, "code: it is missing. The program"),
        ("run_tests", {"code": "", "tests": ["f(1) == 1"]}, "code: it is empty"),
        ("view_tree", {"id": "a"}, "search: it is missing. The search"),
        ("view_tree", {"search": 12}, "there is no search '12' here"),
    ],
)
async def test_what_cannot_be_done_is_said_to_the_model(
    executor: Executor, tool: str, arguments: dict[str, Any], says: str
) -> None:
    async with Client(create_mcp_server(scripted(learns), executor=executor)) as client:
        result = await client.call_tool(tool, arguments)
    assert result.is_error
    told = text_of(result)
    assert says in told
    assert "pydantic" not in told
    assert "validation error" not in told


async def test_null_and_tests_as_objects_are_understood(executor: Executor) -> None:
    given = GIVEN | {
        "tests": [{"call": "double(2)", "expected": 4}],
        "entry_point": None,
        "starter_code": None,
    }
    async with Client(create_mcp_server(scripted(learns, learns), executor=executor)) as client:
        result = await client.call_tool("solve", given)
        tools = {tool.name: tool for tool in (await client.list_tools()).tools}
    assert "Solved" in text_of(result)
    # Models are still asked for lines, which they get right.
    assert tools["solve"].input_schema["properties"]["tests"]["items"] == {"type": "string"}


async def test_agents_that_do_not_answer_are_told(executor: Executor) -> None:
    def refuses(_: Request) -> str:
        raise AgentError("one", "the key was refused", lasting=True)

    async with Client(create_mcp_server(scripted(refuses), executor=executor)) as client:
        told = text_of(await client.call_tool("solve", GIVEN))
    assert "Not solved" in told
    assert "the key was refused" in told


class Waiting(ScriptedAgent):
    """Never answers; knows whether a call of it began, and whether it was cancelled."""

    def __init__(self) -> None:
        super().__init__("waiting", lambda _: "")
        self.began, self.ended = asyncio.Event(), asyncio.Event()

    async def reply(self, request: Request) -> Reply:
        self.began.set()
        try:
            await asyncio.sleep(600)
        finally:
            self.ended.set()
        raise AssertionError


async def test_a_client_that_gives_up_ends_the_search(executor: Executor) -> None:
    agent = Waiting()
    async with Client(create_mcp_server([agent], executor=executor)) as client:
        call = asyncio.create_task(client.call_tool("solve", GIVEN))
        async with asyncio.timeout(10):
            await agent.began.wait()
            call.cancel()
            await agent.ended.wait()


async def test_a_budget_caps_each_search(executor: Executor) -> None:
    wrong = ScriptedAgent(
        "wrong", lambda request: f"```python\ndef double(n):\n    return {request.seed}\n```"
    )
    server = create_mcp_server([wrong], executor=executor, budget=Budget(calls=4))
    async with Client(server) as client:
        for searches in (1, 2):
            told = text_of(await client.call_tool("solve", GIVEN))
            assert "The search reached its limit (calls)." in told
            assert len(wrong.requests) <= 4 * searches


KEY = "a-key-that-is-long-enough"


@pytest.fixture
def listening(tmp_path: Path) -> Iterator[str]:
    """The address of `bdc mcp --http`, in a process of its own, which ends well when it is told to."""
    with ScriptedEndpoint(lambda _: RIGHT) as endpoint, (tmp_path / "log").open("w+") as log:
        words = [sys.executable, "-m", "bdc_agents.cli", "mcp", "--http", "--port", "0", "--out", "run"]
        words += ["-a", f"one@{endpoint.url}", "-a", f"two@{endpoint.url}"]
        own = {"BDC_API_KEY": KEY, "OPENAI_API_KEY": "k", "XDG_CACHE_HOME": str(tmp_path)}
        with subprocess.Popen(words, stderr=log, cwd=tmp_path, env=os.environ | own) as server:
            try:
                yield address(tmp_path / "log", server)
            finally:
                server.send_signal(signal.SIGTERM)
        assert server.returncode == 0, (tmp_path / "log").read_text()


async def test_over_http_with_a_key(listening: str, tmp_path: Path) -> None:
    import httpx2
    from mcp.client.streamable_http import streamable_http_client

    headers = {"Authorization": f"Bearer {KEY}"}
    async with httpx2.AsyncClient(headers=headers, timeout=60) as http:
        async with Client(streamable_http_client(listening, http_client=http)) as client:
            told = text_of(await client.call_tool("solve", GIVEN))
        for wrong in ("", "Bearer wrong"):
            assert (await http.post(listening, json={}, headers={"Authorization": wrong})).status_code == 401
        foreign = await http.post(listening, json={}, headers={"Host": "evil.example"})
        assert foreign.status_code == 403
    assert "Solved: the program passes all tests (2)." in told
    assert len(read_traces(tmp_path / "run")) == 1
