"""Reads one message of a person: a problem or some tests, in words, in code blocks or as JSON.

Everything here is pure, and bounded whatever the text. What the message means in a conversation is decided
in `understanding`.
"""

import ast
import builtins
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from textwrap import dedent
from typing import Any

from bdc_agents.chat.spoken import Spoken, input_and_output, spoken_tests, unclear_assert, unclear_pair
from bdc_agents.data.examples import stdin_examples
from bdc_agents.syntax import parse
from bdc_agents.types.written.entry_point import stated_function
from bdc_agents.untrusted import read_json

LONGEST = 20_000
"""Characters of a message, five pages: the statement is part of every prompt."""
LONGEST_JSON = 200_000
"""Characters of a message that is JSON, of which most are tests."""
MOST_TESTS = 200
"""Tests of one message: all of them run for every program."""


@dataclass(frozen=True)
class Said:
    """What one message holds.

    Args:
        text: The message without control characters.
        problem: The fields of a problem that was given as JSON.
        tests: Tests, in forms that `Problem` takes.
        starter: Code to start from.
        name: What is to be written, as the words or the code name it.
        words: What is left without tests and code.
        unread: What looks like a test and is none, with what to write.
    """

    text: str
    problem: Mapping[str, Any] | None = None
    tests: tuple[Any, ...] = ()
    starter: str = ""
    name: str | None = None
    words: str = ""
    unread: tuple[str, ...] = ()


@dataclass
class _Parts:
    problem: Mapping[str, Any] | None = None
    tests: list[Any] = field(default_factory=list[Any])
    starter: list[str] = field(default_factory=list[str])
    words: list[str] = field(default_factory=list[str])
    unread: list[str] = field(default_factory=list[str])


def read_message(text: str, asked: str | None = None) -> Said:
    """What a message holds.

    Args:
        text: The message, of any length and form.
        asked: The function that the conversation is about, for tests that do not name it.

    Raises:
        ValueError: If it is too long, or JSON that cannot be read; the message says what to do.
    """
    text = plain(text)
    _check_length(text, LONGEST_JSON)
    if (value := _json(text)) is not None:
        parts = _Parts()
        _take_json(value, parts)
        return _said(text, parts, None)
    _check_length(text, LONGEST)
    pieces = _split(text)
    names = (starter_name(body) for kind, body in reversed(pieces) if kind is not None)
    defined = next(filter(None, names), None)
    examples = () if defined else stdin_examples(text)
    words = "".join(words for kind, words in pieces if kind is None)
    name = defined or named_function(words, program=bool(examples)) or asked
    examples = () if name else examples
    parts = _Parts(tests=[*examples])
    pieces = pieces if examples else _inputs_in_blocks(pieces, name, parts)
    for kind, body in pieces:
        if kind is None:
            _take_words(body, name, parts, pairs=not examples)
        else:
            _take_block(kind, body, name, parts)
    if defined:
        _keep_tests_of(defined, parts)
    return _said(text, parts, name if name != asked else None)


def _check_length(text: str, most: int) -> None:
    if len(text) > most:
        raise ValueError(
            f"the message has {len(text):,} characters, and {most:,} at most are read; leave out what is "
            "not needed to understand the problem"
        )


def _said(text: str, parts: _Parts, name: str | None) -> Said:
    if len(parts.tests) > MOST_TESTS:
        raise ValueError(
            f"the message has {len(parts.tests)} tests, and {MOST_TESTS} at most are taken; choose those "
            "that tell most"
        )
    notes = [unclear_assert(test) if isinstance(test, str) else "" for test in parts.tests]
    parts.tests = [test for test, note in zip(parts.tests, notes, strict=True) if not note]
    parts.unread += filter(None, notes)
    words = re.sub(r"\n{3,}", "\n\n", "\n".join(parts.words)).strip()
    unread = tuple(dict.fromkeys(parts.unread))
    return Said(text, parts.problem, tuple(parts.tests), "\n\n".join(parts.starter), name, words, unread)


_QUOTES = str.maketrans(
    {"\u201c": '"', "\u201d": '"', "\u2018": "'", "\u2019": "'", "\u00a0": " ", "\ufeff": ""}
)


