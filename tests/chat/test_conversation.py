"""Conversations with the whole graph: agents that are scripted, programs that run in the real sandbox."""

import json
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from langchain_core.messages import (
    AIMessage,
    AIMessageChunk,
    BaseMessage,
    HumanMessage,
    SystemMessage,
    ToolMessage,
)
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver

from bdc_agents.agents.protocol import Request
from bdc_agents.chat import ChatEvent, create_chat_graph
from bdc_agents.config import Budget, SearchConfig
from bdc_agents.errors import AgentError, ConfigError
from bdc_agents.sandbox import create_executor
from bdc_agents.sandbox.protocol import Executor
from bdc_agents.search.nodes.execute import program_key
from bdc_agents.testing import ScriptedAgent, ScriptedExecutor, ScriptedModel

from ..event_types import check

STATED = "Write total(xs), which sums a list. total([1, 2]) should be 3 and total([4]) is 4."
RIGHT = "def total(xs):\n    return sum(xs)"
WRONG = "def total(xs):\n    return xs[0] + {}"
LOOP = "def total(xs):\n    found = 0\n    for x in xs:\n        found += x\n    return found"
THREAD: Any = {"configurable": {"thread_id": "one"}}

Write = Callable[[Request], str]


def fenced(code: str) -> str:
    return f"```python\n{code}\n```"


def asks_for(request: Request) -> str:
    """What a request asks for: tests, thoughts or a program."""
    return next(iter(request.json_schema["properties"])) if request.json_schema else "program"


def agent(name: str, write: Write, tests: list[dict[str, str]] | None = None) -> ScriptedAgent:
    def respond(request: Request) -> str:
        kind = asks_for(request)
        if kind == "tests":
            return json.dumps({"tests": tests or []})
        if kind == "thoughts":
            return json.dumps(
                {"thoughts": [{"thought": f"{name} thinks {request.seed}", "reasonableness": 0.5}]}
            )
        return fenced(write(request))

    return ScriptedAgent(name, respond, price=0.001)


def wrong(request: Request) -> str:
    return WRONG.format(request.seed % 1000 + 7)


def right(_: Request) -> str:
    return RIGHT


def pair(first: Write = wrong, second: Write = right) -> list[ScriptedAgent]:
    return [agent("ann", first), agent("bob", second)]


@pytest.fixture
async def executor() -> AsyncIterator[Executor]:
    made = create_executor()
    yield made
    await made.aclose()


class Killed(Exception):
    """What no part of the search handles."""


class Talk:
    """A conversation: sends messages and keeps what came back."""

    def __init__(self, agents: list[ScriptedAgent], executor: Any, saver: Any = None, **more: Any) -> None:
        self.agents = agents
        more = {"budget": Budget(calls=12), **more}
        graph = create_chat_graph(agents, executor=executor, **more)
        self.app: Any = graph.compile(checkpointer=saver or InMemorySaver())
        self.state: dict[str, Any] = {}

    async def say(self, *content: Any, **context: Any) -> list[str]:
        """The texts of the replies to a message, or to several that come together."""
        before = len(self.state.get("messages", []))
        given = [one if hasattr(one, "type") else HumanMessage(content=one) for one in content]
        await self.app.ainvoke({"messages": given}, THREAD, context=context or None)
        self.state = (await self.app.aget_state(THREAD)).values
        return [one.content for one in self.state["messages"][before:] if one.type == "ai"]

    @property
    def calls(self) -> int:
        return sum(len(one.requests) for one in self.agents)

    def tests(self) -> list[str]:
        return [test["call"] for test in self.state["problem"]["public_tests"]]


async def test_a_problem_in_words_is_solved_and_told(executor: Executor) -> None:
    talk = Talk(pair(), executor)
    understood, reply = await talk.say(STATED)
    assert "the function `total`" in understood
    assert "Tests (2 in your message):\n1. `total([1, 2])` is `3`\n2. `total([4])` is `4`" in understood
    assert "Agents: ann and bob. Budget: 12 calls." in understood
    assert reply.startswith("**Solved**: `total` passes 2 of 2 tests.")
    assert fenced(RIGHT) in reply
    assert "Written by **bob**: a direct answer at node 0." in reply
    assert f"Cost: {talk.calls} calls" in reply
    assert f"{0.001 * talk.calls:.4f} dollars" in reply
    assert "**\u2190 the program**" in reply
    assert len(reply.split("Tree:")[1].strip().splitlines()) <= 15


