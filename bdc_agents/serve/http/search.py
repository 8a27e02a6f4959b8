"""The search behind the server: `bdc-search` and `bdc-search-paper` answer what a conversation states.

A request holds the whole conversation, as clients of OpenAI's protocol send it. It is read as
`create_chat_graph` reads one, and where its beginning was answered before, the search goes on from that tree.
"""

import json
from collections import OrderedDict
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing
from hashlib import sha256
from typing import Any, cast
from uuid import uuid4

from langchain_core.messages import AIMessage, HumanMessage
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import END

from bdc_agents.agents import as_agents
from bdc_agents.agents.protocol import Agent
from bdc_agents.agents.runnables import Answering
from bdc_agents.chat import create_chat_graph
from bdc_agents.chat.graph import after_propose, after_read
from bdc_agents.chat.state import ChatState
from bdc_agents.config import Budget, SearchConfig
from bdc_agents.errors import ConfigError
from bdc_agents.sandbox.protocol import Executor
from bdc_agents.search.context import SearchContext, read_context, settings_of
from bdc_agents.search.round.budget import rollouts_at_most
from bdc_agents.search.state import SearchState
from bdc_agents.search.traces import trace_of
from bdc_agents.serve.http.openai import ChatBody, Refused
from bdc_agents.serve.http.served import NO_LIBRARY, Answer, Piece, Searched, Told, Waiting
from bdc_agents.serve.keeping import Keep, keep_trace
from bdc_agents.types import Solution, Trace, Usage
from bdc_agents.view.text import passes

SEARCH, PAPER = "bdc-search", "bdc-search-paper"
IGNORED = frozenset(
    (
        *("frequency_penalty", "presence_penalty", "repetition_penalty", "logit_bias"),
        *("top_k", "min_p", "reasoning_effort", "verbosity"),
    )
)
"""Fields of clients that the search does without: each agent has its own sampling, and none calls tools.
Editors send them with every request."""
KEPT = 64
"""Conversations to go on from. The state of a search of 60 rollouts has some 650 kB, so these take 40 MB."""
LAST_SECONDS, LAST_SHARE = 10.0, 0.1
"""Of a request's time, what is left to hand over, the lesser of both: the last programs may take seconds."""


def check_form(body: ChatBody) -> None:
    """Refuses a schema of the client's: what a search finds has a form of its own.

    Raises:
        Refused: If there is one.
    """
    if body.form == "json_schema":
        raise Refused(
            "response_format: a search answers with a program and its verdict, not by a schema of yours; ask "
            "for json_object, which gives these as JSON, for text, or a model of a library for json_schema",
            param="response_format",
        )


def content(body: ChatBody, text: str, told: Told) -> str:
    """The answer's content: its text, or as a JSON object the text and what `bdc` says."""
    return text if body.form == "text" else json.dumps({"text": text, **told}, ensure_ascii=False)


def ending_within(seconds: float, search: SearchConfig, budget: Budget) -> tuple[SearchConfig, Budget]:
    """The settings of a search that hands over before its request is cut off.

    Args:
        seconds: Longest answer to a request.
        search, budget: Settings. The server's time is no budget that somebody chose to spend: a search that
            ends by its number of rollouts still does.
    """
    most = max(seconds - LAST_SECONDS, seconds * (1 - LAST_SHARE))
    rollouts = rollouts_at_most(search, budget)
    search = search if rollouts is None else search.model_copy(update={"rollouts": rollouts})
    most = most if budget.seconds is None else min(budget.seconds, most)
    return search, budget.model_copy(update={"seconds": most})


