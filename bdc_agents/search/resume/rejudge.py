"""Rejudge: what a tree says once its programs were run on other tests."""

from collections import Counter
from collections.abc import Mapping
from math import fsum

from bdc_agents.config import SearchConfig
from bdc_agents.search.nodes.execute import outcome_of
from bdc_agents.types import Attempt, Node, Program, Tree


def rejudged(tree: Tree, programs: Mapping[str, Program], config: SearchConfig) -> Tree:
    """The tree with new rewards of its programs, and the values that follow from them.

    What was pruned or closed is open again, as other tests decided that; counts of visits stay.

    Args:
        tree: The tree of a search.
        programs: Its programs with their new verdicts, by key.
        config: Carries gamma.
    """
    nodes = {node.id: _again(node, programs) for node in tree.nodes()}
    best: dict[str, float] = {}
    for node in reversed(nodes.values()):  # Children stand behind their parents.
        below = [config.gamma * best[child] for child in node.children if child in best]
        own = [node.value] if node.value is not None else []
        if own or below:
            best[node.id] = max(own + below)
    return tree.with_nodes(
        *(
            node.model_copy(update={"best_return": best.get(node.id, 0.0)}) if node.returns else node
            for node in nodes.values()
        )
    )


def passing_of(tree: Tree, before: Mapping[str, int]) -> dict[str, int]:
    """How often each program that passes was written.

    Args:
        tree: With the new rewards.
        before: The counts of those that have passed at some time, which know better what an agent found a
            second time; of a program that never did, what an agent wrote twice at a node counts once.
    """
    found: Counter[str] = Counter()
    for node in tree.nodes():
        found.update(attempt.program for attempt in dict.fromkeys(node.attempts) if attempt.reward >= 1)
    return {key: before.get(key, times) for key, times in found.items()}


def _again(node: Node, programs: Mapping[str, Program]) -> Node:
    attempts = tuple(_attempt(attempt, programs) for attempt in node.attempts)
    # Those for the last thought stand last; a refined thought's programs no longer count.
    counted = attempts[len(attempts) - node.written :] if node.written else ()
    value = fsum(one.reward for one in counted) / len(counted) if counted else node.value
    return node.model_copy(update={"attempts": attempts, "value": value, "pruned": False, "closed": False})


def _attempt(attempt: Attempt, programs: Mapping[str, Program]) -> Attempt:
    program = programs.get(attempt.program)
    if program is None or program.verdict is None:
        return attempt
    return attempt.model_copy(update={"reward": program.reward, "outcome": outcome_of(program)})
