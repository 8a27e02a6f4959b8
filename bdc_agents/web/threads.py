"""Threads of a LangGraph server in which a search runs: their states, and the runs that make them."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple, cast
from uuid import UUID

from httpx import HTTPStatusError
from langgraph_sdk.client import LangGraphClient

from bdc_agents.search.resume.history import checkpoint_key, split_key
from bdc_agents.web.searches import Json, Refusal, Status

_RUNS = 10
"""Runs of a thread that are looked at: the one that goes on, and those that wait behind it."""
_UNENDED = ("running", "pending")


class Held(NamedTuple):
    """The state of a search at a checkpoint.

    Args:
        values: Of the graph that searches; empty before it has begun.
        key: The checkpoint, as `checkpoint_key` writes it.
        next: The steps that follow.
        waits: Whether it waits for a person's decision.
        created: When the checkpoint was written.
        around: The checkpoint of the thread's own graph, where the search is one within it; else empty.
    """

    values: Any
    key: str
    next: Sequence[str]
    waits: bool
    created: str
    around: str


class Run(NamedTuple):
    """How a thread was run last, for a run that goes on.

    Args:
        graph: Which graph, by its name in `langgraph.json`.
        assistant: The graph with its settings.
        context: Settings of the run.
        streams: What it streams to whoever joins it.
    """

    graph: str
    assistant: str
    context: Json
    streams: Json


class Threads:
    """The threads that a caller may see.

    Args:
        client: The server's API as the caller.
    """

    def __init__(self, client: LangGraphClient) -> None:
        self.client = client

    async def status(self, thread: str) -> tuple[Status, str]:
        """What a thread does now, and when it has changed last; without its values.

        Raises:
            Refusal: If there is none that the caller may see.
        """
        columns: Any = ["status", "updated_at"]
        rows: Any = await self.client.threads.search(ids=[_uuid(thread)], limit=1, select=columns)
        if not rows:
            raise Refusal(f"there is no search {thread} on this server, or it is not yours", 404)
        return rows[0]["status"], str(rows[0]["updated_at"])

    async def held(self, thread: str, checkpoint: str | None = None) -> Held:
        """The state of a thread's search, now or at a checkpoint; that of a subgraph where that searches.

        Raises:
            Refusal: If there is no such checkpoint.
        """
        if checkpoint is None:
            root: Any = await self.client.threads.get_state(thread, subgraphs=True)
            found = next(_searching(root), None)
            if found is None and (namespace := root["values"].get("searched")):
                found = await self.client.threads.get_state(thread, at(namespace))
            return _held(found or root)
        past: Any = await self.client.threads.get_state(thread, at(*split_key(checkpoint)))
        if past["created_at"] is None:
            raise Refusal(f"the search {thread} has no checkpoint {checkpoint}", 404)
        return _held(past)

    async def last_run(self, thread: str) -> Run:
        """The run that a further one goes on from.

        Raises:
            Refusal: If the thread was never run.
        """
        runs = await self._runs(thread)
        if not runs:
            raise Refusal(f"the search {thread} was never run on this server")
        kwargs = runs[0]["kwargs"]
        streams = {"stream_mode": kwargs.get("stream_mode") or ["values", "custom"]}
        if kwargs.get("subgraphs"):
            streams["stream_subgraphs"] = True
        graph, assistant = str(runs[0]["metadata"].get("graph_id")), str(runs[0]["assistant_id"])
        return Run(graph, assistant, dict(kwargs.get("context") or {}), streams)

    async def pause(self, thread: str) -> None:
        """Stops what runs in a thread, or is about to; the steps that have ended stay."""
        for run in await self._runs(thread):
            if run["status"] in _UNENDED:
                try:
                    await self.client.runs.cancel(thread, run["run_id"], wait=True, action="interrupt")
                except HTTPStatusError as error:
                    if error.response.status_code != 404:  # It has ended by itself in the meantime.
                        raise

    async def go_on(self, thread: str, run: Run, context: Mapping[str, Any], sent: Any = None) -> None:
        """Runs a thread further, in the background.

        Args:
            thread: Its id.
            run: How it was run before.
            context: Settings that it goes on with.
            sent: Input, such as a message; None goes on from where it was.
        """
        await self.client.runs.create(
            thread,
            run.assistant,
            input=sent,
            context=cast("Any", context),
            multitask_strategy="reject",
            **run.streams,
        )

    async def create(self, thread: str, graph: str, origin: Json, values: Json, node: str) -> None:
        """Creates a thread with a state.

        Args:
            thread: Its id.
            graph: Which graph goes on with it.
            origin: What its metadata tell.
            values: The state.
            node: After which node it goes on.

        Raises:
            Refusal: If the graph cannot take the state.
        """
        steps = [{"updates": [{"values": values, "as_node": node}]}]
        made: Any = await self.client.threads.create(
            thread_id=thread, graph_id=graph, metadata=cast("Any", origin), supersteps=cast("Any", steps)
        )
        if "thread_id" not in made:  # The server answers 201 even then.
            raise Refusal(f"the fork could not be made: {str(made.get('detail', made))[:300]}", 502)

    async def change(self, thread: str, values: Any, key: str, node: str | None) -> None:
        """Changes the newest state of a thread.

        Args:
            thread: Its id.
            values: As a node would write them.
            key: Where the state is, of which the namespace counts.
            node: After which node it goes on; None for the one that ran last.
        """
        namespace, _ = split_key(key)
        await self.client.threads.update_state(thread, values, as_node=node, checkpoint=at(namespace))

    async def _runs(self, thread: str) -> list[Any]:
        columns: Any = ["run_id", "status", "assistant_id", "metadata", "kwargs"]
        return await self.client.runs.list(thread, limit=_RUNS, select=columns)  # The newest first.


def at(namespace: str, checkpoint: str | None = None) -> Any:
    """A checkpoint as the API names it; the newest one of a graph where there is no id."""
    named = {"checkpoint_ns": namespace}
    return named | {"checkpoint_id": checkpoint} if checkpoint else named


def _uuid(thread: str) -> str:
    try:
        return str(UUID(thread))
    except ValueError:
        raise Refusal(f"{thread!r} is no id of a thread: those are UUIDs, as /tree lists them", 404) from None


def _searching(state: Json) -> Iterator[Json]:
    """The states that hold a tree, the innermost first: a graph in which a search runs may be one itself."""
    for task in state["tasks"]:
        if task.get("state"):
            yield from _searching(task["state"])
    if state["values"].get("tree"):
        yield state


def _held(state: Any) -> Held:
    place, values = state["checkpoint"] or {}, state["values"]
    namespace = place.get("checkpoint_ns", "")
    return Held(
        values if values.get("tree") else {},
        checkpoint_key(namespace, place.get("checkpoint_id") or ""),
        state["next"],
        any(task.get("interrupts") for task in state["tasks"]),
        state["created_at"] or "",
        (place.get("checkpoint_map") or {}).get("", "") if namespace else "",
    )
