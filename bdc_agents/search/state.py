"""The state of the search graph: plain dicts in channels that store what changed.

The tree and the programs are delta channels, so a checkpoint grows with a step's changes and not
with the tree; a program's body is kept once, under the hash of its normalised code.
"""

from collections.abc import Callable, Sequence
from copy import deepcopy
from typing import Annotated, Any, ParamSpec, TypeVar

from pydantic import TypeAdapter
from typing_extensions import TypedDict

from bdc_agents.errors import UsageError
from bdc_agents.search.wiring import HEAVY
from bdc_agents.types import Problem, Program, Tree, Usage
from bdc_agents.types.tree import apply_patch

Json = dict[str, Any]
P = ParamSpec("P")
T = TypeVar("T")


def merge(state: Json, writes: Sequence[Json]) -> Json:
    """Later entries replace earlier ones of the same key."""
    merged = dict(state)
    for write in writes:
        merged.update(write)
    return merged


def merge_nodes(state: dict[str, Json], writes: Sequence[dict[str, Json]]) -> dict[str, Json]:
    """Lays patches over the nodes of a tree."""
    merged = dict(state)
    for write in writes:
        for key, patch in write.items():
            merged[key] = apply_patch(merged.get(key), patch)
    return merged


def _of_one(reducer: Callable[[Json, Sequence[Json]], Json]) -> Callable[[Json, Json], Json]:
    """The reducer as an ordinary channel calls it, with one write at a time."""
    return lambda state, write: reducer(state, [write])


def _patches(reducer: Callable[[Json, Sequence[Json]], Json]) -> Any:
    """A channel of patches; an ordinary reducer where langgraph has no delta channel."""
    try:
        from langgraph.channels import DeltaChannel  # pyright: ignore[reportMissingTypeStubs]
    except ImportError:
        return _of_one(reducer)
    return DeltaChannel[Json](reducer, snapshot_frequency=1000)


def add_usage(state: dict[str, Json], write: dict[str, Json] | list[dict[str, Json]]) -> dict[str, Json]:
    """Adds what each agent used.

    Args:
        state: Up to now, by agent.
        write: A list, as `news` makes one of a step's write, is added. Whoever edits a state says what
            it is to be: a dict replaces.
    """
    if isinstance(write, dict):
        return state | write
    for step in write:
        state = state | {
            name: (Usage.model_validate(state[name]) + Usage.model_validate(used)).model_dump()
            if name in state
            else used
            for name, used in step.items()
        }
    return state


def largest(state: dict[str, int], write: dict[str, int]) -> dict[str, int]:
    """The larger of two numbers of each key."""
    return state | {key: max(value, state.get(key, value)) for key, value in write.items()}


def later(state: float, write: float) -> float:
    """The larger of two clock readings: steps that run side by side both say how late it is."""
    return max(state, write)


class SearchInput(TypedDict):
    """What a caller passes: a `Problem` or its fields."""

    problem: Problem


class SearchOutput(TypedDict, total=False):
    """What a run returns: the `Solution`, and the tree, programs and calls that a trace is made of."""

    problem: Json
    solution: Json
    tree: Annotated[dict[str, Json], _patches(merge_nodes)]
    programs: Annotated[dict[str, Json], HEAVY, _patches(merge)]
    calls: Annotated[dict[str, Json], HEAVY, _patches(merge)]


