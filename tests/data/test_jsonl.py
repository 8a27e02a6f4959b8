import ast
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from bdc_agents import prompts
from bdc_agents.data import json_schema, problem_from_statement, task_from_dict, task_from_statement
from bdc_agents.data.jsonl import read_problem
from bdc_agents.errors import ProblemError
from bdc_agents.types import CallTest, Checker, Limits, Problem, ScriptTest, StdinTest

ROW: dict[str, Any] = {
    "id": "add",
    "statement": "Write add(a, b).",
    "public_tests": ["assert add(1, 2) == 3", {"call": "add(0, 0)", "expected": ["0", "0.0"]}],
    "hidden_tests": [{"code": "assert add('a', 'b') == 'ab'"}, {"call": "add(2, 2)", "expected": "4"}],
    "difficulty": "easy",
    "tags": ["math"],
    "reference": "def add(a, b):\n    return a + b\n",
}


def test_every_field_is_read():
    more = {
        "entry_point": "add",
        "starter_code": "def add(a, b):",
        "preamble": "import math",
        "checker": {"text": "lines", "tolerance": 0.01},
        "limits": {"wall_seconds": 2},
    }
    task = task_from_dict(ROW | more, prefix="my.jsonl:")
    problem = task.problem
    assert problem.id == "my.jsonl:add"
    assert problem.public_tests == (
        CallTest(call="add(1, 2)", expected=("3",)),
        CallTest(call="add(0, 0)", expected=("0", "0.0")),
    )
    assert task.hidden.reveal() == (
        ScriptTest(code="assert add('a', 'b') == 'ab'"),
        CallTest(call="add(2, 2)", expected=("4",)),
    )
    assert problem.checker == Checker(text="lines", tolerance=0.01)
    assert problem.limits == Limits(wall_seconds=2)
    assert (problem.preamble, problem.starter_code) == ("import math", "def add(a, b):")
    assert (problem.difficulty, problem.tags) == ("easy", ("math",))
    assert task.hidden.reveal_reference() == ROW["reference"]


def test_the_entry_point_comes_from_the_tests():
    assert task_from_dict(ROW).problem.entry_point == "add"
    stdin = {"id": "x", "statement": "Print.", "public_tests": [{"stdin": "", "expected": "1"}]}
    assert task_from_dict(stdin).problem.entry_point is None


