"""The search as a conversation: a LangGraph graph whose state has `messages`.

    read ─┬─► search ─► reply ─► end
          ├─► propose ─┬─► search     two agents agree on tests
          └─► end      └─► end        a person is to confirm them

With `interrupt_for`, the search leads on by `ask`, which says what a person is to decide, and `review`, which
waits for it, to `go_on`, the same search from where it was.

`read` understands what a person wrote and says so, before anything is spent. `propose` asks agents for tests
where there is none. `search` is the graph of `bdc_agents.search`, whose state is a part of the
conversation's, so that a further message goes on from the same tree.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from langchain_core.messages import AIMessage
from langgraph.graph import END, START, StateGraph  # pyright: ignore[reportMissingTypeStubs]
from langgraph.types import Overwrite

from bdc_agents.agents import as_agents
from bdc_agents.agents.protocol import Agent
from bdc_agents.agents.runnables import Answering
from bdc_agents.chat import replies
from bdc_agents.chat.proposing import ASKED, agreed, offered
from bdc_agents.chat.searching import SearchingNodes
from bdc_agents.chat.state import (
    ChatInput,
    ChatOutput,
    ChatState,
    known_of,
    stored_heard,
    stored_waiting,
    texts_to_hear,
)
from bdc_agents.chat.understanding import Heard, Waiting, hear
from bdc_agents.config import Budget, SearchConfig
from bdc_agents.errors import ProblemError
from bdc_agents.sandbox import create_executor
from bdc_agents.sandbox.protocol import Executor
from bdc_agents.search.graph import graph_of
from bdc_agents.search.nodes.start import check_premises
from bdc_agents.search.policy.moves import Policy
from bdc_agents.search.resume.history import Link, page_of
from bdc_agents.search.review.decisions import asks_of
from bdc_agents.search.review.questions import awaits, unreviewed
from bdc_agents.search.round.calls import read_aside
from bdc_agents.search.round.step import SearchRuntime
from bdc_agents.search.state import Json, SearchContext, SearchState, add_usage, settings_of
from bdc_agents.search.wiring import Graph, GraphNode, Route
from bdc_agents.types import AskedFor, Problem, Solution, Tree, Usage

_EACH_TURN = ("usage", "failing", "set_aside")
"""Parts of the state that begin anew with each message: a budget is for one."""
_EACH_PROBLEM = ("tree", "programs", "calls", "room")
_REST = ("credit", "told", "passing", "solution", "spent", "origin", "problem")
"""Likewise with each problem; these are no sums of what was written to them."""


def create_chat_graph(
    agents: Mapping[str, Answering] | Sequence[Agent | Answering],
    *,
    executor: Executor | None = None,
    search: SearchConfig | Mapping[str, Any] | None = None,
    budget: Budget | Mapping[str, Any] | None = None,
    policy: Policy | None = None,
    link: Link | None = None,
    interrupt_for: Sequence[AskedFor] = (),
) -> StateGraph[ChatState, SearchContext, ChatInput, ChatOutput]:
    """A chat interface to the search as an uncompiled graph: the caller picks the checkpointer.

    Args:
        agents: Agents of `load_agents`, or chat models by name. Two or more make the method.
        executor: Runs the programs; None creates the strongest sandbox of this machine.
        search: Settings; a run's context may change them.
        budget: Caps on what the search for one message uses; a run's context may change them.
        policy: Plans the moves of each round; see `create_search_graph`.
        link: Gives the address of a page that shows the tree of a thread, for the replies; see
            `create_search_graph`.
        interrupt_for: What a person is asked about in the midst of a search; see `create_search_graph`.

    Returns:
        A graph whose input and output have `messages`. A checkpointer keeps the tree between messages.

    Raises:
        ConfigError: If there is no agent, or two have one name.
        SandboxRefused: If no executor is given and this machine offers no isolation.
    """
    searching = SearchingNodes(
        {agent.name: agent for agent in as_agents(agents)},
        executor or create_executor(),
        *settings_of(search, budget),
        policy,
        interrupt_for,
        link,
    )
    nodes = _Nodes(searching)
    graph = Graph(ChatState, context_schema=SearchContext, input_schema=ChatInput, output_schema=ChatOutput)
    for node in (nodes.read, nodes.propose, nodes.reply):
        graph.add_node(node.__name__, GraphNode(node))  # pyright: ignore[reportUnknownMemberType]
    inner: Any = graph_of(searching, SearchState, SearchState, review="before")
    graph.add_node("search", inner.compile(name="search"), input_schema=SearchState)
    if kinds := searching.interrupt_for:
        # In this graph and not in the search's: so the question is a message of the thread before it waits.
        later: Any = graph_of(searching, SearchState, SearchState, review="after")
        graph.add_node("ask", GraphNode(nodes.ask))  # pyright: ignore[reportUnknownMemberType]
        graph.add_node("review", GraphNode(searching.review), input_schema=SearchState)  # pyright: ignore[reportUnknownMemberType]
        graph.add_node("go_on", later.compile(name="go_on"), input_schema=SearchState)
        graph.add_edge("ask", "review")
        graph.add_edge("review", "go_on")
        for node in ("search", "go_on"):
            graph.add_conditional_edges(node, Route(after_search(kinds)), ["ask", "reply"])
    else:
        graph.add_edge("search", "reply")
    graph.add_edge(START, "read")
    graph.add_conditional_edges("read", Route(after_read), ["propose", "search", END])
    graph.add_conditional_edges("propose", Route(after_propose), ["search", END])
    graph.add_edge("reply", END)
    return graph


def after_read(state: ChatState) -> str:
    """Where what was understood leads."""
    does = state.get("heard", {}).get("does")
    return does if does in ("propose", "search") else END


def after_propose(state: ChatState) -> str:
    """To the search with tests on which agents agree; else to the person."""
    return END if state.get("waiting") else "search"


def after_search(kinds: Sequence[AskedFor]) -> Callable[[ChatState], str]:
    """To the person where something waits for them; else to the reply."""

    def asking(state: ChatState) -> str:
        return "ask" if awaits(state, kinds) else "reply"

    return asking


class _Nodes:
    """The nodes beside the search's own.

    Args:
        searching: The search's nodes, which know agents and settings.
    """

    def __init__(self, searching: SearchingNodes) -> None:
        self._searching = searching

    async def read(self, state: ChatState, runtime: SearchRuntime) -> Json:
        """Understands the person's message, and says what was understood."""
        texts, message = texts_to_hear(state)
        known = known_of(state)
        heard = await read_aside(partial(hear, known=known), texts, "".join(texts))
        if heard.problem and heard.does == "search":
            try:
                await check_premises(heard.problem, self._searching.executor)
            except ProblemError as error:
                heard = Heard("say", f"I cannot search for this: {error}", waiting=known.waiting)
        if heard.does == "say":
            kept = state.get("heard", {}) | {"message": message, "does": "say"}
            asks = heard.waiting if heard.begins else None  # A problem of which no test could be read.
            return {
                "heard": kept,
                "messages": [_says(heard.text, message, "read")],
                **({"waiting": stored_waiting(asks), **_begun(heard, state)} if asks else {}),
            }
        problem = heard.problem
        assert problem is not None
        turn = self._searching.settings({}, runtime)
        agents, budget, rollouts = list(turn.agents), turn.budget, turn.rollouts
        programs = len(state.get("programs", {}))
        if heard.does == "propose":
            text = replies.asking(heard, agents[:ASKED], budget, rollouts, programs)
            waiting = stored_waiting(Waiting(problem))
        else:
            page = page_of(self._searching.link, runtime)
            text = replies.understood(heard, agents, budget, rollouts, programs, page)
            waiting = None
        return {
            "messages": [_says(text, message, "read")],
            "waiting": waiting,
            "heard": stored_heard(heard, message),
            **_begun(heard, state),
            **({} if heard.does == "propose" else {"problem": problem.model_dump(mode="json")}),
        }

    async def propose(self, state: ChatState, runtime: SearchRuntime) -> Json:
        """Asks two agents for tests; takes those on which they agree, or asks the person."""
        waiting = state.get("waiting") or {}
        problem = Problem.model_validate(waiting.get("problem"))
        proposed, changes = await self._searching.propose(problem, state, runtime)
        heard, message = state.get("heard", {}), state.get("heard", {}).get("message")
        tests = agreed([*proposed.values()])
        if tests:
            by = f"proposed by {' and '.join(proposed)}, who agree"
            return {
                **changes,
                "problem": problem.model_copy(update={"public_tests": tests}).model_dump(mode="json"),
                "waiting": None,
                "heard": heard | {"sources": [by] * len(tests)},
                "messages": [_says(replies.agreed_tests(tests, [*proposed]), message, "propose")],
            }
        offer = offered([*proposed.values()])
        if offer:
            text = replies.question(offer, {name: len(own) for name, own in proposed.items()})
        else:
            failing = {**state.get("failing", {}), **changes.get("failing", {})}
            text = replies.no_proposal(
                problem, {name: str(row.get("reason", "")) for name, row in failing.items()}
            )
        return {
            **changes,
            "waiting": stored_waiting(Waiting(problem, offer)),
            "messages": [_says(text, message, "propose")],
        }

    async def ask(self, state: ChatState, runtime: SearchRuntime) -> Json:
        """Says what a person is to decide, for clients that show no interrupt."""
        asks = asks_of(self._searching.settings(state, runtime), self._searching.interrupt_for)
        if not asks:
            return {}
        turn = f"ask{len(state.get('reviews', []))}"
        return {"messages": [_says(replies.decide(asks), state.get("heard", {}).get("message"), turn)]}

    async def reply(self, state: ChatState, runtime: SearchRuntime) -> Json:
        """Hands over the program with its verdict, who wrote it, the cost and the tree."""
        solution = Solution.model_validate(state.get("solution"))
        spent = {name: Usage.model_validate(used) for name, used in state.get("spent", {}).items()}
        problem = Problem.model_validate(state.get("problem"))
        tree = Tree(state.get("tree"))
        page = page_of(self._searching.link, runtime)
        text = replies.found(problem, solution, tree, dict(state), spent, page)
        used = {name: one.model_dump() for name, one in solution.usage.items()}
        return {
            "messages": [_says(text, state.get("heard", {}).get("message"), "reply")],
            "spent": add_usage(state.get("spent", {}), [used]),
        }


def _begun(heard: Heard, state: ChatState) -> Json:
    """What begins anew with a message."""
    if heard.resumes:
        return {}  # The calls for its tests count.
    changes: Json = {key: Overwrite({}) for key in _EACH_TURN} | {"seconds": Overwrite(0.0)}
    decided = unreviewed(state)
    # What a person has refused stays refused while the problem is the same.
    changes |= {key: value for key, value in decided.items() if heard.begins or key != "reviews"}
    if heard.begins:
        changes |= {key: Overwrite({}) for key in _EACH_PROBLEM} | {key: {} for key in _REST}
    return changes


def _says(text: str, message: str | None, node: str) -> AIMessage:
    # A node that runs again after a kill says it in place of what it said, and not twice.
    return AIMessage(content=text, id=f"{node}-{message}" if message else None)
