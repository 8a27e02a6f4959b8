"""MC-Tree-Of-Agents as a LangGraph graph: the wiring, as in the paper's figure.

    start ─► select ─┬─► expand ─┬─► execute ─► backpropagate ─► select ...
                     └─► boost ──┘
             select ─► finish                  backpropagate ─► boost, to refine

Several agents act on one tree. `select` walks to leaves by P-UCB; `expand` adds thoughts below them
while `boost` writes programs for them, side by side; `execute` runs these on the public tests;
`backpropagate` carries the values up the paths. Reflection has its two halves in the last two: a
thought that did not help is pruned in `backpropagate`, or refined in the next round's `boost`.

With `interrupt_for` there is one node more, `review`, before `select` and before `finish`. It asks a person,
and does nothing that costs before: LangGraph runs an interrupted node again from its beginning.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

from langgraph.graph import END, START, StateGraph  # pyright: ignore[reportMissingTypeStubs]

from bdc_agents.agents import as_agents
from bdc_agents.agents.protocol import Agent
from bdc_agents.agents.runnables import Answering
from bdc_agents.config import Budget, SearchConfig
from bdc_agents.sandbox import create_executor
from bdc_agents.sandbox.protocol import Executor
from bdc_agents.search.context import SearchContext, settings_of
from bdc_agents.search.nodes.nodes import Nodes
from bdc_agents.search.policy.moves import Policy
from bdc_agents.search.resume.history import Link, logged
from bdc_agents.search.routes import after_backpropagate, after_expand, after_review, after_select, reviewing
from bdc_agents.search.state import SearchInput, SearchOutput, SearchState
from bdc_agents.search.wiring import Graph, Route
from bdc_agents.types import AskedFor


def create_search_graph(
    agents: Mapping[str, Answering] | Sequence[Agent | Answering],
    *,
    executor: Executor | None = None,
    search: SearchConfig | Mapping[str, Any] | None = None,
    budget: Budget | Mapping[str, Any] | None = None,
    policy: Policy | None = None,
    interrupt_for: Sequence[AskedFor] = (),
    link: Link | None = None,
) -> StateGraph[SearchState, SearchContext, SearchInput, SearchOutput]:
    """The search as an uncompiled graph: the caller picks the checkpointer.

    Args:
        agents: Agents of `load_agents`, or chat models by name. Two or more make the method.
        executor: Runs the programs; None creates the strongest sandbox of this machine.
        search: Settings, or a dict of them; a run's context may change them.
        budget: Caps on what one search uses; a run's context may change them.
        policy: Plans the moves of each round, in place of the policy that the settings name; see
            `bdc_agents.search.policy.moves.Policy`.
        interrupt_for: What a person is asked about, by an interrupt of LangChain's form for it: `thoughts`
            before programs are written for them, `accept` before a program that passes ends the search,
            `budget` where a cap ends one that is not solved. It needs a checkpointer.
        link: From a thread's id to the address of a page that shows its tree, such as
            `bdc_agents.web.tree_link`. The address is then in the state (`tree_url`) and in the event
            `started`, and the state tells which checkpoints the page can go back to.

    Returns:
        A graph whose input is `{"problem": ...}` and whose output holds `solution`, `tree` and
        `programs` as plain data.

    Raises:
        ConfigError: If there is no agent, two have one name, or a setting is unknown or out of range.
        SandboxRefused: If no executor is given and this machine offers no isolation.
    """
    nodes = Nodes(
        {agent.name: agent for agent in as_agents(agents)},
        executor or create_executor(),
        *settings_of(search, budget),
        policy,
        interrupt_for,
        link,
    )
    return graph_of(nodes)


def graph_of(
    nodes: Nodes,
    takes: type[Any] = SearchInput,
    gives: type[Any] = SearchOutput,
    *,
    review: Literal["inside", "before", "after"] = "inside",
) -> StateGraph[SearchState, SearchContext, Any, Any]:
    """The search's graph over nodes.

    Args:
        nodes: What each step does.
        takes: Schema of the input: all of a state, where nodes may go on from one.
        gives: Schema of the output.
        review: Whether the graph itself asks a person, or ends `before` that, or begins `after` it; for a
            graph around it that does so.
    """
    graph = Graph(SearchState, context_schema=SearchContext, input_schema=takes, output_schema=gives)
    for step in (
        nodes.start,
        nodes.select,
        nodes.expand,
        nodes.boost,
        nodes.execute,
        nodes.backpropagate,
        nodes.finish,
    ):
        graph.add_step(logged(step) if nodes.link else step)
    kinds = nodes.interrupt_for
    asks = {"review": "review" if review == "inside" else END} if kinds else {}

    def leads(start: str, follow: Callable[[SearchState], Any], *ends: str) -> None:
        route = Route(reviewing(follow, kinds) if kinds else follow)
        paths: Any = {end: end for end in ends} | asks
        graph.add_conditional_edges(start, route, paths)

    if review == "after":
        leads(START, after_review, "select", "finish")
    else:
        graph.add_edge(START, "start")
    graph.add_edge("start", "select")
    leads("select", after_select, "expand", "boost", "finish")
    leads("expand", after_expand, "execute", "select")
    graph.add_edge("boost", "execute")
    graph.add_edge("execute", "backpropagate")
    leads("backpropagate", after_backpropagate, "select", "boost")
    graph.add_edge("finish", END)
    if kinds and review == "inside":
        graph.add_step(nodes.review)
        graph.add_conditional_edges("review", Route(after_review), ["select", "finish"])
    return graph
