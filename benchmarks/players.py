"""Searches that play in the simulated world: policies that choose moves in a tree, and the search graph."""

import asyncio
import random
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from simulated import Idea, Program, World
from simulated_agents import Crowd

from bdc_agents.config import Budget, SearchConfig
from bdc_agents.search import create_search_graph
from bdc_agents.search.nodes.backpropagate import backpropagate
from bdc_agents.search.nodes.execute import evaluate
from bdc_agents.search.policy.beliefs import MENDS, Beliefs, Outlook, Told
from bdc_agents.search.policy.moves import Left, plan
from bdc_agents.types import Attempt, Move, Node, Thought, Tree

if TYPE_CHECKING:
    from allocation import Group, Options, Rows

ROOT = "0"


class Played(NamedTuple):
    """A search.

    Args:
        public: Whether a program passes the public tests.
        hidden: Whether the one that is handed over passes the hidden tests.
        calls: That it took.
        depth: Of the deepest program, where it was played in a graph.
        shared: Whether the program that is handed over passes and has several agents to thank, those of its
            path and its own; likewise.
    """

    public: bool
    hidden: bool
    calls: int
    depth: int = 0
    shared: bool = False


class Policy(Protocol):
    """Chooses moves. `known` is what it believes from other problems, `told` what came out at this one."""

    def start(self) -> Any: ...
    def plan(self, tree: Tree, known: Any, told: Sequence[Told], left: Left, seed: int) -> Sequence[Any]: ...
    def tell(self, known: Any, told: Sequence[Told]) -> Any: ...


Mixes = dict[tuple[str, int], Counter[str]]
"""What searches spent their calls on, by kind of move."""


def mix(worlds: Sequence[World]) -> Counter[str]:
    """What the calls for these problems were."""
    return sum((world.calls for world in worlds), Counter[str]())


# --- without a graph ----------------------------------------------------------------------------------


def searched(
    world: World, policy: Policy, known: Any, seed: int, calls: int, at_once: int, told: list[Told]
) -> Iterator[Program | None]:
    """Plays a policy's moves; what came out is added to `told`."""
    tree, passing, tries = Tree().with_nodes(Node()), 0, Counter[tuple[str, ...]]()
    while True:
        left = Left([*world.setting.agents], calls, 1 if passing else at_once, passing > 0)
        moves = policy.plan(tree, known, told, left, seed)
        if not moves:
            return
        for move in moves:
            calls -= 1
            tree, program = _played(tree, move, world)
            if program:
                passing += program.passes
                what = (move.kind, move.agent, move.before)
                told.append(Told(*what, program.outcome, tries[what]))
                tries[what] += 1
            yield program


def _played(tree: Tree, move: Any, world: World) -> tuple[Tree, Program | None]:
    """The tree after a move, and the program that it gave."""
    path = [_idea_of(node.thought, world) for node in tree.path(move.node) if node.thought]
    if move.kind == "think":
        for idea in world.think(move.agent, path):
            tree, _ = _child(tree, move, idea)
        return tree.change(move.node, expanded=tree[move.node].expanded + 1), None
    leaf = move.node
    if move.kind in MENDS:
        idea, program = getattr(world, move.kind)(move.agent, world.programs[int(move.program)])
        around = (tree[leaf], *map(tree.__getitem__, tree[leaf].children))
        # A program that stands there already is no new state.
        if str(program.number) not in {attempt.program for node in around for attempt in node.attempts}:
            tree, leaf = _child(tree, move, idea)
    else:
        program = world.write(move.agent, path)
    thought = tree[leaf].thought
    attempt = Attempt(
        program=str(program.number),
        agent=move.agent,
        author=thought.agent if thought else "",
        reward=program.reward,
        outcome=program.outcome,
    )
    return backpropagate(evaluate(tree, leaf, [attempt], {}), leaf, SearchConfig()), program


def _child(tree: Tree, move: Any, idea: Idea) -> tuple[Tree, str]:
    parent = tree[move.node]
    key = f"{parent.id}.{len(parent.children)}"
    text = f"{idea.number}, wording {len(parent.children)}"
    thought = Thought(text=text, agent=move.agent, prior=idea.rating)
    child = Node(id=key, parent=parent.id, thought=thought, mends=move.program)
    if move.kind in MENDS:
        child = child.model_copy(update={"kind": move.kind})
    return tree.with_nodes(child).change(parent.id, children=(*parent.children, key)), key


def _idea_of(thought: Thought, world: World) -> Idea:
    return world.ideas[int(thought.text.split(",")[0])]


