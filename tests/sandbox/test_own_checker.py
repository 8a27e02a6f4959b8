"""A problem's own checker: what it may say, and that nothing it does by mistake passes a program."""

import pytest

from bdc_agents.sandbox import BackendExecutor, Job, own_checker
from bdc_agents.sandbox.inside.wire import Ending
from bdc_agents.sandbox.judge import judge
from bdc_agents.types import Checker, Limits, Problem, ScriptTest, StdinTest, TestResult, Verdict

from .test_backend import Shell

SUM = """
def check(stdin, printed, expected):
    one, other = map(int, printed.split())
    return True if one + other == int(stdin) else f"the sum of {one} and {other} is not {stdin.strip()}"

def test_of_the_file_itself():
    raise AssertionError

if __name__ == "__main__":
    raise SystemExit("no arguments")
"""
TESTS = (StdinTest(stdin="5\n", expected="2 3"), StdinTest(stdin="8\n", expected=""))
RIGHT = "n = int(input())\nprint(n - 1, 1)"


@pytest.fixture
def checked_by(run, monkeypatch):
    """The results of a program under a checker, each as its outcome and error."""
    monkeypatch.setattr(own_checker, "_LIMITS", Limits(cpu_seconds=0.5, memory_mb=256))

    async def results(checker: str, program: str = RIGHT, **fields):
        own = Problem(statement="Do.", checker=checker).checker
        verdict = await run(program, *TESTS, checker=own, **fields)
        return [(one.outcome, one.error) for one in verdict.results]

    return results


async def test_every_right_answer_passes_and_a_wrong_one_is_told_why(checked_by):
    assert await checked_by(SUM) == [("passed", "")] * 2
    assert await checked_by(SUM, "print(2, 3)") == [("passed", ""), ("wrong", "the sum of 2 and 3 is not 8")]
    assert await checked_by("def check(a, b, c): return False") == [("wrong", "")] * 2


async def test_it_is_asked_after_a_failure_too_where_the_caller_wants_no_partial_credit(checked_by):
    found = await checked_by(SUM, "print(8, 0)", stop_at_failure=True)
    assert [outcome for outcome, _ in found] == ["wrong", "passed"]


@pytest.mark.parametrize(
    ("checker", "said"),
    [
        ("def check(a, b, c): return 1 / 0", "ZeroDivisionError"),
        ("def check(a, b, c): raise ValueError('\\x1b[2J')", "ValueError: \\x1b[2J"),
        ("def check(a, b, c): print('right')", "it returned NoneType"),
        ("def check(a, b, c): return 1", "it returned int"),
        ("import sys\ndef check(a, b, c): sys.exit(0)", "SystemExit"),
        ("import os\ndef check(a, b, c): os._exit(0)", "ended"),
        ("def check(a, b, c):\n    while True: pass", "CPU time limit"),
        ("def check(a, b): return True", "TypeError"),
        ("import no_such_module\ndef check(a, b, c): return True", "no_such_module"),
        ("def check(a, b, c): return True\nraise ValueError('at once')", "at once"),
        (
            "class Always:\n    def __eq__(self, o): return True\ndef check(a, b, c): return Always()",
            "Always",
        ),
    ],
)
async def test_a_checker_that_fails_passes_nothing_and_is_told_as_such(checked_by, checker, said):
    for outcome, error in await checked_by(checker):
        assert outcome == "error"
        assert error.startswith(own_checker.FAULT)
        assert said in error


async def test_a_program_that_fails_is_not_shown_to_it(checked_by):
    always = "def check(a, b, c): return True"
    assert await checked_by(always, "1 / 0") == [("error", "ZeroDivisionError: division by zero")] * 2
    assert (await checked_by(always, "import sys\nprint(1)\nsys.exit(3)"))[0][0] == "error"


HOSTILE = [
    "print(\"'''+__import__('os')._exit(0)+'''\")",
    "print('True'); print('\\\\')",
    "import sys; sys.stdout.buffer.write(bytes(range(256)))",
    "open('/tmp/int.py', 'w').write('x')\nprint('WrongOutput: assert decide() is True')",
]


@pytest.mark.parametrize("program", HOSTILE)
async def test_what_a_program_prints_is_text_and_nothing_else(checked_by, program):
    refuse = "def check(stdin, printed, expected): return type(printed) is not str"
    assert await checked_by(refuse, program) == [("wrong", "")] * 2


async def test_what_is_expected_goes_to_no_process_but_the_checkers():
    """As code of a script test, which a worker's other processes never read."""
    asked: list[Job] = []

    async def run(job: Job) -> Verdict:
        asked.append(job)
        return Verdict(results=tuple(TestResult(outcome="passed") for _ in job.tests), tier="none")

    job = Job(code="print('a program')", tests=TESTS, checker=Checker(code=SUM))
    unknown = [TestResult(outcome="wrong")] * 2
    found = await own_checker.checked(job, unknown, ["2 3", None], run)
    assert [one.outcome for one in found] == ["passed", "wrong"]
    assert [type(test) for job in asked for test in job.tests] == [ScriptTest]
    assert asked[0].code == ""
    assert not asked[0].checker.code


def test_without_its_answer_nothing_is_passed():
    ending = Ending("exit", 0, True, 0.1, b"2 3", b'{"done": true}')
    assert judge(TESTS[0], ending, Checker(code=SUM)).outcome == "wrong"


async def test_it_decides_in_a_backend_too():
    executor = BackendExecutor(Shell(), "shell")
    verdict = await executor.run(Job(code="print(1, 4)", tests=TESTS, checker=Checker(code=SUM)))
    assert [one.outcome for one in verdict.results] == ["passed", "wrong"]


LANGUAGES = {
    "C++": "#include <iostream>\nusing namespace std;\nint main() { int n; cin >> n; cout << n; }",
    "C": '#include <stdio.h>\nint main(void) { printf("1"); return 0; }',
    "Java": "import java.util.*;\npublic class Main { public static void main(String[] a) {} }",
    "JavaScript": "const n = 1;\nconsole.log(n);",
    "Rust": "fn main() {\n    let mut n = 1;\n}",
    "Go": 'package main\nimport "fmt"\nfunc main() { fmt.Println(1) }',
}


@pytest.mark.parametrize("language", LANGUAGES)
async def test_a_program_in_another_language_is_named(run, language):
    verdict = await run(LANGUAGES[language], TESTS[0])
    assert f"(this looks like {language}; the program must be Python)" in verdict.results[0].error


async def test_a_slip_in_python_is_not_taken_for_another_language(run):
    verdict = await run("def f(x):\n    return 'public static #include <vector> std::'.split(", TESTS[0])
    assert verdict.results[0].error.startswith("SyntaxError")
    assert "looks like" not in verdict.results[0].error
