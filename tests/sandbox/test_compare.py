"""The comparison of outputs and values, and the reading of expected values."""

import json
import math
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bdc_agents.errors import ProblemError
from bdc_agents.sandbox import text_matches, value_matches
from bdc_agents.sandbox.inside.values import encode
from bdc_agents.sandbox.received import NotAValueError, Opaque, decode
from bdc_agents.types import Checker
from bdc_agents.types.literals import evaluate

numbers = st.booleans() | st.integers() | st.floats() | st.complex_numbers(allow_nan=False)
scalars = st.none() | numbers | st.text() | st.binary()
hashables = st.recursive(scalars, lambda inner: st.lists(inner, max_size=3).map(tuple), max_leaves=5)
containers = (
    st.sets(hashables, max_size=4)
    | st.frozensets(hashables, max_size=4)
    | st.dictionaries(hashables, scalars, max_size=4)
)
values = st.recursive(
    scalars | containers,
    lambda inner: st.lists(inner, max_size=4) | st.lists(inner, max_size=4).map(tuple),
    max_leaves=8,
)
lines = st.lists(st.text(st.characters(exclude_characters="\n\r", exclude_categories=["Cs"])))
words = st.lists(st.text("abc019.-", min_size=1), min_size=1)


def sent(value):
    return decode(json.loads(json.dumps(encode(value))), (value,))


# --- values -------------------------------------------------------------------------------------


@given(values)
def test_a_value_equals_itself_after_its_journey(value):
    assert value_matches(sent(value), [value])
    assert type(sent(value)) is type(value)


@given(values, values)
def test_equality_is_pythons_where_no_nan_is_involved(one, other):
    if "nan" not in repr((one, other)):
        assert value_matches(one, [other]) == (one == other)


@given(values, values, st.sampled_from([0.0, 1e-6, 0.5]))
def test_equality_is_symmetric(one, other, tolerance):
    checker = Checker(tolerance=tolerance)
    assert value_matches(one, [other], checker) == value_matches(other, [one], checker)


@given(values, values)
def test_a_tolerance_only_ever_accepts_more(one, other):
    assert value_matches(one, [other], Checker(tolerance=1e-6)) or not value_matches(one, [other])


@given(st.lists(st.floats(-1e6, 1e6)), st.sampled_from([list, tuple, set]))
def test_numbers_within_the_tolerance_match(items, kind):
    moved = kind(item + 1e-9 for item in items)
    if len(moved) == len(kind(items)):
        assert value_matches(moved, [kind(items)], Checker(tolerance=1e-6))
    if items:
        far = [item * 1.5 + 1 for item in items]
        assert not value_matches(far, [[-2e6] * len(items)], Checker(tolerance=1e-6))


@given(values)
def test_one_match_among_the_accepted_is_enough(value):
    assert value_matches(value, [object(), value])
    assert not value_matches(value, [])


@pytest.mark.parametrize(
    ("one", "other", "equal"),
    [
        (True, 1, True),
        (1, 1.0, True),
        (1 + 0j, 1, True),
        ([1], (1,), False),
        ({1}, frozenset({1}), True),
        (math.nan, float("nan"), True),
        ([math.nan], [float("nan")], True),
        ({math.nan}, {float("nan")}, True),
        ({(1, math.nan)}, {(1, float("nan"))}, True),
        ({math.nan: 1}, {float("nan"): 1}, True),
        (complex(math.nan, 1), complex(math.nan, 1), True),
        (math.nan, 0, False),
        (math.inf, -math.inf, False),
        ("1", 1, False),
        (b"1", "1", False),
        (None, 0, False),
        ({}, set(), False),
        (10**400, 1.0, False),
        (Opaque("X", "1"), 1, False),
        (Opaque("X", "1"), ("X", "1"), False),
    ],
)
def test_equality_by_example(one, other, equal):
    assert value_matches(one, [other]) is equal
    assert value_matches(other, [one]) is equal


@pytest.mark.parametrize(
    ("one", "other", "equal"),
    [
        (1.0, 1.0009, True),
        (1.0, 1.1, False),
        (1e9, 1e9 + 1, True),
        (0.0, 1e-4, True),
        (math.inf, 1e308, False),
        ({"a": 1.0}, {"a": 1.0001}, True),
        ({1.0: "a"}, {1.0001: "a"}, False),
        ({1.0, 2.0}, {2.0001, 1.0001}, True),
        ({1.0, "x"}, {1.0001, "x"}, True),
        ({1.0, "x"}, {1.1, "x"}, False),
        ({(1.0, "a"), (2.0, "b")}, {(2.0001, "b"), (1.0001, "a")}, True),
        ({(1.0, "a"), (2.0, "b")}, {(2.0001, "a"), (1.0001, "b")}, False),
        ({(1.0, 5.0), (1.0009, 2.0)}, {(1.0, 2.0), (1.0009, 5.0)}, True),
        ({(1.0, 5), (1.0009, 5)}, {(1.0, 5), (1.5, 5)}, False),
        ({1.0, 1.0009, 1.0018}, {1.0009, 1.0018, 1.0027}, True),
        ([{"a": ({0.5},)}], [{"a": ({0.5001},)}], True),
        (1_000_000, 1_000_001, False),
        (1_000_000, 1_000_001.0, True),
        ([1_000_000], [1_000_001], False),
        (-0.0, 0.0, True),
        (complex(1, 2), complex(1, 2.01), False),
        (10**400, 10**400 + 1, False),
        (1 + 1j, 1.0001 + 1j, True),
        ("1.0", "1.0001", False),
    ],
)
def test_tolerance_by_example(one, other, equal):
    assert value_matches(one, [other], Checker(tolerance=1e-3)) is equal
    assert value_matches(other, [one], Checker(tolerance=1e-3)) is equal


