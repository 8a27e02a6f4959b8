"""Agents over local models: what is refused at once, and a real one from settings to reply."""

import asyncio
import json
import os
import signal
from pathlib import Path

import pytest
from langchain_core.messages import HumanMessage

from bdc_agents.agents.cache import ReplyCache
from bdc_agents.agents.local import CATALOGUE, describe_models, local_agent
from bdc_agents.agents.local.server import runtime_folder
from bdc_agents.agents.protocol import Agent, Request
from bdc_agents.config import AgentConfig
from bdc_agents.errors import ConfigError, ModelError
from bdc_agents.locks import is_locked

SMALL = {"slots": 2, "context": 2048, "threads": 1}


def config(model: str = "local:smollm2-135m", **settings: object) -> AgentConfig:
    return AgentConfig.model_validate({"model": model, "max_tokens": 24, "options": SMALL} | settings)


def ask(text: str, **settings: object) -> Request:
    return Request.model_validate({"messages": (HumanMessage(text),), "temperature": 0.0} | settings)


def servers() -> list[Path]:
    """The folders of the servers that run."""
    return [path.parent for path in runtime_folder().glob("*/alive") if is_locked(path)]


@pytest.fixture
def _runtime() -> None:
    pytest.importorskip("xllamacpp", reason="local models need the extra `local`")


@pytest.mark.usefixtures("_runtime")
def test_what_cannot_be_an_agent_is_refused_with_the_choices(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"did you mean smollm2-135m\?.*`path`"):
        local_agent("a", config("local:smolm2-135m"), None)
    with pytest.raises(ModelError, match=r"without a chat template.*qwen2\.5-coder-0\.5b"):
        local_agent("a", config("local:gemma-3-270m"), None)
    with pytest.raises(ModelError, match="is not GGUF"):
        local_agent("a", config("local:mine", path=Path(__file__)), None)
    with pytest.raises(ConfigError, match=r"agents\.a\.options: slots: at least 1 is needed"):
        local_agent("a", config(options={"slots": 0}), None)
    with pytest.raises(ConfigError, match=r"agents\.a\.options: top_p: .*'high'"):
        local_agent("a", config(options={"top_p": "high"}), None)


def test_without_llama_cpp_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "xllamacpp", None)
    with pytest.raises(ModelError, match=r"pip install 'bdc-agents\[local\]'"):
        local_agent("a", config(), None)


@pytest.mark.usefixtures("_runtime")
def test_local_calls_cost_nothing_and_start_nothing_by_themselves() -> None:
    agent = local_agent("a", config(), None)
    assert isinstance(agent, Agent)
    assert agent.name == "a"
    bound = agent.bound(ask("hello"))
    assert bound.cost == 0
    assert bound.completion_tokens == 24
    assert servers() == []


def test_the_models_and_where_they_are(tmp_path: Path) -> None:
    (tmp_path / CATALOGUE["gemma-3-270m"].file).write_bytes(b"GGUF, but another one")
    found = {status.name: status for status in describe_models(tmp_path)}
    assert found.keys() == CATALOGUE.keys()
    assert found["smollm2-135m"].path is None
    assert found["smollm2-135m"].agent
    assert not found["gemma-3-270m"].agent
    assert "expected a5fd3b62" in found["gemma-3-270m"].problem


@pytest.mark.model
async def test_a_real_agent_replies_and_repeats_itself_from_the_cache(smollm2: Path, tmp_path: Path) -> None:
    cache = ReplyCache(tmp_path / "replies")
    agent = local_agent("small", config(), cache)
    request = ask("Name a colour.")
    first = await agent.reply(request)
    assert first.text.strip()
    assert first.usage.calls == 1
    assert first.usage.prompt_tokens > 0
    assert 0 < first.usage.completion_tokens <= 24
    assert first.usage.cost == 0
    long = await agent.reply(ask("Count from one to a thousand, in words."))
    assert long.truncated
    assert long.usage.completion_tokens == 24
    await agent.aclose()
    # Served in another way: the replies are the same, so the cache knows them, without a server.
    other = local_agent("other", config(options={**SMALL, "slots": 1}), cache)
    again = await other.reply(request)
    assert (again.text, again.usage.cached) == (first.text, 1)
    assert [folder for folder in servers() if not (folder / "server.json").exists()] == []
    await other.aclose()
    cache.close()


@pytest.mark.model
async def test_a_schema_holds_whatever_the_model_would_rather_say(smollm2: Path) -> None:
    agent = local_agent("small", config(max_tokens=200), None)
    schema = {
        "type": "object",
        "properties": {
            "thought": {"type": "string", "maxLength": 60},
            "prior": {"enum": [0.1, 0.5, 0.9]},
        },
        "required": ["thought", "prior"],
        "additionalProperties": False,
    }
    replies = await asyncio.gather(
        *(agent.reply(ask("Tell me a joke.", json_schema=schema, temperature=1.0, seed=n)) for n in range(3))
    )
    for reply in replies:
        value = json.loads(reply.text)
        assert set(value) == {"thought", "prior"}
        assert len(value["thought"]) <= 60
        assert value["prior"] in (0.1, 0.5, 0.9)
    await agent.aclose()


@pytest.mark.model
def test_one_agent_in_two_event_loops_with_a_dead_server_between(smollm2: Path) -> None:
    agent = local_agent("small", config(), None)
    assert asyncio.run(agent.reply(ask("Say hello."))).text.strip()
    (folder,) = servers()
    os.kill(json.loads((folder / "server.json").read_text())["pid"], signal.SIGKILL)

    async def ask_and_close() -> str:
        reply = await agent.reply(ask("Say hello again."))
        await agent.aclose()
        return reply.text

    assert asyncio.run(ask_and_close()).strip()


@pytest.mark.model
async def test_a_file_of_ones_own_is_served_under_any_name(smollm2: Path) -> None:
    agent = local_agent("mine", config("local:whatever", path=smollm2), None)
    await agent.prepare()
    assert len(servers()) == 1
    assert (await agent.reply(ask("Say hello."))).text.strip()
    await agent.aclose()
