"""What each provider is sent: its protocol, its address, its key, and the settings under its own names."""

import json
import re
import ssl
import tomllib
from importlib.util import find_spec
from pathlib import Path

import pytest

from bdc_agents.agents.chat import ChatAgent
from bdc_agents.agents.described import price_of, reasons
from bdc_agents.agents.load import load_agents
from bdc_agents.agents.providers import PROVIDERS, chat_model, name_of, provider_of
from bdc_agents.config import AgentConfig, OllamaConfig, Settings, StoreConfig
from bdc_agents.errors import ConfigError, ModelError

from .asking import SCHEMA, reason_of

RESPONSE = {
    "id": "r",
    "object": "response",
    "created_at": 1,
    "model": "m",
    "status": "completed",
    "output": [
        {"type": "reasoning", "id": "t", "summary": [{"type": "summary_text", "text": "why"}]},
        {
            "type": "message",
            "id": "i",
            "role": "assistant",
            "status": "completed",
            "content": [{"type": "output_text", "text": "hello", "annotations": []}],
        },
    ],
    "usage": {"input_tokens": 11, "output_tokens": 3, "total_tokens": 14},
    "parallel_tool_calls": True,
    "tool_choice": "auto",
    "tools": [],
}
CLAUDE = {
    "id": "m",
    "type": "message",
    "role": "assistant",
    "model": "claude",
    "content": [{"type": "thinking", "thinking": "why", "signature": "x"}, {"type": "text", "text": "hello"}],
    "stop_reason": "end_turn",
    "stop_sequence": None,
    "usage": {"input_tokens": 11, "output_tokens": 3},
}
OLLAMA = {
    "model": "x",
    "created_at": "2025-01-01T00:00:00Z",
    "message": {"role": "assistant", "content": "hello", "thinking": "why"},
    "done": True,
    "done_reason": "stop",
    "prompt_eval_count": 11,
    "eval_count": 3,
}


@pytest.fixture
def endpoint(shared):
    shared.clear()
    return shared


@pytest.fixture(autouse=True)
def keys(monkeypatch):
    """The user's own keys, which no other address may see."""
    for variable in {variable for variables in PROVIDERS.values() for variable in variables}:
        monkeypatch.setenv(variable, f"sk-own-{variable}")


@pytest.fixture
async def make(endpoint):
    made = []

    def agent(model, **fields):
        root = endpoint.url.removesuffix("/v1")
        at = fields.pop(
            "base_url", root if model.startswith(("azure", "anthropic", "ollama")) else endpoint.url
        )
        config = AgentConfig(model=model, base_url=at, **{"timeout": 5, "retries": 0} | fields)
        made.append(ChatAgent("a", chat_model("a", config), config))
        return made[-1]

    yield agent
    for one in made:
        await one.aclose()


def header(endpoint, name):
    return {key.lower(): value for key, value in endpoint.headers[0].items()}.get(name)


# --- names ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("model", "url", "provider", "name"),
    [
        ("openai:gpt-4o", None, "openai", "gpt-4o"),
        ("openai:gpt-4o", "http://h/v1", "openai", "gpt-4o"),
        ("azure-openai:dep", "http://h", "azure_openai", "dep"),
        ("anthropic:claude", "http://h", "anthropic", "claude"),
        ("ollama:qwen2.5:7b", "http://h", "ollama", "qwen2.5:7b"),
        ("qwen2.5:7b", "http://h/v1", "", "qwen2.5:7b"),
        ("openai:qwen2.5:7b", "http://h/v1", "openai", "qwen2.5:7b"),
        ("openai/gpt-4o", "http://h/v1", "", "openai/gpt-4o"),
        ("gpt-4o", "http://h/v1", "", "gpt-4o"),
    ],
)
def test_the_provider_decides_the_protocol(model, url, provider, name):
    config = AgentConfig(model=model, base_url=url)
    assert (provider_of(config), name_of(config)) == (provider, name)


def test_every_provider_of_langchain_is_known():
    from langchain.chat_models.base import _BUILTIN_PROVIDERS

    assert set(_BUILTIN_PROVIDERS) == set(PROVIDERS)


