"""Stepping in: what a person does to a search on a LangGraph server, by the server's own API.

What runs is stopped, the state is changed as `search/review/by_hand.py` says, and the same run goes on. A
fork is a thread of its own; the thread that it comes from stays as it is.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple, cast
from uuid import uuid4

from bdc_agents.errors import UsageError, unknown
from bdc_agents.search.review import by_hand
from bdc_agents.search.state import SearchState, add_usage
from bdc_agents.web.links import tree_link
from bdc_agents.web.searches import Json, Refusal
from bdc_agents.web.threads import Held, Run, Threads, at

SEARCH = "search"
"""The graph of `langgraph.json` in which a fork goes on whose own graph can do no more than answer."""
_OF_A_THREAD = ("solution", "steps")
"""What a fork does not take along: an answer, and places in the history of the thread that it comes from."""
_BODIES = {
    "fork": ("checkpoint", "agents", "calls"),
    "edit": ("node", "thought"),
    "add": ("parent", "thought"),
    "veto": ("node", "why"),
    "continue": ("calls",),
}
"""What each action may say."""


async def act(threads: Threads, thread: str, action: str, body: Json, agents: Sequence[str]) -> Json:
    """Does what a person wants.

    Args:
        threads: Of the server, as the person.
        thread: The search.
        action: One of `ACTIONS`.
        body: What they sent with it.
        agents: Who may be asked.

    Returns:
        The status of the search; of a fork, the id of its thread.

    Raises:
        UsageError: If it cannot be done.
    """
    for name in body:
        if name not in _BODIES[action]:
            raise UsageError(unknown(f"field of {action!r}", name, _BODIES[action]))
    status, _ = await threads.status(thread)
    if action == "fork":
        return {"thread": await _fork(threads, thread, body, agents)}
    if action == "continue":
        if status == "busy":
            raise Refusal("the search runs already")
        return {"status": await _continue(threads, thread, body)}
    return {"status": await _change(threads, thread, action, body, busy=status == "busy")}


# --- edits, additions, vetoes -----------------------------------------------------------------------------


async def _change(threads: Threads, thread: str, action: str, body: Json, *, busy: bool) -> str:
    """Changes the tree; a search that runs is stopped for it, and goes on from the changed tree."""
    held = await _begun(threads, thread)
    changes = _changed(action, held, body)  # What cannot be done stops nothing.
    if busy:
        await threads.pause(thread)
        held = await _begun(threads, thread)
    try:
        changes = _changed(action, held, body)
        await threads.change(thread, changes, held.key, by_hand.goes_on_after(held.next))
    finally:
        if busy and held.next:
            run = await threads.last_run(thread)
            await threads.go_on(thread, run, run.context)
    return (await threads.status(thread))[0]


def _changed(action: str, held: Held, body: Json) -> Json:
    state = cast("SearchState", held.values)
    if action == "edit":
        return by_hand.edited(state, body.get("node"), body.get("thought"))
    if action == "add":
        return by_hand.added(state, body.get("parent"), body.get("thought"))
    return by_hand.refused(state, body.get("node"), body.get("why"))


async def _begun(threads: Threads, thread: str, checkpoint: str | None = None) -> Held:
    """The state of a search that has a tree.

    Raises:
        Refusal: If it has none yet.
    """
    held = await threads.held(thread, checkpoint)
    if not held.values:
        raise Refusal("the search has no tree yet; wait until its first step is done")
    return held


# --- going on ---------------------------------------------------------------------------------------------


async def _continue(threads: Threads, thread: str, body: Json) -> str:
    held, run = await _begun(threads, thread), await threads.last_run(thread)
    state = cast("SearchState", held.values)
    more = _more(body)
    if held.waits:
        raise Refusal("the search waits for a decision; decide in Studio or your chat, and it goes on")
    if held.next:
        if more:
            more_caps = by_hand.with_more(state, more)
            await threads.change(thread, more_caps, held.key, by_hand.goes_on_after(held.next))
        await threads.go_on(thread, run, run.context)
    elif "messages" in held.values:
        sent = {"messages": [{"role": "user", "content": "Go on."}]}
        await threads.go_on(thread, run, _for_a_message(run.context, more), sent)
    elif held.around:
        raise Refusal("what asked for this search has its answer; fork a checkpoint to search on")
    else:
        _refuse_solved(state)
        if not more:
            raise Refusal("the search has ended; say how many calls more it may make")
        changes = {**by_hand.with_more(state, more), **by_hand.reopened(state)}
        await threads.change(thread, changes, held.key, by_hand.ANEW)
        await threads.go_on(thread, run, run.context)
    return (await threads.status(thread))[0]


def _more(body: Json) -> Json:
    return {} if body.get("calls") is None else {"calls": body["calls"]}


def _for_a_message(context: Json, more: Json) -> Json:
    """The settings of a message in a conversation, each of which has a budget of its own.

    Raises:
        UsageError: If the calls are no number.
    """
    if not more:
        return context
    calls = more["calls"]
    if isinstance(calls, bool) or not isinstance(calls, int) or calls < 1:
        raise UsageError(f"calls is how many more may be made, a whole number above 0, not {calls!r:.80}")
    return {**context, "budget": {**(context.get("budget") or {}), "calls": calls}}


def _refuse_solved(state: SearchState) -> None:
    if state.get("confirmed") and state.get("stopped_by") == "solved":
        raise Refusal("the search is solved here; fork a checkpoint before that to search otherwise")


# --- forks ------------------------------------------------------------------------------------------------


class _Fork(NamedTuple):
    """A new thread.

    Args:
        run: How it runs.
        values: Its first state.
        node: After which node it goes on.
    """

    run: Run
    values: Json
    node: str


async def _fork(threads: Threads, thread: str, body: Json, agents: Sequence[str]) -> str:
    """A thread of its own that goes on from a checkpoint; its id."""
    chosen, more = _chosen(body.get("agents"), agents), _more(body)
    held, run = await _begun(threads, thread, body.get("checkpoint")), await threads.last_run(thread)
    _refuse_solved(cast("SearchState", held.values))
    asked = {"agents": chosen} if chosen else {}
    around: Any = held.values
    if held.around:
        around = (await threads.client.threads.get_state(thread, at("", held.around)))["values"]
    if "messages" in around:
        made = _in_conversation(run, held, around, asked, more)
    elif held.around:
        made = _of_another_graph(await _search(threads), held, asked, more)
    else:
        made = _of_search(run, held, asked, more)
    fork = str(uuid4())
    values = {**made.values, **_able(held, chosen), "tree_url": tree_link(fork)}
    values = {key: value for key, value in values.items() if key not in _OF_A_THREAD}
    origin = {"forked_from": thread, "forked_at": held.key}
    await threads.create(fork, made.run.graph, origin, values, made.node)
    await threads.go_on(fork, made.run, made.run.context)
    return fork


def _of_search(run: Run, held: Held, asked: Json, more: Json) -> _Fork:
    """The search once more, in its own graph."""
    state = cast("SearchState", held.values)
    values = {**held.values, **by_hand.reopened(state), **(by_hand.with_more(state, more) if more else {})}
    node = by_hand.goes_on_after(held.next) or by_hand.ANEW
    return _Fork(run._replace(context=run.context | asked), values, node)


def _of_another_graph(run: Run, held: Held, asked: Json, more: Json) -> _Fork:
    """The search within another graph, which takes no further part, as a search of its own."""
    made = _of_search(run, held, asked, more)
    # That graph gave it its budget.
    caps = by_hand.in_force(cast("SearchState", held.values))
    return made if more or not caps else made._replace(values={**made.values, "caps": caps})


def _in_conversation(run: Run, held: Held, around: Json, asked: Json, more: Json) -> _Fork:
    """The conversation up to there; its search goes on from the tree, with the budget of a message."""
    who = f" with {', '.join(asked['agents'])}" if asked else ""
    says = {"type": "ai", "content": f"The search goes on from here{who}, apart from the one before."}
    state = cast("SearchState", held.values)
    values = {
        **around,
        **held.values,
        "messages": [*around["messages"], says],
        "heard": {**around.get("heard", {}), "does": "search"},
        "waiting": None,
        "spent": add_usage(around.get("spent", {}), [dict(state.get("usage", {}))]),
        **{"usage": {}, "failing": {}, "set_aside": {}, "seconds": 0.0, "caps": {}, "accepted": None},
    }
    return _Fork(run._replace(context=_for_a_message(run.context | asked, more)), values, "read")


async def _search(threads: Threads) -> Run:
    """How the graph of a search is run on this server.

    Raises:
        Refusal: If it has none.
    """
    found = await threads.client.assistants.search(graph_id=SEARCH, limit=1)
    if not found:
        raise Refusal(f"this server has no graph {SEARCH!r} in which the fork could go on")
    return Run(SEARCH, found[0]["assistant_id"], {}, {"stream_mode": ["values", "custom"]})


def _able(held: Held, chosen: Sequence[str]) -> Json:
    """Lets agents take part that were set aside before and are asked for."""
    rows = {name: held.values.get(name, {}) for name in ("set_aside", "failing")}
    return {
        name: {agent: row for agent, row in known.items() if agent not in chosen}
        for name, known in rows.items()
    }


def _chosen(sent: Any, agents: Sequence[str]) -> list[str]:
    """The agents of a fork; none for those that took part.

    Raises:
        UsageError: If it is no list of names, or one is unknown.
    """
    if sent is None:
        return []
    if not isinstance(sent, list) or not sent:
        raise UsageError(f"agents is a list of names, such as {[*agents[:1]]}, not {sent!r:.80}")
    for name in cast("list[Any]", sent):
        if name not in agents:
            raise UsageError(unknown("agent", str(name), agents))
    return [*dict.fromkeys(cast("list[str]", sent))]
