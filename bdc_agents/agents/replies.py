"""What an LLM's reply holds: JSON values and programs, found in whatever surrounds them.

Everything here is pure and never raises, whatever the text.
"""

import ast
import re
from itertools import islice
from typing import Any

from bdc_agents.agents.lenient_json import lenient, strict
from bdc_agents.agents.snippets import (
    Block,
    bare,
    bound_names,
    closed_part,
    fenced,
    free_names,
)
from bdc_agents.syntax import PARSE_ERRORS, parse

MAX_CHARS = 100_000
"""Longer replies are read up to here."""

_TAG = re.compile(r"<(/?)(?:think|thinking|reasoning)>", re.IGNORECASE)


def strip_thinking(text: str) -> str:
    """The reply without its reasoning blocks; an unclosed one reaches to the end.

    A closing tag alone ends a block that the chat template had opened.
    """
    kept: list[str] = []
    at, inside = 0, False
    for tag in _TAG.finditer(text):
        closes = bool(tag[1])
        if closes and not inside:
            kept.clear()
        elif not closes and not inside:
            kept.append(text[at : tag.start()])
        at, inside = tag.end(), not closes
    return "".join(kept) if inside else "".join([*kept, text[at:]])


def thinks_to_the_end(text: str) -> bool:
    """Whether the reply ends inside a reasoning block, before any answer."""
    tags = list(_TAG.finditer(text))
    return bool(tags) and not tags[-1][1]


def _readable(text: str) -> str:
    """The text's beginning, with one kind of line end and no lone surrogates."""
    text = text[:MAX_CHARS].encode("utf-8", "replace").decode("utf-8")
    return text.replace("\r\n", "\n").replace("\r", "\n")


# --- JSON -----------------------------------------------------------------------------------

_STARTS_TRIED = 24
_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")


def is_whole_json(text: str) -> bool:
    """Whether the answer is one JSON value and nothing else, so that nothing of it is missing."""
    answer = strip_thinking(_readable(text)).strip()
    try:
        return strict(answer)[1] == len(answer)
    except (ValueError, RecursionError):
        return False


def parse_json(text: str) -> Any | None:
    """The outermost JSON value in a reply, repaired where it is damaged; None if there is none.

    Numbers that are not finite become None.
    """
    text = _readable(text)
    try:
        value = next((v for part in _parts(text) if (v := _json_in(part)) is not None), None)
        return _well_formed(value) if _SURROGATE.search(text) else value
    except RecursionError:
        return None


def _parts(text: str) -> tuple[str, ...]:
    """What to search, in turn: the answer, then the reasoning too where the answer is empty."""
    answer = strip_thinking(text)
    return (text,) if answer == text else (answer, text)


def _json_in(text: str) -> Any | None:
    text = text.strip()
    try:
        value, end = strict(text)
    except ValueError:
        return _longest_value(text)
    return value if end == len(text) else _longest_value(text)


def _longest_value(text: str) -> Any | None:
    """The longest of the objects and arrays in the text, those with objects before others."""
    best: tuple[tuple[bool, int], Any] | None = None
    covered = 0
    starts = (opening.start() for opening in re.finditer(r"[{\[]", text))
    for start in islice(starts, _STARTS_TRIED):
        if start < covered or (read := _read_at(text, start)) is None:
            continue
        value, covered = read
        rank = (_holds_object(value), covered - start)
        if best is None or rank > best[0]:
            best = rank, value
    return best[1] if best else None


def _holds_object(value: Any) -> bool:
    return isinstance(value, dict) or any(isinstance(item, dict) for item in value)


def _read_at(text: str, start: int) -> tuple[Any, int] | None:
    """The value and its end, as it is or repaired; nothing is left of `[` in prose but `[]`."""
    try:
        value, length = strict(text[start:])
        return value, start + length
    except ValueError:
        pass
    try:
        value, end = lenient(text, start)
    except ValueError:
        return None
    return (value, end) if value else None


def _well_formed(value: Any) -> Any:
    """The value with replacement characters for escapes that are half a character."""
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
        entry_point: The function it should define; decides between several programs.
        truncated: Whether the reply was cut off. Its program is then one in a closed fence: half a
            program often parses, and what it was still thinking is no answer.

    Returns:
        The program, which parses unless nothing in the reply does; None if there is none.
    """
    if truncated:
        return _finished_program(strip_thinking(_readable(text)), entry_point)
    found = [block for part in _parts(_readable(text)) if (block := _best_of(part, entry_point))]
    parsed = [block for block in found if block.tree]
    defining = [block for block in parsed if block.defines(entry_point)]
    return next((block.code for block in [*defining, *parsed, *found]), None)


def _finished_program(answer: str, entry_point: str | None) -> str | None:
    """The best of the programs whose fence was closed before the text was cut off."""
    programs = [block for block in fenced(closed_part(answer)) if block.whole and block.is_program()]
    best = _choose(programs, entry_point)
    return _with_definitions(best, programs).code if best else None


def _best_of(text: str, entry_point: str | None) -> Block | None:
    """The best piece of one text: in fences, outside of them, then one that does not parse."""
    blocks = fenced(text)
    programs = [block for block in blocks if block.is_program()]
    best = _choose(programs, entry_point)
    if best is None or (entry_point and not best.defines(entry_point)):
        loose = _choose([block for block in bare(text) if block.is_program()], entry_point)
        if loose and (best is None or loose.defines(entry_point)):
            return loose
    if best:
        return _with_definitions(best, programs)
    broken = [block for block in blocks if block.python and block.tree is None and block.code.strip()]
    return max(broken, key=lambda block: len(block.code), default=None)


def _choose(blocks: list[Block], entry_point: str | None) -> Block | None:
    """The last whole block that defines the entry point; without one, the longest."""
    defining = [block for block in blocks if block.defines(entry_point)]
    if whole := [block for block in defining if block.whole]:
        return whole[-1]
    return max(defining or blocks, key=lambda b: (b.python, b.whole, len(b.code)), default=None)


def _with_definitions(block: Block, blocks: list[Block]) -> Block:
    """The block after those earlier ones that define names it needs."""
    assert block.tree is not None
    before = blocks[: blocks.index(block)]
    if not before:
        return block
    needed, joined = free_names(block.tree), [block.code]
    for earlier in reversed(before):
        if earlier.tree and needed & bound_names(earlier.tree):
            joined.insert(0, earlier.code)
            needed = (needed - bound_names(earlier.tree)) | free_names(earlier.tree)
    code = "\n\n".join(joined)
    tree = parse(code) if len(joined) > 1 else None
    return Block(code, tree, whole=True) if tree else block


def normalise(code: str) -> str:
    """The same text for programs that differ only in comments, docstrings and formatting.

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
    """Takes docstrings, and other texts that stand as statements, out of a body."""
    body = getattr(node, "body", None)
    if isinstance(body, list):
        kept = [statement for statement in body if not _is_text(statement)]
        body[:] = kept or ([] if isinstance(node, ast.Module) else [ast.Pass()])


def _is_text(node: ast.AST) -> bool:
    value = node.value if isinstance(node, ast.Expr) else None
    return isinstance(value, ast.Constant) and isinstance(value.value, str)
