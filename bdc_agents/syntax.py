"""Parses Python source safely: any text, from any number of threads."""

import ast
import re
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from threading import RLock
from typing import Any

PARSE_ERRORS = (SyntaxError, ValueError, RecursionError, MemoryError, OverflowError)
"""The exceptions that Python raises for text without a syntax tree."""

LONGEST_INTEGER = 100_000
"""Decimal digits of an integer in test data. Contests print more than Python's own limit of 4,300. To read
many more than these takes seconds, since the time grows with their square."""

_TRIES = 5
"""Tries to parse after an error of another thread's making (see `syntax_tree`), each a rare coincidence."""
# The interpreter keeps the depth of a tree under construction, and the warnings module its
# filters, for all threads together. The lock can be taken again, by a finalizer that parses.
_one_at_a_time = RLock()


def parse(code: str) -> ast.Module | None:
    """The program's syntax tree; None if it does not parse."""
    try:
        return syntax_tree(code)
    except PARSE_ERRORS:
        return None


def syntax_fault(code: str) -> str:
    """What is wrong with code that does not parse, and in which line."""
    try:
        syntax_tree(code)
    except SyntaxError as error:
        return f"{error.msg} in line {error.lineno}" if error.lineno else error.msg  # A NUL byte has none.
    except PARSE_ERRORS as error:
        return f"{error}"
    return ""


def modules_needed(code: str) -> frozenset[str]:
    """The modules outside the standard library that code cannot do without."""
    tree = parse(code) if "import" in code else None
    return frozenset(_imported(tree) if tree else ()) - sys.stdlib_module_names


def _imported(tree: ast.AST) -> Iterator[str]:
    """The roots of all imports, except those that may fail: in a `try` with an `except`."""
    waiting = [tree]  # A list instead of recursion: foreign code may be nested deeply.
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
"""Marks of other languages that Python lacks; looked for only in text that does not parse."""


def language_of(code: str) -> str | None:
    """The other language that code seems to be written in; None if there is no sign of one."""
    text = code[:20_000]  # Marks come early, and a search of megabytes would take seconds.
    if _PYTHON.search(text):  # Python with a slip; words of another language may stand in its texts.
        return None
    return next((name for name, sign in _LANGUAGES if re.search(sign, text, re.MULTILINE)), None)


def syntax_tree(code: str, mode: str = "exec") -> Any:
    """`ast.parse` without warnings, such as those about invalid escapes in a program.

    Raises:
        SyntaxError: And the rest of `PARSE_ERRORS`.
    """
    for _ in range(_TRIES - 1):
        # Python before 3.11.8 and 3.12.2 miscounts the depth if another library's thread parses at the
        # same time (python/cpython#106905); nothing is wrong with the text.
        with suppress(SystemError):
            return _parsed(code, mode)
    return _parsed(code, mode)


@contextmanager
def long_integers() -> Iterator[None]:
    """Lets Python read and write integers of up to `LONGEST_INTEGER` digits; for test data only.

    The limit holds for the whole interpreter, so other threads have the higher one for a moment.
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