@given(
    st.lists(st.integers(-1000, 1000), min_size=1, max_size=6, unique=True),
    st.sampled_from([0.0, 1e-6, 1e-3]),
    st.sampled_from([set, frozenset]),
    st.sampled_from([lambda inner: inner, lambda inner: [inner], lambda inner: {"key": inner}]),
)
def test_a_set_of_numbers_is_held_to_the_tolerance_and_no_less(items, tolerance, kind, within):
    """In any order, also where the set is a part of something else."""
    expected = within(kind(items))
    for moved in (0.0, 1e-7, 1e-4, 0.1):
        close = all(math.isclose(item, item + moved, rel_tol=tolerance, abs_tol=tolerance) for item in items)
        shifted = within(kind(item + moved for item in reversed(items)))
        assert value_matches(shifted, [expected], Checker(tolerance=tolerance)) == (
            close if tolerance else moved == 0.0
        )
        assert not value_matches(within(kind([*items, 5000])), [expected], Checker(tolerance=tolerance))


def test_an_overriding_class_is_sent_by_its_content():
    class Forged(list):
        def __eq__(self, other: object) -> bool:
            return True

        def __iter__(self):
            return iter([1, 2, 3])

        __hash__ = None

    assert sent(Forged([0])) == [0]
    assert isinstance(sent(Fraction(1, 2)), Opaque)


@pytest.mark.parametrize(
    "forged",
    [
        [],
        [[]],
        ["?"],
        ["i"],
        ["i", "x"],
        ["i", 3],
        ["s", ["l"]],
        ["d", 1],
        ["c", "a", "b"],
        ["b", "zz"],
        {"s": 1},
        ["o"],
        ["s", *range(5000)],
        ["d", *range(5000)],
    ],
)
def test_a_forged_encoding_is_no_value(forged):
    with pytest.raises(NotAValueError):
        decode(forged)


def test_as_many_members_as_expected_are_taken():
    assert sent(set(range(5000))) == set(range(5000))


def test_deep_nesting_in_a_forged_encoding_is_no_value():
    forged: list = ["l"]
    for _ in range(5000):
        forged = ["l", forged]
    with pytest.raises(NotAValueError):
        decode(forged)


# --- expected values ----------------------------------------------------------------------------


@given(values)
def test_the_repr_of_a_value_is_a_source_of_it(value):
    assert value_matches(evaluate(repr(value)), [value])


@pytest.mark.parametrize(
    ("source", "value"),
    [
        ("set()", set()),
        ("frozenset({1})", frozenset({1})),
        ("frozenset()", frozenset()),
        ("float('inf')", math.inf),
        ("-math.inf", -math.inf),
        ("complex(1, 2)", 1 + 2j),
        ("tuple([1])", (1,)),
        ("dict([('a', 1)])", {"a": 1}),
        (" [1,\n 2] ", [1, 2]),
        ("'a' 'b'", "ab"),
    ],
)
def test_constructors_are_values(source, value):
    assert evaluate(source) == value


@pytest.mark.parametrize(
    "source",
    [
        *("", "x", "open('/etc/passwd')", "[].append", "1 if 1 else 2", "[i for i in [1]]", "f'{1}'", "..."),
        *("{**{}}", "int('1')", "set(1)", "{[]}", "-'a'", "1 + 'a'", "2 ** 9", "lambda: 1", "list(range(9))"),
        "(" * 300 + ")" * 300,
    ],
)
def test_anything_else_is_the_callers_mistake(source):
    with pytest.raises(ProblemError, match="literal"):
        evaluate(source)


# --- text ---------------------------------------------------------------------------------------


@given(lines, st.lists(st.sampled_from(["", " ", "  ", "\t", "\r"]), min_size=1))
def test_lines_ignore_trailing_blanks_and_newlines(text, blanks):
    ragged = "\n".join(line + blanks[i % len(blanks)] for i, line in enumerate(text)) + "\n\n"
    assert text_matches(ragged, ["\n".join(text)], Checker(text="lines"))


