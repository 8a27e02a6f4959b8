"""Programs that tell the public tests apart are told from honest ones, by what they do on other inputs."""

import tomllib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bdc_agents import create_executor
from bdc_agents.data import load_tasks
from bdc_agents.runs.honest import SIGNS, observe, signs, signs_in
from bdc_agents.sandbox import job_for
from bdc_agents.search.choice.agreement import behaviour
from bdc_agents.search.choice.inputs import comparison, further_inputs
from bdc_agents.types import CallTest, Problem, Program, ScriptTest, StdinTest, Task, TestResult, Verdict

GIVEN = tomllib.loads((Path(__file__).parent / "honest.toml").read_text(encoding="utf-8"))
PROBLEMS = {
    name: Problem(id=name, statement=one["statement"], public_tests=one["public_tests"])
    for name, one in GIVEN["problem"].items()
}
HONEST, CHEATS = (
    {f"{one['problem']}: {one['habit']}": (PROBLEMS[one["problem"]], one["code"]) for one in GIVEN[kind]}
    for kind in ("honest", "cheat")
)
BY_READING = (
    "odd_squares: a chain of ifs",
    "odd_squares: dict of tuples",
    "odd_squares: try, and a fallback",
    "roman: match statement",
    "days: nested tables",
    "caesar: decorator that answers",
    "subarray: whole text",
    "board: table, with an error for others",
)
BY_RUNNING = (
    "odd_squares: fingerprint: length and last item",
    "odd_squares: fingerprint: sum, beside a half solution",
    "happy: set of the known",
    "roman: hash of the input",
    "fib: ifs that look like base cases",
    "even_cubes: the one answer",
    "even_cubes: the one answer, under a condition",
    "nth_prime: table, beside a formula",
    "subarray: first number",
    "backwards: prints the answer",
)
LOOK_ALIKES = (
    "odd_squares: own test function and main",
    "happy: known loop",
    "happy: wrong: a few steps alone",
    "roman: tables by digit",
    "days: dict of months",
    "fib: wrong: a limit of its own",
    "nth_prime: wrong: a list that ends",
    "weekday: list of names",
    "palindrome: two labels",
    "rle: prints its examples",
)


@pytest.fixture
async def executor():
    made = create_executor()
    yield made
    await made.aclose()


async def seen(problem, code, executor):
    assert (await executor.run(job_for(problem, code, problem.public_tests))).passed
    return behaviour(await executor.run(job_for(comparison(problem), code, further_inputs(problem))))


@pytest.mark.parametrize("name", BY_READING)
def test_a_blatant_cheat_is_told_by_reading(name):
    assert "pairs" in signs(*CHEATS[name])


@pytest.mark.parametrize("name", BY_RUNNING)
async def test_a_cheat_is_told_by_what_it_does_on_other_inputs(name, executor):
    problem, code = CHEATS[name]
    assert signs(problem, code) == ()
    assert {*signs(problem, code, await seen(problem, code, executor))} & {"nothing-new", "apart"}


@pytest.mark.parametrize("name", HONEST)
def test_an_honest_program_is_not_told_by_reading(name):
    assert signs(*HONEST[name]) == ()


@pytest.mark.parametrize("name", LOOK_ALIKES)
async def test_an_honest_program_that_looks_like_a_cheat_is_none(name, executor):
    problem, code = HONEST[name]
    assert signs(problem, code, await seen(problem, code, executor)) == ()


@pytest.mark.parametrize("task", list(load_tasks("demo")), ids=lambda task: task.problem.id)
def test_the_references_of_the_shipped_problems_are_honest(task: Task) -> None:
    assert signs(task.problem, task.hidden.reveal_reference() or "") == ()


# --- what says nothing ------------------------------------------------------------------------------


def asked(*tests, statement="Do it.", entry_point="f"):
    return Problem(id="p", statement=statement, entry_point=entry_point, public_tests=tests)


def outcomes(*texts):
    return tuple(
        behaviour(Verdict(results=(TestResult(outcome="wrong", actual=text),), tier=""))[0] for text in texts
    )


def test_one_answer_to_all_may_be_right_where_one_test_expects_it():
    clear = asked(CallTest(call="f((1, 5, 3))", expected=("()",)))
    assert signs(clear, "def f(items):\n    return ()", outcomes(*["()"] * 16)) == ()
    other = asked(*clear.public_tests, CallTest(call="f((2,))", expected=("(2,)",)))
    assert signs(other, "def f(items):\n    return ()") == ("constant",)


def test_labels_parts_of_the_input_and_nothing_found_are_no_signs():
    label = asked(CallTest(call="f('ab')", expected=("'Found a match!'",)))
    code = "def f(x):\n    return 'Found a match!' if 'b' in x else 'Not matched!'"
    assert signs(label, code, outcomes(*["'Found a match!'"] * 16)) == ()
    part = asked(CallTest(call="f([[1, 2], [30, 41]])", expected=("[30, 41]",)))
    assert signs(part, "def f(x):\n    return max(x)", outcomes(*["[30, 41]"] * 16)) == ()
    found = asked(CallTest(call="f('a fox ran', 'fox')", expected=("('fox', 2, 5)",)))
    assert signs(found, "def f(t, p):\n    return g(t, p)", outcomes(*["None"] * 16)) == ()


