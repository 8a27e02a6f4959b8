import base64
import json
import os
import pickle
import zlib
from typing import Any

import pytest

from bdc_agents.data.apps import apps_task, apps_train_task
from bdc_agents.data.codecontests import codecontests_task
from bdc_agents.data.livecodebench import livecodebench_task
from bdc_agents.errors import ProblemError
from bdc_agents.types import Limits, StdinTest

STATEMENT = """Add two numbers.

-----Input-----
Two numbers.

-----Output-----
Their sum.

-----Examples-----
Input
1 2

Output
3
-----Note-----
Simple.
"""
OFFICIAL = {
    "problem_id": 7,
    "question": STATEMENT,
    "solutions": json.dumps(["print(sum(map(int, input().split())))"]),
    "input_output": json.dumps({"inputs": ["1 2\n", "3 4\n", "5 6\n"], "outputs": ["3\n", "7\n", "11\n"]}),
    "difficulty": "introductory",
    "url": "",
    "starter_code": "",
}


def inputs(tests) -> list[str]:
    return [test.stdin for test in tests]


# --- APPS -----------------------------------------------------------------------------------


async def test_an_official_apps_row_takes_the_printed_examples_as_public(run):
    task = apps_task(OFFICIAL)
    assert task.problem.id == "apps:7"
    assert task.problem.difficulty == "introductory"
    assert inputs(task.problem.public_tests) == ["1 2\n"]
    assert inputs(task.hidden.reveal()) == ["3 4\n", "5 6\n"]
    assert (await run(task, task.hidden.reveal_reference())).passed
    assert apps_train_task(OFFICIAL).problem.id == "apps-train:7"


@pytest.mark.parametrize(("count", "public"), [(0, 0), (1, 0), (2, 1), (5, 2)])
def test_without_examples_the_first_half_is_public(count, public):
    pairs = {"inputs": [f"{n}\n" for n in range(count)], "outputs": ["1\n"] * count}
    task = apps_task(OFFICIAL | {"question": "Count.", "input_output": json.dumps(pairs)})
    assert inputs(task.problem.public_tests) == pairs["inputs"][:public]
    assert inputs(task.hidden.reveal()) == pairs["inputs"][public:]


def test_an_empty_input_output_is_a_problem_without_hidden_tests():
    task = apps_task(OFFICIAL | {"input_output": "", "solutions": ""})
    assert len(task.hidden) == 0
    assert task.hidden.reveal_reference() is None


def test_lines_as_a_list_are_joined():
    lines = {"inputs": [["1", "2"]], "outputs": [["3"]]}
    task = apps_task(OFFICIAL | {"question": "x", "input_output": json.dumps(lines)})
    assert task.hidden.reveal() == (StdinTest(stdin="1\n2", expected=("3",)),)


FUNCTION = {
    "fn_name": "countBig",
    "inputs": [[{"1": 5, "2": 7}, 6], [{"1": 9}, 1], [{}, 0], [{"3": 1}, 0]],
    "outputs": [[1], [1], [0], [1]],
}


@pytest.mark.parametrize("style", ["class", "function"])
async def test_a_call_style_row_accepts_both_styles(run, style):
    task = apps_task(OFFICIAL | {"question": "Count.", "input_output": json.dumps(FUNCTION)})
    assert task.problem.entry_point == "countBig"
    assert len(task.problem.public_tests) == 2
    assert len(task.hidden) == 2
    body = "return sum(v > limit and isinstance(k, int) for k, v in values.items())"
    code = f"def countBig(values: Dict[int, int], limit: int):\n    {body}\n"
    if style == "class":
        code = (
            f"class Solution:\n    def countBig(self, values: Dict[int, int], limit: int):\n        {body}\n"
        )
    assert (await run(task, code)).passed
    assert not (await run(task, code.replace(">", "<"))).passed


