"""Moves: which are planned, and what becomes of them in a search."""

from collections import Counter
from collections.abc import Callable, Sequence
from math import log, sqrt
from random import Random
from statistics import fmean
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bdc_agents.agents.protocol import Request
from bdc_agents.config import Budget, SearchConfig
from bdc_agents.search import asolve, create_search_graph, extract_traces
from bdc_agents.search.policy.beliefs import Beliefs, Outlook, Told
from bdc_agents.search.policy.moves import Left, best_failed, outcome_at, plan, prune_branch
from bdc_agents.testing import ScriptedAgent, ScriptedExecutor
from bdc_agents.types import Attempt, Move, Node, Problem, Thought, Trace, Tree

AGENTS = ("ann", "bob")
CONFIG = SearchConfig()
REPAIRS = Beliefs().tell(
    [Told("repair", "bob", "wrong", "pass")] * 30
    + [Told(kind, "ann", "wrong", "wrong") for kind in ("repair", "rethink") for _ in range(30)]
    + [Told("answer", agent, "", "wrong") for agent in AGENTS for _ in range(30)]
    + [Told("write", agent, "", "wrong") for agent in AGENTS for _ in range(30)]
)


def attempt(key: str, agent: str = "ann", outcome: Any = "wrong", reward: float = 0.0) -> Attempt:
    return Attempt(program=key, agent=agent, reward=reward, outcome=outcome)


def root(*attempts: Attempt, **more: Any) -> Tree:
    node = Node(attempts=attempts, evaluations=len(attempts), value=0.0, visits=1 + len(attempts))
    return Tree().with_nodes(node.model_copy(update=more))


def planned(
    tree: Tree, known: Beliefs | None = None, config: SearchConfig = CONFIG, **left: Any
) -> list[Move]:
    return plan(tree, Outlook(known or Beliefs()), Left(**({"agents": AGENTS, "count": 4} | left)), config)


def test_first_each_agent_answers_unless_it_is_known_to_be_much_worse() -> None:
    fresh = Tree().with_nodes(Node())
    assert [(move.kind, move.agent) for move in planned(fresh, count=1)] == [
        ("answer", "ann"),
        ("answer", "bob"),
    ]
    known = Beliefs().tell(
        [Told("answer", "ann", "", "error")] * 40 + [Told("answer", "bob", "", "pass")] * 40
    )
    assert [move.agent for move in planned(fresh, known)] == ["bob"]


def test_a_repair_is_planned_where_it_is_believed_in_by_whom_it_is() -> None:
    tree = root(attempt("p", "ann"), attempt("q", "bob"))
    moves = planned(tree, REPAIRS)
    assert moves
    assert {(move.kind, move.agent, move.before) for move in moves} == {("repair", "bob", "wrong")}
    # Each of two equal programs has its turn.
    assert {move.program for move in moves[:2]} == {"p", "q"}
    assert all(move.gain > 0.3 for move in moves[:1])


def test_what_is_better_is_mended_first() -> None:
    tree = root(attempt("p"), attempt("q", outcome="part", reward=0.5), attempt("r", outcome="error"))
    moves = planned(tree, Beliefs().tell([Told("repair", "bob", "part", "pass")] * 30), count=8)
    mended = [move.program for move in moves if move.program]
    assert mended
    assert set(mended) == {"q"}


def test_without_reflection_nothing_is_mended_and_best_of_n_only_answers() -> None:
    tree = root(attempt("p"), attempt("q", "bob"))
    kinds = {move.kind for move in planned(tree, REPAIRS, SearchConfig(refine=False), count=8)}
    assert not kinds & {"repair", "rethink"}
    turns = planned(tree, REPAIRS, SearchConfig(policy="best-of-n"), count=5)
    assert [(move.kind, move.agent) for move in turns] == [
        ("answer", agent) for agent in ("ann", "bob", "ann", "bob", "ann")
    ]


def test_a_program_that_passes_is_confirmed_by_another_agent() -> None:
    tree = root(attempt("p", "ann", "pass", 1.0))
    (move,) = planned(tree, count=1, solved=True)
    assert (move.kind, move.agent) == ("answer", "bob")


def test_a_confirmation_says_little_of_programs_that_are_to_pass_first() -> None:
    """A thought whose program passed is good: another program for it says nothing of untried thoughts."""
    solved = root(attempt("p", outcome="pass", reward=1.0))
    (move,) = planned(solved, calls=9, count=1, solved=True)
    assert (move.before, move.gain > 0) == ("pass", True)
    before, after = Outlook(Beliefs()), Outlook(Beliefs().tell([Told("write", "ann", "pass", "pass")] * 30))
    assert after.chances("write", "ann", "") == before.chances("write", "ann", "")
    assert after.chances("write", "ann", "pass")[-1] > before.chances("write", "ann", "pass")[-1]