def plain(text: str) -> str:
    """The text without control characters, lone surrogates and typographic quotes."""
    text = text.replace("\r\n", "\n").replace("\r", "\n").translate(_QUOTES)
    if text.isprintable():
        return text.strip()
    return "".join(char for char in text if char.isprintable() or char in "\n\t").strip()


# --- JSON -----------------------------------------------------------------------------------------------


_LOOKS_LIKE_JSON = re.compile(
    r'\{\s*"(?:id|problem|statement|entry_point|tests|public_tests)"\s*:|\{\s*".*\}\Z', re.DOTALL
)


def _json(text: str) -> Any:
    """The value of a text that is JSON as a whole; None for any other text.

    Raises:
        ValueError: If it begins like an object of JSON and cannot be read.
    """
    if not text.startswith(("{", "[")):
        return None
    try:
        return read_json(text, finite=False)
    except ValueError as error:
        if _LOOKS_LIKE_JSON.match(text):
            raise ValueError(
                f"this looks like JSON, but cannot be read: {error!s:.200}; mend it, or use words"
            ) from None
        return None


def _take_json(value: Any, parts: _Parts) -> None:
    if isinstance(value, Mapping) and isinstance(value.get("problem"), Mapping) and "statement" not in value:
        value = value["problem"]
    if isinstance(value, Mapping) and ("statement" in value or {"public_tests", "tests"} & set(value)):
        parts.problem = value
    elif isinstance(value, Mapping):
        parts.tests.append(dict(value))
    elif isinstance(value, list) and value:
        parts.tests += [value] if _is_pair(value) else value
    else:
        parts.unread.append(f"{value!r:.60}: not a problem and not a test")


def _is_pair(value: Sequence[Any]) -> bool:
    """Whether a list is one test, such as `[[2, 3], 5]`, and not a list of them."""
    return len(value) == 2 and isinstance(value[0], list) and not isinstance(value[1], list | Mapping)


# --- pieces ---------------------------------------------------------------------------------------------

_FENCE = re.compile(
    r"^[ \t]*(`{3,}|~{3,})[ \t]*([\w+#.-]*)[^\n]*\n(.*?)(?:^[ \t]*\1[ \t]*$|\Z)", re.MULTILINE | re.DOTALL
)
_DEFINES = re.compile(
    r"^(?:(?:from|import) [^\n]+\n|@[^\n]+\n){0,50}(?:async def|def|class) [^\n]*"
    r"(?:\n(?:[ \t]+[^\n]*|[ \t]*(?=\n[ \t])))*",
    re.MULTILINE,
)

Piece = tuple[str | None, str]
"""The language of a code block and its body, or None and words."""


def _split(text: str) -> list[Piece]:
    """Words and code blocks in turn; a definition that stands between words is a block, too."""
    pieces: list[Piece] = []
    at = 0
    for found in _FENCE.finditer(text):
        pieces += [*_definitions(text[at : found.start()]), (found[2].lower(), found[3])]
        at = found.end()
    return [*pieces, *_definitions(text[at:])]


def _definitions(text: str) -> list[Piece]:
    pieces: list[Piece] = []
    at = 0
    for found in _DEFINES.finditer(text):
        if "(" in found[0] or found[0].rstrip().endswith(":"):
            pieces += [(None, text[at : found.start()]), ("python", found[0])]
            at = found.end()
    return [*pieces, (None, text[at:])]


_IN_HEADING = re.compile(
    r"(?:^|\n)[ \t]*\**(?:sample |example )?(?:input|stdin)s?[ \t]*#?\d*[ \t]*:?\**:?\s*\Z", re.IGNORECASE
)
_OUT_HEADING = re.compile(
    r"\A\s*\**(?:sample |example |expected )*(?:output|stdout|answer)s?[ \t]*#?\d*[ \t]*:?\**:?\s*\Z",
    re.IGNORECASE,
)


