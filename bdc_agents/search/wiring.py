"""What the package's graphs are wired of: nodes, routes, and a compiled form to run and to travel in.

A route is a function of the state alone. So wherever a state is edited, the edges lead on from what it
says now: LangGraph's time travel works at every step.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from typing import Any, Self, cast, get_type_hints

from langchain_core.runnables import Runnable, RunnableConfig
from langchain_core.runnables.config import DEFAULT_RECURSION_LIMIT
from langgraph.graph import StateGraph  # pyright: ignore[reportMissingTypeStubs]
from langgraph.graph.state import CompiledStateGraph  # pyright: ignore[reportMissingTypeStubs]
from langgraph.runtime import get_runtime
from langgraph.types import StateSnapshot, TracePolicy
from langgraph.typing import ContextT, InputT, OutputT, StateT  # pyright: ignore[reportMissingTypeStubs]

from bdc_agents.sync import run_sync

STEPS = 100_000
"""Bound on a graph's super-steps: rollouts and budgets end a search long before."""
_FILLED_IN = 10_000
"""Nobody gave a limit of so many steps: LangGraph fills in 10,007 and its server 10,011, and LangChain
25 in every config that passes through it, such as that of `astream_events`."""

HEAVY = "heavy"
"""Marks a part of a state, as `Annotated[type, HEAVY]`, that is left out wherever a state is told at every
step: streams and histories would repeat it hundreds of times. A result and `get_state` have it."""
_LIST_TOLD, _TEXT_TOLD = 12, 200
"""Entries of a list, and characters of a text, that a tracer gets of a state: a round's leaves, a reason."""


class GraphNode(Runnable[Any, Any]):
    """A node that also runs where the caller is not asynchronous.

    Args:
        step: From the state and the runtime to what the node writes.
        within: The compiled graph that the step runs, so that its state is found in that of the node.
    """

    def __init__(self, step: Callable[[Any, Any], Awaitable[Any]], within: Any = None) -> None:
        self.step, self.within = step, within

    async def ainvoke(self, input: Any, config: RunnableConfig | None = None, **_: Any) -> Any:
        """What the step writes."""
        del config
        return await self.step(input, get_runtime())

    def invoke(self, input: Any, config: RunnableConfig | None = None, **_: Any) -> Any:
        """The same, waited for."""
        return run_sync(self.ainvoke(input, config))


class Route(Runnable[Any, Any]):
    """Names the nodes that follow, from the state; without a trace of its own, as it only looks."""

    def __init__(self, follow: Callable[[Any], str | Sequence[str]]) -> None:
        self.follow, self.name = follow, follow.__name__

    def invoke(self, input: Any, config: RunnableConfig | None = None, **_: Any) -> Any:
        """The names of the nodes that follow."""
        del config
        return self.follow(input)

    async def ainvoke(self, input: Any, config: RunnableConfig | None = None, **_: Any) -> Any:
        """The same, without a thread."""
        return self.invoke(input, config)


def in_brief(state: Any) -> dict[str, Any]:
    """A state for a tracer: numbers and short texts as they are, of larger parts how many entries they have.

    Each run of a node would repeat the whole tree, so that a long search logs gigabytes.
    """
    if not isinstance(state, Mapping):
        return {"type": type(state).__name__}
    return {str(key): _brief(value) for key, value in cast("Mapping[Any, Any]", state).items()}


def _brief(value: Any) -> Any:
    if isinstance(value, str):
        return value if len(value) <= _TEXT_TOLD else f"{value[:_TEXT_TOLD]}..."
    if not isinstance(value, Mapping | list | tuple):
        return value if isinstance(value, bool | int | float | None) else type(value).__name__
    many = len(cast("Sequence[Any]", value))
    if isinstance(value, list) and many <= _LIST_TOLD:
        entries = cast("list[Any]", value)
        if all(isinstance(one, str) for one in entries):
            return [_brief(one) for one in entries]
    return f"{many} entries"