@pytest.mark.parametrize("model", ["openai:gpt-4o-mini", "anthropic:claude-sonnet-4-5"])
def test_an_address_does_not_lose_the_price(model):
    own, elsewhere = (price_of(AgentConfig(model=model, base_url=url)) for url in (None, "http://gateway/v1"))
    assert own.cost(1000, 1000) == elsewhere.cost(1000, 1000) != None  # noqa: E711


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"model": "local:qwen", "base_url": "http://h/v1"}, "runs on this machine"),
        ({"model": "bdc:folder", "headers": {"X": "y"}}, "runs on this machine and has no headers"),
        ({"model": "openai:", "base_url": "http://h/v1"}, "write openai:MODEL"),
        ({"model": "gpt-4o"}, "names no provider"),
        ({"model": "opnai:gpt-4o"}, "did you mean.*openai"),
        ({"model": "m", "base_url": "http://h/v1", "ollama": {"num_ctx": 1}}, "write model = 'ollama:m'"),
        ({"model": "openai:m", "api_version": "2024-10-21"}, "azure_openai:DEPLOYMENT"),
        ({"model": "m", "base_url": "http://h/v1", "headers": {"X": "$NOT_SET"}}, "NOT_SET is not set"),
        ({"model": "m", "base_url": "http://h/v1", "proxy": "no address"}, "proxy: not an address"),
        ({"model": "m", "base_url": "http://h/v1", "options": {"top_k": 3}}, "top_k.*options.extra_body"),
        ({"model": "openai:m", "options": {"top_q": 3}}, "did you mean top_p"),
    ],
)
def test_what_cannot_be_is_refused_in_a_sentence(fields, words):
    with pytest.raises((ConfigError, ModelError), match=words) as caught:
        chat_model("a", AgentConfig(**fields))
    assert str(caught.value).startswith("agent 'a': ")


@pytest.mark.parametrize(
    ("model", "package"),
    [
        ("anthropic:claude", "langchain-anthropic"),
        ("mistralai:m", "langchain-mistralai"),
        ("ollama:m", "langchain-ollama"),
    ],
)
@pytest.mark.parametrize("url", [None, "http://h"])
def test_a_missing_package_is_named_with_its_command(hide, model, package, url):
    hide(package.replace("-", "_"))
    with pytest.raises(ModelError) as caught:
        chat_model("a", AgentConfig(model=model, base_url=url))
    assert f"pip install {package}" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_name_with_an_address_is_an_agent():
    (agent,) = load_agents(Settings(store=StoreConfig(cache=False)), ["m@http://127.0.0.1:9/v1"])
    assert (agent.name, agent.config.base_url) == ("m@http://127.0.0.1:9/v1", "http://127.0.0.1:9/v1")


@pytest.mark.parametrize(
    ("name", "known"),
    [
        ("deepseek-r1:8b", True),
        ("Qwen/Qwen3-8B", True),
        ("openai/gpt-oss-20b", True),
        ("qwq", True),
        ("o3-mini", True),
        ("magistral-small", True),
        ("gpt-4o", False),
        ("qwen2.5-coder:7b", False),
        ("Qwen3-Coder-30B", False),
        ("llama-3.1-8b", False),
    ],
)
def test_a_family_that_reasons_has_room_for_it_at_any_address(make, name, known):
    assert reasons(make(f"openai:{name}")._model()) is known


# --- the documentation ----------------------------------------------------------------------

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "agents.md").read_text(encoding="utf-8")


def blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("text", blocks("toml"))
def test_every_agent_of_the_page_is_one(text, monkeypatch):
    monkeypatch.setenv("GATEWAY_KEY", "gw")
    monkeypatch.setenv("LITELLM_KEY", "sk")
    for name, config in Settings(**tomllib.loads(text)).agents.items():
        package = f"langchain_{provider_of(config)}"
        if package == "langchain_" or package.endswith("openai") or find_spec(package):
            chat_model(name, config)
        else:
            with pytest.raises(ModelError, match=f"pip install {package.replace('_', '-')}"):
                chat_model(name, config)


def test_the_python_of_the_page_runs():
    (code,) = blocks("python")
    exec(code, {})


