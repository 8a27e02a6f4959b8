"""What moves gave in some searches, how deep their trees grew, and who mended whose work."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import pairwise

from bdc_agents.evaluate.figures.metrics import Interval, wilson
from bdc_agents.search.policy.beliefs import MENDED, MENDS, OUTCOMES, PASSED, read_beliefs
from bdc_agents.types import CallRecord, Frozen, Node, Trace, Tree

CONFIRM = "confirm"
"""Programs that are written where one passes, to see whether it is agreed with, as a kind of their own."""
KINDS = ("answer", "think", "write", "repair", "rethink", CONFIRM)
"""In the order in which they are shown."""


class MoveFigures(Frozen):
    """One kind of move by one agent.

    Args:
        kind: One of `KINDS`.
        calls, tokens: What these moves took.
        cost: US dollars; None where no price is known.
        programs: Programs that came out; none of `think`, whose thoughts others write programs for.
        passing: Share of them that pass every public test; None without programs.
        better: Programs that pass more than what they began from: the outcome is a better one.
    """

    kind: str
    agent: str
    calls: int
    tokens: int
    cost: float | None = None
    programs: int = 0
    passing: Interval | None = None
    better: int = 0

    @property
    def passed(self) -> int:
        """Programs that pass every public test."""
        return round(self.passing.value * self.programs) if self.passing else 0

    @property
    def gain(self) -> float:
        """Programs that pass, for each call."""
        return self.passed / self.calls if self.calls else 0.0

    @property
    def gain_per_dollar(self) -> float | None:
        """Programs that pass, for each US dollar; None where no price is known."""
        return self.passed / self.cost if self.cost else None


class Growth(Frozen):
    """How the trees of some searches grew.

    Args:
        searches: How many.
        depths: How many trees are so deep; 0 where every program is a direct answer.
        crossing: Share of the programs with something to begin from, a thought or a failed program, that
            another agent wrote; None where nothing had.
        shared: Share of the solutions in which more than one agent has a part: it wrote the program, a
            thought on its path, or a program that was mended on it.
        needed: By what they needed, how many problems were solved: a direct answer, a thought, or so many
            repairs in a row.
    """

    searches: int
    depths: dict[int, int]
    crossing: Interval | None = None
    shared: Interval | None = None
    needed: dict[str, int] = {}


class Moves(Frozen):
    """What moves gave in some searches, and how their trees grew."""

    figures: tuple[MoveFigures, ...]
    growth: Growth


def moves_of(traces: Sequence[Trace]) -> Moves | None:
    """What moves gave; None where no trace tells, as those of other solvers and of version 1."""
    told = [trace for trace in traces if any(call.move for call in trace.calls)]
    return Moves(figures=tuple(_figures(told)), growth=growth_of(told)) if told else None


# --- moves ------------------------------------------------------------------------------------


def _figures(traces: Sequence[Trace]) -> Iterator[MoveFigures]:
    calls: dict[tuple[str, str], list[CallRecord]] = {}
    for call in (call for trace in traces for call in trace.calls):
        if kind := _kind(call):
            calls.setdefault((kind, call.agent), []).append(call)
    made = _outcomes(traces)
    for kind, agent in sorted(calls.keys() | made.keys(), key=lambda key: (KINDS.index(key[0]), key[1])):
        asked = calls.get((kind, agent), [])
        programs, passed, better = made.get((kind, agent), (0, 0, 0))
        costs = [call.cost for call in asked if call.cost is not None]
        yield MoveFigures(
            kind=kind,
            agent=agent,
            calls=len(asked),
            tokens=sum(call.prompt_tokens + call.completion_tokens for call in asked),
            cost=sum(costs) if costs else None,
            programs=programs,
            passing=wilson(passed, programs) if programs else None,
            better=better,
        )


def _kind(call: CallRecord) -> str:
    """The kind of move that a call was; empty for one that was no move, such as a judge's."""
    if call.move is None:
        return "think" if call.purpose == "expand" else ""
    return CONFIRM if call.move.before == PASSED else call.move.kind


def _outcomes(traces: Iterable[Trace]) -> Mapping[tuple[str, str], tuple[int, int, int]]:
    """By kind and agent: programs, those that pass, and those that do better than what they began from."""
    found: dict[tuple[str, str], tuple[int, int, int]] = {}
    for trace in traces:
        for key, row in read_beliefs(trace.beliefs).counts.items():
            kind, before, agent = key.split("/", 2)
            shown = CONFIRM if before == PASSED else kind
            outcome = before.rstrip(MENDED)
            began = OUTCOMES.index(outcome) + 1 if outcome in OUTCOMES else 0
            better = sum(row[began:]) if kind in MENDS else row[-1]
            old = found.get((shown, agent), (0, 0, 0))
            found[shown, agent] = (
                old[0] + round(sum(row)),
                old[1] + round(row[-1]),
                old[2] + round(better),
            )
    return found


# --- trees ------------------------------------------------------------------------------------


def growth_of(traces: Sequence[Trace]) -> Growth:
    """How the trees of these searches grew."""
    depths, needed = Counter[int](), Counter[str]()
    begun = crossed = solved = shared = 0
    for trace in traces:
        tree = Tree(patched={node.id: node for node in trace.nodes})
        depths[max((node.depth for node in trace.nodes if node.attempts), default=0)] += 1
        for own, other in _begun(trace, tree):
            begun += 1
            crossed += own != other
        if trace.solution.solved and trace.solution.node is not None:
            path = tree.path(trace.solution.node)
            solved += 1
            shared += len({trace.solution.agent, *_authors(trace, path)}) > 1
            needed[_needs(path)] += 1
    return Growth(
        searches=len(traces),
        depths=dict(sorted(depths.items())),
        crossing=wilson(crossed, begun) if begun else None,
        shared=wilson(shared, solved) if solved else None,
        needed=dict(needed.most_common()),
    )


def _begun(trace: Trace, tree: Tree) -> Iterator[tuple[str, str]]:
    """Who wrote each program that had something to begin from, and who had written that."""
    for node in trace.nodes:
        if node.parent is None or node.thought is None:
            continue
        for attempt in node.attempts:
            # The first program of a repair begins from the one that it mends; its diagnosis is its own.
            if node.mends and attempt.agent == node.thought.agent:
                yield attempt.agent, _writer(trace, tree[node.parent], node.mends)
            else:
                yield attempt.agent, node.thought.agent


def _writer(trace: Trace, node: Node, program: str) -> str:
    """Who wrote a program of a node, the first of several."""
    agents = (attempt.agent for attempt in node.attempts if attempt.program == program)
    found = trace.programs.get(program)
    return next(agents, found.agent if found else "")


def _authors(trace: Trace, path: Sequence[Node]) -> Iterator[str]:
    """Who has a part in what a path comes to."""
    for parent, node in pairwise(path):
        if node.thought:
            yield node.thought.agent
        if node.mends:
            yield _writer(trace, parent, node.mends)


def _needs(path: Sequence[Node]) -> str:
    """What a solution at the end of a path needed."""
    repairs = sum(bool(node.mends) for node in path)
    thoughts = len(path) - 1 - repairs
    told = [f"{repairs} repair{'s' * (repairs > 1)}"] if repairs else []
    told += [f"{thoughts} thought{'s' * (thoughts > 1)}"] if thoughts else []
    return " after ".join(told) or "a direct answer"
