"""A state of which parts are lost is refused, and a whole one is not; what is written to it, and read."""

import re
from collections.abc import Callable
from copy import deepcopy
from typing import Any

import pytest
from langgraph.checkpoint.memory import InMemorySaver
from pydantic import TypeAdapter

from bdc_agents.config import Budget, SearchConfig
from bdc_agents.errors import ConfigError, UsageError
from bdc_agents.search import create_search_graph
from bdc_agents.search.context import BudgetChanges, SearchChanges, read_context, settings_of
from bdc_agents.search.state import add_usage, check_whole, largest, news, remembering
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


async def test_a_program_that_passes_and_is_lost_is_told(whole: Any) -> None:
    with pytest.raises(UsageError, match="gone"):
        check_whole(whole | {"passing": {"gone": 1}})


@pytest.mark.parametrize("part", ["evaluating", "expanding", "refining"])
async def test_every_list_of_leaves_is_looked_at(part: str, whole: Any) -> None:
    check_whole(whole | {part: ["0"]})
    with pytest.raises(UsageError, match=r"0\.77"):
        check_whole(whole | {part: ["0", "0.77"]})


async def test_credit_for_as_many_programs_as_there_are_is_right(whole: Any) -> None:
    kept = sum(len(node["attempts"]) for node in whole["tree"].values())
    assert kept
    check_whole(whole | {"credit": {"ann": {"bob": [float(kept), 0.0, 0.0]}}})
    check_whole(whole | {"credit": {}})
    with pytest.raises(UsageError, match=f"{kept + 1} programs were written, {kept} are there"):
        check_whole(whole | {"credit": {"ann": {"bob": [1.0, 0.0, 0.0], "cat": [float(kept), 0.0, 0.0]}}})


@pytest.mark.parametrize(
    "damage",
    [
        {"usage": {"ann": {"calls": "many"}}},
        {"usage": {"ann": 3}},
        {"programs": {"p": 3}},
        {"tree": {"0": {"visits": -1}}},
        {"credit": {"ann": {"bob": []}}},
        {"rollouts": "some"},
    ],
)
async def test_a_part_of_another_kind_is_damage(damage: dict[str, Any], whole: Any) -> None:
    with pytest.raises(UsageError, match="are damaged"):
        check_whole(whole | damage)


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


def test_agents_need_the_largest_room_that_was_told() -> None:
    state = {"ann": 5, "bob": 7}
    assert largest(state, {"ann": 6, "bob": 2, "cat": 3}) == {"ann": 6, "bob": 7, "cat": 3}
    assert state == {"ann": 5, "bob": 7}


def test_a_write_holds_what_is_new_alone() -> None:
    state: Any = {"best": 0.5, "tree": {"0": {"visits": 2}}, "evaluating": ["0"], "full": False}
    assert news(state, {"best": 0.5, "evaluating": ["0"], "full": False}) == {}
    assert news(state, {"best": 0.6, "evaluating": [], "full": True}) == {
        "best": 0.6,
        "evaluating": [],
        "full": True,
    }
    for part in ("tree", "programs", "calls", "usage", "failing", "set_aside", "room"):
        assert news(state, {part: {}}) == {}
    assert news(state, {"tree": {"0": {"visits": 2}}}) == {"tree": {"0": {"visits": 2}}}
    assert news(state, {"usage": {"ann": {"calls": 1}}}) == {"usage": [{"ann": {"calls": 1}}]}


def test_settings_are_read_once_until_they_change() -> None:
    asked: list[Any] = []

    def read(given: dict[str, int], more: int = 0) -> int:
        asked.append((dict(given), more))
        return sum(given.values()) + more

    remembered, given = remembering(read), {"a": 1}
    assert [remembered(given), remembered({"a": 1}), remembered(given)] == [1, 1, 1]
    assert len(asked) == 1
    given["a"] = 2
    assert remembered(given) == 2, "what was given is looked at, not who gave it"
    assert [remembered(given, more=3), remembered(given, more=3)] == [5, 5]
    assert len(asked) == 3