def test_thoughts_are_worth_what_the_calls_that_are_left_make_of_them() -> None:
    """One call gives several thoughts: it is shared among as many programs as there is room for."""
    likely = Beliefs().tell(
        [Told("write", "ann", "", "pass")] * 30 + [Told("answer", "ann", "", "wrong")] * 30
    )
    failed = root(attempt("p", outcome="wrong"))

    def gain(calls: int) -> float:
        moves = planned(failed, likely, agents=("ann",), calls=calls, count=1)
        return moves[0].gain if moves[0].kind == "think" else 0.0

    assert 0 < gain(2) < gain(3) < gain(4) == gain(40)


@given(
    st.lists(st.sampled_from(["error", "wrong", "part"]), max_size=6),
    st.integers(1, 8),
    st.integers(1, 8) | st.none(),
    st.booleans(),
)
def test_a_plan_keeps_to_what_is_left(
    outcomes: Sequence[str], count: int, calls: int | None, doubt: bool
) -> None:
    tree = root(*(attempt(f"p{n}", AGENTS[n % 2], outcome) for n, outcome in enumerate(outcomes)))
    doubtful = frozenset(["ann"] if doubt else [])
    moves = planned(tree, count=count, calls=calls, doubtful=doubtful)
    assert moves
    assert len(moves) <= (max(count, 2) if not outcomes else count)
    assert calls is None or len(moves) <= calls
    assert Counter(move.agent for move in moves)["ann"] <= 1 or not doubt
    programs = {one.program for one in tree["0"].attempts}
    assert all(move.program in programs for move in moves if move.kind in ("repair", "rethink"))
    assert moves == planned(tree, count=count, calls=calls, doubtful=doubtful)


def test_thoughts_are_asked_for_only_where_none_waits_and_a_program_can_follow() -> None:
    plans = Beliefs().tell(
        [Told("write", agent, "", "pass") for agent in AGENTS for _ in range(30)]
        + [Told("answer", agent, "", "wrong") for agent in AGENTS for _ in range(30)]
    )
    tree = root(attempt("p"), attempt("q", "bob"))
    assert planned(tree, plans, count=1)[0].kind == "think"
    assert "think" not in {move.kind for move in planned(tree, plans, calls=1)}
    waiting = tree.with_nodes(Node(id="0.0", parent="0", thought=Thought(text="try it", agent="ann"))).change(
        "0", children=("0.0",), expanded=1
    )
    (move,) = planned(waiting, plans, count=1)
    assert (move.kind, move.node) == ("write", "0.0")


def test_agents_answer_first_in_the_order_of_their_skills_as_far_as_calls_go() -> None:
    fresh = Tree().with_nodes(Node())

    def asked(skills: dict[str, float], calls: int | None = None) -> list[tuple[str, float]]:
        outlook = Outlook(Beliefs(), skills=skills)
        moves = plan(fresh, outlook, Left(("ann", "bob", "cat"), calls), CONFIG)
        assert all(
            (move.kind, move.node, move.before, move.program) == ("answer", "0", "", "") for move in moves
        )
        return [(move.agent, move.gain) for move in moves]

    # 0.5 from the table, times a skill over the mean of the skills.
    assert asked({"ann": 0.3, "bob": 0.6, "cat": 0.3}) == [("bob", 0.75), ("ann", 0.375), ("cat", 0.375)]
    assert asked({"ann": 0.29, "bob": 0.6, "cat": 0.31}) == [("bob", 0.75), ("cat", 0.3875)]
    assert asked({}, calls=2) == [("ann", 0.5), ("bob", 0.5)]


def test_of_what_may_be_mended_the_best_then_the_one_that_ran_furthest_then_the_latest_comes_first() -> None:
    worse = (attempt("a", outcome="error"), attempt("b", outcome="wrong"), attempt("c", outcome="part"))
    node = Node(attempts=(*worse, attempt("", outcome="wrong"), attempt("d", outcome="pass", reward=1.0)))
    found = best_failed(node)
    assert found
    assert found.program == "c", "of equal reward, what ran furthest"
    assert best_failed(Node(attempts=(attempt("a", reward=0.2), attempt("b")))) == attempt("a", reward=0.2)
    equals = Node(attempts=(attempt("a"), attempt("b"), attempt("c")))
    for mended, latest in (
        ({}, "c"),
        ({"c": 1}, "b"),
        ({"c": 2, "b": 1}, "a"),
        ({"a": 2, "b": 2, "c": 1}, "c"),
    ):
        found = best_failed(equals, Counter(mended))
        assert found
        assert found.program == latest
    assert best_failed(Node(attempts=node.attempts[3:])) is None
    assert outcome_at(node, None) == ""
    assert outcome_at(node, worse[2]) == "part"
    assert outcome_at(Node(kind="repair"), worse[2]) == "part+"
    assert outcome_at(Node(kind="rethink"), worse[2]) == "part"