@given(words, st.lists(st.sampled_from([" ", "\n", "\t \n"]), min_size=1))
def test_tokens_ignore_all_whitespace(tokens, gaps):
    spread = "".join(token + gaps[i % len(gaps)] for i, token in enumerate(tokens))
    assert text_matches(spread, [" ".join(tokens)], Checker(text="tokens"))
    assert not text_matches(spread + "x", [" ".join(tokens)], Checker(text="tokens"))


@given(st.text(), st.text())
def test_exact_is_equality(one, other):
    assert text_matches(one, [other], Checker(text="exact")) == (one == other)


@given(st.text(), st.text(), st.sampled_from([0.0, 1e-3]))
def test_a_laxer_way_accepts_what_a_stricter_one_does(one, other, tolerance):
    exact, by_line, by_token = (
        text_matches(one, [other], Checker(text=way, tolerance=tolerance))
        for way in ("exact", "lines", "tokens")
    )
    assert exact <= by_line <= by_token


@pytest.mark.parametrize(
    ("way", "actual", "expected", "tolerance", "equal"),
    [
        ("exact", "1\n", "1", 0, False),
        ("lines", "1 \n2\r\n\n", "1\n2", 0, True),
        ("lines", "1  2", "1 2", 0, False),
        ("lines", "1\n\n2", "1\n2", 0, False),
        ("tokens", "1\n2", "1 2", 0, True),
        ("tokens", "Yes", "YES", 0, False),
        ("tokens", "1.00", "1", 0, False),
        ("tokens", "1.00", "1", 1e-9, True),
        ("tokens", "0.3333", "0.33333333", 1e-3, True),
        ("tokens", "0.3", "0.33333333", 1e-3, False),
        ("tokens", "1 2", "1", 1, False),
        ("tokens", "a", "b", 1, False),
        ("tokens", "1_0", "10", 1e-3, False),
        ("tokens", "NaN", "nan", 1e-3, True),
        ("tokens", "inf", "1", 1e-3, False),
        ("lines", "x 0.5001", "x 0.5", 1e-3, True),
        ("lines", "x  0.5001", "x 0.5", 1e-3, False),
        ("exact", "0.5001", "0.5", 1e-3, True),
        ("tokens", "1005000", "1000000", 1e-2, False),
        ("tokens", "1005000.0", "1000000", 1e-2, True),
        ("tokens", "3", "4", 1, True),
        ("tokens", "1e-5", "0.00001", 1e-9, True),
        ("tokens", "1E+2", "100.0", 1e-9, True),
        ("tokens", "-0.0", "0.0", 1e-9, True),
        ("tokens", "-0.0", "0.0", 0, False),
        ("tokens", "-inf", "inf", 1e-3, False),
        ("tokens", "+nan", "nan", 1e-3, True),
        ("tokens", "2" + "0" * 400, "1" + "0" * 400, 1e-3, False),
        ("tokens", "2" + "0" * 400 + ".5", "1" + "0" * 400 + ".5", 1e-3, False),
        ("tokens", "1e999", "2e999", 1e-3, False),
        ("tokens", "9" * 5000, "9" * 4999 + "8", 1e-3, False),
        ("tokens", "9" * 5000, "9" * 5000, 1e-3, True),
        ("tokens", "\u0661", "1", 1e-3, False),
        ("tokens", "1\r\n2\r\n", "1\n2", 0, True),
        ("tokens", "5", "\ufeff5", 0, True),
        ("lines", "5", "\ufeff5", 0, True),
        ("exact", "5", "\ufeff5", 0, False),
    ],
)
def test_text_by_example(way, actual, expected, tolerance, equal):
    assert text_matches(actual, ["?", expected], Checker(text=way, tolerance=tolerance)) is equal


@pytest.mark.parametrize(
    ("kind", "actual", "equal"),
    [
        ("absolute", "1000.0005", True),
        ("absolute", "1000.5", False),
        ("relative", "1000.5", True),
        ("relative", "1010.0", False),
        ("either", "1000.5", True),
        ("either", "1010.0", False),
    ],
)
def test_an_error_is_absolute_or_relative(kind, actual, equal):
    checker = Checker(tolerance=1e-3, error=kind)
    assert text_matches(actual, ["1000.0"], checker) is equal
    assert value_matches(float(actual), [1000.0], checker) is equal


def test_near_zero_only_an_absolute_error_accepts():
    assert not text_matches("0.0001", ["0.0"], Checker(tolerance=1e-3, error="relative"))
    assert text_matches("0.0001", ["0.0"], Checker(tolerance=1e-3, error="absolute"))


@pytest.mark.parametrize("way", ["tokens", "lines", "exact"])
def test_some_words_may_be_in_any_case_and_others_may_not(way):
    checker = Checker(text=way, any_case=("yes", "no"))
    assert text_matches("yEs abc", ["YES abc"], checker)
    assert not text_matches("YES Abc", ["YES abc"], checker)
    assert not text_matches("NO abc", ["YES abc"], checker)
    assert not text_matches("yes", ["YES"], Checker(text=way))
    assert text_matches("yes 0.5001", ["YES 0.5"], Checker(text=way, any_case=("yes",), tolerance=1e-3))
