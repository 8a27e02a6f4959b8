"""Moves: what an agent may do next, and which is worth it most.

At each node of the tree stand its children and, for each kind of move and agent, a new child that is not
there yet. P-UCB walks down to the best new child. It weighs by the gain that is believed of a move:
the chance that its program passes, and what its program is worth to the next move where it fails.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import inf, log, sqrt
from operator import itemgetter
from random import Random
from typing import NamedTuple, Protocol

from bdc_agents.config import SearchConfig
from bdc_agents.search.choice.agreement import WITHIN
from bdc_agents.search.policy.beliefs import MENDED, MENDS, NOTHING, OUTCOMES, PASSED, Outlook, Told
from bdc_agents.search.policy.p_ucb import exploration
from bdc_agents.search.policy.reflect import did_not_help, prune
from bdc_agents.search.policy.select import EXPANSION_TRIES, live
from bdc_agents.search.round.calls import derive_seed
from bdc_agents.types import Attempt, Kind, Move, Node, Tree

FAILED = OUTCOMES[:-1]
FILL = 0.5
"""Share of the best move's gain that others of a round must have: a slot that stands empty costs less than a
call that helps half as likely."""
THOUGHT_AND_PROGRAM = 2
"""Calls without which no thought is asked for."""
IDEAS = 3
"""Programs that the thoughts of one call are good for, where it is weighed what they are worth: five are
asked for, and some are one idea in other words. Simulated searches solved
as much with 5, and 0.03 less with 1."""


@dataclass(frozen=True)
class Left:
    """What a round may use.

    Args:
        agents: Who takes part.
        calls: LLM calls that are left; None for any number.
        count: Moves at once, at most.
        solved: Whether a program passes, and awaits another one that agrees with it.
        divided: Whether programs that pass do different things, and nobody was asked yet what is right.
        doubtful: Agents that answered nothing when they were last asked; they get one move a round.
    """

    agents: Sequence[str]
    calls: int | None = None
    count: int = 1
    solved: bool = False
    divided: bool = False
    doubtful: frozenset[str] = frozenset()


def best_failed(node: Node, mended: Counter[str] | None = None) -> Attempt | None:
    """The program of a node to mend: the best, of equals the one that was mended least, then the latest.

    Args:
        mended: How often each program was mended.
    """
    equals = _best_of(node.attempts)
    if mended and len(equals) > 1:
        return max(enumerate(equals), key=lambda at: (-mended[at[1].program], at[0]))[1]
    return equals[-1] if equals else None


_KEPT = 10_000
"""Nodes whose best programs are in memory: those of a few searches of a thousand nodes."""
_known: dict[int, tuple[tuple[Attempt, ...], tuple[Attempt, ...]]] = {}


def _best_of(attempts: tuple[Attempt, ...]) -> Sequence[Attempt]:
    """The best of the programs that fail, in order; several where they are as good as each other.

    Every round asks for every child of the nodes that it comes past. A node's attempts are only added to, and
    its first one is the same object for as long as it is in memory, so what was found is kept by that, and
    only attempts since are looked at.
    """
    if not attempts:
        return ()
    known, best = _known.get(id(attempts[0]), ((), ()))
    if known is attempts:
        return best
    if not known or len(known) > len(attempts) or known[-1] is not attempts[len(known) - 1]:
        known, best = (), ()  # Of another node, or of one that was edited.
    worth, equals = _worth(best[0]) if best else (-inf, -1), [*best]
    for one in attempts[len(known) :]:
        if not one.program or one.outcome not in FAILED:
            continue
        own = _worth(one)
        if own > worth:
            worth, equals = own, [one]
        elif own == worth:
            equals.append(one)
    if len(_known) >= _KEPT:
        _known.clear()
    # The first attempt is kept with it, so that no other object takes its place in memory.
    _known[id(attempts[0])] = attempts, tuple(equals)
    return equals


def _worth(attempt: Attempt) -> tuple[float, int]:
    return attempt.reward, OUTCOMES.index(attempt.outcome or "error")


def outcome_at(node: Node, attempt: Attempt | None) -> str:
    """What a move that starts from a program of a node starts from."""
    if attempt is None:
        return NOTHING
    return f"{attempt.outcome}{MENDED if node.kind == 'repair' else ''}"


class Policy(Protocol):
    """Plans the moves of a round. It is pure: the same arguments give the same plan."""

    def __call__(self, tree: Tree, outlook: Outlook, left: Left, config: SearchConfig, /) -> Sequence[Move]:
        """The moves, the most important first; none ends the search.

        Args:
            tree: The search tree. A node's `attempts` have the `outcome` of each program.
            outlook: What each move is likely to give, by beliefs and by what it gave here.
            left: Agents, calls, and how many moves to plan at most.
            config: Settings of the search.
        """
        ...


def plan(tree: Tree, outlook: Outlook, left: Left, config: SearchConfig) -> list[Move]:
    """The moves of a round, the best first; none where there is nothing more to do."""
    if config.policy == "best-of-n":
        written = len(tree["0"].attempts)
        turns = (left.agents[(written + turn) % len(left.agents)] for turn in range(left.count))
        return [Move(kind="answer", agent=agent, node="0") for agent in turns]
    return Walk(tree, outlook, config, left).moves()


def for_a_person(nodes: Sequence[str], outlook: Outlook, left: Left) -> list[Move]:
    """A program for each thought that a person wishes to see tried, by whoever is best at it.

    What is believed of a person's thoughts is nothing: it does not compete with moves of agents.
    """
    many = left.count if left.calls is None else min(left.count, left.calls)
    chances = {agent: outlook.chances("write", agent, NOTHING)[-1] for agent in left.agents}
    agent = max(left.agents, key=lambda name: chances[name])
    return [
        Move(kind="write", agent=agent, node=node, gain=round(chances[agent], 4)) for node in nodes[:many]
    ]


class _Place(NamedTuple):
    """What decides which moves there are at a node, and their gains: the same at many nodes."""

    root: bool
    before: str
    write: bool
    think: bool
    mend: bool


class _Menu(NamedTuple):
    """The moves there are at a place, each with its agent and its gain, and the largest gain."""

    options: Sequence[tuple[Kind, str, float]] = ()
    best: float = 0.0


class Walk:
    """Walks by P-UCB to the new children that are worth most, one move after another.

    Args:
        tree: The search tree.
        outlook: What is believed of moves; what is planned is added to it.
        config: Constants of P-UCB, and the largest depth.
        left: What the round may use.
    """

    def __init__(self, tree: Tree, outlook: Outlook, config: SearchConfig, left: Left) -> None:
        self.tree, self.outlook, self.config, self.left = tree, outlook, config, left
        self._pending: Counter[str] = Counter()
        self._mended: Counter[str] = Counter()
        self._thinking: set[str] = set()
        self._calls = left.calls
        self._agents = [*left.agents]
        self._worth = 0.0
        self._gains: dict[_Place, _Menu] = {}
        self._mends: dict[str, float] = {}
        self._places: dict[str, _Place] = {}
        self._rows: dict[str, Sequence[tuple[Node, int, float, _Place]]] = {}
        self._untried: dict[str, Sequence[str]] = {}

    def moves(self) -> list[Move]:
        """The moves of a round, the best first."""
        if not self.tree["0"].evaluations:
            return self._first_answers()[: self._calls]
        found: list[Move] = []
        first = 0.0
        while len(found) < self.left.count and (self._calls is None or self._calls > 0):
            move = self._confirming(found) if self.left.solved else self._next(self.tree["0"])
            if move is None or (found and self._worth < FILL * first):
                break
            first = first if found else self._worth
            found.append(move)
            self._plan(move)
        return found

    def _first_answers(self) -> list[Move]:
        """A direct answer of each agent that is not known to be much worse at it than the best."""
        chances = {agent: self.outlook.chances("answer", agent, NOTHING)[-1] for agent in self.left.agents}
        best = max(chances.values())
        able = [agent for agent in self.left.agents if chances[agent] >= FILL * best]
        return [
            Move(kind="answer", agent=agent, node="0", gain=round(chances[agent], 4))
            for agent in sorted(able, key=lambda agent: -chances[agent])
        ]

    def _plan(self, move: Move) -> None:
        self._pending.update(node.id for node in self.tree.path(move.node))
        if self._calls is not None:
            self._calls -= 1
            if self._calls < THOUGHT_AND_PROGRAM:
                self._rows.clear()  # No place has thoughts any more.
        if move.agent in self.left.doubtful:
            self._agents.remove(move.agent)
            self._forget()
        if move.kind == "think":
            self._thinking.add(move.node)
            return
        self._mended[move.program] += bool(move.program)
        self.outlook.see(Told(move.kind, move.agent, move.before, "wrong"))
        self._forget()

    def _forget(self) -> None:
        """Gains are reckoned anew after each planned move."""
        self._gains.clear()
        self._mends.clear()

    # --- the walk -----------------------------------------------------------------------------

    def _next(self, node: Node) -> Move | None:
        """The best new child, down from a node; None where it has none."""
        while True:
            visits = node.visits + self._pending[node.id]
            scale = exploration(node.visits, self.config) * sqrt(log(max(visits, 2)))
            new = max(self._menu(node).options, key=itemgetter(2), default=None)
            best, top, chosen = -inf, 0.0, None
            planned = self._pending.get
            promises = dict[int, float]()  # By place: hundreds of children share a few.
            for child, tries, own, place in self._rows_of(node):
                # What was planned below a child in this round counts as tries that failed.
                pending = planned(child.id, 0)
                promise = self._promise(child) if pending else promises.get(id(place))
                if promise is None:
                    promise = promises[id(place)] = self._menu_of(place).best
                if not promise:
                    continue
                # P-UCB, with the gain that is believed of what goes on from a child as P.
                score = own + scale * promise / (1 + tries + pending)
                if own > top:
                    top = own
                if score > best:
                    best, chosen = score, child
            # A new child is thought to be no worse than the best of those there are.
            if chosen is None or (new and top + scale * new[2] >= best):
                self._worth = new[2] if new else 0.0
                return self._move(node, *new) if new else None
            node = chosen

    def _rows_of(self, node: Node) -> Sequence[tuple[Node, int, float, _Place]]:
        """The children that are in selection, with tries, Q and places: found once a round."""
        if node.id not in self._rows:
            same: dict[_Place, _Place] = {}
            rows = [
                (child, max(child.returns - 1, 0), child.best_return, self._place_now(child))
                for child in live(self.tree, node)
            ]
            self._rows[node.id] = [
                (child, tries, own, same.setdefault(place, place)) for child, tries, own, place in rows
            ]
        return self._rows[node.id]

    def _promise(self, child: Node) -> float:
        """The gain of the best that goes on from a child; 0 where nothing does."""
        if child.value is None and self._pending[child.id]:
            return 0.0
        return self._menu(child).best

    def _move(self, node: Node, kind: Kind, agent: str, gain: float) -> Move:
        gain = round(gain, 4)
        if kind in ("answer", "think"):
            return Move(kind=kind, agent=agent, node=node.id, gain=gain)
        source = best_failed(node, self._mended_of(node))
        program = source.program if source and kind != "write" else ""
        before = outcome_at(node, source)
        return Move(kind=kind, agent=agent, node=node.id, program=program, before=before, gain=gain)

    def _mended_of(self, node: Node) -> Counter[str]:
        return self._mended + Counter(self.tree[key].mends for key in node.children)

    def _menu(self, node: Node) -> _Menu:
        """The new children of a node: by which move of whom, and the gain for a call."""
        return self._menu_of(self._place_now(node))

    def _menu_of(self, place: _Place) -> _Menu:
        menu = self._gains.get(place)
        if menu is None:
            menu = self._gains[place] = self._menu_at(place)
        return menu

    def _place_now(self, node: Node) -> _Place:
        """The place of a node, with what was planned so far."""
        place = self._places.get(node.id)
        if place is None:
            place = self._places[node.id] = self._place(node)
        return place._replace(think=False) if place.think and not self._may_think(node) else place

    def _place(self, node: Node) -> _Place:
        source = best_failed(node)
        root, deep = (
            node.parent is None,
            self.config.max_depth is not None and node.depth >= self.config.max_depth,
        )
        if source is None and node.attempts and not root:
            return _Place(root, NOTHING, write=False, think=False, mend=False)
        # A prompt that got no reply again and again, so that the node is given up, is not sent once more.
        write = node.value is None or bool(node.attempts)
        think, mend = not (deep or node.mends), not deep and source is not None
        return _Place(root, outcome_at(node, source), write, think=think, mend=mend)

    def _may_think(self, node: Node) -> bool:
        """Whether thoughts are asked for: none is left untried, and there is room for a program, too."""
        if node.id in self._thinking or (self._calls is not None and self._calls < THOUGHT_AND_PROGRAM):
            return False
        if node.expanded - len(node.children) >= EXPANSION_TRIES:
            return False
        if node.id not in self._untried:
            children = map(self.tree.__getitem__, node.children)
            self._untried[node.id] = [one.id for one in children if one.value is None and not one.pruned]
        return all(self._pending[key] for key in self._untried[node.id])

    # --- gains: the same wherever a node has the same to start from -------------------------------

    def _menu_at(self, place: _Place) -> _Menu:
        began = NOTHING if place.root else place.before
        first: Kind = "answer" if place.root else "write"
        base = max((self.outlook.chances(first, agent, began)[-1] for agent in self._agents), default=0.0)
        kinds: list[tuple[Kind, str]] = [(first, began)] if place.write else []
        if place.mend and self.config.refine:
            kinds.extend((kind, place.before) for kind in MENDS)
        found: list[tuple[Kind, str, float]] = []
        for kind, start in kinds:
            found.extend((kind, agent, self._gain(kind, agent, start, base)) for agent in self._agents)
        if place.think:
            gain = self._thinking_gain()
            found.extend(("think", agent, gain) for agent in self._agents)
        return _Menu(found, max((gain for _, _, gain in found), default=0.0))

    def _gain(self, kind: Kind, agent: str, before: str, base: float) -> float:
        """The chance to pass, and beyond it what a failed program would make more likely than before."""
        chances = self.outlook.chances(kind, agent, before)
        behind = MENDED if kind == "repair" else ""
        ahead = 0.0
        for outcome, chance in zip(FAILED, chances, strict=False):
            better = self._best_mend(f"{outcome}{behind}") - base
            ahead += chance * better if better > 0 else 0.0
        return chances[-1] + self.config.gamma * ahead

    def _best_mend(self, before: str) -> float:
        """The best chance of a repair from a program of some outcome."""
        if not self.config.refine:
            return 0.0
        if before not in self._mends:
            agents = self.left.agents
            ways = (self.outlook.chances(kind, agent, before) for kind in MENDS for agent in agents)
            self._mends[before] = max(chances[-1] for chances in ways)
        return self._mends[before]

    def _thinking_gain(self) -> float:
        """What thoughts are worth for each call: that for them, and those for programs that follow them."""
        best = max(self.outlook.chances("write", other, NOTHING)[-1] for other in self.left.agents)
        programs = IDEAS if self._calls is None else min(IDEAS, self._calls - 1)
        return best * programs / (programs + 1)

    # --- where a program passes ---------------------------------------------------------------

    def _confirming(self, planned: Sequence[Move]) -> Move | None:
        """Another program, written apart: sooner by an agent that has written fewer here.

        First in the way that has led to one that passes: where that was a repair, answers have failed. What
        was written to confirm counts even where it failed: an agent that cannot solve the problem is not
        asked again and again.
        """
        if self.left.divided and not planned and self._agents:
            return self._asking()
        node = self.tree["0"]
        while not node.passes and node.children:
            node = max(map(self.tree.__getitem__, node.children), key=lambda one: one.best_return)
        own = Counter(one.agent for one in node.attempts if one.reward >= 1)
        for agent in self._agents:
            own[agent] += self.outlook.failed(agent, PASSED)
        places: list[tuple[Kind, str, str]] = [("answer", "0", "")]
        if node.parent is not None and node.mends and node.kind:
            places.insert(0, (node.kind, node.parent, node.mends))
        elif node.parent is not None:
            places.append(("write", node.id, ""))
        options = [
            Move(
                kind=kind,
                agent=agent,
                node=place,
                program=mends,
                before=PASSED,
                gain=round(self._agrees(kind, agent), 4),
            )
            for kind, place, mends in places
            for agent in self._agents
        ]
        return max(options, key=lambda move: move.gain * WITHIN ** own[move.agent], default=None)

    def _agrees(self, kind: Kind, agent: str) -> float:
        """The chance that an agent's program passes where another one has."""
        return self.outlook.chances(kind, agent, PASSED)[-1]

    def _asking(self) -> Move:
        """The question which output is right, to whom is likeliest to know."""

        def known(agent: str) -> tuple[float, float]:
            chances = self.outlook.chances
            return chances("split", agent, NOTHING)[-1], chances("answer", agent, NOTHING)[-1]

        agent = max(self._agents, key=known)
        return Move(kind="split", agent=agent, node="0", gain=round(known(agent)[0], 4))