def test_one_move_is_planned_where_nothing_else_is_said() -> None:
    moves = plan(root(attempt("p")), Outlook(Beliefs()), Left(AGENTS), CONFIG)
    assert len(moves) == 1


# --- confirming ---------------------------------------------------------------------------------


def passing(*agents: str) -> Tree:
    """A root that fails, and a child of which programs by some agents pass."""
    wrong = Node(id="0.0", parent="0", value=0.0, attempts=(attempt("q", "bob"),), best_return=0.2)
    right = Node(
        id="0.1",
        parent="0",
        value=0.5,
        best_return=0.9,
        attempts=(attempt("r", "cat"), *(attempt(f"s{agent}", agent, "pass", 1.0) for agent in agents)),
    )
    return root(attempt("p"), children=("0.0", "0.1")).with_nodes(wrong, right)


def confirming(tree: Tree, known: Beliefs | None = None, **left: Any) -> list[tuple[str, str, str]]:
    moves = planned(tree, known, CONFIG, solved=True, **({"count": 1} | left))
    return [(move.kind, move.agent, move.node) for move in moves]


def test_a_program_is_confirmed_where_one_that_agrees_is_likeliest() -> None:
    plans = Beliefs().tell([Told("write", agent, "pass", "pass") for agent in AGENTS for _ in range(40)])
    answers = Beliefs().tell([Told("answer", agent, "pass", "pass") for agent in AGENTS for _ in range(40)])
    assert confirming(passing("ann"), plans) == [("write", "bob", "0.1")]
    assert confirming(passing("ann"), answers) == [("answer", "bob", "0")]
    assert confirming(passing("bob"), answers) == [("answer", "ann", "0")], "what failed there does not count"
    assert confirming(root(attempt("p", "ann", "pass", 1.0)), plans) == [("answer", "bob", "0")]


def test_another_agent_confirms_unless_it_is_much_less_likely_to() -> None:
    tree = root(attempt("p", "ann", "pass", 1.0))

    def by(skill: float) -> str:
        # Of the two, bob's answers pass so many times as often as ann's.
        outlook = Outlook(Beliefs(), skills={"ann": 0.6, "bob": 0.6 * skill})
        (move,) = plan(tree, outlook, Left(AGENTS, solved=True), CONFIG)
        return move.agent

    assert [by(skill) for skill in (0.4, 0.48, 0.52, 0.9)] == ["ann", "ann", "bob", "bob"]


def test_of_two_whose_programs_pass_the_one_with_fewer_is_asked_to_confirm() -> None:
    """Else one agent that is a little surer would write the same again and again, and outvote the other."""
    written = [attempt(f"p{number}", "ann", "pass", 1.0) for number in range(3)]
    assert confirming(root(*written, attempt("q", "bob", "pass", 1.0))) == [("answer", "bob", "0")]
    assert confirming(root(*written[:1], attempt("q", "bob", "pass", 1.0)), count=2) == [
        ("answer", "ann", "0"),
        ("answer", "bob", "0"),
    ]


def test_who_is_asked_to_confirm_is_no_longer_another() -> None:
    tree = root(attempt("p", "ann", "pass", 1.0))
    skills = {"ann": 0.5, "bob": 0.6, "cat": 0.55}
    moves = plan(tree, Outlook(Beliefs(), skills=skills), Left((*AGENTS, "cat"), None, 3, True), CONFIG)
    assert [move.agent for move in moves][:2] == ["bob", "cat"]
    assert len(confirming(tree, count=4, calls=2)) == 2
    assert confirming(tree, agents=()) == []
    assert confirming(tree, count=4, doubtful=frozenset(AGENTS)) == [
        ("answer", "bob", "0"),
        ("answer", "ann", "0"),
    ]


# --- reckoned plainly -----------------------------------------------------------------------------


def failed_at(node: Node, mended: Counter[str]) -> Attempt | None:
    """The program to mend: the best, then the one that ran furthest, was mended least, and is the latest."""
    order = ["error", "wrong", "part"]
    found = [one for one in node.attempts if one.program and one.outcome in order]
    ranks = [(one.reward, order.index(one.outcome), -mended[one.program], n) for n, one in enumerate(found)]
    return found[ranks.index(max(ranks))] if found else None


