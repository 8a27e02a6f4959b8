"""Every outcome, and what a reader of a verdict sees."""

import pytest

from bdc_agents.errors import ProblemError
from bdc_agents.types import CallTest, Checker, Limits, ScriptTest, StdinTest

ADD = "def add(a, b):\n    return a + b\n"

HUMANEVAL_PROMPT = '''from typing import List


def has_close_elements(numbers: List[float], threshold: float) -> bool:
    """ Check if any two numbers are closer to each other than the threshold. """
'''
HUMANEVAL_SOLUTION = """    for idx, elem in enumerate(numbers):
        for idx2, elem2 in enumerate(numbers):
            if idx != idx2 and abs(elem - elem2) < threshold:
                return True

    return False
"""
HUMANEVAL_CHECK = """
METADATA = {'author': 'jt', 'dataset': 'test'}


def check(candidate):
    assert candidate([1.0, 2.0, 3.9, 4.0, 5.0, 2.2], 0.3) == True
    assert candidate([1.0, 2.0, 3.9, 4.0, 5.0, 2.2], 0.05) == False

check(has_close_elements)
"""
DEFAULTS = Limits(wall_seconds=3, memory_mb=128)


async def test_call_is_compared_with_any_accepted_value(run):
    tests = [CallTest(call="add(1, 2)", expected=expected) for expected in (("3",), ("4", "3"), ("4",))]
    verdict = await run(ADD, *tests)
    assert [result.outcome for result in verdict.results] == ["passed", "passed", "wrong"]
    assert verdict.results[2].actual == "3"
    assert verdict.results[2].shown == "add(1, 2)"
    assert verdict.results[2].expected == "4"
    assert verdict.reward == pytest.approx(2 / 3)
    assert verdict.tier in ("namespaces", "bubblewrap")


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("None", "None"),
        ("True", "1"),
        ("10 ** 30", "1000000000000000000000000000000"),
        ("-(2 ** 100)", "-1267650600228229401496703205376"),
        ("float('nan')", "float('nan')"),
        ("[-float('inf'), 0.1 + 0.2]", "[-inf, 0.30000000000000004]"),
        ("2 - 3j", "2 - 3j"),
        ("'\\ud800é\\n'", "'\\ud800é\\n'"),
        ("bytes(range(3))", "b'\\x00\\x01\\x02'"),
        ("[(1, [2]), {3: {4}}]", "[(1, [2]), {3: {4}}]"),
        ("set()", "set()"),
        ("frozenset({1})", "frozenset({1})"),
        ("collections.Counter('aab')", "{'a': 2, 'b': 1}"),
        ("collections.namedtuple('P', 'x y')(1, 2)", "(1, 2)"),
    ],
)
async def test_values_arrive_as_they_are(call, expression, expected):
    result = await call("import collections", expression, expected)
    assert result.outcome == "passed", result


@pytest.mark.parametrize(
    ("expression", "expected"),
    [("(1, 2)", "[1, 2]"), ("range(2)", "[0, 1]"), ("'1'", "1"), ("b'a'", "'a'"), ("object()", "None")],
)
async def test_values_of_other_types_differ(call, expression, expected):
    assert (await call("", expression, expected)).outcome == "wrong"


async def test_a_tolerance_holds_for_values(call):
    checker = Checker(tolerance=1e-6)
    assert (await call("", "[1 / 3]", "[0.3333333]", checker=checker)).outcome == "passed"
    assert (await call("", "[1 / 3]", "[0.3333333]")).outcome == "wrong"
    assert (await call("", "{1 / 3, 2.5}", "{2.5, 0.3333333}", checker=checker)).outcome == "passed"
    assert (await call("", "{1 / 3, 2.5}", "{2.5, 0.3333333}")).outcome == "wrong"
    assert (await call("", "[{1 / 3}]", "[{0.3334}]", checker=checker)).outcome == "wrong"


async def test_setup_runs_before_the_call(run):
    test = CallTest(setup="xs = [3, 1]\nxs.sort()", call="add(*xs)", expected=("4",))
    verdict = await run(ADD, test)
    assert verdict.passed
    assert verdict.results[0].shown == "xs = [3, 1]\nxs.sort()\nadd(*xs)"


