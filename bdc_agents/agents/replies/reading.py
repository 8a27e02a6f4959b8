"""Finds the JSON value or the program in an LLM's reply.

Everything here is pure and never raises, whatever the text.
"""

import ast
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from bdc_agents.agents.replies.lenient_json import NotJSON, lenient, strict
from bdc_agents.agents.replies.marks import said, strip_thinking, thinks_to_the_end
from bdc_agents.agents.replies.mends import mended, plain_spaces
from bdc_agents.agents.replies.program import answers, choose
from bdc_agents.agents.replies.snippets import Block, Parser, bare, enclosed, fenced, wrapped
from bdc_agents.syntax import PARSE_ERRORS, parse

__all__ = [
    "MAX_CHARS",
    "extract_code",
    "is_whole_json",
    "normalise",
    "parse_json",
    "strip_thinking",
    "thinks_to_the_end",
    "under",
]

MAX_CHARS = 200_000
"""Characters of an answer, without its thoughts, that are read; only the end of a longer one, where programs
stand. Reading blocks the event loop, so this bounds the wait of others: about a second if hostile."""
_LINE_ENDS = re.compile("\r\n?|[\u2028\u2029\x85]")


def _readable(text: str) -> str:
    """The text without lone surrogates."""
    return text.encode("utf-8", "replace").decode("utf-8")


def _parts(text: str) -> tuple[str, ...]:
    """The texts to search in turn: the answer, then the whole turn, in case the answer is in the thoughts."""
    parts = said(text)
    return tuple(part[-MAX_CHARS:] for part in dict.fromkeys((parts.answer, parts.turn)))


# --- JSON -----------------------------------------------------------------------------------

# Bounds on hostile replies. Brackets in prose begin no values, and a try costs the more the later it fails.
_STARTS_TRIED = 24
"""Brackets that are tried: real replies hold a few values among prose. Chosen, not measured."""
_TIMES_READ = 5
"""Characters that all tries may read, as a multiple of the reply's length. Chosen, not measured."""
_MOST_READ = 300_000
"""The same for long replies: about a second's work."""
_LEVELS = 4
"""Levels of wrapping that are looked into: tool calls have three."""
_WIDTH = 50
"""Values on each level that are looked into: an answer has a few fields or items. Chosen, not measured."""
_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")
_BETWEEN_ITEMS = re.compile(r"[\s,;]*(?:[-*•]|\d{1,3}[.)])?\s*")


def is_whole_json(text: str) -> bool:
    """Whether the answer is one JSON value and nothing else, so that nothing of it is missing."""
    answer = strip_thinking(_readable(text)).strip()
    try:
        return strict(answer)[1] == len(answer)
    except (ValueError, RecursionError):
        return False


def parse_json(text: str) -> Any | None:
    """The JSON value of a reply, repaired if it is damaged; None if there is none.

    The longest of several values counts, or the last one with the same keys. Objects that follow each
    other directly form a list. Numbers that are not finite become None.
    """
    text = _readable(text)
    try:
        value = next((v for part in _parts(text) if (v := _json_in(part)) is not None), None)
        return _well_formed(value) if _SURROGATE.search(text) else value
    except RecursionError:
        return None


def _json_in(text: str) -> Any | None:
    text = text.strip().strip("\ufeff")
    try:
        value, end = strict(text)
        if end == len(text):
            return _inner(value)
    except ValueError:
        pass
    value = _meant(list(_values(text)))
    if value is None and '\\"' in text:  # JSON inside a JSON string.
        unescaped = text.replace('\\"', '"').replace("\\n", "\n")
        value = _meant(list(_values(unescaped)))
    return value


def _inner(value: Any) -> Any:
    """The object or array in a text that holds JSON itself; any other value as it is."""
    if isinstance(value, str) and value.lstrip().startswith(("{", "[")):
        inner = _meant(list(_values(value)))
        return value if inner is None else inner
    return value


@dataclass(frozen=True)
class _Found:
    value: Any
    start: int
    end: int
    joins: bool
    """Whether it follows the one before it as the items of a list do."""

    @property
    def rank(self) -> tuple[bool, int]:
        return _holds_object(self.value), self.end - self.start


def _values(text: str) -> Iterator[_Found]:
    """The objects and arrays in a text, in turn."""
    covered, left = 0, min(_TIMES_READ * len(text), _MOST_READ)
    starts = (opening.start() for opening in re.finditer(r"[{\[\uff5b]", text))
    for start in islice(starts, _STARTS_TRIED):
        if start < covered or left < 0:
            continue
        value, end = _read_at(text, start)
        left -= end - start
        if value is not None:
            between = _BETWEEN_ITEMS.fullmatch(text, covered, start)
            yield _Found(value, start, end, between is not None)
            covered = end


def _meant(values: Sequence[_Found]) -> Any | None:
    """Which of several values is the answer."""
    if not values:
        return None
    best = max(values, key=lambda found: found.rank)
    if not isinstance(best.value, dict):
        return best.value
    alike = [
        found for found in values if isinstance(found.value, dict) and found.value.keys() == best.value.keys()
    ]
    # The items of a list without its brackets have plain fields; an answer with a list in it is one object.
    if all(found.joins for found in alike[1:]) and not any(
        isinstance(v, list | dict) for v in best.value.values()
    ):
        return [found.value for found in alike] if len(alike) > 1 else best.value
    return alike[-1].value


