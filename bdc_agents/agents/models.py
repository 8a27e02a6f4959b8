"""Chat models built from an agent's settings."""

import os
from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

from langchain_core.language_models import BaseChatModel
from pydantic import SecretStr, ValidationError

from bdc_agents.config import AgentConfig
from bdc_agents.errors import ConfigError, ModelError, unknown
from bdc_agents.types import content_hash

PROVIDERS: Mapping[str, tuple[str, ...]] = {
    "anthropic": ("ANTHROPIC_API_KEY",),
    "anthropic_bedrock": (),
    "azure_ai": (),
    "azure_openai": ("AZURE_OPENAI_API_KEY", "OPENAI_API_KEY"),
    "baseten": ("BASETEN_API_KEY",),
    "bdc": (),
    "bedrock": (),
    "bedrock_converse": (),
    "bedrock_mantle_anthropic": (),
    "bedrock_mantle_openai": (),
    "cohere": ("COHERE_API_KEY",),
    "deepseek": ("DEEPSEEK_API_KEY",),
    "fireworks": ("FIREWORKS_API_KEY",),
    "google_anthropic_vertex": (),
    "google_genai": ("GOOGLE_API_KEY", "GEMINI_API_KEY"),
    "google_vertexai": (),
    "groq": ("GROQ_API_KEY",),
    "huggingface": (),
    "ibm": (),
    "langsmith": ("LANGSMITH_GATEWAY_API_KEY", "LANGSMITH_API_KEY"),
    "meta": (),
    "mistralai": ("MISTRAL_API_KEY",),
    "nvidia": ("NVIDIA_API_KEY",),
    "ollama": (),
    "openai": ("OPENAI_API_KEY",),
    "openrouter": ("OPENROUTER_API_KEY",),
    "perplexity": ("PPLX_API_KEY", "PERPLEXITY_API_KEY"),
    "together": ("TOGETHER_API_KEY",),
    "upstage": ("UPSTAGE_API_KEY",),
    "xai": ("XAI_API_KEY",),
}
"""The providers of `init_chat_model`, and `bdc` for a library of experts; where each looks for its key."""

NO_KEY = "none"
"""Sent to an endpoint without a key: left out, the user's OpenAI key would go there instead."""


def provider_of(config: AgentConfig) -> str:
    """The part before the colon of `provider:model`, as LangChain writes it; empty with a URL."""
    provider, colon, _ = config.model.partition(":")
    return provider.replace("-", "_").lower() if colon and not config.base_url else ""


def key_variables(config: AgentConfig) -> tuple[str, ...]:
    """The environment variables that may hold an agent's API key; none where it needs none."""
    if config.api_key_env:
        return (config.api_key_env,)
    return PROVIDERS.get(provider_of(config), ())


def endpoint_of(config: AgentConfig) -> str:
    """What tells an agent's endpoint from others: its address, or its provider."""
    if config.base_url:
        return config.base_url
    if provider_of(config) == "bdc":
        # What the folder holds now: another library there gives other replies.
        return f"bdc@{content_hash(_library(config).read_text(encoding='utf-8'))}"
    redirected = os.environ.get("OPENAI_API_BASE") or os.environ.get("OPENAI_BASE_URL")
    return redirected if redirected and provider_of(config) == "openai" else provider_of(config)


def chat_model(name: str, config: AgentConfig) -> Callable[[], BaseChatModel]:
    """A function that builds an agent's chat model, checked by building it once.

    Args:
        name: The agent's name, for messages.
        config: Its settings.

    Raises:
        ConfigError: If its key is missing or an option is not accepted.
        ModelError: If its provider is unknown or needs a package that is not installed.
    """
    key = _find_key(name, config)
    if not config.base_url:
        _check_provider(name, config)

    def build() -> BaseChatModel:
        return _compatible(config, key) if config.base_url else _provided(name, config, key)

    try:
        ready = [build()]
    except ValidationError as error:
        # Only places and reasons: the values may hold a key.
        wrong = (f"{'.'.join(map(str, item['loc']))}: {item['msg']}" for item in error.errors())
        raise ConfigError(f"agent {name!r}: {error.title} does not accept {'; '.join(wrong)}") from None
    return lambda: ready.pop() if ready else build()