def test_a_run_changes_what_it_names_and_keeps_the_rest() -> None:
    search, budget = SearchConfig(width=3, seed=5), Budget(calls=7)
    assert read_context(None, search, budget) == read_context({}, search, budget) == (search, budget)
    changed: Any = {"search": {"seed": 6}, "budget": {"tokens": 9}, "agents": ["ann"]}
    assert read_context(changed, search, budget) == (
        SearchConfig(width=3, seed=6),
        Budget(calls=7, tokens=9),
    )
    paper: Any = {"search": {"preset": "paper", "seed": 6}}
    found, _ = read_context(paper, search, budget)
    assert (found.policy, found.seed, found.width) == ("paper", 6, SearchConfig.preset("paper").width)
    assert paper["search"] == {"preset": "paper", "seed": 6}, "what was given stays as it was"


@pytest.mark.parametrize(
    ("context", "words"),
    [
        ("ann", "context is a dict, not 'ann'"),
        ({"agents": "ann"}, "context: agents is a list of names, not 'ann'"),
        ({"search": ["seed"]}, "context: search is a dict"),
        ({"budget": 3}, "context: budget is a dict, not 3"),
        ({"agent": ["ann"]}, "agent"),
        ({"search": {"width": -1}}, "width"),
        ({"budget": {"call": 3}}, "call"),
    ],
)
def test_a_context_that_says_something_else_is_refused(context: Any, words: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(words)):
        read_context(context, SearchConfig(), Budget())


def test_one_message_names_all_that_is_wrong_with_a_context() -> None:
    context: Any = {
        "serach": {},
        "search": {"preset": "papre", "widht": 3, "gamma": 7},
        "budget": {"call": 3, "tokens": -1},
        "agents": ["ann", "bop", 4],
    }
    with pytest.raises(ConfigError) as caught:
        read_context(context, SearchConfig(), Budget(), ["ann", "bob"])
    lines = str(caught.value).splitlines()
    assert len(lines) == 8
    for words in (
        "unknown key of the context 'serach'; did you mean search?",
        "context: search: unknown search preset 'papre'; did you mean paper?",
        "context: search: unknown key 'widht'; did you mean width?",
        "context: search: gamma: ",
        "context: budget: unknown key 'call'; did you mean calls?",
        "context: budget: tokens: ",
        "unknown agent 'bop'; did you mean bob?",
        "context: agents: a name is a text, not 4",
    ):
        assert sum(line.startswith(words) for line in lines) == 1, (words, lines)


def test_a_message_on_a_context_stays_short() -> None:
    context: Any = {f"key{n}": n for n in range(1000)}
    with pytest.raises(ConfigError) as caught:
        read_context(context, SearchConfig(), Budget())
    assert str(caught.value).splitlines()[-1] == "and 988 more"
    assert len(str(caught.value)) < 2000


def test_a_form_asks_for_none_of_the_changes() -> None:
    for changes in (SearchChanges, BudgetChanges):
        assert "required" not in TypeAdapter(changes).json_schema()
    with pytest.raises(ValueError, match="preset"):
        TypeAdapter(SearchChanges).validate_python({"preset": "papre"})


def test_a_change_is_all_that_was_set_beside_what_the_graph_set() -> None:
    walk: Any = {"search": {"bandit": 2}}
    found, _ = read_context(walk, SearchConfig(seed=5), Budget())
    assert found.policy == "paper", "as if it had been made with both"


def test_settings_are_taken_as_models_and_as_dicts() -> None:
    """As a run's context has them; README shows dicts there."""
    assert settings_of(None, None) == (SearchConfig(), Budget())
    assert settings_of({"preset": "paper"}, {"calls": 3}) == (SearchConfig.preset("paper"), Budget(calls=3))
    assert settings_of(SearchConfig(width=2), Budget(calls=3)) == (SearchConfig(width=2), Budget(calls=3))


@pytest.mark.parametrize(
    ("search", "budget", "words"),
    [
        (None, 3, "budget is a Budget or a dict, not 3"),
        ("paper", None, "search is a SearchConfig or a dict, not 'paper'"),
        ({"widht": 3}, None, "width"),
        (None, {"call": 3}, "calls"),
        (None, {"calls": 0}, "calls"),
    ],
)
def test_settings_that_are_none_are_refused(search: Any, budget: Any, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        settings_of(search, budget)
