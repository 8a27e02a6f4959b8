"""Finds providers of chat models that other packages add by an entry point, for models `NAME:MODEL`.

A package announces a module as follows; this project's own `bdc:FOLDER` uses the same way:

    [project.entry-points."bdc_agents.providers"]
    acme = "acme_llm.provider"

So agents need not know what is built on them, such as the serving of a library.
"""

from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Protocol, cast

from langchain_core.language_models import BaseChatModel

from bdc_agents.config import AgentConfig
from bdc_agents.errors import ModelError

GROUP = "bdc_agents.providers"


class Provider(Protocol):
    """The functions of an entry point's module."""

    def build(self, config: AgentConfig) -> BaseChatModel:
        """Builds an agent's chat model; slow work has to wait for its first call.

        Raises:
            ConfigError: If a setting is not accepted.
            ModelError: If there is no such model.
        """
        ...

    def endpoint(self, config: AgentConfig) -> str:
        """Identifies this model in the reply cache: models whose replies differ have different texts.

        Raises:
            ModelError: If there is no such model.
        """
        ...


@cache
def _announced() -> dict[str, EntryPoint]:
    # Cached: reading the metadata of all installed packages takes some 10 ms.
    return {entry.name: entry for entry in entry_points(group=GROUP)}


def registered() -> tuple[str, ...]:
    """The names of the providers that packages add."""
    return tuple(_announced())


def provider(name: str) -> Provider:
    """Loads the provider with a name of `registered`.

    Raises:
        ModelError: If its module cannot be imported.
    """
    entry = _announced()[name]
    try:
        return cast(Provider, entry.load())
    except ImportError as error:
        raise ModelError(f"provider {name!r} ({entry.value}) cannot be loaded: {error}") from error