# --- pruning ----------------------------------------------------------------------------------

SURE = 0.95
"""How sure it must be that a branch is worth less than a new child before it is pruned."""
PROGRAMS = 3
"""Programs of a branch before which nothing is said of it: one or two tell little."""
_DRAWS = 200
"""Pairs of draws that are compared; they decide 0.95 to within 0.03 (two standard errors)."""


def prune_branch(tree: Tree, leaf: str, outlook: Outlook, config: SearchConfig) -> Tree:
    """Prunes the topmost branch on a leaf's path that is nearly sure to be worth less than a new child.

    Never one below which a program did better than the node above, nor the last live child.
    """
    if not config.prune:
        return tree
    for parent, node in pairwise(tree.path(leaf)):
        if not _is_due(node.returns) or node.pruned:
            continue
        if _worth_less(parent, node, outlook) and did_not_help(tree, node.id):
            return prune(tree, node.id)
    return tree


def _is_due(programs: int) -> bool:
    """Whether a branch is looked at: at 3 programs, 6, 12 and so on, so that a large one costs no more."""
    turns, rest = divmod(programs, PROGRAMS)
    return turns > 0 and not rest and turns & (turns - 1) == 0


def _worth_less(parent: Node, node: Node, outlook: Outlook) -> bool:
    """Whether a branch passes less likely than a new child, given how many of its programs did not."""
    agents = sorted({attempt.agent for one in (parent, node) for attempt in one.attempts})
    source = best_failed(parent)
    if source is None or not agents:
        return False
    new = max(
        outlook.chances(kind, agent, outcome_at(parent, source))[-1] for kind in MENDS for agent in agents
    )
    spread = outlook.spread("repair")
    random = Random(derive_seed(node.id, node.returns))
    below, above = spread * new, spread * (1 - new)
    if below <= 0:
        return False
    less = sum(
        random.betavariate(below, above + node.returns) < random.betavariate(below, above)
        for _ in range(_DRAWS)
    )
    return less >= SURE * _DRAWS
