"""Rounds: a search that goes on with more of a budget that problems share.

The state in which a round ended is kept with the job, so that the next one, by whichever process or machine,
goes on from its tree: no agent is asked again and no program runs again. Where the state is lost, the rounds
before are made again from cached replies, to the same tree.
"""

import json
import logging
from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

from langgraph.checkpoint.memory import InMemorySaver

from bdc_agents.agents.protocol import Agent
from bdc_agents.config import Budget, SearchConfig
from bdc_agents.errors import UsageError
from bdc_agents.sandbox import Executor
from bdc_agents.search import asolve, create_search_graph
from bdc_agents.search.events import Emit
from bdc_agents.search.resume.checkpoints import PlainSerializer
from bdc_agents.search.round.budget import caps_on_calls
from bdc_agents.search.state import SearchState
from bdc_agents.types import Problem, Trace
from bdc_agents.untrusted import read_json

log = logging.getLogger(__name__)

MOST = 32_000_000
"""Characters of a state that are kept: 400 calls with programs of 1,000 characters take 0.8 million. What is
larger is made again."""
_THREAD = "search"


class Searched(NamedTuple):
    """A search that has ended a round.

    Args:
        trace: Of all its rounds.
        state: Where a later round goes on; empty where more of the budget is of no use.
        silence: Why no agent answered in the last round, where none did.
    """

    trace: Trace
    state: str
    silence: str


async def search_in_rounds(
    problem: Problem,
    agents: Sequence[Agent],
    caps: Sequence[Budget],
    *,
    executor: Executor,
    search: SearchConfig,
    state: str = "",
    on_event: Emit | None = None,
) -> Searched:
    """Searches with the last of some budgets, as if it had been searched with each of them in turn.

    Args:
        problem, agents, executor, search, on_event: As for `asolve`.
        caps: The budget of each round, one at least.
        state: Where the round before the last one ended; empty to make all of them.
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
            kept, before = await _planted(state, agents, executor, search)
            trace = await run(budget=caps[-1], checkpointer=kept)
            return Searched(trace, _written(ended, caps[-1]), _silence(trace, before))
        except UsageError as error:
            log.warning("%s: its kept state cannot be used, so it is made again: %s", problem.id, error)
    kept = InMemorySaver(serde=PlainSerializer()) if len(caps) > 1 else None
    before = 0
    for budget in caps[:-1]:
        before = len((await run(budget=budget, checkpointer=kept)).calls)
    trace = await run(budget=caps[-1], checkpointer=kept)
    return Searched(trace, _written(ended, caps[-1]), _silence(trace, before))


async def _planted(
    state: str, agents: Sequence[Agent], executor: Executor, search: SearchConfig
) -> tuple[InMemorySaver, int]:
    """A checkpointer that holds a search which has ended in this state, and how many calls it had made."""
    kept = InMemorySaver(serde=PlainSerializer())
    graph: Any = create_search_graph(agents, executor=executor, search=search).compile(checkpointer=kept)  # pyright: ignore[reportUnknownMemberType]
    try:
        values = read_json(state, finite=False)
        await graph.aupdate_state({"configurable": {"thread_id": _THREAD}}, values, as_node="finish")
        return kept, len(values["calls"])
    except Exception as error:  # A table that others may write to can hold anything.
        raise UsageError(f"{type(error).__name__}: {error}") from error


def _silence(trace: Trace, before: int) -> str:
    """Why no agent answered in a round that went on, where none did; empty otherwise.

    Args:
        trace: Of all rounds.
        before: Calls before that round.
    """
    reasons = {call.agent: call.error for call in trace.calls[before:]}
    answered = not before or not reasons or any(not call.error for call in trace.calls[before:])
    return "" if answered else "; ".join(f"{agent}: {reason}" for agent, reason in reasons.items())


def _written(state: SearchState, caps: Budget) -> str:
    """A state as text; empty where no larger budget helps, or it is too large."""
    solution = state.get("solution") or {}
    if solution.get("solved") or state.get("stopped_by") not in caps_on_calls(caps):
        return ""
    # ASCII: a reply may hold lone surrogates, and Postgres takes no zero bytes.
    text = json.dumps(state, separators=(",", ":"))
    return text if len(text) <= MOST else ""
