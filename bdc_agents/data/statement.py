"""What a statement says of its answers: the error it allows, letter case, several answers, a dialogue.

Only sentences that say so of the *answer* count: one on the precision of the input allows nothing.
`benchmarks/statements.py` lists every sentence that is read in a data set, and those that are not.
"""

import re
from collections.abc import Iterator, Sequence
from typing import Literal, NamedTuple

Kind = Literal["tolerance", "any case", "any answer", "interactive"]
Error = Literal["either", "absolute", "relative"]


class Reading(NamedTuple):
    """One thing that a sentence says.

    Args:
        kind: What it is about.
        sentence: The sentence, as it stands.
        tolerance: The error it allows.
        error: Of which kind.
    """

    kind: Kind
    sentence: str
    tolerance: float = 0.0
    error: Error = "either"


def readings(statement: str) -> Iterator[Reading]:
    """What the sentences of a statement say of its answers, in order."""
    for sentence in sentences(statement):
        allowed = _allowed_error(sentence)
        if allowed:
            yield Reading("tolerance", sentence, allowed, _kind_of_error(sentence))
        for kind, says in _SAYS.items():
            if says(sentence):
                yield Reading(kind, sentence)


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


# A sentence ends in a full stop, or where a line does that the next one does not go on from.
_BOUNDARY = re.compile(
    r"(?<=[.!?])(?<!\be\.g\.)(?<!\bi\.e\.)(?<![=<>] )\s+(?![a-z0-9])|(?<=[a-z\d}$)>][.!?])(?=[A-Z])"
    r"|\n\s*\n|\n(?=\s*(?:[A-Z*\u2022-]|\d+\.))"
)

# --- the error that is allowed ----------------------------------------------------------------------

_SUPERSCRIPT = str.maketrans(
    "\u207b\u2070\u00b9\u00b2\u00b3\u2074\u2075\u2076\u2077\u2078\u2079", "-0123456789"
)
_MINUS = r"[-\u2212\u2013\u2014]"
# In the forms of LaTeX, HTML and Unicode, and as text from which the superscript was lost: 10-6, 10 - 6.
_POWER = re.compile(
    rf"(?<![\d.])\{{?10\}}?\s*(?:\\?\^|\*\*|<sup>)?\s*[({{]*\s*(?:\\[,;! ])?\s*(?:{_MINUS}|&minus;)\s*\{{?(\d{{1,2}})(?!\d|\.\d)",
    re.IGNORECASE,
)
_DECIMAL = re.compile(r"(?<![\d.,])(?:\d+(?:\.\d+)?e-\d+|0?\.\d*[1-9]\d*)(?!\d|\.\d)", re.IGNORECASE)
_LARGEST, _SMALLEST = 0.1, 1e-15

# "Error", "precision" and the like; of these some speak of an answer alone, the others also of what is given.
_BOTH = r"(?:absolute|relative)\W+(?:\w+\W+){0,4}?"
_OF_ANSWERS = re.compile(
    rf"\b{_BOTH}(?:errors?|(?:in)?accuracy|precision|tolerance|difference|deviation|uncertainty)\b"
    r"|\|\s*\w+['\u2032]?\s*[-\u2212]\s*\w+['\u2032]?\s*\|",
    re.IGNORECASE,
)
_BOUNDED = (
    r"(?:less|smaller|lower|not? (?:more|greater|larger|bigger)|at most|within|up to|below|under|exceed\w*|of"
    r"|<|\u2264|\\leq?\w*|equal)"
)
_ERROR = re.compile(
    rf"\b(?:error|inaccuracy|deviation|tolerance)\b.{{0,40}}?{_BOUNDED}"
    rf"|{_BOUNDED}.{{0,40}}?\b(?:error|inaccuracy|deviation|tolerance)\b|\btolerance\b|\bdiffer\w*\b.*\berror\b",
    re.IGNORECASE,
)
_NEAR = re.compile(
    r"\b(?:errors?|precision|precise\w*|accura\w+|inaccura\w+|tolera\w+|deviat\w+|differ(?:s|ed|ing)?|differences?"
    r"|within|close(?:r)?|off by|up to)\b",
    re.IGNORECASE,
)
_THE_ANSWER = re.compile(
    r"\b(?:your|the|each|every|any|all|these|both) (?:\w+ )?(?:answers?|outputs?|solutions?|results?)\b"
    r"|^(?:answers?|outputs?|solutions?|results?)\b",
    re.IGNORECASE,
)
_ANSWER = re.compile(
    r"\b(?:answers?|solutions?|outputs?|print(?:s|ed)?|results?|display\w*|report\w*|checker|jury"
    r"|(?:should|must) be (?:given|printed|output|computed|calculated|correct|accurate|precise)"
    r"|your (?:program|value|number|estimate)|(?:correct|actual|exact|true|expected|reference) (?:one|value|answer)"
    r"|accept\w*|allowed|considered|judged|tolerated|valid)\b",
    re.IGNORECASE,
)
_INPUT = re.compile(
    r"(?<!should be )(?<!must be )\b(?:inputs?|given|gives|contains?|measure(?:d|s|ments?)|sensors?|readings?|known|stored"
    r"|specified|instruments?)\b",
    re.IGNORECASE,
)
_PROMISE = re.compile(r"\bguarantee|\b(?:change|var(?:y|ies)|perturb\w*)\b", re.IGNORECASE)
_HAS = re.compile(r"\b(?:has|have|had|with|contains?|makes?|is|are)\b", re.IGNORECASE)


