"""Rounds: a search that goes on with more of a budget that problems share.

The state in which a round ended is kept with the job, so that the next one, by whichever process or machine,
goes on from its tree: no agent is asked again and no program runs again. Where the state is lost, the rounds
before are made again from cached replies, to the same tree.
"""

import json
import logging
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from langgraph.checkpoint.memory import InMemorySaver

from bdc_agents.agents.protocol import Agent
from bdc_agents.config import Budget, SearchConfig
from bdc_agents.errors import UsageError
from bdc_agents.sandbox import Executor
from bdc_agents.search import asolve, create_search_graph
from bdc_agents.search.budget import caps_on_calls
from bdc_agents.search.checkpoints import PlainSerializer
from bdc_agents.search.state import SearchState
from bdc_agents.types import Problem, Trace
from bdc_agents.untrusted import read_json

log = logging.getLogger(__name__)

MOST = 32_000_000
"""Bytes of a state that are kept: that of 1,000 calls takes some 5 million. What is larger is made again."""
_THREAD = "search"


async def search_in_rounds(
    problem: Problem,
    agents: Sequence[Agent],
    caps: Sequence[Budget],
    *,
    executor: Executor,
    search: SearchConfig,
    state: str = "",
    on_event: Callable[[dict[str, Any]], None] | None = None,
) -> tuple[Trace, str]:
    """Searches with the last of some budgets, as if it had been searched with each of them in turn.

    Args:
        problem, agents, executor, search, on_event: As for `asolve`.
        caps: The budget of each round, one at least.
        state: Where the round before the last one ended; empty to make all of them.

    Returns:
        The trace, and where a later round goes on; empty where more of the budget is of no use.
    """
    ended: SearchState = {}

    def see(now: SearchState) -> None:
        nonlocal ended
        ended = now

    run = partial(
        asolve,
        problem,
        agents,
        executor=executor,
        search=search,
        on_event=on_event,
        on_state=see,
        thread=_THREAD,
    )
    if state:
        try:
            kept = await _planted(state, agents, executor, search)
            return await run(budget=caps[-1], checkpointer=kept), _written(ended, caps[-1])
        except UsageError as error:
            log.warning("%s: its kept state cannot be used, so it is made again: %s", problem.id, error)
    kept = InMemorySaver(serde=PlainSerializer()) if len(caps) > 1 else None
    for budget in caps[:-1]:
        await run(budget=budget, checkpointer=kept)
    return await run(budget=caps[-1], checkpointer=kept), _written(ended, caps[-1])


async def _planted(
    state: str, agents: Sequence[Agent], executor: Executor, search: SearchConfig
) -> InMemorySaver:
    """A checkpointer that holds a search which has ended in this state."""
    kept = InMemorySaver(serde=PlainSerializer())
    graph: Any = create_search_graph(agents, executor=executor, search=search).compile(checkpointer=kept)  # pyright: ignore[reportUnknownMemberType]
    try:
        values = read_json(state, finite=False)
        await graph.aupdate_state({"configurable": {"thread_id": _THREAD}}, values, as_node="finish")
    except Exception as error:  # A table that others may write to can hold anything.
        raise UsageError(f"{type(error).__name__}: {error}") from error
    return kept


def _written(state: SearchState, caps: Budget) -> str:
    """A state as text; empty where no larger budget helps, or it is too large."""
    solution = state.get("solution") or {}
    if solution.get("solved") or state.get("stopped_by") not in caps_on_calls(caps):
        return ""
    # ASCII: a reply may hold lone surrogates, and Postgres takes no zero bytes.
    text = json.dumps(state, separators=(",", ":"))
    return text if len(text) <= MOST else ""
