"""Tests of a class as two lists, the way LeetCode writes them: in every form a person may give them."""

import asyncio
from typing import Any

import pytest

from bdc_agents import prompts
from bdc_agents.config import SandboxConfig
from bdc_agents.data import problem_from_statement, task_from_dict
from bdc_agents.errors import ProblemError
from bdc_agents.sandbox import create_executor, job_for
from bdc_agents.search.choice.inputs import further_inputs
from bdc_agents.types import CallTest, Problem, StdinTest

NAMES, ARGS = ["Stack", "push", "push", "top", "pop", "top"], [[8], [1], [2], [], [], []]
EXPECTED = [None, None, None, 2, None, 1]
NAMES_TEXT, ARGS_TEXT = '["Stack","push","push","top","pop","top"]', "[[8],[1],[2],[],[],[]]"
EXPECTED_TEXT = "[null,null,null,2,null,1]"
SETUP = """\
results = []
obj = Stack(8)
obj.push(1)
obj.push(2)
results.append(obj.top())
obj.pop()
results.append(obj.top())"""
RIGHT = """\
class Stack:
    def __init__(self, size):
        self.items = []
    def push(self, item):
        self.items.append(item)
    def top(self):
        return self.items[-1]
    def pop(self):
        return self.items.pop()
"""
STARTER = "class Stack:\n    def __init__(self, size):\n        ...\n    def top(self):\n        ..."

FORMS: tuple[Any, ...] = (
    [[NAMES, ARGS], EXPECTED],
    {"operations": NAMES, "args": ARGS, "expected": EXPECTED},
    {"commands": NAMES, "arguments": ARGS, "output": EXPECTED},
    {"input": [NAMES, ARGS], "output": EXPECTED},
    {"args": [NAMES, ARGS], "expected": EXPECTED},
    {"input": f"{NAMES_TEXT}\n{ARGS_TEXT}\n", "output": EXPECTED_TEXT},
    [f"{NAMES_TEXT}\n{ARGS_TEXT}", EXPECTED_TEXT],
    f"{NAMES_TEXT}\n{ARGS_TEXT} -> {EXPECTED_TEXT}",
    f"{NAMES_TEXT}, {ARGS_TEXT} -> {EXPECTED_TEXT}",
    f"operations = {NAMES}, args = {ARGS} -> {EXPECTED}",
    f"names = {NAMES_TEXT}\nargs = {ARGS_TEXT}\n-> {EXPECTED_TEXT}",
    f'{{"operations": {NAMES_TEXT}, "args": {ARGS_TEXT}, "expected": {EXPECTED_TEXT}}}',
)


@pytest.mark.parametrize("more", [{}, {"entry_point": "Stack"}, {"starter_code": STARTER}], ids=str)
@pytest.mark.parametrize("form", FORMS, ids=str)
def test_operations_make_an_object_and_call_its_methods(form: Any, more: dict[str, str]) -> None:
    task = task_from_dict({"id": "stack", "statement": "Design a stack.", "public_tests": [form], **more})
    assert task.problem.public_tests == (CallTest(call="results", expected=("[2, 1]",), setup=SETUP),)
    assert task.problem.entry_point == "Stack"
    assert task.warnings == ()


def test_programs_are_judged_by_what_the_methods_give() -> None:
    problem = Problem(statement="Design a stack.", public_tests=FORMS[:1])
    programs = [RIGHT, RIGHT.replace("items[-1]", "items[0]"), RIGHT.replace("def pop", "def drop")]

    async def run() -> list[tuple[str, str]]:
        executor = create_executor(SandboxConfig(workers=1))
        try:
            jobs = [job_for(problem, code, problem.public_tests) for code in programs]
            results = [(await executor.run(job)).results[0] for job in jobs]
            return [(one.outcome, one.actual or one.error) for one in results]
        finally:
            await executor.aclose()

    # LeetCode's pop returns nothing; a program's may give what it took away.
    passed, wrong, failed = asyncio.run(run())
    assert passed == ("passed", "[2, 1]")
    assert wrong == ("wrong", "[1, 1]")
    assert failed[0] == "error"
    assert "'Stack' object has no attribute 'pop'" in failed[1]


