"""Compares outputs and values with the expected ones: pure functions, run in the caller's process."""

import math
import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from bdc_agents.types import Checker

_SPACES = re.compile(r"(\s+)")
_WHOLE = re.compile(r"[-+]?[0-9]+")
_NUMBER = re.compile(r"[-+]?([0-9]+\.?[0-9]*|\.[0-9]+)(e[-+]?[0-9]+)?", re.IGNORECASE)
_NO_NUMBER = frozenset(("nan", "inf", "infinity"))
_BYTE_ORDER_MARK = "\ufeff"
_PAIRED = 200
"""Most unequal members of a set that are paired off if they are no numbers: the work is cubic, so 200 take
millions of comparisons."""

_EXACT = Checker()


def text_matches(actual: str, accepted: Iterable[str], checker: Checker) -> bool:
    """Whether a program's output is one of the accepted ones.

    Args:
        actual: The program's output.
        accepted: Accepted outputs; one match is enough.
        checker: What to ignore.
    """
    return any(_text_equal(actual, expected, checker) for expected in accepted)


def value_matches(actual: Any, accepted: Iterable[Any], checker: Checker = _EXACT) -> bool:
    """Whether a value equals one of the accepted ones by Python's `==`.

    So 1, 1.0 and True are equal, and a list is no tuple; but here nan equals nan.

    Args:
        actual: A value of built-in types only, so that no code of a program runs here.
        accepted: Accepted values; one match is enough.
        checker: How far apart numbers may be, at all depths; keys of dictionaries must be equal.
    """
    return any(_value_equal(actual, expected, checker) for expected in accepted)


# --- text ---------------------------------------------------------------------------------------


def _text_equal(actual: str, expected: str, checker: Checker) -> bool:
    if checker.text != "exact":
        actual, expected = (text.removeprefix(_BYTE_ORDER_MARK) for text in (actual, expected))
    if checker.text == "tokens":
        return _parts_equal(actual.split(), expected.split(), checker)
    if checker.text == "lines":
        actual, expected = _without_blanks(actual), _without_blanks(expected)
    if actual == expected:
        return True
    if not (checker.tolerance or checker.any_case):
        return False
    return _parts_equal(_SPACES.split(actual), _SPACES.split(expected), checker)


def _without_blanks(text: str) -> str:
    return "\n".join(line.rstrip() for line in text.split("\n")).rstrip("\n")


def _parts_equal(actual: Sequence[str], expected: Sequence[str], checker: Checker) -> bool:
    if len(actual) != len(expected):
        return False
    if not (checker.tolerance or checker.any_case):
        return actual == expected
    return all(_part_equal(*pair, checker) for pair in zip(actual, expected, strict=True))


def _part_equal(one: str, other: str, checker: Checker) -> bool:
    if one == other:
        return True
    if checker.any_case and (word := one.lower()) == other.lower() and word in checker.any_case:
        return True
    return bool(checker.tolerance) and _numbers_close(one, other, checker)


def _numbers_close(one: str, other: str, checker: Checker) -> bool:
    if _WHOLE.fullmatch(one) and _WHOLE.fullmatch(other):
        return _whole_close(one, other, checker)
    first, second = _float(one), _float(other)
    return first is not None and second is not None and _close(first, second, checker)


def _whole_close(one: str, other: str, checker: Checker) -> bool:
    try:
        return _close(int(one), int(other), checker)
    except ValueError:  # Python reads no integer of more than 4,300 digits; such integers count as unequal.
        return False


def _float(text: str) -> float | None:
    """The number in a text; None too if it is beyond all floats, since infinity would equal any other."""
    if _NUMBER.fullmatch(text):
        number = float(text)
        return number if math.isfinite(number) else None
    return float(text) if text.lstrip("+-").lower() in _NO_NUMBER else None


# --- values -------------------------------------------------------------------------------------


