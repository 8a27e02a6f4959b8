"""What the pages show: searches by the name of their thread, wherever they are kept."""

from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from json import dumps
from typing import Any, Literal, Protocol

from bdc_agents.errors import UsageError

Json = dict[str, Any]
Status = Literal["idle", "busy", "interrupted", "error"]
Event = tuple[str, Json]
"""Name and data of an event of a stream: `changed` with counts of nodes and calls, `status` with a status."""
ACTIONS = ("fork", "edit", "add", "veto", "continue")
"""What a person may do to a search."""


class Refusal(UsageError):
    """A request that is not answered; its text is for the person who looks at the page.

    Args:
        text: What was wrong, and what to do.
        status: Status of the HTTP response.
    """

    def __init__(self, text: str, status: int = 409) -> None:
        super().__init__(text)
        self.status = status


class Denied(Refusal):
    """What the caller may not see or do, as the server has decided."""


@dataclass(frozen=True)
class Shown:
    """A search at one of its checkpoints.

    Args:
        title: Heading of its page.
        trace: The trace as JSON text; None before the search has begun.
        status: Of the thread now, whatever the checkpoint.
        checkpoint: Which one it is.
        tag: Changes whenever any of these does.
    """

    title: str
    trace: str | None
    status: Status
    checkpoint: str | None
    tag: str

    @property
    def body(self) -> str:
        """The answer to whoever asks for the trace, as JSON text."""
        known = f'"status":{dumps(self.status)},"checkpoint":{dumps(self.checkpoint)}'
        return f'{{{known},"trace":{self.trace or "null"}}}'


class Searches(Protocol):
    """Searches that one caller may look at.

    Args:
        agents: Who may be asked in a fork; empty where nobody can step in.
    """

    agents: Sequence[str]

    async def rows(self) -> list[Json]:
        """The searches there are, the latest first: `id`, `problem`, `outcome`, `updated`."""
        ...

    async def shown(self, thread: str, checkpoint: str | None = None) -> Shown:
        """A search as it is, or was at a checkpoint.

        Raises:
            Refusal: If there is none of that name, or the caller may not see it.
        """
        ...

    async def checkpoints(self, thread: str) -> list[Json]:
        """Where the search can be taken back to, oldest first: `id`, `at`, `node`, `calls`, `best`."""
        ...

    def events(self, thread: str) -> AsyncGenerator[Event]:
        """Tells that something has changed, for as long as somebody listens; first of all the status.

        Raises:
            Refusal: As for `shown`.
        """
        ...

    async def act(self, thread: str, action: str, body: Json) -> Json:
        """Does what a person wants: one of `ACTIONS`.

        Raises:
            UsageError: If it cannot be done.
        """
        ...