async def test_an_error_names_type_message_and_line_of_the_program(run):
    code = "def f(x):\n    y = 1\n    return {}[x]\n"
    verdict = await run(code, CallTest(call="f('k')", expected=("1",)), preamble="import math\n" * 5)
    (result,) = verdict.results
    assert (result.outcome, result.error, result.line) == ("error", "KeyError: 'k'", 3)


async def test_a_syntax_error_fails_every_test_with_its_line(run):
    tests = (
        CallTest(call="f()", expected=("1",)),
        StdinTest(stdin="", expected=("",)),
        ScriptTest(code="f()"),
    )
    verdict = await run("def f():\n    return 1\n  oops\n", *tests)
    assert [(r.outcome, r.line) for r in verdict.results] == [("error", 3)] * 3
    assert verdict.results[0].error.startswith("IndentationError: ")


async def test_an_error_in_the_preamble_has_no_line_of_the_program(run):
    verdict = await run(ADD, CallTest(call="add(1, 2)", expected=("3",)), preamble="import nothing_like_it")
    assert (verdict.results[0].outcome, verdict.results[0].line) == ("error", None)


async def test_the_preamble_shares_the_namespace(run):
    code = "def area(r):\n    return math.pi * r"
    verdict = await run(code, CallTest(call="area(0)", expected=("0",)), preamble="import math")
    assert verdict.passed


async def test_the_main_guard_of_a_program_runs_for_stdin_only(run):
    code = "def f():\n    return 1\nif __name__ == '__main__':\n    print(f() + int(input()))\n"
    tests = (CallTest(call="f()", expected=("1",)), StdinTest(stdin="4\n", expected=("5",)))
    assert (await run(code, *tests)).passed


@pytest.mark.parametrize(
    "code",
    [
        "print(sum(int(input()) for _ in range(2)))",
        "import sys\nprint(sum(map(int, sys.stdin.read().split())))",
        "import sys\nprint(sum(map(int, sys.stdin)))",
        "import sys\nsys.stdout.buffer.write(b'%d\\n' % sum(map(int, sys.stdin.buffer)))",
        "print(sum(map(int, open(0).read().split())))",
        "print(sum(map(int, open('/dev/stdin').read().split())))",
        "import os\nprint(sum(map(int, os.read(0, os.fstat(0).st_size).split())))",
        "import sys\nprint(sum(map(int, sys.stdin)))\nsys.exit(0)",
        "import sys\nprint(sum(map(int, sys.stdin)))\nsys.exit()",
        "print(int(input()) + int(input()))\nexit()",
        "import os\nprint(int(input()) + int(input()), flush=True)\nos._exit(0)",
        "import sys, threading\nsys.setrecursionlimit(10**6)\nthreading.stack_size(2**26)\n"
        "def main():\n    print(int(input()) + int(input()))\nthreading.Thread(target=main).start()",
        "import atexit, io, os, sys\nout = io.StringIO()\nsys.stdout = out\n"
        "atexit.register(lambda: os.write(1, out.getvalue().encode()))\nprint(int(input()) + int(input()))",
        "out = open(1, 'w', closefd=False)\nout.write(str(int(input()) + int(input())))",
    ],
)
async def test_every_way_of_reading_and_ending_works(run, code):
    verdict = await run(code, StdinTest(stdin="19\n23\n", expected=("42\n",)))
    assert verdict.passed, verdict.results


async def test_a_large_input_arrives_whole(run):
    text = "7\n" * 400_000
    assert (
        await run("import sys\nprint(len(sys.stdin.read()))", StdinTest(stdin=text, expected=("800000",)))
    ).passed


