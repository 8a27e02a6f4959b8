"""Providers of chat models that other packages add: `NAME:MODEL` in the settings, an entry point in theirs.

A package announces a module, and this project's own `bdc:FOLDER` comes the same way:

    [project.entry-points."bdc_agents.providers"]
    acme = "acme_llm.provider"

So agents need to know nothing of what is built on them, such as the serving of a library.
"""

from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Protocol, cast

from langchain_core.language_models import BaseChatModel

from bdc_agents.config import AgentConfig
from bdc_agents.errors import ModelError

GROUP = "bdc_agents.providers"


class Provider(Protocol):
    """What the module of an entry point has."""

    def build(self, config: AgentConfig) -> BaseChatModel:
        """An agent's chat model; whatever takes long is left to its first call.

        Raises:
            ConfigError: If a setting is not accepted.
            ModelError: If there is no such model.
        """
        ...

    def endpoint(self, config: AgentConfig) -> str:
        """What tells this model from others whose replies differ, for the cache of replies.

        Raises:
            ModelError: If there is no such model.
        """
        ...


@cache
def _announced() -> dict[str, EntryPoint]:
    # The metadata of all installed packages is read: once, some 10 ms.
    return {entry.name: entry for entry in entry_points(group=GROUP)}


def registered() -> tuple[str, ...]:
    """The names of the providers that packages add."""
    return tuple(_announced())


def provider(name: str) -> Provider:
    """The provider of a name in `registered`.

    Raises:
        ModelError: If its module cannot be imported.
    """
    entry = _announced()[name]
    try:
        return cast(Provider, entry.load())
    except ImportError as error:
        raise ModelError(f"provider {name!r} ({entry.value}) cannot be loaded: {error}") from error
