"""What the solver tells while it goes on, in the stream mode `custom`, by the `type` of each event.

The search that it turns to has events of its own (`bdc_agents.search.events`), in the subgraph.
"""

from collections.abc import Callable
from typing import Any, Literal, NotRequired

from typing_extensions import TypedDict


class Routed(TypedDict):
    """The experts are weighed.

    Args:
        problem: Its id.
        experts: Each expert's weight.
        routed_by: What weighed them.
        tree_url: Address of the page that shows the tree of its search, where a server has one.
    """

    type: Literal["routed"]
    problem: str
    experts: dict[str, float]
    routed_by: str
    tree_url: NotRequired[str]


class Wrote(TypedDict):
    """System 1 has written a program.

    Args:
        code: The program; empty where none was read in the reply.
        confidence: The reply's mean probability of a token; None where the backend does not tell it.
    """

    type: Literal["answered"]
    code: str
    confidence: float | None


class Checked(TypedDict):
    """A program of System 1 was run.

    Args:
        reward: Share of the public tests passed.
    """

    type: Literal["program"]
    code: str
    reward: float


class Escalated(TypedDict):
    """The search begins.

    Args:
        problem: Its id.
        budget: The caps that are left for it.
    """

    type: Literal["escalated"]
    problem: str
    budget: dict[str, Any]


SolverEvent = Routed | Wrote | Checked | Escalated
Emit = Callable[[SolverEvent], None]
"""Takes one event."""
