"""Expand: every agent proposes thoughts that continue a path."""

import re
from collections.abc import Iterable, Mapping, Sequence
from itertools import zip_longest
from typing import Any, cast

from bdc_agents.agents.protocol import Request
from bdc_agents.agents.replies import parse_json
from bdc_agents.config import SearchConfig
from bdc_agents.prompts import merge_thoughts, propose_thoughts, thoughts_schema
from bdc_agents.search.calls import Answer, Call, derive_seed
from bdc_agents.search.path import latest_program, thoughts_of
from bdc_agents.search.state import Json
from bdc_agents.types import Node, Problem, Thought, Tree


def expand_calls(
    problem: Problem,
    tree: Tree,
    leaf: str,
    programs: Mapping[str, Json],
    agents: Sequence[str],
    config: SearchConfig,
) -> list[Call]:
    """Asks each agent for `width` thoughts that continue the path to `leaf`."""
    previous = latest_program(tree, leaf, programs, config) if config.feedback else None
    messages = propose_thoughts(
        problem, thoughts_of(tree, leaf), previous, config.failures_shown, config.width
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

    A missing or absurd rating becomes 0.5; an item without text is left out.
    """
    if answer.reply is None:
        return ()
    items = _items(parse_json(answer.reply.text))
    thoughts = (_read_one(item, answer.call.agent) for item in items)
    return tuple(thought for thought in thoughts if thought)[:width]


def _items(value: Any) -> list[Any]:
    """The list of thoughts, also where the reply left its wrapping out."""
    if isinstance(value, dict):
        fields = cast("dict[str, Any]", value)
        inner = fields.get("thoughts", [fields] if "thought" in fields else [])
        return cast("list[Any]", inner) if isinstance(inner, list) else [inner]
    return cast("list[Any]", value) if isinstance(value, list) else []


def _read_one(item: Any, agent: str) -> Thought | None:
    if isinstance(item, str):
        item = {"thought": item}
    if not isinstance(item, dict):
        return None
    fields = cast("dict[str, Any]", item)
    text = fields.get("thought")
    if not isinstance(text, str) or not text.strip():
        return None
    return Thought(text=text.strip(), agent=agent, prior=_prior(fields.get("reasonableness")))


def _prior(rating: Any) -> float:
    if isinstance(rating, bool) or not isinstance(rating, int | float) or not 0 <= rating <= 1:
        return 0.5
    return float(rating)


def interleave(proposals: Iterable[Sequence[Thought]]) -> list[Thought]:
    """One of each agent in turn, so that ties in selection favour no agent."""
    turns = zip_longest(*proposals)
    return [thought for turn in turns for thought in turn if thought is not None]


def add_children(tree: Tree, leaf: str, proposals: Iterable[Thought]) -> Tree:
    """Adds a child for each thought that none of its siblings has.

    Args:
        tree: The search tree.
        leaf: The node that was expanded.
        proposals: New thoughts, in the order of the children.
    """
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


def _plain(thought: Thought) -> str:
    """The text without case, punctuation and spacing."""
    return re.sub(r"\W+", " ", thought.text.casefold()).strip()
