"""Python source as a syntax tree, whatever the text and however many threads ask."""

import ast
import re
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


def modules_needed(code: str) -> frozenset[str]:
    """The modules outside the standard library that some code imports, and cannot do without."""
    tree = parse(code) if "import" in code else None
    return frozenset(_imported(tree) if tree else ()) - sys.stdlib_module_names


def _imported(tree: ast.AST) -> Iterator[str]:
    """The roots of all imports but those that may fail: in `try` with an `except`."""
    waiting = [tree]  # a list, and no calls of itself: code from outside is nested as deeply as it likes
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module.partition(".")[0]
        if not (isinstance(node, ast.Try | ast.TryStar) and node.handlers):
            waiting += ast.iter_child_nodes(node)


_PYTHON = re.compile(
    r"^\s*(?:(?:async )?def\b.*:|class \w.*:|elif\b.*:|if __name__.*|from \w[\w.]* import .*|import \w+)\s*$",
    re.MULTILINE,
)
_LANGUAGES: tuple[tuple[str, str], ...] = (
    (
        "C++",
        r"#include\s*<(?:iostream|vector|string|algorithm|map|set|queue|bits/)|\busing namespace\b|\bstd::",
    ),
    ("C", r"#include\s*[<\"]"),
    ("Java", r"\bpublic\s+(?:static|class|final)\b|\bSystem\.out\.|\bimport java\."),
    ("C#", r"\busing System\b|\bConsole\.Write"),
    ("Rust", r"\bfn \w+\s*\(.*\{|\blet mut \b|\bprintln!"),
    ("Go", r"^package \w+|\bfunc \w*\s*\(|\bfmt\.Print"),
    ("Kotlin", r"\bfun \w+\s*\(|\breadLine\(\)!!"),
    ("PHP", r"<\?php"),
    ("JavaScript", r"\bconsole\.log\(|^\s*(?:const|let|var) \w+\s*=|\bfunction\s*\w*\s*\(|=>\s*\{"),
    ("Ruby", r"^\s*def \w+[^:\n]*\n(?:.*\n)*?\s*end\b|\bputs \S"),
    ("a shell script", r"^#!.*\b(?:ba|z)?sh\b"),
)
"""What programs of other languages have and Python has not; each is looked for in what does not parse."""


def language_of(code: str) -> str | None:
    """The other language that a program which is not Python seems to be written in; None where none shows."""
    text = code[:20_000]
    if _PYTHON.search(text):  # with a slip in it, and perhaps words of another language in its texts
        return None
    return next((name for name, sign in _LANGUAGES if re.search(sign, text, re.MULTILINE)), None)


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
