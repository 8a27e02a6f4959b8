"""Keeps the traces of searches that a server or a solver made; a full disk costs no answer."""

import asyncio
import logging
from collections.abc import Callable
from pathlib import Path

from bdc_agents.errors import BDCError
from bdc_agents.runs import decide, lineage_of, open_run, write_trace
from bdc_agents.types import Trace

Keep = Callable[[Trace], None]
"""Stores a trace; blocks while it does."""
log = logging.getLogger(__name__)


async def keep_trace(keep: Keep, trace: Trace, suffix: str = "") -> tuple[str, str]:
    """Hands a trace on. A failure to store it is told, so that the answer is not lost.

    Args:
        suffix: What its name has after the problem's, where one problem may be searched several times.

    Returns:
        The name under which it is kept, and why it is not: one of the two is empty.
    """
    if suffix:
        named = trace.problem.model_copy(update={"id": f"{trace.problem.id}-{suffix}"})
        trace = trace.model_copy(update={"problem": named})
    try:
        await asyncio.to_thread(keep, trace)
    except BDCError as error:
        log.warning("the trace of %s was not kept: %s", trace.problem.id, error)
        return "", f"the trace was not kept: {error}"
    return trace.problem.id, ""


def trace_keeper(folder: Path | str, dataset: str = "solver") -> Keep:
    """A `Keep` that appends traces to a run folder, and marks whether each may be trained on.

    A problem of a client has no hidden tests, so the public ones decide.

    Args:
        folder: The run folder; created if needed.
        dataset: The source of the problems, for the traces' lineage.
    """
    place = open_run(folder, {"command": "solver"})

    def keep(trace: Trace) -> None:
        decision = decide(trace, None, public_suffices=True)
        lineage = lineage_of(dataset, trace.settings)
        write_trace(place, trace.model_copy(update={"decision": decision, "lineage": lineage}))

    return keep
