"""What a result says beside its program: one sentence for each thing worth knowing, and nothing else."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bdc_agents.config import Budget
from bdc_agents.sandbox.own_checker import FAULT
from bdc_agents.search.nodes.notes import notes
from bdc_agents.types import CallTest, Checker, Problem, Program, StdinTest, TestResult, Usage, Verdict

VARIED = Problem(
    statement="Double.", entry_point="f", public_tests=(CallTest(call="f([1, 2, 3])", expected=("6",)),)
)
FIXED = Problem(statement="Six.", entry_point="f", public_tests=(CallTest(call="f()", expected=("6",)),))


def told(
    *programs: Program, asked: Problem = VARIED, budget: Budget | None = None, **state: Any
) -> tuple[str, ...]:
    whole: Any = {"problem": asked.model_dump(mode="json")} | state
    return notes(whole, {f"p{n}": program for n, program in enumerate(programs)}, budget)


def ran(code: str = "x = 1", outcome: Any = "error", error: str = "") -> Program:
    results = (TestResult(outcome=outcome, error=error),)
    return Program(code=code, agent="ann", verdict=Verdict(results=results, tier="t"))


def used(**fields: Any) -> dict[str, Any]:
    return {"ann": Usage(**fields).model_dump(mode="json")}


def test_a_search_that_went_well_has_no_notes() -> None:
    assert told() == ()
    everything = Usage(calls=3, prompt_tokens=5, completion_tokens=5, cost=0.5).model_dump(mode="json")
    passed, wrong = ran(outcome="passed"), ran(outcome="wrong")
    assert (
        told(
            passed,
            wrong,
            usage={"ann": everything},
            budget=Budget(calls=3, tokens=10, money=0.5),
            passing={"p0": 1},
        )
        == ()
    )


@pytest.mark.parametrize(
    ("field", "one", "many"),
    [
        ("truncated", "1 reply cut off", "2 replies cut off"),
        ("misreported", "cannot be for 1 reply;", "cannot be for 2 replies;"),
        ("excess", "wrote 1 token beyond", "wrote 2 tokens beyond"),
    ],
)
def test_what_an_endpoint_does_amiss_is_told_with_how_often(field: str, one: str, many: str) -> None:
    assert [note for count in (0, 1, 2) for note in told(usage=used(calls=9, **{field: count}))] == [
        note for count in (1, 2) for note in told(usage=used(calls=9, **{field: count}))
    ]
    for count, words in ((1, one), (2, many)):
        (note,) = told(usage=used(calls=9, **{field: count}))
        assert note.startswith("ann: ")
        assert words in note


def test_failures_of_an_agent_that_is_set_aside_are_told_there() -> None:
    aside = told(usage=used(calls=3, failed=3), set_aside={"ann": "no key"})
    assert aside == ()
    assert len(told(usage=used(calls=3, failed=3), set_aside={"bob": "no key"})) == 1


def test_a_request_that_was_cut_off_was_not_answered() -> None:
    cut = {"agent": "ann", "error": "the time was up", "prompt_tokens": 9}
    calls = {
        "a": cut,
        "b": cut,
        "c": cut | {"agent": "bob"},
        "d": {"agent": "ann", "error": "the time was up"},
    }
    assert told(usage=used(calls=4, failed=2), calls=calls) == (
        "ann: 2 requests cut off when the time was up",
    )
    (one, other) = told(usage=used(calls=4, failed=3), calls=calls)
    assert one == "ann: 2 requests cut off when the time was up"
    assert other == "ann: 1 request was made again, and answered"


def test_programs_that_did_not_run_are_counted() -> None:
    unrun = Program(code="x", agent="ann")
    assert told(unrun, ran()) == ("the time was up before 1 program had run to the end",)
    assert told(unrun, unrun) == ("the time was up before 2 programs had run to the end",)


def test_agreement_that_tells_nothing_is_told_once_something_passes() -> None:
    checked = VARIED.model_copy(update={"checker": Checker(code="def check(*a):\n    return True")})
    assert told(asked=FIXED) == told(asked=VARIED, passing={"p0": 1}) == ()
    (fixed,) = told(asked=FIXED, passing={"p0": 1})
    assert not told(asked=checked, passing={"p0": 1}), "the checker judges no value of a function"
    stdin = (StdinTest(stdin="1 2 3\n", expected=("6",)),)
    (own,) = told(asked=checked.model_copy(update={"public_tests": stdin}), passing={"p0": 1})
    assert fixed.startswith("no further input could be made")
    assert own.startswith("several answers may be right")


def lacks(module: str, imports: bool = True) -> Program:
    code = f"import {module}\n" if imports else ""
    return ran(f"{code}x = 1", error=f"ModuleNotFoundError: No module named '{module}'")


def test_of_missing_modules_those_that_most_programs_want_are_told() -> None:
    programs = [lacks(name) for name in ("aa", "bb", "bb", "cc", "cc", "cc", "dd", "dd")]
    found = told(*programs, lacks("ee", imports=False))
    assert [note.partition(" failed")[0] for note in found] == ["3 programs", "2 programs", "2 programs"]
    assert [note.split("module ")[1].split(",")[0] for note in found] == ["cc", "bb", "dd"]
    assert 'packages = ["cc"]' in found[0]
    (one,) = told(lacks("aa"))
    assert one.startswith("1 program failed for want of the module aa")


def test_programs_in_another_language_are_told() -> None:
    c = '#include <stdio.h>\nint main() {\n  printf("6");\n  return 0;\n}'
    assert [note[:26] for note in told(ran(c))] == ["1 program looked like C; o"] or told(ran(c))[
        0
    ].startswith("1 program looked like C")
    assert told(ran(c, outcome="passed")) == ()
    assert told(ran("x = ")) == ()


def test_a_checker_that_fails_is_told_for_each_program() -> None:
    broken = ran(error=f"{FAULT}: ZeroDivisionError")
    later = ran(error=f"ValueError: {FAULT}")
    (note,) = told(broken, broken, later)
    assert "on the output of 2 programs, which" in note


@given(st.integers(1, 50), st.integers(0, 60))
def test_a_cap_that_was_passed_is_told_by_how_much(cap: int, calls: int) -> None:
    found = [note for note in told(usage=used(calls=calls), budget=Budget(calls=cap)) if "passed" in note]
    expected = [f"the budget of {cap:,g} calls was passed by {calls - cap:,.6g}"] if calls > cap else []
    assert found == expected


def test_a_sum_of_fractions_of_a_dollar_may_be_a_hair_above() -> None:
    hair = sum([0.1] * 3)
    assert hair > 0.3
    assert told(usage=used(calls=3, cost=hair), budget=Budget(money=0.3)) == ()
    (note,) = told(usage=used(calls=3, cost=0.5), budget=Budget(money=0.3))
    assert note == "the budget of 0.3 dollars was passed by 0.2"


def test_a_cap_below_what_one_call_may_take_is_told() -> None:
    small = Budget(tokens=5)
    (note,) = told(budget=small, stopped_by="tokens")
    assert note.startswith("the budget of 5 tokens is below what one call may take")
    assert told(budget=small, stopped_by="rollouts") == told(stopped_by="tokens") == ()
    assert told(budget=small, stopped_by="tokens", usage=used(calls=1)) == ()
    assert "below" not in str(told(budget=small, stopped_by="tokens", usage=used(failed=1)))
