"""From what left the sandbox to a result, without a sandbox: every way to end, and every report."""

import json
import signal
from typing import Any

import pytest

from bdc_agents.sandbox.inside.reports import OUT_OF_MEMORY
from bdc_agents.sandbox.inside.values import encode
from bdc_agents.sandbox.inside.wire import Ending
from bdc_agents.sandbox.judge import TEXT_BUDGET, accepted_values, judge, lost, printed, trim
from bdc_agents.types import CallTest, Checker, ScriptTest, StdinTest, TestResult

STDIN = StdinTest(stdin="3\n", expected=("6\n",))
CALL = CallTest(call="double(3)", expected=("6", "7"))
SCRIPT = ScriptTest(code="x = 1\nif x:\n    assert double(3) == (\n        7\n    )\ny = 2\n")


def judged(
    test: Any, report: Any = None, *, output: str = "", checker: Checker | None = None, **how: Any
) -> TestResult:
    given = {"reason": "exit", "status": 0, "answered": report is not None, "seconds": 0.5} | how
    data = report if isinstance(report, bytes) else json.dumps(report).encode()
    return judge(test, Ending(output=output.encode(), report=data, **given), checker or Checker())


# --- how it ended ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reason", "outcome", "says"),
    [
        ("wall", "timeout", "wall time"),
        ("idle", "timeout", "waited for too long"),
        ("cpu", "timeout", "CPU time"),
        ("output", "output", "output limit"),
        ("memory", "memory", "memory limit"),
    ],
)
@pytest.mark.parametrize("test", [STDIN, CALL, SCRIPT], ids=lambda test: test.kind)
def test_a_limit_that_was_passed_is_told_whatever_was_reported(
    test: Any, reason: str, outcome: str, says: str
) -> None:
    for report in (None, {"done": True}, {"value": 6}, {"error": "ValueError"}):
        result = judged(test, report, output="6\n", reason=reason)
        assert result.outcome == outcome
        assert says in result.error
        assert result.seconds == 0.5


@pytest.mark.parametrize(
    ("number", "name"),
    [(signal.SIGKILL, "SIGKILL"), (signal.SIGSEGV, "SIGSEGV"), (1, "SIGHUP"), (200, "signal 200")],
)
def test_a_signal_is_named(number: int, name: str) -> None:
    result = judged(STDIN, output="6\n", status=-number)
    assert (result.outcome, result.error) == ("killed", f"ended by {name}")


def test_out_of_memory_is_told_unless_there_is_an_answer() -> None:
    assert judged(CALL, status=OUT_OF_MEMORY).outcome == "memory"
    assert judged(STDIN, output="6\n", status=OUT_OF_MEMORY).error == "memory limit passed"
    assert judged(CALL, {"value": 6}, status=OUT_OF_MEMORY).outcome == "passed"
    assert judged(CALL, status=OUT_OF_MEMORY + 1).outcome == "error"


def test_a_test_that_was_lost_says_what_it_was() -> None:
    result = lost(CALL, "the sandbox was killed")
    assert (result.outcome, result.error) == ("killed", "the sandbox was killed")
    assert (result.shown, result.expected, result.actual) == ("double(3)", "6\nor\n7", "")


# --- what was printed -----------------------------------------------------------------------------------


def test_the_output_decides_and_not_the_report() -> None:
    right, wrong = judged(STDIN, output="6"), judged(STDIN, {"done": True, "value": 6}, output="7")
    assert (right.outcome, right.actual, right.shown, right.expected) == ("passed", "6", "3\n", "6\n")
    assert (wrong.outcome, wrong.actual, wrong.error) == ("wrong", "7", "")


def test_any_exit_status_but_zero_is_an_error() -> None:
    for status in (1, 2, 255):
        result = judged(STDIN, output="6\n", status=status)
        assert (result.outcome, result.error) == ("error", f"the program exited with status {status}")


def test_the_checker_is_asked() -> None:
    assert judged(STDIN, output=" 6").outcome == "passed"
    assert judged(STDIN, output=" 6", checker=Checker(text="exact")).outcome == "wrong"
    assert judged(CALL, {"value": encode(6.4)}, checker=Checker(tolerance=0.5)).outcome == "passed"
    assert judged(CALL, {"value": encode(6.4)}).outcome == "wrong"


def test_output_that_is_no_text_is_compared_as_far_as_it_is() -> None:
    result = judge(STDIN, Ending("exit", 0, False, 0.1, b"\xff6", b""), Checker())
    assert (result.outcome, result.actual) == ("wrong", "�6")