def test_every_key_is_explained():
    example = (ROOT / "bdc_agents" / "cli" / "example.toml").read_text(encoding="utf-8")
    assert [
        key
        for key in AgentConfig.model_fields
        if f"# {key} = " not in example and f"\n{key} = " not in example
    ] == []
    assert [key for key in OllamaConfig.model_fields if key not in PAGE] == []


# --- OpenAI's protocol ----------------------------------------------------------------------


async def test_a_provider_with_an_address_is_asked_there_by_its_plain_name(endpoint, make, ask):
    assert (await make("openai:gpt-4o-mini").reply(ask())).usage.cost
    assert (endpoint.paths, endpoint.asked[0]["model"]) == (["/v1/chat/completions"], "gpt-4o-mini")
    assert "sk-own" not in str(endpoint.headers)


async def test_a_key_that_is_named_goes_to_the_address(endpoint, make, ask):
    await make("openai:m", api_key_env="OPENAI_API_KEY").reply(ask())
    assert header(endpoint, "authorization") == "Bearer sk-own-OPENAI_API_KEY"


async def test_headers_are_sent_and_never_shown(endpoint, make, ask, step, monkeypatch):
    monkeypatch.setenv("GATEWAY_KEY", "gw-very-secret")
    secret = "Basic user-very-secret"
    agent = make("m", headers={"X-Gateway": "$GATEWAY_KEY", "Authorization": secret})
    endpoint.default = lambda sent: step({"error": {"message": "no: gw-very-secret, user-very-secret"}}, 401)
    reason = await reason_of(agent, ask())
    assert (header(endpoint, "x-gateway"), header(endpoint, "authorization")) == ("gw-very-secret", secret)
    assert "very-secret" not in f"{reason} {agent!r} {agent.config!r} {agent.config.model_dump_json()}"


def test_certificates_are_read_once_for_all_agents_of_a_place(monkeypatch):
    config = AgentConfig(model="m", base_url="https://h/v1", api_key="k")
    chat_model("a", config)

    def read(*_):
        raise AssertionError("read again")

    monkeypatch.setattr(ssl.SSLContext, "load_verify_locations", read)
    chat_model("b", config)
    monkeypatch.setenv("SSL_CERT_FILE", "other.pem")
    with pytest.raises(AssertionError, match="read again"):
        chat_model("c", config)


async def test_a_proxy_is_gone_through(endpoint, make, ask):
    proxy = endpoint.url.removesuffix("/v1").replace("http://", "http://me:pw-secret@")
    await make("m", base_url="http://nowhere.invalid/v1", proxy=proxy).reply(ask())
    assert endpoint.paths == ["http://nowhere.invalid/v1/chat/completions"]
    assert header(endpoint, "proxy-authorization")


async def test_reasoning_effort_and_options_are_sent(endpoint, make, ask):
    options = {"top_p": 0.9, "extra_body": {"top_k": 40}, "prompt_cache_key": "x"}
    await make("m", reasoning_effort="low", options=options).reply(ask())
    sent = endpoint.asked[0]
    assert [sent[key] for key in ("reasoning_effort", "top_p", "top_k", "prompt_cache_key")] == [
        "low",
        0.9,
        40,
        "x",
    ]


@pytest.mark.parametrize("schema", [None, SCHEMA])
async def test_the_responses_api_is_spoken(endpoint, make, ask, step, schema):
    endpoint.default = lambda sent: step(RESPONSE)
    agent = make("m", responses_api=True, reasoning_effort="low", max_tokens=500)
    reply = await agent.reply(ask(json_schema=schema))
    sent = endpoint.asked[0]
    assert (endpoint.paths, reply.text, reply.usage.tokens) == (["/v1/responses"], "hello", 14)
    assert (sent["max_output_tokens"], sent["reasoning"]["effort"]) == (500, "low")
    assert sent.get("text", {}).get("format", {}).get("type") == ("json_schema" if schema else None)


async def test_a_response_that_is_cut_off_is_truncated(endpoint, make, ask, step):
    cut = RESPONSE | {"status": "incomplete", "incomplete_details": {"reason": "max_output_tokens"}}
    endpoint.default = lambda sent: step(cut)
    assert (await make("m", responses_api=True).reply(ask())).truncated