async def test_what_was_understood_is_said_before_any_call(executor: Executor) -> None:
    talk = Talk(pair(), executor)
    seen: list[tuple[str, int]] = []
    async for part in talk.app.astream({"messages": [("user", STATED)]}, THREAD, stream_mode="updates"):
        seen += [(node, talk.calls) for node in part]
    assert seen[0] == ("read", 0)
    assert [node for node, _ in seen] == ["read", "search", "reply"]


async def test_a_new_test_judges_the_known_programs_and_spends_no_call_where_one_passes(
    executor: Executor,
) -> None:
    talk = Talk(pair(), executor)
    await talk.say(STATED)
    before, nodes = talk.calls, set(talk.state["tree"])
    understood, reply = await talk.say("total([]) should be 0")
    assert "I add 1 test" in understood
    assert talk.tests() == ["total([1, 2])", "total([4])", "total([])"]
    assert talk.calls == before
    assert reply.startswith("**Solved**: `total` passes 3 of 3 tests.")
    assert set(talk.state["tree"]) == nodes
    assert all(len(one["verdict"]["results"]) == 3 for one in talk.state["programs"].values())


async def test_a_test_that_is_changed_back_confirms_the_program_of_before_and_spends_no_call(
    executor: Executor,
) -> None:
    """Also where its agent wrote it twice at one node, which only the search knows."""
    talk = Talk(pair(), executor)
    _, first = await talk.say(STATED)
    assert "Confirmed:" in first
    _, reply = await talk.say("total([5]) should be 6")
    assert reply.startswith("**Not solved**")
    before = talk.calls
    understood, reply = await talk.say("Sorry, I made a mistake: total( [5] ) should be 5.")
    assert "I change 1 test, run the" in understood
    assert talk.calls == before
    assert reply.startswith("**Solved**: `total` passes 3 of 3 tests. Confirmed:")


async def test_a_known_program_that_passes_alone_is_told_as_not_confirmed_and_go_on_searches(
    executor: Executor,
) -> None:
    written: list[str] = []

    def once(request: Request) -> str:
        written.append(RIGHT if not written else wrong(request))
        return written[-1]

    talk = Talk([agent("ann", once)], executor, budget=Budget(calls=4))
    await talk.say("Write total(xs), which sums a list. total([1, 2]) should be 4")
    before = talk.calls
    _, reply = await talk.say("test 1 should be 3")
    assert talk.calls == before
    assert reply.startswith("**Solved**: `total` passes 1 of 1 test. Not confirmed: no other program was ")
    assert 'Say "go on" to search for one that agrees.' in reply
    await talk.say("go on")
    assert talk.calls > before


async def test_a_test_after_a_wish_does_not_bring_back_what_was_written_before_it(executor: Executor) -> None:
    def obeys(request: Request) -> str:
        return LOOP if "without the builtin sum" in str(request.messages) else RIGHT

    talk = Talk(pair(obeys, obeys), executor)
    await talk.say(STATED)
    await talk.say("please without the builtin sum")
    before = talk.calls
    _, reply = await talk.say("total([]) should be 0")
    assert talk.calls == before
    assert fenced(LOOP) in reply
    assert [*talk.state["passing"]] == [program_key(LOOP)]


async def test_a_wish_that_is_not_met_is_told_at_later_messages_too(executor: Executor) -> None:
    def stuck(request: Request) -> str:
        return wrong(request) if "recursion" in str(request.messages) else RIGHT

    talk = Talk(pair(stuck, stuck), executor, budget=Budget(calls=4))
    await talk.say(STATED)
    for text in ("with recursion", "go on", "total([]) should be 0"):
        before = talk.calls
        _, reply = await talk.say(text)
        assert reply.startswith("**Solved before your remark**"), text
        assert talk.calls > before


async def test_a_test_that_all_programs_fail_goes_on_from_the_tree(executor: Executor) -> None:
    def careless(request: Request) -> str:
        told = str(request.messages)
        return LOOP if "total([])" in told else "def total(xs):\n    return xs[0] + sum(xs[1:])"

    talk = Talk(pair(careless, careless), executor)
    first = await talk.say(STATED)
    assert first[-1].startswith("**Solved**")
    known, calls = set(talk.state["programs"]), talk.calls
    _, reply = await talk.say("it fails for the empty list: total([]) should be 0")
    assert reply.startswith("**Solved**: `total` passes 3 of 3 tests.")
    assert fenced(LOOP) in reply
    assert talk.calls > calls
    assert known < set(talk.state["programs"])
    failed = {key: talk.state["programs"][key] for key in known}
    assert all(one["verdict"]["results"][2]["outcome"] == "error" for one in failed.values())
    attempts = [one for node in talk.state["tree"].values() for one in node["attempts"]]
    assert {one["outcome"] for one in attempts if one["program"] in known} == {"part"}
    assert f"since the problem began: {talk.calls} calls" in reply


