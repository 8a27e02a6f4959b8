"""Expand: every agent proposes thoughts that continue a path."""

import re
from collections.abc import Iterable, Mapping, Sequence
from itertools import zip_longest
from typing import Any, cast

from bdc_agents.agents.protocol import Request
from bdc_agents.agents.replies.reading import MAX_CHARS, is_whole_json, parse_json, strip_thinking, under
from bdc_agents.config import SearchConfig
from bdc_agents.prompts import merge_thoughts, propose_thoughts, thoughts_schema
from bdc_agents.search.nodes.ideas import repeats, thoughts_near, tried, words_of
from bdc_agents.search.nodes.path import latest_program, thoughts_of
from bdc_agents.search.policy.ratings import read_ratings
from bdc_agents.search.round.calls import Answer, Call, derive_seed
from bdc_agents.search.state import Json
from bdc_agents.types import Node, Problem, Thought, Tree

_ITEM = re.compile(r"^ ?(?:[-*•]|\d{1,2}[.)])[ \t]+(?P<text>\S.*)$", re.MULTILINE)
_RATED = re.compile(
    r"[\s\u2013\u2014-]*[(\[](?:[a-z ]{0,20}[:=])?\s*(?P<rating>[\d.,]+\s*%?(?:/\d+)?)[)\]]\.?$",
    re.IGNORECASE,
)
_FEWEST_WORDS = 3
"""Of a thought in a list; fewer are a heading or a label."""


def expand_calls(
    problem: Problem,
    tree: Tree,
    leaf: str,
    programs: Mapping[str, Json],
    agents: Sequence[str],
    config: SearchConfig,
    vetoes: Mapping[str, str] | None = None,
) -> list[Call]:
    """Asks each agent for `width` thoughts that continue the path to `leaf`; see `tried` for vetoes."""
    previous = latest_program(tree, leaf, programs, config) if config.feedback else None
    done = () if config.policy == "paper" else tried(tree, leaf, len(problem.public_tests), vetoes)
    messages = propose_thoughts(
        problem, thoughts_of(tree, leaf), previous, config.failures_shown, config.width, done
    )
    tries = tree[leaf].expanded
    return [
        Call(
            agent=agent,
            purpose="expand",
            node=leaf,
            request=Request(
                messages=messages,
                temperature=config.temperature,
                seed=derive_seed(config.seed, leaf, "expand", agent, tries),
                json_schema=thoughts_schema(config.width),
            ),
        )
        for agent in agents
    ]


def merge_call(
    problem: Problem, tree: Tree, leaf: str, proposals: Sequence[Thought], agent: str, config: SearchConfig
) -> Call:
    """Asks one agent for one thought made of all proposals."""
    return Call(
        agent=agent,
        purpose="merge",
        node=leaf,
        request=Request(
            messages=merge_thoughts(problem, thoughts_of(tree, leaf), proposals),
            temperature=config.temperature,
            seed=derive_seed(config.seed, leaf, "merge", agent, tree[leaf].expanded),
            json_schema=thoughts_schema(1),
        ),
    )


def read_thoughts(answer: Answer, width: int) -> tuple[Thought, ...]:
    """The thoughts in a reply; empty where it cannot be read.

    A missing or absurd rating becomes 0.5; an item without text is left out, and the last one of a
    reply that was cut off, which may be half of it. A list in prose is read where there is no JSON.
    """
    if answer.reply is None:
        return ()
    text = answer.reply.text
    items = [item for item in map(_fields, _items(parse_json(text))) if item] or _listed(text)
    if answer.reply.truncated and not is_whole_json(text):
        items = items[:-1]
    ratings = read_ratings(rating for _, rating in items)
    return tuple(
        Thought(text=thought, agent=answer.call.agent, prior=0.5 if rating is None else rating)
        for (thought, _), rating in zip(items, ratings, strict=True)
    )[:width]


