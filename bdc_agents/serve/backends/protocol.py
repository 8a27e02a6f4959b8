"""The protocol of a backend, and the requests, replies and expert weights that pass through it.

A backend holds the base and the experts of one library. In process, a mixture has a weight for each
expert and rank in each layer. A server that takes plain LoRA adapters, or one scale for each adapter,
uses the part of `ExpertWeights` that it can apply.
"""

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol, runtime_checkable

from bdc_agents.errors import ProblemError
from bdc_agents.types import Frozen

Message = Mapping[str, str]
"""`role` (`system`, `user` or `assistant`) and `content`."""


class PromptTooLong(ProblemError):
    """A prompt leaves no room for a reply in the model's context.

    Args:
        tokens: Length of the prompt.
        context: Tokens of prompt and reply together.
    """

    def __init__(self, tokens: int, context: int) -> None:
        super().__init__(
            f"the prompt has {tokens} tokens and the model's context holds {context}, prompt and reply "
            f"together; shorten it by at least {tokens - context + 1}"
        )
        self.tokens = tokens
        self.context = context


@dataclass(frozen=True, eq=False)
class ExpertWeights:
    """How much each expert acts, for one problem.

    Args:
        experts: Each expert's weight, by name; 1 is the expert at its full strength. Shown to people,
            and used by backends that mix by expert.
        layers: By layer, a tensor of shape (experts, rank) with the experts in the order of
            `experts`, for backends that mix by rank. None if the weights in `experts` hold for every
            layer and rank.
        by: What decided: `router`, `clusters`, or `library` where there was nothing to decide.
    """

    experts: Mapping[str, float]
    layers: Mapping[str, Any] | None = None
    by: Literal["router", "clusters", "library"] = "router"


Weigher = Callable[[str], Awaitable[ExpertWeights]]
"""Weighs the experts for a problem's text; the weights hold for its whole solution."""


@dataclass(frozen=True, eq=False)
class ChatRequest:
    """A conversation that the model is to continue.

    Args:
        messages: The conversation.
        experts: A mixture, the name of one expert, or None for the base alone.
        temperature: 0 takes the likeliest token each time.
        top_p: Draws come from the likeliest tokens that together reach this share of probability.
        seed: Seed of the draws. The same request with the same seed gives the same reply, alone or in a
            batch, up to rounding.
        max_tokens: Most tokens of the reply; fewer if the context has no room for so many. The default
            holds a program for a short problem.
        stop: Texts that end the reply and are not part of it.
        schema: A JSON schema that the reply is held to, as `read_schema` gives it; for a backend that has
            `enforces`. A reply that ends at its token limit may be cut off within the JSON.
    """

    messages: Sequence[Message]
    experts: ExpertWeights | str | None = None
    temperature: float = 0.0
    top_p: float = 1.0
    seed: int = 0
    max_tokens: int = 512
    stop: Sequence[str] = field(default=())
    schema: Mapping[str, Any] | None = None


class ChatReply(Frozen):
    """The reply to a request.

    Args:
        finish: `stop` at the end of the turn or at a stop text, `length` at the token limit.
        probability: Geometric mean of the probabilities that the model gave to its tokens; None
            if the backend does not report them.
    """

    text: str
    prompt_tokens: int
    completion_tokens: int
    finish: Literal["stop", "length"] = "stop"
    probability: float | None = None


class ChatPiece(Frozen):
    """A piece of a reply as it is written.

    Args:
        reply: The whole reply; only the last piece has it.
    """

    text: str
    reply: ChatReply | None = None


@dataclass(frozen=True, eq=False)
class Options:
    """How to open a library; each backend reads its own part. See `RoutedModel.from_library`."""

    base: Any = None
    encoder: Any = None
    dtype: str = "auto"
    device: str | None = None
    slots: int = 8
    context: int | None = None
    url: str | None = None
    key: str | None = field(default=None, repr=False)
    adapters: Path | None = None


@runtime_checkable
class Backend(Protocol):
    """Serves the base and the experts of one library. Tasks and event loops may share it.

    One that holds replies to a `ChatRequest.schema` has an attribute `enforces` besides, which is true.
    """

    @property
    def identity(self) -> str:
        """A hash of base and experts, for instance as a key in a cache of replies."""
        ...

    @property
    def mixes(self) -> Literal["rank", "expert"]:
        """Whether a mixture acts by expert and rank in each layer, or by expert alone."""
        ...

    @property
    def context(self) -> int:
        """Tokens of prompt and reply together."""
        ...

    async def generate(self, requests: Sequence[ChatRequest]) -> list[ChatReply]:
        """The replies, in order. Cancelling the call ends the work on them.

        Raises:
            PromptTooLong: If a prompt leaves no room for a reply.
            ModelError: If a request names an unknown expert.
            BDCError: If the backend fails or is closed.
        """
        ...

    def stream(self, request: ChatRequest) -> AsyncGenerator[ChatPiece]:
        """The reply in pieces. Closing the iterator ends the work on it. Raises as `generate`."""
        ...

    async def aclose(self) -> None:
        """Ends running requests and frees the model."""
        ...