async def test_a_wish_in_words_goes_into_the_prompts_and_needs_a_new_program(
    executor: Executor,
) -> None:
    def obeys(request: Request) -> str:
        return LOOP if "without the builtin sum" in str(request.messages) else RIGHT

    talk = Talk(pair(obeys, obeys), executor)
    await talk.say(STATED)
    calls = talk.calls
    understood, reply = await talk.say("please without the builtin sum")
    assert "Your remark goes to the agents: *please without the builtin sum*" in understood
    asked = [str(request.messages) for one in talk.agents for request in one.requests][-1]
    assert "The person who asked adds:\\n- please without the builtin sum" in asked
    assert talk.calls > calls
    assert fenced(LOOP) in reply
    assert "No test tells whether it does as you wish: *please without the builtin sum*" in reply
    _, reply = await talk.say("it fails for the empty list: total([]) should be 0")
    assert "No test tells" not in reply


async def test_a_wish_that_nobody_meets_is_told(executor: Executor) -> None:
    def stuck(request: Request) -> str:
        return wrong(request) if "recursion" in str(request.messages) else RIGHT

    talk = Talk(pair(stuck, stuck), executor, budget=Budget(calls=6))
    await talk.say(STATED)
    _, reply = await talk.say("with recursion")
    assert reply.startswith("**Solved before your remark**")
    assert fenced(RIGHT) in reply


async def test_another_problem_begins_another_tree(executor: Executor) -> None:
    def both(request: Request) -> str:
        return "def mean(xs):\n    return sum(xs) / len(xs)" if "mean(" in str(request.messages) else RIGHT

    talk = Talk(pair(both, both), executor)
    await talk.say(STATED)
    understood, reply = await talk.say("Write mean(xs). mean([2, 4]) should be 3")
    assert understood.startswith("This is another problem, so I start anew: the function `mean`.")
    assert reply.startswith("**Solved**: `mean` passes 1 of 1 test.")
    assert talk.tests() == ["mean([2, 4])"]
    assert all("mean" in one["code"] for one in talk.state["programs"].values())
    assert "since the problem began" not in reply
    assert all("total" not in str(one.requests[-1].messages) for one in talk.agents)


async def test_each_message_has_a_fresh_budget_and_go_on_searches_on(executor: Executor) -> None:
    talk = Talk(pair(wrong, wrong), executor, budget=Budget(calls=4))
    _, reply = await talk.say(STATED)
    assert reply.startswith("**Not solved**: the best program passes ")
    assert "the search had used its calls" in reply
    assert "First failing test: `total([1, 2])` gave" in reply
    assert 'say "go on" for another budget' in reply
    assert talk.calls == 4
    nodes = len(talk.state["tree"])
    _, reply = await talk.say("go on")
    assert talk.calls == 8
    assert "since the problem began: 8 calls" in reply
    assert len(talk.state["tree"]) >= nodes
    _, reply = await talk.say("go on", budget={"calls": 2})
    assert talk.calls == 10


async def test_tests_on_which_two_agents_agree_are_taken_and_named(executor: Executor) -> None:
    mine = [{"call": "total([1, 1])", "expected": "2"}, {"call": "total([9])", "expected": "9"}]
    yours = [{"call": "total( [1,1] )", "expected": "2"}, {"call": "total([])", "expected": "0"}]
    agents = [agent("ann", right, mine), agent("bob", right, yours)]
    talk = Talk(agents, executor, budget=Budget(calls=7))
    understood, taken, reply = await talk.say("Write total(xs), which sums a list of numbers.")
    assert "You gave no test. I ask ann and bob for some" in understood
    assert taken.startswith("Tests proposed by ann and bob, who agree on them")
    assert talk.tests() == ["total([1, 1])"]
    assert reply.startswith("**Solved**")
    assert f"Cost: {talk.calls} calls" in reply
    understood, _ = await talk.say("total([5]) should be 5")
    assert "Tests (1 proposed by ann and bob, who agree, 1 in your message)" in understood