class SearchState(SearchOutput, total=False):
    """Everything between the nodes.

    Args:
        origin: What decides what the search does; see `origin_of`.
        evaluating: Leaves of this round that need programs and a verdict.
        expanding: Leaves that need children; after a round, those that are due in the next one.
        refining: Leaves whose last thought did not help, and is refined before more programs.
        plan: The calls of this round; see `Plan`.
        full: Whether those to refine leave no room for other leaves in the next round.
        drafts: Programs written and not yet run.
        usage: By agent.
        failing: In how many rounds in a row an agent has failed, and why the last time, by agent.
        set_aside: Why an agent takes no further part, by agent.
        room: The token limit that an agent turned out to need, by agent.
        credit: By author of the last thought, then by coder: programs written, their total
            reward, and how many beat the parent's value.
        told: What moves gave in this search, as the fields of `Beliefs`.
        unanswered: How often a move was asked for in vain, by `KIND/BEFORE/AGENT`.
        rollouts: Leaves evaluated.
        best: The highest public reward so far.
        passing: How often each program that passes every public test was written.
        split: What an agent was asked where those differ, as the fields of `Split`; empty before.
        confirmed: Whether so many of them agree that the problem is solved.
        seconds: Wall time of finished steps, so that a pause before a resume does not count.
        reviews: What a person decided, in order, as the fields of `Review`.
        caps: Those on calls, tokens, money, seconds and rollouts that a person was shown or has set: they
            stand in place of the run's.
        accepted: Key of the program that a person took as the answer; empty where they ended the search
            without one, None where nobody did.
        tree_url: Address of the page that shows the tree, where there is one.
        steps: By checkpoint, how far the search was there; see `bdc_agents.search.resume.history`.
        passed: As `passing`, of those that have passed at some time, since a person may change tests back.
        outdated: Keys of programs from before a person's last wish in words, which tests may not show: only
            one that is written again is an answer.
    """

    origin: Json
    evaluating: list[str]
    expanding: list[str]
    refining: list[str]
    plan: Json
    full: bool
    drafts: Annotated[list[Json], HEAVY]
    usage: Annotated[dict[str, Json], add_usage]
    failing: Annotated[dict[str, Json], _of_one(merge)]
    set_aside: Annotated[dict[str, str], _of_one(merge)]
    room: Annotated[dict[str, int], largest]
    credit: dict[str, dict[str, list[float]]]
    told: dict[str, dict[str, list[float]]]
    unanswered: dict[str, int]
    rollouts: int
    best: float
    passing: dict[str, int]
    split: Json
    confirmed: bool
    seconds: Annotated[float, later]
    tier: str
    stopped_by: str | None
    reviews: list[Json]
    caps: dict[str, float]
    accepted: str | None
    tree_url: str
    steps: Annotated[dict[str, Json], _patches(merge)]
    passed: dict[str, int]
    outdated: list[str]


_STATE = TypeAdapter(SearchState)
_ADDED = ("tree", "programs", "calls", "usage", "failing", "set_aside", "room")
"""Parts of the state to which a step's write is added."""


def news(state: SearchState, changes: Json) -> Json:
    """Only what changes the state: every write of a step takes time, and room in its checkpoint."""
    changed = {
        key: value for key, value in changes.items() if value != ({} if key in _ADDED else state.get(key))
    }
    return changed | ({"usage": [changed["usage"]]} if "usage" in changed else {})


def remembering(read: Callable[P, T]) -> Callable[P, T]:
    """A function that keeps its last answer, as every step of a run reads the same settings and problem."""
    last: tuple[Any, T] | None = None

    def remembered(*args: P.args, **kwargs: P.kwargs) -> T:
        nonlocal last
        kept = last
        if kept is None or kept[0] != (args, kwargs):
            # A copy, so that a change of what was given is seen.
            kept = last = deepcopy((args, kwargs)), read(*args, **kwargs)
        return kept[1]

    return remembered


def check_whole(state: SearchState) -> None:
    """Checks what a checkpointer gave back, of which parts may be lost or damaged.

    Raises:
        UsageError: If it is not what a search has left.
    """
    try:
        _STATE.validate_python(state)
        nodes = {node.id: node for node in Tree(state.get("tree")).nodes()}
        programs = {key: Program.model_validate(value) for key, value in state.get("programs", {}).items()}
        named = {*state.get("passing", ()), *(a.program for n in nodes.values() for a in n.attempts)} - {""}
        linked = {child for node in nodes.values() for child in node.children} | {"0"}
        for used in state.get("usage", {}).values():
            Usage.model_validate(used)
        leaves = {leaf for key in ("evaluating", "expanding", "refining") for leaf in state.get(key, [])}
        missing = sorted((named - programs.keys()) | (linked ^ nodes.keys()) | (leaves - nodes.keys()))
        credited = sum(row[0] for coders in state.get("credit", {}).values() for row in coders.values())
        kept = sum(len(node.attempts) for node in nodes.values())
        if credited > kept:
            missing.append(f"{credited:.0f} programs were written, {kept} are there")
    except (ValueError, TypeError, KeyError, IndexError, AttributeError) as error:
        missing = [f"{type(error).__name__}: {error}".splitlines()[0]]
    if missing:
        raise UsageError(
            f"the steps of this search are damaged, or parts of them are lost ({missing[0]:.80}): copy the "
            "files of its checkpointer together, such as checkpoint.sqlite with its -wal, or start anew"
        )
