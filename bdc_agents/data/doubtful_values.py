"""Finds doubtful values that tests expect: numbers in quotes, decimals without a tolerance."""

import math
import re
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from bdc_agents.data.statement import stated_error
from bdc_agents.types import CallTest, Problem, StdinTest, TestCase
from bdc_agents.types.literals import evaluate, is_value


class Named(NamedTuple):
    """A test with the name by which its author finds it.

    Args:
        name: Name such as `public_tests[2]`.
        test: The test.
        secret: Whether only its name may be shown.
        as_json: Whether what it expects was written as JSON, not as code.
    """

    name: str
    test: TestCase
    secret: bool = False
    as_json: bool = False


_ROUNDS = re.compile(
    r"\bround|\btruncat|\b(?:decimals?|fraction\w*)\s+(?:places?|digits?)\b"
    r"|\bdigits?\s+after|\b(?:two|three|four|\d)\s+(?:decimals|places)\b",
    re.IGNORECASE,
)
"""Signs that digits are counted, so that right programs give one and the same decimal."""
_DECIMAL = re.compile(r"[-+]?\d*\.\d*[1-9]\d*(?:[eE][-+]?\d+)?")


def decimals(named: Sequence[Named], problem: Problem, in_words: bool) -> Iterator[str]:
    """Tests that expect decimals, or a statement that allows an error, where no tolerance is set.

    Args:
        named: The tests.
        problem: Their problem.
        in_words: Whether its statement sets the tolerance, and not its fields.
    """
    if problem.checker.tolerance:
        return
    found = ((one, value) for one in named if (value := _decimal_of(one.test, problem)))
    first, value = next(found, (None, ""))
    if allowed := stated_error(problem.statement):
        if first or any(_is_number(one.test) for one in named):
            yield (
                f"the statement allows an error of {allowed.tolerance:g}, but the checker none: write "
                f'"checker": {{"tolerance": {allowed.tolerance:g}}}'
            )
    elif first and not _ROUNDS.search(problem.statement):
        what = "a decimal" if first.secret else f"{value:.30}"
        how = (
            "the output is compared as text, so that 0.50 is not 0.5"
            if isinstance(first.test, StdinTest)
            else "numbers are compared by ==, so that 0.1 + 0.2 is not 0.3"
        )
        sets = 'say "an error of 1e-6 is allowed"' if in_words else 'write "checker": {"tolerance": 1e-6}'
        yield f"{first.name} expects {what}, and no tolerance is set: {how}. If errors are right, {sets}"


def _decimal_of(test: TestCase, problem: Problem) -> str:
    """A decimal that a test expects, as it is written; empty where it expects none."""
    if isinstance(test, StdinTest):
        words = (word for text in test.expected for word in text.split()) if not problem.checker.code else ()
        return next((word for word in words if _DECIMAL.fullmatch(word)), "")
    if isinstance(test, CallTest):
        return next((repr(part) for text in test.expected for part in _floats(evaluate(text))), "")
    return ""


def _floats(value: Any) -> Iterator[float]:
    """The decimals in a value, at all depths; inf, nan and whole numbers are none."""
    if isinstance(value, float):
        yield from (value,) if math.isfinite(value) and value % 1 else ()
    elif isinstance(value, dict):
        for part in (*value.keys(), *value.values()):
            yield from _floats(part)
    elif isinstance(value, list | tuple | set | frozenset):
        for part in value:
            yield from _floats(part)


_GIVES_TEXT = re.compile(
    r"->\s*[\"']?(?:Optional\[)?str\b"
    r"|\b(?:returns?|gives?|outputs?|prints?|as|to|into|in|formats?|of)\s+(?:[\w-]+\s+){0,4}"
    r"(?:strings?|str|texts?|binary|hexadecimal|hex|octal|digits|characters|roman|base)\b",
    re.IGNORECASE,
)
"""Signs that a function gives a text, in a signature or in words."""
_JSON_WORDS = ("true", "false", "null")


def numbers_as_texts(named: Sequence[Named], problem: Problem) -> Iterator[str]:
    """Tests that expect a text such as "2" where a number is probably meant: no number is equal to it."""
    # In code, quotes are meant as a rule: not where the problem's other values are numbers.
    numeric = problem.checker.tolerance > 0 or any(_is_number(one.test) for one in named)
    texts = [
        (one, value)
        for one in named
        if (one.as_json or numeric)
        and isinstance(one.test, CallTest)
        and isinstance(value := _only_text(one.test), str)
    ]
    odd = [one for one, value in texts if _reads_as_value(value)]
    told = "\n".join((problem.statement, problem.starter_code))
    if not odd or len(odd) < len(texts) or _GIVES_TEXT.search(told):
        return
    first, value = next((one, value) for one, value in texts if one is odd[0])
    what = "a text in quotes" if first.secret else f"the text {value!r:.60}"
    field = '"expected": ' if first.as_json else ""
    instead = "it without quotes" if first.secret else f"{field}{value.strip():.60}"
    more = f" (and {len(odd) - 1} more like it)" if len(odd) > 1 else ""
    yield (
        f"{first.name} expects {what}{more}: nothing but a text is equal to it. Where a number, a list or "
        f"true is meant, write {instead}; else say in the statement that a string is returned"
    )


def _is_number(test: TestCase) -> bool:
    """Whether a test expects a number."""
    values = [evaluate(text) for text in test.expected] if isinstance(test, CallTest) else []
    return any(isinstance(value, int | float) and not isinstance(value, bool) for value in values)


def _only_text(test: CallTest) -> Any:
    value = evaluate(test.expected[0]) if len(test.expected) == 1 else None
    return value if isinstance(value, str) else None


def _reads_as_value(text: str) -> bool:
    """Whether a text is how a number, list or truth value is written."""
    text = text.strip()
    if text in _JSON_WORDS:
        return True
    return is_value(text) and not isinstance(evaluate(text), str)