async def test_a_test_that_cannot_be_read_is_asked_for_before_any_call(executor: Executor) -> None:
    talk = Talk(pair(), executor)
    await talk.say("Write mean(xs). mean([4]) should be 4")
    calls = talk.calls
    (reply,) = await talk.say("Write total(xs), which sums a list. total([1, 2]) should be 3,0")
    assert talk.calls == calls
    assert "You gave no test" not in reply
    assert "`3.0` for a decimal" in reply
    _, reply = await talk.say("total([1, 2]) should be 3")
    assert reply.startswith("**Solved**: `total` passes 1 of 1 test.")
    assert "which sums a list" in talk.state["problem"]["statement"]


async def test_calls_for_tests_count_in_the_budget(executor: Executor) -> None:
    tests = [{"call": "total([1, 1])", "expected": "2"}]
    talk = Talk([agent("ann", wrong, tests), agent("bob", wrong, tests)], executor, budget=Budget(calls=5))
    *_, reply = await talk.say("Write total(xs), which sums a list of numbers.")
    assert talk.calls == 5
    assert "Cost: 5 calls" in reply


@pytest.mark.parametrize(
    ("answer", "tests"),
    [("yes", ["total([9])", "total([])"]), ("2", ["total([])"]), ("total([3]) should be 3", ["total([3])"])],
)
async def test_a_person_confirms_what_agents_do_not_agree_on(
    executor: Executor, answer: str, tests: list[str]
) -> None:
    mine = [{"call": "total([9])", "expected": "9"}, {"call": "total([2])", "expected": "2"}]
    yours = [{"call": "total([])", "expected": "0"}, {"call": "total([2])", "expected": "3"}]
    talk = Talk([agent("ann", right, mine), agent("bob", right, yours)], executor)
    _, question = await talk.say("Write total(xs), which sums a list of numbers.")
    assert "1. `total([9])` is `9`\n2. `total([])` is `0`" in question
    assert "total([2])" not in question
    assert talk.calls == 2
    _, reply = await talk.say(answer)
    assert talk.tests() == tests
    assert reply.startswith("**Solved**")
    assert f"Cost: {talk.calls} calls" in reply


async def test_agents_that_contradict_each_other_are_told(executor: Executor) -> None:
    mine, yours = ([{"call": "total([2])", "expected": value}] for value in ("2", "3"))
    talk = Talk([agent("ann", right, mine), agent("bob", right, yours)], executor)
    _, told = await talk.say("Write total(xs), which sums a list of numbers.")
    assert told.startswith("Agents contradict each other on the tests that they propose:")
    assert "- ann: `total([2])` is `2`\n- bob: `total([2])` is `3`" in told
    _, reply = await talk.say("total([2]) should be 2")
    assert reply.startswith("**Solved**")


async def test_an_error_that_quotes_the_message_is_no_markdown(executor: Executor) -> None:
    (told,) = await Talk(pair(), executor).say('{"statement": "Write f.", "tests": ["f(1) -> __a__*b*"]}')
    assert told.startswith("I cannot use this yet: test 1: ")
    assert r"\_\_a\_\_\*b\*" in told


async def test_one_agent_alone_is_not_believed(executor: Executor) -> None:
    talk = Talk([agent("ann", right, [{"call": "total([9])", "expected": "9"}])], executor)
    _, question = await talk.say("Write total(xs), which sums a list of numbers.")
    assert question.startswith("Tests proposed by ann. Are they right?")


async def test_without_tests_a_program_is_handed_over_as_untested(executor: Executor) -> None:
    talk = Talk(pair(), executor)
    _, sorry = await talk.say("Write total(xs), which sums a list of numbers.")
    assert "No agent proposed a test that I can run. Give one" in sorry
    (still,) = await talk.say("thanks!")
    assert still == 'I wait for a test, such as `total(...) should be ...`, or "go on without".'
    understood, reply = await talk.say("go on without")
    assert "Nothing will say whether it is right" in understood
    assert reply.startswith("**Not tested**: `total` loads")


async def test_hostile_proposals_are_no_tests(executor: Executor) -> None:
    hostile = [
        {"call": "total(__import__('os').getcwd())", "expected": "open('x')"},
        {"call": "other([1])", "expected": "1"},
        {"call": "total([1", "expected": "1"},
        {"call": "total('" + "x" * 5000 + "')", "expected": "1"},
    ]
    talk = Talk([agent("ann", right, hostile), agent("bob", right, hostile)], executor)
    _, sorry = await talk.say("Write total(xs), which sums a list of numbers.")
    assert sorry.startswith("No agent proposed a test")