def test_null_is_compared_where_a_method_gives_values_or_none_does() -> None:
    names, args = ["Map", "set", "get", "get"], [[], ["a", 1], ["a"], ["b"]]
    [test] = Problem(statement="Map.", public_tests=[[[names, args], [None, None, 1, None]]]).public_tests
    assert isinstance(test, CallTest)
    assert test.expected == ("[1, None]",)
    [test] = Problem(statement="Map.", public_tests=[[[names, args], [None, None, None, None]]]).public_tests
    assert isinstance(test, CallTest)
    assert test.expected == ("[None, None, None]",)


def test_two_lists_are_arguments_where_a_function_takes_them() -> None:
    for more in ({"entry_point": "run"}, {"starter_code": "def run(names, args):\n    ..."}):
        [test] = Problem(statement="Run.", public_tests=FORMS[:1], **more).public_tests  # type: ignore[arg-type]
        assert isinstance(test, CallTest)
        assert test.call == f"run({NAMES}, {ARGS})"


def test_text_that_is_named_stdin_stays_so_and_is_told() -> None:
    form = {"stdin": f"{NAMES_TEXT}\n{ARGS_TEXT}", "expected": EXPECTED_TEXT}
    task = task_from_dict({"id": "x", "statement": "Design it.", "public_tests": [form]})
    assert isinstance(task.problem.public_tests[0], StdinTest)
    assert any("class Stack" in line and '"input"' in line for line in task.warnings)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"args": ARGS[1:]}, "args: a list with one entry for each of the 6 operations"),
        ({"args": [8, *ARGS[1:]]}, "stand in a list, such as [[], [1]]; found 8"),
        ({"args": None}, "args: a list"),
        ({"expected": [2, 1]}, "expected: a list with one entry for each of the 6"),
        ({"expected": [0, *EXPECTED[1:]]}, "null for the class Stack"),
        ({"operations": ["Stack", "push it"]}, "operations: names in a list"),
        ({"operations": ["Stack"], "args": [[]], "expected": [None]}, "nothing is called"),
        ({"args": [[float("nan")], *ARGS[1:]]}, "NaN and Infinity have no names"),
        ({"operatons": NAMES, "operations": None}, "did you mean operations"),
    ],
    ids=str,
)
def test_operations_that_do_not_fit_are_refused_with_what_to_write(
    changes: dict[str, Any], words: str
) -> None:
    given = {"operations": NAMES, "args": ARGS, "expected": EXPECTED} | changes
    with pytest.raises(ProblemError) as caught:
        problem_from_statement("Design it.", [given])
    assert words in str(caught.value)


def test_agents_see_tests_of_several_lines_apart_and_further_inputs_are_made() -> None:
    problem = Problem(statement="Design it.", public_tests=FORMS[:2])
    assert f"{SETUP}\nresults == [2, 1]\n\n{SETUP}" in prompts.describe(problem)
    made = further_inputs(problem)
    assert made
    assert all(isinstance(test, CallTest) and "obj.push(" in test.setup for test in made)


METHODS = {"operations": ["push", "top"], "args": [[1], []], "expected": [None, 1]}


@pytest.mark.parametrize(
    ("form", "more"),
    [
        (METHODS | {"operations": ["push", "push"]}, {}),
        (METHODS | {"expected": [1, 1]}, {}),
        (METHODS, {"entry_point": "Stack"}),
    ],
)
def test_operations_without_the_class_are_refused_with_what_to_add(
    form: dict[str, Any], more: dict[str, Any]
) -> None:
    with pytest.raises(ProblemError, match='put the class before it, as in "operations"'):
        task_from_dict({"id": "x", "statement": "Design a stack.", "public_tests": [form], **more})


def test_what_may_be_a_class_or_a_method_is_told() -> None:
    row = {"id": "x", "statement": "Design a stack.", "public_tests": [METHODS]}
    assert any("if push is a method" in line for line in task_from_dict(row).warnings)
    for more in ({"statement": "Design class push."}, {"starter_code": "class push:\n    pass"}):
        assert not any("is a method" in line for line in task_from_dict(row | more).warnings)