def test_two_fields_are_enough():
    task = task_from_dict({"id": 5, "statement": "Do it."})
    assert task.problem.id == "5"
    assert task.problem.public_tests == ()
    assert len(task.hidden) == 0


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"statement": None}, ["statement", "a text is needed"]),
        ({"id": ""}, ["id"]),
        ({"public_test": []}, ["public_test", "did you mean", "public_tests"]),
        ({"public_tests": [{"stdin": "1"}]}, ["public_tests[0]", "expected", "missing"]),
        ({"public_tests": [{"input": "1"}]}, ["public_tests[0]", "expected", "missing"]),
        ({"public_tests": [{"note": "1"}]}, ["public_tests[0]", '"stdin" and "expected"']),
        (
            {"public_tests": [{"call": "add(1, 2)", "expected": "3", "name": "x"}]},
            ["public_tests[0]", "name"],
        ),
        ({"public_tests": [3]}, ["public_tests[0]", "found 3"]),
        ({"public_tests": [["1", "2", "3"]]}, ["public_tests[0]", "'3'"]),
        ({"public_tests": ["1 2 -> 3", "add(1, 2) -> 3"]}, ["public_tests[0]", "not a call", "add"]),
        ({"hidden_tests": ["add(1, 2) -> three"]}, ["hidden_tests[0]", "in quotes", "add(1, 2)"]),
        ({"hidden_tests": ["add(1, 2) -> null"]}, ["hidden_tests[0]", "None"]),
        ({"hidden_tests": ["add(1, 2) -> ValueError"]}, ["hidden_tests[0]", "except ValueError"]),
        ({"hidden_tests": ["add(10, 5) -> 10 ** 15"]}, ["hidden_tests[0]", "assert add(10, 5) == 10 ** 15"]),
        ({"checker": {"tolerence": 1e-6}}, ["unknown field of checker 'tolerence'", "mean tolerance?"]),
        ({"limits": {"cpu_second": 1}}, ["unknown field of limits", "did you mean cpu_seconds"]),
        ({"limits": 2}, ["limits", "an object is needed", "cpu_seconds"]),
        ({"checker": 1e-6}, ["checker", 'an object such as {"tolerance": 1e-6}', "found 1e-06"]),
        ({"checker": "def check(a):\n    return a ==\n"}, ["syntax error: invalid syntax in line 2"]),
        ({"checker": "fuzzy"}, ["checker", '"tokens", "lines" or "exact"', "fuzzy"]),
        ({"public_tests": [{"args": [float("nan")], "expected": 1}]}, ["public_tests[0]", "NaN"]),
        (
            {"checker": "line", "public_tests": [{"stdin": "1"}]},
            ["tasks.jsonl:3: checker", 'did you mean "lines"?'],
        ),
        ({"checker": 5, "public_tests": [{"stdin": "1"}]}, ["tasks.jsonl:3: checker", "not a checker"]),
        ({"checker": {"text": "line"}, "public_tests": [{"stdin": "1"}]}, ["checker.text", "one of 'exact'"]),
        (
            {"checker": {"cod": "x"}, "public_tests": [{"stdin": "1"}]},
            ["checker 'cod'", "did you mean code?"],
        ),
        ({"chekcer": "check.py", "public_tests": [{"stdin": "1"}]}, ["'chekcer'", "did you mean checker?"]),
        ({"checker": "../secret.py:check"}, ["checker", "../secret.py:check", "give the code"]),
        (
            {"checker": "def other(a, b): ...\ndef another(c): ..."},
            ["checker", "check(stdin, printed, expected)"],
        ),
        ({"public_tests": ["assert add(1 == 2"]}, ["public_tests[0]", "add(1 == 2"]),
        ({"public_tests": [{"call": "add(", "expected": "1"}]}, ["public_tests[0]", "call", "expression"]),
        ({"hidden_tests": [{"call": "add(1)", "expected": "one"}]}, ["hidden_tests[0]", "expected", "'one'"]),
        ({"hidden_tests": [{"call": "add(1)", "expected": []}]}, ["hidden_tests[0]", "expected"]),
        (
            {"hidden_tests": [{"stdin": "", "expected": []}]},
            ["hidden_tests[0]", "expected: a text", "found []"],
        ),
        ({"hidden_tests": [{"code": "x ="}]}, ["hidden_tests[0]", "code", "Python"]),
        ({"hidden_tests": [{"stdin": "", "expected": "", "x": 1}]}, ["hidden_tests[0]", "x"]),
        ({"entry_point": "add(a, b)"}, ["entry_point", "add(a, b)"]),
        ({"limits": {"wall_seconds": -1}}, ["limits.wall_seconds", "-1"]),
        ({"checker": {"text": "fuzzy"}}, ["checker.text", "'tokens'"]),
    ],
)
def test_errors_name_file_line_and_field(changes, words):
    with pytest.raises(ProblemError) as caught:
        task_from_dict(ROW | changes, "tasks.jsonl:3")
    assert all(word in str(caught.value) for word in ["tasks.jsonl:3", *words])


@pytest.mark.parametrize("value", [None, 3, "text", []])
def test_something_else_than_an_object_is_refused(value):
    with pytest.raises(ProblemError, match="JSON object"):
        task_from_dict(value)


def test_the_schema_describes_what_is_read():
    schema = json_schema()
    assert set(ROW) <= set(schema["properties"])
    assert schema["required"] == ["id", "statement"]
    assert schema["additionalProperties"] is False
    kinds = json.dumps(schema["properties"]["public_tests"])
    assert all(name in kinds for name in ("StdinTest", "CallTest", "ScriptTest", "string", "array"))


