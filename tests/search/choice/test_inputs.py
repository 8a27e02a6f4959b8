# ruff: noqa: E501 - test code stands on one line
"""Further inputs: what they are made of, and what stays as the examples have it."""

import ast
from typing import Any

import pytest

from bdc_agents.sandbox import create_executor, job_for
from bdc_agents.search.choice.agreement import behaviour
from bdc_agents.search.choice.inputs import INPUTS, comparison, further_inputs
from bdc_agents.search.choice.observed import SEEN, expressions
from bdc_agents.types import CallTest, Checker, Limits, Problem, ScriptTest, StdinTest, TestCase

NODES = """\
class ListNode:
    def __init__(self, val=0, next=None):
        self.val, self.next = val, next
def list_node(values):
    head = None
    for value in reversed(values):
        head = ListNode(value, head)
    return head
def is_same_list(a, b):
    return (a is None and b is None) or (a and b and a.val == b.val and is_same_list(a.next, b.next))"""


def problem(*tests: TestCase, **fields: Any) -> Problem:
    return Problem(**{"statement": "Do it.", "entry_point": "f", "public_tests": tests} | fields)


def call(text: str, setup: str = "") -> CallTest:
    return CallTest(call=text, expected=("0",), setup=setup)


def arguments(test: TestCase) -> list[Any]:
    assert isinstance(test, CallTest)
    node = ast.parse(test.call, mode="eval").body
    assert isinstance(node, ast.Call)
    return [ast.literal_eval(one) for one in (*node.args, *(keyword.value for keyword in node.keywords))]


@pytest.mark.parametrize(
    "test",
    [
        call("Solution().f([1, 2, 3], 4)"),
        call("Solution().f(nums = [1, 2, 3], k = 4)"),
        call("f(xs=[1, 2, 3])"),
        call("sorted(f((1, 2), {'a': [1, 2]}))"),
        call("Box([1, 2]).total()"),
        call("box.total()", setup="box = Box()\nbox.add(3)\nbox.add(5)"),
        call("f(tree_node([1, None, 3]))"),
        call("f({1, 2, 3})"),
        call("f(b'abc', [b'x'], 'abc')"),
        ScriptTest(
            code="def check(candidate):\n    assert candidate(nums = [1, 2], k = 3) == [0]\ncheck(Solution().f)"
        ),
        ScriptTest(
            code="box = Box()\nbox.add(3)\nassert box.total() == 3\nbox.add(5)\nassert box.total() == 8"
        ),
        ScriptTest(code="for x, y in [(1, 2), (3, 6)]:\n    assert f(x) == y"),
        ScriptTest(code="def test_it():\n    assert abs(f(1.5, 7) - 2) < 1e-6"),
        ScriptTest(code="xs = [3, 1, 2]\nf(xs)\nassert xs == [1, 2, 3]"),
        ScriptTest(code="import math\nassert math.isclose(f(2.5, 4), 1)"),
        StdinTest(stdin="3\n1 2 3\n", expected=("6",)),
        StdinTest(stdin="abc\n", expected=("6",)),
    ],
)
def test_tests_of_every_form_give_inputs(test: TestCase) -> None:
    made = further_inputs(problem(test))
    assert len(made) == INPUTS
    assert made == further_inputs(problem(test)), "the same in every process"
    assert (
        len(
            {(getattr(one, "setup", ""), getattr(one, "call", ""), getattr(one, "stdin", "")) for one in made}
        )
        == INPUTS
    )
    for one in made:
        if isinstance(one, CallTest):
            ast.parse(f"{one.setup}\n({one.call})")


@pytest.mark.parametrize(
    "test",
    [
        *(call("f()"), call("f(x)"), call("f(None)"), call("round(f(x), 2)")),
        *(ScriptTest(code="assert f() == [1, 2]"), StdinTest(stdin="\n", expected=("1",))),
    ],
)
def test_where_nothing_can_be_varied_there_are_none(test: TestCase) -> None:
    assert further_inputs(problem(test)) == ()


def test_expected_values_are_no_inputs_and_are_not_looked_at() -> None:
    made = further_inputs(problem(ScriptTest(code="assert f([1, 2]) == [777]")))
    assert made
    assert all(isinstance(one, CallTest) and "777" not in one.call + one.setup for one in made)


def test_what_holds_in_every_example_goes_on_to_hold() -> None:
    rows = [([1, 3, 7, 9], 4), ([2, 5], 2), ([4, 6, 8], 3), ([0, 1, 5, 6, 9], 5)]
    made = further_inputs(problem(*(call(f"f({items}, {size})") for items, size in rows)))
    assert len(made) == INPUTS
    for items, size in map(arguments, made):
        assert size == len(items)
        assert items == sorted(set(items)), "sorted, and free of duplicates"
        assert not items or (min(items) >= 0 and max(items) <= 9), "in the range of the examples"


