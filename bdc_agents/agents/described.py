"""What can be told of a chat model without asking it: name, address, price, keys."""

from langchain_core.language_models import BaseChatModel
from pydantic import SecretStr

from bdc_agents.agents.prices import Price
from bdc_agents.config import AgentConfig

_SHORTEST_SECRET = 6


def model_name(model: object) -> str:
    """The name of a chat model at its provider; empty where it has none."""
    return _text(model, "model_name", "model", "model_id")


def reasons(model: object) -> bool:
    """Whether a chat model is known to reason before it answers, by LangChain's own list of models."""
    profile = getattr(model, "profile", None)
    return isinstance(profile, dict) and bool(profile.get("reasoning_output"))


def address(model: object) -> str:
    """Where a chat model is reached; empty for a provider's own address."""
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
        config: The agent's settings, whose own prices win.
        model: Its chat model, where the settings do not say what it is.
    """
    provider, colon, name = config.model.partition(":")
    if isinstance(model, BaseChatModel) and not config.base_url:
        # The module of an integration is called after its provider: langchain_anthropic.
        provider = type(model).__module__.partition(".")[0].removeprefix("langchain_")
        name = model_name(model)
    elif not colon:
        provider, name = "", config.model
    url = config.base_url or _text(model, "openai_api_base") or None
    return Price(
        input=config.price_input,
        output=config.price_output,
        model=name or config.model,
        provider=provider or None,
        url=url,
    )


def secrets(model: object, config: AgentConfig) -> list[str]:
    """The texts that no message may show: keys among the model's fields and the settings."""
    names = type(model).model_fields if isinstance(model, BaseChatModel) else ()
    values = [*(getattr(model, field, None) for field in names), config.api_key]
    found = {value.get_secret_value() for value in values if isinstance(value, SecretStr)}
    return sorted((secret for secret in found if len(secret) >= _SHORTEST_SECRET), key=len, reverse=True)


def hide(text: str, found: list[str]) -> str:
    """The text with every one of these secrets blotted out."""
    for secret in found:
        text = text.replace(secret, "***")
    return text