def _value_equal(actual: Any, expected: Any, checker: Checker) -> bool:
    if isinstance(expected, (bool, int, float, complex)):
        return isinstance(actual, (bool, int, float, complex)) and _number_equal(actual, expected, checker)
    if isinstance(expected, (list, tuple)):
        return (
            isinstance(actual, list) == isinstance(expected, list)
            and isinstance(actual, (list, tuple))
            and len(actual) == len(expected)
            and all(_value_equal(*pair, checker) for pair in zip(actual, expected, strict=True))
        )
    if isinstance(expected, dict):
        return isinstance(actual, dict) and _dict_equal(actual, expected, checker)
    if isinstance(expected, (set, frozenset)):
        return isinstance(actual, (set, frozenset)) and _set_equal(actual, expected, checker)
    return type(actual) is type(expected) and actual == expected


def _number_equal(actual: complex, expected: complex, checker: Checker) -> bool:
    if actual == expected:
        return True
    if isinstance(actual, complex) or isinstance(expected, complex):
        one, other = complex(actual), complex(expected)
        pairs = ((one.real, other.real), (one.imag, other.imag))
        return all(_number_equal(*pair, checker) for pair in pairs)
    return _close(actual, expected, checker)


def _close(one: float, other: float, checker: Checker) -> bool:
    """Whether two numbers are equal, both nan, or both finite and near each other."""
    if one == other:
        return True
    if isinstance(one, int) and isinstance(other, int) and checker.error != "relative":
        return abs(one - other) <= checker.tolerance
    try:
        if math.isnan(one) or math.isnan(other):
            return math.isnan(one) and math.isnan(other)
        relative = checker.tolerance if checker.error != "absolute" else 0.0
        absolute = checker.tolerance if checker.error != "relative" else 0.0
        return bool(checker.tolerance) and math.isclose(
            one, other, rel_tol=min(relative, 1), abs_tol=absolute
        )
    except OverflowError:  # An integer beyond all floats.
        return False


def _dict_equal(actual: dict[Any, Any], expected: dict[Any, Any], checker: Checker) -> bool:
    if len(actual) != len(expected):
        return False
    found = {_one_nan(key): value for key, value in actual.items()}
    keys = {_one_nan(key): value for key, value in expected.items()}
    return all(key in found and _value_equal(found[key], value, checker) for key, value in keys.items())


def _set_equal(actual: Iterable[Any], expected: Iterable[Any], checker: Checker) -> bool:
    ones, others = ({_one_nan(item) for item in items} for items in (actual, expected))
    if len(ones) != len(others):
        return False
    mine, theirs = [*ones - others], [*others - ones]
    if not mine or not checker.tolerance:
        return not mine
    if all(isinstance(item, (int, float)) and item == item for item in (*ones, *others)):
        # Sorted numbers pair off in order: if any pairing fits, this one does.
        return _value_equal(sorted(ones), sorted(others), checker)
    return len(mine) <= _PAIRED and _paired(
        mine, theirs, lambda one, other: _value_equal(one, other, checker)
    )


def _paired(ones: Sequence[Any], others: Sequence[Any], near: Callable[[Any, Any], bool]) -> bool:
    """Whether each of the first can have its own near one among the second (Kuhn's algorithm)."""
    close = [[place for place, other in enumerate(others) if near(one, other)] for one in ones]
    taken: dict[int, int] = {}

    def place(one: int, tried: set[int]) -> bool:
        for other in close[one]:
            if other not in tried:
                tried.add(other)
                if other not in taken or place(taken[other], tried):
                    taken[other] = one
                    return True
        return False

    return all(place(one, set()) for one in range(len(ones)))


def _one_nan(item: Any) -> Any:
    """The item with one and the same nan for each nan, which containers then take for equal."""
    if isinstance(item, float):
        return math.nan if item != item else item
    if isinstance(item, (tuple, frozenset)):
        return type(item)(_one_nan(part) for part in item)
    return item