@pytest.mark.parametrize(
    ("text", "test"),
    [
        ("assert f(2) == 4", CallTest(call="f(2)", expected=("4",))),
        ("f(2) -> 4", CallTest(call="f(2)", expected=("4",))),
        ('f("a -> b") -> "c"', CallTest(call='f("a -> b")', expected=('"c"',))),
        ("2 3 -> 5", StdinTest(stdin="2 3\n", expected=("5\n",))),
        (r"2\n3 -> 5\n6", StdinTest(stdin="2\n3\n", expected=("5\n6\n",))),
        ("f('a->b') -> 'b->a'", CallTest(call="f('a->b')", expected=("'b->a'",))),
        ("f(1) -> -inf", CallTest(call="f(1)", expected=("-inf",))),
        ("f(1) -> set()", CallTest(call="f(1)", expected=("set()",))),
        ("len(f(1)) -> 2", CallTest(call="len(f(1))", expected=("2",))),
        ("f(2) == 4", CallTest(call="f(2)", expected=("4",))),
        ("a->b -> b->a", StdinTest(stdin="a->b\n", expected=("b->a\n",))),
        (
            "def g() -> int:\n    return f(1)\nassert g() == 2",
            ScriptTest(code="def g() -> int:\n    return f(1)\nassert g() == 2"),
        ),
        ('{"call": "f(1)", "expected": [1, 2]}', CallTest(call="f(1)", expected=("[1, 2]",))),
        (">>> x = f(2)\n>>> x\n4", CallTest(call="x", expected=("4",), setup="x = f(2)\n")),
        ("-> hello", StdinTest(stdin="\n", expected=("hello\n",))),
    ],
)
def test_short_forms(text, test):
    assert problem_from_statement("Do it.", [text]).public_tests == (test,)


def test_a_statement_alone_is_a_problem():
    problem = problem_from_statement("Write square(n).", ["assert square(2) == 4"])
    assert problem.entry_point == "square"
    assert problem_from_statement("Print 1.").public_tests == ()


@pytest.mark.parametrize(
    ("statement", "tests"),
    [
        (" ", []),
        ("Do.", ["square(2) is 4 or so"]),
        ("Do.", [""]),
        ("Do.", ["square(2) -> four"]),
        ("Do.", ["max(1, 2) -> 2"]),
        ("Do.", ["1 -> 2 -> 3"]),
        ("Do.", ["x = square(2) -> 4"]),
        ("Do.", ["square(2 -> 4"]),
        ("Do.", ["square(1) -> 1\nsquare(2) -> 4"]),
        ("Do.", ["print(square(2)) -> 4"]),
        ("Do.", ["n = 2, m = 3 -> 4"]),
        ("Do.", ["1 ->"]),
        ("Do.", ["'abc' -> cba"]),
        ("Do.", ['abc -> "cba"']),
        ("Do.", ["assert square(2), 4"]),
        ("Do.", ["assert square(2) == 4 or 5"]),
        ("Do.", [">>> square(2)\n<Square>"]),
    ],
)
def test_what_cannot_be_read_is_explained(statement, tests):
    with pytest.raises(ProblemError):
        problem_from_statement(statement, tests)


CALLS = st.builds(lambda n: f"f({n!r})", st.integers() | st.text() | st.lists(st.booleans()))
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner) | st.tuples(inner),
    max_leaves=5,
)


@settings(deadline=None, derandomize=True)
@given(st.lists(st.tuples(CALLS, VALUES), max_size=5), st.lists(st.tuples(CALLS, VALUES), max_size=5))
def test_tests_survive_the_way_through_a_file_and_hidden_ones_stay_hidden(public, hidden):
    def rows(tests):
        return [{"call": call, "expected": repr(value)} for call, value in tests]

    row = {"id": "x", "statement": "s", "public_tests": rows(public), "hidden_tests": rows(hidden)}
    task = task_from_dict(json.loads(json.dumps(row)))
    assert [test.call for test in task.problem.public_tests] == [call for call, _ in public]
    shown = {test.call for test in task.problem.public_tests}
    kept = [test.call for test in task.hidden.reveal()]
    assert shown.isdisjoint(kept)
    assert set(kept) == {call for call, _ in hidden} - shown


ARGUMENTS = [
    [[2, 3], 5],
    {"args": [2, 3], "expected": 5},
    {"function": "add", "args": [2, 3], "expected": 5},
    {"fn_name": "add", "input": [2, 3], "output": 5},
    {"input": [2, 3], "output": 5},
    "2, 3 -> 5",
    ["2, 3", "5"],
]