def test_an_apps_row_with_split_tests():
    row = {
        "name": 4049,
        "description": STATEMENT,
        "public_tests": {"input": ["1 2\n"], "output": ["3\n"]},
        "private_tests": {"input": ["1 2", "3 4\n"], "output": ["3\n", "7\n"]},
        "difficulty": "interview",
    }
    task = apps_task(row)
    assert task.problem.id == "apps:4049"
    assert inputs(task.hidden.reveal()) == ["3 4\n"], (
        "what is public is not hidden, whatever its last newline"
    )


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"input_output": "{"}, ["input_output", "not JSON"]),
        ({"input_output": '{"inputs": ["1"], "outputs": []}'}, ["1 inputs but 0 outputs"]),
        ({"input_output": '{"inputs": [5], "outputs": [6]}'}, ["input_output", "5"]),
        ({"input_output": '{"fn_name": "a b", "inputs": [], "outputs": []}'}, ["fn_name", "a b"]),
        ({"question": None}, ["question"]),
    ],
)
def test_bad_apps_rows_are_explained(changes, words):
    with pytest.raises(ProblemError) as caught:
        apps_task(OFFICIAL | changes, "test.jsonl:3")
    assert all(word in str(caught.value) for word in ["test.jsonl:3", *words])


@pytest.mark.parametrize(
    ("sentence", "output", "tolerance"),
    [
        ("", "3\n", 0.0),
        ("", "3.5\n", 1e-6),
        ("Your answer may have an absolute or relative error of at most $10^{-4}$.", "3.5\n", 1e-4),
        ("the absolute or relative error should not exceed 10 - 9.", "3\n", 1e-9),
        ("There are 10 - 3 errors.", "3.5\n", 1e-6),
        ("There are 10 - 3 errors.", "3\n", 0.0),
        ("Numbers are at least 10^{-3}.", "3\n", 0.0),
    ],
)
def test_the_tolerance_is_the_one_the_statement_allows(sentence, output, tolerance):
    row = {
        "name": "x",
        "description": f"Add.\n{sentence}\nDone.",
        "public_tests": {"input": ["1"], "output": [output]},
        "private_tests": {"input": [], "output": []},
    }
    assert apps_task(row).problem.checker.tolerance == pytest.approx(tolerance, rel=1e-9)


# --- CodeContests ---------------------------------------------------------------------------

CONTEST = {
    "name": "1_A. Sum",
    "description": "Add two numbers.",
    "public_tests": {"input": ["1 2"], "output": ["3"]},
    "private_tests": {"input": ["3 4"], "output": ["7"]},
    "generated_tests": {"input": ["5 6", "3 4"], "output": ["11", "7"]},
    "source": 2,
    "difficulty": 9,
    "solutions": {"language": [1, 3], "solution": ["print 1", "print(sum(map(int, input().split())))"]},
    "incorrect_solutions": {"language": [], "solution": []},
    "cf_contest_id": 1,
    "cf_index": "A",
    "cf_rating": 800,
    "cf_tags": ["math", ""],
    "time_limit": {"seconds": 1, "nanos": 500_000_000},
    "memory_limit_bytes": 1_000_000_000,
}


async def test_an_official_contest_row(run):
    task = codecontests_task(CONTEST)
    assert task.problem.id == "codecontests:1_A. Sum"
    assert task.problem.difficulty == "C"
    assert task.problem.tags == ("math", "rating:800")
    assert task.problem.limits == Limits(cpu_seconds=4.5, memory_mb=1000)
    assert inputs(task.problem.public_tests) == ["1 2"]
    assert inputs(task.hidden.reveal()) == ["3 4", "5 6"]
    assert (await run(task, task.hidden.reveal_reference())).passed


def test_a_contest_row_with_labels():
    row = CONTEST | {
        "id": "1_a_sum_5",
        "cluster": 0,
        "solution_passes_exact_match": False,
        "time_limit": None,
        "memory_limit_bytes": 0,
        "generated_tests": None,
        "difficulty": 0,
        "cf_rating": 0,
    }
    problem = codecontests_task(row).problem
    assert problem.id == "codecontests:1_a_sum_5"
    assert problem.tags == ("math", "cluster:0", "inexact")
    assert problem.limits == Limits()
    assert problem.difficulty is None


def test_lengths_that_differ_are_explained():
    with pytest.raises(ProblemError, match=r"private_tests.*1 inputs but 0 outputs"):
        codecontests_task(CONTEST | {"private_tests": {"input": ["1"], "output": []}})


# --- LiveCodeBench --------------------------------------------------------------------------


def packed(value: Any) -> str:
    return base64.b64encode(zlib.compress(pickle.dumps(value))).decode()


