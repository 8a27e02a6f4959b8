"""Reads from a statement's sentence the numeric error that answers may have, in the words of real data sets.

A sentence counts where it names an error (or precision, difference, ...) with a bound, and speaks of
the answer: what it says of the input, of an instrument or of a promise allows nothing.
"""

import re
from typing import Literal

Error = Literal["either", "absolute", "relative"]

_SUPERSCRIPT = str.maketrans(
    "\u207b\u2070\u00b9\u00b2\u00b3\u2074\u2075\u2076\u2077\u2078\u2079", "-0123456789"
)
_MINUS = r"[-\u2212\u2013\u2014]"
# In the forms of LaTeX, HTML and Unicode, and as text from which the superscript was lost: 10-6, 10 - 6.
_POWER = re.compile(
    rf"(?<![\d.])\{{?10\}}?\s*(?:\\?\^|\*\*|<sup>)?\s*[({{]*\s*(?:\\[,;! ])?\s*(?:{_MINUS}|&minus;)\s*"
    r"\{?(\d{1,2})(?!\d|\.\d)",
    re.IGNORECASE,
)
_DECIMAL = re.compile(r"(?<![\d.,])(?:\d+(?:\.\d+)?e-\d+|0?\.\d*[1-9]\d*)(?!\d|\.\d)", re.IGNORECASE)
_WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
_PLACES = re.compile(
    rf"\b(?:accurate|correct|precise|exact)(?:ly)? (?:up )?to (?:at least )?"
    rf"(\d{{1,2}}|{'|'.join(_WORDS[1:])}) (?:decimals?|digits|places|fractional)",
    re.IGNORECASE,
)
_LARGEST, _SMALLEST = 0.1, 1e-15
"""Bounds of an allowed error: a larger number means something else, and floats have no more digits."""

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
    r"|within|close(?:r)?|off by|up to|correct to)\b",
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
    r"|your (?:program|value|number|estimate)"
    r"|(?:correct|actual|exact|true|expected|reference) (?:one|value|answer)"
    r"|accept\w*|allowed|considered|judged|tolerated|valid|correct (?:if|when))\b",
    re.IGNORECASE,
)
_INPUT = re.compile(
    r"(?<!should be )(?<!must be )\b(?:inputs?|given|gives|contains?|measure(?:d|s|ments?)|sensors?|readings?"
    r"|known|stored|specified|instruments?)\b",
    re.IGNORECASE,
)
_PROMISE = re.compile(r"\bguarantee|\b(?:change|var(?:y|ies)|perturb\w*)\b", re.IGNORECASE)
_HAS = re.compile(r"\b(?:has|have|had|with|contains?|makes?|is|are)\b", re.IGNORECASE)


def allowed_error(sentence: str) -> float | None:
    """The error a sentence such as "absolute or relative error of at most 10^{-6}" allows."""
    text = sentence.translate(_SUPERSCRIPT)
    cue = _OF_ANSWERS.search(text) or _ERROR.search(text) or _NEAR.search(text)
    value = _bound(text, cue.start()) if cue else None
    if cue is None or value is None or not _about_answers(text, cue):
        return None
    return value


def _bound(text: str, start: int) -> float | None:
    """The number that bounds an error: the first after where it is named, or else the last before."""
    found = [
        (match.start(), _number(match))
        for form in (_POWER, _PLACES, _DECIMAL)
        for match in form.finditer(text)
    ]
    numbers = sorted((place, value) for place, value in found if _SMALLEST <= value <= _LARGEST)
    after = [value for place, value in numbers if place >= start]
    return next(iter([*after, *(value for _, value in reversed(numbers))]), None)


def _number(match: re.Match[str]) -> float:
    if match.re is _DECIMAL:
        return float(match[0])
    digits = match[1].lower()
    return 10.0 ** -(_WORDS.index(digits) if digits in _WORDS else int(digits))


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
    # An instrument has an error of its own; a sentence that names nothing says what is allowed.
    return cue.re is not _NEAR and not _HAS.search(text, 0, cue.start())


def kind_of_error(sentence: str) -> Error:
    """What is held against the allowed error: the difference, the ratio, or either."""
    absolute, relative = (
        bool(re.search(word, sentence, re.IGNORECASE))
        for word in (r"\babsolute", r"\brelative|/\s*max|\\frac")
    )
    if relative and not absolute and not re.search("max", sentence):
        return "relative"
    # "Within 10^-5 of the actual answer" is a difference, and so is an error of no kind.
    return "either" if relative else "absolute"
