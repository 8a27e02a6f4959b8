"""Python source as a syntax tree, whatever the text and however many threads ask."""

import ast
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from threading import RLock
from typing import Any

PARSE_ERRORS = (SyntaxError, ValueError, RecursionError, MemoryError, OverflowError)
"""What Python raises for text that has no syntax tree."""

LONGEST_INTEGER = 100_000
"""Decimal digits of an integer in test data. Python's own limit, 4,300, is below what contests print;
to read many more than these takes seconds, as the time grows with their square."""

_TRIES = 5
# The interpreter keeps the depth of a tree under construction, and the warnings module its
# filters, for all threads together. The lock can be taken again, by a finalizer that parses.
_one_at_a_time = RLock()


def parse(code: str) -> ast.Module | None:
    """The program's syntax tree; None where it has none."""
    try:
        return syntax_tree(code)
    except PARSE_ERRORS:
        return None


def syntax_tree(code: str, mode: str = "exec") -> Any:
    """`ast.parse` that warns of nothing: an invalid escape in a program is its own affair.

    Raises:
        SyntaxError: And the rest of `PARSE_ERRORS`.
    """
    for _ in range(_TRIES - 1):
        # Python before 3.11.8 and 3.12.2 miscounts the depth where another library's thread parses
        # at the same time (python/cpython#106905); nothing is wrong with the text.
        with suppress(SystemError):
            return _parsed(code, mode)
    return _parsed(code, mode)


@contextmanager
def long_integers() -> Iterator[None]:
    """Lets Python read and write integers of up to `LONGEST_INTEGER` digits: for test data alone.

    The limit holds for the whole interpreter; another thread meets the higher one for a moment.
    """
    with _one_at_a_time:
        before = sys.get_int_max_str_digits()
        sys.set_int_max_str_digits(max(before, LONGEST_INTEGER) if before else 0)
        try:
            yield
        finally:
            sys.set_int_max_str_digits(before)


def _parsed(code: str, mode: str) -> ast.AST:
    with _one_at_a_time, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return ast.parse(code, mode=mode)
