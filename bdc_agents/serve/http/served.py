"""What the server offers: models by name, each of which answers a request whole or in pieces."""

from collections.abc import AsyncGenerator, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from bdc_agents.serve.http.openai import ChatBody

NO_LIBRARY = "bdc-agents"
"""Owner of models that are no library's."""


@dataclass(frozen=True)
class Answer:
    """A whole answer.

    Args:
        prompt_tokens, completion_tokens: Over all calls that it took.
        finish: `stop` at its end, `length` at the token limit.
        reasoning: What went on before it, for clients that show this apart.
        told: Our own field of the answer, `bdc`: experts and confidence, or what became of a search.
    """

    text: str
    prompt_tokens: int = 0
    completion_tokens: int = 0
    finish: Literal["stop", "length"] = "stop"
    reasoning: str = ""
    told: Mapping[str, Any] = field(default_factory=dict[str, Any])


@dataclass(frozen=True)
class Piece:
    """A piece of an answer as it is written.

    Args:
        text, reasoning: What it adds to the two parts of the answer.
        choice: Of which answer, where a request asks for several.
        answer: The whole of it; only its last piece has this.
    """

    text: str = ""
    reasoning: str = ""
    choice: int = 0
    answer: Answer | None = None


class Served(Protocol):
    """Some models of the server. What their methods raise as a `UsageError` is the client's to mend."""

    @property
    def owner(self) -> str:
        """Whose models they are: the library's name, or `NO_LIBRARY`."""
        ...

    @property
    def names(self) -> Sequence[str]:
        """By what names clients ask for them; the first is the default."""
        ...

    @property
    def ignores(self) -> Collection[str]:
        """Fields of a request that it accepts, since clients send them, although they change nothing."""
        ...

    async def answers(self, body: ChatBody) -> list[Answer]:
        """As many answers as `body.n`. Cancelling the call ends the work on them."""
        ...

    def stream(self, body: ChatBody) -> AsyncGenerator[Piece]:
        """The same in pieces. Closing the iterator ends the work."""
        ...

    async def aclose(self) -> None:
        """Ends running work and frees what it holds."""
        ...