PUBLIC = [{"input": "1 2\n", "output": "3\n", "testtype": "stdin"}]
PRIVATE = [{"input": "3 4\n", "output": "7\n", "testtype": "stdin"}]
LCB = {
    "question_title": "Sum",
    "question_content": "Add two numbers.",
    "platform": "atcoder",
    "question_id": "abc301_a",
    "contest_id": "abc301",
    "contest_date": "2023-05-13T00:00:00",
    "starter_code": "",
    "difficulty": "easy",
    "public_test_cases": json.dumps(PUBLIC),
    "private_test_cases": packed(json.dumps(PRIVATE)),
    "metadata": "{}",
}


@pytest.mark.parametrize("private", [packed(json.dumps(PRIVATE)), json.dumps(PRIVATE), packed(PRIVATE)])
def test_private_tests_are_read_packed_and_plain(private):
    task = livecodebench_task(LCB | {"private_test_cases": private})
    assert task.problem.id == "livecodebench:abc301_a"
    assert task.problem.tags == ("atcoder", "date:2023-05-13")
    assert inputs(task.problem.public_tests) == ["1 2\n"]
    assert inputs(task.hidden.reveal()) == ["3 4\n"]


async def test_a_functional_problem(run):
    def case(given: str, output: str) -> dict[str, str]:
        return {"input": given, "output": output, "testtype": "functional"}

    row = LCB | {
        "metadata": json.dumps({"func_name": "pairs"}),
        "starter_code": "class Solution:\n    def pairs(self, xs: List[int], sep: str) -> List[str]:\n"
        + " " * 8,
        "public_test_cases": json.dumps([case('[1, 2]\n"-"', '["1-2"]')]),
        "private_test_cases": packed(
            json.dumps([case('[]\n"x"', "[]"), case('[1, 2, 3]\n"+"', '["1+2", "2+3"]')])
        ),
    }
    task = livecodebench_task(row)
    assert task.problem.entry_point == "pairs"
    code = row["starter_code"] + "return tuple(f'{a}{sep}{b}' for a, b in pairwise(xs))\n"
    assert (await run(task, code)).passed, "a tuple is as good as a list"
    assert not (await run(task, row["starter_code"] + "return []\n")).passed


class Attack:
    def __reduce__(self):
        return os.mkdir, (self.path,)

    def __init__(self, path: str) -> None:
        self.path = path


def test_a_pickle_that_would_run_something_is_refused(tmp_path):
    target = tmp_path / "made"
    with pytest.raises(ProblemError, match="mkdir"):
        livecodebench_task(LCB | {"private_test_cases": packed(Attack(str(target)))})
    assert not target.exists()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"private_test_cases": "!!"}, ["private_test_cases"]),
        ({"private_test_cases": base64.b64encode(b"no zlib").decode()}, ["private_test_cases"]),
        (
            {"private_test_cases": base64.b64encode(zlib.compress(b"no pickle")).decode()},
            ["private_test_cases"],
        ),
        ({"public_test_cases": '[{"input": "1"}]'}, ["public_test_cases[0]", "output"]),
        ({"public_test_cases": '{"a": 1}'}, ["public_test_cases"]),
        ({"metadata": '{"func_name": "a b"}'}, ["func_name"]),
        ({"metadata": "{"}, ["metadata"]),
    ],
)
def test_bad_rows_of_livecodebench_are_explained(changes, words):
    with pytest.raises(ProblemError) as caught:
        livecodebench_task(LCB | changes, "test6.jsonl:1")
    assert all(word in str(caught.value) for word in ["test6.jsonl:1", *words])


def statement_row(text: str, **changes: Any) -> dict[str, Any]:
    return CONTEST | {"description": text} | changes


def test_what_no_test_can_judge_is_tagged():
    assert codecontests_task(statement_row("Add. This is an interactive problem.")).problem.unjudged == (
        "interactive",
    )
    several = statement_row(
        "If there are several answers, print any of them.", solution_passes_exact_match=False
    )
    assert set(codecontests_task(several).problem.unjudged) == {"inexact", "any-answer"}
    assert apps_task(OFFICIAL | {"question": "Print any valid order."}).problem.unjudged == ("any-answer",)
    assert codecontests_task(CONTEST).problem.unjudged == ()


