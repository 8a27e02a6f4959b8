"""Reads what a statement says of its answers: allowed error, letter case, several answers, a dialogue.

Only sentences that say so of the *answer* count: one on the precision of the input allows nothing.
`benchmarks/statements.py` lists every sentence that is read in a data set, and those that are not.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from typing import Literal, NamedTuple

from bdc_agents.data.allowed_error import Error, allowed_error, kind_of_error

Kind = Literal["tolerance", "any case", "any answer", "interactive"]


class Reading(NamedTuple):
    """One thing that a sentence says.

    Args:
        kind: Its subject.
        sentence: The sentence, unchanged.
        tolerance: The error that it allows.
        error: Kind of that error.
    """

    kind: Kind
    sentence: str
    tolerance: float = 0.0
    error: Error = "either"


def readings(statement: str) -> Iterator[Reading]:
    """What the sentences of a statement say of its answers, in order."""
    for sentence in sentences(statement):
        allowed = allowed_error(sentence)
        if allowed:
            yield Reading("tolerance", sentence, allowed, kind_of_error(sentence))
        for kind, says in _SAYS.items():
            if says(sentence):
                yield Reading(kind, sentence)


def stated_error(statement: str) -> Reading | None:
    """What the first sentence says of the error that answers may have; None where none does."""
    return next((reading for reading in readings(statement) if reading.kind == "tolerance"), None)


def sentences(statement: str) -> list[str]:
    """The sentences of a statement; one may go on over the end of a line, but not over an empty one."""
    return [text.strip() for text in _BOUNDARY.split(statement) if text and text.strip()]


def free_words(said: Sequence[str], answers: Sequence[str]) -> tuple[str, ...]:
    """The words whose letter case is free, in lower case.

    They are the words that the sentences about printing have in quotes or in capitals, and of these
    those that are printed, if any is; else all words that are printed. Yes and no go together.

    Args:
        said: The sentences of a statement that allows any letter case.
        answers: Public outputs.
    """
    printed = {word.lower() for text in answers for word in text.split() if _WORD.fullmatch(word)}
    named = {
        "".join(found.groups(default="")).lower()
        for text in said
        if _PRINTED.search(text)
        for found in _NAMED.finditer(text)
    }
    words = named if named & printed else printed
    if words & {"yes", "no"}:
        words |= {"yes", "no"}
    return tuple(sorted(words))


# A sentence ends at a full stop, or at the end of a line that the next line does not continue.
_BOUNDARY = re.compile(
    r"(?<=[.!?])(?<!\be\.g\.)(?<!\bi\.e\.)(?<![=<>] )\s+(?![a-z0-9])|(?<=[a-z\d}$)>][.!?])(?=[A-Z])"
    r"|\n\s*\n|\n(?=\s*(?:[A-Z*\u2022-]|\d+\.))"
)

# --- letter case ------------------------------------------------------------------------------------

_PRINTED = re.compile(
    r"\b(?:print\w*|outputs?|output\w+|answers?|writ\w+|display\w*|recogni[sz]ed|accepted|choose|use)\b"
    r"|\b(?:YES|NO)\b",
    re.IGNORECASE,
)
_NAMED = re.compile(
    r"[\"'`\u201c\u00ab\u2018]{1,2}([A-Za-z]{2,})[.,]?[\"'`\u201d\u00bb\u2019]{1,2}|\b([A-Z]{2,})\b"
)
_WORD = re.compile(r"[A-Za-z]{2,}")
_CASE = re.compile(
    r"\bin (?:any|either|arbitrary|whatever|whichever) (?:(?:letter|character|possible) )?"
    r"(?:case|register)\b(?!,)"
    r"|\b(?:case|register)\s*(?:\([^)]*\)\s*)?(?:for|of) (?:each|every|the|any|all)"
    r" (?:letters?|characters?|words?)"
    r"|\bcase[- ]?in-?sensitive(?:ly)?\b|\bnot case[- ]?sensitive\b|\bignor\w+ (?:the )?(?:letter )?case\b"
    r"|\b(?:regardless of|without regard to|irrespective of) (?:the )?(?:letter )?case\b"
    r"|\b(?:case|register)(?: of [\w ]{1,30})? (?:doesn.t|does not|do not|don.t|is not|isn.t)"
    r" (?:matter|important|significant)\b"
    r"|\b(?:upper|lower)[- ]?(?:case)?(?: letters)? or (?:in )?(?:upper|lower)[- ]?case\b",
    re.IGNORECASE,
)
_OF_INPUT = re.compile(
    r"\b(?:inputs?|given|treat\w*|consists?|consisting|contains?|words?list|quer(?:y|ies)|compar\w+)\b",
    re.IGNORECASE,
)


def _any_case(sentence: str) -> bool:
    found = _CASE.search(sentence)
    if not found or not _PRINTED.search(sentence) or _OF_INPUT.search(sentence[: found.start()]):
        return False
    if re.fullmatch(r"case|register", found[0].split()[0], re.IGNORECASE) and " of " in found[0]:
        return bool(re.search(r"any|arbitrar|choose|matter|important|significant", sentence, re.IGNORECASE))
    return True


# --- more than one answer ---------------------------------------------------------------------------

_SEVERAL = re.compile(
    r"\b(?:several|multiple|many|various|different|more than one|not unique|(?:two|2) or more)\b",
    re.IGNORECASE,
)
_HAND_OVER = r"(?:print|output|return|report|write|give)(?:s|ed|ing)?"
# "Return the largest number ... in any order" has one answer, so none of these words may stand between.
_GAP = r"(?:(?!\b(?:number of|maximum|minimum|largest|smallest|multiple of|size|length|count)\b)[^.;])"
_ANY = re.compile(
    rf"\b{_HAND_OVER}\b[^.;]{{0,40}}?(?<!\bof )(?<!\bfrom )\b(?:any|arbitrary)\b"
    r"(?!\s+(?:other|number|amount|more|case|letter case|two|leading|trailing|extra|path|pair))"
    r"|(?<!not )(?<!cannot )(?<!can.t )\bfind any\b|\bsatisfied by any\b"
    r"|\bany(?: one)?(?: of (?:them|these|those|the \w+))?(?: \w+){0,4}?"
    r" (?:(?:is|are|will|would|can|may)(?: be)?)(?: considered)?"
    r" (?:accept\w+|correct|allowed|fine|valid|ok)\b"
    r"|\bchoose any\b[^.;]{0,20}\b(?:answer|solution)",
    re.IGNORECASE,
)
_ANY_ORDER = re.compile(
    rf"\b{_HAND_OVER}\b{_GAP}{{0,120}}?\b(?:in|use) (?:any|an arbitrary|arbitrary|whatever|whichever)"
    r"(?: \w+)? (?:order|sequence)\b"
    r"|\b(?:any|arbitrary) order of (?:print|output)\w*"
    r"|\border\b[^.;]{0,60}\bin the output\b[^.;]{0,20}\bmatter"
    r"|\bnumeration of \w+ doesn.t matter\b",
    re.IGNORECASE,
)


_ANY_OF = re.compile(
    r"\bany (?:one )?of (?:them|these|those|the (?:answers|solutions|possible|correct|optimal|valid)[\w ]*)\b"
    r"|\bany (?:such|valid|correct|possible|optimal|suitable|appropriate|acceptable|right|of them)\b"
    r"|\bany (?:answer|solution)s?\b[^.;]{0,60}\b(?:accept\w*|correct|allowed|valid)\b",
    re.IGNORECASE,
)


def _any_answer(sentence: str) -> bool:
    if _ANY_ORDER.search(sentence) and not re.search(r"\binputs?\b", sentence, re.IGNORECASE):
        return True
    return bool(_ANY.search(sentence) and (_SEVERAL.search(sentence) or _ANY_OF.search(sentence)))


# --- a dialogue -------------------------------------------------------------------------------------

_DIALOGUE = re.compile(
    r"\binteractive (?:problem|task|version|mode|judge|program)\b|\bproblem is interactive\b"
    r"|\binteract with (?:the |our |a )?(?:jury|judge|grader|interactor|checker|system|program)"
    r"|\b(?:forget|remember|need|have|make sure|must|should|don.t forget)\b[^.;]{0,40}\bflush\w*"
    r"|\bfflush\s*\(\s*stdout|\bflush(?:ing)? (?:the |your |standard )?(?:output|stdout|buffer)"
    r"|\binteractor\b",
    re.IGNORECASE,
)


def _interactive(sentence: str) -> bool:
    return bool(_DIALOGUE.search(sentence))


_SAYS: dict[Kind, Callable[[str], bool]] = {
    "any case": _any_case,
    "any answer": _any_answer,
    "interactive": _interactive,
}
