"""A person in the loop of a conversation: what is said before it waits, and what each decision leads to."""

import json
from pathlib import Path
from typing import Any

import pytest
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver
from langgraph.types import Command

from bdc_agents.chat import create_chat_graph
from bdc_agents.chat.deciding import decisions_in
from bdc_agents.config import SearchConfig
from bdc_agents.errors import UsageError
from bdc_agents.search.review.questions import Ask, read_decisions
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
    assert "`approve`: as much again, 12 calls in all" in talk.last
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
        assert len(said) == 6  # understood, two questions, what was decided each time, the reply
        assert "The search goes on, with 12 calls in all." in said
        assert "You ended the search." in said
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
    assert r"\<b\>" in talk.last
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


# --- decisions in words -------------------------------------------------------------------------------------


def asked(kind: str, count: int = 1) -> list[Ask]:
    args: dict[str, Any] = {
        "thoughts": {"text": "an idea", "node": "0.0", "agent": "ann"},
        "accept": {"code": "x", "passed": 2, "tests": 2, "agent": "ann"},
        "budget": {"calls": 6, "used": "6 calls"},
    }[kind]
    request: Any = {"name": {"thoughts": "thought"}.get(kind, kind), "args": args, "description": ""}
    used = {"calls": 6, "tokens": 900, "seconds": 3.0, "money": 0.0, "rollouts": 4}
    asks: Any = kind
    return [Ask(asks, request, ("approve", "edit", "reject", "respond"), "0.0", used=used)] * count


def told(decision: Any) -> str:
    """A decision in short: its type, and what it carries."""
    args = decision.get("edited_action", {}).get("args", {})
    carried = decision.get("message") or next(iter(args.values()), "")
    return f"{decision['type']} {carried}".strip()


@pytest.mark.parametrize(
    ("text", "decided"),
    [
        ("approve", ["approve"] * 3),
        ("Yes, please!", ["approve"] * 3),
        ("Approve all.", ["approve"] * 3),
        ("no", ["reject"] * 3),
        ("reject all: too slow", ["reject too slow"] * 3),
        ("reject 2", ["approve", "reject", "approve"]),
        ("Reject 2 because it sorts", ["approve", "reject it sorts", "approve"]),
        ("reject thoughts 1 and 3: they loop", ["reject they loop", "approve", "reject they loop"]),
        ("approve 1, reject the others", ["approve", "reject", "reject"]),
        ("approve 1 and 3 and reject 2: no", ["approve", "reject no", "approve"]),
        (
            "reject 1: why; edit 2: sort first; then scan\nrespond 3: and stop early",
            ["reject why", "edit sort first; then scan", "respond and stop early"],
        ),
        (
            "- `edit 3`: accept only numbers, reject text",
            ["approve", "approve", "edit accept only numbers, reject text"],
        ),
    ],
)
def test_thoughts_are_decided_on_in_words(text: str, decided: list[str]) -> None:
    asks = asked("thoughts", 3)
    found = decisions_in(text, asks)
    assert [*map(told, found)] == decided
    assert len(read_decisions({"decisions": found}, asks)) == 3


@pytest.mark.parametrize(
    ("kind", "text", "decided"),
    [
        ("accept", "looks good", "approve"),
        ("accept", "accept it", "approve"),
        ("accept", "reject: it mutates its input", "reject it mutates its input"),
        ("accept", "Reject the program because it loops", "reject it loops"),
        ("accept", "respond: without sum", "respond without sum"),
        ("accept", "edit:\n```python\ndef f(x):\n    return x\n```", "edit def f(x):\n    return x"),
        ("budget", "approve", "approve"),
        ("budget", "reject", "reject"),
        ("budget", "edit: 80 calls", "edit 80"),
        ("budget", "give it 20 more calls, please", "edit 26"),
        ("budget", "1,000 calls and 600 seconds", "edit 1000"),
    ],
)
def test_a_program_and_the_budget_are_decided_on_in_words(kind: str, text: str, decided: str) -> None:
    asks = asked(kind)
    [found] = decisions_in(text, asks)
    assert told(found) == decided
    assert read_decisions({"decisions": [found]}, asks)


@pytest.mark.parametrize("kind", ["thoughts", "accept", "budget"])
@pytest.mark.parametrize(
    "text",
    [
        "reject negative numbers",
        "accept negative numbers as well",
        "no recursion please",
        "it fails for the empty list",
        "total([]) should be 0",
        "edit the program so that it loops",
        "thanks",
        "go on",
        "why?",
        "",
    ],
)
def test_a_wish_is_no_decision(kind: str, text: str) -> None:
    assert decisions_in(text, asked(kind)) == []


@pytest.mark.parametrize(
    ("kind", "text", "why"),
    [
        ("thoughts", "reject 4", "There is no thought 4: they are 1 to 3"),
        ("thoughts", "approve 1", "And the others"),
        ("thoughts", "reject 1, edit 1: x", "thought 1 more than once"),
        ("thoughts", "edit: x", "Say which thought you mean"),
        ("thoughts", "edit 2", "Write another text"),
        ("accept", "edit", "Write your program"),
        ("accept", "approve, reject", "more than once"),
        ("accept", "respond", "Write your message"),
        ("budget", "edit: more", "Write the caps"),
    ],
)
def test_a_decision_that_cannot_be_taken_is_told(kind: str, text: str, why: str) -> None:
    with pytest.raises(UsageError, match=why):
        decisions_in(text, asked(kind, 3 if kind == "thoughts" else 1))


async def yes(talk: Talk) -> None:
    """Approves thoughts until something else is asked."""
    while talk.actions[0]["name"] == "thought":
        await talk.say("yes")


async def test_a_person_decides_in_words_where_a_client_has_no_buttons() -> None:
    talk = Talk(0.5, ("thoughts", "budget"), search=THINKS, budget={"calls": 6})
    await talk.say(STATED)
    actions = talk.actions
    assert "1. ann at node 0.0: *" in talk.last
    calls = talk.calls
    await talk.say("why do you ask?")
    assert "answer no questions" in talk.last
    assert "I still wait for your decision on" in talk.last
    assert talk.actions == actions  # It still waits, and buttons work as well.
    await talk.say("reject 9")
    assert talk.last.startswith("I cannot take this decision: There is no thought 9")
    assert talk.actions == actions
    assert talk.calls == calls
    await talk.say("reject 1: too slow")
    rows = (await talk.app.aget_state(THREAD)).values["reviews"][: len(actions)]
    assert [row["decision"] for row in rows] == ["reject"] + ["approve"] * (len(actions) - 1)
    said = [one.content for one in talk.result["messages"] if one.type == "ai"]
    assert any("is pruned: *too slow*" in text for text in said)
    await yes(talk)
    assert talk.actions[0]["args"]["used"].startswith(
        "6 calls, "
    )  # A decision is no message with a budget of its own.
    await talk.say("edit: 3 calls")
    assert "calls is 3 in all, and 6 are used" in talk.last
    await talk.say("2 more calls")
    await yes(talk)
    assert 6 < talk.calls <= 8
    await talk.say("no")
    assert talk.last.startswith("**Not solved**")
    await talk.say("thanks")
    assert "I still wait" not in talk.last
    assert "__interrupt__" not in talk.result
