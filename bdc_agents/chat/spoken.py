"""Tests that stand in sentences, as people write them: `f(2) should be 4`, `Input: 2 3  Output: 5`.

Each is turned into a form that `bdc_agents.types.written` reads, so that there is one meaning of a test.
Nothing is executed. A sentence that can be read in two ways, such as "f(2) returns 3, not 4", is no test:
the person is told how to say it.
"""

import ast
import builtins
import re
from collections.abc import Iterator
from itertools import islice
from textwrap import dedent
from typing import Any, NamedTuple

from bdc_agents.syntax import parse
from bdc_agents.types.literals import is_value
from bdc_agents.types.written.forms import read_test
from bdc_agents.types.written.parts import is_expression

LONGEST_LINE = 2000
"""Characters of a line that may hold a test, as in `data.examples`."""
MOST_CALLS = 300
"""Calls in sentences that are looked at: nobody writes more by hand, and each takes time to parse."""


class Spoken(NamedTuple):
    """A test and where it stands.

    Args:
        start, end: The part of the text that states it.
        test: In a form that `Problem` takes; None where the part was meant as a test and is none.
        note: What to write instead, where it is none.
    """

    start: int
    end: int
    test: Any = None
    note: str = ""


def spoken_tests(text: str, name: str | None = None, *, pairs: bool = True) -> list[Spoken]:
    """The tests in some text, in order, none inside another.

    Args:
        text: Words, lines of code or both, without fences.
        name: The function that is asked for, where the text does not call it by its name.
        pairs: Whether inputs and outputs are tests; not where they were read already.
    """
    found: list[Spoken] = []
    of_pairs = (_inputs_and_outputs, _sentences, _arrows) if pairs else (_sentences,)
    for read in (_sessions, _asserts, *of_pairs, _told_of):
        blank = _without(text, found)
        found += read(blank, name)
    return sorted(found)


def _without(text: str, found: list[Spoken]) -> str:
    """The text with blanks where something was read already, so that all places stay."""
    for one in found:
        kept = re.sub(r"[^\n]", " ", text[one.start : one.end])
        text = text[: one.start] + kept + text[one.end :]
    return text


# --- code in lines ------------------------------------------------------------------------------------

_SESSION = re.compile(r"^[ \t]*>>> .*(?:\n(?![ \t]*(?:\n|$)).*)*", re.MULTILINE)
_ASSERT = re.compile(r"^[ \t]*(?:[-*\u2022]|\d+[.)])?[ \t]*(?=assert\b)", re.MULTILINE)
_LONGEST_ASSERT = 40
"""Lines of one assert."""


def _sessions(text: str, _: str | None) -> Iterator[Spoken]:
    """Sessions of Python, each up to a blank line."""
    for found in _SESSION.finditer(text):
        session = dedent(found[0])
        try:
            read_test(session, own_checker=False)
        except ValueError as error:
            yield from _examples_of(session, *found.span(), str(error))
        else:
            yield Spoken(*found.span(), session)


def _examples_of(session: str, start: int, end: int, why: str) -> Iterator[Spoken]:
    """The examples of a session that can be read one by one, and a note on the others."""
    import doctest  # which loads a debugger and test runners

    found: list[Any] = []
    try:
        examples = doctest.DocTestParser().get_examples(session)[:MOST_CALLS]
    except ValueError:
        examples = []
    for example in examples:
        source = example.source.strip()
        raised = re.match(r"(\w+)", example.exc_msg or "")
        if raised and "\n" not in source:
            found.append({"code": _raising(source, raised[1])})
            continue
        text = f">>> {source}\n{example.want}"
        try:
            found += [text] if read_test(text, own_checker=False) else []
        except ValueError as error:
            why = str(error)
    if not found:
        yield Spoken(start, start, None, why)
    for place, test in enumerate(found):
        yield Spoken(start if not place else end, end, test)
    if len(found) < len(examples) and found:
        yield Spoken(end, end, None, why)


