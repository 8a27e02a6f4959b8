"""Agreement between programs that pass: on inputs made from the public tests, by what they do there."""

import ast

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from bdc_agents.sandbox import create_executor, job_for
from bdc_agents.search.choice.agreement import behaviour, confirmed, short_hash, support, weighed
from bdc_agents.search.choice.inputs import INPUTS, further_inputs
from bdc_agents.types import CallTest, Problem, Program, ScriptTest, StdinTest, TestCase, TestResult, Verdict

SUM = "def total(xs):\n    return sum(xs)"
LOOP = "def total(xs):\n    found = 0\n    for x in xs:\n        found += x\n    return found"
WRONG = "def total(xs):\n    return 6"


def problem(*tests: TestCase, entry_point: str | None = "total") -> Problem:
    return Problem(statement="Add up.", entry_point=entry_point, public_tests=tests)


TOTAL = problem(CallTest(call="total([1, 2, 3])", expected=("6",)))
literals = st.recursive(
    st.booleans() | st.integers(-99, 99) | st.floats(-9, 9) | st.text("abc ", max_size=6),
    lambda inner: (
        st.lists(inner, max_size=3) | st.tuples(inner, inner) | st.dictionaries(st.text("ab"), inner)
    ),
    max_leaves=6,
)


@settings(deadline=None)  # The first call imports and compiles.
@given(st.lists(literals, min_size=1, max_size=3))
def test_inputs_are_new_calls_with_arguments_of_the_same_types(arguments: list[object]) -> None:
    call = f"total({', '.join(map(repr, arguments))})"
    made = further_inputs(problem(CallTest(call=call, expected=("0",))))
    calls = [test.call for test in made if isinstance(test, CallTest)]
    assert len(set(calls)) == len(calls) == len(made) <= INPUTS
    assert ast.unparse(ast.parse(call)) not in calls
    for text in calls:
        node = ast.parse(text, mode="eval").body
        assert isinstance(node, ast.Call)
        given_types = [type(ast.literal_eval(argument)) for argument in node.args]
        assert given_types == [type(argument) for argument in arguments]


def test_the_same_problem_gives_the_same_inputs() -> None:
    assert further_inputs(TOTAL) == further_inputs(TOTAL.model_copy())
    assert len(further_inputs(TOTAL)) == INPUTS


@pytest.mark.parametrize(
    ("test", "entry_point"),
    [
        (CallTest(call="decode(encode('some text'))", expected=("'some text'",)), "decode"),
        (ScriptTest(code="def check(candidate):\n    assert candidate([1, 2]) > 2\n"), "total"),
        (ScriptTest(code="assert total([1, 2]) > 2"), "total"),
        (StdinTest(stdin="3\n10 20 30\n", expected=("60",)), None),
    ],
)
def test_inputs_are_made_of_tests_of_every_kind(test: TestCase, entry_point: str | None) -> None:
    made = further_inputs(problem(test, entry_point=entry_point))
    assert len(made) == INPUTS
    if isinstance(test, ScriptTest):
        assert all(isinstance(one, CallTest) and one.call.startswith("total([") for one in made)
    if isinstance(test, StdinTest):
        for one in made:
            assert isinstance(one, StdinTest)
            first, second = one.stdin.splitlines()
            assert int(first) == len(second.split()), "a count goes on to tell how many numbers follow"


@pytest.mark.parametrize("code", ["total()", "total(x)", "total(None)", "total(["])
def test_tests_without_a_value_to_change_give_no_inputs(code: str) -> None:
    assert further_inputs(problem(CallTest(call=code, expected=("0",)))) == ()
    assert further_inputs(problem(ScriptTest(code=code))) == ()


async def test_programs_that_do_the_same_agree_and_a_special_case_does_not() -> None:
    executor, inputs = create_executor(), further_inputs(TOTAL)
    try:
        seen = {
            name: behaviour(await executor.run(job_for(TOTAL, code, inputs)))
            for name, code in {"sum": SUM, "loop": LOOP, "wrong": WRONG}.items()
        }
    finally:
        await executor.aclose()
    assert seen["sum"] == seen["loop"]
    programs = {name: Program(code=name, agent="ann", behaviour=one) for name, one in seen.items()}
    agreed = support(programs, {"sum": 1, "loop": 1, "wrong": 1})
    assert agreed["sum"] == agreed["loop"] > agreed["wrong"]
    assert confirmed(programs, {"sum": 1, "loop": 1}, 2)
    assert not confirmed(programs, {"sum": 1, "wrong": 1}, 2)


