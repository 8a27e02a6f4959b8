"""What tracers see of a search: each run has a name, and no node repeats the whole state."""

import asyncio
import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.runnables import RunnableConfig
from langchain_core.tracers.run_collector import RunCollectorCallbackHandler
from langchain_core.tracers.schemas import Run
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import END, START, StateGraph
from typing_extensions import TypedDict

from bdc_agents import asolve, create_search_graph, create_search_tool, solve
from bdc_agents.search.wiring import in_brief
from bdc_agents.testing import ScriptedExecutor, ScriptedModel
from bdc_agents.types import Problem

MakeExecutor = Callable[..., ScriptedExecutor]


def respond(messages: Any) -> str:
    asked = "\n".join(str(message.content) for message in messages)
    if "reasonableness" in asked:
        return json.dumps({"thoughts": [{"thought": f"idea {len(asked)}", "reasonableness": 0.5}]})
    return f"```python\ndef double(x):\n    return x + {len(asked)}\n```"


@pytest.fixture
def model() -> ScriptedModel:
    return ScriptedModel(respond=respond)


def below(run: Run) -> Iterator[Run]:
    yield run
    for child in run.child_runs:
        yield from below(child)


def llm_runs(collector: RunCollectorCallbackHandler) -> list[Run]:
    return [run for root in collector.traced_runs for run in below(root) if run.run_type == "llm"]


def metadata(run: Run) -> dict[str, Any]:
    return (run.extra or {})["metadata"]


async def test_every_run_of_an_llm_says_who_is_asked_for_what_and_where(
    model: ScriptedModel, make_executor: MakeExecutor, problem: Problem
) -> None:
    collector = RunCollectorCallbackHandler()
    prompt = ChatPromptTemplate.from_messages([("system", "Be brief."), ("placeholder", "{messages}")])
    agents = {"plain": model, "prompted": prompt | model, "backed": model.with_fallbacks([model])}
    trace = await asolve(
        problem,
        agents,
        executor=make_executor(),
        search={"rollouts": 9},
        config={"callbacks": [collector], "tags": ["mine"], "metadata": {"ticket": 7}, "run_name": "ours"},
    )
    runs = llm_runs(collector)
    assert [root.name for root in collector.traced_runs] == ["ours"]
    assert len(runs) == len(trace.calls)
    told = [
        (run.name, metadata(run)["agent"], metadata(run)["purpose"], metadata(run)["node"]) for run in runs
    ]
    calls = [(call.agent, call.purpose, call.node) for call in trace.calls]
    assert sorted(told) == sorted(
        (f"{agent}: {purpose}", agent, purpose, node) for agent, purpose, node in calls
    )
    assert {purpose for _, purpose, _ in calls} >= {"boost", "expand"}
    assert all({"mine", "bdc-agents", f"agent:{metadata(run)['agent']}"} <= {*run.tags} for run in runs)
    assert all(metadata(run)["ticket"] == 7 and metadata(run)["problem"] == problem.id for run in runs)


async def test_a_name_that_a_caller_gave_a_model_stays(
    model: ScriptedModel, make_executor: MakeExecutor, problem: Problem
) -> None:
    collector = RunCollectorCallbackHandler()
    agents = {"a": model.with_config(run_name="own name", tags=["own tag"])}
    await asolve(
        problem,
        agents,
        executor=make_executor(),
        search={"rollouts": 2},
        config={"callbacks": [collector]},
    )
    runs = llm_runs(collector)
    assert {run.name for run in runs} == {"own name"}
    assert all({"own tag", "agent:a"} <= {*run.tags} for run in runs)


def test_a_synchronous_caller_is_traced_as_well(
    model: ScriptedModel, make_executor: MakeExecutor, problem: Problem
) -> None:
    collector = RunCollectorCallbackHandler()
    solve(
        problem,
        {"a": model},
        executor=make_executor(),
        search={"rollouts": 1},
        config={"callbacks": [collector], "tags": ["mine"]},
    )
    assert [root.name for root in collector.traced_runs] == ["search"]
    assert all("mine" in run.tags for run in llm_runs(collector))


async def test_a_thread_is_named_by_the_config_or_by_itself(
    model: ScriptedModel, make_executor: MakeExecutor, problem: Problem
) -> None:
    saver = InMemorySaver()
    settings: Any = {"executor": make_executor(), "search": {"rollouts": 1}, "checkpointer": saver}
    await asolve(problem, {"a": model}, **settings, config={"configurable": {"thread_id": "one"}})
    await asolve(
        problem, {"a": model}, **settings, thread="two", config={"configurable": {"thread_id": "one"}}
    )
    await asolve(problem, {"a": model}, **settings)
    threads = {kept.config["configurable"]["thread_id"] for kept in saver.list(None)}
    assert threads == {"one", "two", "search"}


class Outer(TypedDict, total=False):
    problem: dict[str, Any]
    solved: bool