def test_rows_of_one_length_keep_it_and_columns_their_range() -> None:
    edges = ["[[0, 10], [1, 20]]", "[[2, 30], [0, 40], [1, 10]]", "[[1, 50], [2, 60]]"]
    for (rows,) in map(arguments, further_inputs(problem(*(call(f"f({one})") for one in edges)))):
        assert all(len(row) == 2 and 0 <= row[0] <= 4 and 10 <= row[1] <= 60 for row in rows)


def test_texts_keep_to_the_letters_of_the_examples() -> None:
    made = further_inputs(problem(call("f('(()')"), call("f('())(')")))
    assert all(set(text) <= set("()") for (text,) in map(arguments, made))


def test_inputs_are_of_several_sizes() -> None:
    sizes = {len(items) for (items,) in map(arguments, further_inputs(problem(call("f([5, 3, 8, 1])"))))}
    assert min(sizes) <= 1
    assert max(sizes) >= 8


def test_the_first_number_of_stdin_tells_how_many_follow() -> None:
    tests = [StdinTest(stdin=f"{n} 9\n{' '.join('7' * n)}\n", expected=("1",)) for n in (3, 5, 4)]
    for one in further_inputs(problem(*tests, entry_point=None)):
        assert isinstance(one, StdinTest)
        first, second = one.stdin.splitlines()
        assert int(first.split()[0]) == len(second.split())


async def behaviours(asked: Problem, *codes: str) -> list[tuple[str, ...]]:
    executor = create_executor()
    try:
        jobs = [job_for(comparison(asked), code, further_inputs(asked)) for code in codes]
        return [behaviour(await executor.run(job)) for job in jobs]
    finally:
        await executor.aclose()


async def test_objects_are_compared_by_what_they_hold() -> None:
    asked = problem(
        ScriptTest(
            code="assert is_same_list(Solution().f(head = list_node([1, 2, 3])), list_node([3, 2, 1]))"
        ),
        preamble=NODES,
    )
    turn = "class Solution:\n    def f(self, head):\n        back = None\n        while head:\n"
    one = f"{turn}            back = ListNode(head.val, back)\n            head = head.next\n        return back"
    two = f"{turn}            head.next, back, head = back, head, head.next\n        return back"
    wrong = "class Solution:\n    def f(self, head):\n        return list_node([3, 2, 1])"
    first, second, third = await behaviours(asked, one, two, wrong)
    assert first == second
    assert len(set(first)) > INPUTS / 2
    assert sum(a == b for a, b in zip(first, third, strict=True)) < INPUTS / 2


async def test_a_sequence_of_calls_is_compared_as_a_whole() -> None:
    test = ScriptTest(
        code="box = Box()\nbox.add(3)\nbox.add(5)\nassert box.total() == 8\nassert box.most() == 5"
    )
    right = "class Box:\n    def __init__(self):\n        self.xs = []\n    def add(self, x):\n        self.xs.append(x)\n"
    right += "    def total(self):\n        return sum(self.xs)\n    def most(self):\n        return max(self.xs)\n"
    first, second = await behaviours(problem(test), right, right.replace("max(self.xs)", "self.xs[-1]"))
    assert "error" not in first
    assert first != second


def test_an_input_has_less_time_than_a_test() -> None:
    asked = problem(call("f(1)"), limits=Limits(cpu_seconds=8))
    assert comparison(asked).limits.cpu_seconds == 2
    assert comparison(asked).limits.wall_seconds == asked.limits.wall_seconds / 4
    short = problem(call("f(1)"), limits=Limits(cpu_seconds=0.5))
    assert comparison(short).limits.cpu_seconds == 0.5


# --- what an assert looks at ------------------------------------------------------------------


def looked_at(code: str, **fields: Any) -> list[tuple[str, str]]:
    return list(expressions(ScriptTest(code=code), problem(ScriptTest(code=code), **fields)))


@pytest.mark.parametrize(
    ("asserted", "seen"),
    [
        ("f(1) == 2", ["f(1)"]),
        ("2 == f(1)", ["f(1)"]),
        ("f(1) == f(2)", ["f(1)", "f(2)"]),
        ("f(1) + 1 == 2", ["f(1) + 1"]),
        ("f(1) + 1 < 2", ["f(1)"]),
        ("f(1) and not f(2)", ["f(1)", "f(2)"]),
        ("1 < f(1) < 3", ["f(1)"]),
        ("abs(f(1) - g(2)) < 1e-6", ["f(1)", "g(2)"]),
        ("sorted(f([2, 1])) == [1, 2]", ["sorted(f([2, 1]))"]),
        ("f(g(1)) == 2", ["f(g(1))"]),
        ("len(f(1))", ["f(1)"]),
        ("xs == [1, 2]", ["xs"]),
        ("f(1) is None", ["f(1)"]),
        ("f(1) == None", ["f(1)"]),
        ("Solution().f(1)[0].size == 2", ["Solution().f(1)[0].size"]),
        ("helper(f(1)) == 2", ["helper(f(1))"]),
        ("helper(f(1)) < 2", ["f(1)"]),
        ("math.isclose(f(1), 2)", ["f(1)"]),
        ("f(1) == expected", ["f(1)"]),
    ],
)
def test_of_an_assert_what_the_program_decides_is_looked_at(asserted: str, seen: list[str]) -> None:
    code = f"import math\ndef helper(x):\n    return x\nassert {asserted}"
    found = looked_at(code)
    assert [expression for _, expression in found] == seen
    assert all(setup == "import math\ndef helper(x):\n    return x" for setup, _ in found)


