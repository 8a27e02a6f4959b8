"""What the server offers: models by name, each of which answers a request whole or in pieces."""

from collections.abc import AsyncGenerator, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, NotRequired, Protocol

from pydantic import ConfigDict, with_config
from typing_extensions import TypedDict

from bdc_agents.serve.http.openai import ChatBody
from bdc_agents.types import StoppedBy

WHOLE = ConfigDict(extra="forbid")
"""The description of the server names every field."""


@with_config(WHOLE)
class Mixed(TypedDict):
    """How a model of a library answered: with which experts, and how sure it was of its tokens."""

    experts: Mapping[str, float]
    confidence: float | None
    routed_by: NotRequired[Literal["router", "clusters", "library"]]
    note: NotRequired[str]


@with_config(WHOLE)
class Searched(TypedDict):
    """What became of a search. The cost is in US dollars, null where no price is known."""

    solved: bool
    confirmed: bool | None
    passed: int
    tests: int
    agent: str | None
    node: str | None
    code: str
    stopped_by: StoppedBy
    calls: int
    cost: float | None
    seconds: float
    trace: NotRequired[str]
    note: NotRequired[str]


@with_config(WHOLE)
class Solved(TypedDict):
    """What the solver's answer is: of the experts (system 1), or of the search (system 2)."""

    solved: bool | None
    passed: int
    tests: int
    system: Literal[1, 2]
    confidence: float | None
    experts: Mapping[str, float]
    code: str
    stopped_by: StoppedBy | None
    calls: int
    seconds: float


@with_config(WHOLE)
class Waiting(TypedDict, total=False):
    """What a search waits for; nothing where something was only said."""

    waiting_for: Literal["tests"]


Told = Mixed | Searched | Solved | Waiting
"""Our own field of an answer, `bdc`."""

NO_LIBRARY = "bdc-agents"
"""Owner of models that are no library's."""


@dataclass(frozen=True)
class Answer:
    """A whole answer.

    Args:
        prompt_tokens, completion_tokens: Over all calls that it took.
        finish: `stop` at its end, `length` at the token limit.
        reasoning: What went on before it, for clients that show this apart.
        told: Our own field of the answer, `bdc`.
    """

    text: str
    prompt_tokens: int = 0
    completion_tokens: int = 0
    finish: Literal["stop", "length"] = "stop"
    reasoning: str = ""
    told: Told = field(default_factory=Waiting)


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
