"""Judges how a test ended and what it sent: the only place where a test can pass."""

import ast
import json
import signal
from typing import Any

from bdc_agents.syntax import LONGEST_INTEGER, language_of, long_integers, parse
from bdc_agents.types import CallTest, Checker, Outcome, ScriptTest, StdinTest, TestCase, TestResult
from bdc_agents.types.literals import evaluate
from bdc_agents.types.tests import visible

from . import received
from .compare import text_matches, value_matches
from .inside.reports import OUT_OF_MEMORY
from .inside.wire import Ending

TEXT_BUDGET = 500
"""Characters of each text in a result: some ten lines, as much as a prompt should show of one. Chosen, not
measured."""

_UNREADABLE = ("SyntaxError", "IndentationError", "TabError")

_MOST_LINES = 2**31
"""Upper bound of an error's line, which a program may forge: a huge number would fit into no checkpoint."""

_LIMITS: dict[str, tuple[Outcome, str]] = {
    "wall": ("timeout", "wall time limit passed"),
    "idle": ("timeout", "the program waited for too long, and used hardly any CPU time"),
    "cpu": ("timeout", "CPU time limit passed"),
    "output": ("output", "output limit passed"),
    "memory": ("memory", "memory limit passed"),
}


def accepted_values(test: TestCase) -> tuple[Any, ...]:
    """The accepted values of a call; none for a test of another kind.

    Raises:
        ProblemError: If one of them is no Python literal.
    """
    return tuple(map(evaluate, test.expected)) if isinstance(test, CallTest) else ()


def judge(test: TestCase, ending: Ending, checker: Checker, code: str = "") -> TestResult:
    """The result of one test.

    Args:
        test: The test.
        ending: How its process ended, and what it said; only the former can be trusted.
        checker: How to compare. The problem's own checker decides later; until then the test fails.
        code: The program, to recognise one in another language.
    """
    found = _limit_passed(ending) or _reported(test, ending, checker)
    if str(found.get("error", "")).startswith(_UNREADABLE) and (language := language_of(code)):
        found["error"] = f"{found['error']} (this looks like {language}; the program must be Python)"
    texts: dict[str, Any] = {"shown": _shown(test), "expected": _expected(test)} | found
    trimmed: dict[str, Any] = {
        key: trim(text) if isinstance(text, str) else text for key, text in texts.items()
    }
    return TestResult(seconds=ending.seconds, **trimmed)


def printed(test: TestCase, ending: Ending) -> str | None:
    """All that a program printed if it ended well, so that a checker may judge it; otherwise None."""
    over = _limit_passed(ending) or ending.status != 0
    if (
        over
        or not isinstance(test, StdinTest)
        or "error" in (_parse(ending.report) if ending.answered else {})
    ):
        return None
    return ending.output.decode("utf-8", "replace")


def lost(test: TestCase, reason: str) -> TestResult:
    """The result of a test that did not end, since the sandbox was killed."""
    return TestResult(
        outcome="killed",
        shown=trim(_shown(test)),
        expected=trim(_expected(test)),
        error=trim(reason),
    )


def trim(text: str, budget: int = TEXT_BUDGET) -> str:
    """The text, short and printable.

    Drops the middle of a text longer than the budget. Escapes control characters and invisible ones as a
    Python literal does, such as `\\x1b`: programs and checkers are hostile, and their words reach logs,
    traces and other people's screens. Line ends and tabs stay.
    """
    text = _cut(text.encode("utf-8", "replace").decode(), budget)
    return _cut("".join(c if c.isprintable() or c in "\n\t" else _escape(c) for c in text), budget)


