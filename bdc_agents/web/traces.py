"""Traces of running searches as JSON text: made once for each step, whoever asks how often."""

import asyncio
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any, NamedTuple

from bdc_agents.search.resume.origin import budget_of
from bdc_agents.search.traces import trace_of

_KEPT_CHARACTERS = 64_000_000
"""Of all texts together. A trace of 1,000 nodes has some 2 million."""


class TraceText(NamedTuple):
    """A trace as JSON text.

    Args:
        nodes, calls: How many it has.
    """

    text: str
    nodes: int
    calls: int


class TraceTexts:
    """The texts that were asked for last.

    Attributes:
        seconds: How long the last one took, its state's read included.
    """

    def __init__(self) -> None:
        self.seconds = 0.0
        self._kept: OrderedDict[tuple[str, str], TraceText] = OrderedDict()
        self._size = 0

    async def of(self, thread: str, checkpoint: str, state: Mapping[str, Any], created: str) -> TraceText:
        """The trace of a state.

        Args:
            thread, checkpoint: Where the state is from: it never changes there.
            state: Of a search that has begun.
            created: When it was written.
        """
        key = thread, checkpoint
        if key not in self._kept:
            # Reading a large state takes parts of a second, in which the event loop serves others.
            text = await asyncio.to_thread(_text_of, state, created)
            if key not in self._kept:
                self._kept[key] = text
                self._size += len(text.text)
            while self._size > _KEPT_CHARACTERS and len(self._kept) > 1:
                self._size -= len(self._kept.popitem(last=False)[1].text)
            return text
        self._kept.move_to_end(key)
        return self._kept[key]

    def latest(self, thread: str) -> TraceText | None:
        """The last text of a thread, where one is kept."""
        return next((text for (of, _), text in reversed(self._kept.items()) if of == thread), None)


def _text_of(state: Mapping[str, Any], created: str) -> TraceText:
    origin = state.get("origin", {})
    search = {key[7:]: value for key, value in origin.items() if key.startswith("search.")}
    settings = {"search": search, "budget": budget_of(origin).model_dump()}
    trace = trace_of(state, settings).model_copy(update={"created": created})  # pyright: ignore[reportArgumentType]
    return TraceText(trace.model_dump_json(), len(trace.nodes), len(trace.calls))
