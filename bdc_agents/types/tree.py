"""The search tree: frozen nodes, and a tree that patches change."""

from collections.abc import Mapping
from operator import attrgetter
from typing import Any, Literal

from pydantic import Field

from bdc_agents.types.base import Count, Frozen, Number
from bdc_agents.types.program import ProgramOutcome


class Thought(Frozen):
    """One step of reasoning, the agent that wrote it, and its prior P in [0, 1]."""

    text: str
    agent: str
    prior: float = Field(default=1.0, ge=0.0, le=1.0)


Kind = Literal["answer", "think", "write", "repair", "rethink", "split"]
"""`answer`: a program for the problem alone; `think`: thoughts that continue a path; `write`: a program for
a path; `repair`: a diagnosis and a program, from the facts of failing tests and the old code; `rethink`:
likewise, from the facts alone; `split`: the expected output on an input on which programs that pass
differ."""


class Move(Frozen):
    """What an agent does next.

    Args:
        node: Where it starts: whose path is answered, continued or mended.
        program: Key of the program that is mended; empty for other moves.
        before: Outcome of that program, or of the best one that the path has; empty where there is none.
        gain: What was believed of it: the chance that its program passes, and what a failed one would add.
    """

    kind: Kind
    agent: str
    node: str
    program: str = ""
    before: str = ""
    gain: Number = 0.0


class Attempt(Frozen):
    """That an agent wrote a program for a node.

    Args:
        program: Its key among the search's programs.
        agent: The coder.
        author: Who wrote the last thought of the path; empty for a direct answer.
        reward: Share of public tests passed.
        refined: Whether it was written for the refined thought.
        outcome: What its tests gave; empty in what older versions wrote.
    """

    program: str
    agent: str
    author: str = ""
    reward: Number
    refined: bool = False
    outcome: ProgramOutcome | Literal[""] = ""


class Node(Frozen):
    """A state of the search: the path of thoughts that ends here.

    Args:
        id: Path of child numbers from the root, such as `0.2.1`.
        thought: The last thought of the path; None at the root.
        visits: N(s), which starts at 1.
        returns: n(a), how many returns were backed up through this node.
        best_return: Q(a), the largest of them.
        value: V, the mean reward of all programs of all agents; None until evaluated.
        written: How many programs V is the mean of.
        evaluations: How often programs were written for this path.
        attempts: The programs written for this path.
        refined: The thought that reflection replaced, None if it did not.
        expanded: How often agents were asked for children.
        pruned: Taken out of selection by reflection.
        closed: Nothing below is left to select.
        mends: Key of the program of the node above that this one began from, where it is a repair.
        kind: The move that made the node, where it is a repair.
    """

    id: str = "0"
    parent: str | None = None
    children: tuple[str, ...] = ()
    thought: Thought | None = None
    visits: Count = 1
    returns: Count = 0
    best_return: Number = 0.0
    value: Number | None = None
    written: Count = 0
    evaluations: Count = 0
    attempts: tuple[Attempt, ...] = Field(default=(), fail_fast=True)
    refined: Thought | None = None
    expanded: Count = 0
    pruned: bool = False
    closed: bool = False
    mends: str = ""
    kind: Literal["", "repair", "rethink"] = ""

    @property
    def depth(self) -> int:
        """Number of thoughts on the path."""
        return self.id.count(".")

    @property
    def best(self) -> Attempt | None:
        """The attempt with the highest reward, the earliest of equals."""
        return max(self.attempts, key=lambda attempt: attempt.reward, default=None)

    @property
    def passes(self) -> bool:
        """Whether a program for this path passes every public test."""
        return max(map(_reward, self.attempts), default=0.0) >= 1


_reward = attrgetter("reward")
_GROWING = ("children", "attempts")
"""Fields of a node that are only ever added to."""


class _Stored(dict[str, Any]):
    """A node, or a patch of one, as plain data that still knows the node until it is stored on disk.

    Args:
        data: The fields.
        node: The node that the fields give, or the patch once it is applied.
        before: The node that the patch was made from.
    """

    __slots__ = ("before", "node")

    def __init__(self, data: Mapping[str, Any], node: Node, before: Node | None = None) -> None:
        super().__init__(data)
        self.node, self.before = node, before