def results(*actual: str) -> Verdict:
    return Verdict(results=tuple(TestResult(outcome="wrong", actual=text) for text in actual), tier="t")


def test_the_order_of_dicts_and_sets_and_last_digits_are_no_difference() -> None:
    one = behaviour(results("{1: 2, 'a': {3, 4}}", "0.30000000000000004", "took 0.1000000001 s", "[1, 2]"))
    two = behaviour(results("{'a': {4, 3}, 1: 2}", "0.3", "took 0.1 s", "[2, 1]"))
    assert one[:3] == two[:3]
    assert one[3] != two[3]
    assert len(set(behaviour(results("{3, 4}", "{3, 5}", "{3}", "{3: 4}", "{3: 5}")))) == 5


@given(
    st.lists(
        st.tuples(st.sampled_from("abc"), st.integers(1, 4)), min_size=1, max_size=3, unique_by=lambda x: x[0]
    )
)
def test_attempts_that_all_differ_leave_only_a_programs_own(rows: list[tuple[str, int]]) -> None:
    programs = {key: Program(code=key, agent="ann", behaviour=(key, 2 * key)) for key, _ in rows}
    attempts = dict(rows)
    others = sum(attempts.values())
    for key, value in support(programs, attempts).items():
        assert value == 2 * attempts[key] - others


def agree(*behaviours: tuple[str, ...]) -> float:
    programs = {str(n): Program(code="", agent="ann", behaviour=b) for n, b in enumerate(behaviours)}
    return support(programs, dict.fromkeys(programs, 1))["0"]


def test_programs_that_always_give_the_same_take_one_more_to_agree() -> None:
    varied, constant = ("a", "b", "c", "d"), ("a", "a", "a", "a")
    assert agree(varied, varied) == 2
    assert agree(constant, constant) == 1
    assert agree(constant, constant, constant) == 1.5
    assert agree(("a", "a", "a", "b"), ("a", "a", "a", "b")) == 1.5


def test_inputs_that_both_refuse_say_nothing() -> None:
    assert agree(("error", "a", "b"), ("error", "b", "a")) == 0, "one attempt for it, one against"
    assert agree(("error", "a", "b"), ("timeout", "a", "b")) == 2
    assert agree(("error", "a", "b"), ("c", "a", "b")) == pytest.approx(1 + 1 / 3)
    assert agree(("error", "error"), ("error", "error"), ("error", "error")) == 1.5, "as if nothing was seen"


def test_where_no_inputs_can_be_made_attempts_that_pass_are_counted() -> None:
    programs = {key: Program(code=key, agent="ann") for key in "ab"}
    assert not confirmed(programs, {"a": 1}, 2)
    assert confirmed(programs, {"a": 1, "b": 1}, 2)
    assert confirmed(programs, {"a": 1}, 1)
    assert not confirmed(programs, {}, 1)


def test_attempts_of_several_agents_count_more_than_those_of_one() -> None:
    assert weighed({"one": {"ann": 2}, "two": {"bob": 1, "cat": 1}}) == {"one": 1.5, "two": 2}
    assert weighed({"one": {"ann": 1}, "two": {"ann": 1}}) == {"one": 0.75, "two": 0.75}
    assert weighed({"one": {}}) == {"one": 0}
    varied, others = ("a", "b", "c", "d"), ("e", "f", "g", "h")
    programs = {
        "one": Program(code="", agent="ann", behaviour=varied),
        "two": Program(code="", agent="bob", behaviour=others),
    }
    agreed = support(programs, weighed({"one": {"ann": 2}, "two": {"bob": 1, "cat": 1}}))
    assert agreed["two"] > agreed["one"]


def test_values_are_the_same_where_tests_take_them_for_equal() -> None:
    assert behaviour(results("True", "2.0", "[1, False]")) == behaviour(results("1", "2", "[1.0, 0]"))
    assert behaviour(results("2.5"))[0] != behaviour(results("2"))[0]
    assert behaviour(results("[1]"))[0] != behaviour(results("(1,)"))[0]


def test_a_few_inputs_that_one_program_refuses_say_nothing() -> None:
    some = ("a", "b", "c", "d", "e", "f", "g", "h")
    assert agree(some, ("error", *some[1:])) == 2
    assert agree(some, ("error", "error", *some[2:])) < 2, "it refuses many"


@given(st.integers(1 - 2**53, 2**53 - 1))
@example(2**53 - 1)
@example(1 - 2**53)
def test_a_whole_number_is_the_same_as_a_decimal_as_far_as_decimals_hold_it(number: int) -> None:
    assert short_hash(f"[{float(number)!r}]") == short_hash(f"[{number}]")
