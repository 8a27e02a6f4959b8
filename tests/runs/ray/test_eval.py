"""`bdc eval` on Ray nodes that are objects of this process: all of it but Ray itself."""

import asyncio
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bdc_agents.agents import load_agents
from bdc_agents.config import StoreConfig
from bdc_agents.errors import AgentError, BDCError, ConfigError
from bdc_agents.evaluate import on_ray
from bdc_agents.evaluate.config import EvalConfig
from bdc_agents.evaluate.on_ray import evaluate_on, plan_for
from bdc_agents.evaluate.results import Results, Row, read_rows, solver_traces
from bdc_agents.evaluate.run import Report, evaluate
from bdc_agents.evaluate.setup import build_solvers, choose_tasks, load_team, specs
from bdc_agents.testing import ScriptedExecutor

CONFIG = EvalConfig(
    datasets=("demo",), solvers=("single:ann", "best-of:2"), limit=4, samples=2, concurrency=2, k=(1,)
)
ROWS = 4 * 2 * 2
NAMES = ("ann", "bob")
World = Any  # of conftest.py
Nodes = Callable[..., Any]  # its `FakeCluster`


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(on_ray, "IDLE_SECONDS", 0.02)


async def run(world: World, cluster: Any, config: EvalConfig = CONFIG, **more: Any) -> Report:
    """Evaluates into the folder `out` of the world."""
    settings, tasks = world.settings, choose_tasks(config)
    plan = plan_for(config, settings, tasks, NAMES, NAMES)
    told = more.pop("tell", lambda _: None)
    stop = more.pop("stop", None) or asyncio.Event()
    with Results(world.folder / "out", {"eval": config.model_dump(mode="json")}, {}) as results:
        on_row = more.pop("on_row", lambda _: None)
        return await evaluate_on(cluster, plan, tasks, results, on_row=on_row, tell=told, stop=stop)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110 - many things may make it true
            await asyncio.sleep(0.005)


def essence(folder: Path) -> dict[Any, Any]:
    return {row.key: (row.code, row.public, row.hidden, row.used.calls) for row in read_rows(folder)}


def lines(world: World) -> Counter[Any]:
    """How often each row was written."""
    text = (world.folder / "out/results.jsonl").read_text()
    rows = [Row.model_validate_json(line) for line in text.splitlines()]
    return Counter(row.key for row in rows)


# --- a whole evaluation ---------------------------------------------------------------------------


async def test_nodes_share_the_rows_and_make_what_one_process_makes(world: World, nodes: Nodes) -> None:
    executor = ScriptedExecutor(lambda job: 0.0)
    agents, tasks = load_team(world.settings, NAMES), choose_tasks(CONFIG)
    solvers = build_solvers(CONFIG, world.settings, specs(CONFIG), agents, NAMES, executor)
    with Results(world.folder / "local", {"eval": {}}, {}) as results:
        await evaluate(CONFIG, tasks, solvers, executor, results)
    asked = len(world.endpoint.requests)

    world.settings = world.settings.model_copy(update={"store": StoreConfig(cache=False)})
    world.delay = 0.02
    cluster = nodes("a", "b")
    report = await run(world, cluster)
    assert (report.wanted, report.made, report.unanswered, report.interrupted) == (ROWS, ROWS, (), False)
    assert essence(world.folder / "out") == essence(world.folder / "local")
    assert len(world.endpoint.requests) == 2 * asked
    assert [name for name, _ in cluster.opened] == ["a", "b"]
    assert all(node.delivered for _, node in cluster.opened)
    traces = solver_traces(world.folder / "out", CONFIG.solvers)
    assert {name: len(found) for name, found in traces.items()} == dict.fromkeys(CONFIG.solvers, 8)


async def test_what_is_there_is_not_made_again(world: World, nodes: Nodes) -> None:
    few = CONFIG.model_copy(update={"limit": 1})
    await run(world, nodes("a"), few)
    asked = len(world.endpoint.requests)
    assert (await run(world, nodes("a"), few)).made == 0
    assert len(world.endpoint.requests) == asked


# --- lost and found -------------------------------------------------------------------------------


async def test_a_lost_node_loses_nothing_and_repeats_only_what_was_in_flight(
    world: World, nodes: Nodes
) -> None:
    world.delay = 0.05
    cluster, told = nodes("a", "b"), []
    running = asyncio.create_task(run(world, cluster, tell=told.append))
    await until(lambda: len(world.endpoint.requests) >= 12)
    in_flight = world.open
    await cluster.lose("b")
    report = await running
    assert (report.made, report.unanswered) == (ROWS, ())
    assert set(lines(world).values()) == {1}
    assert len(lines(world)) == ROWS
    assert world.repeated <= in_flight + 2, "an answer may have been on its way"
    assert any("node b is lost" in text for text in told)