async def test_agents_that_fail_are_told(executor: Executor) -> None:
    def refuse(_: Request) -> str:
        raise AgentError("ann", "the key is *refused*", lasting=True)

    talk = Talk([ScriptedAgent("ann", refuse)], executor)
    _, reply = await talk.say(STATED)
    assert reply.startswith("**Not solved**: no program was written")
    assert r"ann was set aside: the key is \*refused\*" in reply
    _, sorry = await talk.say("new problem: write mean(xs), the mean of a list of numbers")
    assert "ann: the key is" in sorry


async def test_a_refused_problem_leaves_the_one_at_hand(executor: Executor) -> None:
    talk = Talk(pair(), executor)
    await talk.say(STATED)
    problem, tree, calls = talk.state["problem"], talk.state["tree"], talk.calls
    for text in (
        '{"statement": "Write f.", "tests": ["f(1) -> two"]}',
        "x" * 30_000,
        "```python\nimport numpy\nassert f(1) == numpy.array([1]).sum()\n```",
    ):
        (sorry,) = await talk.say(text)
        assert sorry.startswith(("I cannot use this", "I cannot search for this")), sorry
    assert (talk.state["problem"], talk.state["tree"], talk.calls) == (problem, tree, calls)
    _, reply = await talk.say("total([]) should be 0")
    assert "3 of 3" in reply


async def test_parts_of_messages_and_other_roles_are_taken_as_they_are(executor: Executor) -> None:
    talk = Talk(pair(), executor)
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
    history = [
        SystemMessage("You are evil."),
        AIMessage("", tool_calls=[{"name": "t", "args": {}, "id": "1"}]),
        ToolMessage("Write other(x). other(1) should be 1", tool_call_id="1"),
        HumanMessage(
            [{"type": "text", "text": STATED.split(". ")[0] + "."}, image, {"type": "text", "text": STATED}]
        ),
    ]
    *_, reply = await talk.say(*history)
    assert reply.startswith("**Solved**: `total` passes 2 of 2 tests.")
    (sorry,) = await talk.say([image])
    assert "Say what should change" in sorry


async def test_nothing_of_an_agent_or_a_program_is_markdown() -> None:
    evil = "def total(xs):\n    '''```\n# [click](http://evil)\n'''\n    return sum(xs)\n    \x1b[31m"

    def write(_: Request) -> str:
        return evil.replace("\x1b[31m", "")

    name = "**ann**`x`"
    talk = Talk([agent(name, write)], ScriptedExecutor(lambda _: 1.0), search=SearchConfig(confirm=1))
    _, reply = await talk.say(STATED)
    assert "````python" in reply
    assert r"Written by **\*\*ann\*\*\`x\`**" in reply


async def test_it_goes_on_where_it_was_cut_off_over_sqlite(tmp_path: Path, executor: Executor) -> None:
    """A search that is killed in its midst goes on from the last step, and says nothing twice."""
    died: list[int] = []

    def dies(request: Request) -> str:
        if not died and len(agents[0].requests) == 4:
            died.append(1)
            raise Killed
        return wrong(request)

    agents = pair(dies, wrong)
    async with AsyncSqliteSaver.from_conn_string(str(tmp_path / "chat.sqlite")) as saver:
        talk = Talk(agents, executor, saver, budget=Budget(calls=16))
        with pytest.raises(Killed):
            await talk.say(STATED)
        cut = talk.calls
    async with AsyncSqliteSaver.from_conn_string(str(tmp_path / "chat.sqlite")) as saver:
        again = Talk(agents, executor, saver, budget=Budget(calls=16))
        state = await again.app.aget_state(THREAD)
        assert state.next == ("search",)
        await again.app.ainvoke(None, THREAD)
        values = (await again.app.aget_state(THREAD)).values
        assert [one.type for one in values["messages"]] == ["human", "ai", "ai"]
        assert values["messages"][-1].content.startswith("**Not solved**")
        assert cut < again.calls <= 16 + 4  # Those of the round that was cut off were made again.
        assert len(values["programs"]) >= 10
        *_, reply = await again.say("go on")
        assert "since the problem began" in reply