def _asserts(text: str, _: str | None) -> Iterator[Spoken]:
    """Asserts, which may go on over several lines."""
    until = 0
    for found in islice(_ASSERT.finditer(text), MOST_CALLS):
        if found.start() < until:
            continue
        lines = text[found.end() :].split("\n", _LONGEST_ASSERT)[:_LONGEST_ASSERT]
        for count in range(1, len(lines) + 1):
            code = "\n".join(lines[:count])
            if len(code) > 10 * LONGEST_LINE:
                break
            if parse(code) is not None:
                until = found.end() + len(code)
                yield Spoken(found.start(), until, code.strip())
                break


# --- input and output ---------------------------------------------------------------------------------

_BULLET = r"^[ \t]*(?:[-*\u2022]|\d+[.)])?[ \t]*"
_IN = r"\*{0,2}(?:sample |example |test )?(?:input|stdin)[ \t]*#?\d*[ \t]*\*{0,2}"
_OUT = r"\*{0,2}(?:sample |example |expected )*(?:output|stdout|answer)[ \t]*#?\d*[ \t]*\*{0,2}"
_ON_LINES = re.compile(
    rf"(?:{_BULLET}|(?<=[.!?;:] )){_IN}:\*{{0,2}}[ \t]*(?P<given>\S[^\n]{{0,{LONGEST_LINE}}}?)"
    r"(?:[,;]?[ \t]{1,9}(?:and[ \t]+)?|[ \t]{0,9}\n[ \t]{0,9}(?:[-*][ \t]+)?)"
    rf"{_OUT}:\*{{0,2}}[ \t]*(?P<expected>\S[^\n]*)$",
    re.MULTILINE | re.IGNORECASE,
)
_IN_BLOCKS = re.compile(
    rf"{_BULLET}{_IN}:?\*{{0,2}}[ \t]*\n(?P<given>(?:(?!{_BULLET}{_OUT}:?[ \t]*$)[^\n]*\n){{1,200}}?)"
    rf"{_BULLET}{_OUT}:?\*{{0,2}}[ \t]*\n(?P<expected>"
    rf"(?:(?!{_BULLET}{_IN}:?[ \t]*$)[^\n]*\S[^\n]*(?:\n|\Z)){{1,200}})",
    re.MULTILINE | re.IGNORECASE,
)
_DESCRIBES = re.compile(r"\b[A-Za-z]{2,}(?:[ \t]+[A-Za-z,]+){3,}.*[.:]?\s*$", re.MULTILINE)
"""Four words in a row: what an input looks like, rather than one."""


def _inputs_and_outputs(text: str, name: str | None) -> Iterator[Spoken]:
    """Pairs of an input and an output; sections that describe inputs in sentences are none."""
    taken: list[tuple[int, int]] = []
    for pattern, inside in ((_ON_LINES, False), (_IN_BLOCKS, True)):
        for found in pattern.finditer(text):
            if any(start < found.end() and found.start() < end for start, end in taken):
                continue
            given, expected = found["given"].strip(), found["expected"].strip()
            if not given or (inside and (_DESCRIBES.search(given) or _DESCRIBES.search(expected))):
                continue
            taken.append(found.span())
            note = unclear_pair(f"{name}({given})", expected) if name else ""
            yield Spoken(*found.span(), None if note else input_and_output(given, expected, name), note)


_JSON_WORDS = {"true": "True", "false": "False", "null": "None"}


def input_and_output(given: str, expected: str, name: str | None) -> dict[str, Any]:
    """The test of an input and an output: of a call where a function is asked for, else of a program."""
    if name is None:
        return {"input": f"{given}\n", "output": f"{expected}\n"}
    given, expected = given.strip("` \n"), expected.strip("` \n")
    if not {"'", '"'} & set(given):
        given = re.sub(r"\b(?:true|false|null)\b", lambda word: _JSON_WORDS[word[0]], given)
    return {"input": given, "output": _JSON_WORDS.get(expected, expected)}


# --- sentences ----------------------------------------------------------------------------------------

