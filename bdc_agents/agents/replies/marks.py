"""What is said in a reply, told apart by the marks of chat templates: thoughts, the answer, further turns.

Servers that do not know a model's template leave its marks in the text. Everything here takes time in
proportion to the text, and never raises.
"""

import re
import textwrap
from bisect import bisect
from dataclasses import dataclass
from functools import cached_property
from itertools import islice

from bdc_agents.syntax import parse

_THOUGHTS = r"(?:seed:)?(?:think|thinking|thoughts?|reasoning|analysis|scratchpad|reflection)"
# Names of a template's tokens that begin something: they are left out, and what follows is read on.
_BEGINS = (
    r"[^<>|\uff5c\s]{0,30}(?:start|begin|bos|assistant|python_tag|message|constrain|prefix|channel)"
    r"[^<>|\uff5c\s]{0,30}"
)
_USERS = ("user", "human", "system", "tool", "ipython")
_ROLES = "|".join(("assistant", "model", *_USERS))
_MARKS = re.compile(
    rf"""
    (?P<open> <{_THOUGHTS}> | \[THINK\] | ◁think▷ | <\|begin_of_thought\|> | <\|START_THINKING\|>
        | <unused94>thought | <\|channel>thought
        | <\|channel\|>\s*(?:analysis|commentary)[^<\n]{{0,60}}(?:<\|constrain\|>\w*\s*)?<\|message\|> )
    | (?P<close> </{_THOUGHTS}> | \[/THINK\] | ◁/think▷ | <\|end_of_thought\|> | <\|END_THINKING\|>
        | <unused95> | <channel\|>
        | <\|channel\|>\s*final\s*(?:<\|constrain\|>\w*\s*)?<\|message\|> )
    | (?P<turn> (?:<\|(?:im_start|start|start_header_id|start_of_role)\|>|<start_of_turn>)
        [ ]*(?P<role>(?:{_ROLES})?)(?:<\|end_(?:header_id|of_role)\|>)? )
    | (?P<skip> <[|\uff5c]{_BEGINS}[|\uff5c]> | \A\s*<s> | <bos> | \[/INST\] | <\|?fim_prefix\|?> )
    | (?P<end> <[|\uff5c][^<>|\uff5c\n]{{1,40}}[|\uff5c]>(?!<\|start\|>assistant) | \[INST\]
        | ^\#\#\#[ ](?:Instruction|Human|User):
        | (?:</s> | <(?:eos|eoa|EOT|end_of_turn|turn\|)> | <(?:fim_\w{{3,6}}|file_sep|filename)>)
            (?=\s*(?:$|[<\[`]))
        | (?<=\S)\[(?:EOS|EOT)\]\s*\Z | <file_sep> )
    """,
    re.IGNORECASE | re.MULTILINE | re.VERBOSE,
)
# Characters before and after a mark in which quotes are looked for: a line of a program. More would
# let one long line of marks cost the square of its length.
_WINDOW = 120
_LONGEST_REPLY = 1_000_000
"""Characters, some 250,000 tokens; of a longer reply the end is read, where the answer stands."""
_MOST_MARKS = 5_000
"""That are looked at: of a reply with more, which only a hostile one has, the rest is taken as it is."""
_FENCE = re.compile(r"^[ \t]*(?:```|~~~).*$", re.MULTILINE)
_LONGEST = 50_000
"""Characters of a program that is parsed to look whether a mark is its own."""
# What is left of thoughts where the server drops a template's tokens, and of models that use words.
_WORDS = (
    ("analysis", "assistantfinal"),
    ("Here is my thought process:", "Here is my response:"),
    ("Thinking...", "...done thinking."),
)


@dataclass(frozen=True)
class Said:
    """A reply, taken apart.

    Args:
        answer: What is said without thoughts and marks.
        turn: All of the model's own turn, thoughts included; what it made up after it is left out.
        thinks: Whether it ends inside a thought, before any answer.
    """

    answer: str
    turn: str
    thinks: bool


def said(text: str) -> Said:
    """Takes a reply apart.

    A thought that is not closed reaches to the end; a closing mark alone ends one that the chat
    template had opened. A mark in quotes, or in a program, is part of what is said.
    """
    text = text[-_LONGEST_REPLY:]
    programs = _Programs(text)
    kept: list[str] = []
    at = start = _after_words(text)
    inside = spoke = False
    for mark in islice(_MARKS.finditer(text, start), _MOST_MARKS):
        before = text[max(at, mark.start() - _WINDOW) : mark.start()].rpartition("\n")[2]
        after = text[mark.end() : mark.end() + _WINDOW].partition("\n")[0]
        if _quoted(before, after) or programs.hold(mark.start()):
            continue
        if mark[0].lower() == "</s>" and "<s>" in before.lower():  # HTML: what is struck out.
            continue
        kind = mark.lastgroup
        if kind == "close":
            if not inside:
                kept.clear()
                spoke = False
            inside, at = False, mark.end()
        elif inside or (kind == "open" and before.strip()):
            # A program may speak of such marks, in a comment say; models begin a line with theirs.
            continue
        else:
            kept.append(text[at : mark.start()])
            # Told here, as looking through all that is kept at each mark takes the square of their number.
            spoke = spoke or bool(kept[-1].strip())
            inside, at = kind == "open", mark.end()
            ends = kind == "end" or (kind == "turn" and mark["role"].lower() in _USERS)
            if ends and spoke:
                return Said("".join(kept), text[: mark.start()], thinks=False)
    return Said("".join(kept if inside else [*kept, text[at:]]), text, inside)


def strip_thinking(text: str) -> str:
    """The reply without its thoughts and marks."""
    return said(text).answer


def thinks_to_the_end(text: str) -> bool:
    """Whether the reply ends inside a thought, before any answer."""
    return said(text).thinks


def _after_words(text: str) -> int:
    """Where the answer begins, of a reply whose thoughts are marked by words; else 0."""
    beginning = text[:200].lstrip()
    for first, last in _WORDS:
        if beginning.startswith(first) and (at := text.rfind(last)) >= 0:
            return at + len(last)
    return 0


class _Programs:
    """The fenced parts of a text that parse as they are: a mark within is the program's own."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._parses: dict[int, bool] = {}

    @cached_property
    def _fences(self) -> list[re.Match[str]]:
        return list(_FENCE.finditer(self._text))

    def hold(self, place: int) -> bool:
        """Whether a place is within such a part. Each part is parsed once."""
        after = bisect(self._fences, place, key=re.Match.start)
        if not 0 < after < len(self._fences) or place < self._fences[after - 1].end():
            return False
        if after not in self._parses:
            code = self._text[self._fences[after - 1].end() : self._fences[after].start()]
            tree = parse(textwrap.dedent(code)) if len(code) <= _LONGEST else None
            self._parses[after] = tree is not None
        return self._parses[after]


def _quoted(before: str, after: str) -> bool:
    """Whether a mark stands in quotes, by what is before and after it in its line."""
    before, after = before.replace("```", ""), after.replace("```", "")
    return any(before.count(quote) % 2 and quote in after for quote in '"`') or (
        before.endswith("'") and after.startswith("'")
    )