async def test_a_node_hands_its_own_config_on(
    model: ScriptedModel, make_executor: MakeExecutor, problem: Problem
) -> None:
    async def ask(state: Outer, config: RunnableConfig) -> Outer:
        found = await asolve(
            state.get("problem", {}),
            {"a": model},
            executor=make_executor(),
            search={"rollouts": 2},
            config=config,
        )
        return {"solved": found.solution.solved}

    collector, saver = RunCollectorCallbackHandler(), InMemorySaver()
    outer = StateGraph(Outer)
    outer.add_node("ask", ask)
    outer.add_edge(START, "ask")
    outer.add_edge("ask", END)
    app: Any = outer.compile(checkpointer=saver)
    config: Any = {"configurable": {"thread_id": "outer"}, "callbacks": [collector]}
    await app.ainvoke({"problem": problem.model_dump(mode="json")}, config)
    (root,) = collector.traced_runs
    assert [run.name for run in below(root)][:3] == ["LangGraph", "ask", "search"]
    kept = {kept.config["configurable"]["checkpoint_ns"] for kept in saver.list(None)}
    assert kept == {""}, "the search keeps nothing among the steps of the graph that calls it"


@pytest.mark.parametrize("sync", [False, True])
async def test_a_search_of_a_tool_is_a_part_of_the_tool_s_run(
    sync: bool, model: ScriptedModel, make_executor: MakeExecutor
) -> None:
    collector = RunCollectorCallbackHandler()
    tool = create_search_tool({"a": model}, executor=make_executor(), search={"rollouts": 1})
    given = {"statement": "Double x.", "tests": ["double(1) == 2"]}
    config: Any = {"callbacks": [collector]}
    if sync:
        await asyncio.to_thread(tool.invoke, given, config)
    else:
        await tool.ainvoke(given, config)
    (root,) = collector.traced_runs
    assert (root.run_type, root.child_runs[0].name) == ("tool", "search")
    assert llm_runs(collector)


# --- how much is told ---------------------------------------------------------------------------------


async def test_a_node_tells_tracers_the_state_in_brief(
    model: ScriptedModel, make_executor: MakeExecutor, problem: Problem
) -> None:
    collector = RunCollectorCallbackHandler()
    graph = create_search_graph({"a": model}, executor=make_executor(), search={"rollouts": 12})
    app: Any = graph.compile()
    state = await app.ainvoke({"problem": problem}, {"callbacks": [collector]})
    (root,) = collector.traced_runs
    nodes = [run for run in root.child_runs if run.name in graph.nodes]
    assert len(nodes) > 20
    sizes = [len(json.dumps(run.inputs, default=str)) for run in nodes]
    assert max(sizes) < 2000 < len(json.dumps(state["tree"]))
    last = nodes[-1].inputs
    assert last["tree"] == f"{len(state['tree'])} entries"
    assert last["rollouts"] == 12
    # What a node writes is told whole.
    told: dict[str, Any] = {}
    for run in nodes:
        told |= (run.outputs or {}).get("programs", {}) if run.name == "execute" else {}
    assert told == state["programs"]


def test_a_brief_state_has_texts_numbers_and_short_lists() -> None:
    state = {"a": 1, "b": None, "c": ["0.1"], "d": {"x": 1}, "e": "x" * 500, "f": ["y"] * 50, "g": [{}]}
    told = in_brief(state)
    assert told["a"] == 1
    assert told["b"] is None
    assert told["c"] == ["0.1"]
    assert told["d"] == "1 entries"
    assert len(told["e"]) < 300
    assert told["f"] == "50 entries"
    assert told["g"] == "1 entries"
    assert in_brief(object()) == {"type": "object"}


# --- how much is streamed -----------------------------------------------------------------------------


async def test_streams_and_histories_leave_programs_out_and_results_and_states_have_them(
    model: ScriptedModel, make_executor: MakeExecutor, problem: Problem
) -> None:
    graph = create_search_graph({"a": model}, executor=make_executor(), search={"rollouts": 6})
    app: Any = graph.compile(checkpointer=InMemorySaver())
    config = {"configurable": {"thread_id": "1"}}
    given = {"problem": problem.model_dump(mode="json")}
    heavy = {"programs", "drafts", "calls"}
    async for mode, chunk in app.astream(given, config, stream_mode=["values", "updates"]):
        parts = [chunk] if mode == "values" else [*chunk.values()]
        assert not any(heavy & {*(part or {})} for part in parts)
    history = [snapshot async for snapshot in app.aget_state_history(config)]
    assert all("tree" in snapshot.values for snapshot in history[:-2])
    assert not any(heavy & snapshot.values.keys() for snapshot in history)
    for whole in (await app.aget_state(config), app.get_state(config), app.copy().get_state(config)):
        assert whole.values["programs"]
        assert whole.values["calls"]
    past = next(one for one in history if one.next == ("execute",))
    assert (await app.aget_state(past.config)).values["drafts"]
    result = await app.ainvoke(given, {"configurable": {"thread_id": "2"}})
    assert result["programs"].keys() == whole.values["programs"].keys()
    assert result["calls"].keys() == whole.values["calls"].keys()