def test_what_the_preamble_makes_is_not_the_programs() -> None:
    preamble = "from heapq import merge as joined\nimport os.path\nclass Box: ..."
    code = "assert joined(f(1)) < 3 and Box(f(2)) < 3 and os.path.f(f(3)) < 1"
    assert [one for _, one in looked_at(code, preamble=preamble)] == ["f(1)", "f(2)", "f(3)"]
    assert [one for _, one in looked_at(code)] == ["joined(f(1))", "Box(f(2))", "os.path.f(f(3))"]


@pytest.mark.parametrize(
    ("code", "seen"),
    [
        ("def check(candidate):\n    assert candidate(1) == 2", ["f(1)"]),
        ("def check(candidate):\n    assert candidate(1) == 2\ncheck(Box().f)", ["Box().f(1)"]),
        ("def check_it(c):\n    assert c(1) == 2\ncheck_it(g)", ["g(1)"]),
        ("def test_it():\n    assert f(1) == 2\ntest_it()", ["f(1)"]),
        ("def test_it():\n    assert f(1) == 2\ndef test_more():\n    assert f(3) == 2", ["f(1)", "f(3)"]),
        ("def check(a, b):\n    assert a(1) == 2\nassert f(3) == 4", ["f(3)"]),
        ("def test_it(x):\n    assert f(x) == 2\nassert f(3) == 4", ["f(3)"]),
        ("def helper():\n    assert f(1) == 2\nassert f(3) == 4", ["f(3)"]),
        ("METADATA = {'a': 1}\nassert f(3) == 4", ["f(3)"]),
        ('"""Says."""\npass\nassert f(3) == 4', ["f(3)"]),
    ],
)
def test_scripts_of_every_form_are_looked_into(code: str, seen: list[str]) -> None:
    assert [expression for _, expression in looked_at(code)] == seen


@pytest.mark.parametrize(
    "code",
    [
        "xs = [3, 1]\nf(xs)\nassert xs == [1, 3]",
        "METADATA = f(1)\nassert METADATA == 2",
        "metadata = 3\nassert f(metadata) == 2",
        "for x in [1, 2]:\n    assert f(x) == 2",
        "f(1)\nassert g(2) == 3",
        "N = 1\nN += 1\nassert f(N) == 2",
        "n: int = 1\nassert f(n) == 2",
    ],
)
def test_a_script_that_keeps_something_is_looked_at_as_a_whole(code: str) -> None:
    ((setup, expression),) = looked_at(code)
    assert expression == SEEN
    assert setup.startswith(f"{SEEN} = []\n")
    assert "assert" not in setup
    assert setup.count(f"{SEEN}.append") == 1


@pytest.mark.parametrize("code", ["", "f(1)", "x = 1", "assert (", "def test_it():\n    f(1)"])
def test_a_script_that_asserts_nothing_has_nothing_to_look_at(code: str) -> None:
    assert looked_at(code) == []


def test_without_an_entry_point_the_candidate_stands_for_itself() -> None:
    code = "def check(candidate):\n    assert candidate(1) == 2"
    assert [one for _, one in looked_at(code, entry_point=None)] == ["candidate(1)"]


def test_lists_that_are_of_one_length_in_every_example_stay_so() -> None:
    rows = [([1, 2, 3], [4, 5, 6]), ([7, 1], [2, 2]), ([5, 1, 3, 8], [0, 9, 6, 4])]
    made = further_inputs(problem(*(call(f"f({one}, {other})") for one, other in rows)))
    assert len(made) == INPUTS
    assert all(len(one) == len(other) for one, other in map(arguments, made))


def test_a_checker_of_stdin_leaves_tests_of_functions_to_be_confirmed() -> None:
    checker = Checker(code="def check(given, printed):\n    return True")
    call = CallTest(call="add(1, 2)", expected=("3",))
    calls = Problem(id="p", statement="Add.", public_tests=(call,), checker=checker)
    assert further_inputs(calls)
    stdin = StdinTest(stdin="1 2\n", expected=("3",))
    assert not further_inputs(Problem(id="p", statement="Add.", public_tests=(stdin,), checker=checker))
