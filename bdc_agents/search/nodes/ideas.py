"""Ideas: which were tried at a node and what came of them, and whether another says anything new.

Agents that do not hear what was tried propose it again, in other words.
"""

import re
from collections.abc import Mapping, Sequence

from bdc_agents.prompts import trim
from bdc_agents.types import Thought, Tree

Words = frozenset[str]

SHOWN = 8
"""Tried ideas in a prompt, the latest: more add length and seldom another idea. Chosen, not measured."""
_LENGTH = 240
"""Characters of each: a sentence or two, as agents are asked for."""
COMPARED = 64
"""Siblings that a new thought is compared with, the latest, so that a large tree costs no more."""
HELD = 0.5
"""Share of an older thought's words that a copy of it repeats, at least: less may be one part of it, made a
plan of its own."""
_READ = 2_000
"""Characters of a thought that are compared; three times as many as agents are asked for."""

_SMALL = """
    a algorithm also alternative an and another any approach are as at be by calculate can check compute could
    determine different do does each else find first for from further given has have here how idea if in into
    involve is it its make may method might mistake need needed next of on one or other possible problem
    program second should simple so solution solve solved step such sure task that the their them then there
    these they third this to use used using way we which will with would yet you
"""
_FILLER = frozenset(_SMALL.split())
"""Words in which two wordings of one idea differ, as the recorded thoughts use them."""
_ENDINGS = ("ations", "ation", "ing", "ies", "ed", "es", "s", "e")


def tried(tree: Tree, node_id: str, tests: int, vetoes: Mapping[str, str] | None = None) -> tuple[str, ...]:
    """The thoughts that continue a path and were tried, each with the best that came of it.

    Args:
        tree: The search tree.
        node_id: Where the path ends.
        tests: How many public tests there are.
        vetoes: Thoughts that a person has refused, by node, each with the reason.
    """
    no = vetoes or {}
    children = [tree[key] for key in tree[node_id].children[-COMPARED:]]
    # A diagnosis is about a program that is not shown here.
    done = [one for one in children if one.thought and not one.mends]
    return tuple(
        f"{_short(one.thought.text)} - "
        + (
            _refusal(no[one.id])
            if one.id in no
            else f"{round(one.best.reward * tests) if one.best else 0} of {tests} tests passed"
        )
        for one in done[-SHOWN:]
        if one.thought and (one.best or one.id in no)
    )


def _refusal(reason: str) -> str:
    return "the person who asked does not want this" + (f": {_short(reason)}" if reason else "")


def _short(text: str) -> str:
    return trim(" ".join(text.split()), _LENGTH)


def thoughts_near(tree: Tree, node_id: str) -> list[Thought]:
    """The thoughts that a new child of a node must not repeat: its path's and its siblings'."""
    siblings = [tree[key] for key in tree[node_id].children[-COMPARED:]]
    found = [*tree.path(node_id), *siblings]
    return [node.thought for node in found if node.thought and not node.mends]


def repeats(own: Words, before: Sequence[Words]) -> bool:
    """Whether a thought only tells in other words what one before it says; each is given as its `words_of`.

    It has no word of its own, and half of the other's. Of 1,363 recorded thoughts 21 are such copies of a
    sibling. A threshold of likeness does not find them: of two that differ in one word one may be a loop and
    the other a recursion, and so it is with about half of those that have one word of their own.
    """
    return any(own <= other and len(own) >= HELD * len(other) for other in before)


def words_of(text: str) -> Words:
    """What a text speaks of: its words without filler and endings."""
    found = re.findall(r"\w+", text[:_READ].casefold())
    return frozenset(_stem(word) for word in found if word not in _FILLER)


def _stem(word: str) -> str:
    ending = next((end for end in _ENDINGS if word.endswith(end) and len(word) - len(end) >= 3), "")
    return word.removesuffix(ending)
