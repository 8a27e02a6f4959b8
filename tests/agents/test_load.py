"""Agents by name, and what is said when one cannot be had."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from langchain_core.language_models import FakeListChatModel

from bdc_agents.agents import ChatAgent, LoadedAgents, as_agents, load_agents, ping
from bdc_agents.agents.described import price_of
from bdc_agents.agents.load import distinct
from bdc_agents.agents.providers import PROVIDERS, chat_model
from bdc_agents.config import AgentConfig, Settings, StoreConfig
from bdc_agents.errors import ConfigError, ModelError
from bdc_agents.sync import run_sync
from bdc_agents.testing import ScriptedAgent

URL = "http://127.0.0.1:9/v1"


@pytest.fixture(autouse=True)
def no_keys(monkeypatch):
    for variable in {variable for variables in PROVIDERS.values() for variable in variables}:
        monkeypatch.delenv(variable, raising=False)


def settings(**agents):
    return Settings(
        agents={name: AgentConfig(**fields) for name, fields in agents.items()},
        store=StoreConfig(cache=False),
    )


def names(agents):
    return [agent.name for agent in agents]


# --- load_agents ----------------------------------------------------------------------------


def test_all_or_some_configured_agents():
    configured = settings(a={"model": "x", "base_url": URL}, b={"model": "y", "base_url": URL})
    assert names(load_agents(configured)) == ["a", "b"]
    assert names(load_agents(configured, ["b", "a", "b"])) == ["b", "a", "b-2"]
    assert names(load_agents(configured, "b")) == ["b"], "a single name is no list of letters"


def test_settings_come_from_a_file(tmp_path):
    file = tmp_path / "bdc.toml"
    file.write_text(f'[agents.small]\nmodel = "x"\nbase_url = "{URL}"\n[store]\ncache = false\n')
    assert names(load_agents(file)) == names(load_agents(str(file))) == ["small"]


def test_a_model_string_is_an_agent(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test")
    (agent,) = load_agents(settings(), ["openai:gpt-4o-mini"])
    assert isinstance(agent, ChatAgent)
    assert (agent.name, agent.config.model) == ("openai:gpt-4o-mini", "openai:gpt-4o-mini")


@pytest.mark.parametrize(
    ("configured", "asked", "error", "words"),
    [
        ({}, None, ConfigError, ["no agents", "[agents.small]"]),
        ({"small": {"model": "x", "base_url": URL}}, ["smal"], ConfigError, ["'smal'", "did you mean small"]),
        ({}, ["gpt-4o"], ConfigError, ["'gpt-4o'", "provider:model"]),
        ({}, ["opnai:gpt-4o"], ModelError, ["'opnai'", "did you mean", "openai"]),
        ({"a": {"model": "gpt-4o"}}, None, ModelError, ["agent 'a'", "openai:gpt-4o", "base_url"]),
        ({}, ["openai:gpt-4o"], ConfigError, ["no API key", "OPENAI_API_KEY"]),
        (
            {"a": {"model": "x", "base_url": URL, "api_key_env": "MY_KEY"}},
            None,
            ConfigError,
            ["'a'", "MY_KEY"],
        ),
        (
            {"a": {"model": "x", "base_url": URL, "options": {"top_p": "high"}}},
            None,
            ConfigError,
            ["'a'", "top_p"],
        ),
    ],
)
def test_what_is_wrong_is_said(configured, asked, error, words):
    with pytest.raises(error) as caught:
        load_agents(settings(**configured), asked)
    assert all(word in str(caught.value) for word in words)


def test_a_missing_package_is_named(monkeypatch, hide):
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-test")
    hide("langchain_anthropic")
    with pytest.raises(ModelError, match="pip install langchain-anthropic"):
        load_agents(settings(), ["anthropic:claude-sonnet-4-5"])


def test_a_key_is_in_no_error_and_no_repr(monkeypatch):
    key = "sk-very-secret-98765"
    monkeypatch.setenv("MY_KEY", key)
    fields = {"model": "x", "base_url": URL, "api_key_env": "MY_KEY"}
    with pytest.raises(ConfigError) as caught:
        load_agents(settings(a=fields | {"options": {"top_p": "high"}}))
    (agent,) = load_agents(settings(a=fields))
    assert key not in f"{caught.value!r} {agent!r} {vars(agent)!r}"


@given(st.lists(st.sampled_from(["a", "a-2", "a-3", "b"]), max_size=8))
def test_names_become_distinct(wanted):
    made = distinct(wanted)
    assert len(set(made)) == len(wanted)
    assert all(name.startswith(want) for name, want in zip(made, wanted, strict=True))
    assert all(name in made for name in wanted)


# --- as_agents ------------------------------------------------------------------------------


class Named(FakeListChatModel):
    model_name: str = "tiny"
    temperature: float | None = 0.1
    max_tokens: int = 2000


def test_chat_models_become_agents():
    model, scripted = Named(responses=["x"]), ScriptedAgent("s", lambda request: "x")
    agents = as_agents([model, scripted, model])
    assert names(agents) == ["tiny", "s", "tiny-2"]
    assert agents[1] is scripted
    assert isinstance(agents[0], ChatAgent)
    assert (agents[0].config.temperature, agents[0].config.max_tokens) == (0.1, 2000)
    assert names(as_agents({"one": model, "two": model})) == ["one", "two"]


@pytest.mark.parametrize(
    ("models", "words"),
    [
        ([], "at least one"),
        ({"": Named(responses=["x"])}, "empty name"),
        ([ScriptedAgent("s", lambda r: "x"), ScriptedAgent("s", lambda r: "x")], "come twice: s"),
        (["openai:gpt-4o"], "load_agents"),
        ({"t": ScriptedAgent("s", lambda r: "x")}, "cannot be called 't'"),
    ],
)
def test_bad_agents_are_refused(models, words):
    with pytest.raises(ConfigError, match=words):
        as_agents(models)


# --- prices ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "cost"),
    [
        ({"model": "openai:gpt-4o-mini"}, 0.15 + 0.60),
        ({"model": "openai:gpt-4o-mini", "price_output": 1.0}, 0.15 + 1.0),
        ({"model": "x", "base_url": URL, "price_input": 2.0, "price_output": 3.0}, 5.0),
        ({"model": "x", "base_url": URL, "price_input": 2.0}, None),
        ({"model": "x", "base_url": URL}, None),
        ({"model": "openai:no-such-model"}, None),
        ({"model": "ollama:qwen2.5-coder:7b"}, None),
        (
            {
                "model": "deepseek-chat",
                "base_url": "https://api.deepseek.com/v1",
                "price_input": 1,
                "price_output": 1,
            },
            2,
        ),
    ],
)
def test_prices_of_a_million_tokens_each(fields, cost):
    price = price_of(AgentConfig(**fields))
    assert price.cost(1_000_000, 1_000_000) == (None if cost is None else pytest.approx(cost))


def test_a_provider_at_its_own_address_has_a_price():
    price = price_of(AgentConfig(model="deepseek-chat", base_url="https://api.deepseek.com/v1"))
    assert (price.cost(1000, 1000) or 0) > 0


@given(prompt=st.integers(0, 10**6), made=st.integers(0, 10**5), data=st.data())
def test_no_split_of_the_prompt_costs_more_than_the_bound(prompt, made, data):
    read = data.draw(st.integers(0, prompt))
    written = data.draw(st.integers(0, prompt - read))
    for model in ("anthropic:claude-sonnet-4-5", "openai:gpt-4o-mini"):
        price = price_of(AgentConfig(model=model))
        cost, bound = price.cost(prompt, made, read=read, written=written), price.bound(prompt, made)
        assert cost is not None
        assert bound is not None
        assert cost <= bound * (1 + 1e-9)


# --- closing --------------------------------------------------------------------------------


async def test_loaded_agents_are_closed_together(endpoint):
    found = settings(a={"model": "m", "base_url": endpoint.url}, b={"model": "n", "base_url": endpoint.url})
    async with load_agents(found) as agents:
        assert isinstance(agents, list)
        assert [(await ping(agent)).ok for agent in agents] == [True, True]
        clients = [agent._in_this_loop().first.root_async_client for agent in agents]
        assert not any(client.is_closed() for client in clients)
    assert all(client.is_closed() for client in clients)
    assert (await ping(agents[0])).ok, "a later request makes new connections"
    await agents.aclose()


def test_a_synchronous_caller_closes_them_as_well(endpoint):
    with load_agents(settings(a={"model": "m", "base_url": endpoint.url})) as agents:
        assert run_sync(ping(agents[0])).ok
        client = run_sync(_client(agents[0]))
    assert client.is_closed()


async def _client(agent):
    return agent._in_this_loop().first.root_async_client


async def test_where_one_cannot_be_closed_the_others_are():
    closed = []

    class Stubborn(ScriptedAgent):
        async def aclose(self):
            closed.append(self.name)
            if self.name == "b":
                raise OSError("no")

    agents = LoadedAgents(Stubborn(name, lambda request: "x") for name in "abc")
    with pytest.raises(OSError, match="no"):
        async with agents:
            pass
    assert sorted(closed) == ["a", "b", "c"]


# --- ping -----------------------------------------------------------------------------------


async def test_ping_says_how_fast(make_agent):
    result = await ping(make_agent("small"))
    assert (result.name, result.ok, result.error) == ("small", True, "")
    assert result.tokens_per_second is not None
    assert result.tokens_per_second > 0


async def test_ping_says_what_is_wrong():
    config = AgentConfig(model="x", base_url=URL, retries=0)
    agent = ChatAgent("far", chat_model("far", config), config)
    result = await ping(agent)
    await agent.aclose()
    assert not result.ok
    assert URL in result.error
    assert result.tokens_per_second is None
