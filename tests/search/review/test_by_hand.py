"""What a person changes in a search by hand: at any checkpoint, and what the search makes of it."""

from collections.abc import Callable
from typing import Any

import pytest
from langgraph.checkpoint.memory import InMemorySaver

from bdc_agents.config import SearchConfig
from bdc_agents.errors import UsageError
from bdc_agents.search import PlainSerializer, create_search_graph, trace_of
from bdc_agents.search.review.by_hand import (
    ANEW,
    added,
    edited,
    goes_on_after,
    in_force,
    refused,
    reopened,
    with_more,
)
from bdc_agents.search.state import merge_nodes
from bdc_agents.testing import ScriptedAgent, ScriptedExecutor
from bdc_agents.types import Node, Problem, Thought, Tree, Usage

MakeExecutor = Callable[..., ScriptedExecutor]
CONFIG: Any = {"configurable": {"thread_id": "a"}}
THINKS = SearchConfig(beliefs={"counts": {f"write//{name}": (0, 0, 0, 30) for name in ("ann", "bob")}})
"""Thoughts are believed to help, so that some are asked for."""
POLICIES = {"default": THINKS, "paper": SearchConfig.preset("paper")}


class Search:
    """A search that has ended, and what a person does to it."""

    def __init__(self, app: Any) -> None:
        self.app = app

    async def points(self) -> list[Any]:
        """The steps with a tree, oldest first."""
        history = [past async for past in self.app.aget_state_history(CONFIG)]
        return [past for past in reversed(history) if past.values.get("tree") and past.next]

    async def go_on(self, past: Any, changes: Any, more: int = 8) -> Any:
        """Changes a step, and goes on with so many calls more; the state at the end."""
        config = await self.app.aupdate_state(past.config, changes, goes_on_after(past.next))
        now = await self.app.aget_state(config)
        changes = with_more(now.values, {"calls": more})
        await self.app.ainvoke(None, await self.app.aupdate_state(config, changes, goes_on_after(now.next)))
        return (await self.app.aget_state(CONFIG)).values


@pytest.fixture(params=POLICIES)
async def search(
    request: pytest.FixtureRequest, pair: list[ScriptedAgent], make_executor: MakeExecutor, problem: Problem
) -> Search:
    graph = create_search_graph(
        pair, executor=make_executor(), search=POLICIES[request.param], budget={"calls": 20}
    )
    search = Search(graph.compile(checkpointer=InMemorySaver(serde=PlainSerializer())))
    await search.app.ainvoke({"problem": problem.model_dump()}, CONFIG)
    return search


def by_person(state: Any) -> list[Any]:
    nodes = Tree(state["tree"]).nodes()
    return [node for node in nodes if node.thought and node.thought.agent == "person"]


async def test_a_thought_is_added_at_every_step_and_tried(search: Search) -> None:
    points = await search.points()
    assert len(points) > 8
    for past in points:
        end = await search.go_on(past, added(past.values, "0", "  Add x\nto itself. "))
        [node] = by_person(end)
        assert node.thought.text == "Add x to itself."
        assert node.id in Tree(end["tree"])["0"].children
        assert node.attempts, past.next
        assert {attempt.author for attempt in node.attempts} == {"person"}
        review, caps = trace_of(end).reviews
        assert (review.by, review.decision, review.node) == ("person", "respond", "0")
        assert (caps.asked, caps.by) == ("budget", "person")
        ids = [node.id for node in Tree(end["tree"]).nodes()]
        linked = {child for node in Tree(end["tree"]).nodes() for child in node.children} | {"0"}
        assert {*ids} == linked


async def test_a_vetoed_branch_gets_no_program(search: Search) -> None:
    for past in await search.points():
        tree = Tree(past.values["tree"])
        node = next((node for node in tree.nodes() if node.thought and not node.pruned), None)
        if node is None:
            continue
        before = {one.id: one.attempts for one in tree.nodes()}
        end = await search.go_on(past, refused(past.values, node.id, "Too slow."))
        below = [one for one in Tree(end["tree"]).nodes() if f"{one.id}.".startswith(f"{node.id}.")]
        # What had been written by then is run, a repair in a new node, and nothing more is asked for.
        written = {draft["node"] for draft in past.values.get("drafts", [])} if "execute" in past.next else ()
        late = [one for one in below if one.id in written or (one.id not in before and one.parent in written)]
        assert all(one.attempts == before.get(one.id, ()) for one in below if one not in late), past.next
        assert Tree(end["tree"])[node.id].pruned
        assert trace_of(end).reviews[0].text == "Too slow."


async def test_an_edited_thought_that_has_no_program_is_another_one_in_its_place(search: Search) -> None:
    past, key = next(
        (past, node.id)
        for past in await search.points()
        for node in Tree(past.values["tree"]).nodes()
        if node.thought and not (node.attempts or node.children)
    )
    end = await search.go_on(past, edited(past.values, key, "Add x to itself."))
    node = Tree(end["tree"])[key]
    assert (node.thought.text, node.thought.agent) == ("Add x to itself.", "person")
    assert node.attempts
    assert trace_of(end).reviews[0].decision == "edit"