class SearchModels:
    """The search as models of the server.

    Args:
        agents: Agents of `load_agents`, or chat models by name.
        executor: Runs the programs.
        search: Settings. `bdc-search-paper` takes the published ones instead.
        budget: Caps of one request, where its field `budget` sets none.
        seconds: Longest answer to a request: a search ends a little before.
        keep: Stores the trace of each search.
        close: Called when the server ends.

    Raises:
        ConfigError: If there is no agent, or two have one name.
    """

    owner = NO_LIBRARY
    names = (SEARCH, PAPER)
    ignores = IGNORED

    def __init__(
        self,
        agents: Mapping[str, Answering] | Sequence[Agent | Answering],
        executor: Executor,
        *,
        search: SearchConfig | Mapping[str, Any] | None = None,
        budget: Budget | Mapping[str, Any] | None = None,
        seconds: float = 300.0,
        keep: Keep | None = None,
        close: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        self._close = close
        self._search, self._budget = settings_of(search, budget)
        self._agents = {agent.name: agent for agent in as_agents(agents)}
        self._graph = create_chat_graph(
            [*self._agents.values()], executor=executor, search=self._search, budget=self._budget
        )
        self._seconds = seconds
        self._keep = keep
        self._known: OrderedDict[str, Mapping[str, Any]] = OrderedDict()

    async def answers(self, body: ChatBody) -> list[Answer]:
        """The answer; there is one, as a further one would be the same search again."""
        async with aclosing(self.stream(body)) as pieces:
            return [piece.answer async for piece in pieces if piece.answer is not None]

    async def stream(self, body: ChatBody) -> AsyncGenerator[Piece]:
        """What was understood and how far the search is, as reasoning; then the answer."""
        context = self._context(body)
        texts = body.texts()
        known, fresh = self._known_of(body.model, texts)
        reply, reasoning = _Reply(), ""
        async with aclosing(self._events(known, fresh, context)) as events:
            async for event in events:
                for text in reply.told(event):
                    reasoning += text
                    yield Piece(reasoning=text)
        state, text = reply.state, reply.text
        said = state.get("heard", {}).get("does") == "say"
        if said and known is None:
            raise Refused(text, param="messages", code="problem_not_understood")
        if not said and _is_silent(state):
            raise Refused(text, 502, "no_agent_answers", kind="server_error")
        self._remember(body.model, texts, state)
        if said:  # Of what was searched before nothing has changed.
            text, used, told, reasoning = content(body, text, Waiting()), Usage(), Waiting(), ""
        else:
            used = sum((Usage.model_validate(one) for one in state.get("usage", {}).values()), Usage())
            told = await self._told(state, context)
            text = content(body, text, told)
        yield Piece(text)
        yield Piece(
            answer=Answer(text, used.prompt_tokens, used.completion_tokens, reasoning=reasoning, told=told)
        )

    async def aclose(self) -> None:
        """Forgets the conversations."""
        self._known.clear()
        if self._close is not None:
            await self._close()

    def _context(self, body: ChatBody) -> SearchContext:
        """The settings of one request.

        Raises:
            Refused: If its budget cannot be used, or it asks for several answers.
        """
        check_form(body)
        if (body.n or 1) > 1:
            raise Refused("a search gives one answer: ask for n = 1", param="n")
        search: dict[str, Any] = {} if body.seed is None else {"seed": body.seed % 2**31}
        if body.model == PAPER:
            search["preset"] = "paper"
        caps = {key: value for key, value in (body.budget or {}).items() if value is not None}
        try:
            config, budget = read_context({"search": search, "budget": caps}, self._search, self._budget)
        except ConfigError as error:
            told = str(error).replace("context: budget", "budget")
            raise Refused(told, param="budget") from None
        config, budget = ending_within(self._seconds, config, budget)
        search |= {} if config.rollouts is None else {"rollouts": config.rollouts}
        return {"search": search, "budget": budget.model_dump(exclude_none=True)}

    async def _events(
        self, known: Mapping[str, Any] | None, texts: Sequence[str], context: SearchContext
    ) -> AsyncGenerator[tuple[tuple[str, ...], str, Any]]:
        """The run of the chat's graph, from the state that a conversation was left in.

        Yields:
            Of which subgraph an event is, of which kind, and what it says.
        """
        app: Any = self._graph.compile(checkpointer=InMemorySaver())
        config = {"configurable": {"thread_id": "request"}}
        if known is not None:
            await app.aupdate_state(config, known, as_node="reply")
        messages = [HumanMessage(text, id=uuid4().hex) for text in texts]
        run = app.astream(
            {"messages": messages},
            config,
            context=context,
            stream_mode=["custom", "updates", "values"],
            output_keys=[*ChatState.__annotations__],  # Also what streams leave out.
            subgraphs=True,
            durability="exit",
        )
        async with aclosing(run) as events:
            async for event in events:
                yield event

    async def _told(self, state: Mapping[str, Any], context: SearchContext) -> Searched | Waiting:
        """Our own field of the answer: what became of the search, and under which name its trace is kept."""
        if state.get("waiting") or not state.get("solution"):
            return Waiting(waiting_for="tests")
        solution = Solution.model_validate(state["solution"])
        passed, tests = passes(solution.verdict)
        used = sum(solution.usage.values(), Usage())
        told = Searched(
            solved=solution.solved,
            confirmed=solution.confirmed,
            passed=passed,
            tests=tests,
            agent=solution.agent,
            node=solution.node,
            code=solution.code,
            stopped_by=solution.stopped_by,
            calls=used.calls,
            cost=None if used.cost is None and used.calls else round(used.cost or 0.0, 6),
            seconds=round(solution.seconds, 3),
        )
        if self._keep is not None:
            name, why = await keep_trace(self._keep, self._trace(state, context), uuid4().hex[:8])
            told.update({"trace": name} if name else {"note": why})
        return told

    def _trace(self, state: Mapping[str, Any], context: SearchContext) -> Trace:
        search, budget = read_context(context, self._search, self._budget)
        settings = {"search": search.model_dump(mode="json"), "budget": budget.model_dump()}
        return trace_of(cast("SearchState", state), settings)

    # --- conversations -------------------------------------------------------------------------

    def _known_of(self, model: str, texts: Sequence[str]) -> tuple[Mapping[str, Any] | None, Sequence[str]]:
        """The state after the longest known beginning of a conversation, and the messages since."""
        keys = _keys(model, texts)
        for length in range(len(texts) - 1, 0, -1):
            key = keys[length - 1]
            if key in self._known:
                self._known.move_to_end(key)
                return self._known[key], texts[length:]
        return None, texts

    def _remember(self, model: str, texts: Sequence[str], state: Mapping[str, Any]) -> None:
        self._known[_keys(model, texts)[-1]] = {**state}
        while len(self._known) > KEPT:
            self._known.popitem(last=False)


class _Reply:
    """Reads the run's events: a message after which the run ends is the answer, others are remarks."""

    def __init__(self) -> None:
        self.state: Mapping[str, Any] = {}
        self.text = ""

    def told(self, event: tuple[tuple[str, ...], str, Any]) -> list[str]:
        """What an event adds to the reasoning."""
        inside, mode, chunk = event
        if mode == "custom":
            return [f"{chunk['text']}\n\n"] if chunk.get("type") == "progress" else []
        if inside:
            return []
        if mode == "values":
            self.state = chunk
            return []
        found: list[str] = []
        for node, update in chunk.items():
            for message in update.get("messages", ()) if isinstance(update, Mapping) else ():
                if isinstance(message, AIMessage) and _goes_on(node, update):
                    found.append(f"{message.text}\n\n")
                elif isinstance(message, AIMessage):
                    self.text = message.text
        return found


def _goes_on(node: str, update: Any) -> bool:
    """Whether the run goes on after what a node has said."""
    leads = {"read": after_read(()), "propose": after_propose}.get(node)
    return leads is not None and leads(update) != END


def _is_silent(state: Mapping[str, Any]) -> bool:
    """Whether no agent answers any more, and none has written a program."""
    solution = state.get("solution") or {}
    return solution.get("stopped_by") == "agents" and not solution.get("code")


def _keys(model: str, texts: Sequence[str]) -> list[str]:
    """A key for each beginning of a conversation, in one pass over a body of up to a megabyte."""
    read, keys = sha256(json.dumps(model).encode()), list[str]()
    for text in texts:
        read.update(json.dumps(text).encode())
        keys.append(read.hexdigest())
    return keys
