"""The examples run as they stand, against an endpoint that costs nothing."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bdc_agents import load_task
from bdc_agents.sandbox import probe_tier
from bdc_agents.testing import ScriptedEndpoint

from ..listening import address
from ..warm import Warm

EXAMPLES = Path(__file__).parents[2] / "examples"
WRONG = "```python\ndef longest_streak(days):\n    return {}\n```"


def respond(body: dict[str, Any]) -> str | dict[str, Any]:
    """The model called right is right; the other one thinks on and is wrong; a tool is called."""
    if "tools" in body:
        return call_a_tool(body)
    if "reasonableness" in str(body["messages"]):
        return json.dumps({"thoughts": [{"thought": f"idea {body['seed']}", "reasonableness": 0.5}]})
    if "double" in str(body["messages"]):
        return "```python\ndef double(x):\n    return 2 * x\n```"
    if body["model"] == "right":
        return f"```python\n{load_task('demo:longest-streak').hidden.reveal_reference()}\n```"
    return WRONG.format(body["seed"])


def call_a_tool(body: dict[str, Any]) -> str | dict[str, Any]:
    """The call of a tool with a problem, and after it what came back."""
    last = body["messages"][-1]
    if last["role"] == "tool":
        return f"I have it: {last['content']}"
    names = [tool["function"]["name"] for tool in body["tools"]]
    arguments: dict[str, Any] = {"statement": "Write double(x).", "tests": ["double(4) == 8"]}
    if "task" in names:  # deepagents' tool that delegates
        description = "Write double(x).\nTests:\n- double(4) == 8"
        arguments = {"description": description, "subagent_type": "programmer"}
    name = "task" if "task" in names else names[0]
    if "execute" in names and "run it" in str(body["messages"]):  # the tool of a sandbox's agent
        command = "echo 'print(2 * 21)' > program.py && python program.py; cat /etc/passwd"
        name, arguments = "execute", {"command": command}
    function = {"name": name, "arguments": json.dumps(arguments)}
    return {
        "role": "assistant",
        "content": None,
        "tool_calls": [{"id": "call-1", "type": "function", "function": function}],
    }


@pytest.fixture
def run(tmp_path: Path, python: Warm) -> Any:
    def run(name: str, *words: str) -> str:
        with ScriptedEndpoint(respond) as endpoint:
            agent = '[agents.{0}]\nmodel = "{0}"\nbase_url = "{1}"\napi_key = "k"\n'
            tables = (agent.format(model, endpoint.url) for model in ("wrong", "right"))
            (tmp_path / "bdc.toml").write_text("".join(tables))
            environment = os.environ | {"XDG_CACHE_HOME": str(tmp_path / "cache")}
            environment |= {"OPENAI_BASE_URL": endpoint.url, "OPENAI_API_KEY": "k"}
            done = python.run([str(EXAMPLES / name), *words], tmp_path, environment)
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


def test_embed_the_search_in_another_app(run: Callable[..., str]) -> None:
    out = run("embed.py", "Write double(x), which returns twice x.", "assert double(4) == 8")
    assert "node 0 value 1.0" in out
    assert "return 2 * x" in out


def test_fork_a_past_step_with_another_agent(run: Callable[..., str]) -> None:
    out = run("fork.py", "wrong", "right")
    assert out.splitlines() == ["wrong not solved rollouts", "right solved solved"]


def test_plan_a_search_by_a_policy_of_ones_own(run: Callable[..., str]) -> None:
    assert run("ab_mcts.py", "wrong", "right").startswith("solved after ")


def test_decide_in_the_midst_of_a_search(run: Callable[..., str]) -> None:
    out = run("human.py", "respond Count in one pass.", "fine", "edit 14")
    assert "This program passes" in out
    assert "> respond Count in one pass." in out
    assert "decision 1 of " in out  # What is wrong with "fine", after which it is asked again.
    assert "The search has used its calls" in out
    assert "> edit 14" in out
    assert "not solved by" in out


def test_accept_what_a_search_has_found(run: Callable[..., str]) -> None:
    assert "solved by right" in run("human.py", "approve")


def test_the_page_on_people(tmp_path: Path, run: Callable[..., str]) -> None:
    page = (EXAMPLES.parent / "docs/human.md").read_text(encoding="utf-8")
    (tmp_path / "page.py").write_text("\n".join(re.findall(r"```python\n(.*?)```", page, re.DOTALL)))
    out = run(str(tmp_path / "page.py"))
    assert out.splitlines()[0] == "accept"
    assert out.splitlines()[-1] == "True"


def test_the_page_on_streams(tmp_path: Path, run: Callable[..., str]) -> None:
    """Its snippets, one after the other, and then what they define is used."""
    page = (EXAMPLES.parent / "docs/streaming.md").read_text(encoding="utf-8")
    used = """
