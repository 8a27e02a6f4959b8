"""Shared by the contest data sets: pairs of input and output, tolerances, tests of functions."""

import re
from collections.abc import Sequence
from typing import Any, Self

from pydantic import field_validator, model_validator

from bdc_agents.data.rows import Row, given
from bdc_agents.data.statement import Kind, free_words, readings, sentences, stated_error
from bdc_agents.syntax import long_integers
from bdc_agents.types import CallTest, Checker, ScriptTest, StdinTest, TestCase

# The grader of APPS puts such imports before every program: starter code names `List` and the like
# without importing them.
FUNCTION_PREAMBLE = """\
import bisect, collections, copy, datetime, functools, heapq, itertools
import math, operator, random, re, string, sys
from bisect import *
from collections import *
from functools import *
from heapq import *
from itertools import *
from math import *
from typing import *
from builtins import *"""

_UNJUDGED: dict[str, Kind] = {"interactive": "interactive", "any-answer": "any answer"}
_DECIMAL = re.compile(r"(?<![\w.])[-+]?\d*\.(\d+)(?:[eE][-+]?\d+)?(?![\w.])")
_ROUNDED = (4, 5)
"""Numbers of digits that rounding for display leaves; a statement that asks for rounding names others."""


class Pairs(Row):
    """Inputs and the outputs that belong to them, in lists of equal length."""

    input: tuple[str, ...] = ()
    output: tuple[str, ...] = ()

    @model_validator(mode="before")
    @classmethod
    def _none_is_empty(cls, value: Any) -> Any:
        return {} if value is None else value

    @field_validator("input", "output", mode="before")
    @classmethod
    def _missing_is_empty(cls, value: Any) -> Any:
        return () if value is None else value

    @model_validator(mode="after")
    def _equal_lengths(self) -> Self:
        if len(self.input) != len(self.output):
            raise ValueError(f"{len(self.input)} inputs but {len(self.output)} outputs")
        return self

    def tests(self) -> tuple[StdinTest, ...]:
        """One test for each pair."""
        pairs = zip(self.input, self.output, strict=True)
        return tuple(StdinTest(stdin=stdin, expected=(output,)) for stdin, output in pairs)


def split_tests(
    tests: Sequence[TestCase], public: Sequence[TestCase], examples: Sequence[TestCase]
) -> tuple[tuple[TestCase, ...], tuple[TestCase, ...]]:
    """The public and the hidden tests of a problem, by rule.

    Public are the data set's own public tests; where it has none, the examples printed in the
    statement; where there are none either, the first half of the tests. The rest is hidden.

    Args:
        tests: The tests that are not marked public.
        public: The data set's public tests.
        examples: What the statement prints.
    """
    shown = tuple(public) or tuple(examples) or tuple(tests[: len(tests) // 2])
    keys = {given(test) for test in shown}
    return shown, tuple(test for test in tests if given(test) not in keys)


def stdin_checker(statement: str, public: Sequence[TestCase]) -> Checker:
    """How outputs and values are compared: as the statement says.

    Outputs are compared token by token, and numbers within the error the statement allows. Without
    such a sentence, 1e-6 is allowed where a public answer has decimals (where these are rounded to
    four or five digits, a difference of 1 in the last), and nothing otherwise: a tolerance would
    accept wrong numbers.

    Args:
        statement: The task in words.
        public: The public tests; hidden ones have no say in what the search sees.
    """
    allowed = stated_error(statement)
    answers = [text for test in public if not isinstance(test, ScriptTest) for text in test.expected]
    checker = Checker(any_case=_free_words(statement, answers))
    if allowed is not None:
        return checker.model_copy(update={"tolerance": allowed.tolerance, "error": allowed.error})
    digits = max((len(decimals) for text in answers for decimals in _DECIMAL.findall(text)), default=0)
    if digits in _ROUNDED:
        return checker.model_copy(update={"tolerance": 10.0**-digits, "error": "absolute"})
    return checker.model_copy(update={"tolerance": 1e-6 if digits else 0.0})


def _free_words(statement: str, answers: Sequence[str]) -> tuple[str, ...]:
    if all(reading.kind != "any case" for reading in readings(statement)):
        return ()
    return free_words(sentences(statement), answers)


def unjudged_tags(statement: str) -> tuple[str, ...]:
    """Tags of a problem whose tests cannot tell right from wrong, by what its statement says.

    `interactive` where the program talks to a judge that is not there, `any-answer` where others
    than the expected answers are right.
    """
    said = {reading.kind for reading in readings(statement)}
    return tuple(tag for tag, kind in _UNJUDGED.items() if kind in said)


def files_preamble(given: str, written: str) -> str:
    """Code that lets a program find its input in a file, and makes its output of what it writes to another.

    The files are its streams under other names, so that nothing has to be on a disk.

    Args:
        given: Name of the input file; a stream's, or empty, where the program reads stdin.
        written: Name of the output file, likewise.
    """
    names = tuple("" if name in _STREAMS else name for name in (given, written))
    return _FILES.format(names=names) if any(names) else ""


_STREAMS = ("stdin", "stdout", "standard input", "standard output")
_FILES = """\
def _name_streams(given, written):
    import builtins, io, os
    plain = io.open
    def opened(file, mode="r", *arguments, **options):
        name = os.path.basename(os.fsdecode(file)) if isinstance(file, (str, bytes, os.PathLike)) else ""
        if name and name == given and not set(mode) & set("wax+"):
            os.lseek(0, 0, os.SEEK_SET)
            return plain(os.dup(0), mode, *arguments, **options)
        if name and name == written and set(mode) & set("wax"):
            return plain(os.dup(1), mode.replace("x", "w").replace("+", ""), *arguments, **options)
        return plain(file, mode, *arguments, **options)
    builtins.open = io.open = opened
_name_streams{names!r}
del _name_streams"""


def function_test(name: str, arguments: Sequence[Any], accepted: Sequence[Any]) -> CallTest:
    """A test of a function, or of the method of that name of a class `Solution`.

    Args:
        name: Of the function.
        arguments: Its arguments as plain values.
        accepted: Accepted values; tuples are as good as lists.
    """
    with long_integers():
        literals = [text for value in accepted for text in (repr(value), repr(_tuples(value)))]
        given = ", ".join(map(repr, arguments))
    return CallTest(
        call=f"{name}({given})",
        expected=tuple(dict.fromkeys(literals)),
        setup=f"if 'Solution' in globals(): {name} = Solution().{name}",
    )


def _tuples(value: Any) -> Any:
    """The value with its lists, two levels deep, as tuples."""
    if not isinstance(value, list):
        return value
    return tuple(tuple(item) if isinstance(item, list) else item for item in value)