def _inputs_in_blocks(pieces: list[Piece], name: str | None, parts: _Parts) -> list[Piece]:
    """Takes blocks under "Input" and "Output" as tests; the pieces that are left."""
    left: list[Piece] = []
    at = 0
    while at < len(pieces):
        four = pieces[at : at + 4]
        kinds = [kind is None for kind, _ in four]
        if (
            kinds == [True, False, True, False]
            and (found := _IN_HEADING.search(four[0][1]))
            and _OUT_HEADING.match(four[2][1])
        ):
            given, expected = four[1][1].rstrip("\n"), four[3][1].rstrip("\n")
            if name and (note := unclear_pair(f"{name}({given})", expected)):
                parts.unread.append(note)
            else:
                parts.tests.append(input_and_output(given, expected, name))
            left.append((None, four[0][1][: found.start()]))
            at += 4
        else:
            left.append(pieces[at])
            at += 1
    return left


def _take_words(text: str, name: str | None, parts: _Parts, *, pairs: bool = True) -> None:
    found = spoken_tests(text, name, pairs=pairs)
    _take_spoken(found, parts)
    at, words = 0, ""
    for one in found:
        if one.test is not None:
            words += text[at : one.start]
            at = one.end
    parts.words.append(words + text[at:])


def _take_spoken(found: Sequence[Spoken], parts: _Parts) -> None:
    parts.tests += [one.test for one in found if one.test is not None]
    parts.unread += [one.note for one in found if one.note]


# --- code blocks ----------------------------------------------------------------------------------------

_STUB = "\n" + 12 * " " + "pass"
"""A body for code that ends in the head of a function or a method."""


def _take_block(language: str, body: str, name: str | None, parts: _Parts) -> None:
    body = dedent(body).strip("\n")
    if language == "json" or body.lstrip().startswith(("{", "[")):
        try:
            _take_json(read_json(body, finite=False), parts)
            return
        except ValueError:
            if language == "json":
                raise
    tree = _tree(body)
    if tree is None or not tree.body:
        _take_lines(body, name, parts)
        return
    if any(
        isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) and not _is_test(node)
        for node in tree.body
    ):
        _take_definitions(body, tree, parts)
    elif all(_is_statement_of_test(node) for node in tree.body):
        parts.tests += [ast.get_source_segment(body, node) or ast.unparse(node) for node in tree.body]
    elif any(isinstance(node, ast.Assert) for node in ast.walk(tree)):
        parts.tests.append({"code": _called(body, tree)})
    else:
        _take_lines(body, name, parts)


def _tree(body: str) -> ast.Module | None:
    return parse(body) or (parse(body + _STUB) if body.rstrip().endswith(":") else None)


def _is_test(node: ast.stmt) -> bool:
    return isinstance(node, ast.FunctionDef) and node.name.startswith(("test", "check"))


def _is_statement_of_test(node: ast.stmt) -> bool:
    return isinstance(node, ast.Assert) or (
        isinstance(node, ast.Expr) and isinstance(node.value, ast.Compare)
    )


def _take_lines(body: str, name: str | None, parts: _Parts) -> None:
    """Tests in a block that is no code; the block is part of the words where it holds none."""
    found = spoken_tests(body, name)
    _take_spoken(found, parts)
    if not found:
        parts.words.append(f"```\n{body}\n```")


def _take_definitions(body: str, tree: ast.Module, parts: _Parts) -> None:
    """The code to start from, and the tests that stand beside it or in its docstrings."""
    tests = [node for node in tree.body if _is_statement_of_test(node) or _is_test(node)]
    kept = [node for node in tree.body if node not in tests]
    plain_asserts = [node for node in tests if not _is_test(node)]
    if all(
        isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Import | ast.ImportFrom)
        for node in kept
    ):
        parts.tests += [ast.get_source_segment(body, node) or ast.unparse(node) for node in plain_asserts]
    else:  # Asserts that use what statements before them have made.
        loose = [node for node in tree.body if not isinstance(node, ast.FunctionDef | ast.ClassDef)]
        if plain_asserts:
            parts.tests.append({"code": "\n".join(map(ast.unparse, loose))})
            kept = [node for node in kept if node not in loose]
    for node in tests:
        if _is_test(node):
            code = ast.unparse(node)
            parts.tests.append({"code": _called(code, ast.Module([node], []))})
    starter = body if len(kept) == len(tree.body) else "\n\n".join(map(ast.unparse, kept))
    parts.starter.append(starter)
    for node in ast.walk(ast.Module(kept, [])):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            told = spoken_tests(ast.get_docstring(node) or "", node.name)
            _take_spoken([one for one in told if _mentions(one, node.name)], parts)


