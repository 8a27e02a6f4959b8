"""What every backend does: chat messages and expert weights in, text out.

A backend holds the base and the experts of one library. In process a mixture has a weight for each
expert and rank in each layer; a server that takes plain LoRA adapters, or a scale for each adapter,
reads of the same `ExpertWeights` what it can use.
"""

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, runtime_checkable

from bdc_agents.errors import ProblemError
from bdc_agents.types import Frozen

Message = Mapping[str, str]
"""`role` (`system`, `user` or `assistant`) and `content`."""


class PromptTooLong(ProblemError):
    """A prompt leaves no room for a reply in the model's context.

    Args:
        tokens: Of the prompt.
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
        experts: Each expert's weight, by name; 1 is the expert at its full strength. What people
            are shown, and what a backend uses that mixes by expert.
        layers: By layer, a tensor of shape (experts, rank) with the experts in the order of
            `experts`, for backends that mix by rank; None where those weights hold for every layer
            and rank.
        by: What decided: `router`, `clusters`, or `library` where there was nothing to decide.
    """

    experts: Mapping[str, float]
    layers: Mapping[str, Any] | None = None
    by: Literal["router", "clusters", "library"] = "router"


Place = Callable[[str], Awaitable[ExpertWeights]]
"""From a problem's text to the weights that hold for its whole solution."""


@dataclass(frozen=True, eq=False)
class ChatRequest:
    """One conversation to go on with.

    Args:
        messages: The conversation.
        experts: A mixture, the name of one expert, or None for the base alone.
        temperature: 0 takes the likeliest token each time.
        top_p: Least share of probability that the likeliest tokens must reach to be drawn from.
        seed: Of the draws; the same request with the same seed gives the same reply, alone or in a
            batch, up to rounding.
        max_tokens: Of the reply; what the context has room for where that is less.
        stop: Texts that end the reply and are not part of it.
    """

    messages: Sequence[Message]
    experts: ExpertWeights | str | None = None
    temperature: float = 0.0
    top_p: float = 1.0
    seed: int = 0
    max_tokens: int = 512
    stop: Sequence[str] = field(default=())


class ChatReply(Frozen):
    """What came of a request.

    Args:
        finish: `stop` at the end of the turn or at a stop text, `length` at the token limit.
        probability: Geometric mean of the probabilities that the model gave to its tokens; None
            where the backend does not say.
    """

    text: str
    prompt_tokens: int
    completion_tokens: int
    finish: Literal["stop", "length"] = "stop"
    probability: float | None = None


class ChatPiece(Frozen):
    """A piece of a reply as it is written.

    Args:
        reply: The whole reply, with the last piece alone.
    """

    text: str
    reply: ChatReply | None = None


@runtime_checkable
class Backend(Protocol):
    """Serves the base and the experts of one library; safe to share between tasks and event loops."""

    @property
    def identity(self) -> str:
        """Tells base and experts from all others, such as in a cache of replies."""
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
        """The replies, in order; cancelling the call ends the work on them.

        Raises:
            PromptTooLong: If a prompt leaves no room for a reply.
            ModelError: If there is no expert of a name.
            BDCError: If the backend fails or is closed.
        """
        ...

    def stream(self, request: ChatRequest) -> AsyncGenerator[ChatPiece]:
        """The reply in pieces; closing the iterator ends the work on it. Raises as `generate`."""
        ...

    async def aclose(self) -> None:
        """Ends what runs and frees the model."""
        ...