@pytest.mark.parametrize("test", ARGUMENTS)
def test_arguments_are_a_call_of_the_function_that_is_to_be_written(test):
    problem = Problem(statement="Add.", entry_point="add", public_tests=[test])
    assert problem.public_tests == (CallTest(call="add(2, 3)", expected=("5",)),)


def test_arguments_by_name_and_values_of_json():
    test = {"kwargs": {"a": None, "b": [True, "x"]}, "expected": "y"}
    problem = Problem(statement="Write add(a, b).", public_tests=[test])
    assert problem.public_tests == (CallTest(call="add(a=None, b=[True, 'x'])", expected=("'y'",)),)
    assert problem.entry_point == "add"


def test_columns_of_a_contest_are_tests():
    problem = Problem(
        statement="Print it.", public_tests={"inputs": ["1\n", "2\n"], "outputs": ["1\n", "2\n"]}
    )
    assert problem.public_tests == tuple(StdinTest(stdin=text, expected=(text,)) for text in ("1\n", "2\n"))


def test_a_function_and_a_whole_program_are_not_mixed_in_silence():
    """The short form without a call follows the other tests, wherever it stands."""
    problem = Problem(statement="Square.", public_tests=["3 -> 9", "square(2) -> 4"])
    assert [test.call for test in problem.public_tests] == ["square(3)", "square(2)"]


@pytest.mark.parametrize(
    ("fields", "entry"),
    [
        ({"public_tests": ["Solution().two_sum([1], 1) -> [0]"]}, "Solution().two_sum"),
        ({"public_tests": ["s = Stack()\ns.push(1)\nassert s.pop() == 1"]}, "Stack"),
        ({"starter_code": "class Solution:\n    def f(self, x):\n        ..."}, "Solution().f"),
        ({"public_tests": ["Solution.two_sum([1], 1) -> [0]"]}, "Solution.two_sum"),
        ({"starter_code": "def f(x):\n    ..."}, "f"),
        ({"starter_code": "def main():\n    ...", "public_tests": ["1 -> 2"]}, None),
        ({"entry_point": None, "public_tests": ["f(1) -> 2"]}, "f"),
        ({"public_tests": ["1 -> 2"]}, None),
    ],
)
def test_what_is_to_be_written_is_found(fields, entry):
    assert Problem(statement="Do it.", **fields).entry_point == entry


def test_hidden_tests_are_refused_where_a_search_would_see_them():
    with pytest.raises(ProblemError, match="hidden_tests: no search may see them"):
        read_problem({"statement": "Do.", "public_tests": ["f(1) -> 2"], "hidden_tests": ["f(2) -> 3"]})


def test_a_whole_trace_is_told_from_its_problem():
    with pytest.raises(ProblemError, match="under 'problem'"):
        task_from_dict({"problem": {"statement": "Do."}, "solution": {}})


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("../secret.py", "not below"),
        ("/etc/hostname.py", "not below"),
        ("link.py", "not below"),
        ("no.py", "no file"),
    ],
)
def test_a_checker_is_read_from_below_the_problems_folder_alone(tmp_path, name, words):
    (tmp_path / "secret.py").write_text("def check(stdin, printed, expected):\n    return True\n")
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "link.py").symlink_to(tmp_path / "secret.py")
    with pytest.raises(ProblemError, match=words):
        task_from_dict({"id": "x", "statement": "Do.", "checker": name}, folder=folder)


@pytest.mark.parametrize(
    ("public", "hidden", "words"),
    [
        (["f(1) -> 2"], ["f(1) -> 2"], "all hidden tests give what a public test gives"),
        (["f(1) -> 2", "f(1) -> 3"], [], "public_tests[0] and public_tests[1] contradict"),
        (["f(1) -> 2"], ["f(1) -> 3"], "public_tests[0] and hidden_tests[0] contradict"),
        (["1 -> 2"], [{"stdin": "1\n", "expected": "3"}], "public_tests[0] and hidden_tests[0] contradict"),
        ([{"stdin": "1", "expected": "2"}, "f(1) -> 2"], [], "f is to be written"),
        ([], ["f(1) -> 2"], "no public test"),
        ([">>> f(1)\n2\n>>> f(2)\n3", "f(3) -> 4", "f(3) -> 5"], [], "public_tests[1] and public_tests[2]"),
        ([">>> f(1)\n2\n>>> f(1)\n3"], [], "public_tests[0], example 1, and public_tests[0], example 2, con"),
        (["f(1) -> 2", "g(1) -> 2"], [], "public_tests[1] calls 'g', and not 'f'"),
        (["f(1) -> 2"], ["g(7) -> 2"], "hidden_tests[0] calls another function, and not 'f'"),
        ([{"stdin": "", "expected": ""}], [], "public_tests[0] expects no output"),
        ([["1", " "]], [], "public_tests[0] expects no output"),
    ],
)
def test_doubtful_tests_are_told(public, hidden, words):
    task = task_from_dict({"id": "x", "statement": "Do.", "public_tests": public, "hidden_tests": hidden})
    assert any(line.startswith("x: ") and words in line for line in task.warnings)