TOLD_IN_BRIEF = TracePolicy(process_inputs=in_brief)
"""How nodes are traced: with what they write, and the state before in brief."""


class Graph(StateGraph[StateT, ContextT, InputT, OutputT]):
    """A state graph whose compiled form carries its own limit of steps and can be edited at each."""

    def add_step(self, step: Callable[[Any, Any], Awaitable[Any]], within: Any = None, **kwargs: Any) -> None:
        """Adds a node under the name of its function; tracers get what it writes, and the state in brief.

        Args:
            step: From the state and the runtime to what the node writes.
            within: See `GraphNode`.
            kwargs: As for `StateGraph.add_node`.
        """
        self.add_node(step.__name__, GraphNode(step, within), trace_policy=TOLD_IN_BRIEF, **kwargs)  # pyright: ignore

    def compile(self, *args: Any, **kwargs: Any) -> CompiledStateGraph[StateT, ContextT, InputT, OutputT]:
        """See `StateGraph.compile`."""
        app: Any = super().compile(*args, **kwargs)  # pyright: ignore[reportUnknownMemberType]
        heavy = _heavy(self.state_schema)
        app.stream_channels = [name for name in app.stream_channels if name not in heavy]
        # `StateGraph.compile` has no place to name another class, and what it makes is complete.
        app.__class__ = _Compiled
        for name, node in self.nodes.items():
            if isinstance(node.runnable, GraphNode) and node.runnable.within:
                app.nodes[name].subgraphs = [node.runnable.within]
        return app


def _heavy(schema: type[Any]) -> set[str]:
    hints = get_type_hints(schema, include_extras=True)
    return {name for name, hint in hints.items() if HEAVY in getattr(hint, "__metadata__", ())}


class _Compiled(CompiledStateGraph[StateT, ContextT, InputT, OutputT]):
    """The compiled form; `with_config` and `copy`, which servers use, keep the class."""

    def get_state(self, config: RunnableConfig, *, subgraphs: bool = False) -> StateSnapshot:
        """The whole state of a step, also what streams and histories leave out."""
        return super(_Compiled, self._whole()).get_state(config, subgraphs=subgraphs)

    async def aget_state(self, config: RunnableConfig, *, subgraphs: bool = False) -> StateSnapshot:
        """See `get_state`."""
        return await super(_Compiled, self._whole()).aget_state(config, subgraphs=subgraphs)

    def _whole(self) -> Self:
        names: list[str] = [*self.builder.channels]  # pyright: ignore[reportUnknownMemberType]
        return self.copy({"stream_channels": names})

    def stream(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> Iterator[Any]:  # pyright: ignore
        """See `Pregel.stream`."""
        return super().stream(input, _with_limit(config), **kwargs)  # pyright: ignore

    def astream(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> AsyncIterator[Any]:  # pyright: ignore
        """See `Pregel.astream`."""
        return super().astream(input, _with_limit(config), **kwargs)  # pyright: ignore

    def _infer_as_node(self, versions_seen: Mapping[str, Mapping[str, Any]]) -> str | None:
        """The node that wrote last: LangGraph names none where two ran side by side.

        Either stands for both, since their routes read one state and meet in one node.
        """
        inferred = super()._infer_as_node(versions_seen)  # pyright: ignore
        if inferred:
            return inferred
        seen = [(max(of.values()), name) for name, of in versions_seen.items() if name in self.nodes and of]
        return max(seen)[1] if seen else None


def _with_limit(config: RunnableConfig | None) -> RunnableConfig:
    """The caller's config, with the graph's own limit where the caller gave none."""
    given = (config or {}).get("recursion_limit")
    if given is None or given == DEFAULT_RECURSION_LIMIT or given >= _FILLED_IN:
        given = max(given or 0, STEPS)
    return {**(config or {}), "recursion_limit": given}