class Plain:
    """A round as `Walk` plans it, with every figure reckoned anew for each question."""

    def __init__(self, tree: Tree, known: Beliefs, left: Left, config: SearchConfig) -> None:
        self.tree, self.known, self.left, self.config = tree, known, left, config
        self.planned: list[Move] = []

    def passes(self, kind: str, agent: str, before: str) -> float:
        return self.outlook().chances(kind, agent, before)[3]

    def outlook(self) -> Outlook:
        """What is planned is seen as what fails."""
        written = [one for one in self.planned if one.kind != "think"]
        return Outlook(
            self.known,
            Beliefs().tell(Told(one.kind, one.agent, one.before, "wrong") for one in written),
        )

    def agents(self) -> list[str]:
        asked = {one.agent for one in self.planned} & self.left.doubtful
        return [agent for agent in self.left.agents if agent not in asked]

    def pending(self, node: Node) -> int:
        return sum(node.id in {one.id for one in self.tree.path(move.node)} for move in self.planned)

    def thinks(self, node: Node) -> bool:
        calls = None if self.left.calls is None else self.left.calls - len(self.planned)
        asked = any(one.kind == "think" and one.node == node.id for one in self.planned)
        untried = [
            child
            for child in map(self.tree.__getitem__, node.children)
            if child.value is None and not child.pruned and not self.pending(child)
        ]
        return not (node.mends or asked or untried or calls == 1 or node.expanded >= 2 + len(node.children))

    def options(self, node: Node) -> list[tuple[str, str, float]]:
        """The new children of a node, each with what is won by it for a call."""
        source, root = failed_at(node, Counter()), node.parent is None
        if not root and node.attempts and source is None:
            return []
        before = f"{source.outcome}{'+' * (node.kind == 'repair')}" if source else ""
        first, began = ("answer", "") if root else ("write", before)
        deep = self.config.max_depth is not None and node.depth >= self.config.max_depth
        base = max((self.passes(first, agent, began) for agent in self.agents()), default=0.0)
        ways = [(first, began)] if node.value is None or node.attempts else []
        if source and not deep and self.config.refine:
            ways += [("repair", before), ("rethink", before)]
        found = [
            (kind, agent, self.gain(kind, agent, start, base))
            for kind, start in ways
            for agent in self.agents()
        ]
        if not deep and self.thinks(node):
            calls = self.left.calls
            programs = 3 if calls is None else min(3, calls - len(self.planned) - 1)
            gain = max(self.passes("write", agent, "") for agent in self.left.agents)
            gain *= programs / (programs + 1)
            found += [("think", agent, gain) for agent in self.agents()]
        return found

    def gain(self, kind: str, agent: str, start: str, base: float) -> float:
        chances, ahead = self.outlook().chances(kind, agent, start), 0.0
        for outcome, chance in zip(("error", "wrong", "part"), chances, strict=False):
            behind = f"{outcome}{'+' * (kind == 'repair')}"
            mends = [
                self.passes(mend, other, behind)
                for mend in ("repair", "rethink")
                for other in self.left.agents
            ]
            ahead += chance * max((max(mends) if self.config.refine else 0.0) - base, 0.0)
        return chances[3] + self.config.gamma * ahead

    def next(self) -> tuple[Move, float] | None:
        node = self.tree["0"]
        while True:
            new = max(self.options(node), key=lambda one: one[2], default=None)
            visits = max(node.visits + self.pending(node), 2)
            base = self.config.c_base
            scale = (log((node.visits + base + 1) / base) + self.config.c) * sqrt(log(visits))
            scores: dict[str, float] = {}
            for child in map(self.tree.__getitem__, node.children):
                waits = child.value is None and self.pending(child)
                gains = [gain for _, _, gain in self.options(child)]
                if gains and not (child.pruned or child.closed or waits):
                    tries = max(child.returns - 1, 0) + self.pending(child)
                    scores[child.id] = child.best_return + scale * max(gains) / (1 + tries)
            top = max((self.tree[key].best_return for key in scores), default=0.0)
            if not scores or (new and top + scale * new[2] >= max(scores.values())):
                return (self.move(node, *new), new[2]) if new else None
            node = self.tree[max(scores, key=lambda key: scores[key])]

    def move(self, node: Node, kind: Any, agent: str, gain: float) -> Move:
        mended = Counter(one.program for one in self.planned)
        mended.update(self.tree[key].mends for key in node.children)
        source = failed_at(node, mended) if kind not in ("answer", "think") else None
        program = source.program if source and kind != "write" else ""
        before = f"{source.outcome}{'+' * (node.kind == 'repair')}" if source else ""
        return Move(kind=kind, agent=agent, node=node.id, program=program, before=before, gain=round(gain, 4))

    def moves(self) -> list[Move]:
        most = self.left.count if self.left.calls is None else min(self.left.count, self.left.calls)
        worth: list[float] = []
        while len(worth) < most and (found := self.next()) is not None:
            if worth and found[1] < worth[0] / 2:
                break
            self.planned.append(found[0])
            worth.append(found[1])
        return self.planned