def test_tests_in_order_draw_no_warning():
    hidden = ["f(1) -> [1.0]", {"stdin": "", "expected": ""}][:1]
    row = {
        "id": "x",
        "statement": "Do.",
        "public_tests": ["f(0) -> 2", "f(0) -> 2.0"],
        "hidden_tests": hidden,
    }
    assert task_from_dict(row).warnings == ()


def test_hashes_and_traces_of_problems_without_a_checker_are_as_before():
    dumped = Problem(statement="Do.").model_dump(mode="json")["checker"]
    assert dumped == {"text": "tokens", "tolerance": 0.0, "error": "either", "any_case": []}


STEPS = ">>> s = Stack()\n>>> s.push(1)\n>>> s.push(2)\n>>> s.pop()\n2\n>>> s.pop()\n1"


def test_a_session_goes_on_from_what_it_has_shown():
    problem = Problem(id="stack", statement="Write Stack.", public_tests=[STEPS])
    last = problem.public_tests[-1]
    assert isinstance(last, CallTest)
    assert last.setup.splitlines() == ["s = Stack()", "s.push(1)", "s.push(2)", "s.pop()"]
    assert (last.call, last.expected) == ("s.pop()", ("1",))
    # Where nothing is kept from step to step, a test stands alone.
    alone = Problem(id="double", statement="Double.", public_tests=[">>> double(1)\n2\n>>> double(2)\n4"])
    assert [test.setup for test in alone.public_tests if isinstance(test, CallTest)] == ["", ""]


def test_a_class_that_only_a_setup_makes_is_what_is_to_be_written():
    problem = Problem(id="stack", statement="Write it.", public_tests=[STEPS])
    assert problem.defines == "Stack"
    shown = prompts.describe(problem)
    assert "s.push(2)\ns.pop() == 2" in shown


def test_an_entry_point_that_no_test_names_is_told():
    task = task_from_dict(
        {"id": "a", "statement": "s", "entry_point": "duble", "public_tests": ["double(1) == 2"]}
    )
    assert any("'duble'" in line and "double(1)" in line for line in task.warnings)


def test_a_misspelled_field_of_a_test_is_answered_by_the_nearest():
    with pytest.raises(ProblemError, match="did you mean expected"):
        task_from_dict({"id": "a", "statement": "s", "public_tests": [{"call": "f(1)", "expect": 4}]})


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"checker": {"tolerence": 1}}, "unknown field of checker 'tolerence'; did you mean tolerance?"),
        ({"limits": {"memory": 64}}, "unknown field of limits 'memory'; did you mean memory_mb?"),
        ({"public_test": []}, "unknown field 'public_test'; did you mean public_tests?"),
        ({"prompt": "s"}, "unknown field 'prompt'; did you mean statement?"),
        ({"examples": []}, "unknown field 'examples'; did you mean public_tests?"),
        ({"name": "p"}, "unknown field 'name'; did you mean id?"),
        ({"tolerance": 0.1}, "unknown field 'tolerance'; did you mean checker.tolerance?"),
    ],
)
def test_python_answers_a_misspelled_field_by_the_nearest_too(fields, said):
    with pytest.raises(ValidationError) as told:
        Problem(statement="Add.", **fields)
    assert said in str(told.value)


