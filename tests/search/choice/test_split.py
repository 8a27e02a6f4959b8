"""Where programs that pass do different things, an agent is asked once which output is right."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from bdc_agents.agents.protocol import Reply, Request
from bdc_agents.config import Budget, SearchConfig
from bdc_agents.errors import AgentError
from bdc_agents.sandbox import create_executor
from bdc_agents.search import asolve, create_search_graph
from bdc_agents.search.choice.agreement import short_hash
from bdc_agents.search.choice.inputs import further_inputs, shown_input
from bdc_agents.search.choice.split import Question, question, read_expected, settled, votes
from bdc_agents.search.policy.beliefs import Beliefs, Told
from bdc_agents.search.round.calls import Answer, Call
from bdc_agents.testing import ScriptedAgent
from bdc_agents.types import CallTest, Move, Problem, Program, ScriptTest, StdinTest, Trace, Usage

SIZE = Problem(
    id="size",
    statement="The absolute value of a number.",
    entry_point="size",
    public_tests=(CallTest(call="size(3)", expected=("3",)), CallTest(call="size(-3)", expected=("3",))),
)
RIGHT, ALSO, WRONG = "abs(x)", "max(x, -x)", "3"


def program(body: str) -> str:
    return f"```python\ndef size(x):\n    return {body}\n```"


def told(request: Request) -> bool:
    return bool(request.json_schema and "expected" in request.json_schema["properties"])


def knows(request: Request) -> str:
    """The right output for the input that a question shows."""
    call = str(request.messages[-1].content).rpartition("size(")[2].partition(")")[0]
    return json.dumps({"steps": "It is its own size.", "expected": repr(abs(int(call)))})


def agent(name: str, bodies: list[str], answer: Callable[[Request], str] = knows) -> ScriptedAgent:
    left = [*bodies]

    def respond(request: Request) -> str:
        if request.json_schema:
            return answer(request) if told(request) else '{"thoughts": []}'
        return program(left.pop(0) if len(left) > 1 else left[0])

    return ScriptedAgent(name, respond)


async def search(*agents: ScriptedAgent, budget: Budget | None = None, **settings: Any) -> Trace:
    executor = create_executor()
    try:
        config = SearchConfig(**settings)
        return await asolve(SIZE, list(agents), executor=executor, search=config, budget=budget)
    finally:
        await executor.aclose()


@pytest.mark.parametrize("bodies", [(WRONG, RIGHT), (RIGHT, WRONG)])
async def test_one_question_decides_between_two_programs(bodies: tuple[str, str]) -> None:
    ann, bob = agent("ann", [bodies[0]]), agent("bob", [bodies[1]])
    trace = await search(ann, bob, budget=Budget(calls=3))
    assert RIGHT in trace.solution.code
    asked = [call for call in trace.calls if call.purpose == "split"]
    assert len(asked) == 1
    assert asked[0].move
    assert asked[0].move.kind == "split"
    assert sum(used.calls for used in trace.solution.usage.values()) == 3
    [request] = [one for one in (*ann.requests, *bob.requests) if told(one)]
    prompt = str(request.messages)
    assert "def size" not in prompt
    assert RIGHT not in prompt
    assert trace.split
    assert trace.split.agent == asked[0].agent
    assert trace.split.input in prompt
    right = next(key for key, one in trace.programs.items() if RIGHT in one.code)
    assert trace.split.answers[trace.split.fits] == (right,)
    assert trace.split.weight > 0
    [note] = [one for one in trace.solution.notes if "differ" in one]
    assert "size(" in note
    assert f"{asked[0].agent} expects {trace.split.expected}, as 1 of 2 give" in note
    assert Trace.model_validate_json(trace.model_dump_json()) == trace
    assert trace.beliefs["counts"][f"split//{asked[0].agent}"] == (0, 0, 0, 1)


@pytest.mark.parametrize(("reply", "outcome"), [('{"expected": "12345"}', 1), ("I do not know", 0)])
async def test_an_answer_that_no_program_gives_changes_nothing_and_is_learnt_of(
    reply: str, outcome: int
) -> None:
    team = [agent(name, [body], lambda _: reply) for name, body in (("ann", WRONG), ("bob", RIGHT))]
    trace = await search(*team, budget=Budget(calls=3))
    assert trace.split
    assert (trace.split.fits, trace.split.weight) == ("", 0)
    row = next(row for key, row in trace.beliefs["counts"].items() if key.startswith("split"))
    assert row[outcome] == 1


async def test_nobody_is_asked_twice_nor_where_programs_agree() -> None:
    team = [agent("ann", [WRONG, RIGHT, WRONG, ALSO], lambda _: "{}"), agent("bob", [RIGHT, WRONG, RIGHT])]
    trace = await search(*team, budget=Budget(calls=8), confirm=5)
    assert [call.purpose for call in trace.calls].count("split") == 1
    same = [agent("ann", [RIGHT]), agent("bob", [ALSO])]
    trace = await search(*same)
    assert trace.solution.stopped_by == "solved"
    assert "split" not in [call.purpose for call in trace.calls]
    assert trace.split is None


@pytest.mark.parametrize(
    "settings", [{"split": False}, {"policy": "paper", "rollouts": 3}, {"policy": "best-of-n", "rollouts": 6}]
)
async def test_other_policies_ask_nothing(settings: dict[str, Any]) -> None:
    trace = await search(agent("ann", [WRONG]), agent("bob", [RIGHT]), budget=Budget(calls=6), **settings)
    assert "split" not in [call.purpose for call in trace.calls]


async def test_a_policy_that_asks_where_nothing_is_in_question_ends_the_search() -> None:
    def policy(*_: Any) -> list[Move]:
        return [Move(kind="split", agent="ann", node="0")]

    executor = create_executor()
    try:
        graph = create_search_graph([agent("ann", [RIGHT])], executor=executor, policy=policy).compile()
        state = await graph.ainvoke({"problem": SIZE})
    finally:
        await executor.aclose()
    assert state["solution"]["stopped_by"] == "exhausted"


async def test_an_agent_that_fails_is_not_taken_for_one_that_is_wrong() -> None:
    def fails(_: Request) -> str:
        raise AgentError("ann", "busy")

    team = [agent("ann", [WRONG], fails), agent("bob", [RIGHT], fails)]
    trace = await search(*team, budget=Budget(calls=12))
    assert trace.split is None
    assert not any(key.startswith("split") for key in trace.beliefs["counts"])


def passing(*behaviours: str) -> dict[str, Program]:
    return {
        str(number): Program(code="", agent="ann", behaviour=tuple(one))
        for number, one in enumerate(behaviours)
    }


def test_the_input_that_divides_attempts_most_evenly_is_asked_about() -> None:
    inputs = further_inputs(SIZE)
    some = "a" * len(inputs)
    programs = passing("b" + some[1:], "bc" + some[2:], some, some)
    asked = question(SIZE, programs, dict.fromkeys(programs, 1.0))
    assert asked
    assert asked.place == 0
    assert asked.answers == {"b": ("0", "1"), "a": ("2", "3")}
    assert asked.text == shown_input(inputs[0])
    assert question(SIZE, passing(some, some), {"0": 1, "1": 1}) is None
    refusing = {"0": programs["2"], "1": Program(code="", agent="ann", behaviour=("error",) * len(inputs))}
    assert question(SIZE, refusing, {"0": 1, "1": 1}) is None, "an input that one refuses may be none"


@pytest.mark.parametrize(
    ("reply", "actual"),
    [
        ('{"steps": "...", "expected": "[1, 2]"}', "[1, 2]"),
        ('{"expected": [1, 2]}', "[1, 2]"),
        ('{"expected": [1, 2]}', "(1, 2)"),
        ('{"expected": true}', "True"),
        ('{"expected": "true"}', "'true'"),
        ('{"expected": 2}', "2.0"),
        ('{"expected": "abc"}', "'abc'"),
        ('{"expected": "\'abc\'"}', "'abc'"),
        ('So it is\n```json\n{"expected": "6"}\n```', "6\n"),
        ('{"expected": "None"}', "None"),
    ],
)
def test_an_answer_is_read_as_it_is_meant(reply: str, actual: str) -> None:
    call = Call(agent="ann", purpose="split", node="0", request=Request(messages=()))
    expected = read_expected(Answer(call=call, reply=Reply(text=reply, usage=Usage())))
    asked = Question(0, "size(1)", {short_hash(actual): ("a",), "other": ("b",)})
    assert settled(asked, "ann", expected, 0.5).fits == short_hash(actual)


@pytest.mark.parametrize("reply", ["", "no", "[]", '{"expected": null}', '{"output": 3}'])
def test_what_holds_no_answer_fits_nothing(reply: str) -> None:
    call = Call(agent="ann", purpose="split", node="0", request=Request(messages=()))
    assert read_expected(Answer(call=call, reply=Reply(text=reply, usage=Usage()))) == ""
    assert settled(Question(0, "", {short_hash(""): ("a",)}), "ann", "", 0.9).fits == ""


def test_an_answer_counts_as_much_as_those_before_it_were_worth() -> None:
    asked = Question(0, "size(1)", {short_hash("1"): ("0",), short_hash("2"): ("1",)})
    weights = [settled(asked, "ann", "1", accuracy).weight for accuracy in (0.1, 0.3, 0.5, 0.8, 0.95)]
    assert weights[0] == 0, "no better than chance"
    assert weights == sorted(weights)
    assert 0.5 < weights[2] < 1 < weights[3]
    programs = {
        "0": Program(code="", agent="", behaviour=(short_hash("1"),)),
        "1": Program(code="", agent="", behaviour=(short_hash("2"),)),
        "2": Program(code="", agent="", behaviour=("error",)),
        "3": Program(code="", agent=""),
    }
    split = settled(asked, "ann", "1", 0.8)
    assert votes(split, programs) == {"0": split.weight, "1": -split.weight}
    assert votes(None, programs) == {}


async def test_the_agent_whose_answers_fit_more_often_is_asked() -> None:
    known = Beliefs().tell([Told("split", "bob", "", "pass")] * 20 + [Told("split", "ann", "", "wrong")] * 20)
    team = [agent("ann", [WRONG]), agent("bob", [RIGHT])]
    trace = await search(*team, beliefs=known.model_dump(mode="json"), budget=Budget(calls=3))
    assert trace.split
    assert trace.split.agent == "bob"
    assert trace.split.weight > 1


@pytest.mark.parametrize(
    ("test", "shown"),
    [
        (CallTest(call="f([1, 2])", expected=("3",)), "f(["),
        (CallTest(call="f([1, 2])", setup="class A: pass", expected=("3",)), "class A"),
        (ScriptTest(code="box = Box()\nbox.add(3)\nassert box.total() == 3"), "box.add("),
        (StdinTest(stdin="3\n1 2 3\n", expected=("6",)), "\n"),
    ],
)
def test_inputs_are_shown_without_what_only_compares_them(test: Any, shown: str) -> None:
    asked = Problem(statement="class Box: do it.", entry_point="f", public_tests=(test,))
    if isinstance(test, StdinTest):
        asked = asked.model_copy(update={"entry_point": None})
    for one in further_inputs(asked):
        text = shown_input(one)
        assert shown in text
        assert "as_data" not in text