def _allowed_error(sentence: str) -> float | None:
    """The error a sentence such as "absolute or relative error of at most 10^{-6}" allows."""
    text = sentence.translate(_SUPERSCRIPT)
    cue = _OF_ANSWERS.search(text) or _ERROR.search(text) or _NEAR.search(text)
    value = _bound(text, cue.start()) if cue else None
    if cue is None or value is None or not _about_answers(text, cue):
        return None
    return value


def _bound(text: str, start: int) -> float | None:
    """The number that bounds an error: the first after where it is named, or else the last before."""
    found = [(match.start(), _number(match)) for form in (_POWER, _DECIMAL) for match in form.finditer(text)]
    numbers = sorted((place, value) for place, value in found if _SMALLEST <= value <= _LARGEST)
    after = [value for place, value in numbers if place >= start]
    return next(iter([*after, *(value for _, value in reversed(numbers))]), None)


def _number(match: re.Match[str]) -> float:
    return 10.0 ** -int(match[1]) if match.re is _POWER else float(match[0])


def _about_answers(text: str, cue: re.Match[str]) -> bool:
    """Whether it is the answer that may be off: told by the words before the cue, else by those after."""
    if _PROMISE.search(text):
        return False
    if _THE_ANSWER.search(text, 0, cue.end()):
        return True
    named = [(found.start(), True) for found in _ANSWER.finditer(text)]
    named += [(found.start(), False) for found in _INPUT.finditer(text)]
    before = [answer for place, answer in sorted(named) if place < cue.end()]
    if before:
        return before[-1]
    if named:
        return any(answer for _, answer in named)
    # Of what has an error of its own, such as an instrument, it is told; else the sentence says what is allowed.
    return cue.re is not _NEAR and not _HAS.search(text, 0, cue.start())


def _kind_of_error(sentence: str) -> Error:
    absolute, relative = (
        bool(re.search(word, sentence, re.IGNORECASE))
        for word in (r"\babsolute", r"\brelative|/\s*max|\\frac")
    )
    if relative and not absolute and not re.search("max", sentence):
        return "relative"
    # "Within 10^-5 of the actual answer" is a difference, and so is an error of no kind.
    return "either" if relative else "absolute"


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
    r"\bin (?:any|either|arbitrary|whatever|whichever) (?:(?:letter|character|possible) )?(?:case|register)\b(?!,)"
    r"|\b(?:case|register)\s*(?:\([^)]*\)\s*)?(?:for|of) (?:each|every|the|any|all) (?:letters?|characters?|words?)"
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
# "Return the largest number ... in any order" has one answer: no such word may stand between.
_GAP = r"(?:(?!\b(?:number of|maximum|minimum|largest|smallest|multiple of|size|length|count)\b)[^.;])"
_ANY = re.compile(
    rf"\b{_HAND_OVER}\b[^.;]{{0,40}}?(?<!\bof )(?<!\bfrom )\b(?:any|arbitrary)\b"
    r"(?!\s+(?:other|number|amount|more|case|letter case|two|leading|trailing|extra|path|pair))"
    r"|(?<!not )(?<!cannot )(?<!can.t )\bfind any\b|\bsatisfied by any\b"
    r"|\bany(?: one)?(?: of (?:them|these|those|the \w+))?(?: \w+){0,4}?"
    r" (?:(?:is|are|will|would|can|may)(?: be)?)(?: considered)? (?:accept\w+|correct|allowed|fine|valid|ok)\b"
    r"|\bchoose any\b[^.;]{0,20}\b(?:answer|solution)",
    re.IGNORECASE,
)
_ANY_ORDER = re.compile(
    rf"\b{_HAND_OVER}\b{_GAP}{{0,120}}?\b(?:in|use) (?:any|an arbitrary|arbitrary|whatever|whichever)"
    r"(?: \w+)? (?:order|sequence)\b"
    r"|\b(?:any|arbitrary) order of (?:print|output)\w*|\border\b[^.;]{0,60}\bin the output\b[^.;]{0,20}\bmatter"
    r"|\bnumeration of \w+ doesn.t matter\b",
    re.IGNORECASE,
)


def _any_answer(sentence: str) -> bool:
    if _ANY_ORDER.search(sentence) and not re.search(r"\binputs?\b", sentence, re.IGNORECASE):
        return True
    found = _ANY.search(sentence)
    if not found:
        return False
    return bool(_SEVERAL.search(sentence) or _ANY_OF.search(sentence))


_ANY_OF = re.compile(
    r"\bany (?:one )?of (?:them|these|those|the (?:answers|solutions|possible|correct|optimal|valid)[\w ]*)\b"
    r"|\bany (?:such|valid|correct|possible|optimal|suitable|appropriate|acceptable|right|of them)\b"
    r"|\bany (?:answer|solution)s?\b[^.;]{0,60}\b(?:accept\w*|correct|allowed|valid)\b",
    re.IGNORECASE,
)

# --- a dialogue -------------------------------------------------------------------------------------

_DIALOGUE = re.compile(
    r"\binteractive (?:problem|task|version|mode|judge|program)\b|\bproblem is interactive\b"
    r"|\binteract with (?:the |our |a )?(?:jury|judge|grader|interactor|checker|system|program)"
    r"|\b(?:forget|remember|need|have|make sure|must|should|don.t forget)\b[^.;]{0,40}\bflush\w*"
    r"|\bfflush\s*\(\s*stdout|\bflush(?:ing)? (?:the |your |standard )?(?:output|stdout|buffer)|\binteractor\b",
    re.IGNORECASE,
)


def _interactive(sentence: str) -> bool:
    return bool(_DIALOGUE.search(sentence))


_SAYS = {"any case": _any_case, "any answer": _any_answer, "interactive": _interactive}