_CALL = re.compile(r"(?<![\w.\"'])[A-Za-z_]\w*(?:\([^()]{0,80}\)\.[A-Za-z_]\w*|\.[A-Za-z_]\w*)?\(")
BE = (
    r"(?:be equal to|be|equal|return|give|yield|print|produce|output|result in|evaluate to"
    r"|have been|have returned)"
)
"""What stands between "should" and a value."""
_SAYS = re.compile(
    r"[\s*]{0,20},?\s?(?:"
    r"(?P<should>(?:it\s+)?(?:should|must|shall|has to|needs to|ought to)\s+(?:always\s+|also\s+|then\s+)?"
    rf"{BE}"
    rf"|(?:is|are)\s+(?:expected|supposed)\s+to\s+{BE}|to\s+{BE}|expected\s*:?|expects|must\s+equal)"
    r"|(?P<fact>(?::\s*)?(?:it\s+|which\s+)?(?:currently\s+|now\s+|wrongly\s+)?(?:returns|gives|is|equals|yields"
    r"|produces|prints|outputs|evaluates\s+to|results\s+in|becomes)\b)"
    r"|(?P<sign>=+>|={1,3}|->|\u2192|\u279e|\u21d2|\u21a6|\#\s*(?:=+>|->|\u2192|returns?:?|gives:?)?"
    r"|//\s*(?:=+>|->)?|\||:)"
    r")[\s*]*(?=\S)",
    re.IGNORECASE,
)
_RAISES = re.compile(
    r"[\s*]*(?:(?:should|must)\s+)?(?:raises?|throws?)\s+(?:an?\s+)?(?P<error>[A-Z]\w*(?:Error|Exception))\b"
)
_CORRECTED = re.compile(
    rf"(?:(?:should|must)\s+(?:actually\s+)?{BE}|expected(?:\s+is|\s+was|:)?|instead\s+of|rather\s+than"
    r"|right\s+(?:answer|value|result)\s+is|correct\s+(?:answer|value|result)\s+is)[\s*]+",
    re.IGNORECASE,
)
_COMPLAINT = re.compile(
    r"\b(?:wrong|wrongly|incorrect|incorrectly|instead|but|however|expected|should|currently|rather|not|bug)\b",
    re.IGNORECASE,
)
_LEAD = re.compile(
    r"\b(?:currently|now|wrong|wrongly|incorrectly|bug|right now|at the moment)\b", re.IGNORECASE
)


def _sentences(text: str, _: str | None) -> Iterator[Spoken]:
    """Calls with what they give: `f(2) should be 4`, `f(2) -> 4`, `f(2) returns 3 but should return 4`."""
    plain, until = _unmarked(text), 0
    for found in islice(_CALL.finditer(plain), MOST_CALLS):
        if found.start() < until:
            continue
        stop = plain.find("\n", found.end())
        line = plain[: len(plain) if stop < 0 else stop]
        line = line[: found.start() + LONGEST_LINE]
        close = _closing(line, found.end() - 1)
        if close < 0 or not _is_example(call := line[found.start() : close]):
            continue
        until = close
        spoken = _what_it_gives(line, found.start(), close, call)
        if spoken:
            until = max(close, spoken.end)
            yield spoken


_BOLD = re.compile(r"(?<![\w)])\*\*([^*\n]{1,200})\*\*(?![\w(])")


def _unmarked(text: str) -> str:
    """The text with blanks for Markdown's marks, so that all places stay."""
    return _BOLD.sub(lambda found: f"  {found[1]}  ", text.replace("`", " "))


def _what_it_gives(line: str, start: int, close: int, call: str) -> Spoken | None:
    raised = _RAISES.match(line, close)
    if raised and hasattr(builtins, raised["error"]):
        return Spoken(start, raised.end(), {"code": _raising(call, raised["error"])})
    says = _SAYS.match(line, close)
    if not says:
        return None
    begins = line.rfind("\n", 0, start) + 1
    value, end = leading_value(line, says.end())
    after = line[end:] if value else line[says.end() :]
    tail = re.split(r"(?<=[.!?])\s+[A-Z]|\n", after, maxsplit=1)[0]
    if not value:
        if says["should"] or says["sign"] in ("==", "->", "=>"):
            told = " ".join(line[start : says.end() + 40].split())
            return Spoken(start, close, None, f"{told!r}: {_write(call, tail)}")
        return None
    lead = _LEAD.search(line, begins, start) or _LEAD.search(says[0])
    if not says["should"] and (_COMPLAINT.search(tail) or (lead and says["fact"])):
        right = _CORRECTED.search(tail)
        corrected, until = leading_value(tail, right.end()) if right else ("", 0)
        if corrected:
            return _one_value(line, start, call, corrected, end + until)
        told = " ".join(line[start : end + 40].split())
        return Spoken(start, close, None, f"{told!r}: write what is right, as in `{call} should be ...`")
    return _one_value(line, start, call, value, end)


