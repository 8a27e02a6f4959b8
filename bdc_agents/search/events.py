"""What a search tells while it goes on: the events of `on_event` and of the stream mode `custom`.

Each is a plain dict, told from the others by its `type`:

    async for event in app.astream({"problem": problem}, stream_mode="custom"):
        if event["type"] == "node":
            print(event["node"]["id"], event["node"]["value"])
"""

from collections.abc import Callable
from typing import Annotated, Any, Literal, NotRequired

from pydantic import AfterValidator, BaseModel
from typing_extensions import TypedDict

from bdc_agents.types import AskedFor, Node, Program, Solution, StoppedBy, Usage

Purpose = Literal["expand", "boost", "refine", "merge", "judge", "tests", "repair", "split"]
"""What an agent is asked for: thoughts (`expand`, `refine`, `merge`), a program (`boost`), a diagnosis and a
program (`repair`), a score (`judge`), tests, or the expected output on one input (`split`)."""


def _fields_of(model: type[BaseModel]) -> Any:
    """Plain data with the fields of a model."""

    def check(value: dict[str, Any]) -> dict[str, Any]:
        model.model_validate(value)
        return value

    return AfterValidator(check)


class Started(TypedDict):
    """The problem is read, and the root of the tree stands.

    Args:
        problem: Its id.
        agents: Names of those that take part.
        tree_url: Address of the page that shows the tree, where a server has one.
    """

    type: Literal["started"]
    problem: str
    agents: list[str]
    tree_url: NotRequired[str]


class Selected(TypedDict):
    """A round begins.

    Args:
        leaves: Ids of the nodes where thoughts or programs are wanted.
    """

    type: Literal["selected"]
    leaves: list[str]


class Asked(TypedDict):
    """A call of an agent begins.

    Args:
        node: The node that it is for.
    """

    type: Literal["asked"]
    agent: str
    purpose: Purpose
    node: str


class Truncated(TypedDict):
    """A reply was cut off at its token limit.

    Args:
        max_tokens: That limit.
        again: The limit of the same call that is made once more; None where it is not.
    """

    type: Literal["truncated"]
    agent: str
    purpose: Purpose
    node: str
    max_tokens: int
    again: int | None


class Answered(TypedDict):
    """A call of an agent has ended.

    Args:
        usage: What it took, as the fields of `Usage`.
        error: Why there is no reply; empty where there is one, and where the search ran out of time.
        cut_at: The token limit at which the reply ended before it was whole; 0 where it is.
    """

    type: Literal["answered"]
    agent: str
    purpose: Purpose
    node: str
    usage: Annotated[dict[str, Any], _fields_of(Usage)]
    error: str
    cut_at: int


class Grown(TypedDict):
    """A node of the tree is new, or has changed.

    Args:
        node: The fields of `Node`.
    """

    type: Literal["node"]
    node: Annotated[dict[str, Any], _fields_of(Node)]


class Ran(TypedDict):
    """A program was run, on the tests or on further inputs.

    Args:
        key: What attempts of nodes call it by.
        program: The fields of `Program`.
    """

    type: Literal["program"]
    key: str
    program: Annotated[dict[str, Any], _fields_of(Program)]


class SetAside(TypedDict):
    """An agent takes no further part."""

    type: Literal["set_aside"]
    agent: str
    reason: str


class Reviewed(TypedDict):
    """A person has decided something; the fields of `Review`, without those that say nothing."""

    type: Literal["reviewed"]
    asked: AskedFor
    decision: Literal["approve", "edit", "reject", "respond"]
    by: str
    node: NotRequired[str]
    program: NotRequired[str]
    text: NotRequired[str]
    rollouts: NotRequired[int]
    refuses: NotRequired[list[str]]
    accepts: NotRequired[str]
    caps: NotRequired[dict[str, float]]


class Stopped(TypedDict):
    """No further round is made.

    Args:
        by: What ended the search.
    """

    type: Literal["stopped"]
    by: StoppedBy


class Finished(TypedDict):
    """The answer is chosen; the last event.

    Args:
        solution: The fields of `Solution`.
    """

    type: Literal["finished"]
    solution: Annotated[dict[str, Any], _fields_of(Solution)]


SearchEvent = (
    Started | Selected | Asked | Truncated | Answered | Grown | Ran | SetAside | Reviewed | Stopped | Finished
)
Emit = Callable[[SearchEvent], None]
"""Takes one event."""
