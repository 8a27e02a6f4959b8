"""Why a reply held nothing of use, and what it said, for whoever looks for the fault in an agent."""

import re
from typing import Literal

from bdc_agents.agents.replies.marks import said, strip_thinking
from bdc_agents.agents.replies.snippets import LONGEST_PROGRAM
from bdc_agents.syntax import language_of

Wanted = Literal["program", "thought", "output"]

_HEAD, _TAIL = 400, 200
"""Characters of a reply that are kept: how it begins tells what the model took the prompt for, how it ends
whether it was cut off. A trace of 1,000 unreadable replies grows by 0.6 MB at most."""
_FENCE = re.compile(r"^[ \t]*(?:`{3,}|~{3,})[ \t]*([\w+#.-]{0,30})", re.MULTILINE)


def excerpt(text: str) -> str:
    """The beginning and the end of a reply."""
    text = text.encode("utf-8", "replace").decode("utf-8").strip()
    if len(text) <= _HEAD + _TAIL:
        return text
    left = len(text) - _HEAD - _TAIL
    return f"{text[:_HEAD]}\n[... {left:,} more characters ...]\n{text[-_TAIL:]}"


def why_unread(text: str, wanted: Wanted, *, truncated: bool = False) -> str:
    """Why nothing was read in a reply, as the end of a sentence about it.

    Args:
        text: The reply, in which nothing was found.
        wanted: What was looked for.
        truncated: Whether it was cut off at its token limit.
    """
    if not text.strip():
        return "it is empty" + (", cut off at its token limit" if truncated else "")
    parts = said(text)
    answer = strip_thinking(text).strip()
    if parts.thinks or not answer:
        return "it is all thoughts, and ends before an answer" + (
            ": it was cut off at its token limit" if truncated else ""
        )
    if truncated:
        whole = {"program": "a closed code block with a program", "thought": "a whole thought"}
        return f"it was cut off at its token limit before {whole.get(wanted, 'the output')}"
    if wanted != "program":
        return "it has no JSON with thoughts, and no list" if wanted == "thought" else "it names no output"
    return _why_no_program(answer)


def _why_no_program(answer: str) -> str:
    languages = [found[1] for found in _FENCE.finditer(answer[:LONGEST_PROGRAM]) if found[1]]
    other = next((name for name in languages if not name.lower().startswith(("py", "ipy"))), None)
    if other:
        return f"its code block is marked {other}, and only Python is read"
    if len(answer) > LONGEST_PROGRAM:
        return f"it has no program of at most {LONGEST_PROGRAM:,} characters"
    if _FENCE.search(answer):
        return "its code block holds no program"
    language = language_of(answer)
    if language:
        return f"it looks like {language}, and only Python is read"
    return "it has no code block, and no line that begins a Python program"