def _write(call: str, tail: str) -> str:
    word = tail.strip(" .*`")[:40]
    if re.fullmatch(r"[A-Za-z][\w ,!?']*", word or "-"):
        return f"a text stands in quotes, as in `{call} should be {word!r}`"
    return f"write the value as in Python, such as `{call} should be 4`"


RAISES = re.compile(r"try:\n    (.+)\nexcept (\w+):\n    pass\nelse:\n")
"""A test, as code, that a call raises."""


def _raising(call: str, error: str) -> str:
    return (
        f"try:\n    {call}\nexcept {error}:\n    pass\n"
        f"else:\n    raise AssertionError({f'{call} does not raise {error}'!r})"
    )


_PAIRS = {")": "(", "]": "[", "}": "{"}


def _closing(text: str, start: int) -> int:
    """The place behind the bracket that closes the one at `start`; -1 where none does."""
    open_, quote, at = list[str](), "", start
    while at < len(text):
        char = text[at]
        if quote:
            if char == "\\":
                at += 1
            elif char == quote:
                quote = ""
        elif char in "'\"":
            quote = char
        elif char in "([{":
            open_.append(char)
        elif char in _PAIRS:
            if not open_ or open_.pop() != _PAIRS[char]:
                return -1
            if not open_:
                return at + 1
        at += 1
    return -1


def _is_example(call: str) -> bool:
    """Whether a call has values alone as arguments: `f(n)` stands in a formula, `max(2)` calls no program."""
    tree = parse(call)
    only = tree.body[0] if tree and len(tree.body) == 1 else None
    if not isinstance(only, ast.Expr) or not isinstance(only.value, ast.Call):
        return False
    called = {id(node.func) for node in ast.walk(only) if isinstance(node, ast.Call)}
    roots = [node for node in ast.walk(only) if isinstance(node, ast.Name)]
    inner = {id(node.value) for node in ast.walk(only) if isinstance(node, ast.Attribute)}
    free = [node for node in roots if id(node) not in called and id(node) not in inner]
    own = [node for node in roots if not hasattr(builtins, node.id)]
    return bool(own) and not free


_ATOM = re.compile(
    r"[-+]?(?:\d[\d_]*\.?\d*(?:[eE][-+]?\d+)?j?|\.\d+|inf|nan)(?![\w])|(?:True|False|None|true|false|null)\b"
    r"|(?:set|frozenset|list|tuple|dict|float|complex)(?=\()"
)
_QUOTED = re.compile(r"[rRbBuU]{0,2}('''|\"\"\"|'|\")")
_GOES_ON = re.compile(r"\s*(?:[+*/%<>&^]|==|-\s*[\d(]|\(|\[)")


def leading_value(text: str, start: int) -> tuple[str, int]:
    """The Python literal at a place of a text, and where it ends; an empty one where there is none."""
    at = start
    while at < len(text) and text[at] in " \t*":
        at += 1
    end = -1
    if text[at : at + 1] in ("(", "[", "{"):
        end = _closing(text, at)
    elif quoted := _QUOTED.match(text, at):
        end = _end_of_text(text, quoted.end(), quoted[1])
    elif atom := _ATOM.match(text, at):
        end = _closing(text, atom.end()) if text[atom.end() : atom.end() + 1] == "(" else atom.end()
    if end < 0:
        return "", start
    if text[at:end].endswith("."):  # the full stop of a sentence, as in "should be 4."
        end -= 1
    value = _JSON_WORDS.get(text[at:end], text[at:end])
    goes_on = _GOES_ON.match(text, end)
    explained = goes_on and re.match(r"\s+\(", text[end:])
    return (value, end) if is_value(value) and (not goes_on or explained) else ("", start)


def _end_of_text(text: str, at: int, quote: str) -> int:
    while at < len(text):
        if text.startswith(quote, at):
            return at + len(quote)
        at += 2 if text[at] == "\\" else 1
    return -1


