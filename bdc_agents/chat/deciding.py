"""What a message decides where a search waits for a person: what buttons send, in words.

Only what is no wish is a decision: "reject 2: too slow" is one, "reject negative numbers" goes to the agents.
"""

import re
from collections.abc import Sequence
from typing import Any, NamedTuple

from bdc_agents.errors import UsageError
from bdc_agents.search.review.questions import Ask, HITLDecision, Type

_VERBS: dict[str, Type] = {
    "approve": "approve",
    "accept": "approve",
    "reject": "reject",
    "refuse": "reject",
    "edit": "edit",
    "respond": "respond",
}
_VERB = rf"(?:{'|'.join(_VERBS)})"
_NUMBERS = r"\#?\d{1,3}(?:(?:\s*,\s*|\s*&\s*|\s+and\s+)\#?\d{1,3})*"
_CLAUSE = re.compile(
    rf"[\s*_`-]*(?P<verb>{_VERB})\b[*_`]*\s*"
    rf"(?P<which>(?:thoughts?\s+)?{_NUMBERS}|all|both|everything|it|this|that|them|these"
    r"|(?:all\s+)?(?:the\s+)?(?:rest|others?)|(?:the|this|that|these)\s+(?:thoughts?|programs?|ideas?|answer|one))?"
    r"[*_`]*\s*(?:\Z|[:;,.!\u2013\u2014-]+|(?=because\b))\s*",
    re.IGNORECASE,
)
_BETWEEN = re.compile(rf"(?:[;\n,.]\s*(?:and\s+)?|\sand\s+)(?=[*_`-]*{_VERB}\b)", re.IGNORECASE)
_FENCED = re.compile(r"```[^\n]*\n(.*?)```", re.DOTALL)
_YES = re.compile(
    r"\W*(?:yes|yep|yeah|ok|okay|sure|fine|good|looks?\s+good|go\s+ahead)\W*(?:please|thanks)?\W*|\U0001f44d",
    re.IGNORECASE,
)
_NO = re.compile(r"\W*(?:no|nope)\W*", re.IGNORECASE)


class _Clause(NamedTuple):
    """One decision, of which thoughts it is if it says so, and the text behind it."""

    type: Type
    which: str
    text: str


def decisions_in(text: str, asks: Sequence[Ask]) -> list[HITLDecision]:
    """A decision for each question; none where the message is about something else.

    Args:
        text: The message.
        asks: What waits, all of one kind.

    Raises:
        UsageError: If it decides, but not so that it can be done; it says what to write.
    """
    if _YES.fullmatch(text):
        return [{"type": "approve"} for _ in asks]
    if _NO.fullmatch(text):
        return [{"type": "reject"} for _ in asks]
    kind = asks[0].kind
    if kind == "budget" and (caps := _caps(text, asks[0])):
        return [_edited(asks[0], caps)]
    clauses = _clauses(text)
    if not clauses:
        return []
    if kind == "thoughts":
        return _on_thoughts(clauses, asks)
    if len(clauses) > 1:
        raise UsageError("One thing is to be decided, and your message decides it more than once.")
    return [_decision(clauses[0], asks[0])]


def _clauses(text: str) -> list[_Clause]:
    """The clauses of a message; none unless it begins with one. What is none is text of the one before."""
    fenced = [found.span() for found in _FENCED.finditer(text)]
    starts, ends = [0], list[int]()
    for between in _BETWEEN.finditer(text):
        inside = any(start <= between.start() < end for start, end in fenced)
        if not inside and _CLAUSE.match(text, between.end()):
            starts.append(between.end())
            ends.append(between.start())
    clauses: list[_Clause] = []
    for start, end in zip(starts, [*ends, len(text)], strict=True):
        found = _CLAUSE.match(text, start, end)
        if not found:
            return []
        said = text[found.end() : end].strip()
        clauses.append(_Clause(_VERBS[found["verb"].lower()], found["which"] or "", said))
    return clauses


def _on_thoughts(clauses: Sequence[_Clause], asks: Sequence[Ask]) -> list[HITLDecision]:
    """For each thought. Those that are not named are approved, unless others are approved by name."""
    decided: dict[int, HITLDecision] = {}
    others: list[_Clause] = []
    for clause in clauses:
        numbers = [int(number) for number in re.findall(r"\d+", clause.which)]
        others += [] if numbers else [clause]
        for number in numbers:
            if not 1 <= number <= len(asks):
                raise UsageError(f"There is no thought {number}: they are 1 to {len(asks)}.")
            if number in decided:
                raise UsageError(f"Your message decides thought {number} more than once.")
            decided[number] = _decision(clause, asks[number - 1])
    left = [number for number in range(1, len(asks) + 1) if number not in decided]
    if len(others) > 1 or (others and others[0].type in ("edit", "respond") and len(left) > 1):
        raise UsageError(f'Say which thought you mean, such as "{others[-1].type} 1: ...".')
    if left and not others and any(one["type"] == "approve" for one in decided.values()):
        raise UsageError('And the others? Say "approve the others" or "reject the others" as well.')
    rest = others[0] if others else _Clause("approve", "", "")
    decided |= {number: _decision(rest, asks[number - 1]) for number in left}
    return [decided[number] for number in range(1, len(asks) + 1)]


def _decision(clause: _Clause, ask: Ask) -> HITLDecision:
    if clause.type == "edit":
        return _edited(ask, _arguments(clause.text, ask))
    if clause.type == "respond" and not clause.text:
        raise UsageError('Write your message behind it, such as "respond: begin with the empty list".')
    if clause.type == "approve" or not clause.text:
        return {"type": clause.type}
    return {"type": clause.type, "message": re.sub(r"^because\s+", "", clause.text, flags=re.IGNORECASE)}


def _edited(ask: Ask, args: dict[str, Any]) -> HITLDecision:
    return {"type": "edit", "edited_action": {"name": ask.request["name"], "args": args}}


def _arguments(text: str, ask: Ask) -> dict[str, Any]:
    """What an edit puts in place of the text, the program or the caps."""
    if ask.kind == "budget":
        if caps := _caps(text, ask):
            return caps
        raise UsageError('Write the caps, in all: "edit: 80 calls", or "edit: 80 calls, 600 seconds".')
    if ask.kind == "accept":
        block = _FENCED.search(text)
        if program := block[1] if block else text:
            return {"code": program}
        raise UsageError('Write your program behind it: "edit:", then a code block.')
    if not text:
        raise UsageError('Write another text behind it, such as "edit 1: sort the list first".')
    return {"text": text}


_CAP = re.compile(
    r"(?P<number>\d[\d,]*(?:\.\d+)?)\s*(?P<more>more\s+)?(?P<unit>call|token|second|dollar|rollout)s?"
    r"(?P<later>\s+more)?\b",
    re.IGNORECASE,
)
_BESIDE = re.compile(
    r"\b(?:give|it|use|take|up|to|in|all|and|please|at|most|yes|ok|edit)\b|[\s,.:;!+]", re.IGNORECASE
)


def _caps(text: str, ask: Ask) -> dict[str, Any]:
    """The caps that a text names, in all; nothing where it says anything else."""
    if _BESIDE.sub("", _CAP.sub("", text)):
        return {}
    caps = dict[str, Any]()
    for found in _CAP.finditer(text):
        unit = found["unit"].lower()
        name = "money" if unit == "dollar" else f"{unit}s"
        number = float(found["number"].replace(",", ""))
        if found["more"] or found["later"]:
            number += max(ask.request["args"].get(name, 0), ask.used.get(name, 0))
        caps[name] = int(number) if number.is_integer() else number
    return caps
