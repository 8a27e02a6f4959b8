"""Time travel: every checkpoint of a search can be edited, and the search goes on from there."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import END, START, StateGraph
from typing_extensions import TypedDict

from bdc_agents.config import SearchConfig
from bdc_agents.search import create_search_graph
from bdc_agents.search.state import SearchState
from bdc_agents.testing import ScriptedExecutor
from bdc_agents.types import Problem

from .savers import memory, sqlite

MakeExecutor = Callable[..., ScriptedExecutor]
SHAPES = {
    # Thoughts are believed to help, so that some are asked for.
    "one leaf": SearchConfig(
        rollouts=5, leaves=1, beliefs={"counts": {f"write//{name}": (0, 0, 0, 30) for name in ("ann", "bob")}}
    ),
    "side by side": SearchConfig(rollouts=6, leaves=2, expand="eager"),
    "paper": SearchConfig.preset("paper", rollouts=4),
}


async def searched(app: Any, problem: Problem) -> list[Any]:
    """All checkpoints of a search, the first one first."""
    config = {"configurable": {"thread_id": "a"}}
    await app.ainvoke({"problem": problem.model_dump(mode="json")}, config)
    history = [snapshot async for snapshot in app.aget_state_history(config)]
    assert history[0].values["solution"]["stopped_by"] == "rollouts"
    assert history[0].next == ()
    return history[::-1]


async def goes_on(app: Any, config: Any) -> dict[str, Any]:
    """The end of a search that goes on from an edited checkpoint."""
    edited = await app.aget_state(config)
    assert edited.next
    state = await app.ainvoke(None, config)
    assert state["solution"]["stopped_by"] in ("rollouts", "solved", "exhausted")
    assert state["solution"]["code"]
    return (await app.aget_state({"configurable": {"thread_id": "a"}})).values


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("saver", [memory, sqlite])
async def test_every_checkpoint_is_edited_and_goes_on(
    saver: Any, shape: str, pair: Any, make_executor: MakeExecutor, problem: Problem, tmp_path: Path
) -> None:
    given = problem.model_dump(mode="json")
    async with saver(tmp_path) as checkpointer:
        graph = create_search_graph(pair, executor=make_executor(), search=SHAPES[shape])
        app: Any = graph.compile(checkpointer=checkpointer)
        history = await searched(app, problem)
        assert {name for snapshot in history for name in snapshot.next} >= {
            "select",
            "expand",
            "boost",
            "execute",
            "backpropagate",
            "finish",
        }
        before = history[0]
        for snapshot in history[:-1]:
            # The first checkpoint is the input's: what takes its place is an input, too.
            small = {"problem": given} if snapshot is before else {"best": 0.0}
            config = await app.aupdate_state(snapshot.config, small)
            if "__start__" not in snapshot.next:
                assert (await app.aget_state(config)).next == snapshot.next
            await goes_on(app, config)
            whole = {"problem": given} | snapshot.values
            config = await app.aupdate_state(snapshot.config, whole)
            end = await goes_on(app, config)
            assert end["rollouts"] == history[-1].values["rollouts"]


@pytest.mark.parametrize("node", ["start", "select", "expand", "boost", "execute", "backpropagate"])
async def test_an_edit_in_the_name_of_any_node_goes_on(
    node: str, pair: Any, make_executor: MakeExecutor, problem: Problem
) -> None:
    graph = create_search_graph(pair, executor=make_executor(), search=SHAPES["side by side"])
    app: Any = graph.compile(checkpointer=InMemorySaver())
    for snapshot in (await searched(app, problem))[2:-1]:
        config = await app.aupdate_state(snapshot.config, {"best": 0.0}, as_node=node)
        await goes_on(app, config)


async def test_an_edit_that_empties_a_round_lets_it_pass(
    pair: Any, make_executor: MakeExecutor, problem: Problem
) -> None:
    graph = create_search_graph(pair, executor=make_executor(), search=SHAPES["one leaf"])
    app: Any = graph.compile(checkpointer=InMemorySaver())
    empty = {"evaluating": [], "expanding": [], "refining": [], "drafts": []}
    for snapshot in (await searched(app, problem))[2:-1]:
        config = await app.aupdate_state(snapshot.config, empty)
        end = await goes_on(app, config)
        assert end["rollouts"] == 5


# --- the limit of steps -------------------------------------------------------------------------


class Outer(TypedDict, total=False):
    problem: dict[str, Any]
    solution: dict[str, Any]


@pytest.fixture
def long_search(pair: Any, make_executor: MakeExecutor) -> Any:
    """A search of far more than 25 steps."""
    return create_search_graph(pair, executor=make_executor(), search=SearchConfig(rollouts=20, leaves=1))


async def end_of(app: Any, problem: Problem, **settings: Any) -> dict[str, Any]:
    """The output of the outermost run, as its events tell it."""
    config = {"configurable": {"thread_id": "a"}} | settings
    given = {"problem": problem.model_dump(mode="json")}
    events = [event async for event in app.astream_events(given, config, version="v2")]
    return events[-1]["data"]["output"]


async def test_events_do_not_end_after_25_steps(long_search: Any, problem: Problem) -> None:
    app = long_search.compile(checkpointer=InMemorySaver())
    output = await end_of(app, problem)
    assert output["solution"]["tree"]["rollouts"] == 20
    steps = [
        snapshot.metadata["step"]
        async for snapshot in app.aget_state_history({"configurable": {"thread_id": "a"}})
    ]
    assert max(steps) > 50


@pytest.mark.parametrize("copied", [lambda app: app.copy(), lambda app: app.with_config(tags=["mine"])])
async def test_a_copy_carries_the_limit_too(copied: Any, long_search: Any, problem: Problem) -> None:
    app = copied(long_search.compile(checkpointer=InMemorySaver()))
    assert (await end_of(app, problem))["solution"]["tree"]["rollouts"] == 20


async def test_a_node_of_another_app_carries_it_too(long_search: Any, problem: Problem) -> None:
    outer = StateGraph(Outer)
    outer.add_node("search", long_search.compile())
    outer.add_edge(START, "search")
    outer.add_edge("search", END)
    app = outer.compile(checkpointer=InMemorySaver())
    assert (await end_of(app, problem))["solution"]["tree"]["rollouts"] == 20
    given: Any = {"problem": problem.model_dump(mode="json")}
    config: Any = {"configurable": {"thread_id": "b"}}
    assert (await app.ainvoke(given, config))["solution"]["tree"]["rollouts"] == 20


async def test_a_limit_that_was_asked_for_holds(long_search: Any, problem: Problem) -> None:
    from langgraph.errors import GraphRecursionError

    with pytest.raises(GraphRecursionError):
        await end_of(long_search.compile(), problem, recursion_limit=9)


# --- the picture --------------------------------------------------------------------------------


def test_the_drawn_graph_is_that_of_the_picture(pair: Any, make_executor: MakeExecutor) -> None:
    drawn = create_search_graph(pair, executor=make_executor()).compile().get_graph()
    assert {(edge.source, edge.target, edge.conditional) for edge in drawn.edges} == {
        ("__start__", "start", False),
        ("start", "select", False),
        ("select", "expand", True),
        ("select", "boost", True),
        ("select", "finish", True),
        ("expand", "execute", True),
        ("expand", "select", True),
        ("boost", "execute", False),
        ("execute", "backpropagate", False),
        ("backpropagate", "select", True),
        ("backpropagate", "boost", True),
        ("finish", "__end__", False),
    }


def test_every_step_says_what_it_wrote(pair: Any, make_executor: MakeExecutor, problem: Problem) -> None:
    app: Any = create_search_graph(pair, executor=make_executor(), search=SHAPES["one leaf"]).compile()
    updates = [*app.stream({"problem": problem.model_dump(mode="json")}, stream_mode="updates")]
    assert len(updates) > 10
    assert all(repr(update) for update in updates)
    assert {key for update in updates for wrote in update.values() for key in wrote or ()} <= {
        *SearchState.__annotations__
    }