def _items(value: Any) -> list[Any]:
    """The list of thoughts, in whatever wrapping, or where the reply left its wrapping out."""
    inner: Any = under(value, "thoughts")
    if inner is None:
        inner = cast("Any", value) if isinstance(value, dict | list) else []
    if not isinstance(inner, dict):
        return cast("list[Any]", inner) if isinstance(inner, list) else [inner]
    fields = cast("dict[str, Any]", inner)
    if _fields(fields):
        return [fields]
    # Numbered, such as {"1": {...}, "2": {...}}, or in a list of another name.
    groups: list[Any] = [own if isinstance(own, list) else [own] for own in fields.values()]
    return [item for group in groups for item in group if isinstance(item, dict)]


def _lowered(fields: dict[str, Any]) -> dict[str, Any]:
    return {str(key).strip().lower(): value for key, value in fields.items()}


def _fields(item: Any) -> tuple[str, Any] | None:
    """The text of a thought and its rating."""
    fields = _lowered(cast("dict[str, Any]", item)) if isinstance(item, dict) else {"thought": item}
    text = fields.get("thought")
    if not isinstance(text, str) or not text.strip():
        return None
    return text.strip(), fields.get("reasonableness", fields.get("rating"))


def _listed(text: str) -> list[tuple[str, Any]]:
    """The items of a list in prose, with the ratings that stand behind them in brackets."""
    items: list[tuple[str, Any]] = []
    for found in _ITEM.finditer(strip_thinking(text)[-MAX_CHARS:]):
        thought, rating = found["text"].replace("**", "").strip(), None
        if rated := _RATED.search(thought):
            thought, rating = thought[: rated.start()].strip(), rated["rating"]
        if len(thought.split()) >= _FEWEST_WORDS:
            items.append((thought, rating))
    return items


def interleave(proposals: Iterable[Sequence[Thought]]) -> list[Thought]:
    """One of each agent in turn, so that ties in selection favour no agent."""
    turns = zip_longest(*proposals)
    return [thought for turn in turns for thought in turn if thought is not None]


def add_children(tree: Tree, leaf: str, proposals: Iterable[Thought], config: SearchConfig) -> Tree:
    """Adds a child for each thought that none of its siblings has.

    Args:
        tree: The search tree.
        leaf: The node that was expanded.
        proposals: New thoughts, in the order of the children.
        config: The published walk adds near copies, too.
    """
    if config.policy != "paper":
        return _add_new(tree, leaf, proposals)
    node = tree[leaf]
    known = {_plain(thought) for key in node.children if (thought := tree[key].thought)}
    children = list(node.children)
    for thought in proposals:
        if _plain(thought) in known:
            continue
        known.add(_plain(thought))
        child = Node(id=f"{leaf}.{len(children)}", parent=leaf, thought=thought)
        children.append(child.id)
        tree = tree.with_nodes(child)
    return tree.change(leaf, children=tuple(children), expanded=node.expanded + 1)


def _add_new(tree: Tree, leaf: str, proposals: Iterable[Thought]) -> Tree:
    """Adds a child for each thought that says something new; see `repeats`."""
    node = tree[leaf]
    known = [words_of(thought.text) for thought in thoughts_near(tree, leaf)]
    children = list(node.children)
    for thought in proposals:
        words = words_of(thought.text)
        if repeats(words, known):
            continue
        known.append(words)
        child = Node(id=f"{leaf}.{len(children)}", parent=leaf, thought=thought)
        children.append(child.id)
        tree = tree.with_nodes(child)
    # Agents that have only told again what was known are asked once more, however many children there are.
    before = node.expanded if len(children) > len(node.children) else max(node.expanded, len(children))
    return tree.change(leaf, children=tuple(children), expanded=before + 1)


def _plain(thought: Thought) -> str:
    """The text without case, punctuation and spacing."""
    return re.sub(r"\W+", " ", thought.text.casefold()).strip()