def _holds_object(value: Any) -> bool:
    return isinstance(value, dict) or any(isinstance(item, dict) for item in value)


def _read_at(text: str, start: int) -> tuple[Any, int]:
    """The value as it is or repaired, or None, and where it ends or how far the search came.

    An empty value is None too: that is all that is left of a `[` in prose.
    """
    try:
        value, length = strict(text[start:])
        return value, start + length
    except ValueError:
        pass
    try:
        value, end = lenient(text, start)
    except NotJSON as error:
        return None, error.at
    return value or None, end


def under(value: Any, name: str) -> Any | None:
    """The value under a name in a JSON value, whatever is wrapped around it; None if there is none.

    Ignores case. Looks into objects, lists and JSON within a text, the outer ones first.
    """
    level = [value]
    for _ in range(_LEVELS):
        inner: list[Any] = []
        for item in level[:_WIDTH]:
            item = _inner(item)
            if isinstance(item, dict):
                for key, own in item.items():
                    if str(key).strip().lower() == name:
                        return _inner(own)
                inner += item.values()
            elif isinstance(item, list):
                inner += item
        level = inner
    return None


def _well_formed(value: Any) -> Any:
    """The value with replacement characters for lone halves of surrogate pairs."""
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode("utf-8")
    if isinstance(value, list):
        return [_well_formed(item) for item in value]
    if isinstance(value, dict):
        return {_well_formed(key): _well_formed(item) for key, item in value.items()}
    return value


# --- programs -------------------------------------------------------------------------------


def extract_code(text: str, entry_point: str | None = None, *, truncated: bool = False) -> str | None:
    """The program in a reply.

    Args:
        text: The reply: prose, fences (closed or not), reasoning, a session's prompts, bare code.
        entry_point: The function that it should define; decides between several programs.
        truncated: Whether the reply was cut off. Then only a program in a closed fence counts: half a
            program often parses, and an unfinished thought is no answer.

    Returns:
        The program, which parses unless nothing in the reply does; None if there is none.
    """
    text = _LINE_ENDS.sub("\n", _readable(text))
    if truncated:
        answer = said(text).answer[-MAX_CHARS:]
        parse = Parser(answer)
        finished = [block for block in fenced(answer, parse) if block.closed and block.whole and block.python]
        best = choose(finished, entry_point, parse)
        return best.code if best else None
    found = [block for part in _parts(text) if (block := _program_in(part, entry_point))]
    return max(found, key=lambda block: _fit(block, entry_point)).code if found else None


def _fit(block: Block, entry_point: str | None) -> tuple[int, bool]:
    return answers(block, entry_point), block.tree is not None


def _program_in(text: str, entry_point: str | None) -> Block | None:
    """The program of one text, from the first kind of place that holds a program that answers.

    If there is none, it is from the first place with any program; otherwise it is a fence that does not
    parse, so that its error can be shown.
    """
    parse = Parser(text)
    found: list[Block] = []
    broken: list[Block] = []
    for place in (fenced, enclosed, _in_json, _in_prose):
        blocks = place(text, parse)
        if place is fenced:
            broken = [block for block in blocks if block.python and not block.tree and block.code.strip()]
        if best := choose(blocks, entry_point, parse):
            if answers(best, entry_point):
                return best
            found.append(best)
    return found[0] if found else max(broken, key=lambda block: len(block.code), default=None)


def _in_json(text: str, parse: Parser) -> list[Block]:
    """Programs in the texts of a JSON value."""
    return wrapped(_json_in(text), parse) if '"' in text or ("{" in text and "'" in text) else []


def _in_prose(text: str, parse: Parser) -> list[Block]:
    """Programs outside of fences, in the text as it is or with the fewest mends."""
    text = plain_spaces(text)  # Invisible marks would hide the first line of a program.
    for readable in (text, *mended(text)):
        if blocks := [block for block in bare(readable, parse) if block.is_program()]:
            return blocks
    return []


def normalise(code: str) -> str:
    """A text that is equal for programs that differ only in comments, docstrings and formatting.

    A program that does not parse is only stripped.
    """
    tree = parse(code)
    if tree is None:
        return code.strip()
    try:
        for node in ast.walk(tree):
            _drop_texts(node)
        return ast.unparse(tree)
    except PARSE_ERRORS:
        return code.strip()


def _drop_texts(node: ast.AST) -> None:
    """Removes docstrings, and other texts that stand as statements, from a body."""
    body = getattr(node, "body", None)
    if isinstance(body, list):
        kept = [statement for statement in body if not _is_text(statement)]
        body[:] = kept or ([] if isinstance(node, ast.Module) else [ast.Pass()])


def _is_text(node: ast.AST) -> bool:
    value = node.value if isinstance(node, ast.Expr) else None
    return isinstance(value, ast.Constant) and isinstance(value.value, str)