def test_a_misspelled_field_comes_before_the_one_that_is_missing_for_it():
    with pytest.raises(ProblemError) as told:
        task_from_dict({"id": "a", "statment": "Add.", "public_tests": ["f(1) == 2"]})
    assert "did you mean statement" in str(told.value).splitlines()[0]


def test_tests_of_several_functions_draw_no_warning_where_agents_are_told_of_them():
    row = {"id": "x", "statement": "Write f(n).", "public_tests": ["f(1) -> 2", "g(1) -> 2"]}
    assert task_from_dict(row | {"statement": "Write f(n) and g(n)."}).warnings == ()
    assert task_from_dict(row | {"preamble": "def g(n): return f(n)"}).warnings == ()
    script = "g = abs\nassert g(-1) == 1"
    assert task_from_dict(row | {"public_tests": ["f(1) -> 2", script]}).warnings == ()


def test_nothing_of_a_hidden_test_is_told_but_its_place():
    tests = ["f(12345) -> 1", "g(12345) -> 2", {"call": "12345 + f", "expected": 2}]
    row = {"id": "x", "statement": "Write it.", "public_tests": ["f(1) -> 2"], "hidden_tests": tests}
    told = "\n".join([*task_from_dict(row).warnings, *task_from_dict(row | {"entry_point": "h"}).warnings])
    assert "hidden_tests[1]" in told
    assert "12345" not in told


def test_names_of_tests_outlive_those_that_are_left_out():
    hidden = ["f(1) -> 2", ">>> f(2)\n3\n>>> f(3)\n4", "f(4) -> 5"]
    row = {"id": "x", "statement": "Write f(n).", "tests": "f(1) -> 2", "hidden_tests": hidden}
    assert task_from_dict(row).names == (
        "public_tests[0]",
        "hidden_tests[1], example 1,",
        "hidden_tests[1], example 2,",
        "hidden_tests[2]",
    )


def test_a_problem_in_words_is_doubted_too_and_its_tests_counted_from_one():
    [line] = task_from_statement("Reverse texts.", ["f(1) -> 2", "g(1) -> 2"]).warnings
    assert "test 2 calls 'g'" in line
    [line] = task_from_statement("Write add(a, b).", ["1 2 -> 3"]).warnings
    assert "test 1 runs a whole program on stdin, but the statement asks for add" in line
    assert task_from_statement("Write add(a, b).", ["add(1, 2) -> 3"]).warnings == ()
    assert task_from_statement("Add.").warnings == ()


ADD = {"id": "a", "statement": "Write add(a, b), which adds two numbers."}


@pytest.mark.parametrize(
    ("test", "told"),
    [
        ({"function": "add", "args": [1, 1], "expected": "2"}, '"expected": 2;'),
        ({"function": "add", "args": [1, 1], "expected": "[2]"}, '"expected": [2];'),
        ({"function": "add", "args": [1, 1], "expected": "true"}, '"expected": true;'),
        ([[1, 1], "2"], '"expected": 2;'),
        ({"input": [1, 1], "output": "2"}, '"expected": 2;'),
    ],
    ids=str,
)
def test_a_number_in_quotes_that_no_number_is_equal_to_is_told(test, told):
    warnings = task_from_dict(ADD | {"entry_point": "add", "public_tests": [test, test]}).warnings
    (line,) = [line for line in warnings if "expects the text" in line]
    assert told in line
    assert "1 more like it" in line
    hidden = [{"args": [1, 447755], "expected": "447756"}]
    row = ADD | {"public_tests": ["add(1, 2) -> 3"], "hidden_tests": hidden}
    (line,) = task_from_dict(row).warnings
    assert line.startswith("a: hidden_tests[0] expects a text in quotes")
    assert "4477" not in line


@pytest.mark.parametrize(
    "changes",
    [
        {"statement": "Write add(a, b), which returns the sum as a string."},
        {"statement": "def add(a: int, b: int) -> str: ..."},
        {"public_tests": ["assert add(1, 1) == '2'"]},
        {"public_tests": [{"call": "add(1, 1)", "expected": "2"}], "checker": {"tolerance": 0.1}},
        {"public_tests": [{"args": [1, 1], "expected": "2"}, {"args": [0, 0], "expected": "none"}]},
        {"public_tests": [{"args": [1, 1], "expected": 2}]},
        {"public_tests": [{"input": "1, 1", "output": "2"}]},
    ],
    ids=str,
)
def test_a_text_that_is_meant_is_left_alone(changes):
    row = ADD | {"entry_point": "add", "public_tests": [{"args": [1, 1], "expected": "2"}]} | changes
    assert not any("expects the text" in line for line in task_from_dict(row).warnings)