@st.composite
def trees(draw: st.DrawFn) -> Tree:
    """Trees of up to three levels, with what a search may leave at a node."""
    outcomes = st.lists(st.sampled_from(["error", "wrong", "part", "part", "pass"]), max_size=3)
    tree, names = Tree(), iter(range(1000))

    def tried(outcome: str) -> Attempt:
        reward = {"part": draw(st.sampled_from([0.25, 0.5])), "pass": 1.0}.get(outcome, 0.0)
        return attempt(f"p{next(names)}", draw(st.sampled_from(AGENTS)), outcome, reward)

    def grown(key: str, parent: str | None, depth: int) -> None:
        nonlocal tree
        found = tuple(map(tried, draw(outcomes) or ["wrong"] * (parent is None)))
        above = [one.program for one in tree[parent].attempts] if parent else []
        mends = draw(st.sampled_from(["", *above]))
        children = tuple(f"{key}.{n}" for n in range(draw(st.integers(0, 2 - depth))))
        returns, in_selection = draw(st.integers(0, 6)), parent is None or draw(st.integers(0, 3))
        tree = tree.with_nodes(
            Node(
                id=key,
                parent=parent,
                thought=Thought(text=key, agent="ann") if parent else None,
                children=children,
                attempts=found,
                evaluations=len(found),
                value=0.0 if found or draw(st.booleans()) else None,
                visits=1 + returns + draw(st.integers(0, 3)),
                returns=returns,
                best_return=draw(st.sampled_from([0.0, 0.1, 0.25, 0.5])),
                expanded=draw(st.integers(0, 3)),
                mends=mends,
                kind=draw(st.sampled_from(["repair", "rethink"])) if mends else "",
                pruned=not in_selection,
                closed=bool(parent) and draw(st.integers(0, 5)) == 0,
            )
        )
        for child in children:
            grown(child, key, depth + 1)

    grown("0", None, 0)
    return tree


STARTS = (
    *(("answer", ""), ("write", ""), ("write", "wrong"), ("repair", "wrong"), ("repair", "part+")),
    *(("rethink", "part"), ("rethink", "error")),
)
given_moves = st.lists(
    st.builds(
        lambda start, agent, after: Told(start[0], agent, start[1], after),
        st.sampled_from(STARTS),
        st.sampled_from(AGENTS),
        st.sampled_from(["error", "wrong", "part", "pass"]),
    ),
    max_size=25,
)


@settings(deadline=None)
@given(trees(), given_moves, st.integers(1, 5), st.integers(1, 4) | st.none(), st.data())
def test_a_round_is_the_one_that_is_planned_with_nothing_kept(
    tree: Tree, told: list[Told], count: int, calls: int | None, data: st.DataObject
) -> None:
    """Gains are the same wherever a node has the same to start from, and reckoned once for each round."""
    config = SearchConfig(
        max_depth=data.draw(st.sampled_from([None, 1, 2])),
        refine=data.draw(st.sampled_from([True, True, False])),
        gamma=data.draw(st.sampled_from([1.0, 0.5])),
    )
    doubtful = frozenset(data.draw(st.sets(st.sampled_from(AGENTS))))
    known, left = Beliefs().tell(told), Left(AGENTS, calls, count, doubtful=doubtful)
    moves = plan(tree, Outlook(known), left, config)
    assert moves == Plain(tree, known, left, config).moves()


# --- pruning ------------------------------------------------------------------------------------


def branch(returns: int, reward: float = 0.0, siblings: int = 1) -> Tree:
    outcome = "part" if reward else "wrong"
    tree = root(attempt("p"), children=tuple(f"0.{n}" for n in range(siblings + 1)))
    for n in range(siblings + 1):
        child = Node(
            id=f"0.{n}",
            parent="0",
            mends="p",
            kind="repair",
            value=reward if not n else 0.0,
            returns=returns if not n else 1,
            attempts=tuple(attempt(f"c{n}{m}", "bob", outcome, reward) for m in range(returns)),
        )
        tree = tree.with_nodes(child)
    return tree


def test_a_branch_is_pruned_when_it_is_nearly_sure_to_be_worth_less() -> None:
    outlook = Outlook(REPAIRS)

    def pruned(tree: Tree, config: SearchConfig = CONFIG) -> bool:
        return prune_branch(tree, "0.0", outlook, config)["0.0"].pruned

    assert pruned(branch(48))
    assert not pruned(branch(2))
    assert not pruned(branch(48, reward=0.5)), "what did better than its parent stays"
    assert not pruned(branch(48, siblings=0)), "so does the last one"
    assert not pruned(branch(48), SearchConfig(prune=False))