@pytest.mark.parametrize(
    ("code", "outcome", "error", "line"),
    [
        ("print(41)", "wrong", "", None),
        ("import sys\nprint(42)\nsys.exit(3)", "error", "SystemExit: 3", 3),
        ("import os\nprint(42, flush=True)\nos._exit(3)", "error", "the program exited with status 3", None),
        ("print(42)\n1 / 0", "error", "ZeroDivisionError: division by zero", 2),
        (
            "import threading\ndef f():\n    {}[0]\nthreading.Thread(target=f).start()",
            "error",
            "KeyError: 0",
            3,
        ),
        (
            "import threading\ndef f():\n    exit(0)\n    print(42)\nthreading.Thread(target=f).start()",
            "wrong",
            "",
            None,
        ),
        ("import os\nos.kill(os.getpid(), 11)", "killed", "ended by SIGSEGV", None),
        ("while True: pass", "timeout", "wall time limit passed", None),
        ("import time\ntime.sleep(9)", "timeout", "wall time limit passed", None),
        ("x = [0] * 10**9", "memory", "MemoryError", 1),
        ("x = []\nwhile True: x.append('a' * 10**6)", "memory", "memory limit passed", None),
        ("while True: print('x' * 1000)", "output", "output limit passed", None),
    ],
)
async def test_every_outcome_of_a_stdin_test(run, code, outcome, error, line):
    limits = Limits(wall_seconds=1.5, cpu_seconds=5, memory_mb=64, output_bytes=100_000)
    (result,) = (await run(code, StdinTest(stdin="", expected=("42",)), limits=limits)).results
    assert (result.outcome, result.error, result.line) == (outcome, error, line)


async def test_a_thread_that_fails_does_not_end_the_program(run):
    """As in Python: the exit status is 0, and the output decides."""
    for line in ("exit()", "sys.exit(3)", "raise SystemExit", "raise KeyError", "1 / 0"):
        code = f"import sys, threading\nnumber = int(input())\ndef work():\n    {line}\n"
        code += "threading.Thread(target=work).start()\nprint(number)\n"
        verdict = await run(code, StdinTest(stdin="42", expected=("42",)))
        assert verdict.passed, (line, verdict.results)


async def test_cpu_time_is_limited_apart_from_wall_time(call):
    limits = Limits(wall_seconds=300, cpu_seconds=0.5)
    result = await call("def f():\n    while True: pass", "f()", limits=limits)
    assert (result.outcome, result.error) == ("timeout", "CPU time limit passed")
    assert result.seconds < 100


async def test_tests_after_a_failed_one_still_run(run):
    code = (
        "import os, time\ndef f(x):\n    if x == 0: os.kill(os.getpid(), 9)\n"
        "    if x == 1: time.sleep(9)\n    return x"
    )
    tests = [CallTest(call=f"f({x})", expected=("2",)) for x in (2, 0, 1, 2)]
    verdict = await run(code, *tests, limits=Limits(wall_seconds=1))
    assert [result.outcome for result in verdict.results] == ["passed", "killed", "timeout", "passed"]


async def test_deep_recursion_is_an_error_with_a_line(call):
    result = await call("def f(x):\n    return f(x + 1)", "f(0)")
    assert (result.outcome, result.line) == ("error", 2)
    assert result.error.startswith("RecursionError")


async def test_texts_are_cut_in_the_middle(call):
    result = await call("def f():\n    return 'a' * 5000 + 'z'", "f()")
    assert len(result.actual) == 500
    assert result.actual.startswith("'aaa")
    assert result.actual.endswith("z'")
    assert "more characters" in result.actual


async def test_texts_are_always_valid_unicode(run):
    verdict = await run("raise ValueError('\\ud800')", StdinTest(stdin="", expected=("",)))
    verdict.model_dump_json().encode("utf-8")


async def test_a_value_larger_than_the_output_limit_is_an_output_failure(call):
    result = await call("", "'x' * 10**6", limits=Limits(output_bytes=50_000))
    assert result.outcome == "output"


async def test_an_integer_of_thousands_of_digits_is_judged(call):
    assert (await call("", "10 ** 5000", "1")).outcome == "wrong"
    assert (await call("", "10 ** 5000", "1" + "0" * 5000)).outcome == "passed"


async def test_a_value_nested_too_deeply_is_wrong(call):
    code = "x = []\nfor _ in range(5000):\n    x = [x]\nloop = []\nloop.append(loop)"
    assert (await call(code, "x", "[]")).outcome == "wrong"
    assert (await call(code, "loop", "[]")).outcome == "wrong"


# --- scripts ------------------------------------------------------------------------------------