from asyncio import run
from langgraph.checkpoint.memory import InMemorySaver
from bdc_agents import create_search_graph
print(run(nightly("42")).solution.solved)


async def steps():
    app = create_search_graph(load_agents()).compile(checkpointer=InMemorySaver())
    config = {"configurable": {"thread_id": "1"}}
    await app.ainvoke({"problem": load_task("demo:longest-streak").problem}, config)
    return [len(programs) async for _, programs in programs_at_each_step(app, config)]


print(run(steps()))
"""
    code = "\n".join([*re.findall(r"```python\n(.*?)```", page, re.DOTALL), used])
    (tmp_path / "page.py").write_text(code)
    *answered, solved, steps = run(str(tmp_path / "page.py")).splitlines()
    assert {line.split()[0] for line in answered} == {"wrong", "right"}
    assert solved == "True"
    assert json.loads(steps)[0] > 0 == json.loads(steps)[-1]


def test_talk_with_the_search_in_the_terminal(run: Callable[..., str]) -> None:
    out = run(
        "chat.py",
        "Write double(x), which returns twice x. double(4) should be 8.",
        "double(0) should be 0",
        "thanks",
    )
    assert "I understood: the function `double`." in out
    assert "  ... " in out
    assert "**Solved**: `double` passes 2 of 2 tests." in out
    assert "return 2 * x" in out


def test_the_search_as_a_tool_of_an_agent(run: Callable[..., str]) -> None:
    out = run("tool.py", "openai:right", "I need double(x).")
    assert "node 0 value 1.0" in out
    assert "agents asked: wrong right" in out
    assert "I have it: Solved: the program passes all tests (1)." in out


def test_the_search_as_a_sub_agent(run: Callable[..., str]) -> None:
    pytest.importorskip("deepagents", reason="needs the extra `deepagents`")
    out = run("subagent.py", "openai:right", "I need double(x).")
    assert "I have it: Solved: the program passes all tests (1)." in out


def test_openais_client_and_the_search(tmp_path: Path, python: Warm) -> None:
    pytest.importorskip("uvicorn", reason="needs the extra `serve`")
    key = {"BDC_API_KEY": "a-key-that-is-long-enough", "XDG_CACHE_HOME": str(tmp_path / "cache")}
    with ScriptedEndpoint(respond) as endpoint, (tmp_path / "log").open("w+") as log:
        agents = (f"-arigh{letter}@{endpoint.url}" for letter in "ts")
        words = [sys.executable, "-m", "bdc_agents.cli", "serve", "--port", "0", *agents]
        environment = os.environ | key | {"OPENAI_API_KEY": "k"}
        with subprocess.Popen(words, stderr=log, cwd=tmp_path, env=environment) as server:
            try:
                url = address(tmp_path / "log", server)
                asks = [str(EXAMPLES / "openai_client.py"), url, "Write double(x). double(4) should be 8."]
                done = python.run(asks, tmp_path, environment)
            finally:
                server.terminate()
        assert server.returncode == 0, (tmp_path / "log").read_text()
    assert done.returncode == 0, done.stderr
    assert "I understood: the function `double`." in done.stdout
    assert "return 2 * x" in done.stdout
    assert "solved: True with " in done.stdout


def test_an_mcp_client(run: Callable[..., str]) -> None:
    pytest.importorskip("mcp", reason="needs the extra `mcp`")
    out = run("mcp_client.py", "Write double(x).", "double(4) == 8")
    assert "tools: solve run_tests view_tree" in out
    assert "... 1 program; the best passes 100% of the tests" in out
    assert "Solved: the program passes all tests (1)." in out
    assert "Nodes:\n- 0 the problem" in out


def test_a_deep_agent_in_the_sandbox(run: Callable[..., str]) -> None:
    pytest.importorskip("deepagents", reason="needs the extra `deepagents`")
    if not probe_tier("namespaces").holds:
        pytest.skip("needs the tier namespaces")
    out = run("sandbox.py", "openai:right", "Write a program and run it.")
    assert "tool: 42\ncat: /etc/passwd: No such file" in out
    assert "left in the workspace: program.py" in out


def test_the_page_on_tools(tmp_path: Path, run: Callable[..., str]) -> None:
    """Its snippets, one after the other, and then what they made is used."""
    pytest.importorskip("deepagents", reason="needs the extra `deepagents`")
    page = (EXAMPLES.parent / "docs/tools.md").read_text(encoding="utf-8")
    used = "print(agent.invoke({'messages': ['I need double(x).']})['messages'][-1].text, boss.name)"
    code = "\n".join([*re.findall(r"```python\n(.*?)```", page, re.DOTALL), used])
    (tmp_path / "page.py").write_text(code)
    assert "I have it: Solved" in run(str(tmp_path / "page.py"))