def test_a_thread_that_failed_explains_a_wrong_output_and_no_right_one() -> None:
    report = {"in_thread": {"error": "KeyError", "message": "'a'", "line": 4}}
    assert judged(STDIN, report, output="6").outcome == "passed"
    result = judged(STDIN, report, output="5")
    assert (result.outcome, result.error, result.line, result.actual) == ("error", "KeyError: 'a'", 4, "5")
    assert judged(STDIN, {"in_thread": "KeyError"}, output="5").outcome == "wrong"


# --- what was reported ----------------------------------------------------------------------------------


@pytest.mark.parametrize("report", [b"", b"{", b"[]", b'"done"', b"\xff", b"null", b"[" * 100_000])
@pytest.mark.parametrize("test", [CALL, SCRIPT], ids=lambda test: test.kind)
def test_no_report_passes_no_test(test: Any, report: bytes) -> None:
    result = judged(test, report)
    assert (result.outcome, "status 0" in result.error) == ("error", True)


def test_a_report_counts_only_where_it_is_whole() -> None:
    assert judged(SCRIPT, {"done": True}, answered=False).outcome == "error"
    assert judged(CALL, {"value": 6}, answered=False, status=3).error == (
        "the program ended (status 3) before its test was over"
    )


@pytest.mark.parametrize("done", [1, "true", None, [], {"done": True}, False])
def test_a_script_has_passed_only_where_it_says_exactly_so(done: Any) -> None:
    assert judged(SCRIPT, {"done": done}).outcome == "error"
    assert judged(SCRIPT, {"done": True}).outcome == "passed"


@pytest.mark.parametrize(
    ("value", "outcome"), [(6, "passed"), (7, "passed"), (8, "wrong"), ("6", "wrong"), (None, "wrong")]
)
def test_a_call_may_have_any_of_its_values(value: Any, outcome: str) -> None:
    result = judged(CALL, {"value": encode(value)})
    assert (result.outcome, result.actual) == (outcome, repr(value))
    assert result.error == ""


def test_a_value_that_is_none_or_far_too_large_is_wrong() -> None:
    for value in (["?", 1], {"a": 1}, encode(set(range(5000)))):
        result = judged(CALL, {"value": value})
        assert result.outcome == "wrong"
        assert "much larger" in result.actual


def test_accepted_values_are_those_of_calls() -> None:
    assert accepted_values(CALL) == (6, 7)
    assert accepted_values(STDIN) == accepted_values(SCRIPT) == ()


# --- errors ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("test", [STDIN, CALL, SCRIPT], ids=lambda test: test.kind)
def test_an_exception_is_told_with_its_line(test: Any) -> None:
    result = judged(test, {"error": "ValueError", "message": "no", "line": 3}, output="6\n")
    assert (result.outcome, result.error, result.line) == ("error", "ValueError: no", 3)
    bare = judged(test, {"error": "StopIteration", "message": ""})
    assert (bare.error, bare.line) == ("StopIteration", None)
    assert judged(test, {"error": "E", "line": True}).line is None
    assert judged(test, {"error": "E", "line": "3"}).line is None


def test_memory_that_the_program_was_refused_is_memory() -> None:
    assert judged(CALL, {"error": "MemoryError"}).outcome == "memory"
    assert judged(CALL, {"error": "MemoryErrors"}).outcome == "error"


def test_a_failed_assert_shows_its_statement_and_both_sides() -> None:
    report = {"error": "AssertionError", "test_line": 4, "failed_assert": True, "left": 6, "right": 7}
    result = judged(SCRIPT, report)
    assert result.outcome == "wrong"
    assert result.shown == "assert double(3) == (\n        7\n    )"
    assert (result.actual, result.expected) == ("6", "7")
    sides = judged(SCRIPT, {key: report[key] for key in ("error", "test_line", "failed_assert")})
    assert (sides.outcome, sides.actual, sides.expected) == ("wrong", "", "")


def test_an_error_within_a_script_is_no_wrong_value() -> None:
    report = {"error": "AssertionError", "test_line": 6, "left": "6", "right": "7"}
    for failed in ({}, {"failed_assert": 1}, {"failed_assert": "yes"}):
        result = judged(SCRIPT, report | failed)
        assert (result.outcome, result.shown, result.actual, result.expected) == ("error", "y = 2", "", "")
    # Where it is not known which line, and in a call, whose report a program writes itself.
    assert judged(SCRIPT, report | {"failed_assert": True, "test_line": None}).outcome == "error"
    assert judged(SCRIPT, report | {"failed_assert": True, "test_line": True}).shown == SCRIPT.code
    assert judged(CALL, report | {"failed_assert": True}).outcome == "error"


