"""The interface of agents: `Request` in, `Reply` out."""

from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable

from langchain_core.messages import BaseMessage

from bdc_agents.types import Frozen, Usage


class Request(Frozen):
    """One call of an LLM.

    Args:
        messages: The conversation.
        temperature: Sampling temperature.
        seed: Sent if the endpoint takes one, and always part of the cache key, so that two samples of
            one prompt are two replies.
        json_schema: A JSON schema that the reply should follow; None for free text.
        max_tokens: Longest reply wanted, in tokens; the agent's own setting wins, and decides if None.
        tries: Most calls for this request, retries included; None leaves it to the agent.
        metadata: What tracers are told of it, such as its purpose and its node of the tree. It is not sent,
            and no part of the cache key.
    """

    messages: tuple[BaseMessage, ...]
    temperature: float = 0.7
    seed: int = 0
    json_schema: Mapping[str, Any] | None = None
    max_tokens: int | None = None
    tries: int | None = None
    metadata: Mapping[str, str] = {}


class Reply(Frozen):
    """An agent's reply.

    Args:
        text: The reply's text; for a request with a schema, JSON if all went well.
        usage: Usage of this call, retries included.
        truncated: Whether the reply ended at its token limit.
        sampled: Whether another seed could give another text, as it cannot at temperature 0.
    """

    text: str
    usage: Usage
    truncated: bool = False
    sampled: bool = True


@runtime_checkable
class Agent(Protocol):
    """A named LLM with its limits; safe to share between concurrent searches."""

    @property
    def name(self) -> str:
        """Its name in the configuration."""
        ...

    def bound(self, request: Request) -> Usage:
        """The most that this call can take, retries included; a budget reserves it."""
        ...

    async def reply(self, request: Request) -> Reply:
        """Answers one request.

        Raises:
            AgentError: If it did not answer after its retries.
        """
        ...

    async def aclose(self) -> None:
        """Frees what the agent holds, such as its share of a local model's server."""
        ...
