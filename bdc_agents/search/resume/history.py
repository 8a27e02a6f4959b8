"""History: where a search can be looked at while it runs, and the steps that one can go back to.

LangGraph lists the steps of a thread with the whole state of each: 0.3 s a step at 340 nodes, a minute for a
search. So a search that has a page keeps a line for each step in its own state: the list costs one read.
"""

from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from typing import Any, NamedTuple

from langgraph.runtime import Runtime

from bdc_agents.search.round.budget import total
from bdc_agents.search.round.step import SearchRuntime
from bdc_agents.search.state import Json, SearchState

Link = Callable[[str], str | None]
"""From a thread's id to the address of a page that shows its tree."""
_WITHIN = "@"
Node = Callable[[Any, SearchRuntime], Awaitable[Json]]


class Point(NamedTuple):
    """A checkpoint that a search can be taken back to.

    Args:
        id: Of the checkpoint, as `checkpoint_key` writes it.
        at: When the step after it began, in ISO 8601.
        node: The step that led to it; empty for the first one.
        calls: LLM calls by then.
        best: The highest public reward by then.
    """

    id: str
    at: str
    node: str
    calls: int
    best: float


def checkpoint_key(namespace: str, checkpoint: str) -> str:
    """A checkpoint by one name: its id, and before it the namespace of a graph within another one."""
    return f"{namespace}{_WITHIN}{checkpoint}" if namespace else checkpoint


def split_key(key: str) -> tuple[str, str]:
    """The namespace and the id that `checkpoint_key` joined."""
    namespace, _, checkpoint = key.rpartition(_WITHIN)
    return namespace, checkpoint


def page_of(link: Link | None, runtime: Runtime[Any]) -> str | None:
    """The address of the page that shows the thread's tree, where there is a page and a thread."""
    thread = runtime.execution_info.thread_id if runtime.execution_info else None
    return link(thread) if link and thread else None


def logged(step: Node) -> Node:
    """A step that also writes down from which checkpoint it began, and how far the search was there."""

    async def logging(state: SearchState, runtime: SearchRuntime) -> Json:
        info, began = runtime.execution_info, datetime.now(UTC).isoformat(timespec="milliseconds")
        changes = await step(state, runtime)
        if info is None:
            return changes
        line = {
            "at": began,
            "node": step.__name__,
            "calls": calls_of(state),
            "best": state.get("best", 0.0),
        }
        namespace = info.checkpoint_ns.rpartition("|")[0]  # Without the node's own part.
        return {**changes, "steps": {checkpoint_key(namespace, info.checkpoint_id): line}}

    logging.__name__ = step.__name__
    return logging


def calls_of(state: Mapping[str, Any]) -> int:
    """LLM calls of a search by now."""
    return total(state.get("usage", {})).calls


def points(state: Mapping[str, Any]) -> list[Point]:
    """The checkpoints that a state tells of, oldest first; the newest one is not among them."""
    lines = sorted(state.get("steps", {}).items(), key=lambda item: (item[1]["at"], item[0]))
    nodes = ["", *(line["node"] for _, line in lines)]
    return [
        Point(key, line["at"], node, line["calls"], line["best"])
        for (key, line), node in zip(lines, nodes, strict=False)
    ]
