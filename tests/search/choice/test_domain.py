"""Further inputs belong to the problem's domain: what its statement, its code and all its examples say."""

import ast
from typing import Any

import pytest

from bdc_agents.search.choice.domain import Domain
from bdc_agents.search.choice.inputs import INPUTS, further_inputs
from bdc_agents.search.choice.relations import keep_relations
from bdc_agents.types import CallTest, Problem


def problem(statement: str, *calls: str, **more: Any) -> Problem:
    tests = tuple(CallTest(call=call, expected=("0",)) for call in calls)
    return Problem(statement=statement, entry_point="f", public_tests=tests, **more)


def arguments(asked: Problem) -> list[list[Any]]:
    """The arguments of each further input."""
    found = list[list[Any]]()
    for test in further_inputs(asked):
        assert isinstance(test, CallTest)
        call = ast.parse(test.call, mode="eval").body
        assert isinstance(call, ast.Call)
        found.append(
            [ast.literal_eval(one) for one in (*call.args, *(keyword.value for keyword in call.keywords))]
        )
    assert len(found) == INPUTS
    return found


STATED = """Count. Constraints:
- 1 <= k <= nums.length <= 2 * 10^5
- -10^9 <= nums[i] <= 10<sup>9</sup>
- 0 <= x < 100, 2 ≤ |s| ≤ 5
- 1 <= n == rows.length <= 2^31 - 1"""


def test_limits_are_read_as_statements_write_them() -> None:
    domain = Domain(problem(STATED, "f(nums=[1], k=1)"))
    assert domain.bounds("nums")[:4] == (-(10**9), 10**9, 1, 200_000)
    assert domain.bounds("k")[:2] == (1, 200_000)
    assert domain.bounds("x")[:2] == (0, 99)
    assert domain.bounds("s")[:4] == (None, None, 2, 5)
    assert domain.bounds("n")[:2] == (1, 2**31 - 1)
    assert domain.bounds("rows")[2:4] == (1, 2**31 - 1)
    assert domain.bounds("other")[:4] == (None, None, None, None)


@pytest.mark.parametrize("text", ["9" * 500 + " <= n <= 10^999999999", "1 <= " * 2000 + "n <= 3", "|" * 9000])
def test_a_hostile_statement_is_read_in_a_moment(text: str) -> None:
    Domain(problem(text, "f(1)")).bounds("n")


def test_arguments_by_place_have_the_names_of_the_code_that_is_shown() -> None:
    asked = problem("1 <= b <= 3", "f(1, 2)", starter_code="def f(a: int, b: Tuple[int] = (1, 2)):\n")
    assert Domain(asked).bounds(1)[:2] == (1, 3)
    method = problem("0 <= x <= 9", "f(1)", starter_code="class Solution:\n    def f(self, x: int) -> int:\n")
    assert Domain(method).bounds(0)[:2] == (0, 9)


def test_stated_limits_bound_inputs_and_reach_their_ends() -> None:
    asked = problem(
        "1 <= xs.length <= 6 and -3 <= xs[i] <= 3 and 0 <= k <= 4",
        "f(xs=[1, 2, 3, 1], k=2)",
        "f(xs=[3, 1], k=4)",
    )
    made = arguments(asked)
    assert all(1 <= len(xs) <= 6 and all(-3 <= x <= 3 for x in xs) and 0 <= k <= 4 for xs, k in made)
    assert any(min(xs) < 0 for xs, _ in made), "no example is negative, and yet the statement allows it"
    assert {0, 4} <= {k for _, k in made}


def test_where_all_numbers_are_positive_none_becomes_negative() -> None:
    assert all(x >= 1 for (x,) in arguments(problem("Do it.", "f(7)", "f(30)")))


def test_texts_keep_the_form_of_a_date() -> None:
    for (text,) in arguments(problem("Turn it round.", "f('2026-01-02')")):
        assert [len(part) for part in text.split("-")] == [4, 2, 2]


def test_texts_take_no_letters_of_a_kind_that_no_example_has() -> None:
    made = arguments(problem("Turn it round.", "f('abcdefgh')"))
    assert all(text == "" or (text.isalpha() and text.islower()) for (text,) in made)
    assert any(set(text) - set("abcdefgh") for (text,) in made)


def test_texts_of_any_form_are_inputs_where_some_are_to_be_told_from_others() -> None:
    made = arguments(problem("Check whether the given text is valid.", "f('abcabc')"))
    assert any(set(text) - set("abc") for (text,) in made)
    two = arguments(problem("Check whether one is a rotation of the other.", "f('abc', 'bca')"))
    assert all(set(first + second) <= set("abc") for first, second in two)


@pytest.mark.parametrize(
    ("values", "examples", "ordered", "kept"),
    [
        ([[1, 2, 3, 4], 7], [([1, 2, 3], 3)], False, [[1, 2, 3, 4], 4]),
        ([[1, 2], 7], [([1, 2], 2)], False, [[1, 2], 2]),
        ([[], 2], [([5, 6, 7], 1)], False, [[5, 6, 7], 2]),
        ([[1, 2], 5], [([5, 6, 7], 1)], False, [[1, 2], 1]),
        ([[(1, 2), (3, 4), (5, 6)], 4], [([(1, 2), (3, 4)], 1)], False, [[(1, 2), (3, 4), (5, 6)], 1]),
        (["abcdef", "xx"], [("some text", "me")], False, ["abcdef", "cd"]),
        ([5, 3], [(1, 2)], True, [3, 5]),
        ([5, 3], [(1, 2)], False, [5, 3]),
        ([5, 3], [(1, 2), (4, 9)], False, [3, 5]),
        ([3, 5], [(2, 1), (9, 4)], False, [5, 3]),
        ([3, 5], [(2, 1), (4, 9)], True, [3, 5]),
        ([3], [], True, [3]),
    ],
)
def test_what_holds_between_values_is_kept(
    values: list[Any], examples: list[Any], ordered: bool, kept: list[Any]
) -> None:
    keep_relations(values, examples[0] if examples else values, examples, ordered)
    assert values == kept


def test_the_number_of_objects_in_a_list_stays() -> None:
    made = further_inputs(problem("Chain.", "f([Pair(5, 24), Pair(15, 25), Pair(27, 40)], 3)"))
    assert made
    assert all(isinstance(test, CallTest) and test.call.endswith("], 3)") for test in made)
