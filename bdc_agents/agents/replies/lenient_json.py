"""Reads JSON as LLMs write it: damaged for a strict parser, yet clear to a person.

The library json-repair (MIT) does much the same. It was compared on the corpus of `benchmarks/replies.py`.
It does not say where a value ends, so values among prose cannot be told apart. It makes values of prose
and of code. Its time grows with the square of a hostile text (`{'` repeated 10,000 times takes more than
8 seconds, here less than 0.1), and 20,000 brackets end in a RecursionError.
"""

import json
import math
import re
from typing import Any

MAX_DEPTH = 60
"""Deepest nesting that is read: each level takes three Python frames, and there are 1,000 in all."""
_WORD = re.compile(r"[A-Za-z_]\w*")
_SIGNED_WORD = re.compile(r"[-+]?[A-Za-z_]\w*")
_NUMBER = re.compile(r"[-+]?(?:\d[\d_]*\.?\d*|\.\d+)(?:[eE][-+]?\d+)?")
_CUT_NUMBER = re.compile(r"(?:[eE][-+]?|[-+])\Z")
_SKIPPED = re.compile(r"(?:[\s;\u200b-\u200f\u2060\ufeff]+|//[^\n]*|/\*.*?\*/|\#[^\n]*)+", re.DOTALL)
_NULLS = ("null", "none", "nan", "infinity", "undefined")
_CONSTANTS = {"true": True, "false": False} | dict.fromkeys(_NULLS)
_UNIT = re.compile(r"\s*(?:%|/\s*\d+(?:\.\d+)?)")
# The quotes that close a text, by the quote that opens it.
_QUOTES = {'"': '"', "'": "'", "`": "`", "“": '”"“', "”": '”"', "„": '“”"'}
_QUOTES |= dict.fromkeys("\u2018\u2019", "\u2019'")
# Punctuation of JSON as Chinese and Japanese input methods write it.
_WIDE = {chr(ord(mark) + 0xFEE0): mark for mark in ":,;{}[]"} | {"\u3001": ","}
_COLON = re.compile(r"[:\uff1a]+|=>?")
# What LLMs write between values: `...`, `(high)`; and before them: `~0.7`, `r"\d"`.
_NOTE = re.compile(r"\.{3}|…|\([^()\n]{0,80}\)")
_PREFIX = re.compile(r"[~≈]|[rbfuRBFU]{1,2}(?=[\"'])")
_UNQUOTED = re.compile(
    r"[^\W\d][^\n{}\[\]:\uff1a\"]{0,600}?(?=\s{0,40}(?:\n|[,\uff0c]?\s{0,40}[}\]]"
    r"|[,\uff0c]\s{0,40}[\"'\w]{1,60}\s{0,40}:))"
)
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "b": "\b", "f": "\f", "\n": ""}
_HEX = re.compile(r"u([0-9a-fA-F]{4})|x([0-9a-fA-F]{2})")
_LOW_SURROGATE = re.compile(r"\\u([dD][c-fC-F][0-9a-fA-F]{2})")
_ORDINARY = {opening: re.compile(rf"[^\\{closing}]+") for opening, closing in _QUOTES.items()}
# What may follow a quote that ends a text; a quote with another follower is part of the text. After a comma
# comes an item or key, not more words. A quote on the next line, or before a colon, begins the next item
# if a comma was forgotten. Each pattern looks at few characters, since there may be many quotes.
_AFTER_KEY = re.compile(r"\s{0,40}(?:[:\uff1a=]|\Z)")
_AFTER_VALUE = re.compile(
    r"\s{0,200}(?:[}\]\uff5d\uff3d;\uff1b/#]|\Z|\+\s{0,40}[\"']|(?<=\n)[^\S\n]{0,200}[\"'“”]|[\"'“”][^\"'\n]{1,60}[\"'”]\s{0,40}:"
    r"|[,\uff0c]\s{0,200}(?:[\"'“”\u2018\u2019`{\[(}\])…\-/#\d]|\.{3}|\Z|(?:true|false|null|none)\b|\w{1,60}\s{0,40}:))",
    re.IGNORECASE,
)


class NotJSON(ValueError):
    """There is no JSON value here, not even a damaged one; `at` is how far the text was read."""

    at = 0


def strict(text: str) -> tuple[Any, int]:
    """Reads the JSON value at the start of the text; allows raw newlines in strings.

    Returns:
        The value, with None for numbers that are not finite, and where it ends.

    Raises:
        ValueError: If the text does not start with a JSON value.
    """
    try:
        return _DECODER.raw_decode(text)
    except RecursionError:
        raise NotJSON("nested too deeply") from None


def _finite(digits: str) -> float | None:
    value = float(digits)
    return value if math.isfinite(value) else None


_DECODER = json.JSONDecoder(strict=False, parse_float=_finite, parse_constant=lambda _name: None)


def lenient(text: str, start: int = 0) -> tuple[Any, int]:
    """Reads a damaged object or array.

    Accepts trailing and missing commas, single, triple and unescaped inner quotes, Python's
    literals, comments, raw newlines in strings, and an end that is cut off.

    Returns:
        The value and where it ends.

    Raises:
        NotJSON: If there is still no object or array at `start`.
    """
    reader = _Reader(text, start)
    try:
        return reader.container(0), reader.at
    except NotJSON as error:
        error.at = reader.at
        raise