class Arms:
    """A yardstick: an arm for each move and agent, drawn by Thompson sampling; no tree, no pooling."""

    def start(self) -> dict[tuple[str, str, str], tuple[float, float]]:
        return {}

    def tell(self, known: Any, told: Sequence[Told]) -> Any:
        known = dict(known)
        for kind, agent, before, after, _ in told:
            won, lost = known.get((kind, agent, before), (0.0, 0.0))
            known[kind, agent, before] = (won + (after == "pass"), lost + (after != "pass"))
        return known

    def plan(self, tree: Tree, known: Any, told: Sequence[Told], left: Left, seed: int) -> Sequence[Move]:
        here = self.tell(known, told)
        thoughts = [node for node in map(tree.__getitem__, tree[ROOT].children) if not node.mends]
        fresh = [node for node in thoughts if not node.attempts]
        if fresh and tree[ROOT].expanded > len(thoughts) - len(fresh):
            best = max(fresh, key=lambda node: node.thought.prior if node.thought else 0.0)
            _, agent, _ = self._best("write", [""], here, left, seed, len(told))
            return [Move(kind="write", agent=agent, node=best.id)]
        failed = _to_mend(tree)
        outcomes = ["", failed[1].outcome] if failed else [""]
        kind, agent, before = self._best("answer write repair rethink", outcomes, here, left, seed, len(told))
        if before and failed:
            node, attempt = failed
            return [Move(kind=kind, agent=agent, node=node, program=attempt.program, before=before)]
        return [Move(kind="think" if kind == "write" else kind, agent=agent, node=ROOT)]

    def _best(
        self, kinds: str, outcomes: Sequence[str], here: Any, left: Left, *seed: int
    ) -> tuple[str, str, str]:
        source = random.Random(repr(seed))
        arms = [
            (kind, agent, before)
            for kind in kinds.split()
            for before in outcomes
            for agent in left.agents
            if bool(before) == (kind in MENDS)
        ]

        def worth(arm: tuple[str, str, str]) -> float:
            won, lost = here.get(arm, (0.0, 0.0))
            # A program for a thought takes two calls.
            return source.betavariate(1 + won, 3 + lost) / (2 if arm[0] == "write" else 1)

        return max(arms, key=worth)


def _to_mend(tree: Tree) -> tuple[str, Attempt] | None:
    """The deepest failing program of the best outcome, behind its node."""
    failed = [
        (("error", "wrong", "part").index(attempt.outcome), node.depth, number, node.id, attempt)
        for number, node in enumerate(tree.nodes())
        for attempt in node.attempts
        if attempt.reward < 1
    ]
    if not failed:
        return None
    *_, node, attempt = max(failed, key=lambda one: one[:3])
    return node, attempt


class Walking:
    """The search's own choice of moves, without its graph."""

    def start(self) -> Any:
        return Beliefs()

    def tell(self, known: Any, told: Sequence[Told]) -> Any:
        return known.tell(told)

    def plan(self, tree: Tree, known: Any, told: Sequence[Told], left: Left, seed: int) -> Sequence[Any]:
        del seed
        return plan(tree, Outlook(known, self.start().tell(told)), left, SearchConfig())


POLICIES: dict[str, Any] = {"arms": Arms, "walk": Walking}


# --- the search graph ---------------------------------------------------------------------------------


BLOCK = 10
"""Problems that start from the same beliefs, as those of a run do that are searched at once."""


def graph(group: "Group", options: "Options") -> "tuple[Rows, Mixes]":
    """The search graph with its default settings, with beliefs from other problems and without."""
    mixes: Mixes = {}
    rows: dict[str, Any] = (
        {"cold": {}, "warm": {}} if "beliefs" in SearchConfig.model_fields else {"cold": {}}
    )
    for calls in options.calls:
        test = group.worlds("test", options.problems)
        rows["cold"][calls], _ = asyncio.run(_graph(test, options, calls, {}))
        mixes["cold", calls] = mix(test)
        if "warm" in rows:
            known: Any = Walking().start()
            worlds = group.worlds("known", options.known)
            for start in range(0, len(worlds), BLOCK):
                block = worlds[start : start + BLOCK]
                _, told = asyncio.run(_graph(block, options, calls, known.model_dump(), start))
                for one in told:
                    fields = one if "counts" in one else {"counts": one}
                    known = known.plus(known.__class__.model_validate(fields))
            known = known.model_dump()
            test = group.worlds("test", options.problems)
            rows["warm"][calls], _ = asyncio.run(_graph(test, options, calls, known))
            mixes["warm", calls] = mix(test)
    return rows, mixes


async def _graph(
    worlds: Sequence[World], options: "Options", calls: int, known: Any, first: int = 0
) -> tuple[list[Played], list[Any]]:
    """Searches some problems that start from the same beliefs.

    Returns:
        What became of them, and what moves gave.
    """
    crowd, found, told = Crowd([*worlds[0].setting.agents]), list[Played](), list[Any]()
    fields: dict[str, Any] = {"confirm": options.confirm} | ({"beliefs": known} if known else {})
    app: Any = create_search_graph(
        crowd.agents, executor=crowd, search=SearchConfig(**fields), budget=Budget(calls=calls)
    ).compile()
    for number, world in enumerate(worlds, first):
        problem = crowd.ask_about(f"{number}", world)
        wanted = [key for key in ("solution", "tree", "told") if key in app.channels]
        state = await app.ainvoke({"problem": problem.model_dump(mode="json")}, output_keys=wanted)
        solution = state["solution"]
        program = crowd.handed_over(solution["code"])
        used = sum(usage["calls"] for usage in solution["usage"].values())
        tree = Tree(state["tree"])
        depth = max((node.depth for node in tree.nodes() if node.attempts), default=0)
        path = tree.path(solution["node"]) if solution["node"] else ()
        agents = {node.thought.agent for node in path if node.thought} | {solution["agent"]}
        shared = solution["solved"] and len(agents) > 1
        right = bool(program and program.right)
        assert used == world.calls.total(), "a call did not reach the world"
        found.append(Played(solution["solved"], right, used, depth, shared))
        told.append(state.get("told", {}))
    return found, told
