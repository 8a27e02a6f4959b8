"""What a message says of tests by their numbers: "test 2 is wrong", "the first test should be 3"."""

import re
from collections.abc import Sequence
from dataclasses import replace
from itertools import chain, islice
from typing import Any, NamedTuple

from bdc_agents.chat.reading import Said
from bdc_agents.chat.spoken import BE, leading_value
from bdc_agents.types import CallTest, StdinTest, TestCase
from bdc_agents.types.literals import evaluate

_ORDINALS = ("first", "second", "third", "fourth", "fifth")
_NUMBERS = r"\d{1,4}(?:\s*(?:,\s*and\b|,|&|and\b|-|to\b)\s*\d{1,4})*"
_WHICH = rf"(?:the\s+)?(?:tests?\s+#?(?P<numbers>{_NUMBERS})|(?P<place>{'|'.join(_ORDINALS)}|last)\s+test)"
_WRONG = r"(?:is|are|was|were)\s+(?:wrong|incorrect|not\s+right|not\s+correct|false|a\s+mistake)"
_SHOULD = rf"(?:but\s+|and\s+)?(?:it\s+)?(?:should|must)\s+(?:actually\s+)?{BE}"
_RETOLD = (
    re.compile(rf"{_WHICH}(?:\s+{_WRONG})?[\s,;:.-]*{_SHOULD}\b[\s:]*", re.IGNORECASE),
    # Without the verb "tests 1 to 3" is a range.
    re.compile(rf"\b(?:change|set|update|correct|fix|mend)\s+{_WHICH}\s+to\b[\s:]*", re.IGNORECASE),
)
_DROPPED = (
    re.compile(
        rf"\b(?:remove|drop|delete|forget|ignore|leave\s+out|take\s+out)\s+{_WHICH}\b(?:\s+and\b)?",
        re.IGNORECASE,
    ),
    re.compile(rf"{_WHICH}\s+{_WRONG}\b", re.IGNORECASE),
)
_REPLACED = re.compile(rf"\b(?:replace|change|update|correct|fix|mend)\s+{_WHICH}\b", re.IGNORECASE)
"""Where the message has a test, that one stands in its place."""
_MOST = 50
"""Values that are looked at: each takes a search of the whole message."""


class Numbered(NamedTuple):
    """A message without what it says of tests by their numbers.

    Args:
        said: The message; a new value for a test is one of its tests.
        gone: Numbers of tests that are wrong, from 1; some may be of no test.
    """

    said: Said
    gone: frozenset[int]


def by_numbers(said: Said, tests: Sequence[TestCase]) -> Numbered:
    """Takes out of a message what it says of the tests of a conversation by their numbers.

    Args:
        said: The message.
        tests: In the order in which the person saw them.
    """
    words, retold, gone = said.words, list[Any](), set[int]()
    for found in islice(chain.from_iterable(one.finditer(said.words) for one in _RETOLD), _MOST):
        value, end = leading_value(said.words, found.end())
        numbers = _numbers(found, len(tests))
        test = tests[numbers[0] - 1] if len(numbers) == 1 and 0 < numbers[0] <= len(tests) else None
        if test and value and (again := _with(test, value)):
            retold.append(again)
            words = words[: found.start()] + " " * (end - found.start()) + words[end:]
    for pattern in (*_DROPPED, *([_REPLACED] if said.tests else [])):
        for found in pattern.finditer(words):
            gone.update(_numbers(found, len(tests)))
        words = pattern.sub(" ", words)
    return Numbered(replace(said, tests=(*said.tests, *retold), words=words.strip()), frozenset(gone))


def _numbers(found: re.Match[str], count: int) -> list[int]:
    if place := found["place"]:
        return [count if place.lower() == "last" else _ORDINALS.index(place.lower()) + 1]
    numbers: list[int] = []
    for first, last in re.findall(r"(\d+)(?:\s*(?:-|to)\s*(\d+))?", found["numbers"]):
        # No longer than the list: a range may name thousands.
        numbers += range(int(first), min(int(last or first), max(count, int(first))) + 1)
    return numbers


def _with(test: TestCase, value: str) -> Any:
    """A test with another value; None where it has none, as code."""
    if isinstance(test, CallTest):
        return test.model_copy(update={"expected": (value,)})
    if isinstance(test, StdinTest):
        text = evaluate(value) if value[0] in "'\"" else value
        return test.model_copy(update={"expected": (text,)})
    return None