class _Reader:
    """A recursive-descent reader over one text; every step moves `at` forward."""

    def __init__(self, text: str, at: int) -> None:
        self.text = text
        self.at = at

    def container(self, depth: int) -> Any:
        if depth > MAX_DEPTH:
            raise NotJSON("nested too deeply")
        opening = self._peek()
        self.at += 1
        return self._object(depth) if opening == "{" else self._array(")" if opening == "(" else "]", depth)

    def _skip(self, pattern: re.Pattern[str]) -> bool:
        """Steps over a match at this place; returns whether there was one."""
        match = pattern.match(self.text, self.at)
        self.at = match.end() if match else self.at
        return match is not None

    def _peek(self) -> str:
        self._skip(_SKIPPED)
        following = self.text[self.at : self.at + 1]
        return _WIDE.get(following, following)

    def _ended(self, closing: str) -> bool:
        """Steps over commas and notes; returns whether the container ends here, or the text does.

        Another container's closing bracket ends it too: its own was forgotten.
        """
        while self._peek() == "," or self._skip(_NOTE):
            self.at += self._peek() == ","
        if self._peek() == closing:
            self.at += 1
            return True
        return self._peek() in ("", "]", "}", ")")

    def _array(self, closing: str, depth: int) -> list[Any]:
        items: list[Any] = []
        while not self._ended(closing):
            items.append(self._value(depth))
        return items

    def _object(self, depth: int) -> dict[str, Any]:
        items: dict[str, Any] = {}
        while not self._ended("}"):
            key = self._key()
            if self._peek() == "":
                break
            if not self._skip(_COLON):
                raise NotJSON("a key without a colon")
            if self._peek() == "":
                break
            items[key] = self._value(depth, keyed=True)
        return items

    def _key(self) -> str:
        if self._peek() in _QUOTES:
            return self._string(_AFTER_KEY)
        word = _WORD.match(self.text, self.at)
        number = _NUMBER.match(self.text, self.at)
        if not (word or number):
            raise NotJSON("not a key")
        return self._take(word or number)

    def _value(self, depth: int, keyed: bool = False) -> Any:
        """Reads a value; after a key also words without quotes, or a number with its unit.

        Elsewhere both would be prose in brackets.
        """
        self._skip(_SKIPPED)
        self._skip(_PREFIX)
        first = self._peek()
        if first in ("{", "[", "("):
            return self.container(depth + 1)
        if first in _QUOTES:
            return self._strings()
        if number := _NUMBER.match(self.text, self.at):
            value = _number(self._take(number))
            # A share, such as 80 % or 8/10: kept as text, since only the reader knows its whole.
            if keyed and (unit := _UNIT.match(self.text, self.at)):
                return number[0] + self._take(unit)
            self._skip(_CUT_NUMBER)
            return value
        word = _SIGNED_WORD.match(self.text, self.at)
        name = word[0].lstrip("+-").lower() if word else ""
        if word and (name in _CONSTANTS or word.end() == len(self.text)):
            self.at = word.end()
            return _CONSTANTS.get(name)
        if self._skip(_CUT_NUMBER):
            return None
        if keyed and (unquoted := _UNQUOTED.match(self.text, self.at)):
            return self._take(unquoted).strip()
        raise NotJSON("not a value")

    def _take(self, match: re.Match[str] | None) -> str:
        assert match is not None
        self.at = match.end()
        return match.group()

    def _strings(self) -> str:
        """Reads a quoted text, or several joined by `+`."""
        text = self._string(_AFTER_VALUE)
        while self._peek() == "+":
            self.at += 1
            if self._peek() not in _QUOTES:
                raise NotJSON("not a text")
            text += self._string(_AFTER_VALUE)
        return text

    def _string(self, followers: re.Pattern[str]) -> str:
        """Reads a quoted text; it ends at a quote with a fitting follower, or with the reply."""
        quote = self.text[self.at]
        if self.text.startswith(quote * 3, self.at):
            return self._triple(quote * 3)
        self.at += 1
        parts: list[str] = []
        ordinary = _ORDINARY[quote]
        while self.at < len(self.text):
            if run := ordinary.match(self.text, self.at):
                parts.append(self._take(run))
                continue
            if self.text[self.at] == "\\":
                parts.append(self._escape())
                continue
            self.at += 1
            if followers.match(self.text, self.at):
                return "".join(parts)
            parts.append(self.text[self.at - 1])
        return "".join(parts)

    def _triple(self, quotes: str) -> str:
        end = self.text.find(quotes, self.at + 3)
        body = self.text[self.at + 3 : end if end >= 0 else None]
        self.at = end + 3 if end >= 0 else len(self.text)
        return body

    def _escape(self) -> str:
        following = self.text[self.at + 1 : self.at + 2]
        if code := _HEX.match(self.text, self.at + 1):
            self.at = code.end()
            return self._surrogate_pair(int(code[1] or code[2], 16))
        self.at += 2
        if following in ("", '"', "'", "\\", "/"):
            return following
        # An unknown escape, such as the \d of a regular expression, keeps its backslash.
        return _ESCAPES.get(following, "\\" + following)

    def _surrogate_pair(self, first: int) -> str:
        """The character of an escape; for the first half of a surrogate pair, reads the second too."""
        low = _LOW_SURROGATE.match(self.text, self.at)
        if 0xD800 <= first < 0xDC00 and low:
            self.at = low.end()
            return chr(0x10000 + ((first - 0xD800) << 10) + int(low.group(1), 16) - 0xDC00)
        return chr(first)


def _number(text: str) -> int | float | None:
    digits = text.replace("_", "")
    try:
        return int(digits)
    except ValueError:
        return _finite(digits)