async def test_when_all_nodes_are_gone_the_same_call_goes_on(
    world: World, nodes: Nodes, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.delay = 0.05
    cluster = nodes("a")
    running = asyncio.create_task(run(world, cluster))
    await until(lambda: len(world.endpoint.requests) >= 8)
    cluster.gone = True
    with pytest.raises(BDCError, match="does not answer"):
        await running
    kept = len(read_rows(world.folder / "out"))
    assert 0 < kept < ROWS
    assert (await run(world, nodes("b"))).made == ROWS - kept


async def test_a_stop_keeps_the_rows_and_it_goes_on(world: World, nodes: Nodes) -> None:
    world.delay = 0.05
    stop = asyncio.Event()

    def on_row(_: object) -> None:
        stop.set()

    report = await run(world, nodes("a", "b"), stop=stop, on_row=on_row)
    assert report.interrupted
    assert 0 < report.made < ROWS
    again = await run(world, nodes("a"))
    assert (again.made, again.interrupted) == (ROWS - report.made, False)


# --- agents that do not answer --------------------------------------------------------------------


async def test_rows_that_a_node_without_agents_missed_are_made_by_others(
    world: World, nodes: Nodes, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = 0

    def cut_off(*words: Any, **more: Any) -> Any:
        """The first node that asks for agents reaches nobody."""
        nonlocal made
        made += 1
        agents = load_agents(*words, **more)
        if made == 1:
            for agent in agents:
                monkeypatch.setattr(agent, "reply", refuse)
        return agents

    async def refuse(*_: Any) -> Any:
        raise AgentError("ann", "no route to host")

    world.delay = 0.05
    cluster = nodes("a", "b")
    cluster.agents = cut_off
    told: list[str] = []
    report = await run(world, cluster, tell=told.append)
    assert (report.made, report.unanswered) == (ROWS, ())
    assert any("no agent answers any more" in text and "no route" in text for text in told)


async def test_without_any_agent_it_ends(world: World, nodes: Nodes) -> None:
    agents = {name: world.agent(name, base_url="http://127.0.0.1:9/v1") for name in NAMES}
    world.settings = world.settings.model_copy(update={"agents": agents})
    with pytest.raises(BDCError, match=r"no Ray node can work on this run: .* no agent answers any more"):
        await run(world, nodes("a"))
    assert read_rows(world.folder / "out") == []


# --- what travels, and what must not --------------------------------------------------------------


async def test_neither_keys_nor_hidden_tests_travel(
    world: World, nodes: Nodes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NODE_KEY", "hush-hush")
    agents = {name: world.agent(name, api_key_env="NODE_KEY") for name in NAMES}
    world.settings = world.settings.model_copy(update={"agents": agents})
    cluster = nodes("a")
    await run(world, cluster)
    sent = cluster.sent()
    assert b"hush" not in sent
    assert b"HiddenTests" not in sent
    agents = {name: world.agent(name, api_key="hush-hush") for name in NAMES}
    world.settings = world.settings.model_copy(update={"agents": agents})
    with pytest.raises(ConfigError, match="may hold a key") as refused:
        await run(world, nodes("a"))
    assert "hush" not in str(refused.value)


async def test_a_node_with_other_problems_is_refused(
    world: World, nodes: Nodes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(on_ray, "choose_tasks", lambda config, data: choose_tasks(config, data)[1:])
    with pytest.raises(ConfigError, match="problems of demo are not those of the driver"):
        await run(world, nodes("a"))


def test_the_driver_needs_no_key_to_name_the_solvers(world: World) -> None:
    agents = {name: world.agent(name, api_key_env="NOWHERE_SET") for name in NAMES}
    settings = world.settings.model_copy(update={"agents": agents})
    plan = plan_for(CONFIG, settings, choose_tasks(CONFIG), NAMES, NAMES)
    assert [solver.name for solver in on_ray.solvers_elsewhere(plan)] == [*CONFIG.solvers]


async def test_a_full_disk_ends_it_with_its_reason(
    world: World, nodes: Nodes, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> None:
        raise BDCError("cannot write: no space left")

    monkeypatch.setattr(Results, "add", full)
    with pytest.raises(BDCError, match="no space left"):
        await run(world, nodes("a"))
