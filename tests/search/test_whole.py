"""A state of which parts are lost is refused, and a whole one is not."""

from collections.abc import Callable
from copy import deepcopy
from typing import Any

import pytest
from langgraph.checkpoint.memory import InMemorySaver

from bdc_agents.config import SearchConfig
from bdc_agents.errors import UsageError
from bdc_agents.search import create_search_graph
from bdc_agents.search.state import add_usage, check_whole
from bdc_agents.search.traces import trace_of
from bdc_agents.testing import ScriptedExecutor
from bdc_agents.types import Problem, Usage


@pytest.fixture
async def whole(pair: Any, make_executor: Callable[..., ScriptedExecutor], problem: Problem) -> Any:
    """All that a search has left."""
    graph = create_search_graph(pair, executor=make_executor(), search=SearchConfig(rollouts=3))
    app: Any = graph.compile(checkpointer=InMemorySaver())
    config = {"configurable": {"thread_id": "a"}}
    await app.ainvoke({"problem": problem.model_dump(mode="json")}, config)
    return deepcopy((await app.aget_state(config)).values)


async def test_what_a_search_has_left_is_whole(whole: Any) -> None:
    check_whole(whole)


async def test_each_program_and_each_node_that_is_lost_is_told(whole: Any) -> None:
    for part in ("programs", "tree"):
        for key in whole[part]:
            rest = {name: value for name, value in whole[part].items() if name != key}
            with pytest.raises(UsageError, match="are damaged"):
                check_whole(whole | {part: rest})


async def test_a_node_without_a_parent_is_told(whole: Any) -> None:
    node = next(value for key, value in whole["tree"].items() if key != "0")
    with pytest.raises(UsageError, match=r"0\.77"):
        check_whole(whole | {"tree": whole["tree"] | {"0.77": node | {"id": "0.77"}}})


async def test_a_leaf_to_evaluate_that_is_lost_is_told(whole: Any) -> None:
    with pytest.raises(UsageError, match=r"0\.77"):
        check_whole(whole | {"evaluating": ["0.77"]})


async def test_programs_that_were_credited_and_are_not_there_are_told(whole: Any) -> None:
    with pytest.raises(UsageError, match="1000 programs were written"):
        check_whole(whole | {"credit": {"ann": {"bob": [1000.0, 0.0, 0.0]}}})


async def test_a_search_that_was_cut_off_has_a_trace_that_says_so(whole: Any) -> None:
    cut = {key: value for key, value in whole.items() if key not in ("solution", "stopped_by")}
    trace = trace_of(cut)  # type: ignore[arg-type]
    assert trace.solution.stopped_by == "interrupted"
    assert trace.solution.code == whole["solution"]["code"]


def test_what_a_step_used_is_added_and_what_an_edit_says_replaces() -> None:
    one, two = Usage(calls=1).model_dump(), Usage(calls=2).model_dump()
    assert add_usage({"ann": two, "bob": one}, [{"ann": one}, {"ann": one}])["ann"]["calls"] == 4
    assert add_usage({"ann": two, "bob": one}, {"ann": one}) == {"ann": one, "bob": one}