def test_a_branch_is_looked_at_again_when_it_has_twice_as_many_programs() -> None:
    never = Outlook(
        REPAIRS.plus(Beliefs().tell(Told("repair", "bob", "wrong", "pass", turn) for turn in range(8)))
    )
    looked = [n for n in range(1, 100) if prune_branch(branch(n), "0.0", never, CONFIG)["0.0"].pruned]
    assert looked
    assert set(looked) <= {3, 6, 12, 24, 48, 96}
    assert looked == [n for n in (3, 6, 12, 24, 48, 96) if n >= looked[0]], "more that failed says no less"


def test_the_topmost_branch_is_pruned_and_one_that_is_out_no_more() -> None:
    tree = branch(48)
    below = tree["0.0"].model_copy(update={"id": "0.0.0", "parent": "0.0"})
    other = below.model_copy(update={"id": "0.0.1", "returns": 0, "attempts": ()})
    deep = tree.with_nodes(below, other).change("0.0", children=("0.0.0", "0.0.1"))
    found = prune_branch(deep, "0.0.0", Outlook(REPAIRS), CONFIG)
    assert [node.id for node in found.nodes() if node.pruned] == ["0.0"]
    within = prune_branch(found, "0.0.0", Outlook(REPAIRS), CONFIG)
    assert [node.id for node in within.nodes() if node.pruned] == ["0.0", "0.0.0"]


def test_a_branch_is_not_pruned_where_nothing_else_could_be_mended() -> None:
    nothing = branch(48).change("0", attempts=(attempt("p", outcome="pass", reward=0.0),))
    assert not prune_branch(nothing, "0.0", Outlook(REPAIRS), CONFIG)["0.0"].pruned
    hopeless = Beliefs().tell(
        Told(kind, agent, "wrong", "wrong")
        for kind in ("repair", "rethink")
        for agent in AGENTS
        for _ in range(300)
    )
    assert not prune_branch(branch(48), "0.0", Outlook(hopeless), CONFIG)["0.0"].pruned


def test_about_as_often_as_chance_would_have_it_is_a_branch_worth_less() -> None:
    """By many times as many draws: it is pruned where at least 95 of 100 say so."""
    skilled = Outlook(REPAIRS)
    chance, spread = skilled.chances("repair", "bob", "wrong")[3], skilled.spread("repair")
    for failures in (3, 6, 12, 24, 48):
        random = Random(failures)
        draws = [
            random.betavariate(spread * chance, spread * (1 - chance) + failures)
            < random.betavariate(spread * chance, spread * (1 - chance))
            for _ in range(5_000)
        ]
        if abs(fmean(draws) - 0.95) > 0.04:
            pruned = prune_branch(branch(failures), "0.0", skilled, CONFIG)["0.0"].pruned
            assert pruned is (fmean(draws) > 0.95), failures


# --- in a search --------------------------------------------------------------------------------


def mender(name: str, asked: list[str], can: bool = True) -> ScriptedAgent:
    """Answers wrongly, and repairs another's program where it `can`."""

    def respond(request: Request) -> str:
        text = str(request.messages[-1].content)
        if request.json_schema is not None:
            return '{"thoughts": [{"thought": "look at the sign", "reasonableness": 0.5}]}'
        if "colleague" in text:
            asked.append(text)
            fixed = "2 * x" if can else f"x + {request.seed % 1000}"
            return (
                f"It adds instead of doubling.\n\n```python\ndef double(x):\n    return {fixed}\n```\nDone."
            )
        return f"```python\ndef double(x):\n    return x + {request.seed % 1000}\n```"

    return ScriptedAgent(name, respond)


def executor() -> ScriptedExecutor:
    return ScriptedExecutor(lambda job: float("2 * x" in job.code))


async def search(problem: Problem, agents: list[ScriptedAgent], **more: Any) -> Trace:
    return await asolve(problem, agents, executor=executor(), budget=Budget(calls=24), **more)


async def test_a_repair_is_a_child_with_its_diagnosis_and_starts_from_the_facts(problem: Problem) -> None:
    asked: list[str] = []
    trace = await search(problem, [mender("ann", asked, can=False), mender("bob", asked)])
    assert trace.solution.solved
    nodes = {node.id: node for node in trace.nodes}
    node = nodes[trace.solution.node or "0"]
    assert node.parent is not None
    assert node.thought
    assert node.thought.text == "It adds instead of doubling."
    assert node.mends in {one.program for one in nodes[node.parent].attempts}
    assert trace.solution.tree.depth >= 1
    shown = trace.programs[node.mends].verdict
    assert shown
    assert any(shown.failures[0].shown in text for text in asked), "what passes nothing teaches, too"
    kinds = [call.move.kind for call in trace.calls if call.move and call.purpose == "repair"]
    assert ["The program:" in text for text in asked] == [kind == "repair" for kind in kinds]


