"""Replies that the driver of a Ray run keeps for all nodes: they outlive the node that got them."""

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from bdc_agents.agents.cache import ReplyCache, reply_key
from bdc_agents.agents.failures import shown_url
from bdc_agents.agents.models import endpoint_of
from bdc_agents.agents.protocol import Agent, Reply, Request
from bdc_agents.config import AgentConfig
from bdc_agents.types import Usage


class DriverReplies(ReplyCache):
    """A reply cache whose file is the driver's.

    Args:
        ask: Calls `reply` and `keep` at the driver.
    """

    def __init__(self, ask: Callable[..., Awaitable[Any]]) -> None:
        super().__init__(Path())
        self._ask = ask

    async def get(self, key: str) -> Reply | None:
        """See `ReplyCache`."""
        return await self._ask("reply", key)

    async def put(self, key: str, reply: Reply) -> None:
        """See `ReplyCache`."""
        await self._ask("keep", key, reply)


class KeptAgent:
    """An agent whose replies are kept under the keys that it has in a run of one machine.

    Args:
        agent: Who answers; without a cache of its own.
        replies: Where they are kept.
        config: Its settings.
    """

    def __init__(self, agent: Agent, replies: ReplyCache, config: AgentConfig) -> None:
        self._agent = agent
        self._replies = replies
        self._identity = _identity(config)
        self._config = config

    @property
    def name(self) -> str:
        """Its name in the configuration."""
        return self._agent.name

    def bound(self, request: Request) -> Usage:
        """See `Agent`."""
        return self._agent.bound(request)

    async def reply(self, request: Request) -> Reply:
        """See `Agent`."""
        config = self._config
        if config.temperature is not None:
            request = request.model_copy(update={"temperature": config.temperature})
        key = reply_key(
            self._identity,
            request.model_copy(update={"max_tokens": None}),
            max_tokens=self._agent.bound(request).completion_tokens,  # what is sent, as without Ray
            structured=config.structured,
            options=config.shaping,
        )
        return await self._replies.fetch(key, lambda: self._agent.reply(request))

    async def aclose(self) -> None:
        """See `Agent`."""
        await self._agent.aclose()


def _identity(config: AgentConfig) -> str:
    """What tells an agent's LLM from all others, as the agents of one machine have it.

    Only a local model is called otherwise: its weights are hashed where they are.
    """
    if config.model.startswith("local:") and not config.base_url:
        return f"local|{config.model}|{config.path or ''}"
    endpoint = endpoint_of(config)
    return f"{shown_url(endpoint) or endpoint}|{config.model}"