def _escape(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")


def _cut(text: str, budget: int) -> str:
    if len(text) <= budget:
        return text
    gap = f" … {len(text) - budget} more characters … "
    head = (budget - len(gap)) * 2 // 3
    return text[:head] + gap + text[head + len(gap) - budget :]


def _limit_passed(ending: Ending) -> dict[str, Any] | None:
    if ending.reason in _LIMITS:
        outcome, error = _LIMITS[ending.reason]
        return {"outcome": outcome, "error": error}
    if ending.status < 0:
        return {"outcome": "killed", "error": f"ended by {_signal_name(-ending.status)}"}
    if ending.status == OUT_OF_MEMORY and not ending.answered:
        return {"outcome": "memory", "error": "memory limit passed"}
    return None


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _reported(test: TestCase, ending: Ending, checker: Checker) -> dict[str, Any]:
    report = _parse(ending.report) if ending.answered else {}
    if "error" in report:
        return _failure(test, report)
    if isinstance(test, StdinTest):
        return _compare_output(test, ending, checker, report.get("in_thread"))
    if not report:
        return {
            "outcome": "error",
            "error": f"the program ended (status {ending.status}) before its test was over",
        }
    if isinstance(test, ScriptTest):
        return {"outcome": "passed" if report.get("done") is True else "error"}
    return _compare_value(test, report.get("value"), checker)


def _parse(report: bytes) -> dict[str, Any]:
    try:
        data = json.loads(report)
    except (ValueError, RecursionError):
        return {}
    return data if isinstance(data, dict) else {}


def _failure(test: TestCase, report: dict[str, Any]) -> dict[str, Any]:
    kind, message = (str(report.get(key, "")) for key in ("error", "message"))
    line = report.get("line")
    found: dict[str, Any] = {
        "outcome": "memory" if kind == "MemoryError" else "error",
        "error": f"{kind}: {message}" if message else kind,
        "line": line if type(line) is int and 0 < line < _MOST_LINES else None,
    }
    if isinstance(test, ScriptTest) and type(report.get("test_line")) is int:
        found["shown"] = _statement(test.code, report["test_line"])
        if report.get("failed_assert") is True:
            sides = {"actual": report.get("left", ""), "expected": report.get("right", "")}
            found |= {key: str(side) for key, side in sides.items()} | {"outcome": "wrong"}
    return found


def _compare_output(test: StdinTest, ending: Ending, checker: Checker, in_thread: Any) -> dict[str, Any]:
    """Compares the output. Python goes on if a thread fails; that failure explains a wrong output."""
    if ending.status != 0:
        return {"outcome": "error", "error": f"the program exited with status {ending.status}"}
    output = ending.output.decode("utf-8", "replace")
    if checker.code:
        return {"outcome": "wrong", "actual": output, "error": "the problem's checker has not run"}
    if text_matches(output, test.expected, checker):
        return {"outcome": "passed", "actual": output}
    if isinstance(in_thread, dict):
        return _failure(test, in_thread) | {"actual": output}
    return {"outcome": "wrong", "actual": output}


def _compare_value(test: CallTest, data: Any, checker: Checker) -> dict[str, Any]:
    accepted = accepted_values(test)
    try:
        value = received.decode(data, accepted)
    except received.NotAValueError:
        return {"outcome": "wrong", "actual": "a value that is much larger, or none that can be compared"}
    right = value_matches(value, accepted, checker)
    return {"outcome": "passed" if right else "wrong", "actual": _representation(value)}


def _representation(value: Any) -> str:
    try:
        with long_integers():
            return repr(value)
    except ValueError:
        return f"a value with an integer of more than {LONGEST_INTEGER:,} digits"


# --- what a result shows of a test -----------------------------------------------------------------


def _shown(test: TestCase) -> str:
    match test:
        case StdinTest():
            return visible(test.stdin)
        case CallTest():
            return f"{test.setup.rstrip()}\n{test.call}" if test.setup.strip() else test.call
        case ScriptTest():
            return test.code


def _expected(test: TestCase) -> str:
    return "" if isinstance(test, ScriptTest) else "\nor\n".join(test.expected)


def _statement(code: str, line: int) -> str:
    """The source of the innermost statement on a line of test code."""
    tree = parse(code)
    if tree is None:
        return code
    statements = [node for node in ast.walk(tree) if isinstance(node, ast.stmt)]
    around = [node for node in statements if _last(node) >= line >= node.lineno]
    innermost = min(around, key=lambda node: _last(node) - node.lineno, default=None)
    return (ast.get_source_segment(code, innermost) if innermost else None) or code


def _last(node: ast.stmt) -> int:
    return node.end_lineno or node.lineno