def patch_of(before: Node | None, node: Node) -> dict[str, Any]:
    """The changes as plain data: fields with new values, and under `more` the items that fields gained.

    So the patch of a node with a thousand attempts is as small as that of any other.
    """
    if before is None:
        return _Stored(node.model_dump(mode="json"), node)
    old, new = before.__dict__, node.__dict__
    changed = {name for name in new if _differs(old[name], new[name])}
    grown = {name for name in changed.intersection(_GROWING) if new[name][: len(old[name])] == old[name]}
    patch = node.model_dump(mode="json", include=changed - grown)
    if grown:
        kept = {name: new[name][len(old[name]) :] for name in grown}
        patch["more"] = Node.model_construct(**kept).model_dump(mode="json", include=grown)
    return _Stored(patch, node, before)


def _differs(old: Any, new: Any) -> bool:
    return old is not new and old != new


def apply_patch(stored: Mapping[str, Any] | None, patch: Mapping[str, Any]) -> dict[str, Any]:
    """A node's fields after a patch of `patch_of`, or any other fields, is applied to them."""
    fields = {**(stored or {}), **patch}
    for name, items in fields.pop("more", {}).items():
        fields[name] = [*(stored or {}).get(name, ()), *items]
    if not isinstance(patch, _Stored):
        return fields
    # If two patches of one step meet, the result is neither of their nodes.
    apart = isinstance(stored, _Stored) and stored.node is not patch.before
    return fields if apart else _Stored(fields, patch.node)


class Tree:
    """A tree of nodes, which are read by id and changed by patches.

    The nodes stay plain dicts of a graph's state and are parsed on first use, so that the cost of a step
    depends on the nodes it touches, not on the tree.

    Args:
        stored: Node dicts by id, never changed.
        patched: Nodes that differ from `stored`.
    """

    __slots__ = ("_parsed", "_patched", "_stored")

    def __init__(
        self,
        stored: Mapping[str, Mapping[str, Any]] | None = None,
        patched: Mapping[str, Node] | None = None,
    ) -> None:
        self._stored = stored or {}
        self._patched = dict(patched or {})
        self._parsed: dict[str, Node] = {}

    def __getitem__(self, node_id: str) -> Node:
        return self._patched.get(node_id) or self._parsed.get(node_id) or self._before(node_id)

    def _before(self, node_id: str) -> Node:
        """The node without the patches."""
        node = self._parsed.get(node_id)
        if node is None:
            stored = self._stored[node_id]
            node = stored.node if isinstance(stored, _Stored) else Node.model_validate(stored)
            self._parsed[node_id] = node
        return node

    def __contains__(self, node_id: str) -> bool:
        return node_id in self._patched or node_id in self._stored

    def __len__(self) -> int:
        return len(self._stored) + sum(key not in self._stored for key in self._patched)

    def with_nodes(self, *nodes: Node) -> "Tree":
        """A tree in which these nodes replace, or join, those of the same id."""
        tree = Tree(self._stored, self._patched | {node.id: node for node in nodes})
        tree._parsed = self._parsed  # Of the same stored nodes, so that each is parsed once.
        return tree

    def change(self, node_id: str, **fields: Any) -> "Tree":
        """A tree in which one node has other values in these fields."""
        return self.with_nodes(self[node_id].model_copy(update=fields))

    def patches(self) -> dict[str, dict[str, Any]]:
        """What changed of each node, as plain dicts: what a graph writes to its state."""
        return {
            key: patch_of(self._before(key) if key in self._stored else None, node)
            for key, node in self._patched.items()
        }

    def path(self, node_id: str) -> tuple[Node, ...]:
        """The nodes from the root to this one, both included."""
        steps = node_id.split(".")
        return tuple(self[".".join(steps[: i + 1])] for i in range(len(steps)))

    def nodes(self) -> tuple[Node, ...]:
        """Every node, parents before children and siblings in order: for reports."""
        keys = {*self._stored, *self._patched}
        return tuple(self[key] for key in sorted(keys, key=lambda k: [int(s) for s in k.split(".")]))
