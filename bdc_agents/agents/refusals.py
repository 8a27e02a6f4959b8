"""Reads an endpoint's refusal, in whatever shape: its words, its codes, and the parameters it names.

No two servers agree on how an error looks. One names the parameter in a field, others in a list of
places, in a sentence, in JSON inside a string, or in an HTML page. Everything here is pure, reads a
bounded part of its input, and never raises.
"""

import html
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice, pairwise
from typing import Any, Literal

_TEXTS = (
    "message",
    "msg",
    "detail",
    "description",
    "reason",
    "error",
    "errors",
    "error_description",
    "cause",
    "raw",
    "body",
    "title",
)
"""Keys under which servers put their words: OpenAI, FastAPI, Google, OpenRouter, and gateways."""
_INSIDE = ("details", "metadata", "fieldViolations", "innererror", "inner_error")
"""Keys whose values hold words further inside."""
_NAMES = ("param", "parameter", "field", "loc")
"""Keys under which servers name a parameter."""
_CODES = ("code", "type", "status")
"""Keys under which servers put machine-readable codes."""
_DEEPEST = 8
"""Levels of nesting that are read. Gateways wrap errors of gateways; four levels have been seen."""
_MOST_PARTS = 60
"""Most words, names and codes taken from a body: errors hold a few, and a hostile body must not cost time."""
_LONGEST = 20_000
"""Characters of one text that are read; parameters are named early."""


@dataclass(frozen=True)
class Said:
    """What an error body says.

    Args:
        text: Its words, the outermost first; empty if it has none.
        named: Parameters that it names in a separate field; for `a.b` only `a`.
        codes: Machine-readable codes, such as `insufficient_quota`.
        wait: Seconds that the body asks to wait.
    """

    text: str = ""
    named: tuple[str, ...] = ()
    codes: frozenset[str] = frozenset()
    wait: float | None = None


_Kind = Literal["text", "name", "code", "wait"]


def read(body: Any) -> Said:
    """Reads the body of a refused request.

    Args:
        body: The parsed body: a mapping, a list, or text.
    """
    found: dict[_Kind, dict[str, None]] = {"text": {}, "name": {}, "code": {}, "wait": {}}
    for kind, value in islice(_parts(body, 0), _MOST_PARTS):
        found[kind][value] = None
    waits = [float(wait) for wait in found["wait"]]
    return Said(
        text="; ".join(found["text"]),
        named=tuple(found["name"]),
        codes=frozenset(found["code"]),
        wait=max(waits, default=None),
    )


def _parts(body: Any, depth: int) -> Iterator[tuple[_Kind, str]]:
    if depth > _DEEPEST:
        return
    if isinstance(body, bytes):
        body = body[:_LONGEST].decode("utf-8", "replace")
    if isinstance(body, str):
        yield from _in_text(body[:_LONGEST], depth)
    elif isinstance(body, Mapping):
        yield from _in_mapping(body, depth)
    elif isinstance(body, list | tuple):
        for item in body[:_MOST_PARTS]:
            yield from _parts(item, depth + 1)


def _in_mapping(body: Mapping[Any, Any], depth: int) -> Iterator[tuple[_Kind, str]]:
    for key in _CODES:
        if isinstance(body.get(key), str):
            yield "code", body[key]
    if wait := _seconds(body.get("retryDelay")):
        yield "wait", wait
    places = [place for key in _NAMES if (place := _place(body.get(key)))]
    for place in places:
        yield "name", re.split(r"[.\[]", place)[0]
    for key in _TEXTS:
        for kind, value in _parts(body.get(key), depth + 1):
            # "Extra inputs are not permitted" says nothing without its place.
            told = kind == "text" and places and places[0] not in value
            yield kind, f"{places[0]}: {value}" if told else value
    for key in _INSIDE:
        yield from _parts(body.get(key), depth + 1)


def _place(value: Any) -> str:
    """A parameter's name, or the path to a place inside it, without a leading `body` or the like."""
    if isinstance(value, list | tuple):
        value = ".".join(str(part) for part in value[:_DEEPEST])
    return re.sub(r"^(?:body|query|request)\.", "", value)[:200] if isinstance(value, str) else ""


def _seconds(value: Any) -> str:
    """Google's `34.07s` without its unit."""
    match = re.fullmatch(r"(\d{1,6}(?:\.\d{1,9})?)s", value) if isinstance(value, str) else None
    return match[1] if match else ""


def _in_text(text: str, depth: int) -> Iterator[tuple[_Kind, str]]:
    text = text.strip()
    words = page_words(text)
    before, inner = _json_in(text if words is None else words)
    if before:
        yield "text", " ".join(before.split())
    if inner is not None:
        yield from _parts(inner, depth + 1)


