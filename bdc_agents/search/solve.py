"""Solve one problem in one call."""

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Any, cast

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import BaseCheckpointSaver

from bdc_agents.agents import as_agents
from bdc_agents.agents.protocol import Agent
from bdc_agents.agents.runnables import Answering
from bdc_agents.config import Budget, SearchConfig
from bdc_agents.data.jsonl import read_problem
from bdc_agents.errors import ConfigError, ProblemError, in_a_sentence
from bdc_agents.sandbox.protocol import Executor
from bdc_agents.search.context import settings_of
from bdc_agents.search.events import Emit, SearchEvent
from bdc_agents.search.graph import create_search_graph
from bdc_agents.search.resume.origin import budget_of, differences, origin_of, raised
from bdc_agents.search.review.questions import unreviewed
from bdc_agents.search.state import SearchState, check_whole
from bdc_agents.search.traces import trace_of
from bdc_agents.sync import cancelled_once, run_sync
from bdc_agents.types import Problem, Trace


async def asolve(
    problem: Problem | Mapping[str, Any],
    agents: Mapping[str, Answering] | Sequence[Agent | Answering],
    *,
    executor: Executor | None = None,
    search: SearchConfig | Mapping[str, Any] | None = None,
    budget: Budget | Mapping[str, Any] | None = None,
    on_event: Emit | None = None,
    on_state: Callable[[SearchState], None] | None = None,
    checkpointer: BaseCheckpointSaver[Any] | None = None,
    thread: str | None = None,
    config: RunnableConfig | None = None,
) -> Trace:
    """Searches one tree with all agents and returns the trace with its solution.

    Args:
        problem: Or its fields. Needs a public test, unless the agents may write some.
        agents: Agents of `load_agents`, or chat models by name.
        executor: Runs the programs; None creates the strongest sandbox of this machine.
        search: Settings of the search, or a dict of them, such as {"preset": "paper"}.
        budget: Caps on what it uses, or a dict of them, such as {"calls": 30}.
        on_event: Told of every call, program and change of the tree, as plain dicts; see `SearchEvent`.
        on_state: Told of the state after every step, from which `trace_of` makes the trace of a
            search that is interrupted. A search that is resumed begins with the state it had.
        checkpointer: Keeps every step. A search of its thread that was cut off goes on from its
            last step, and only calls that were in flight are made again; the trace of a finished
            one is returned.
        thread: Names the search among those of the checkpointer; by default `thread_id` of the config's
            `configurable`, or else "search".
        config: Callbacks, tags, metadata and the like, as every Runnable takes them. They reach the graph
            and the runs of LLMs.

    Raises:
        ProblemError: If it is none, or has no public test.
        ConfigError: If a setting is unknown or out of range.
        UsageError: If the thread holds a search of other tests, agents or settings, an unfinished one
            of another problem, or one that is damaged; its message says what differs.
        SandboxRefused: If this machine offers no isolation.
    """
    problem = read_problem(problem)
    search, budget = settings_of(search, budget)
    agents = as_agents(agents)
    graph = create_search_graph(agents, executor=executor, search=search, budget=budget)
    # Without a checkpointer of its own it takes none: not that of a graph that calls this, either.
    app: Any = graph.compile(checkpointer=checkpointer or False, name="search")  # pyright: ignore[reportUnknownMemberType]
    config = _own_config(config, thread, problem)
    origin = origin_of(problem, {agent.name: agent for agent in agents}, search, budget)
    begun = checkpointer is not None and await _goes_on(app, config, problem, origin)
    stream = app.astream(
        None if begun else {"problem": problem.model_dump(mode="json")},
        config,
        stream_mode=["custom", "values"],
        output_keys=[*SearchState.__annotations__],
        **({"durability": "sync"} if checkpointer else {}),
    )
    state = await cancelled_once(_last_state(stream, on_event, on_state))
    budget = budget_of(state.get("origin", {}))
    return trace_of(state, {"search": search.model_dump(mode="json"), "budget": budget.model_dump()})


async def _last_state(
    stream: AsyncIterator[Any], on_event: Emit | None, on_state: Callable[[SearchState], None] | None
) -> SearchState:
    """The state after the last step of a run. See `asolve` for who is told on the way."""
    state: SearchState = {}
    async for mode, chunk in stream:
        if mode == "custom" and on_event:
            on_event(cast("SearchEvent", chunk))
        elif mode == "values":
            state = cast("SearchState", chunk)
            if on_state:
                on_state(state)
    return state


def _own_config(config: RunnableConfig | None, thread: str | None, problem: Problem) -> RunnableConfig:
    """The caller's config for a graph of its own: without what places a node in the graph that calls this."""
    given = config or {}
    configurable = {
        key: value
        for key, value in given.get("configurable", {}).items()
        if not key.startswith(("__pregel_", "checkpoint_"))
    }
    configurable["thread_id"] = thread or configurable.get("thread_id") or "search"
    told = {"problem": problem.id, **given.get("metadata", {})}
    return {**given, "configurable": configurable, "metadata": told}


async def has_begun(checkpointer: BaseCheckpointSaver[Any], thread: str = "search") -> bool:
    """Whether a thread of a checkpointer holds a step of a search."""
    kept = await checkpointer.aget_tuple({"configurable": {"thread_id": thread, "checkpoint_ns": ""}})
    return kept is not None and "origin" in kept.checkpoint["channel_values"]


async def _goes_on(app: Any, config: Any, problem: Problem, origin: Mapping[str, Any]) -> bool:
    """Whether the thread holds this search, begun; one whose budget was spent goes on with a larger one."""
    snapshot = await app.aget_state(config)
    state: SearchState = snapshot.values
    then = state.get("origin")
    if then is None:
        return False
    thread = config["configurable"]["thread_id"]
    held = read_problem(state.get("problem"))
    if not snapshot.next and (held.id, held.statement) != (problem.id, problem.statement):
        return False
    if held.id != problem.id:
        raise ProblemError(
            f"the thread {thread!r} holds an unfinished search of {held.id!r}, not of {problem.id!r}: resume "
            "that one first, or name another thread"
        )
    if told := [*differences(then, origin)]:
        raise ConfigError(
            f"the thread {thread!r} holds a search of {held.id!r} that is another one: {in_a_sentence(told)}."
            "\nPut this back to go on with it, or name another thread; the budget alone may change"
        )
    check_whole(state)
    if not snapshot.next and raised(state.get("stopped_by"), budget_of(then), budget_of(origin)):
        # What a person has set holds until whoever goes on sets something else.
        open_again = {key: value for key, value in unreviewed(state).items() if key != "reviews"}
        changes = {"stopped_by": None, "full": False, **open_again}
        await app.aupdate_state(config, changes, as_node="backpropagate")
    return True


def solve(
    problem: Problem | Mapping[str, Any],
    agents: Mapping[str, Answering] | Sequence[Agent | Answering],
    *,
    executor: Executor | None = None,
    search: SearchConfig | Mapping[str, Any] | None = None,
    budget: Budget | Mapping[str, Any] | None = None,
    on_event: Emit | None = None,
    config: RunnableConfig | None = None,
) -> Trace:
    """`asolve` for callers that are not asynchronous."""
    return run_sync(
        asolve(
            problem,
            agents,
            executor=executor,
            search=search,
            budget=budget,
            on_event=on_event,
            config=config,
        )
    )