async def test_every_call_of_a_trace_is_told_with_its_move(problem: Problem) -> None:
    trace = await search(problem, [mender("ann", []), mender("bob", [])])
    assert len(trace.calls) == sum(used.calls for used in trace.solution.usage.values())
    assert [call.order for call in trace.calls] == [*range(len(trace.calls))]
    assert {call.prompt for call in trace.calls}
    for call in trace.calls:
        assert call.move is None or (call.move.agent, call.move.node) == (call.agent, call.node)
    written = [call for call in trace.calls if call.purpose in ("boost", "repair")]
    assert all(call.move and call.move.gain > 0 for call in written)
    assert Trace.model_validate_json(trace.model_dump_json()) == trace


async def test_a_repair_gives_rows_to_train_on(problem: Problem) -> None:
    trace = await search(problem, [mender("ann", []), mender("bob", [])])
    rows = {row.kind: row for row in extract_traces(trace)}
    assert rows.keys() == {"direct", "repair"}
    assert "colleague's program is wrong" in rows["repair"].prompt[-1]["content"]
    assert rows["repair"].completion.startswith("It adds instead of doubling.")
    assert "It adds" not in rows["direct"].completion


async def test_copies_of_the_program_to_mend_make_no_nodes(
    problem: Problem,
) -> None:
    def respond(request: Request) -> str:
        if request.json_schema is not None:
            return "no thoughts"
        return "```python\ndef double(x):\n    return x + 1\n```"

    agents = [ScriptedAgent(name, respond) for name in AGENTS]
    trace = await search(problem, agents)
    assert len(trace.nodes) == 1
    assert trace.solution.stopped_by in ("calls", "exhausted", "agents", "rollouts")
    seeds = Counter((call.agent, call.prompt, call.seed) for call in trace.calls)
    assert seeds.most_common(1)[0][1] == 1


async def test_any_policy_can_plan_a_search(problem: Problem) -> None:
    """Repairs alone, of whatever was written last: a policy is a function of the tree."""
    seen: list[int] = []

    def policy(tree: Tree, outlook: Outlook, left: Left, config: SearchConfig) -> list[Move]:
        seen.append(len(tree))
        node = tree.nodes()[-1]
        if not node.attempts:
            return [Move(kind="answer", agent=left.agents[0], node="0")]
        last = node.attempts[-1]
        agent = left.agents[len(tree) % len(left.agents)]
        return [Move(kind="repair", agent=agent, node=node.id, program=last.program, before=last.outcome)]

    asked: list[str] = []
    agents = [mender(name, asked, can=False) for name in AGENTS]
    graph = create_search_graph(agents, executor=executor(), search=SearchConfig(rollouts=5), policy=policy)
    state = await graph.compile().ainvoke({"problem": problem})
    assert [*state["tree"]] == ["0", "0.0", "0.0.0", "0.0.0.0", "0.0.0.0.0"]
    assert {node["thought"]["agent"] for node in state["tree"].values() if node["thought"]} == {*AGENTS}
    assert seen == [1, 1, 2, 3, 4]


@pytest.mark.parametrize("failed", [1, 2, 5, 50])
def test_an_agent_that_fails_to_confirm_gives_way_to_the_one_that_passed(failed: int) -> None:
    """Its failures tell against both, so it was asked again until the budget was spent."""
    tree = root(attempt("p", "good", "pass", 1.0))
    here = Beliefs().tell([Told("answer", "wrong", "pass", "wrong", tried) for tried in range(failed)])
    for agents in (("good", "wrong"), ("wrong", "good")):
        (move,) = plan(tree, Outlook(Beliefs(), here), Left(agents, solved=True), CONFIG)
        assert move.agent == "good"


async def test_a_long_search_makes_more_moves_at_once(problem: Problem) -> None:
    counts: list[int] = []

    def more(tree: Tree, outlook: Outlook, left: Left, config: SearchConfig) -> list[Move]:
        counts.append(left.count)
        return plan(tree, outlook, left, config)

    agents = [mender(name, [], can=False) for name in AGENTS]
    await (
        create_search_graph(agents, executor=executor(), budget=Budget(calls=400), policy=more)
        .compile()
        .ainvoke({"problem": problem.model_dump(mode="json")}, {"recursion_limit": 10_000})
    )
    assert counts[:2] == [2, 4], "direct answers, then as many as a small endpoint has slots"
    assert counts[1:] == sorted(counts[1:])
    assert counts[-1] == 12


