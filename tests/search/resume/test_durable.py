"""A search that is killed at any moment goes on to the same tree; checkpointers do not change it."""

import asyncio
import json
import os
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver

from bdc_agents.config import AgentConfig, Budget, SearchConfig
from bdc_agents.errors import ConfigError, ProblemError, UsageError
from bdc_agents.search import asolve, create_search_graph
from bdc_agents.testing import ScriptedAgent, ScriptedEndpoint, ScriptedExecutor
from bdc_agents.types import Problem, Trace

from .savers import memory, sqlite

MakeExecutor = Callable[..., ScriptedExecutor]
SEARCH = SearchConfig(rollouts=6, leaves=2)
SCRIPT = Path(__file__).parent / "killed_search.py"


def killed(*words: str) -> list[dict[str, Any]]:
    environment = os.environ | {"LANGGRAPH_STRICT_MSGPACK": "true"}
    done = subprocess.run(
        [sys.executable, str(SCRIPT), *words],
        capture_output=True,
        text=True,
        timeout=500,  # A hundred processes, one after the other: against a hang, not a busy machine.
        env=environment,
    )
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.mark.parametrize("variant", ["default", "leaves"])
@pytest.mark.parametrize("kind", ["step", "call"])
def test_killed_anywhere_it_goes_on_to_the_same_tree(kind: str, variant: str) -> None:
    kills = killed(kind, variant)
    assert len(kills) > 5
    assert all(kill["same"] for kill in kills)
    assert not [call for kill in kills for call in kill["wasted"]]
    assert kind == "step" or all(kill["again"] for kill in kills)


def test_with_the_reply_cache_no_reply_that_came_is_asked_for_again() -> None:
    def respond(body: dict[str, Any]) -> str:
        if "reasonableness" in str(body):
            return json.dumps({"thoughts": [{"thought": f"idea {body['seed'] % 97}", "reasonableness": 0.5}]})
        return f"```python\ndef double(x):\n    return x + {body['seed'] % 1000}\n```"

    with ScriptedEndpoint(respond) as endpoint:
        kills = killed("answered", "default", endpoint.url)
        asked = [json.dumps(body, sort_keys=True) for body in endpoint.requests]
    assert len(kills) >= 3
    assert all(kill["same"] for kill in kills)
    # One search more was never killed.
    assert len(asked) <= (len(kills) + 1) * len(set(asked)) + 2 * len(kills)


# --- checkpointers ------------------------------------------------------------------------------


@asynccontextmanager
async def postgres(_: Path) -> AsyncIterator[Any]:
    """A server for it: docker run --rm -e POSTGRES_PASSWORD=pw -p 5432:5432 postgres:17

    Then BDC_TEST_POSTGRES=postgresql://postgres:pw@localhost:5432/postgres and
    pip install langgraph-checkpoint-postgres 'psycopg[binary]'.
    """
    if "BDC_TEST_POSTGRES" not in os.environ:
        pytest.skip("BDC_TEST_POSTGRES is not set")
    from langgraph.checkpoint.postgres.aio import AsyncPostgresSaver  # pyright: ignore

    async with AsyncPostgresSaver.from_conn_string(os.environ["BDC_TEST_POSTGRES"]) as saver:
        await saver.setup()
        yield saver


async def end_state(
    saver: Any, durability: str, agents: list[ScriptedAgent], executor: Any, problem: Problem
) -> dict:
    app = create_search_graph(agents, executor=executor, search=SEARCH).compile(checkpointer=saver)
    config: Any = {"configurable": {"thread_id": str(uuid4())}}
    await app.ainvoke({"problem": problem.model_dump(mode="json")}, config, durability=durability)  # type: ignore
    return (await app.aget_state(config)).values


@pytest.mark.parametrize("durability", ["sync", "async", "exit"])
@pytest.mark.parametrize("saver", [memory, sqlite, postgres])
async def test_every_checkpointer_keeps_the_same_tree(
    saver: Any, durability: str, pair: Any, make_executor: MakeExecutor, problem: Problem, tmp_path: Path
) -> None:
    plain = await asolve(problem, pair, executor=make_executor(), search=SEARCH)
    async with saver(tmp_path) as checkpointer:
        state = await end_state(checkpointer, durability, pair, make_executor(), problem)
    nodes = {node.id: node.model_dump(mode="json") for node in plain.nodes}
    assert state["tree"] == nodes
    assert state["programs"].keys() == plain.programs.keys()


