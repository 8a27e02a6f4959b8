"""The search as a sub-agent of deepagents: a graph with `messages` that solves what the last one states.

agent = create_deep_agent(model="openai:gpt-4o-mini", subagents=[create_search_subagent(load_agents())])
"""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, cast

from langchain_core.messages import AIMessage, AnyMessage, ToolCall, ToolMessage
from langgraph.graph import END, START  # pyright: ignore[reportMissingTypeStubs]
from langgraph.graph.message import add_messages  # pyright: ignore[reportMissingTypeStubs]
from typing_extensions import TypedDict

from bdc_agents.agents.protocol import Agent
from bdc_agents.agents.runnables import Answering
from bdc_agents.config import Budget, SearchConfig
from bdc_agents.sandbox.protocol import Executor
from bdc_agents.search.tool import create_search_tool, is_test
from bdc_agents.search.wiring import Graph, GraphNode

DESCRIPTION = (
    "Writes a Python program that passes your tests: several language models search for it together. Slow "
    "and thorough: for a self-contained function, class or program that must be right. State the task in "
    'words, then a line "Tests:", then the tests, one on each line, such as f(2) == 4.'
)

_HEADING = re.compile(r"\W*(?:public )?(?:tests?|test cases|examples?)\W*", re.IGNORECASE)
_BULLET = re.compile(r"^(?:[-*\u2022]|\d+[.)])\s+")
_FENCE = re.compile(r"```(?:json)?\s*\n(\{.*\})\s*```", re.DOTALL)


class Conversation(TypedDict):
    """The state: what was asked, and the answer as the last message. Nothing else goes back to the caller."""

    messages: Annotated[list[AnyMessage], add_messages]


def create_search_subagent(
    agents: Mapping[str, Answering] | Sequence[Agent | Answering],
    *,
    executor: Executor | None = None,
    search: SearchConfig | None = None,
    budget: Budget | None = None,
    name: str = "programmer",
    description: str = DESCRIPTION,
) -> dict[str, Any]:
    """The search as a sub-agent: what deepagents calls a `CompiledSubAgent`, for `create_deep_agent`.

    Its graph reads the last human message: a task in words with its tests on lines of their own, or a JSON
    object as `create_search_tool` takes it. It answers with the same small text. The trace is in the
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
    tool = create_search_tool(agents, executor=executor, search=search, budget=budget)

    async def solve(state: Conversation, _: Any) -> dict[str, Any]:
        asked = [message.text for message in state["messages"] if message.type == "human"]
        arguments = arguments_of(asked[-1] if asked else "")
        called = ToolCall(name=tool.name, args=arguments, id="search", type="tool_call")
        told = cast("ToolMessage", await tool.ainvoke(called))
        return {"messages": [AIMessage(told.content, response_metadata={"trace": told.artifact}, name=name)]}

    graph = Graph(Conversation)
    graph.add_node("solve", GraphNode(solve))  # pyright: ignore[reportUnknownMemberType]
    graph.add_edge(START, "solve")
    graph.add_edge("solve", END)
    return {"name": name, "description": description, "runnable": graph.compile(name=name)}


def arguments_of(text: str) -> dict[str, Any]:
    """The arguments of the search tool that a message in words, or as JSON, states."""
    fenced = _FENCE.search(text)
    for one in (text, fenced[1] if fenced else ""):
        try:
            value = json.loads(one)
        except (ValueError, RecursionError):
            continue
        if isinstance(value, dict):
            return cast("dict[str, Any]", value)
    words: list[str] = []
    tests: list[str] = []
    listed: int | None = None  # How many tests there were when a heading announced further ones.
    for line in text.splitlines():
        stripped = _BULLET.sub("", line.strip(), count=1).strip("`").strip()
        if _HEADING.fullmatch(line.strip()):
            listed = len(tests)
        elif stripped and (listed is not None or _shows_a_call(stripped)) and is_test(stripped):
            tests.append(stripped)
        else:
            if len(tests) != listed or stripped.strip(
                "`"
            ):  # Words end the list, and a blank line behind tests.
                listed = None
            words.append(line)
    return {"statement": "\n".join(words).strip(), "tests": tests}


def _shows_a_call(line: str) -> bool:
    """Whether a line outside of a list of tests is surely one: a signature such as `f(x) -> int` is none."""
    return line.startswith("assert ") or ("(" in line and " == " in line)
