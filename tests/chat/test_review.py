"""A person in the loop of a conversation: what is said before it waits, and what each decision leads to."""

import json
from pathlib import Path
from typing import Any

import pytest
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver
from langgraph.types import Command

from bdc_agents.chat import create_chat_graph
from bdc_agents.config import SearchConfig
from bdc_agents.errors import UsageError
from bdc_agents.testing import ScriptedAgent, ScriptedExecutor

STATED = "Write total(xs), which sums a list. total([1, 2]) should be 3 and total([4]) is 4."
THREAD: Any = {"configurable": {"thread_id": "one"}}
APPROVE = {"type": "approve"}
THINKS = SearchConfig(
    beliefs={"counts": {f"write//{name}": (0, 0, 0, 30) for name in ("ann", "bob")}}, max_depth=1
)


def agent(name: str) -> ScriptedAgent:
    made = ScriptedAgent(name, lambda request: "")

    def respond(request: Any) -> str:
        if request.json_schema is not None:
            return json.dumps(
                {"thoughts": [{"thought": f"`{name}` <b> {request.seed}", "reasonableness": 0.5}]}
            )
        return f"```python\ndef total(xs):\n    return sum(xs) + {request.seed}\n```"

    made.respond = respond
    return made


class Talk:
    """A conversation over a checkpointer."""

    def __init__(self, share: float, kinds: Any, saver: Any = None, **more: Any) -> None:
        self.agents = [agent("ann"), agent("bob")]
        more = {"budget": {"calls": 6}, **more}
        executor = ScriptedExecutor(lambda job: share if job.tests else 1.0)
        graph = create_chat_graph(self.agents, executor=executor, interrupt_for=kinds, **more)
        self.app: Any = graph.compile(checkpointer=saver or InMemorySaver())
        self.result: Any = {}

    async def say(self, text: str) -> Any:
        self.result = await self.app.ainvoke({"messages": [("user", text)]}, THREAD)
        return self.result

    async def decide(self, *decisions: Any) -> Any:
        self.result = await self.app.ainvoke(Command(resume={"decisions": [*decisions]}), THREAD)
        return self.result

    @property
    def last(self) -> str:
        return self.result["messages"][-1].content

    @property
    def actions(self) -> Any:
        [asked] = self.result["__interrupt__"]
        return json.loads(json.dumps(asked.value))["action_requests"]

    @property
    def calls(self) -> int:
        return sum(len(one.requests) for one in self.agents)


def test_without_it_the_graph_is_as_it_was() -> None:
    graph = create_chat_graph([agent("ann")], executor=ScriptedExecutor(lambda job: 1.0))
    assert [*graph.nodes] == ["read", "propose", "reply", "search"]
    assert "review" not in graph.compile().get_graph(xray=True).draw_mermaid()


async def test_the_budget_is_asked_about_in_words_and_raised(tmp_path: Path) -> None:
    async with AsyncSqliteSaver.from_conn_string(str(tmp_path / "chat.sqlite")) as saver:
        talk = Talk(0.5, ("budget",), saver)
        await talk.say(STATED)
    assert talk.actions[0]["args"]["calls"] == 6
    assert talk.last.startswith("The search has used its calls and is not solved.")
    assert "approve, edit, reject" in talk.last
    before = talk.calls
    async with AsyncSqliteSaver.from_conn_string(str(tmp_path / "chat.sqlite")) as saver:
        talk = Talk(0.5, ("budget",), saver)
        with pytest.raises(UsageError, match="resume with"):
            await talk.app.ainvoke(Command(resume="yes"), THREAD)
        await talk.decide(APPROVE)
        assert before + talk.calls <= 12
        assert talk.actions[0]["args"]["calls"] == 12
        await talk.decide({"type": "reject"})
        assert talk.last.startswith("**Not solved**")
        said = [one.content for one in talk.result["messages"] if one.type == "ai"]
        assert len(said) == 4  # understood, two questions, the reply
        # A further message has the budget of its run, and is asked about it again.
        await talk.say("go on")
        assert talk.actions[0]["args"] | {"used": 0} == {"calls": 6, "used": 0}


async def test_a_message_in_place_of_a_decision_goes_on_from_the_tree() -> None:
    talk = Talk(0.5, ("budget",))
    await talk.say(STATED)
    await talk.say("total([]) should be 0")
    said = [one.content for one in talk.result["messages"] if one.type == "ai"]
    assert any("I add 1 test" in text for text in said)
    assert len(talk.result["problem"]["public_tests"]) == 3
    assert talk.actions[0]["name"] == "budget"


async def test_a_remark_joins_the_problem_and_an_accepted_program_is_handed_over() -> None:
    talk = Talk(1.0, ("accept",))
    await talk.say(STATED)
    [action] = talk.actions
    assert "is it the answer?" in talk.last
    assert action["args"]["code"] in talk.last
    await talk.decide({"type": "respond", "message": "Without sum."})
    [other] = talk.actions
    assert other["args"]["code"] != action["args"]["code"]
    assert "- Without sum." in talk.result["problem"]["statement"]
    await talk.decide(APPROVE)
    assert talk.last.startswith("**Solved**")
    assert other["args"]["code"] in talk.last
    # The remark stands for further messages, and makes no program stale a second time.
    await talk.say("go on")
    assert talk.actions[0]["args"]["code"] == other["args"]["code"]


async def test_thoughts_are_listed_as_text_and_a_veto_outlives_other_tests() -> None:
    talk = Talk(0.5, ("thoughts",), search=THINKS, budget={"calls": 10})
    await talk.say(STATED)
    actions = talk.actions
    assert f"{len(actions)} new thought" in talk.last
    assert "<b>" in talk.last
    assert "``" not in talk.last
    node = actions[0]["args"]["node"]
    await talk.decide({"type": "reject"}, *[APPROVE] * (len(actions) - 1))
    while "__interrupt__" in talk.result:
        await talk.decide(*[APPROVE] * len(talk.actions))
    await talk.say("total([]) should be 0")
    tree = (await talk.app.aget_state(THREAD)).values["tree"]
    assert tree[node]["pruned"]
    assert not tree[node]["attempts"]


async def test_without_a_checkpointer_it_is_refused() -> None:
    graph = create_chat_graph(
        [agent("ann")], executor=ScriptedExecutor(lambda job: 1.0), interrupt_for=("accept",)
    )
    with pytest.raises(UsageError, match="needs a checkpointer"):
        await graph.compile().ainvoke({"messages": [("user", STATED)]})