async def test_azure_is_asked_for_its_deployment_with_its_own_key(endpoint, make, ask):
    await make("azure_openai:dep", api_version="2024-10-21").reply(ask())
    assert endpoint.paths == ["/openai/deployments/dep/chat/completions?api-version=2024-10-21"]
    assert header(endpoint, "api-key") == "sk-own-AZURE_OPENAI_API_KEY"


# --- other protocols, where their packages are installed --------------------------------------

_swept = pytest.mark.usefixtures("swept")
_warned = pytest.mark.filterwarnings(
    # Their own: of models that have aged, and of connections that are closed with their client.
    "ignore::DeprecationWarning",
    "ignore::ResourceWarning",
    "ignore::pytest.PytestUnraisableExceptionWarning",
)


def foreign(test):
    """A test of another package's client."""
    return _swept(_warned(test))


@foreign
async def test_anthropic_is_spoken_at_its_address(endpoint, make, ask, step):
    pytest.importorskip("langchain_anthropic")
    endpoint.default = lambda sent: step(CLAUDE)
    agent = make("anthropic:claude-sonnet-4-5", headers={"X-Team": "a"})
    reply = await agent.reply(ask())
    assert (endpoint.paths, reply.text, reply.usage.tokens) == (["/v1/messages"], "hello", 14)
    assert reply.usage.cost
    assert (header(endpoint, "x-team"), "sk-own" in str(endpoint.headers)) == ("a", False)


@foreign
async def test_anthropics_refusals_are_understood(endpoint, make, ask, step):
    pytest.importorskip("langchain_anthropic")
    said = {"type": "invalid_request_error", "message": "`temperature` is deprecated for this model."}
    endpoint.default = lambda sent: (
        step({"type": "error", "error": said}, 400) if "temperature" in sent else step(CLAUDE)
    )
    agent = make("anthropic:claude-sonnet-4-5", retries=1)
    assert (await agent.reply(ask())).text == "hello"
    assert agent.notes == ("temperature is left out, as the endpoint refuses it",)


@foreign
async def test_ollama_is_spoken_with_its_options(endpoint, make, ask, step):
    pytest.importorskip("langchain_ollama")
    endpoint.default = lambda sent: step(json.dumps(OLLAMA) + "\n")
    options = {"num_ctx": 8192, "keep_alive": "10m", "think": False}
    agent = make("ollama:qwen2.5:7b", ollama=options, headers={"X-Team": "a"})
    reply = await agent.reply(ask(seed=3, max_tokens=99))
    sent = endpoint.asked[0]
    assert (endpoint.paths, reply.text, reply.usage.tokens) == (["/api/chat"], "hello", 14)
    assert (sent["model"], sent["keep_alive"], sent["think"]) == ("qwen2.5:7b", "10m", False)
    assert {"num_ctx": 8192, "seed": 3, "num_predict": 99}.items() <= sent["options"].items()
    assert header(endpoint, "x-team") == "a"


@foreign
async def test_ollamas_refusals_are_understood(endpoint, make, ask, step):
    pytest.importorskip("langchain_ollama")
    endpoint.default = lambda sent: (
        step({"error": '"llama3.1:8b" does not support thinking'}, 400)
        if sent.get("think")
        else step(json.dumps(OLLAMA) + "\n")
    )
    assert (await make("ollama:llama3.1:8b", ollama={"think": True}).reply(ask())).usage.failed == 1


@foreign
async def test_mistrals_refusals_are_understood(endpoint, make, ask, step, completion):
    pytest.importorskip("langchain_mistralai")
    told = {
        "type": "extra_forbidden",
        "loc": ["body", "random_seed"],
        "msg": "Extra inputs are not permitted",
    }
    endpoint.default = lambda sent: (
        step({"object": "error", "message": {"detail": [told]}}, 422)
        if "random_seed" in sent
        else step(completion())
    )
    agent = make("mistralai:mistral-small-latest")
    assert (await agent.reply(ask())).usage.failed == 1
    assert agent.notes == ("seed is left out, as the endpoint refuses it",)
