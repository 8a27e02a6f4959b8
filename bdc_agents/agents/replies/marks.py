"""Splits a reply at the marks of chat templates into thoughts, answer and made-up further turns.

Servers that do not know a model's template leave its marks in the text. Everything here takes time in
proportion to the text and never raises.
"""

import re
import textwrap
from bisect import bisect
from dataclasses import dataclass
from functools import cached_property
from itertools import islice

from bdc_agents.syntax import parse

_THOUGHTS = r"(?:seed:)?(?:think|thinking|thoughts?|reasoning|analysis|scratchpad|reflection)"
# Tokens of a template that begin something: they are left out, and the text after them counts.
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
_WINDOW = 120
"""Characters before and after a mark that are searched for quotes: a line of a program. With more, one long
line of marks would cost the square of its length."""
_LONGEST_REPLY = 1_000_000
"""Characters of a reply that are read, some 250,000 tokens; of a longer one the end, where the answer is."""
_MOST_MARKS = 5_000
"""Marks that are looked at. Only a hostile reply has more; the rest of it is taken as it is."""
_FENCE = re.compile(r"^[ \t]*(?:```|~~~).*$", re.MULTILINE)
_LONGEST = 50_000
"""Characters of a fenced program that is parsed to see whether a mark is part of it. Chosen, not measured:
programs are far shorter."""
# Words around thoughts: where a server drops a template's tokens, and from models that use words.
_WORDS = (
    ("analysis", "assistantfinal"),
    ("Here is my thought process:", "Here is my response:"),
    ("Thinking...", "...done thinking."),
)


@dataclass(frozen=True)
class Said:
    """The parts of a reply.

    Args:
        answer: The text without thoughts and marks.
        turn: The model's own turn with its thoughts, without turns that it made up afterwards.
        thinks: Whether the reply ends inside a thought, before any answer.
    """

    answer: str
    turn: str
    thinks: bool


def said(text: str) -> Said:
    """Splits a reply into its parts.

    An unclosed thought reaches to the end. A closing mark without an opening one ends a thought that
    the chat template opened. A mark in quotes, or in a program, is ordinary text.
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
        if mark[0].lower() == "</s>" and "<s>" in before.lower():  # HTML for struck-out text.
            continue
        kind = mark.lastgroup
        if kind == "close":
            if not inside:
                kept.clear()
                spoke = False
            inside, at = False, mark.end()
        elif inside or (kind == "open" and before.strip()):
            # Models begin a line with their marks; elsewhere a program may mention one, as in a comment.
            continue
        else:
            kept.append(text[at : mark.start()])
            # Kept up to date here: searching all kept text at each mark would cost the square of its length.
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
    """Where the answer begins if words mark the thoughts; otherwise 0."""
    beginning = text[:200].lstrip()
    for first, last in _WORDS:
        if beginning.startswith(first) and (at := text.rfind(last)) >= 0:
            return at + len(last)
    return 0


class _Programs:
    """The fenced parts of a text that parse unchanged: a mark in one belongs to the program."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._parses: dict[int, bool] = {}

    @cached_property
    def _fences(self) -> list[re.Match[str]]:
        return list(_FENCE.finditer(self._text))

    def hold(self, place: int) -> bool:
        """Whether a place lies in such a part. Parses each part once."""
        after = bisect(self._fences, place, key=re.Match.start)
        if not 0 < after < len(self._fences) or place < self._fences[after - 1].end():
            return False
        if after not in self._parses:
            code = self._text[self._fences[after - 1].end() : self._fences[after].start()]
            tree = parse(textwrap.dedent(code)) if len(code) <= _LONGEST else None
            self._parses[after] = tree is not None
        return self._parses[after]


def _quoted(before: str, after: str) -> bool:
    """Whether a mark stands in quotes, judged by the text around it in its line."""
    before, after = before.replace("```", ""), after.replace("```", "")
    return any(before.count(quote) % 2 and quote in after for quote in '"`') or (
        before.endswith("'") and after.startswith("'")
    )
