"""Recognises what endpoints send with status 200 in place of a chat completion: a login page, words, nothing.

Everything here is pure and never raises.
"""

import json
from typing import Any

from bdc_agents.agents.refusals import page_words, read

REPLIES = ("choices", "output")
"""Keys under which chat completions and the Responses API hold the LLM's text."""

_SHOWN = 120
"""Characters of the body that are shown: enough to recognise a page or a greeting."""


def stranger(body: bytes | str) -> str:
    """Names in a few words what came instead of a completion; empty for a completion, even a damaged one.

    An error sent with status 200 counts as a completion here; the reader of completions reports it.

    Args:
        body: Decompressed body of a response that reports success.
    """
    return judge(body)[0]


def judge(body: bytes | str) -> tuple[str, Any]:
    """Like `stranger`, with the JSON that a body holds, so that nobody reads it again; None without any.

    Args:
        body: Decompressed body of a response that reports success.
    """
    text = body.decode("utf-8", "replace") if isinstance(body, bytes) else body
    text = text.strip().lstrip("\ufeff")
    if not text:
        return "an empty body", None
    if (words := page_words(text)) is not None:
        return f"a web page{_quoted(words)}", None
    try:
        value = json.loads(text)
    except RecursionError:
        return "JSON that is nested too deeply", None
    except ValueError:
        # A completion that was cut off still begins like one.
        return "" if text.startswith(("{", "[")) else f"text{_quoted(text)}", None
    return _strange_value(value), value


def _strange_value(value: Any) -> str:
    if not isinstance(value, dict):
        return "JSON that is no object"
    if any(name in value for name in (*REPLIES, "error")):
        return ""
    return f"JSON without {REPLIES[0]}{_quoted(read(value).text or ', '.join(value))}"


def _quoted(words: str) -> str:
    flat = " ".join(words[: 4 * _SHOWN].split())
    return f" ({flat if len(flat) <= _SHOWN else flat[:_SHOWN].rstrip() + '…'})" if flat else ""
