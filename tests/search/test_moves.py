"""Moves: which are planned, and what becomes of them in a search."""

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bdc_agents.agents.protocol import Request
from bdc_agents.config import Budget, SearchConfig
from bdc_agents.search import asolve, create_search_graph, extract_traces
from bdc_agents.search.beliefs import Beliefs, Outlook, Told
from bdc_agents.search.moves import Left, plan, prune_branch
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
