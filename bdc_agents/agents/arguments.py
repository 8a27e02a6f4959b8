"""Checks the arguments that chat models are built with: options and keys."""

from collections.abc import Iterable, Mapping
from typing import Any

from langchain_core.language_models import BaseChatModel

from bdc_agents.errors import ConfigError, unknown

NO_KEY = "none"
"""Key for an endpoint that needs none: without one, the SDK would send the user's own OpenAI key there."""


def declared(kind: type[BaseChatModel]) -> set[str]:
    """The names under which a chat model takes arguments."""
    fields = kind.model_fields.items()
    return {*kind.model_fields, *(field.alias for _, field in fields if field.alias)}


def check_options(options: Mapping[str, Any], known: Iterable[str], elsewhere: str) -> None:
    """Refuses an option that a chat model would pass on unread.

    Args:
        options: Options of the settings.
        known: Known names.
        elsewhere: The option that takes what only the endpoint knows.

    Raises:
        ConfigError: If an option is unknown.
    """
    names = [name for name in known if not name.startswith("_")]
    for option in options:
        if option not in names:
            hint = f" (what only the endpoint knows goes into {elsewhere})"
            raise ConfigError(unknown("option", option, names) + hint)