async def test_beliefs_of_earlier_problems_change_what_is_asked(problem: Problem) -> None:
    async def kinds(known: Beliefs) -> Counter[str]:
        trace = await search(
            problem,
            [mender("ann", [], can=False), mender("bob", [], can=False)],
            search=SearchConfig(beliefs=known.model_dump()),
        )
        return Counter(call.move.kind if call.move else "think" for call in trace.calls)

    repairs, fresh = await kinds(REPAIRS), await kinds(Beliefs())
    assert repairs["repair"] > fresh["repair"]


@pytest.mark.parametrize("setting", ["bandit", "resample", "widening", "merge"])
def test_a_setting_of_the_walk_chooses_the_walk(setting: str) -> None:
    values: dict[str, Callable[[], Any]] = {"bandit": lambda: 2, "resample": lambda: 0.5}
    config = SearchConfig(**{setting: values.get(setting, lambda: True)()})
    assert config.policy == "paper"
    assert SearchConfig().policy == SearchConfig(rollouts=3, skills={"a": 0.5}).policy == "default"
    assert SearchConfig.model_validate(config.model_dump(exclude_unset=True)) == config


def test_the_best_of_n_go_round_the_agents_from_whoever_is_next() -> None:
    names = ("ann", "bob", "cat")
    for written in range(7):
        tree = root(*(attempt(f"p{n}") for n in range(written)))
        moves = planned(tree, None, SearchConfig(policy="best-of-n"), agents=names, count=4)
        assert [move.agent for move in moves] == [names[(written + turn) % 3] for turn in range(4)]
        assert {(move.kind, move.node) for move in moves} == {("answer", "0")}


def below_hopeless(**fields: Any) -> Tree:
    """A thought whose program failed, below a root whose program gave no result."""
    node = Node(
        id="0.0",
        parent="0",
        thought=Thought(text="t", agent="ann"),
        attempts=(attempt("q"),),
        value=0.0,
        best_return=0.9,
    )
    tree = root(attempt("p", outcome="error"), children=("0.0",), expanded=9)
    return tree.with_nodes(node.model_copy(update=fields))


def hoping(kind: Any, before: str) -> Beliefs:
    """That one move passes, and no other does."""
    starts = (("answer", ""), ("write", "wrong"), ("write", ""), ("repair", "wrong"), ("rethink", "wrong"))
    never = (*starts, ("repair", "error"), ("rethink", "error"))
    told = [(start, "pass" if start == (kind, before) else "wrong") for start in never]
    return Beliefs().tell(
        Told(start[0], agent, start[1], after)  # pyright: ignore[reportArgumentType]
        for start, after in told
        for agent in AGENTS
        for _ in range(40)
    )


def test_a_thought_is_written_for_anew_from_the_facts_and_mended_by_its_program() -> None:
    (move,) = planned(below_hopeless(), hoping("write", "wrong"), count=1)
    assert (move.kind, move.node, move.program, move.before) == ("write", "0.0", "", "wrong")
    (move,) = planned(below_hopeless(), hoping("repair", "wrong"), count=1)
    assert (move.kind, move.node, move.program, move.before) == ("repair", "0.0", "q", "wrong")


@pytest.mark.parametrize(
    ("fields", "thinks"),
    [
        ({}, True),
        ({"mends": "p", "kind": "repair"}, False),
        ({"expanded": 1}, True),
        ({"expanded": 2}, False),
    ],
)
def test_thoughts_continue_a_thought_and_no_repair_and_not_in_vain(fields: Any, thinks: bool) -> None:
    tree, plans = below_hopeless(**fields), hoping("write", "")

    def kinds(config: SearchConfig) -> set[tuple[str, str]]:
        return {(move.kind, move.node) for move in planned(tree, plans, config, count=1)}

    assert (kinds(CONFIG) == {("think", "0.0")}) is thinks
    assert ("think", "0.0") not in kinds(SearchConfig(max_depth=1))
    assert (kinds(SearchConfig(max_depth=2)) == {("think", "0.0")}) is thinks


@pytest.mark.parametrize("tried", [attempt("", outcome="error"), attempt("q", outcome="pass", reward=1.0)])
def test_nothing_is_tried_again_at_a_thought_that_has_no_failed_program(tried: Attempt) -> None:
    plans = hoping("write", "")
    nodes = {move.node for move in planned(below_hopeless(attempts=(tried,)), plans, count=8)}
    assert nodes == {"0"}
    untried = below_hopeless(attempts=(), value=None)
    assert [move.node for move in planned(untried, plans, count=1)] == ["0.0"]


def test_where_no_program_could_be_read_there_is_none_to_mend() -> None:
    moves = planned(root(attempt("", outcome="error")), count=8)
    assert moves
    assert {move.kind for move in moves} <= {"answer", "think"}