TWO_SUM: dict[str, Any] = {
    "id": "two",
    "statement": "Find the places of the two numbers with this sum.",
    "starter_code": "class Solution:\n    def two_sum(self, nums, target):",
    "public_tests": ["Solution().two_sum([2, 7, 11], 9) -> [0, 1]"],
}


@pytest.mark.parametrize(
    ("changes", "tests"),
    [
        ({"public_tests": ["two_sum([2, 7], 9) -> [0, 1]"]}, ["Solution().two_sum([2, 7], 9)"]),
        (
            {"public_tests": ["two_sum([], 0) == []", [[[3], 6], []]]},
            ["Solution().two_sum([], 0)", "Solution().two_sum([3], 6)"],
        ),
        ({"entry_point": "two_sum", "public_tests": ["two_sum([], 0) == []"]}, ["Solution().two_sum([], 0)"]),
        (
            {
                "starter_code": "",
                "entry_point": "Solution().two_sum",
                "public_tests": ["two_sum([], 0) == []"],
            },
            ["Solution().two_sum([], 0)"],
        ),
        ({"public_tests": ["sorted(two_sum([1], 1)) -> []"]}, ["sorted(Solution().two_sum([1], 1))"]),
    ],
    ids=str,
)
def test_a_bare_call_of_a_method_is_a_call_of_the_method(changes, tests):
    problem = task_from_dict(TWO_SUM | changes).problem
    assert problem.entry_point == "Solution().two_sum"
    calls = [test.call for test in problem.public_tests if isinstance(test, CallTest)]
    assert calls == tests


@pytest.mark.parametrize(
    "changes",
    [
        {"starter_code": TWO_SUM["starter_code"] + "\n        ...\ndef two_sum(nums, target): ..."},
        {"preamble": "def two_sum(nums, target):\n    return Solution().two_sum(nums, target)"},
    ],
    ids=str,
)
def test_a_function_that_has_the_name_of_a_method_is_the_function(changes):
    problem = task_from_dict(TWO_SUM | changes | {"public_tests": ["two_sum([2, 7], 9) -> [0, 1]"]}).problem
    test = problem.public_tests[0]
    assert isinstance(test, CallTest)
    assert test.call == "two_sum([2, 7], 9)"
    code = "two_sum = Solution().two_sum\nassert two_sum('é', 9) in ([0, 1], [1, 0])"
    problem = task_from_dict(TWO_SUM | {"public_tests": [code]}).problem
    assert problem.public_tests == (ScriptTest(code=code),)
    code = "assert 'é' and two_sum([2, 7], 9) in ([0, 1], [1, 0])"
    problem = task_from_dict(TWO_SUM | {"public_tests": [code]}).problem
    assert problem.public_tests == (ScriptTest(code=code.replace("two_sum", "Solution().two_sum")),)
    code = 'assert two_sum([2, 7], 9), f"{two_sum([2, 7], 9)} is no list"'
    problem = task_from_dict(TWO_SUM | {"public_tests": [code]}).problem
    test = problem.public_tests[0]
    assert isinstance(test, ScriptTest)
    assert test.code.startswith("assert Solution().two_sum([2, 7], 9), f")
    ast.parse(test.code)


@pytest.mark.parametrize(
    ("starter", "words"),
    [
        (
            "class A:\n    def two_sum(self, n): ...\nclass B:\n    def two_sum(self, n): ...",
            "is a method of A and of B; write A().two_sum(...) or B().two_sum(...)",
        ),
        (
            "class A:\n    def __init__(self, n): ...\n    def two_sum(self): ...",
            "is a method of A, whose objects need arguments; write A(...).two_sum(...)",
        ),
    ],
)
def test_a_method_whose_object_cannot_be_told_is_told(starter, words):
    task = task_from_dict(TWO_SUM | {"starter_code": starter, "public_tests": ["two_sum([2, 7]) -> [0, 1]"]})
    (line,) = [line for line in task.warnings if "as if it were a function" in line]
    assert line == f"two: public_tests[0] calls two_sum as if it were a function, but it {words}"


