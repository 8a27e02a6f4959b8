"""What the package's graphs are wired of: nodes, routes, and a compiled form to run and to travel in.

A route is a function of the state alone. So wherever a state is edited, the edges lead on from what it
says now: LangGraph's time travel works at every step.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from typing import Any

from langchain_core.runnables import Runnable, RunnableConfig
from langchain_core.runnables.config import DEFAULT_RECURSION_LIMIT
from langgraph.graph import StateGraph  # pyright: ignore[reportMissingTypeStubs]
from langgraph.graph.state import CompiledStateGraph  # pyright: ignore[reportMissingTypeStubs]
from langgraph.runtime import get_runtime
from langgraph.typing import ContextT, InputT, OutputT, StateT  # pyright: ignore[reportMissingTypeStubs]

from bdc_agents.sync import run_sync

STEPS = 100_000
"""Bound on a graph's super-steps: rollouts and budgets end a search long before."""
_FILLED_IN = 10_000
"""Nobody gave a limit of so many steps: LangGraph fills in 10,007 and its server 10,011, and LangChain
25 in every config that passes through it, such as that of `astream_events`."""


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


class Graph(StateGraph[StateT, ContextT, InputT, OutputT]):
    """A state graph whose compiled form carries its own limit of steps and can be edited at each."""

    def compile(self, *args: Any, **kwargs: Any) -> CompiledStateGraph[StateT, ContextT, InputT, OutputT]:
        """See `StateGraph.compile`."""
        app: Any = super().compile(*args, **kwargs)  # pyright: ignore[reportUnknownMemberType]
        # `StateGraph.compile` has no place to name another class, and what it makes is complete.
        app.__class__ = _Compiled
        for name, node in self.nodes.items():
            if isinstance(node.runnable, GraphNode) and node.runnable.within:
                app.nodes[name].subgraphs = [node.runnable.within]
        return app


class _Compiled(CompiledStateGraph[StateT, ContextT, InputT, OutputT]):
    """The compiled form; `with_config` and `copy`, which servers use, keep the class."""

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