async def test_programs_stay_with_the_thought_they_were_written_for(search: Search) -> None:
    """An edited thought that has programs is a thought beside the old one, which is vetoed."""
    [*_, past] = [
        past
        for past in await search.points()
        if any(node.thought and node.attempts for node in Tree(past.values["tree"]).nodes())
    ]
    tree = Tree(past.values["tree"])
    old = next(node for node in tree.nodes() if node.thought and node.attempts and not node.mends)
    end = Tree((await search.go_on(past, edited(past.values, old.id, "Add x to itself.")))["tree"])
    assert end[old.id].thought == old.thought
    assert end[old.id].pruned
    assert end[old.id].attempts == old.attempts
    new = end[end[old.parent].children[len(tree[old.parent].children)]]
    assert (new.thought.text, new.thought.agent) == ("Add x to itself.", "person")
    assert new.attempts


def state_of(*nodes: Node, **more: Any) -> Any:
    return {"tree": {node.id: node.model_dump(mode="json") for node in nodes}, **more}


ROOT = Node(children=("0.0",), closed=True)
IDEA = Node(
    id="0.0",
    parent="0",
    children=("0.0.0",),
    thought=Thought(text="idea", agent="ann"),
    pruned=True,
    closed=True,
)
DEEP = Node(id="0.0.0", parent="0.0", thought=Thought(text="on", agent="bob"), closed=True)


def test_what_the_search_had_given_up_is_open_for_a_thought_of_the_person() -> None:
    changes = added(state_of(ROOT, IDEA, DEEP), "0.0.0", "Think again.")
    tree = merge_nodes(state_of(ROOT, IDEA, DEEP)["tree"], [changes["tree"]])
    assert not any(tree[key]["pruned"] or tree[key]["closed"] for key in ("0", "0.0", "0.0.0", "0.0.0.0"))
    assert tree["0.0.0.0"]["thought"]["agent"] == "person"


def test_a_veto_of_the_person_is_not_opened_by_a_thought_below_it() -> None:
    state = state_of(ROOT, IDEA, DEEP)
    state["reviews"] = refused(state, "0.0")["reviews"]
    with pytest.raises(UsageError, match=r"node 0\.0 is vetoed, so nothing below it is tried"):
        added(state, "0.0.0", "Think again.")
    with pytest.raises(UsageError, match=r"node 0\.0 is vetoed already"):
        refused(state, "0.0")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda state: added(state, "0.7", "x"), r"unknown node '0\.7'; did you mean 0\.0"),
        (lambda state: added(state, ["0"], "x"), r"unknown node"),
        (lambda state: added(state, "0" * 9999, "x"), r"unknown node '0{80}'"),
        (lambda state: added(state, "0", None), r"the thought is a text that is not empty, not None"),
        (lambda state: added(state, "0", " \n"), r"the thought is a text that is not empty"),
        (lambda state: added(state, "0", "x" * 2001), r"the thought has 2,001 characters; up to 2,000"),
        (lambda state: edited(state, "0", "x"), r"node 0 is the problem itself and has no thought"),
        (lambda state: refused(state, "0"), r"node 0 is the problem itself; a veto takes a thought below"),
        (lambda state: refused(state, "0.0", 7), r"the reason is a text that is not empty, not 7"),
        (lambda state: with_more(state, {"call": 3}), r"unknown cap 'call'; did you mean calls"),
        (lambda state: with_more(state, {"calls": 0}), r"calls is how many more may be used, .* not 0"),
        (lambda state: with_more(state, {"calls": True}), r"calls is how many more"),
        (lambda state: with_more(state, {"calls": float("nan")}), r"calls is how many more"),
        (lambda state: with_more(state, {"calls": 0.5}), r"calls is a whole number"),
    ],
)
def test_what_cannot_be_done_is_told(change: Callable[[Any], Any], says: str) -> None:
    with pytest.raises(UsageError, match=says):
        change(state_of(ROOT, IDEA, DEEP))


def test_caps_that_hold_stay_beside_more_calls() -> None:
    used = {"ann": Usage(calls=20, completion_tokens=500).model_dump()}
    origin = {"budget.calls": 30, "budget.tokens": 900, "search.rollouts": 16}
    state = state_of(ROOT, usage=used, origin=origin, rollouts=16, stopped_by="rollouts")
    assert in_force(state) == {"calls": 30, "tokens": 900, "rollouts": 16}
    # The number of rollouts that has ended it would end it again.
    assert with_more(state, {"calls": 5})["caps"] == {"calls": 25, "tokens": 900}
    assert with_more(state, {"rollouts": 2})["caps"] == {"calls": 30, "tokens": 900, "rollouts": 18}
    state["usage"]["ann"]["completion_tokens"] = 900
    with pytest.raises(UsageError, match="tokens is 900 in all, and 900 are used"):
        with_more(state, {"calls": 5})


async def test_a_search_that_has_ended_goes_on_with_more(search: Search) -> None:
    before = (await search.app.aget_state(CONFIG)).values
    changes = {**with_more(before, {"calls": 6}), **reopened(before)}
    await search.app.ainvoke(None, await search.app.aupdate_state(CONFIG, changes, ANEW))
    end = (await search.app.aget_state(CONFIG)).values
    assert sum(used["calls"] for used in end["usage"].values()) == 26
    assert end["rollouts"] > before["rollouts"]
    assert end["programs"].keys() > before["programs"].keys()
