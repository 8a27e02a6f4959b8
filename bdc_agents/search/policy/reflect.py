"""Reflect: refine a thought that did not help, and prune it where it still does not."""

from collections.abc import Mapping, Sequence

from bdc_agents.agents.protocol import Request
from bdc_agents.config import SearchConfig
from bdc_agents.prompts import refine_thought, thoughts_schema
from bdc_agents.search.nodes.path import latest_program, teaches, thoughts_of
from bdc_agents.search.round.calls import Call, derive_seed
from bdc_agents.search.state import Json
from bdc_agents.types import Node, Problem, Thought, Tree


def did_not_help(tree: Tree, node_id: str) -> bool:
    """Whether nothing that a thought led to is better than its parent, while some public test still fails.

    A root that was not evaluated counts as 0. A node with a program that passes all tests has
    helped, whatever its mean; and so has one below which any other node has helped.
    """
    node = tree[node_id]
    if node.parent is None or node.value is None:
        return False
    before = tree[node.parent].value or 0.0
    below = [node]
    while below:
        one = below.pop()
        if one.passes or (one.value or 0.0) > before:
            return False
        below += map(tree.__getitem__, one.children)
    return True


def may_change(node: Node) -> bool:
    """Whether the node's thought may still be replaced: once, and only where nothing hangs below it."""
    return node.thought is not None and node.refined is None and not node.children


def can_refine(node: Node, config: SearchConfig) -> bool:
    """Whether there is a failed program to learn from, no refinement yet, and no child.

    What hangs below a thought was thought of after it, and would not follow from another one.
    """
    return may_change(node) and any(teaches(attempt, config) for attempt in node.attempts)


def refine_call(
    problem: Problem,
    tree: Tree,
    node_id: str,
    programs: Mapping[str, Json],
    agents: Sequence[str],
    config: SearchConfig,
) -> Call | None:
    """Asks an agent other than the thought's author, where there is one, for a better thought."""
    node = tree[node_id]
    best = latest_program(tree, node_id, programs, config)
    if node.thought is None or best is None or not agents:
        return None
    author = node.thought.agent
    others = [agent for agent in agents if agent != author] or list(agents)
    seed = derive_seed(config.seed, node_id, "refine")
    messages = refine_thought(problem, thoughts_of(tree, node_id), best, config.failures_shown)
    return Call(
        agent=others[seed % len(others)],
        purpose="refine",
        node=node_id,
        request=Request(
            messages=messages, temperature=config.temperature, seed=seed, json_schema=thoughts_schema(1)
        ),
    )


def refine(tree: Tree, node_id: str, better: Thought) -> Tree:
    """Replaces the last thought of a leaf, which is evaluated afresh and keeps its prior and attempts."""
    node = tree[node_id]
    if node.thought is None or node.children:
        return tree
    thought = better.model_copy(update={"prior": node.thought.prior})
    return tree.change(node_id, thought=thought, refined=node.thought, value=None, written=0, evaluations=0)


def prune(tree: Tree, node_id: str) -> Tree:
    """Takes a node out of selection, unless it is the last live child of its parent."""
    node = tree[node_id]
    if node.parent is None:
        return tree
    siblings = (tree[key] for key in tree[node.parent].children if key != node_id)
    if not any(not (sibling.pruned or sibling.closed) for sibling in siblings):
        return tree
    return tree.change(node_id, pruned=True)
