"""Describes a chat model without calling it: name, address, price, secrets."""

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

from langchain_core.language_models import BaseChatModel
from pydantic import SecretStr

from bdc_agents.agents.prices import Price
from bdc_agents.agents.providers import name_of, provider_of, sent_headers
from bdc_agents.config import AgentConfig

_SHORTEST_SECRET = 6
"""Characters of a text that is hidden as a secret: to hide a shorter one would garble ordinary words."""
_SHORTEST_IN_REPLY = 16
"""The same in a reply, whose programs must not be garbled: keys of providers have 32 characters or more."""


def model_name(model: object) -> str:
    """The name of a chat model at its provider; empty where it has none."""
    return _text(model, "model_name", "model", "model_id")


_REASONERS = re.compile(
    r"(?<![a-z0-9])(?:r1|o[1345]|gpt-5|gpt-oss|qwq|qwen-?3(?!.*(?:instruct|coder))|magistral|deepseek-reasoner)"
    r"(?![a-z0-9])|reason|thinking",
    re.IGNORECASE,
)
"""Names of model families that reason first, in any spelling: `deepseek-r1:8b`, `Qwen/Qwen3-8B`."""


def reasons(model: object) -> bool:
    """Whether a chat model is known to reason before it answers: by LangChain's own list, or by its name."""
    profile = getattr(model, "profile", None)
    if isinstance(profile, dict) and "reasoning_output" in profile:
        return bool(profile["reasoning_output"])
    return bool(_REASONERS.search(model_name(model)))


def address(model: object) -> str:
    """The address of a chat model; empty for its provider's own."""
    client = getattr(model, "root_async_client", None)
    return str(getattr(client, "base_url", "")) or _text(
        model, "openai_api_base", "base_url", "azure_endpoint"
    )


def _text(model: object, *fields: str) -> str:
    values = (getattr(model, field, None) for field in fields)
    return next((value for value in values if isinstance(value, str) and value), "")


def price_of(config: AgentConfig, model: object = None) -> Price:
    """The price of an agent's tokens, by its endpoint or provider.

    Args:
        config: The agent's settings; prices in them win.
        model: Its chat model, if the settings do not name it.
    """
    provider, name = provider_of(config), name_of(config)
    url = None if provider else config.base_url
    if isinstance(model, BaseChatModel) and not config.base_url and not provider:
        # The module of an integration is named after its provider: langchain_anthropic.
        provider = type(model).__module__.partition(".")[0].removeprefix("langchain_")
        name, url = model_name(model), _text(model, "openai_api_base") or None
    return Price(
        input=config.price_input,
        output=config.price_output,
        model=name or config.model,
        provider=provider or None,
        url=url,
    )


def secrets(models: Iterable[BaseChatModel], config: AgentConfig) -> list[str]:
    """The texts that no message may show: keys in the models' fields and in the settings."""
    values: list[Any] = [config.api_key]
    models = list(models)
    for model in models:
        values += [getattr(model, field, None) for field in type(model).model_fields]
    found = {value.get_secret_value() for value in values if isinstance(value, SecretStr)}
    for text in (*sent_headers(config).values(), *_headers_of(models)):
        found |= {text, text.rpartition(" ")[2]}  # `Bearer KEY`, and the key alone.
    if config.proxy:
        proxy = config.proxy.get_secret_value()
        found |= {proxy, urlsplit(proxy).password or ""}
    return sorted((secret for secret in found if len(secret) >= _SHORTEST_SECRET), key=len, reverse=True)


def long_secrets(models: Iterable[BaseChatModel], config: AgentConfig) -> list[str]:
    """The secrets that are hidden in replies: `ollama` or `application/json` may be words of programs."""
    found = (secret for secret in secrets(models, config) if len(secret) >= _SHORTEST_IN_REPLY)
    return [secret for secret in found if any(map(str.isdigit, secret))]


def _headers_of(models: Iterable[BaseChatModel]) -> Iterator[str]:
    """The values of the headers that the caller's chat models send."""
    for model in models:
        headers = getattr(model, "default_headers", None)
        yield from (str(value) for value in (headers.values() if isinstance(headers, Mapping) else ()))


def hide(text: str, found: list[str]) -> str:
    """The text with all these secrets blotted out."""
    for secret in found:
        text = text.replace(secret, "***")
    return text