def _json_in(text: str) -> tuple[str, Any]:
    """Splits a text into the words before JSON and that JSON; without JSON, the text and None."""
    start = min((at for at in (text.find("{"), text.find("[{")) if at >= 0), default=-1)
    if start < 0:
        return text, None
    try:
        value, _ = json.JSONDecoder().raw_decode(text, start)
    except (ValueError, RecursionError):
        return text, None
    if not isinstance(value, dict | list) or not any(True for _ in _parts(value, _DEEPEST - 2)):
        return text, None
    # Strip the loose end of a prefix such as `Error code: 422 - ` or `SomeException - b'`.
    before = text[:start].rstrip()
    return before.removesuffix("b'").removesuffix('b"').rstrip(" :,-'\""), value


_PAGE = re.compile(
    r"(?:<!--.{0,2000}?-->\s*)*<(?:!doctype|html|head|body|\?xml|center|h1|script|meta)\b", re.I | re.S
)


def page_words(text: str) -> str | None:
    """The title and headings of an HTML page, or all its words if it has none; None if it is no page."""
    text = text[:_LONGEST].lstrip()
    if not _PAGE.match(text):
        return None
    told = re.findall(r"<(title|h1)[^<>]{0,200}>([^<]{1,300})<", text, re.IGNORECASE)
    words = (
        "; ".join(dict.fromkeys(word.strip() for _, word in told)) if told else re.sub(r"<[^<>]*>", " ", text)
    )
    return " ".join(html.unescape(words).split())


# --- what a sentence names ------------------------------------------------------------------

_REFUSED = re.compile(
    r"un(?:supported|known|recognized|recognised|expected)|not (?:be )?(?:support|permit|allow|accept|avail)"
    r"|n't (?:support|accept)|does not (?:support|accept|take|allow)|extra_forbidden|deprecated",
    re.IGNORECASE,
)


def refuses(text: str) -> bool:
    """Whether a text says that something is not accepted at all; a server's own trouble sounds different."""
    return bool(_REFUSED.search(text))


def mentions(text: str, name: str) -> bool:
    """Whether a text names a parameter, and does not just use the same word.

    Args:
        text: What an endpoint said.
        name: The parameter's name in a request.
    """
    told = re.escape(name)
    if "_" in name or name == "temperature":
        return bool(re.search(rf"(?<![\w.]){told}(?!\w)", text))
    quoted = rf"""(?<!\w)['"`]{told}['"`]"""
    kinds = "parameters?|arguments?|fields?|options?|property|properties|supports?"
    asked = rf"\b(?:{kinds})[\s:]+['\"`]?{told}(?!\w)"
    called = rf"(?<![\w.]){told}\s+(?:parameter|argument|field|option)\b"
    # Only at the start of a sentence: "the vector store cannot be reached" is about no parameter.
    judged = rf"(?:^|[.;:]\s+){told}(?::|\s+(?:is|are|does|must|cannot|value|parameter|not|should)\b)"
    return any(re.search(pattern, text) for pattern in (quoted, asked, called, judged)) or _lists(text, name)


_KINDS = re.compile(r"\b(?:parameter|argument|field|option|key|property|properties|input)", re.IGNORECASE)
_NAMES_ALONE = re.compile(r"(?:[\w'\"`]{1,60},\s*){0,20}[\w'\"`]{1,60}(?=\s*(?:[.;)}\](]|$))")


def _lists(text: str, name: str) -> bool:
    """Whether a text refuses parameters and lists the name: `Unrecognized arguments supplied: a, b`."""
    for before, after in pairwise(re.split(r":\s", text)):
        clause = re.split(r"[.;\n]", before)[-1][-120:]  # What refuses stands near: a bounded part is read.
        listed = _NAMES_ALONE.match(after)
        if listed and _KINDS.search(clause) and refuses(clause) and name in re.findall(r"\w+", listed[0]):
            return True
    return False


_CONTEXT = re.compile(
    r"(?:context (?:length|window|size)|max[_ ]model[_ ]len)[^0-9]{0,40}?(\d[\d,]*)", re.IGNORECASE
)
_PROMPT = re.compile(
    r"(\d[\d,]*) (?:input tokens|in the messages|prompt tokens|tokens from the input)"
    r"|prompt contains (?:at least )?(\d[\d,]*)",
    re.IGNORECASE,
)
_TOO_LARGE = re.compile(
    r"too (?:large|long|high|big)|at most|exceed|less than or equal|maximum|valid range|greater than|>",
    re.IGNORECASE,
)


def room_in_context(text: str) -> int | None:
    """Tokens that the context leaves for a reply, if a text tells its size and the prompt's."""
    context, prompt = _CONTEXT.search(text), _PROMPT.search(text)
    if not context or not prompt:
        return None
    return _number(context[1]) - _number(prompt[1] or prompt[2])


def highest_allowed(text: str, limit: int, least: int) -> int | None:
    """The largest number below the limit, in a text that says that the limit is too high.

    Args:
        text: What an endpoint said.
        limit: The token limit that was sent.
        least: Smaller numbers are no token limits.
    """
    if not _TOO_LARGE.search(text):
        return None
    numbers = (_number(found) for found in re.findall(r"(?<![\w.-])\d[\d,]{0,9}(?![\w-])", text))
    return max((number for number in numbers if least <= number < limit), default=None)


def _number(text: str) -> int:
    return int(text.replace(",", "")[:9] or 0)