@pytest.mark.parametrize(
    ("line", "shown"),
    [(1, "x = 1"), (2, "if x:"), (3, "assert double"), (5, "assert double"), (6, "y = 2"), (99, "x = 1")],
)
def test_the_innermost_statement_on_a_line_is_shown(line: int, shown: str) -> None:
    result = judged(SCRIPT, {"error": "E", "test_line": line})
    assert result.shown.startswith(shown)
    assert (result.shown == SCRIPT.code) == (line == 99)


def test_a_script_that_cannot_be_read_is_shown_as_it_is() -> None:
    broken = ScriptTest.model_construct(code="assert (")
    assert judged(broken, {"error": "SyntaxError", "test_line": 1}).shown == "assert ("


# --- texts ----------------------------------------------------------------------------------------------


def test_a_call_is_shown_with_its_setup() -> None:
    assert judged(CallTest(call="f()", expected=("1",), setup="x = 1\n\n")).shown == "x = 1\nf()"
    assert judged(CallTest(call="f()", expected=("1",), setup=" \n")).shown == "f()"


def test_long_texts_lose_their_middle_and_say_how_much() -> None:
    assert trim("a" * TEXT_BUDGET) == "a" * TEXT_BUDGET
    text = "".join(chr(97 + n % 26) for n in range(TEXT_BUDGET + 1))
    short = trim(text)
    assert len(short) == TEXT_BUDGET
    head, tail = short.split(" … 1 more characters … ")
    assert text.startswith(head)
    assert text.endswith(tail)
    assert 1.9 < len(head) / len(tail) < 2.1
    assert trim("\ud800x") == "?x"


def test_each_text_of_a_result_is_trimmed_and_still_compared_whole() -> None:
    long = "9" * 3000
    for test in (
        StdinTest(stdin=long, expected=(long,)),
        CallTest(call=f"f({long!r})", expected=(repr(long),)),
    ):
        result = judged(test, {"value": long}, output=long)
        assert result.outcome == "passed"
        assert {len(result.shown), len(result.actual), len(result.expected)} == {TEXT_BUDGET}
    assert len(lost(StdinTest(stdin=long, expected=(long,)), "").expected) == TEXT_BUDGET


HOSTILE = "\x1b]0;title\x07 \u202eover \x00\r\x9b2J \u200b"


@pytest.mark.parametrize(
    "result",
    [
        judged(STDIN, output=HOSTILE),
        judged(STDIN, {"error": f"E{HOSTILE}", "message": HOSTILE}),
        judged(SCRIPT, {"error": "AssertionError", "failed_assert": True, "test_line": 3, "left": HOSTILE}),
        judged(CALL, {"error": "E", "message": HOSTILE * 100}),
        lost(CallTest(call=f"f('{HOSTILE}')", expected=("1",)), HOSTILE),
    ],
)
def test_what_leaves_the_sandbox_is_printable(result: TestResult) -> None:
    texts = (result.error, result.actual, result.expected, result.shown)
    assert all(c.isprintable() or c in "\n\t" for text in texts for c in text)
    assert max(map(len, texts)) <= TEXT_BUDGET


def test_what_nobody_sees_is_written_as_in_a_literal() -> None:
    assert judged(STDIN, output="a\tb\n\x1b[2J\u200bä").actual == "a\tb\n\\x1b[2J\\u200bä"


def test_what_was_printed_is_judged_only_where_the_program_ended_well() -> None:
    def ended(reason: str = "exit", status: int = 0, report: Any = None) -> Ending:
        told = json.dumps(report).encode()
        return Ending(reason, status, report is not None, 0.1, b"6\xff\n", told)

    assert printed(STDIN, ended()) == "6\ufffd\n"
    assert printed(STDIN, ended(report={"done": True})) == "6\ufffd\n"
    assert printed(CALL, ended()) is None
    assert printed(SCRIPT, ended()) is None
    assert printed(STDIN, ended(reason="wall")) is None
    assert printed(STDIN, ended(status=1)) is None
    assert printed(STDIN, ended(status=-9)) is None
    assert printed(STDIN, ended(report={"error": "KeyError"})) is None
