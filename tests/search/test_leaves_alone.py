"""Over random searches: only leaves are refined, and nothing is pruned below which something is better."""

from collections.abc import Callable
from random import Random
from typing import Any

from bdc_agents.agents.protocol import Request
from bdc_agents.config import Budget, SearchConfig
from bdc_agents.search import asolve
from bdc_agents.testing import ScriptedAgent, ScriptedExecutor
from bdc_agents.types import Node, Problem

from .conftest import answer, digest


class Watcher:
    """Follows the tree by its events, and looks at every thought that is replaced or given up."""

    def __init__(self) -> None:
        self.nodes: dict[str, Node] = {}
        self.refined = self.pruned = 0

    def on_event(self, event: dict[str, Any]) -> None:
        if event["type"] != "node":
            return
        node = Node.model_validate(event["node"])
        before = self.nodes.get(node.id)
        self.nodes[node.id] = node
        if before and before.thought != node.thought:
            self.refined += 1
            assert not before.children
            assert not node.children
        if node.pruned and before and not before.pruned:
            self.pruned += 1
            parent = self.nodes[node.parent or "0"].value or 0.0
            below = [one for key, one in self.nodes.items() if f"{key}.".startswith(f"{node.id}.")]
            assert all((one.value or 0.0) <= parent and not one.passes for one in below)


def random_case(random: Random) -> SearchConfig:
    preset = random.choice(["default", "default", "paper"])
    return SearchConfig.preset(
        preset,
        expand=random.choice(["lazy", "eager"]),
        leaves=random.choice([None, 1, 4]),
        resample=random.choice([0.0, 0.25, 0.8]),
        widening=random.random() < 0.5,
        learn_from="all",
        width=2,
        rollouts=60,
        seed=random.randrange(10**6),
    )


async def test_nodes_with_children_keep_their_thought(
    make_executor: Callable[..., ScriptedExecutor], problem: Problem
) -> None:
    random, watchers = Random(3), list[Watcher]()
    for _ in range(24):
        search, watcher = random_case(random), Watcher()
        watchers.append(watcher)

        def respond(request: Request, seed: int = search.seed) -> str:
            return answer("ann", request.model_copy(update={"seed": digest(seed, request.seed)}))

        await asolve(
            problem,
            [ScriptedAgent("ann", respond), ScriptedAgent("bob", respond)],
            executor=make_executor(3),
            search=search,
            budget=Budget(calls=60),
            on_event=watcher.on_event,
        )
    assert sum(watcher.refined for watcher in watchers) > 20
    assert sum(watcher.pruned for watcher in watchers) > 20
