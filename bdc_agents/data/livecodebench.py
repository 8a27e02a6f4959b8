"""LiveCodeBench (code generation): reads stdin problems of AtCoder and Codeforces, functions of LeetCode.

Private tests come as JSON text, or as base64 of zlib of a pickle of that text. The pickle is read
without running anything: every global it names is refused.
"""

import base64
import binascii
import io
import pickle
import zlib
from collections.abc import Sequence
from typing import Any, Literal, NoReturn

from bdc_agents.data.contest import function_test, split_tests, stdin_checker, unjudged_tags
from bdc_agents.data.examples import stdin_examples
from bdc_agents.data.rows import Row, build_task, read_json, read_row
from bdc_agents.errors import ProblemError
from bdc_agents.types import StdinTest, Task, TestCase
from bdc_agents.untrusted import json_kind

# The official grader puts this before every program, function or not. Its `clean_if_name` and the function
# that it wraps a program in are not needed here, where each program is its own module.
PRELUDE = """\
from string import *
from re import *
from datetime import *
from collections import *
from heapq import *
from bisect import *
from copy import *
from math import *
from random import *
from statistics import *
from itertools import *
from functools import *
from operator import *
from io import *
from sys import *
from json import *
from builtins import *
from typing import *
import string, re, datetime, collections, heapq, bisect, copy, math, random, statistics, itertools
import functools, operator, io, sys, json
sys.setrecursionlimit(50000)"""

LARGEST_TESTS = 1 << 30
"""Most bytes that the private tests of one row may unpack to: beyond any row of the set, within a machine's
memory."""


class _Case(Row):
    input: str
    output: str
    testtype: Literal["stdin", "functional"] = "stdin"


class _LcbRow(Row):
    question_id: str
    question_content: str
    question_title: str = ""
    platform: str | None = None
    contest_date: Any = None
    starter_code: str | None = None
    difficulty: str | None = None
    public_test_cases: str | list[Any] = "[]"
    private_test_cases: str | list[Any] = "[]"
    metadata: str | dict[str, Any] | None = None


def livecodebench_task(row: Any, source: str = "row") -> Task:
    """The task of one row of LiveCodeBench's code generation.

    Tags are the platform and `date:YYYY-MM-DD`, the day of the contest.

    Args:
        row: With `question_id`, `question_content`, `public_test_cases`, `private_test_cases`,
            `starter_code`, `metadata` (with `func_name` for a function), `platform`, `difficulty`.
        source: Where the row comes from; named in errors.

    Raises:
        ProblemError: If the row cannot be used.
    """
    fields = read_row(_LcbRow, row, source)
    name = _function(fields.metadata, source)
    public = _tests(fields.public_test_cases, name, f"{source}: public_test_cases")
    private = _tests(fields.private_test_cases, name, f"{source}: private_test_cases")
    examples = () if name else stdin_examples(fields.question_content)
    public, hidden = split_tests(private, public, examples)
    date = str(fields.contest_date or "")[:10]
    return build_task(
        source,
        hidden=hidden,
        id=f"livecodebench:{fields.question_id}",
        statement=fields.question_content.strip(),
        entry_point=name,
        starter_code=fields.starter_code or "",
        preamble=PRELUDE,
        public_tests=public,
        checker=stdin_checker(fields.question_content, public),
        difficulty=fields.difficulty,
        tags=(
            *(tag for tag in (fields.platform, f"date:{date}" if date else None) if tag),
            *unjudged_tags(fields.question_content),
        ),
    )


def _function(metadata: str | dict[str, Any] | None, source: str) -> str | None:
    value = _json(metadata, f"{source}: metadata") if isinstance(metadata, str) and metadata else metadata
    name = value.get("func_name") if isinstance(value, dict) else None
    if name is None or (isinstance(name, str) and name.isidentifier()):
        return name
    raise ProblemError(f"{source}: metadata: func_name: not a name: {name!r:.80}")


def _tests(cases: str | list[Any], name: str | None, place: str) -> Sequence[TestCase]:
    rows = _decode(cases, place) if isinstance(cases, str) else cases
    if not isinstance(rows, list):
        raise ProblemError(f"{place}: a list of tests, not {json_kind(rows)}")
    read = [read_row(_Case, row, f"{place}[{number}]") for number, row in enumerate(rows)]
    return [_test(case, name, place) for case in read]


def _test(case: _Case, name: str | None, place: str) -> TestCase:
    if name is None or case.testtype == "stdin":
        return StdinTest(stdin=case.input, expected=(case.output,))
    arguments = [_json(line, place) for line in case.input.strip().splitlines()]
    return function_test(name, arguments, [_json(case.output, place)])


def _decode(text: str, place: str) -> Any:
    """The value of JSON text, or of base64 of zlib of a pickle of JSON text."""
    if text.lstrip()[:1] in ("[", ""):
        return _json(text or "[]", place)
    try:
        packed = zlib.decompressobj()
        data = packed.decompress(base64.b64decode(text, validate=True), LARGEST_TESTS)
        if packed.unconsumed_tail:
            raise ProblemError(f"{place}: unpacks to more than {LARGEST_TESTS} bytes")
        value = _PlainUnpickler(io.BytesIO(data)).load()
    except ProblemError:
        raise
    except (binascii.Error, zlib.error, EOFError, ValueError, *_PICKLE_ERRORS) as error:
        raise ProblemError(f"{place}: neither JSON nor packed tests: {error}") from None
    return _json(value, place) if isinstance(value, str | bytes) else value


class _PlainUnpickler(pickle.Unpickler):
    """Reads plain values only: whatever a pickle could run needs a global first."""

    def find_class(self, module_name: str, global_name: str) -> NoReturn:
        raise pickle.UnpicklingError(f"names {module_name}.{global_name}, which plain tests do not")

    def persistent_load(self, pid: Any) -> NoReturn:
        raise pickle.UnpicklingError(f"refers to {pid!r:.80}, which plain tests do not")


# Exceptions of a broken pickle.
_PICKLE_ERRORS = (
    pickle.UnpicklingError,
    AttributeError,
    IndexError,
    KeyError,
    TypeError,
    OverflowError,
    MemoryError,
    RecursionError,
)


def _json(text: str | bytes, place: str) -> Any:
    try:
        return read_json(text)
    except (ValueError, RecursionError) as error:
        raise ProblemError(f"{place}: not JSON: {error}: {text[:60]!r}") from None
