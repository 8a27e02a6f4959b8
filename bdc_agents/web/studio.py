"""The pages on a LangGraph server's port, beside Studio: its threads, as whoever asks may see them."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing, asynccontextmanager, suppress
from time import monotonic
from typing import Any, cast

from langgraph_sdk.client import LangGraphClient
from starlette.applications import Starlette
from starlette.requests import Request

from bdc_agents.search.resume.history import Point, calls_of, points
from bdc_agents.types import content_hash
from bdc_agents.view.text import why_ended
from bdc_agents.web.app import tree_routes
from bdc_agents.web.caller import as_caller
from bdc_agents.web.searches import Event, Json, Searches, Shown, Status
from bdc_agents.web.stepping import act
from bdc_agents.web.threads import Threads
from bdc_agents.web.traces import TraceTexts

_ROWS = 100
"""Searches in the list: what a person looks through."""
_FASTEST = 0.5
"""Seconds between two events of a stream."""
_SHARE = 4.0
"""Two events are so many times as far apart as the last read of a trace took: a page that reads at each of
them takes a fifth of the server's time at most."""
_IDLE = 1.0
"""Seconds between two looks at a thread in which nothing runs."""
_STEPS = ("values", "updates", "checkpoints", "tasks", "debug")
"""Kinds of parts of a run's stream that tell of whole steps; where a run streams none, all parts count."""
_LONGEST = 5.0
"""Seconds without news after which it is looked whether a search still runs."""


def tree_app(agents: Sequence[str] = ()) -> Starlette:
    """The pages for a LangGraph server: the app of `"http": {"app": ...}` in `langgraph.json`.

    Args:
        agents: Names of the agents of the server's graphs, who may be asked in a fork.
    """
    texts = TraceTexts()

    @asynccontextmanager
    async def opens(request: Request) -> AsyncGenerator[Searches]:
        async with as_caller(request) as client:
            yield ServerSearches(client, agents, texts)

    return Starlette(routes=tree_routes(opens, signs_in=True))


class ServerSearches:
    """See `Searches`.

    Args:
        client: The server's API as the caller.
        agents: Who may be asked in a fork.
        texts: Traces that were shown before.
    """

    def __init__(self, client: LangGraphClient, agents: Sequence[str], texts: TraceTexts) -> None:
        self._threads = Threads(client)
        self.agents = agents
        self._texts = texts

    async def rows(self) -> list[Json]:
        """See `Searches`."""
        columns: Any = ["thread_id", "status", "updated_at"]
        found = await self._threads.client.threads.search(
            limit=_ROWS,
            sort_by="updated_at",
            sort_order="desc",
            select=columns,
            extract={
                "problem": "values.problem.id",
                "solved": "values.solution.solved",
                "stopped_by": "values.solution.stopped_by",
                "answered": "values.answer.solved",
            },
        )
        return [row for row in map(_row, cast("list[Any]", found)) if row]

    async def shown(self, thread: str, checkpoint: str | None = None) -> Shown:
        """See `Searches`."""
        (status, _), began = await self._threads.status(thread), monotonic()
        held = await self._threads.held(thread, checkpoint)
        tag = content_hash(f"{thread} {held.key} {status}")
        if not held.values:
            return Shown("A search that has not begun", None, status, None, tag)
        made = await self._texts.of(thread, held.key, held.values, held.created)
        self._texts.seconds = monotonic() - began
        title = str(held.values.get("problem", {}).get("id", ""))
        return Shown(title, made.text, status, held.key, tag)

    async def checkpoints(self, thread: str) -> list[Json]:
        """See `Searches`."""
        await self._threads.status(thread)
        held = await self._threads.held(thread)
        if not held.values:
            return []
        known = [point for point in points(held.values) if point.id != held.key]
        last = max(held.values.get("steps", {}).values(), key=lambda line: line["at"], default={})
        calls, best = calls_of(held.values), held.values.get("best", 0.0)
        newest = Point(held.key, held.created, last.get("node", ""), calls, best)
        return [point._asdict() for point in (*known, newest)]

    async def act(self, thread: str, action: str, body: Json) -> Json:
        """See `Searches`."""
        return await act(self._threads, thread, action, body, self.agents)

    async def events(self, thread: str) -> AsyncGenerator[Event]:
        """See `Searches`."""
        status, changed = await self._threads.status(thread)
        yield "status", {"status": status}
        while True:
            if status == "busy":
                async with aclosing(self._while_busy(thread)) as events:
                    async for event in events:
                        yield event
            else:
                await asyncio.sleep(_IDLE)
            before = status, changed
            status, changed = await self._threads.status(thread)
            if changed != before[1]:
                yield "changed", self._counts(thread)
            if status != before[0]:
                yield "status", {"status": status}

    async def _while_busy(self, thread: str) -> AsyncGenerator[Event]:
        """Events of a thread until its run ends, or nothing comes for a while."""
        news, ended = asyncio.Event(), asyncio.Event()

        async def listen() -> None:
            try:
                # A coroutine that gives the stream, whatever its annotation says.
                stream: Any = await cast("Any", self._threads.client.threads.join_stream(thread))
                async with aclosing(stream) as parts:
                    steps = False
                    async for part in parts:
                        kind = part.event.partition("|")[0]
                        steps = steps or kind in _STEPS
                        if kind in _STEPS or not steps:
                            news.set()
                        if kind == "metadata" and part.data.get("status") == "run_done":
                            break
            finally:
                ended.set()
                news.set()

        listening = asyncio.create_task(listen())
        try:
            while not ended.is_set():
                # A run may end before anybody listens: whether it has is looked up from time to time.
                async with asyncio.timeout(_LONGEST):
                    await news.wait()
                news.clear()
                yield "changed", self._counts(thread)
                await asyncio.sleep(max(_FASTEST, _SHARE * self._texts.seconds))
            await listening
        except TimeoutError:
            return
        finally:
            listening.cancel()
            with suppress(asyncio.CancelledError):
                await listening

    def _counts(self, thread: str) -> Json:
        """Of the last trace that was shown."""
        made = self._texts.latest(thread)
        return {"nodes": made.nodes, "calls": made.calls} if made else {"nodes": 0, "calls": 0}


def _row(thread: Any) -> Json | None:
    """A line of the list; None for a thread that holds no search."""
    known = thread["extracted"]
    if not isinstance(known["problem"], str):
        return None
    return {
        "id": thread["thread_id"],
        "problem": known["problem"],
        "outcome": _outcome(thread["status"], known),
        "updated": thread["updated_at"],
    }


def _outcome(status: Status, known: Json) -> str:
    if status == "busy":
        return "searching"
    if status == "error":
        return "failed"
    if status == "interrupted":
        return "stopped in the midst"
    if known["solved"] or known["answered"]:
        return "solved"
    return f"not solved; {why_ended(str(known['stopped_by']))}".removesuffix("; ")