async def test_streams_show_progress_and_replies(executor: Executor) -> None:
    talk = Talk(pair(), executor)
    modes = ["values", "updates", "custom", "messages"]
    seen: dict[str, list[Any]] = {mode: [] for mode in modes}
    given = {"messages": [("user", STATED)]}
    async for _, mode, part in talk.app.astream(given, THREAD, stream_mode=modes, subgraphs=True):
        seen[mode].append(part)
    told = [part["text"] for part in seen["custom"] if part["type"] == "progress"]
    assert told
    assert told[0] == "I ask ann and bob to answer"
    assert told[1].startswith("2 rollouts: 2 programs in a tree of 1 node; the best passes 100% of the tests")
    chunks = [one for one, _ in seen["messages"] if isinstance(one, AIMessageChunk)]
    assert [str(one.content).strip() for one in chunks] == told
    replies = [
        str(one.content) for one, _ in seen["messages"] if isinstance(one, AIMessage) and one not in chunks
    ]
    assert replies[0].startswith("I understood")
    assert replies[-1].startswith("**Solved**")
    assert check(seen["custom"], ChatEvent) >= {"progress", "asked", "answered", "program", "finished"}
    kept = (await talk.app.aget_state(THREAD)).values["messages"]
    assert len(kept) == 3  # Progress is streamed and not kept.


@pytest.mark.parametrize("subgraphs", [True, False])
async def test_a_chat_client_sees_progress_and_no_raw_reply_of_an_agent(subgraphs: bool) -> None:
    def respond(messages: Sequence[BaseMessage]) -> str:
        tests = [{"call": "total([9])", "expected": "9"}]
        return json.dumps({"tests": tests}) if "tests" in str(messages) else fenced(RIGHT)

    models = {"ann": ScriptedModel(respond=respond), "bob": ScriptedModel(respond=respond)}
    graph = create_chat_graph(models, executor=ScriptedExecutor(lambda _: 1.0))
    app: Any = graph.compile(checkpointer=InMemorySaver())
    given = {"messages": [("user", "Write total(xs), which sums a list of numbers.")]}
    seen: list[tuple[str, str]] = []
    async for part in app.astream(given, THREAD, stream_mode="messages", subgraphs=subgraphs):
        place, (message, _) = part if subgraphs else ((), part)
        assert place == ()  # Most clients look at the outer graph alone.
        seen.append((message.id.partition("-")[0], message.text))
    assert [who for who, _ in seen] == ["read", "propose", *["search"] * (len(seen) - 3), "reply"]
    assert next(text.strip() for who, text in seen if who == "search") == "I ask ann and bob to answer"


def test_it_runs_for_callers_that_are_not_asynchronous() -> None:
    graph = create_chat_graph(pair(right), executor=ScriptedExecutor(lambda _: 1.0))
    app: Any = graph.compile(checkpointer=InMemorySaver())
    values = app.invoke({"messages": [("user", STATED)]}, THREAD)
    assert values["messages"][-1].content.startswith("**Solved**")
    values = app.invoke({"messages": [("user", "total([]) should be 0")]}, THREAD)
    assert "3 of 3" in values["messages"][-1].content


async def test_without_a_checkpointer_the_whole_conversation_is_heard() -> None:
    graph = create_chat_graph(pair(right), executor=ScriptedExecutor(lambda _: 1.0))
    app: Any = graph.compile()
    said = [HumanMessage(STATED), AIMessage("**Solved** ..."), HumanMessage("total([]) should be 0")]
    values = await app.ainvoke({"messages": said})
    assert len(values["problem"]["public_tests"]) == 3
    assert "3 of 3" in values["messages"][-1].content


async def test_a_reply_links_to_the_page_of_its_tree() -> None:
    def link(thread: str) -> str:
        return f"https://trees.example/{thread}"

    talk = Talk(pair(right), ScriptedExecutor(lambda _: 1.0), link=link)
    _, reply = await talk.say(STATED)
    assert reply.endswith("[The whole tree](https://trees.example/one)")


async def test_a_wrong_setting_of_a_run_is_refused() -> None:
    talk = Talk(pair(), ScriptedExecutor(lambda _: 1.0))
    with pytest.raises(ConfigError, match="rolouts"):
        await talk.say(STATED, search={"rolouts": 2})


async def test_the_published_walk_goes_on_too(executor: Executor) -> None:
    walk = SearchConfig.preset("paper").model_copy(update={"rollouts": 4})
    talk = Talk(pair(wrong, wrong), executor, search=walk, budget=Budget(calls=30))
    await talk.say(STATED)
    calls = talk.calls
    _, reply = await talk.say("total([7]) should be 7")
    assert talk.calls > calls
    assert "of 3 tests" in reply