# --- resuming in one process ----------------------------------------------------------------------


class Stop(Exception):
    """Ends a search from outside."""


async def cut_off(
    problem: Problem, agents: Any, executor: Any, saver: Any, steps: int, thread: str = "a"
) -> None:
    left = iter(range(steps))

    def count(_: Any) -> None:
        if next(left, None) is None:
            raise Stop

    with pytest.raises(Stop):
        await asolve(
            problem,
            agents,
            executor=executor,
            search=SEARCH,
            on_state=count,
            checkpointer=saver,
            thread=thread,
        )


async def test_a_pause_is_not_counted_as_time_of_the_search(
    pair: Any, make_executor: MakeExecutor, problem: Problem, monkeypatch: pytest.MonkeyPatch
) -> None:
    saver = InMemorySaver()
    await cut_off(problem, pair, make_executor(), saver, 5)
    loop = asyncio.get_running_loop()
    real = loop.time
    monkeypatch.setattr(loop, "time", lambda: real() + 3600)
    budget = Budget(seconds=60)
    trace = await asolve(
        problem,
        pair,
        executor=make_executor(),
        search=SEARCH,
        budget=budget,
        checkpointer=saver,
        thread="a",
    )
    assert trace.solution.stopped_by == "rollouts"
    assert 0 < trace.solution.seconds < 60


async def test_a_finished_search_is_returned_and_nobody_is_asked(
    pair: Any, make_executor: MakeExecutor, problem: Problem
) -> None:
    saver = InMemorySaver()
    first, again = [
        await asolve(problem, pair, executor=make_executor(), search=SEARCH, checkpointer=saver)
        for _ in range(2)
    ]
    assert again.nodes == first.nodes
    assert again.solution == first.solution
    assert len(pair[0].requests) == first.solution.usage["ann"].calls


async def test_a_thread_with_another_unfinished_problem_is_left_alone(
    pair: Any, make_executor: MakeExecutor, problem: Problem
) -> None:
    saver = InMemorySaver()
    await cut_off(problem, pair, make_executor(), saver, 4)
    other = problem.model_copy(update={"id": "other"})
    with pytest.raises(ProblemError, match="another thread"):
        await asolve(other, pair, executor=make_executor(), checkpointer=saver, thread="a")
    fresh: Trace = await asolve(other, pair, executor=make_executor(), checkpointer=saver, thread="b")
    assert fresh.problem.id == "other"


# --- the search that it was ---------------------------------------------------------------------


OTHERS: dict[str, dict[str, Any]] = {
    "search.seed": {"search": SEARCH.model_copy(update={"seed": 7})},
    "search.rollouts": {"search": SEARCH.model_copy(update={"rollouts": 9})},
    "problem.public_tests": {"tests": 3},
    "agents.bob": {"agents": 1},
}


@pytest.mark.parametrize("steps", [4, None])
@pytest.mark.parametrize("said", OTHERS)
async def test_another_search_on_its_thread_is_refused_and_says_what_differs(
    said: str, steps: int | None, pair: Any, make_executor: MakeExecutor, problem: Problem
) -> None:
    saver, executor = InMemorySaver(), make_executor()
    if steps:
        await cut_off(problem, pair, executor, saver, steps)
    else:
        await asolve(problem, pair, executor=executor, search=SEARCH, checkpointer=saver, thread="a")
    asked = len(pair[0].requests)
    other = OTHERS[said]
    tests = problem.public_tests[: other.get("tests")]
    with pytest.raises(UsageError, match=said):
        await asolve(
            problem.model_copy(update={"public_tests": tests}),
            pair[: other.get("agents")],
            executor=executor,
            search=other.get("search", SEARCH),
            checkpointer=saver,
            thread="a",
        )
    assert len(pair[0].requests) == asked


async def test_agents_of_another_model_are_other_agents(
    make_executor: MakeExecutor, problem: Problem
) -> None:
    class Named(ScriptedAgent):
        def __init__(self, model: str) -> None:
            super().__init__("ann", lambda _: "```python\nx = 1\n```")
            self.config = AgentConfig(model=model)

    saver, search = InMemorySaver(), SearchConfig(rollouts=1)
    await asolve(problem, [Named("a")], executor=make_executor(), search=search, checkpointer=saver)
    await asolve(problem, [Named("a")], executor=make_executor(), search=search, checkpointer=saver)
    with pytest.raises(UsageError, match=r"agents\.ann"):
        await asolve(problem, [Named("b")], executor=make_executor(), search=search, checkpointer=saver)