def _find_key(name: str, config: AgentConfig) -> SecretStr | None:
    """The key that the settings give or name; None where the provider's package finds its own.

    Raises:
        ConfigError: If no variable that may hold it is set.
    """
    variables = key_variables(config)
    found = next((value for variable in variables if (value := os.environ.get(variable))), None)
    if config.api_key is not None or (found is None and not variables):
        return config.api_key
    if found is None:
        raise ConfigError(
            f"agent {name!r}: no API key for {config.model}: set the environment variable "
            f"{' or '.join(variables)}, or name another one by api_key_env"
        )
    return SecretStr(found) if config.api_key_env else None


def _check_provider(name: str, config: AgentConfig) -> None:
    provider = provider_of(config)
    if not provider:
        raise ModelError(
            f"agent {name!r}: model {config.model!r} names no provider: write provider:model, such as "
            f"openai:{config.model}, or add a base_url"
        )
    if provider not in PROVIDERS:
        raise ModelError(f"agent {name!r}: {unknown('provider', provider, [*PROVIDERS, 'local'])}")


def _compatible(config: AgentConfig, key: SecretStr | None) -> BaseChatModel:
    """A model at an OpenAI-compatible endpoint."""
    from langchain_openai import ChatOpenAI

    arguments = _arguments(config, key or SecretStr(NO_KEY)) | {
        "base_url": config.base_url,
        "use_responses_api": False,
        "http_async_client": _http_client(config),
    }
    return ChatOpenAI(model=config.model, **arguments | config.options)


def _library(config: AgentConfig) -> Path:
    """The file that tells what is in the library of `bdc:FOLDER`.

    Raises:
        ModelError: If there is none.
    """
    file = Path(config.model.partition(":")[2], "library.json")
    if not file.is_file():
        raise ModelError(f"{config.model}: no library at {str(file.parent)!r}; bdc distill makes one")
    return file


def _routed(config: AgentConfig) -> BaseChatModel:
    """A library of experts, mixed for each request; opened at the first one.

    Serving is built on agents and not the other way round, so it is looked up by name.
    """
    serve = import_module("bdc_agents.serve")
    return serve.ChatBDC(library=str(_library(config).parent), **config.options)


def _provided(name: str, config: AgentConfig, key: SecretStr | None) -> BaseChatModel:
    """A model of a provider that LangChain knows, or a library of experts."""
    if provider_of(config) == "bdc":
        return _routed(config)
    from langchain.chat_models import init_chat_model

    arguments = _arguments(config, key)
    if provider_of(config) == "openai":
        arguments["http_async_client"] = _http_client(config)
    try:
        return init_chat_model(config.model, **arguments | config.options)
    except ImportError as error:
        raise ModelError(f"agent {name!r}: {config.model}: {error}") from None
    except ValidationError as error:
        refused = {
            item["loc"][0] for item in error.errors() if item["type"] == "extra_forbidden" and item["loc"]
        }
        if not refused & arguments.keys():
            raise
        kept = {option: value for option, value in arguments.items() if option not in refused}
        return init_chat_model(config.model, **kept | config.options)


def _arguments(config: AgentConfig, key: SecretStr | None) -> dict[str, Any]:
    """What every chat model is built with; the agent retries, so the model does not."""
    arguments: dict[str, Any] = {"timeout": config.timeout, "max_retries": 0}
    return arguments | ({"api_key": key} if key is not None else {})


def _http_client(config: AgentConfig) -> Any:
    """Connections of this model alone: those that the SDK shares outlive their event loop."""
    from openai import DefaultAsyncHttpxClient

    return DefaultAsyncHttpxClient(timeout=config.timeout)
