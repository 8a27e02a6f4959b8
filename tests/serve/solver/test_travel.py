"""Time travel in the solver graph: every checkpoint can be edited, and the graph goes on from there."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver

from bdc_agents import SearchConfig
from bdc_agents.sandbox import Job
from bdc_agents.serve import ChatRequest, RoutedModel, SolverConfig, create_solver_graph
from bdc_agents.testing import ScriptedAgent, ScriptedExecutor

DOUBLE = {"statement": "Write double(x), which returns twice x.", "tests": ["assert double(4) == 8"]}
RIGHT = "```python\ndef double(x):\n    return 2 * x\n```"
Make = Callable[..., RoutedModel]


def pays(job: Job) -> float:
    return 1.0 if "2 * x" in job.code else 0.0


def always_wrong(request: ChatRequest) -> str:
    return f"```python\ndef double(x):\n    return {request.seed % 1000} + x\n```"


@asynccontextmanager
async def memory(_: Path) -> AsyncIterator[Any]:
    yield InMemorySaver()


@asynccontextmanager
async def sqlite(folder: Path) -> AsyncIterator[Any]:
    async with AsyncSqliteSaver.from_conn_string(str(folder / "checkpoint.sqlite")) as saver:
        yield saver


def solver(scripted: Make, says: Callable[[ChatRequest], str]) -> Any:
    return create_solver_graph(
        scripted(says),
        agents=[ScriptedAgent("big", lambda _: RIGHT)],
        executor=ScriptedExecutor(pays),
        config=SolverConfig(samples=3),
        search=SearchConfig(rollouts=2),
    )


@pytest.mark.parametrize("saver", [memory, sqlite])
@pytest.mark.parametrize("as_node", [None, "route", "answer", "check"])
async def test_every_checkpoint_is_edited_and_goes_on(
    saver: Any, as_node: str | None, scripted: Make, tmp_path: Path
) -> None:
    config: Any = {"configurable": {"thread_id": "a"}}
    async with saver(tmp_path) as checkpointer:
        app = solver(scripted, always_wrong).compile(checkpointer=checkpointer)
        await app.ainvoke({"problem": DOUBLE}, config)
        history = [snapshot async for snapshot in app.aget_state_history(config)][::-1]
        assert [snapshot.next for snapshot in history[1:]] == [
            ("route",),
            ("answer",),
            ("check",),
            ("answer",),
            ("check",),
            ("escalate",),
            (),
        ]
        for snapshot in history[2:-1] if as_node else history[:-1]:
            given = snapshot.values if "route" in snapshot.values else {"problem": DOUBLE}
            for edit in ({"problem": DOUBLE}, given, {"problem": DOUBLE} | snapshot.values):
                edited = await app.aupdate_state(snapshot.config, edit, as_node=as_node)
                assert (await app.aget_state(edited)).next
                end = await app.ainvoke(None, edited)
                assert end["answer"]["solved"] is True
                assert end["answer"]["system"] == 2


async def test_an_edited_program_is_checked(scripted: Make) -> None:
    config: Any = {"configurable": {"thread_id": "a"}}
    app = solver(scripted, always_wrong).compile(checkpointer=InMemorySaver())
    await app.ainvoke({"problem": DOUBLE}, config)
    history = [snapshot async for snapshot in app.aget_state_history(config)]
    past = next(snapshot for snapshot in history if snapshot.next == ("escalate",))
    mine = {"code": "def double(x):\n    return 2 * x", "confidence": 1.0, "verdict": None}
    edited = await app.aupdate_state(
        past.config, {"programs": [*past.values["programs"], mine]}, as_node="answer"
    )
    end = await app.ainvoke(None, edited)
    assert (end["answer"]["solved"], end["answer"]["system"]) == (True, 1)


async def test_events_of_a_long_search_do_not_end_after_25_steps(scripted: Make) -> None:
    graph = create_solver_graph(
        scripted(always_wrong),
        agents=[ScriptedAgent("big", lambda request: always_wrong(request))],  # pyright: ignore
        executor=ScriptedExecutor(pays),
        config=SolverConfig(samples=1),
        search=SearchConfig(rollouts=20, leaves=1),
    )
    app: Any = graph.compile()
    events = [event async for event in app.astream_events({"problem": DOUBLE}, version="v2")]
    answer = events[-1]["data"]["output"]["answer"]
    assert (answer["solved"], answer["stopped_by"]) == (False, "rollouts")
