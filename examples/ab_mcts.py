"""A policy of one's own: AB-MCTS-A (arXiv 2503.04412) over two agents.

    python examples/ab_mcts.py AGENT OTHER_AGENT

At each program it draws, by Thompson sampling, between a new one that mends it and each that did so before. A
policy is a function of the tree: the same tree gives the same moves, so that a search can be resumed.
"""

import asyncio
import sys
from collections.abc import Sequence
from random import Random
from typing import Any

from bdc_agents import Budget, SearchConfig, create_search_graph, load_agents, load_task
from bdc_agents.search.policy.beliefs import Outlook
from bdc_agents.search.policy.moves import Left
from bdc_agents.types import Attempt, Move, Node, Tree

Place = tuple[Node, Attempt | None]
"""A program and its node; None where direct answers are given."""


def ab_mcts(tree: Tree, _outlook: Outlook, left: Left, config: SearchConfig) -> list[Move]:
    """As many moves as a round may make."""
    random = Random(f"{config.seed} {tree['0'].visits}")
    return [descend(tree, random, left.agents) for _ in range(left.count)]


def descend(tree: Tree, random: Random, agents: Sequence[str]) -> Move:
    """Down from the root to where a new program is drawn before every one that is there."""
    node, attempt = tree["0"], None
    while below := branches(tree, (node, attempt)):
        draws = [draw(rewards(tree, place), random) for place in below]
        if draw([rewards(tree, place)[0] for place in below], random) >= max(draws):
            break
        node, attempt = below[draws.index(max(draws))]
    agent = random.choice(agents)
    if attempt is None or attempt.outcome == "pass":
        return Move(kind="answer", agent=agent, node="0")
    return Move(kind="repair", agent=agent, node=node.id, program=attempt.program, before=attempt.outcome)


def branches(tree: Tree, place: Place) -> list[tuple[Node, Attempt]]:
    """The programs that mend one; the direct answers at the root."""
    node, attempt = place
    if attempt is None:
        return [(node, one) for one in node.attempts if one.program]
    children = [tree[key] for key in node.children if tree[key].mends == attempt.program]
    return [(child, child.attempts[0]) for child in children if child.attempts]


def rewards(tree: Tree, place: tuple[Node, Attempt]) -> list[float]:
    """Of a program, and of all that mend it."""
    return [place[1].reward, *(one for below in branches(tree, place) for one in rewards(tree, below))]


def draw(rewards: Sequence[float], random: Random) -> float:
    """A draw of how good the next one will be."""
    return random.betavariate(0.1 + sum(rewards), 0.1 + len(rewards) - sum(rewards))


async def main(*agents: str) -> None:
    graph = create_search_graph(load_agents(names=agents), budget=Budget(calls=16), policy=ab_mcts)
    problem = load_task("demo:longest-streak").problem.model_dump(mode="json")
    state: Any = await graph.compile().ainvoke({"problem": problem})
    solution = state["solution"]
    print("solved" if solution["solved"] else "not solved", "after", solution["tree"]["programs"], "programs")


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
