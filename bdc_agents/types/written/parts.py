"""Reads the parts of written tests: code, accepted texts and values; says why one is refused."""

import math
import re
from collections.abc import Mapping
from typing import Any, TypeGuard

from bdc_agents.syntax import long_integers, parse
from bdc_agents.types.literals import is_value, source_of
from bdc_agents.types.written.asserts import asserts_something

ARROW = "->"
_JSON_WORDS = {"true": "True", "false": "False", "null": "None"}


class Unread(ValueError):
    """What a person wrote cannot be read as a test, or in more than one way."""


def accepted_texts(expected: Any) -> tuple[str, ...]:
    """The outputs that a test of a whole program accepts.

    Raises:
        Unread: If they are no texts.
    """
    if isinstance(expected, str):
        return (expected,)
    if isinstance(expected, int | float) and not isinstance(expected, bool):
        return (str(expected),)
    if is_list(expected) and expected and all(isinstance(text, str) for text in expected):
        return tuple(expected)
    raise Unread(f'expected: a text such as "5", or a list of texts (found {short(expected)})')


def accepted_values(expected: Any) -> tuple[str, ...]:
    """The values that a call may have, as Python literals.

    Raises:
        Unread: If one is no literal.
    """
    if is_list(expected) and not expected:
        raise Unread('expected: an empty list accepts nothing; where the value is one, write "[]"')
    if isinstance(expected, str):
        texts: tuple[str, ...] = (expected,)
    elif is_list(expected) and all(isinstance(text, str) for text in expected):
        texts = tuple(expected)
    else:
        try:
            texts = (source_of(expected),)
        except ValueError as error:
            raise Unread(f"expected: {error}") from None
    for text in texts:
        if not is_value(text):
            word = _JSON_WORDS.get(text.strip())
            better = f"write {word!r}" if word else f"a text is written with its quotes: {repr(text)[:80]!r}"
            raise Unread(f"expected: not a Python literal: {short(text)}; {better}")
    return texts


def no_value(call: str, expected: str) -> str:
    """Why what a call is expected to give is no value, and what to write."""
    if ARROW in expected:
        return f"several tests in one text: {short(call)} ...; write each as a text of its own"
    word = _JSON_WORDS.get(expected)
    if word:
        return f"{short(expected)} is JSON; the value is written in Python: {call[:80]} -> {word}"
    told = f"{short(expected)} is not a value that a test can expect"
    if re.fullmatch(r"[A-Z]\w*(?:Error|Exception)(\(.*\))?", expected):
        name = expected.partition("(")[0]
        return (
            f"{told}; that a call raises is said in code: "
            f"try: {call[:80]} / except {name}: pass / else: raise AssertionError, on lines of their own"
        )
    with long_integers():
        computed = parse(expected) is not None
    if computed and not expected.isidentifier():
        return (
            f"{told}; write it out as a Python literal, or write code: assert {call[:80]} == {expected[:80]}"
        )
    return f"{told}; a text stands in quotes: {call[:80]} -> {expected[:80]!r}; text on stdin has no call"


def is_expression(text: str) -> bool:
    """Whether a text is one Python expression."""
    with long_integers():
        tree = parse(f"({text}\n)")
    return bool(text.strip()) and tree is not None and len(tree.body) == 1


def parses(code: str) -> bool:
    """Whether a text is Python code, with integers as long as contests have them."""
    with long_integers():
        return parse(code) is not None


def asserts(code: str) -> bool:
    """`asserts_something`, with integers as long as contests have them."""
    with long_integers():
        return asserts_something(code)


def is_object(value: Any) -> TypeGuard[Mapping[Any, Any]]:
    """Whether a value is an object of JSON."""
    return isinstance(value, Mapping)


def is_list(value: Any) -> TypeGuard[list[Any] | tuple[Any, ...]]:
    """Whether a value is a list of JSON, or a tuple of Python."""
    return isinstance(value, list | tuple)


def is_finite(value: Any) -> bool:
    """Whether all numbers of a value are finite."""
    if isinstance(value, float):
        return math.isfinite(value)
    parts = [*value.values()] if is_object(value) else value if is_list(value) else []
    return all(map(is_finite, parts))


def short(value: Any) -> str:
    """What was found, on one line: a row can be megabytes."""
    try:
        text = repr(value[:200] if isinstance(value, str) else value)
    except (ValueError, RecursionError):
        text = type(value).__name__
    return text if len(text) <= 100 else f"{text[:97]}..."
