"""Builds an agent's chat model from its settings, for each provider that LangChain knows."""

import os
import re
import warnings
from collections.abc import Callable, Mapping
from typing import Any

from langchain_core.language_models import BaseChatModel
from pydantic import SecretStr, ValidationError

from bdc_agents.agents.arguments import NO_KEY, check_options, declared
from bdc_agents.agents.redirects import keep_home
from bdc_agents.agents.registry import provider as registered_provider
from bdc_agents.agents.registry import registered
from bdc_agents.config import AgentConfig
from bdc_agents.errors import ConfigError, ModelError, NotInstalled, unknown

PROVIDERS: Mapping[str, tuple[str, ...]] = {
    "anthropic": ("ANTHROPIC_API_KEY",),
    "anthropic_bedrock": (),
    "azure_ai": (),
    "azure_openai": ("AZURE_OPENAI_API_KEY", "OPENAI_API_KEY"),
    "baseten": ("BASETEN_API_KEY",),
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
    "litellm": (),
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
"""The providers of `init_chat_model`, each with the environment variables that may hold its key."""

_OWN_ADDRESS = {"azure_openai", "azure_ai"}
"""Providers whose address is always the user's own, so that their key may go to `base_url`."""


def provider_of(config: AgentConfig) -> str:
    """The provider, or the one whose protocol `base_url` speaks, by LangChain's name; empty for none.

    With `base_url` a model's name may contain a colon, as in `qwen2.5-coder:7b`.
    """
    before, colon, _ = config.model.partition(":")
    provider = before.replace("-", "_").lower() if colon else ""
    return provider if not config.base_url or provider in PROVIDERS or provider in registered() else ""


def name_of(config: AgentConfig) -> str:
    """The model's name at its endpoint, without the provider."""
    return config.model.partition(":")[2] if provider_of(config) else config.model


def key_variables(config: AgentConfig) -> tuple[str, ...]:
    """The environment variables that may hold an agent's API key; empty if it needs none."""
    if config.api_key_env:
        return (config.api_key_env,)
    provider = provider_of(config)
    # A key goes only to its provider. To send it to another address, the user has to name it.
    return PROVIDERS.get(provider, ()) if not config.base_url or provider in _OWN_ADDRESS else ()


def endpoint_of(config: AgentConfig) -> str:
    """Identifies an agent's endpoint: its address, or its provider."""
    if config.base_url:
        return config.base_url
    if provider_of(config) in registered():
        return registered_provider(provider_of(config)).endpoint(config)
    redirected = os.environ.get("OPENAI_API_BASE") or os.environ.get("OPENAI_BASE_URL")
    return redirected if redirected and provider_of(config) == "openai" else provider_of(config)


def sent_headers(config: AgentConfig) -> dict[str, str]:
    """The headers of an agent's settings; the environment variable replaces a value `$NAME`."""
    texts = {name: value.get_secret_value() for name, value in config.headers.items()}
    return {
        name: os.environ.get(text[1:], "") if text.startswith("$") else text for name, text in texts.items()
    }


def chat_model(name: str, config: AgentConfig) -> Callable[[], BaseChatModel]:
    """Returns a function that builds an agent's chat model; builds it once to check the settings.

    Args:
        name: The agent's name, for messages.
        config: Its settings.

    Raises:
        ConfigError: If its key is missing or an option is not accepted.
        ModelError: If its provider is unknown; `NotInstalled` if it needs a package that is missing.
    """
    try:
        _check_provider(config)
        _check_headers(config)
        key = _find_key(config)
        ready = [_build(config, key)]
    except ValidationError as error:
        # Only names and reasons, since the values may hold a key.
        wrong = (f"{'.'.join(map(str, item['loc']))}: {item['msg']}" for item in error.errors())
        raise ConfigError(f"agent {name!r}: {error.title} does not accept {'; '.join(wrong)}") from None
    except (ConfigError, ModelError) as error:
        raise type(error)(f"agent {name!r}: {error}") from None
    return lambda: ready.pop() if ready else _build(config, key)


def _check_provider(config: AgentConfig) -> None:
    provider = provider_of(config)
    if config.model.startswith("local:"):
        check_local(config)
    if not provider and not config.base_url:
        raise ModelError(
            f"model {config.model!r} names no provider: write provider:model, such as "
            f"openai:{config.model}, or add a base_url"
        )
    if provider and provider not in PROVIDERS and provider not in registered():
        raise ModelError(unknown("provider", provider, [*PROVIDERS, *registered(), "local"]))
    if provider and not name_of(config):
        raise ModelError(f"model {config.model!r} names no model: write {provider}:MODEL")
    if config.ollama and provider != "ollama":
        raise ConfigError(
            f"ollama options need Ollama's own protocol: write model = 'ollama:{name_of(config)}', with "
            "base_url, if any, without /v1"
        )


def check_local(config: AgentConfig) -> None:
    """Refuses settings of endpoints for a model that runs on this machine.

    Raises:
        ConfigError: If there is such a setting.
    """
    remote = ("base_url", "headers", "proxy", "responses_api", "api_version", "reasoning_effort", "ollama")
    if given := [name for name in remote if getattr(config, name)]:
        raise ConfigError(f"{config.model} runs on this machine and has no {', '.join(given)}: leave it out")


def _check_headers(config: AgentConfig) -> None:
    for header, value in config.headers.items():
        text = value.get_secret_value()
        if text.startswith("$") and not os.environ.get(text[1:]):
            raise ConfigError(f"headers.{header}: the environment variable {text[1:]} is not set")


def _find_key(config: AgentConfig) -> SecretStr | None:
    """The key that the settings give or name; None if the provider's package finds its own.

    Raises:
        ConfigError: If no variable that may hold it is set.
    """
    variables = key_variables(config)
    found = next((value for variable in variables if (value := os.environ.get(variable))), None)
    if config.api_key is not None:
        return config.api_key
    if found is None and variables and not _has_other_credentials(config):
        raise ConfigError(
            f"no API key for {config.model}: set the environment variable "
            f"{' or '.join(variables)}, or name another one by api_key_env"
        )
    if found is None and config.base_url and PROVIDERS.get(provider_of(config), NO_KEY):
        return SecretStr(NO_KEY)
    return SecretStr(found) if found and config.api_key_env else None


def _has_other_credentials(config: AgentConfig) -> bool:
    """Whether a token replaces the key, as Entra ID's does at Azure."""
    return any("token" in option for option in config.options) or bool(
        provider_of(config) in _OWN_ADDRESS and os.environ.get("AZURE_OPENAI_AD_TOKEN")
    )


# --- building -------------------------------------------------------------------------------


def _build(config: AgentConfig, key: SecretStr | None) -> BaseChatModel:
    provider = provider_of(config)
    if provider in registered():
        return registered_provider(provider).build(config)
    if provider in ("openai", "azure_openai", ""):
        from bdc_agents.agents import compatible

        return compatible.build(config, name_of(config), key, sent_headers(config))
    return _provided(config, key)


_PLACES: Mapping[str, tuple[str, ...]] = {
    "headers": ("default_headers", "additional_headers"),
    "proxy": ("anthropic_proxy", "openai_proxy", "proxy", "groq_proxy"),
    "reasoning_effort": ("reasoning_effort", "effort", "thinking_level"),
    "responses_api": ("use_responses_api",),
    "api_version": ("api_version",),
}
"""The arguments under which chat models take each setting; the first that one declares is used."""


def _provided(config: AgentConfig, key: SecretStr | None) -> BaseChatModel:
    """Builds a model of an integration package that LangChain knows.

    Builds it twice: only the first model shows which arguments it declares for the settings.
    """
    from langchain.chat_models import init_chat_model

    def make(**more: Any) -> BaseChatModel:
        arguments: dict[str, Any] = {"timeout": config.timeout, "max_retries": 0}
        arguments |= {"api_key": key} if key is not None else {}
        arguments |= {"base_url": config.base_url} if config.base_url else {}
        model = f"{provider_of(config)}:{name_of(config)}"
        with warnings.catch_warnings():
            # Arguments that the integration does not declare are refused below, in our own words.
            warnings.filterwarnings("ignore", message=".*not default parameter", category=UserWarning)
            try:
                return init_chat_model(model, **arguments | more)
            except ValidationError as error:
                refused = {
                    item["loc"][0]
                    for item in error.errors()
                    if item["type"] == "extra_forbidden" and item["loc"]
                } & {"timeout", "max_retries"}
                if not refused:
                    raise
                kept = {name: value for name, value in arguments.items() if name not in refused}
                return init_chat_model(model, **kept | more)

    try:
        model = make(**_required(config))
    except ImportError as error:
        raise NotInstalled(
            f"{config.model} needs a package that is not installed: {_missing(error)}"
        ) from None
    check_options(config.options, declared(type(model)), "options.model_kwargs")
    model = make(**_settings(config, model) | config.options)
    if config.base_url and config.base_url.rstrip("/") not in _addresses(model):
        raise ConfigError(
            f"{type(model).__name__} takes no base_url; leave it out, or use the prefix openai:"
        )
    keep_home(model)
    return model


def _required(config: AgentConfig) -> dict[str, Any]:
    """Options that some models need to be built at all, such as a region."""
    return dict(config.options) if config.options and provider_of(config) != "ollama" else {}


def _missing(error: ImportError) -> str:
    """How to install what is missing: LangChain's message names its package, the cause names a dependency."""
    said = " ".join(str(error).split())
    command = re.search(r"pip install (?:-U )?[\w.-]+", said)
    absent = getattr(error.__cause__ or error.__context__, "name", None) or ""
    inside = "" if not absent or absent.startswith("langchain") else f" (it needs {absent})"
    return command[0].replace("-U ", "") + inside if command else said


def _settings(config: AgentConfig, model: BaseChatModel) -> dict[str, Any]:
    """The settings as arguments that a chat model declares.

    Raises:
        ConfigError: If it declares none for one of them.
    """
    if provider_of(config) == "ollama":
        return _for_ollama(config)
    given: dict[str, Any] = {
        "headers": sent_headers(config) or None,
        "proxy": config.proxy.get_secret_value() if config.proxy else None,
        "reasoning_effort": config.reasoning_effort,
        "responses_api": config.responses_api,
        "api_version": config.api_version,
    }
    known = declared(type(model))
    found: dict[str, Any] = {}
    for setting, value in given.items():
        if value is None:
            continue
        place = next((name for name in _PLACES[setting] if name in known), None)
        if place is None:
            instead = "the environment variable HTTPS_PROXY" if setting == "proxy" else "its own options"
            raise ConfigError(
                f"{type(model).__name__} has no {setting}: use {instead}, or the provider's "
                "OpenAI-compatible address: model without a provider, and base_url"
            )
        found[place] = value
    return found


def _for_ollama(config: AgentConfig) -> dict[str, Any]:
    """Ollama's options as `ChatOllama` takes them."""
    if config.responses_api or config.api_version:
        raise ConfigError("responses_api and api_version are not of Ollama's protocol; leave them out")
    given = config.ollama.model_dump(exclude_none=True) if config.ollama else {}
    if "think" in given:
        given["reasoning"] = given.pop("think")
    elif config.reasoning_effort:
        given["reasoning"] = False if config.reasoning_effort == "none" else config.reasoning_effort
    # Redirects may lead to another server, and the headers, which may hold a key, would go along.
    client: dict[str, Any] = {"timeout": config.timeout, "follow_redirects": False}
    client |= {"headers": sent_headers(config)} if config.headers else {}
    client |= {"proxy": config.proxy.get_secret_value()} if config.proxy else {}
    return given | {"client_kwargs": client}


def _addresses(model: BaseChatModel) -> set[str]:
    values = (getattr(model, field, None) for field in type(model).model_fields)
    return {value.rstrip("/") for value in values if isinstance(value, str)}