# --- one value or several -----------------------------------------------------------------------------

_MARKS = "[ \\t`*]*"
_OTHER = re.compile(
    rf"(?P<by>{_MARKS}(?:[,;/\u2013\u00b1](?:{_MARKS}(?:and|or|to)\b)?|\b(?:and|or|to)\b|'(?=\d{{3}}\b)"
    rf"|\.{{1,3}}(?=\d)|(?<=[ \t`*])){_MARKS})"
    r"(?P<value>[-+]?\.?\d\w*(?:[.,]\d\w*)*|(?=['\"\[({])|(?:True|False|None|true|false|null)\b)",
)
_OR = re.compile(
    rf"{_MARKS}[,;(]?{_MARKS}\bor\b(?:[ \t]+\w+)?|[ \t`*]+(?:hundred|thousand|million|billion)\b",
    re.IGNORECASE,
)
"""What makes another value of one, whatever follows: "6 or more", "2 million"."""
_NUMBERED = re.compile(rf"\(?(?P<number>\d{{1,3}})(?P<mark>[.):]){_MARKS}(?=[A-Za-z_])")
_NUMBER = re.compile(rf"\(?(?P<number>\d{{1,3}})(?P<mark>[.):]){_MARKS}\Z")


def _other_value(line: str, start: int, end: int) -> tuple[str, int]:
    """The value that follows the one before `end`, and where it ends; -1 where prose or a call follows.

    "1,5" may be a decimal, a pair or two answers, and "1,200" a thousand: to take the first number and leave
    the rest as prose would make a test that nobody wrote.
    """
    found = _OTHER.match(line, end)
    if found and not _is_next_number(line, start, found.end("by")):
        if found["value"]:
            return found["value"], found.end()
        value, until = leading_value(line, found.end())
        if value and (found["by"].strip(" \t`*") or line[found.end()] != "("):
            return value, until
    alternative = _OR.match(line, end)
    return "", alternative.end() if alternative else -1


def _is_next_number(line: str, start: int, at: int) -> bool:
    """Whether a number counts the tests, as in "1) f(2) is 4, 2) f(3) is 6"."""
    number, before = _NUMBERED.match(line, at), _NUMBER.search(line[max(0, start - 20) : start])
    return bool(
        number
        and before
        and number["mark"] == before["mark"]
        and int(number["number"]) == int(before["number"]) + 1
    )


def _one_value(line: str, start: int, call: str, value: str, end: int) -> Spoken:
    """The test that a call gives a value which ends at `end`; a note where several values stand there."""
    other, until = _other_value(line, start, end)
    if until < 0:
        return Spoken(start, end, f"{call} -> {value}")
    return Spoken(start, until, None, _ways(call, value, line[end:until], other))


def _ways(call: str, value: str, rest: str, other: str) -> str:
    """How to write what can be read in two ways, such as "1,5"."""
    stated = " ".join(f"{value}{rest}".replace("`", " ").split()).replace(" ,", ",")[:80]
    ways: list[str] = []
    if re.fullmatch(r"[ \t`*]*,[ \t`*]*", rest.removesuffix(other)) and is_value(f"({value}, {other})"):
        ways.append(f"`({value}, {other})` for a tuple")
    if re.fullmatch(r"[-+]?\d+,\d+", stated):
        ways.append(f"`{stated.replace(',', '.')}` for a decimal")
    if re.fullmatch(r"[-+]?\d{1,3}(?:[,.' ]\d{3})+", stated):
        ways.append(f"`{re.sub(r'[^-+0-9]', '', stated)}` for a thousand")
    several = f"[{value}, {other if is_value(other) and rest[0] != '.' else '...'}]"
    ways.append(f"`{value}` if that alone is right, or `assert {call} in {several}` if each of them is")
    return f"{call} gives {stated!r}, which can be read in two ways: write {', '.join(ways)}"