@pytest.mark.parametrize("entry", ["twoSum", "Solution().twoSum"])
def test_a_method_other_than_the_entry_point_is_told(entry):
    tests = [*TWO_SUM["public_tests"], [[[3, 3], 6], [0, 1]]]
    row = TWO_SUM | {"entry_point": entry, "public_tests": tests}
    said = f"public_tests[0] calls 'Solution().two_sum', and not {entry!r}"
    assert any(said in line for line in task_from_dict(row).warnings)
    assert any(said in line for line in task_from_dict(row | {"starter_code": ""}).warnings)
    assert task_from_dict(row | {"entry_point": "Solution().two_sum"}).warnings == ()
    more = {"starter_code": TWO_SUM["starter_code"] + " ...\n    def other(self): ..."}
    both = [*TWO_SUM["public_tests"], "Solution().other() -> 1"]
    assert task_from_dict(TWO_SUM | more | {"public_tests": both}).warnings == ()


@pytest.mark.parametrize(
    ("starter", "test", "why"),
    [
        ("", {"kwargs": {"nums": [3, 2, 4], "targt": 6}, "expected": [1, 2]}, "takes no 'targt'"),
        ("", "Solution().two_sum([1], 2, 3) -> [0, 1]", "takes at most 2 by place, not 3"),
        ("", "two_sum([1]) -> [0, 1]", "needs 'target'"),
        ("def f(a, *, b): ...", "f(1, 2) -> [0, 1]", "takes at most 1 by place"),
        ("def f(a, *, b): ...", "f(1) -> [0, 1]", "needs 'b'"),
        ("def f(a, b=1):", "f(1, a=2) -> [0, 1]", "is given 'a' twice"),
    ],
    ids=str,
)
def test_a_call_that_the_signature_cannot_take_is_told(starter, test, why):
    row = TWO_SUM | ({"starter_code": starter} if starter else {}) | {"public_tests": [test]}
    (line,) = task_from_dict(row).warnings
    assert line.startswith("two: public_tests[0] calls ")
    assert why in line


@pytest.mark.parametrize(
    ("starter", "test"),
    [
        ("def f(a, b=1): ...", "f(1) -> 2"),
        ("def f(*numbers, **more): ...", "f(1, 2, 3, x=4) -> 2"),
        ("def f(a, b): ...", "f(*[1, 2]) -> 2"),
        ("def f(a, b): ...", "f(**{'a': 1, 'b': 2}) -> 2"),
        ("class A:\n    @staticmethod\n    def f(a): ...", "A().f(1) -> 2"),
        ("class A:\n    def f(self, a, b=2): ...", "A().f(1) -> 2"),
        ("class A:\n    @cache\n    def f(self, a): ...", "A().f(1, 2) -> 2"),
    ],
)
def test_a_call_that_the_signature_takes_draws_no_warning(starter, test):
    assert task_from_dict(TWO_SUM | {"starter_code": starter, "public_tests": [test]}).warnings == ()


def test_a_hidden_call_that_the_signature_cannot_take_is_told_without_what_it_gives():
    hidden = [{"kwargs": {"nums": [3], "hidden447": 6}, "expected": [1, 2]}]
    (line,) = task_from_dict(TWO_SUM | {"hidden_tests": hidden}).warnings
    assert "hidden_tests[0]" in line
    assert "447" not in line


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"public_tests": ["add(1, 1) -> 2", "add(1, 0) -> '1.5'"]}, "1.5"),
        ({"public_tests": ["add(1, 1) -> 2", {"call": "add(2, 2)", "expected": "'4'"}]}, "4"),
        ({"public_tests": ["assert add(1, 0) == '1.5'"], "checker": {"tolerance": 0.1}}, "1.5"),
    ],
    ids=str,
)
def test_a_number_in_quotes_is_told_in_code_where_numbers_are_expected(changes, told):
    (line,) = task_from_dict(ADD | changes).warnings
    assert f"expects the text '{told}'" in line
    assert f"write {told};" in line