async def test_humaneval_style_scripts(run):
    right = await run(HUMANEVAL_PROMPT + HUMANEVAL_SOLUTION, ScriptTest(code=HUMANEVAL_CHECK))
    assert right.passed, right.results
    wrong = await run(HUMANEVAL_PROMPT + "    return True\n", ScriptTest(code=HUMANEVAL_CHECK))
    (result,) = wrong.results
    assert result.outcome == "wrong"
    assert result.shown == "assert candidate([1.0, 2.0, 3.9, 4.0, 5.0, 2.2], 0.05) == False"
    assert (result.actual, result.expected) == ("True", "False")


async def test_a_failed_assert_shows_both_sides_as_they_were(run):
    code = "calls = []\ndef f():\n    calls.append(1)\n    return len(calls)\n"
    script = "assert f() == 1\nassert (f()\n    == 7), 'seven'\n"
    (result,) = (await run(code, ScriptTest(code=script))).results
    assert (result.outcome, result.actual, result.expected) == ("wrong", "2", "7")
    assert result.error == "AssertionError: seven"
    assert result.shown == "assert (f()\n    == 7), 'seven'"


@pytest.mark.parametrize(
    ("script", "outcome"),
    [
        ("assert add(1, 2)", "passed"),
        ("assert not add(1, 2)", "wrong"),
        ("assert add(1, 2) == 3 == 4", "wrong"),
        ("for i in range(3):\n    assert add(i, 1) < 3", "wrong"),
        ("def g():\n    assert add('a', 1) == 2\ng()", "error"),
        ("undefined_name", "error"),
        ("def (", "error"),
        ("", "error"),
    ],
)
async def test_scripts_pass_only_at_their_end(run, script, outcome):
    (result,) = (await run(ADD, ScriptTest(code=script))).results
    assert result.outcome == outcome


async def test_an_assertion_inside_the_program_is_an_error(run):
    (result,) = (await run("def f():\n    assert 1 == 2\n", ScriptTest(code="f()"))).results
    assert (result.outcome, result.line) == ("error", 2)


REMOTE = {
    "an object of the program's class": (
        "class Stack:\n    def __init__(self): self.x = []\n    def push(self, v): self.x.append(v)\n"
        "    def pop(self): return self.x.pop()\n",
        "s = Stack()\ns.push(3)\nassert s.pop() == 3\nassert isinstance(s, Stack)\n"
        "try:\n    s.pop()\nexcept IndexError:\n    pass\nelse:\n    assert False",
    ),
    "an argument changed in place": ("def f(x):\n    x.sort()", "a = [3, 1]\nf(a)\nassert a == [1, 3]"),
    "a generator": ("def f(n):\n    yield from range(n)", "assert list(f(3)) == [0, 1, 2]"),
    "objects of the script's class": (
        "def total(n):\n    return n.value + total(n.next) if n else 0",
        "class Node:\n    def __init__(s, v, n=None):\n        s.value, s.next = v, n\n"
        "assert total(Node(1, Node(2))) == 3",
    ),
    "functions of the script": (
        "def f(xs, key):\n    return sorted(xs, key=key)",
        "assert f([1, -2], abs) == [1, -2]\nassert f(['b', 'A'], lambda s: s.lower()) == ['A', 'b']",
    ),
    "an error of the program's class": (
        "class Odd(ValueError): pass\ndef f():\n    raise Odd('x')",
        "try:\n    f()\nexcept ValueError as error:\n    assert str(error) == 'x'\nelse:\n    assert False",
    ),
}


@pytest.mark.parametrize("name", REMOTE)
async def test_scripts_use_what_is_no_plain_data(run, name):
    code, script = REMOTE[name]
    (result,) = (await run(code, ScriptTest(code=script))).results
    assert result.outcome == "passed", result


# --- the caller's mistakes ----------------------------------------------------------------------


async def test_an_expected_value_that_is_no_literal_is_the_callers_mistake(run):
    with pytest.raises(ProblemError, match="open"):
        await run(ADD, CallTest(call="add(1, 2)", expected=("open('x')",)))


async def test_without_tests_nothing_runs(run):
    verdict = await run("while True: pass")
    assert (verdict.results, verdict.reward) == ((), 0.0)
