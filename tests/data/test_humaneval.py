from typing import Any

import pytest

from bdc_agents.data.humaneval import humaneval_plus_task, humaneval_task
from bdc_agents.errors import ProblemError
from bdc_agents.types import CallTest, ScriptTest

PROMPT = '''from typing import List


def twice(values: List[int]) -> List[int]:
    return [2 * value for value in values]


def half(values: List[int]) -> List[int]:
    """Undo twice.
    >>> half(twice([1, 2]))
    [1, 2]
    >>> half([4])
    [2]
    """
'''
SOLUTION = "    return [value // 2 for value in values]\n"
TEST = (
    "\n\ndef check(candidate):\n    assert candidate([10]) == [5]\n    assert candidate(twice([7])) == [7]\n"
)


def row(**changes: Any) -> dict[str, Any]:
    base = {
        "task_id": "HumanEval/900",
        "prompt": PROMPT,
        "entry_point": "half",
        "test": TEST,
        "canonical_solution": SOLUTION,
    }
    return base | changes


def test_a_row_becomes_a_task():
    task = humaneval_task(row())
    assert task.problem.id == "humaneval:HumanEval/900"
    assert task.problem.entry_point == "half"
    assert task.problem.starter_code == PROMPT
    assert task.problem.public_tests == (
        CallTest(call="half(twice([1, 2]))", expected=("[1, 2]",)),
        CallTest(call="half([4])", expected=("[2]",)),
    )
    (hidden,) = task.hidden.reveal()
    assert isinstance(hidden, ScriptTest)
    assert hidden.code.startswith(TEST)
    assert "[10]" not in task.problem.model_dump_json()


async def test_a_program_may_leave_out_what_the_prompt_brings(run):
    task = humaneval_task(row())
    alone = "def half(values: List[int]):\n    return [value // 2 for value in values]\n"
    assert (await run(task, alone)).passed
    assert (await run(task, task.hidden.reveal_reference())).passed
    wrong = await run(task, "def half(values):\n    return values\n")
    assert wrong.reward == 0


@pytest.mark.parametrize(
    ("text", "call", "expected"),
    [
        ("assert half([4]) == [2]", "half([4])", "[2]"),
        ("half([4]) == [2]", "half([4])", "[2]"),
        ("asssert half([4]) == [2]", "half([4])", "[2]"),
        ("assert half([4]) => [2]", "half([4])", "[2]"),
        ("assert half([4]) == [2].", "half([4])", "[2]"),
    ],
)
def test_the_public_file_is_mended(text, call, expected):
    task = humaneval_task(row(public_tests=[text]))
    assert task.problem.public_tests == (CallTest(call=call, expected=(expected,)),)


def test_a_broken_public_test_is_left_out_and_other_functions_too():
    task = humaneval_task(row(public_tests=["assert half([4]) == [(2", "other(1) == 2", "half([6]) == [3]"]))
    assert task.problem.public_tests == (CallTest(call="half([6])", expected=("[3]",)),)


def test_no_examples_leave_no_public_tests():
    task = humaneval_task(row(prompt='def half(values):\n    """Halves."""\n'))
    assert task.problem.public_tests == ()
    assert len(task.hidden) == 1


def test_a_signature_without_docstring_is_read():
    task = humaneval_task(row(prompt="import math\n\ndef half(values):\n"))
    assert task.problem.preamble == "import math"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"entry_point": "other"}, ["row", "prompt", "'other'"]),
        ({"prompt": 7}, ["row", "prompt", "a text is needed"]),
        ({"prompt": "def half(:"}, ["row", "prompt", "'half'"]),
        ({"test": None}, ["row", "test"]),
    ],
)
def test_bad_rows_are_explained(changes, words):
    with pytest.raises(ProblemError) as caught:
        humaneval_task(row(**changes))
    assert all(word in str(caught.value) for word in words)


def plus(**changes: Any) -> dict[str, Any]:
    return row(base_input=[[[10]]], plus_input=[[[2 * n]] for n in range(250)], atol=0) | changes


async def test_plus_compares_with_the_oracle(run):
    task = humaneval_plus_task(plus())
    assert task.problem.id == "humaneval+:HumanEval/900"
    assert len(task.hidden) == 3
    assert (await run(task, task.hidden.reveal_reference())).passed
    almost = "def half(values):\n    return [value // 2 if value < 498 else 0 for value in values]\n"
    verdict = await run(task, almost, task.hidden.reveal())
    assert [result.outcome for result in verdict.results].count("passed") == 2


async def test_plus_tolerance_holds_for_floats_only(run):
    solution = "    return [value / 2 for value in values]\n"
    task = humaneval_plus_task(plus(canonical_solution=solution, plus_input=[[[1]], [[5]]]))
    near = "def half(values):\n    return [value / 2 + 1e-9 for value in values]\n"
    far = "def half(values):\n    return [value / 2 + 1e-3 for value in values]\n"
    assert (await run(task, near, task.hidden.reveal())).passed
    assert not (await run(task, far, task.hidden.reveal())).passed
    whole = humaneval_plus_task(plus(plus_input=[]))
    assert not (await run(whole, near, whole.hidden.reveal())).passed


HUB_TEST = """import numpy as np

def is_floats(x) -> bool:
    if isinstance(x, float):
        return True
    if isinstance(x, (list, tuple)):
        return all(isinstance(i, float) for i in x)
    if isinstance(x, np.ndarray):
        return x.dtype == np.float64 or x.dtype == np.float32
    return False


def assertion(out, exp, atol):
    exact_match = out == exp
    if atol == 0 and is_floats(exp):
        atol = 1e-6
    if not exact_match and atol != 0:
        np.testing.assert_allclose(out, exp, atol=atol)
    else:
        assert exact_match


def check(candidate):
    inputs = [[[10]], [[3.0]]]
    results = [[5], [1.5]]
    for i, (inp, exp) in enumerate(zip(inputs, results)):
        assertion(candidate(*inp), exp, 0)
"""


@pytest.mark.parametrize("shift", ["0", "1e-9"])
async def test_the_script_of_the_hub_runs_without_numpy(run, shift):
    task = humaneval_plus_task(row(test=HUB_TEST))
    code = f"def half(values):\n    return [v / 2 + ({shift} if v == 3 else 0) for v in values]\n"
    assert (await run(task, code, task.hidden.reveal())).passed
    assert not (await run(task, "def half(values):\n    return [0]\n", task.hidden.reveal())).passed
