"""What chat models are built with: a key where there is none, and no option that is passed on unread."""

from collections.abc import Iterable, Mapping
from typing import Any

from langchain_core.language_models import BaseChatModel

from bdc_agents.errors import ConfigError, unknown

NO_KEY = "none"
"""Sent to an endpoint without a key: left out, the user's own key would go there instead."""


def declared(kind: type[BaseChatModel]) -> set[str]:
    """The names under which a chat model takes arguments."""
    fields = kind.model_fields.items()
    return {*kind.model_fields, *(field.alias for _, field in fields if field.alias)}


def check_options(options: Mapping[str, Any], known: Iterable[str], elsewhere: str) -> None:
    """Refuses an option that a chat model would pass on unread.

    Args:
        options: Of the settings.
        known: What may be given.
        elsewhere: Where what an endpoint alone knows may be put.

    Raises:
        ConfigError: If one is not known.
    """
    names = [name for name in known if not name.startswith("_")]
    for option in options:
        if option not in names:
            hint = f" (what only the endpoint knows goes into {elsewhere})"
            raise ConfigError(unknown("option", option, names) + hint)