def _mentions(one: Spoken, name: str) -> bool:
    """Whether an example of a docstring is of its function: some show another one."""
    return one.test is None or name in str(one.test)


def _keep_tests_of(name: str, parts: _Parts) -> None:
    """Leaves out what the words say of functions that the code to start from does not define."""
    kept = [test for test in parts.tests if _is_of(test, name)]
    others = (test for test in parts.tests if not _is_of(test, name))
    parts.unread += [f"{test!s:.80} does not call {name}, which is to be written" for test in others]
    parts.tests = kept


def _is_of(test: Any, name: str) -> bool:
    """Whether a test names what is to be written, or is a pair of values alone."""
    values_alone = isinstance(test, list) or (isinstance(test, Mapping) and not {"call", "code"} & set(test))
    return values_alone or name in str(test)


def _called(code: str, tree: ast.Module) -> str:
    """Test code in which test functions that nothing calls are called."""
    names = {
        node.func.id
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
    }
    calls = [
        f"{node.name}()"
        for node in tree.body
        if isinstance(node, ast.FunctionDef)
        and node.name.startswith("test")
        and not node.args.args
        and node.name not in names
    ]
    return "\n".join([code, *calls])


# --- names ----------------------------------------------------------------------------------------------

_NO_NAME = frozenset(
    re.findall(
        r"\w+",
        """that to which returning for with in is of and or it the a an on from who whose taking given
        as this called named name using without by reads read returns return prints program function
        method class should must will can does takes like""",
    )
)
_NAMED = (
    re.compile(
        r"\b(?i:function|method|class|program|routine|it)\s+(?i:called|named)\s+[`'\"*]*([A-Za-z_]\w*)"
    ),
    re.compile(r"\b(?i:call|name)\s+it\s+[`'\"*]*([A-Za-z_]\w*)"),
    re.compile(r"\b(?i:write|implement|define|create|code|make|need)\s+`?([A-Za-z]\w*_\w+|[a-z]+[A-Z]\w*)`?"),
    re.compile(r"\b(?i:write|implement|define|create|code|make|need)\s+[`*]+([A-Za-z_]\w*)[`*(]"),
    re.compile(
        r"\b(?i:function|method|class)\s+[`'\"*]*([A-Za-z_]\w*)[`'\"*]*"
        r"(?=\s*\(|\s+(?:that|which|to|taking|with)\b|\s*[,:.]|\s*$)",
        re.MULTILINE,
    ),
    re.compile(r"`([A-Za-z_]\w*)\([^`]*\)`"),
)
_ASKED = re.compile(r"\b(?:write|implement|def)\s+`?([A-Za-z_]\w*)\s*\(", re.IGNORECASE)
_OF_PROGRAMS = re.compile(
    r"\b(?:first|only|single|next|second|each|last|following)\s+(?:\w+\s+){0,3}lines?\b"
    r"|\bstandard input\b|\bstdin\b",
    re.IGNORECASE,
)
"""Says what the input of a program looks like."""


def named_function(text: str, *, program: bool = False) -> str | None:
    """The function or class that some words ask for by its name.

    Args:
        text: The words.
        program: Whether there are examples of input and output: functions that such a text tells of without
            asking for them are those of mathematics.
    """
    asked = _ASKED.search(text)
    if asked and asked[1].lower() not in _NO_NAME:
        return asked[1]
    if program or _OF_PROGRAMS.search(text):
        return None
    stated = stated_function(text)
    if stated and stated.lower() not in _NO_NAME:
        return stated
    for pattern in _NAMED:
        for found in pattern.finditer(text):
            if found[1].lower() not in _NO_NAME and not hasattr(builtins, found[1]):
                return found[1]
    return None


def starter_name(code: str) -> str | None:
    """The last function or class that some code defines, tests apart: helpers mostly come first."""
    tree = _tree(dedent(code).strip("\n"))
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    names = [
        node.name for node in (tree.body if tree else ()) if isinstance(node, kinds) and not _is_test(node)
    ]
    return names[-1] if names else None