async def test_a_raised_budget_goes_on_from_where_it_was(
    pair: Any, make_executor: MakeExecutor, problem: Problem
) -> None:
    async def searched(calls: int, saver: Any) -> Trace:
        return await asolve(
            problem,
            pair,
            executor=make_executor(),
            search=SearchConfig(leaves=1),
            budget=Budget(calls=calls),
            checkpointer=saver,
        )

    saver = InMemorySaver()
    first = await searched(12, saver)
    assert first.solution.stopped_by == "calls"
    asked = sum(len(agent.requests) for agent in pair)
    more = await searched(30, saver)
    assert more.solution.stopped_by == "calls"
    made = sum(used.calls for used in more.solution.usage.values())
    assert asked < made <= 30
    assert made == sum(len(agent.requests) for agent in pair)
    assert {node.id for node in first.nodes} <= {node.id for node in more.nodes}
    assert first.programs.keys() <= more.programs.keys()
    assert (first.settings["budget"]["calls"], more.settings["budget"]["calls"]) == (12, 30)
    # With less nothing is taken back: what comes is labelled with what it was made with.
    less = await searched(5, saver)
    assert (less.solution, less.settings["budget"]["calls"]) == (more.solution, 30)


async def test_steps_of_which_parts_are_lost_are_refused(
    pair: Any, make_executor: MakeExecutor, problem: Problem, tmp_path: Path
) -> None:
    file = tmp_path / "checkpoint.sqlite"
    async with AsyncSqliteSaver.from_conn_string(str(file)) as saver:
        await cut_off(problem, pair, make_executor(), saver, 9)
    with sqlite3.connect(file) as base:
        base.execute("DELETE FROM writes WHERE channel = 'programs'")
    base.close()
    async with AsyncSqliteSaver.from_conn_string(str(file)) as saver:
        with pytest.raises(UsageError, match="parts of them are lost"):
            await asolve(
                problem, pair, executor=make_executor(), search=SEARCH, checkpointer=saver, thread="a"
            )


# --- what an edit and a context may say -----------------------------------------------------------


async def test_the_whole_state_written_back_changes_nothing(
    pair: Any, make_executor: MakeExecutor, problem: Problem
) -> None:
    graph = create_search_graph(pair, executor=make_executor(), search=SEARCH)
    app: Any = graph.compile(checkpointer=InMemorySaver())
    config = {"configurable": {"thread_id": "a"}}
    await app.ainvoke({"problem": problem.model_dump(mode="json")}, config)
    async for snapshot in app.aget_state_history(config):
        if snapshot.values.get("tree"):
            whole = (await app.aget_state(snapshot.config)).values
            edited = await app.aupdate_state(snapshot.config, whole)
            assert (await app.aget_state(edited)).values == whole


@pytest.mark.parametrize("key", ["agent", "serach", "seed", "calls"])
async def test_unknown_keys_of_a_context_are_refused(
    key: str, pair: Any, make_executor: MakeExecutor, problem: Problem
) -> None:
    app: Any = create_search_graph(pair, executor=make_executor()).compile()
    with pytest.raises(ConfigError, match=f"unknown key of the context '{key}'"):
        await app.ainvoke({"problem": problem.model_dump(mode="json")}, context={key: 1})
    assert not pair[0].requests


@pytest.mark.parametrize(
    ("context", "said"),
    [
        ({"agents": "ann"}, "context: agents is a list of names, not 'ann'"),
        ({"agents": 1}, "context: agents is a list of names, not 1"),
        ({"search": "paper"}, "context: search is a dict, not 'paper'"),
        ({"budget": 8}, "context: budget is a dict, not 8"),
    ],
)
async def test_values_of_another_kind_in_a_context_are_refused(
    context: Any, said: str, pair: Any, make_executor: MakeExecutor, problem: Problem
) -> None:
    app: Any = create_search_graph(pair, executor=make_executor()).compile()
    with pytest.raises(ConfigError, match=said):
        await app.ainvoke({"problem": problem.model_dump(mode="json")}, context=context)
    assert not pair[0].requests
