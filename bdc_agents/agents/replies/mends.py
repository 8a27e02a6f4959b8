"""Mends code that does not parse because of how it was sent: numbered lines, typeset quotes, a diff.

Each mend is a function of the text; it returns text without such damage unchanged. Mends are tried only
on text that does not parse, so they never touch a program that does.
"""

import html
import re
from collections.abc import Iterator

_NOTHING = "\u00ad\u200b-\u200f\u202a-\u202e\u2060-\u2064\u2066-\u2069\ufeff"
_SPACE = "\u00a0\u1680\u2000-\u200a\u202f\u205f\u3000"
_SEEN_AS_SPACE = re.compile(f"[{_SPACE}]")
_UNSEEN = re.compile(f"[{_NOTHING}]")
_BLANK = rf"[ \t{_SPACE}{_NOTHING}]"
# Possessive, with a look behind: a run of blanks is scanned once, not again from each of its characters.
_EDGES = re.compile(rf"^{_BLANK}++|(?<!{_BLANK}){_BLANK}++$", re.MULTILINE)
_TOKEN = re.compile(r"<[|\uff5c][^<>|\uff5c\n]{1,40}[|\uff5c]>|</s>|<(?:eos|end_of_turn)>")
_PROMPT = re.compile(r"(?:>>>|\.\.\.)(?: |$)|In \[\d*\]: ?|\s+\.\.\.: ?")
_NUMBER = re.compile(r"[ \t]*\d{1,5}[ \t]?[|:.)│]?(?=\s|$)")
_PATCH = re.compile(r"(?:[-+ @\\]|diff |index |$)")
_PATCH_HEAD = re.compile(r"(?:---|\+\+\+|@@|diff |index |\\ No newline|-)")
_ESCAPE = re.compile(r"\\([nt\"\\])")
_ESCAPED = {"n": "\n", "t": "\t", '"': '"', "\\": "\\"}
# The first group keeps strings in ASCII quotes and comments as they are; the others match outside of them.
_TYPESET = re.compile(
    r"(?P<kept>\"\"\"[\s\S]*?(?:\"\"\"|\Z)|'''[\s\S]*?(?:'''|\Z)|\"(?:\\.|[^\"\\\n])*+\"?|'(?:\\.|[^'\\\n])*+'?"
    r"|\#[^\n]*)"
    r"|[“”„](?P<double>[^“”„\"\n]*)[“”]|[\u2018\u2019](?P<single>[^\u2018\u2019'\n]*)[\u2018\u2019]|(?P<char>[\uff01-\uff5e\u2010-―\u2212、。])"
)
_ASCII = dict.fromkeys("\u2010\u2011\u2012\u2013—―\u2212", "-") | {"、": ",", "。": "."}


def mended(text: str) -> Iterator[str]:
    """Yields the text with one mend more each time, for each mend that changes it."""
    for mend in MENDS:
        if (better := mend(text)) != text:
            text = better
            yield text


def plain_spaces(text: str) -> str:
    """Replaces no-break spaces around lines by ordinary ones, and drops marks without width there."""
    return _EDGES.sub(lambda edge: _SEEN_AS_SPACE.sub(" ", _UNSEEN.sub("", edge[0])), text)


def visible(text: str) -> str:
    """Replaces odd spaces and drops invisible marks that web pages and word processors add."""
    return _SEEN_AS_SPACE.sub(" ", _UNSEEN.sub("", text))


def _without_tokens(text: str) -> str:
    """Drops a chat template's tokens, which some servers send as text."""
    return _TOKEN.sub("", text)


def _session(text: str) -> str:
    """Keeps the input lines of an interactive session, without prompts and output."""
    lines = text.split("\n")
    first = next((line for line in lines if line.strip()), "")
    if not first.startswith((">>>", "In [")):
        return text
    return "\n".join(line[prompt.end() :] for line in lines if (prompt := _PROMPT.match(line)))


def _unnumbered(text: str) -> str:
    """Drops line numbers."""
    lines = text.split("\n")
    numbers = [_NUMBER.match(line) for line in lines]
    if not all(number or not line.strip() for number, line in zip(numbers, lines, strict=True)):
        return text
    return "\n".join(
        line[number.end() if number else 0 :] for number, line in zip(numbers, lines, strict=True)
    )


def _unquoted(text: str) -> str:
    """Drops the marks of a Markdown quotation."""
    lines = text.split("\n")
    if not any(line.startswith(">") for line in lines):
        return text
    return "\n".join(re.sub(r"^> ?", "", line) for line in lines)


def _patched(text: str) -> str:
    """Keeps the new side of a diff, or of an edit with conflict marks."""
    lines = _without_conflicts(text.split("\n"))
    if not any(line.startswith("+") for line in lines) or not all(map(_PATCH.match, lines)):
        return "\n".join(lines)
    return "\n".join(line[1:] for line in lines if not _PATCH_HEAD.match(line))


def _without_conflicts(lines: list[str]) -> list[str]:
    """Drops the old sides between `<<<<<<<` and `=======`, and the marks."""
    kept: list[str] = []
    old = False
    for line in lines:
        if line.startswith("<<<<<"):
            old = True
        elif line.startswith("====="):
            old = False
        elif not old and not line.startswith(">>>>>"):
            kept.append(line)
    return kept


def _unescaped(text: str) -> str:
    """Splits a text that is one line with escapes, as in JSON, into lines."""
    if "\\n" not in text or "\n" in text.strip():
        return text
    return _ESCAPE.sub(lambda escape: _ESCAPED[escape[1]], text)


def _without_magic(text: str) -> str:
    """Drops lines that only a notebook runs: `%matplotlib inline`, `!pip install`."""
    return "\n".join(line for line in text.split("\n") if not line.startswith(("%", "!")))


def _typewritten(text: str) -> str:
    """Replaces typeset quotes, dashes and full-width punctuation outside of strings by ASCII."""

    def plain(found: re.Match[str]) -> str:
        if found["kept"] is not None:
            return found["kept"]
        if found["double"] is not None:
            return f'"{found["double"]}"'
        if found["single"] is not None:
            return f"'{found['single']}'"
        return _ASCII.get(found["char"]) or chr(ord(found["char"]) - 0xFEE0)

    return _TYPESET.sub(plain, text)


# Ordered by possible harm: the first change what nobody sees, the last change what is written.
MENDS = (
    plain_spaces,
    _without_tokens,
    _session,
    _unquoted,
    _unnumbered,
    _patched,
    _unescaped,
    html.unescape,
    _without_magic,
    visible,
    _typewritten,
)
