"""MC-Tree-Of-Agents as a LangGraph graph: the wiring, as in the paper's figure.

    start ─► select ─┬─► expand ─┬─► execute ─► backpropagate ─► select ...
                     └─► boost ──┘
             select ─► finish                  backpropagate ─► boost, to refine

Several agents act on one tree. `select` walks to leaves by P-UCB; `expand` adds thoughts below them
while `boost` writes programs for them, side by side; `execute` runs these on the public tests;
`backpropagate` carries the values up the paths. Reflection has its two halves in the last two: a
thought that did not help is pruned in `backpropagate`, or refined in the next round's `boost`.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from langchain_core.language_models import BaseChatModel
from langchain_core.runnables import Runnable, RunnableConfig
from langgraph.graph import END, START, StateGraph  # pyright: ignore[reportMissingTypeStubs]
from langgraph.runtime import get_runtime
from langgraph.types import Command

from bdc_agents.agents import as_agents
from bdc_agents.agents.protocol import Agent
from bdc_agents.config import Budget, SearchConfig
from bdc_agents.sandbox import create_executor
from bdc_agents.sandbox.protocol import Executor
from bdc_agents.search.nodes import Nodes
from bdc_agents.search.state import Json, SearchContext, SearchInput, SearchOutput, SearchState
from bdc_agents.search.step import SearchRuntime
from bdc_agents.search.sync import run_sync


def create_search_graph(
    agents: Mapping[str, BaseChatModel] | Sequence[Agent | BaseChatModel],
    *,
    executor: Executor | None = None,
    search: SearchConfig | None = None,
    budget: Budget | None = None,
) -> StateGraph[SearchState, SearchContext, SearchInput, SearchOutput]:
    """The search as an uncompiled graph: the caller picks the checkpointer.

    Args:
        agents: Agents of `load_agents`, or chat models by name. Two or more make the method.
        executor: Runs the programs; None creates the strongest sandbox of this machine.
        search: Settings; a run's context may change them.
        budget: Caps on what one search uses; a run's context may change them.

    Returns:
        A graph whose input is `{"problem": ...}` and whose output holds `solution`, `tree` and
        `programs` as plain data.

    Raises:
        ConfigError: If there is no agent, or two have one name.
        SandboxRefused: If no executor is given and this machine offers no isolation.
    """
    nodes = Nodes(
        {agent.name: agent for agent in as_agents(agents)},
        executor or create_executor(),
        search or SearchConfig(),
        budget or Budget(),
    )
    graph = StateGraph(
        SearchState, context_schema=SearchContext, input_schema=SearchInput, output_schema=SearchOutput
    )
    leads_to = {
        "select": ("expand", "boost", "finish"),
        "expand": ("execute", "select"),
        "backpropagate": ("select", "boost"),
    }
    for step in (
        nodes.start,
        nodes.select,
        nodes.expand,
        nodes.boost,
        nodes.execute,
        nodes.backpropagate,
        nodes.finish,
    ):
        name = step.__name__
        graph.add_node(name, _Step(step), destinations=leads_to.get(name))  # pyright: ignore[reportUnknownMemberType]
    graph.add_edge(START, "start")
    graph.add_edge("start", "select")
    graph.add_edge("boost", "execute")
    graph.add_edge("execute", "backpropagate")
    graph.add_edge("finish", END)
    return graph


class _Step(Runnable[SearchState, Any]):
    """A node that also runs where the caller is not asynchronous."""

    def __init__(self, step: Callable[[SearchState, SearchRuntime], Awaitable[Json | Command[str]]]) -> None:
        self.step = step

    async def ainvoke(self, input: SearchState, config: RunnableConfig | None = None, **_: Any) -> Any:
        del config
        return await self.step(input, get_runtime(SearchContext))

    def invoke(self, input: SearchState, config: RunnableConfig | None = None, **_: Any) -> Any:
        return run_sync(self.ainvoke(input, config))
