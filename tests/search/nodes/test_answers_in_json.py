"""What the search reads from answers in JSON, whatever is wrapped around it."""

import pytest

from bdc_agents.agents.protocol import Reply, Request
from bdc_agents.config import SearchConfig
from bdc_agents.search.choice.llm_judge import read_score
from bdc_agents.search.choice.self_tests import agree, read_tests, self_test_calls
from bdc_agents.search.nodes.expand import read_thoughts
from bdc_agents.search.round.calls import Answer, Call
from bdc_agents.types import CallTest, Problem, StdinTest, Usage


def answered(text):
    call = Call(agent="a", purpose="expand", node="0", request=Request(messages=()))
    return Answer(call=call, reply=Reply(text=text, usage=Usage()))


@pytest.mark.parametrize(
    "text",
    [
        '{"thoughts": [{"thought": "Sort first", "reasonableness": 0.8}]}',
        '[{"thought": "Sort first", "reasonableness": "80%"}]',
        '{"thought": "Sort first", "reasonableness": "0.8"}',
        '{"response": {"Thoughts": [{"Thought": "Sort first", "Rating": 0.8}]}}',
        '{"name": "answer", "arguments": "{\\"thoughts\\": [{\\"thought\\": \\"Sort first\\", '
        '\\"rating\\": 0.8}]}"}',
        '{"1": {"thought": "Sort first", "reasonableness": 0.8}}',
        '{"ideas": [{"thought": "Sort first", "reasonableness": 80%}]}',
        '"{\\"thoughts\\": [{\\"thought\\": \\"Sort first\\", \\"reasonableness\\": 0.8}]}"',
    ],
)
def test_thoughts_in_wrappings(text):
    (thought,) = read_thoughts(answered(text), 3)
    assert (thought.text, thought.prior) == ("Sort first", 0.8)


@pytest.mark.parametrize(
    "text", ['{"error": "rate limited"}', '"words"', "5", '{"thoughts": []}', '{"errors": ["one", "two"]}']
)
def test_no_thoughts(text):
    assert read_thoughts(answered(text), 3) == ()


@pytest.mark.parametrize(
    "text",
    [
        '{"score": 0.7}',
        '{"Score": "0.7"}',
        '[{"score": 0.7}]',
        '{"result": {"score": "7/10"}}',
        "0.7",
        '{"score": 70%}',
        '{"json": "{\\"score\\": 0.7}"}',
        'Score first {"score": 0.2}, then {"score": 0.7}',
    ],
)
def test_scores_in_wrappings(text):
    assert read_score(answered(text)) == pytest.approx(0.7)


def test_tests_whose_values_are_no_texts():
    calls = '{"call": "f(1)", "expected": 2}, {"call": "f(2)", "expected": [true, null]}'
    text = f'{{"tests": [{calls}, {{"call": "g"}}]}}'
    assert read_tests(answered(text)) == [
        CallTest(call="f(1)", expected=("2",)),
        CallTest(call="f(2)", expected=("[True, None]",)),
    ]
    text = '[{"stdin": ["2", "1 2"], "expected": 3}, {"stdin": 5, "expected": "5\n"}]'
    assert read_tests(answered(text)) == [
        StdinTest(stdin="2\n1 2", expected=("3",)),
        StdinTest(stdin="5", expected=("5\n",)),
    ]


@pytest.mark.parametrize(("entry_point", "given"), [(None, "stdin"), ("double", "call")])
def test_tests_are_asked_for_as_the_problem_takes_them(entry_point, given):
    problem = Problem(id="p", statement="Double a number.", entry_point=entry_point)
    (call,) = self_test_calls(problem, ["ann"], SearchConfig())
    asked = call.request.json_schema["properties"]["tests"]
    assert set(asked["items"]["properties"]) == {given, "expected"}
    assert 1 < asked["maxItems"] < 20


def test_of_contradicting_tests_the_one_of_most_agents_is_used():
    six, seven = (CallTest(call="double(3)", expected=(value,)) for value in ("6", "7"))
    other = CallTest(call="double(0)", expected=("0",))
    assert agree([[six], [six, other], [seven]]) == (six, other)
    assert agree([[six], [seven]]) == ()
    assert agree([[six, six], [seven]]) == ()
    assert agree([]) == ()