def unclear_assert(code: str) -> str:
    """How to write an assert with a number behind a comma, which is no message; empty for others."""
    tree = parse(code) if code.lstrip().startswith("assert") else None
    only = tree.body[0] if tree and len(tree.body) == 1 else None
    if not isinstance(only, ast.Assert) or only.msg is None or not is_value(ast.unparse(only.msg)):
        return ""
    test, other = only.test, ast.unparse(only.msg)
    if isinstance(only.msg, ast.Constant) and isinstance(only.msg.value, str):
        return ""
    if not isinstance(test, ast.Compare) or len(test.ops) != 1 or not isinstance(test.ops[0], ast.Eq):
        return ""
    value = ast.unparse(test.comparators[0])
    return _ways(ast.unparse(test.left), value, f",{other}", other)


def unclear_pair(call: str, expected: str) -> str:
    """How to write an output that is more than one value, as `1,5`; empty where it is one."""
    expected = expected.strip("` \n")
    value, end = leading_value(expected, 0)
    return _one_value(expected, 0, call, value, end).note if value else ""


# --- without the function's name ------------------------------------------------------------------------

_ARROW = re.compile(
    r"^[ \t]*(?:[-*\u2022]|\d+[.)])?[ \t]*`?(?P<given>\S[^\n]{0,400}?)`?[ \t]{0,9}"
    r"(?:->|\u2192|\u279e|\u21d2|=>)[ \t]*`?(?P<expected>[^\n`]{1,400}?)`?[ \t]*$",
    re.MULTILINE,
)
_HEADED = re.compile(
    r"(?:examples?|tests?|cases?|samples?)\b[^\n]{0,40}:?[ \t]*\n(?:[^\n]*\n){0,30}\Z", re.IGNORECASE
)
_PLAIN = re.compile(r"[\W\d_]+(?:[eE][\W\d_]+)?")


def _arrows(text: str, name: str | None) -> Iterator[Spoken]:
    """Lines such as `2 3 -> 5`: of numbers and signs, of values, or below a heading such as "Examples:"."""
    for found in islice(_ARROW.finditer(text), MOST_CALLS):
        given, expected = found["given"].strip(), found["expected"].strip().rstrip(";")
        if _CALL.match(given):
            continue  # As a sentence it is no test: `f(a) -> 2` calls it with a name.
        values = is_value(given) and is_value(expected)
        headed = (
            _HEADED.search(text, max(0, found.start() - 2000), found.start())
            and max(len(given.split()), len(expected.split())) <= 8
        )
        if values or headed or (_PLAIN.fullmatch(given) and _PLAIN.fullmatch(expected)):
            expected = _JSON_WORDS.get(expected, expected) if name else expected
            if name and not (is_expression(f"{name}({given})") and is_value(expected)):
                continue
            if name and (note := unclear_pair(f"{name}({given})", expected)):
                yield Spoken(*found.span(), None, note)
                continue
            yield Spoken(*found.span(), f"{given} -> {expected}")


_EMPTY = {
    "empty list": "[]",
    "empty array": "[]",
    "empty string": "''",
    "empty text": "''",
    "empty dict": "{}",
    "empty dictionary": "{}",
    "empty tuple": "()",
    "zero": "0",
}
_FOR = re.compile(
    r"\b(?:for|given|with|on)\s+(?:an?\s+|the\s+)?(?:inputs?\s+|arguments?\s+|values?\s+|list\s+|string\s+|number\s+)?"
    rf"(?P<named>{'|'.join(_EMPTY)})?[\s`]*",
    re.IGNORECASE,
)
_IT_SHOULD = re.compile(
    r"[\s`]{0,20},?\s?(?:(?:it|the function|the program|the result|the answer|this)\s+)?"
    rf"(?:(?:should|must)\s+{BE}"
    r"|returns|gives|it\s+is|the\s+(?:answer|result)\s+is)[\s`*]+",
    re.IGNORECASE,
)


def _told_of(text: str, name: str | None) -> Iterator[Spoken]:
    """`for [] it should return 0`: of a function that is known."""
    if not name:
        return
    for found in islice(_FOR.finditer(text), MOST_CALLS):
        line = text[: found.end() + LONGEST_LINE]
        named = found["named"]
        given, end = (_EMPTY[named.lower()], found.end()) if named else leading_value(line, found.end())
        says = _IT_SHOULD.match(line, end) if given else None
        value, until = leading_value(line, says.end()) if says else ("", 0)
        if value:
            yield _one_value(line, found.start(), f"{name}({given})", value, until)
