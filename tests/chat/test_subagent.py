"""The search as a sub-agent: what it reads in a message, what goes back, and a real deep agent above it."""

from typing import Any

import pytest
from langchain_core.language_models.fake_chat_models import GenericFakeChatModel
from langchain_core.messages import AIMessage, HumanMessage, ToolCall

from bdc_agents import Budget, Trace, create_executor, create_search_subagent
from bdc_agents.agents.protocol import Request
from bdc_agents.sandbox import Executor
from bdc_agents.testing import ScriptedAgent

TASK = "Write double(x), twice x.\n\nTests:\n- double(0) == 0\n- double(4) == 8"


@pytest.fixture(scope="module")
def executor() -> Executor:
    """The real sandbox; it ends with the process."""
    return create_executor()


@pytest.fixture
def programmer(executor: Executor) -> dict[str, Any]:
    def write(request: Request) -> str:
        assert request.json_schema is None
        return "```python\ndef double(x):\n    return 2 * x\n```"

    agents = [ScriptedAgent("ann", write)]
    return create_search_subagent(agents, executor=executor, budget=Budget(calls=4))


@pytest.mark.parametrize(
    "text",
    [
        TASK,
        "Double.\n**Test cases:**\n1. `double(0) -> 0`\n2) double(4) -> 8",
        "Write double(x) -> int.\n```python\nassert double(0) == 0\nassert double(4) == 8\n```",
        '{"statement": "Double.", "tests": ["double(0) == 0", "double(4) == 8"]}',
        'Please:\n```json\n{"statement": "Double.", "tests": ["double(0) == 0", "double(4) == 8"]}\n```',
    ],
)
async def test_what_an_agent_states_is_read_as_what_a_person_does(
    programmer: dict[str, Any], text: str
) -> None:
    state = await programmer["runnable"].ainvoke({"messages": [HumanMessage(text)]})
    assert state["messages"][-1].text.startswith("Solved: the program passes all tests (2).")


async def test_the_answer_is_the_last_message_and_nothing_else_goes_back(programmer: dict[str, Any]) -> None:
    state = await programmer["runnable"].ainvoke({"messages": [HumanMessage(TASK)]})
    assert list(state) == ["messages"]
    answer = state["messages"][-1]
    assert answer.text.startswith("Solved: the program passes all tests (2).")
    assert Trace.model_validate(answer.response_metadata["trace"]).solution.solved


@pytest.mark.parametrize("text", ["Write double(x).", "", '{"statement": "Double.", "test": "no"}'])
def test_a_task_that_cannot_be_used_is_answered_with_what_to_add(
    programmer: dict[str, Any], text: str
) -> None:
    state = programmer["runnable"].invoke({"messages": [HumanMessage(text)]})
    assert state["messages"][-1].text.startswith("Not solved, since ")


class Boss(GenericFakeChatModel):
    """Delegates, then repeats what came back."""

    def bind_tools(self, tools: Any, **_: Any) -> Any:
        return self


@pytest.mark.parametrize("sync", [True, False])
async def test_a_deep_agent_delegates_to_it(programmer: dict[str, Any], sync: bool) -> None:
    deepagents = pytest.importorskip("deepagents", reason="needs the extra `deepagents`")
    arguments = {"description": TASK, "subagent_type": "programmer"}
    call = ToolCall(name="task", args=arguments, id="1")
    model = Boss(messages=iter([AIMessage("", tool_calls=[call]), AIMessage("done")]))
    agent = deepagents.create_deep_agent(model=model, subagents=[programmer])
    given: Any = {"messages": [HumanMessage("I need double")]}
    state = agent.invoke(given) if sync else await agent.ainvoke(given)
    told = state["messages"][-2]
    assert (told.type, told.text.splitlines()[0][:6]) == ("tool", "Solved")
    assert "return 2 * x" in told.text
