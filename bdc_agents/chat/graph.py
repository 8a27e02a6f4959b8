"""The search as a conversation: a LangGraph graph whose state has `messages`.

    read ─┬─► search ─► reply ─► end
          ├─► propose ─┬─► search     two agents agree on tests
          └─► end      └─► end        a person is to confirm them

With `interrupt_for`, the search leads on by `ask`, which says what a person is to decide, and `review`, which
waits for it, to `go_on`, the same search from where it was. A decision may come as a message as well: `read`
then leads to `review`.

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
from bdc_agents.chat.deciding import decisions_in
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
from bdc_agents.errors import ProblemError, UsageError
from bdc_agents.sandbox import create_executor
from bdc_agents.sandbox.protocol import Executor
from bdc_agents.search.context import SearchContext, settings_of
from bdc_agents.search.graph import graph_of
from bdc_agents.search.nodes.start import check_premises
from bdc_agents.search.policy.moves import Policy
from bdc_agents.search.resume.history import Link, page_of
from bdc_agents.search.review.questions import Ask, awaits, read_decisions, unreviewed
from bdc_agents.search.round.calls import read_aside
from bdc_agents.search.round.step import SearchRuntime
from bdc_agents.search.state import Json, SearchState, add_usage
from bdc_agents.search.wiring import TOLD_IN_BRIEF, Graph, Route
from bdc_agents.types import AskedFor, Problem, Review, Solution, Tree, Usage

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
        graph.add_step(node)
    inner: Any = graph_of(searching, SearchState, SearchState, review="before")
    graph.add_node(
        "search", inner.compile(name="search"), input_schema=SearchState, trace_policy=TOLD_IN_BRIEF
    )
    kinds = searching.interrupt_for
    if kinds:
        # In this graph and not in the search's: so the question is a message of the thread before it waits.
        later: Any = graph_of(searching, SearchState, SearchState, review="after")
        graph.add_step(nodes.ask)
        graph.add_step(nodes.review)
        graph.add_node(
            "go_on", later.compile(name="go_on"), input_schema=SearchState, trace_policy=TOLD_IN_BRIEF
        )
        graph.add_edge("ask", "review")
        graph.add_edge("review", "go_on")
        for node in ("search", "go_on"):
            graph.add_conditional_edges(node, Route(after_search(kinds)), ["ask", "reply"])
    else:
        graph.add_edge("search", "reply")
    graph.add_edge(START, "read")
    ends = ["propose", "search", END, *(["review"] if kinds else [])]
    graph.add_conditional_edges("read", Route(after_read(kinds)), ends)
    graph.add_conditional_edges("propose", Route(after_propose), ["search", END])
    graph.add_edge("reply", END)
    return graph


def after_read(kinds: Sequence[AskedFor]) -> Callable[[ChatState], str]:
    """Where what was understood leads: a question to the person waits on, unless something else began."""

    def reading(state: ChatState) -> str:
        does = state.get("heard", {}).get("does")
        if does in ("propose", "search"):
            return does
        return "review" if awaits(state, kinds) and not state.get("waiting") else END

    return reading


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
        asks = [] if known.waiting else self._searching.waits_for(state, runtime)
        if asks and len(texts) == 1 and (decided := _decided_in(texts[0], asks, state, message)):
            return decided
        heard = await read_aside(partial(hear, known=known), texts, "".join(texts))
        if heard.problem and heard.does == "search":
            try:
                await check_premises(heard.problem, self._searching.executor)
            except ProblemError as error:
                told = f"I cannot search for this: {error}"
                heard = Heard("say", told, waiting=known.waiting, plain=True)
        if heard.does == "say":
            return _said(heard, asks, state, message)
        problem = heard.problem
        assert problem is not None
        turn = self._searching.settings({}, runtime)
        agents, budget, rollouts = list(turn.agents), turn.budget, turn.rollouts
        programs = len(state.get("programs", {}))
        if heard.does == "propose":
            text = replies.asking(heard, agents[:ASKED], budget, rollouts, programs)
            waiting = stored_waiting(Waiting(problem))
        else:
            before = known.problem.public_tests if known.problem else ()
            page = page_of(self._searching.link, runtime)
            text = replies.understood(heard, agents, budget, rollouts, programs, page, before)
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
            reasons = {name: str(row.get("reason", "")) for name, row in failing.items()}
            text = replies.no_proposal(problem, proposed, reasons)
        return {
            **changes,
            "waiting": stored_waiting(Waiting(problem, offer)),
            "messages": [_says(text, message, "propose")],
        }

    async def ask(self, state: ChatState, runtime: SearchRuntime) -> Json:
        """Says what a person is to decide, for clients that show no interrupt."""
        asks = self._searching.waits_for(state, runtime)
        return self._turn("ask", state, replies.decide(asks)) if asks else {}

    async def review(self, state: ChatState, runtime: SearchRuntime) -> Json:
        """Does what a person decided, in a message or by an answer to the interrupt, and says it."""
        heard = {**state.get("heard", {})}
        decisions = heard.pop("decisions", ())
        changes = await self._searching.decide(state, runtime, decisions)
        if not changes:
            return {"heard": heard}
        made = changes["reviews"][len(state.get("reviews", [])) :]
        text = replies.decided([Review.model_validate(row) for row in made])
        return {**changes, **self._turn("review", state, text), "heard": heard}

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

    def _turn(self, node: str, state: ChatState, text: str) -> Json:
        """A message of a node that may say several between two messages of the person."""
        turn = f"{node}{len(state.get('reviews', []))}"
        return {"messages": [_says(text, state.get("heard", {}).get("message"), turn)]}


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


def _decided_in(text: str, asks: Sequence[Ask], state: ChatState, message: str | None) -> Json | None:
    """What changes where a message decides what waits; None where it is about something else."""
    kept = {**state.get("heard", {}), "message": message}
    try:
        decisions = decisions_in(text, asks)
        if not decisions:
            return None
        read_decisions({"decisions": decisions}, asks)
    except UsageError as error:
        told = f"I cannot take this decision: {replies.unmarked(str(error))}"
        return {"heard": kept | {"does": "say"}, "messages": [_says(told, message, "read")]}
    return {"heard": kept | {"does": "decide", "decisions": decisions}}


def _said(heard: Heard, asks: Sequence[Ask], state: ChatState, message: str | None) -> Json:
    """What changes where a message is answered with words alone; what waited for a decision still does."""
    kept = {**state.get("heard", {}), "message": message, "does": "say"}
    waits = heard.waiting if heard.begins else None  # A problem of which no test could be read.
    text = replies.unmarked(heard.text) if heard.plain else heard.text
    text = replies.still(text, asks) if asks and not waits else text
    begun = {"waiting": stored_waiting(waits), **_begun(heard, state)} if waits else {}
    return {"heard": kept, "messages": [_says(text, message, "read")], **begun}


def _says(text: str, message: str | None, node: str) -> AIMessage:
    # A node that runs again after a kill says it in place of what it said, and not twice.
    return AIMessage(content=text, id=f"{node}-{message}" if message else None)