FILES = CONTEST | {"input_file": "in.txt", "output_file": "out.txt"}


@pytest.mark.parametrize(
    "code",
    [
        "a = open('in.txt').read().split()\nopen('out.txt', 'w').write(str(sum(map(int, a))))",
        "f = open('out.txt', 'w')\nprint(sum(map(int, open('in.txt').readline().split())), file=f)",
        "import sys\nsys.stdin = open('in.txt', 'r')\nsys.stdout = open('out.txt', 'w')\n"
        "print(sum(map(int, input().split())))",
        "with open('./in.txt', 'rb') as f, open('out.txt', 'wb') as g:\n"
        "    g.write(b'%d' % sum(map(int, f.read().split())))",
        "from pathlib import Path\na = Path('in.txt').read_text().split()\n"
        "Path('out.txt').write_text(str(sum(map(int, a))))",
        "print(sum(map(int, input().split())))",
        "open('in.txt').read()\nprint(sum(map(int, open('in.txt').read().split())))",
    ],
)
async def test_a_program_finds_the_files_of_its_contest(run, code):
    assert (await run(codecontests_task(FILES), code)).passed


async def test_other_files_are_not_the_streams(run):
    verdict = await run(codecontests_task(FILES), "print(open('in2.txt').read())")
    assert {result.outcome for result in verdict.results} == {"error"}
    for name in ("", "stdin", None):
        assert (
            codecontests_task(CONTEST | {"input_file": name, "output_file": "stdout"}).problem.preamble == ""
        )


async def test_a_limit_on_output_leaves_room_for_what_is_expected(run):
    long = "7 " * 1_100_000
    row = CONTEST | {"private_tests": {"input": ["9"], "output": [long]}, "generated_tests": None}
    task = codecontests_task(row)
    assert task.problem.limits.output_bytes == Limits().output_bytes, "no limit tells of a hidden test"
    code = f"n = input()\nprint('7 ' * 1_100_000 if n == '9' else {CONTEST['public_tests']['output'][0]})"
    assert (await run(task, code)).passed
    verdict = await run(task, "print('7' * 9_000_000)", task.hidden.reveal())
    assert verdict.results[0].outcome == "output"


async def test_a_value_that_is_expected_fits_too(run):
    strings = ["\U0001f600" * 90_000]
    row = {"fn_name": "f", "inputs": [[1], [2]], "outputs": [[strings], [strings]]}
    task = apps_task(OFFICIAL | {"question": "Smile.", "input_output": json.dumps(row)})
    assert (await run(task, "def f(n):\n    return ['\\U0001f600' * 90_000]")).passed


async def test_integers_may_have_thousands_of_digits(run):
    digits = "9" * 6000
    text = f'{{"fn_name": "f", "inputs": [[1], [2]], "outputs": [[{digits}], [[{digits}, 1]]]}}'
    task = apps_task(OFFICIAL | {"question": "Nines.", "input_output": text})
    code = "def f(n):\n    big = 10 ** 6000 - 1\n    return big if n == 1 else (big, 1)"
    verdict = await run(task, code)
    assert verdict.passed
    assert not (await run(task, code.replace("- 1", "- 2"))).passed


@pytest.mark.parametrize(
    "code",
    [
        "print(sum(map(int, deque([input()]).pop().split())))",
        "def depth(n):\n    return n and 1 + depth(n - 1)\n"
        "depth(9000)\nprint(reduce(add, map(int, input().split())))",
    ],
)
async def test_livecodebench_puts_its_prelude_before_stdin_programs_too(run, code):
    assert (await run(livecodebench_task(LCB), code)).passed


async def test_a_tolerance_holds_for_the_floats_of_a_function(run):
    case = {"input": "3", "output": "0.33333", "testtype": "functional"}
    row = LCB | {
        "question_content": "Divide. Answers within 10^{-5} of the actual answer will be accepted.",
        "metadata": '{"func_name": "f"}',
        "public_test_cases": json.dumps([case]),
        "private_test_cases": "[]",
    }
    task = livecodebench_task(row)
    assert (await run(task, "class Solution:\n    def f(self, n):\n        return 1 / n")).passed
    assert not (await run(task, "class Solution:\n    def f(self, n):\n        return 1 / n + 0.001")).passed
