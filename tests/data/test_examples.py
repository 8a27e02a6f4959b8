import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bdc_agents.data.examples import call_examples, stdin_examples
from bdc_agents.data.rows import is_literal
from bdc_agents.types import CallTest, ScriptTest, StdinTest
from bdc_agents.types.written.asserts import case_from_assert

CODEFORCES = """Add.

Input

The only line has two numbers.

Output

Print the sum.

Examples

Input


1 2


Output


3


Input

4 5
6

Output

9

Note

In the first example it is 3.
"""
KATTIS = """Add.

-----Input-----
Two numbers.

-----Output-----
The sum.

-----Examples-----
Sample Input 1:
1 2
Sample Output 1:
3

Sample Input 2:
4 5
6
Sample Output 2:
9
"""
ATCODER = """Add.

-----Input-----
Two numbers.

-----Sample Input-----
1 2

-----Sample Output-----
3

It is 3.

-----Sample Input-----
4 5
6

-----Sample Output-----
9
"""


@pytest.mark.parametrize("statement", [CODEFORCES, KATTIS])
def test_printed_examples_are_found(statement):
    assert stdin_examples(statement) == (
        StdinTest(stdin="1 2\n", expected=("3\n",)),
        StdinTest(stdin="4 5\n6\n", expected=("9\n",)),
    )


def test_headings_that_name_samples_need_no_examples_heading():
    found = stdin_examples(ATCODER)
    assert [test.stdin for test in found] == ["1 2\n", "4 5\n6\n"]


def test_a_statement_without_examples_has_none():
    assert stdin_examples("Input\n\nA number.\n\nOutput\n\nIts double.\n") == ()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (">>> f(1)\n2", [("f(1)", "2")]),
        (">>> round(f(1), 2) # half\n0.5", [("round(f(1), 2)", "0.5")]),
        ("f(1) == 2", [("f(1)", "2")]),
        ("For example, f([1, 2]) => [2, 4].", [("f([1, 2])", "[2, 4]")]),
        ('f("a)") ➞ "b", since it is so', [('f("a)")', '"b"')]),
        ("f(3) should return true", [("f(3)", "True")]),
        ("f(15)   # returns 'x'", [("f(15)", "'x'")]),
        ("f(1) = 2", [("f(1)", "2")]),
        ("f(n) = 1 if n is odd", []),
        ("f(19) ->19 - 5 = 14", []),
        ("f(2) = f(1) + 1", []),
        ("f(x) == y", []),
        ("g(1) == 2", []),
        (">>> g(1)\n2", []),
        (">>> f(1", []),
        ("f(1) == __import__('os').getcwd()", []),
    ],
)
def test_examples_of_functions(text, expected):
    assert [(test.call, test.expected[0]) for test in call_examples(text, "f")] == expected


@settings(deadline=None, derandomize=True)
@given(st.text())
def test_any_text_is_read(text):
    for test in call_examples(f"f(1) == {text}\n{text}", "f"):
        assert is_literal(test.expected[0])
    stdin_examples(f"Examples\nInput\n{text}\nOutput\n{text}")


@pytest.mark.parametrize(
    ("text", "test"),
    [
        ("assert f(1) == 2", CallTest(call="f(1)", expected=("2",))),
        ("assert 2 == f(1)", CallTest(call="f(1)", expected=("2",))),
        ("assert f(1) == {'a': -1}, 'no'", CallTest(call="f(1)", expected=("{'a': -1}",))),
        ("assert f(1) is None", ScriptTest(code="assert f(1) is None")),
        ("assert f(1) == f(2)", ScriptTest(code="assert f(1) == f(2)")),
        ("assert 1 == 1", ScriptTest(code="assert 1 == 1")),
        ("assert f(1) == 2 == g()", ScriptTest(code="assert f(1) == 2 == g()")),
        ("assert f(1) == 2\nassert f(2) == 3", ScriptTest(code="assert f(1) == 2\nassert f(2) == 3")),
    ],
)
def test_asserts(text, test):
    assert case_from_assert(text) == test


def test_setup_stays_with_its_test():
    assert case_from_assert("assert f(x) == 2", setup="x = 1") == CallTest(
        call="f(x)", expected=("2",), setup="x = 1"
    )
    assert case_from_assert("assert f(x)", setup="x = 1") == ScriptTest(code="x = 1\nassert f(x)")