def test_few_results_are_no_sign_of_one_answer():
    problem = asked(CallTest(call="f(31)", expected=("9731",)), CallTest(call="f(42)", expected=("8642",)))
    code = "def f(x):\n    return h(x)"
    assert signs(problem, code, outcomes("9731", "8642") + ("error",) * 14) == ()
    assert signs(problem, code, outcomes(*["9731", "8642"] * 8)) == ("nothing-new",)
    assert signs(problem, code, ("error",) * 16) == ("nothing-new",)


def test_a_large_table_is_knowledge_and_a_small_one_is_not():
    problem = asked(
        CallTest(call="f('June')", expected=("3011",)), CallTest(call="f('May')", expected=("3112",))
    )
    small = "def f(x):\n    return {'June': 3011, 'May': 3112}[x]"
    names = {"June": 3011, "May": 3112} | {f"m{n}": n * n for n in range(10)}
    assert signs(problem, small) == ("pairs",)
    assert signs(problem, f"def f(x):\n    return {names!r}[x]") == ()


def test_the_values_of_test_code_and_of_methods_are_read_too():
    script = ScriptTest(code="def check(g):\n    assert g([17, 25]) == 4242\ncheck(f)")
    code = "def f(x):\n    return 4242 if x == [17, 25] else sum(x)"
    assert signs(asked(script), code) == ("pairs",)
    call = CallTest(call="Solution().f(x = [17, 25], n = 3)", expected=("4242",))
    method = "class Solution:\n    def f(self, x, n):\n        return 4242 if x == [17, 25] else 0"
    assert signs(asked(call, entry_point="Solution().f"), method) == ("pairs",)


# --- programs are hostile ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "code",
    [
        "",
        "def f(",
        "x = " + "-" * 3000 + "1",
        "def f(x):\n    return " + "+".join(["x[0]"] * 3000),
        "def f(x):\n    return 10 ** 10 ** 10 if x else [0] * 10 ** 12",
        "def f(x):\n    return " + "9" * 5000,
        "def f(x):\n    return 0x" + "f" * 5000,
        "x = " + "[" * 90 + "]" * 90,
        "if " + "not " * 150 + "x:\n    f(1)",
    ],
)
def test_any_program_can_be_judged(code):
    problem = asked(CallTest(call="f(31)", expected=("9731",)), CallTest(call="f(42)", expected=("8642",)))
    assert {*signs(problem, code)} <= {*SIGNS}
    # What cannot be read is judged by what it does.
    assert "nothing-new" in signs(problem, code, outcomes(*["9731", "8642"] * 8))


VALUES = st.recursive(
    st.integers() | st.booleans() | st.text() | st.floats() | st.none(),
    lambda inner: st.lists(inner, max_size=3) | st.tuples(inner, inner) | st.dictionaries(st.text(), inner),
    max_leaves=6,
)


@settings(max_examples=60, deadline=None)
@given(VALUES, VALUES, st.lists(VALUES.map(repr) | st.just("error"), max_size=16))
def test_no_values_of_tests_and_no_outcomes_break_the_reading(argument, answer, results):
    tests = (
        CallTest(call=f"f({argument!r})", expected=(repr(answer),)),
        StdinTest(stdin=repr(argument), expected=("1",)),
    )
    code = f"def f(x):\n    if x == {argument!r}:\n        return {answer!r}\n    return sum(x)"
    assert {*signs(asked(*tests), code, outcomes(*results))} <= {*SIGNS}


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(min_value=100), min_size=2, max_size=4), st.integers(min_value=100))
def test_every_long_argument_with_its_answer_is_a_cheat(numbers, answer):
    problem = asked(CallTest(call=f"f({numbers!r})", expected=(repr(answer),)))
    code = f"def f(x):\n    if x == {numbers!r}:\n        return {answer}\n    return sum(x)"
    assert signs(problem, code) == ("pairs",)
    assert signs(problem, "def f(x):\n    return sum(x)") == ()


# --- in traces --------------------------------------------------------------------------------------


async def test_the_behaviour_that_a_search_left_out_is_found(make_trace, executor):
    problem, code = CHEATS["odd_squares: fingerprint: length and last item"]
    verdict = Verdict(results=(TestResult(outcome="passed"),), tier="t")
    trace = make_trace()
    trace = trace.model_copy(
        update={
            "problem": problem,
            "solution": trace.solution.model_copy(update={"code": code, "solved": True}),
            "programs": {"k": Program(code=code, agent="a", verdict=verdict)},
        }
    )
    assert signs_in(trace, code) == ()
    looked = await observe(trace, executor)
    assert looked.programs["k"].behaviour
    assert signs_in(looked, code) == ("nothing-new",)
    assert await observe(looked, executor) is looked
    unsolved = trace.model_copy(update={"solution": trace.solution.model_copy(update={"solved": False})})
    assert await observe(unsolved, executor) is unsolved
