"""The search as a sub-agent of deepagents: a graph with `messages` that solves what the last one states.

agent = create_deep_agent(model="openai:gpt-4o-mini", subagents=[create_search_subagent(load_agents())])
"""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from langchain_core.messages import AIMessage, AnyMessage
from langgraph.graph import END, START  # pyright: ignore[reportMissingTypeStubs]
from langgraph.graph.message import add_messages  # pyright: ignore[reportMissingTypeStubs]
from typing_extensions import TypedDict

from bdc_agents.agents.protocol import Agent
from bdc_agents.agents.runnables import Answering
from bdc_agents.chat.understanding import Known, hear
from bdc_agents.config import Budget, SearchConfig
from bdc_agents.errors import BDCError, ProblemError
from bdc_agents.sandbox.protocol import Executor
from bdc_agents.search.tool import refusal, search_by, writer
from bdc_agents.search.wiring import Graph, GraphNode

DESCRIPTION = (
    "Writes a Python program that passes your tests: several language models search for it together. Slow "
    "and thorough: for a self-contained function, class or program that must be right. State the task in "
    'words, then a line "Tests:", then the tests, one on each line, such as f(2) == 4.'
)


class Conversation(TypedDict):
    """The state: what was asked, and the answer as the last message. Nothing else goes back to the caller."""

    messages: Annotated[list[AnyMessage], add_messages]


def create_search_subagent(
    agents: Mapping[str, Answering] | Sequence[Agent | Answering],
    *,
    executor: Executor | None = None,
    search: SearchConfig | Mapping[str, Any] | None = None,
    budget: Budget | Mapping[str, Any] | None = None,
    name: str = "programmer",
    description: str = DESCRIPTION,
) -> dict[str, Any]:
    """The search as a sub-agent: what deepagents calls a `CompiledSubAgent`, for `create_deep_agent`.

    Its graph reads the last human message as `create_chat_graph` does: a task in words with its tests, in
    code blocks or as JSON. It answers with the same small text as `create_search_tool`. The trace is in the
    answer's `response_metadata`, which stays in the graph.

    Args:
        agents, executor, search, budget: As for `create_search_tool`.
        name: What the calling agent names it by.
        description: What the calling agent is told of it.

    Returns:
        `name`, `description` and, as `runnable`, the compiled graph, which any LangGraph app can use.

    Raises:
        ConfigError: If there is no agent, or two have one name.
    """
    search_for = search_by(agents, executor, search, budget)

    async def solve(state: Conversation, _: Any) -> dict[str, Any]:
        asked = [message.text for message in state["messages"] if message.type == "human"]
        heard = await asyncio.to_thread(hear, asked[-1:], Known())
        if heard.problem is None or heard.does == "say":
            return {"messages": [AIMessage(refusal(ProblemError(heard.text)), name=name)]}
        try:
            text, trace = await search_for(heard.problem, writer())
        except BDCError as error:
            return {"messages": [AIMessage(refusal(error), name=name)]}
        lines = [text, *(f"Note: {note}" for note in heard.notes)]
        return {"messages": [AIMessage("\n".join(lines), response_metadata={"trace": trace}, name=name)]}

    graph = Graph(Conversation)
    graph.add_node("solve", GraphNode(solve))  # pyright: ignore[reportUnknownMemberType]
    graph.add_edge(START, "solve")
    graph.add_edge("solve", END)
    return {"name": name, "description": description, "runnable": graph.compile(name=name)}
