"""By hand: what a person changes in a search that nobody asked them about, and where it goes on.

A search is stopped, its state is changed by these functions, and it goes on from there. What a person does is
kept in the form of their decisions in `review`: the trace tells who did it, and whoever thinks on at a node
reads what is not wanted there.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from bdc_agents.errors import UsageError, unknown
from bdc_agents.search.resume.origin import budget_of
from bdc_agents.search.review.decisions import recorded, with_records
from bdc_agents.search.review.questions import (
    CAPS,
    Ask,
    Decided,
    about_budget,
    about_thought,
    caps_after,
    read_decisions,
    reviewed,
    text_of,
    vetoed,
)
from bdc_agents.search.round.budget import used_of
from bdc_agents.search.state import Json, SearchState
from bdc_agents.types import Node, Tree

Changes = Json
"""What changes in the state, as a node of the graph would write it."""
ANEW = "backpropagate"
"""The node after which a round is planned anew."""
_AFTER: dict[tuple[str, ...], str] = {
    # What agents were paid for is kept.
    ("execute",): "boost",
    ("backpropagate",): "execute",
    # LangGraph would take the node that ran last, though the step was changed before.
    ("select",): ANEW,
    # Calls of a round that were not answered may be others after what a person did.
    ("expand",): ANEW,
    ("boost",): ANEW,
    ("boost", "expand"): ANEW,
    # It ends once more, unless there is something to do now.
    ("finish",): ANEW,
}


def edited(state: SearchState, node_id: Any, text: Any) -> Changes:
    """A thought of the person in place of another one.

    Programs and thoughts that followed from the old text did not follow from the new one. So where there are
    any, the old node stays as it is, vetoed, and the new text is a thought beside it.

    Raises:
        UsageError: If there is no such thought, or the text is none.
    """
    tree, node = _found(state, node_id)
    if node.thought is None or node.parent is None:
        raise UsageError(f"node {node_id} is the problem itself and has no thought; choose one below it")
    text = text_of(text, "the thought")
    if node.attempts or node.children:
        replaced = Decided(about_thought(node), "reject", f"in its place: {text}")
        return _changed(state, tree, _adds(tree[node.parent], text), replaced)
    return _changed(state, tree, Decided(about_thought(node), "edit", text))


def added(state: SearchState, parent: Any, text: Any) -> Changes:
    """A thought of the person below a node.

    Raises:
        UsageError: If there is no such node, or the text is none.
    """
    tree, node = _found(state, parent)
    return _changed(state, tree, _adds(node, text_of(text, "the thought")))


def refused(state: SearchState, node_id: Any, why: Any = None) -> Changes:
    """A branch taken out of selection; agents that think on beside it read why.

    Raises:
        UsageError: If there is no such thought, it is vetoed already, or the reason is too long.
    """
    tree, node = _found(state, node_id)
    if node.thought is None:
        raise UsageError(f"node {node_id} is the problem itself; a veto takes a thought below it")
    if node_id in vetoed(state):
        raise UsageError(f"node {node_id} is vetoed already")
    reason = text_of(why, "the reason") if why else ""
    changes = _changed(state, tree, Decided(about_thought(node), "reject", reason))
    return changes | {name: _without(state.get(name, []), node_id) for name in ("expanding", "refining")}


def _without(leaves: Sequence[str], branch: str) -> list[str]:
    """The leaves that are not in a branch, of those that the next round was to go on with."""
    return [leaf for leaf in leaves if not f"{leaf}.".startswith(f"{branch}.")]


def with_more(state: SearchState, more: Mapping[str, Any]) -> Changes:
    """Caps that let a search use so much more from here.

    Args:
        state: Of the search, with what it has used.
        more: By the names of the caps.

    Raises:
        UsageError: If an amount is none, or another cap still ends the search.
    """
    for name, amount in more.items():
        if name not in CAPS:
            raise UsageError(unknown("cap", name, CAPS))
        if isinstance(amount, bool) or not isinstance(amount, int | float) or not amount > 0:
            raise UsageError(f"{name} is how many more may be used, a number above 0, not {amount!r:.80}")
    used = used_of(state)
    caps = in_force(state) | {name: used[name] + amount for name, amount in more.items()}
    if {"calls", "tokens"} & more.keys() and "rollouts" not in more:
        caps.pop("rollouts", None)  # Both end a search by themselves, and are what the person has asked for.
    asks = about_budget({**state, "caps": caps}, used)
    edit = {"type": "edit", "edited_action": {"name": "budget", "args": caps}}
    [one] = read_decisions({"decisions": [edit]}, asks)
    caps = caps_after(one, used)
    reviews = with_records(state, [recorded(state, one, caps=caps)])
    return {"caps": caps, "reviews": reviews, **_planned_anew(state)}


def in_force(state: SearchState) -> dict[str, float]:
    """The caps of a search, by name: those that a person has set, else those that it began with."""
    if caps := state.get("caps"):
        return dict(caps)
    origin = state.get("origin", {})
    begun: dict[str, float] = budget_of(origin).model_dump(exclude_none=True)
    rollouts = origin.get("search.rollouts")
    return begun if rollouts is None else begun | {"rollouts": rollouts}


def reopened(state: SearchState) -> Changes:
    """What lets a search go on that has ended at its budget, or that a person has ended."""
    changes: Changes = {"stopped_by": None, **_planned_anew(state)}
    return changes if state.get("accepted") is None else changes | {"accepted": None}


def goes_on_after(following: Sequence[str]) -> str | None:
    """The node after which a search goes on that was changed in its midst; None for the one that ran last.

    Args:
        following: Its next steps before the change.
    """
    return _AFTER.get(tuple(sorted(following)))


def _planned_anew(state: SearchState) -> Changes:
    """What lets a round be planned although one to refine thoughts was."""
    return {"full": False} if state.get("full") else {}


def _found(state: SearchState, node_id: Any) -> tuple[Tree, Node]:
    tree = Tree(state.get("tree"))
    if not isinstance(node_id, str) or node_id not in tree:
        shown = node_id if isinstance(node_id, str) else repr(node_id)
        raise UsageError(unknown("node", shown[:80], state.get("tree", {})))
    return tree, tree[node_id]


def _adds(parent: Node, text: str) -> Decided:
    request = about_thought(parent).request if parent.thought else _ROOT
    return Decided(Ask("thoughts", request, ("respond",), parent.id), "respond", text)


_ROOT: Any = {"name": "thought", "args": {"node": "0", "text": "", "agent": ""}, "description": ""}


def _changed(state: SearchState, tree: Tree, *decided: Decided) -> Changes:
    """The tree after the decisions, open where something is to be tried, and their records."""
    for one in decided:
        if one.type != "reject":
            tree = _opened(state, tree, one.ask.node)
    tree = reviewed(tree, decided)
    records = [recorded(state, one) for one in decided]
    return {"tree": tree.patches(), "reviews": with_records(state, records), **_planned_anew(state)}


def _opened(state: SearchState, tree: Tree, node_id: str) -> Tree:
    """The tree in which selection comes to a node: what the search has pruned or closed above it is open.

    Raises:
        UsageError: If the person has vetoed it, or a node above it.
    """
    no = vetoed(state)
    for node in tree.path(node_id):
        if node.id in no:
            raise UsageError(f"node {node.id} is vetoed, so nothing below it is tried; choose another branch")
        if node.pruned or node.closed:
            tree = tree.change(node.id, pruned=False, closed=False)
    return tree
