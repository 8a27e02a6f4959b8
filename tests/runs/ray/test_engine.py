"""The Ray engine over nodes that are objects of this process: all of it but Ray itself."""

import asyncio
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bdc_agents.cli.collect import engine_for
from bdc_agents.config import Budget, SearchConfig
from bdc_agents.data import load_tasks
from bdc_agents.errors import BDCError, ConfigError, ModelError, ProblemError
from bdc_agents.runs import read_traces
from bdc_agents.runs.collect.engine import OpenRun, local_engine
from bdc_agents.runs.collect.run import CollectConfig, Collected, acollect
from bdc_agents.runs.ray import connect, engine, node, spread
from bdc_agents.runs.ray.desk import Desk, NodeLost, Service
from bdc_agents.runs.ray.engine import plan_for, search_on
from bdc_agents.types import Trace, content_hash

DEMO = CollectConfig(datasets=("demo",), limit=5)
PROBLEMS = sorted(task.problem.id for task in load_tasks("demo", limit=5))
World = Any  # of conftest.py
Nodes = Callable[..., Any]  # its `FakeCluster`


async def collect(world: World, cluster: Any, config: CollectConfig = DEMO, **more: Any) -> Collected:
    async def engine(opened: OpenRun) -> str | None:
        return await search_on(cluster, opened, plan_for(opened))

    settings = world.settings.model_copy(update=more.pop("settings", {}))
    return await acollect(config, world.folder / "run", settings, engine=engine, **more)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110 - many things may make it true
            await asyncio.sleep(0.005)


# --- a whole run ----------------------------------------------------------------------------------


async def test_nodes_share_the_work_and_each_problem_gets_one_trace(world: World, nodes: Nodes) -> None:
    world.delay = 0.02
    cluster = nodes("a", "b")
    collected = await collect(world, cluster, DEMO.model_copy(update={"concurrency": 1}))
    assert (collected.ended, collected.failures) == ("complete", {})
    assert sorted(world.ids()) == PROBLEMS
    assert world.repeated == 0
    assert [name for name, _ in cluster.opened] == ["a", "b"]
    loads = collected.progress.loads
    assert {name: load.slots for name, load in loads.items()} == {"ann": 16, "bob": 16}, "of both nodes"
    assert sum(load.usage.calls for load in loads.values()) == len(world.endpoint.requests)
    assert collected.progress.spent.calls == len(world.endpoint.requests)


async def test_a_run_goes_on_from_one_engine_to_the_other_without_asking_again(
    world: World, nodes: Nodes
) -> None:
    few = DEMO.model_copy(update={"limit": 2})
    await acollect(few, world.folder / "one", world.settings, engine=local_engine())
    asked = len(world.endpoint.requests)
    cluster = nodes("a")
    cluster.executor = None  # type: ignore[assignment] # the real sandbox, as in the first run
    collected = await collect(world, cluster, few)
    assert collected.ended == "complete"
    assert len(world.endpoint.requests) == asked, "its replies have the keys of the other engine"


# --- lost and found -------------------------------------------------------------------------------


async def test_the_problems_of_a_lost_node_go_to_the_others_at_once(world: World, nodes: Nodes) -> None:
    world.delay = 0.05
    cluster = nodes("a", "b")
    running = asyncio.create_task(collect(world, cluster))
    await until(lambda: len(world.endpoint.requests) >= 12)
    in_flight = world.open
    await cluster.lose("b")
    collected = await running
    assert collected.ended == "complete"
    assert sorted(world.ids()) == PROBLEMS
    assert world.repeated <= in_flight + len(world.settings.agents)
    assert any("node b is lost" in note for note in collected.notes)


async def test_a_node_that_joins_gets_a_worker(world: World, nodes: Nodes) -> None:
    world.delay = 0.05
    cluster = nodes()
    running = asyncio.create_task(collect(world, cluster, DEMO.model_copy(update={"concurrency": 1})))
    await asyncio.sleep(0.1)
    cluster.alive["a"] = "a"
    await until(lambda: len(world.endpoint.requests) >= 2)
    cluster.alive["b"] = "b"
    assert (await running).ended == "complete"
    assert [name for name, _ in cluster.opened] == ["a", "b"]


async def test_a_node_whose_worker_dies_again_and_again_is_left_alone(world: World, nodes: Nodes) -> None:
    world.delay = 0.2
    cluster = nodes("a")
    running = asyncio.create_task(collect(world, cluster))
    for count in range(1, spread.MOST_LOSSES + 1):
        await until(lambda count=count: len(cluster.opened) == count)
        await cluster.opened[-1][1].kill()
    with pytest.raises(BDCError, match="no Ray node can work on this run: the worker on node a was lost"):
        await running
    cluster = nodes("a")
    world.delay = 0.0
    assert (await collect(world, cluster)).ended == "complete"


async def test_a_run_without_nodes_ends_after_a_while(
    world: World, nodes: Nodes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spread, "NODELESS_SECONDS", 0.2)
    with pytest.raises(BDCError, match="no Ray node had a core"):
        await collect(world, nodes())


async def test_a_cluster_that_is_gone_ends_the_run_and_it_can_go_on(world: World, nodes: Nodes) -> None:
    world.delay = 0.05
    cluster = nodes("a")
    running = asyncio.create_task(collect(world, cluster))
    await until(lambda: len(world.endpoint.requests) >= 4)
    cluster.gone = True
    with pytest.raises(BDCError, match="does not answer"):
        await running
    collected = await collect(world, nodes("a"))
    assert (collected.ended, sorted(world.ids())) == ("complete", PROBLEMS)


async def test_a_stopped_run_gives_everything_back(world: World, nodes: Nodes) -> None:
    world.delay = 0.05
    stop = asyncio.Event()
    running = asyncio.create_task(collect(world, nodes("a", "b"), stop=stop))
    await until(lambda: len(world.endpoint.requests) >= 8)
    stop.set()
    collected = await running
    assert (collected.ended, collected.progress.totals.leased) == ("stopped", 0)
    assert (await collect(world, nodes("a"))).ended == "complete"
    assert sorted(world.ids()) == PROBLEMS


async def test_a_stop_does_not_wait_for_a_node_that_never_starts(world: World, nodes: Nodes) -> None:
    cluster, stop = nodes("a"), asyncio.Event()
    cluster.full.add("a")
    running = asyncio.create_task(collect(world, cluster, stop=stop))
    await until(lambda: bool(cluster.opened))
    stop.set()
    async with asyncio.timeout(5):
        assert (await running).ended == "stopped"


async def test_nor_does_the_end_of_a_run(world: World, nodes: Nodes) -> None:
    cluster = nodes("a", "b")
    cluster.full.add("b")
    assert (await collect(world, cluster)).ended == "complete"
    assert sorted(world.ids()) == PROBLEMS


async def test_the_budget_of_the_run_holds_over_all_nodes(world: World, nodes: Nodes) -> None:
    config = DEMO.model_copy(update={"budget": Budget(calls=9)})
    collected = await collect(world, nodes("a", "b"), config)
    assert collected.ended == "calls"
    assert len(world.endpoint.requests) <= collected.progress.spent.calls <= 9
    assert collected.progress.totals.leased == 0


# --- what a node is told --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"api_key": "hush-hush"}, "api_key"),
        ({"options": {"default_headers": {"x": "hush-hush"}}}, "default_headers"),
        ({"base_url": "http://me:hush-hush@host/v1"}, "base_url"),
    ],
)
async def test_a_key_does_not_travel(world: World, nodes: Nodes, changes: dict[str, Any], told: str) -> None:
    agents = world.settings.agents | {"ann": world.agent("ann", **changes)}
    cluster = nodes("a")
    with pytest.raises(ConfigError, match=rf"'ann': {told} may hold a key.*api_key_env") as refused:
        await collect(world, cluster, settings={"agents": agents})
    assert "hush" not in str(refused.value)
    assert cluster.opened == []


async def test_a_key_is_found_where_the_node_is(
    world: World, nodes: Nodes, monkeypatch: pytest.MonkeyPatch
) -> None:
    agents = {"ann": world.agent("ann", api_key_env="NODE_KEY")}
    with pytest.raises(ConfigError, match=r"no Ray node can work on this run: node a: .*NODE_KEY"):
        await collect(world, nodes("a"), settings={"agents": agents})
    monkeypatch.setenv("NODE_KEY", "hush-hush")
    cluster = nodes("a")
    assert (await collect(world, cluster, settings={"agents": agents})).ended == "complete"
    assert b"hush" not in cluster.sent()


async def test_no_hidden_test_travels(world: World, nodes: Nodes) -> None:
    cluster = nodes("a")
    await collect(world, cluster)
    sent = cluster.sent()
    assert b"HiddenTests" not in sent
    assert PROBLEMS[0].encode() in sent


async def test_a_node_without_the_data_takes_no_problem(
    world: World, nodes: Nodes, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(address: str, **_: Any) -> Any:
        raise ProblemError(f"{address}: no such folder")

    monkeypatch.setattr(engine, "load_task", missing)
    with pytest.raises(ConfigError, match=r"node a: it cannot load .*BDC_DATA"):
        await collect(world, nodes("a"))
    monkeypatch.undo()
    collected = await collect(world, nodes("a"))
    assert (collected.ended, collected.failures) == ("complete", {})


async def test_a_node_with_other_prompts_is_left_out(
    world: World, nodes: Nodes, monkeypatch: pytest.MonkeyPatch
) -> None:
    hashes = iter(["the driver's", "the node's"])
    monkeypatch.setattr(node, "prompts_hash", lambda: next(hashes))
    with pytest.raises(ConfigError, match="install the same there"):
        await collect(world, nodes("a"))


async def test_a_worker_hears_answers_and_errors_until_it_is_dismissed(nodes: Nodes) -> None:
    async def double(number: int, *, plus: int = 0) -> int:
        if number < 0:
            raise BDCError("the disk is full")
        return 2 * number + plus

    async with Service(await nodes().start(Desk)) as service:
        line, other = service.admit({"double": double}), service.admit({})
        assert await asyncio.gather(*(line.ask("double", n, plus=1) for n in range(9))) == [*range(1, 19, 2)]
        with pytest.raises(BDCError, match="the disk is full"):
            await line.ask("double", -1)
        with pytest.raises(BDCError, match="KeyError: 'double'"):
            await other.ask("double", 1)
        await service.dismiss(line)
        with pytest.raises(BDCError, match="given this worker up"):
            await line.ask("double", 1)
    with pytest.raises(NodeLost):
        await line.ask("double", 1)


async def test_what_a_lost_worker_had_handed_over_is_finished_and_what_it_waits_for_is_not(
    nodes: Nodes,
) -> None:
    begun, kept = asyncio.Event(), []

    async def done(name: str) -> None:
        begun.set()
        await asyncio.sleep(0.05)
        kept.append(name)

    async with Service(await nodes().start(Desk)) as service:
        line = service.admit({"done": done, "reserve": asyncio.Event().wait})
        calls = [asyncio.create_task(line.ask("reserve")), asyncio.create_task(line.ask("done", "p:1"))]
        await begun.wait()
        await service.dismiss(line)
        assert kept == ["p:1"]
    await asyncio.gather(*calls, return_exceptions=True)


async def test_without_its_desk_a_run_ends_and_the_same_command_goes_on(world: World, nodes: Nodes) -> None:
    world.delay = 0.05
    cluster = nodes("a")
    running = asyncio.create_task(collect(world, cluster))
    await until(lambda: len(world.endpoint.requests) >= 4)
    await cluster.desk.kill()
    with pytest.raises(BDCError, match="the same command goes on"):
        await running
    assert (await collect(world, nodes("a"))).ended == "complete"
    assert sorted(world.ids()) == PROBLEMS


# --- how to connect -------------------------------------------------------------------------------


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> pytest.MonkeyPatch:
    """No Ray is imported, and nothing is known of a token."""
    monkeypatch.delitem(sys.modules, "ray", raising=False)
    monkeypatch.setattr(os, "environ", {"HOME": str(tmp_path), "PATH": ""})
    return monkeypatch


@pytest.mark.parametrize(
    ("environment", "address", "told"),
    [
        ({}, "10.0.0.1:6379", "no token for the Ray cluster at 10.0.0.1:6379: set RAY_AUTH_TOKEN"),
        ({"RAY_AUTH_MODE": "disabled"}, "auto", "open to anyone who reaches it"),
        ({"RAY_AUTH_TOKEN": "t"}, "ray://10.0.0.1:10001", "write HOST:PORT"),
        ({"RAY_AUTH_TOKEN": "t"}, "10.0.0.1", "write HOST:PORT"),
    ],
)
async def test_a_cluster_is_joined_with_a_token_alone(
    bare: pytest.MonkeyPatch, environment: dict[str, str], address: str, told: str
) -> None:
    os.environ.update(environment)
    with pytest.raises(ConfigError, match=told):
        async with connect.connected(address):
            pass


async def test_without_ray_it_says_what_to_install(bare: pytest.MonkeyPatch) -> None:
    bare.setitem(sys.modules, "ray", None)
    with pytest.raises(ModelError, match=r"pip install 'bdc-agents\[ray\]'"):
        async with connect.connected(None):
            pass


def test_the_engine_loads_ray_when_it_is_used() -> None:
    code = "import sys, bdc_agents.cli.collect as c; c.engine_for('ray', None); print('ray' in sys.modules)"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "False"


def test_an_address_is_for_the_ray_engine_alone() -> None:
    assert engine_for("local", None) is None
    with pytest.raises(ConfigError, match="needs --engine ray"):
        engine_for("local", "auto")


# --- a budget that all problems share ---------------------------------------------------------------


async def test_a_pool_is_shared_out_alike_on_nodes_and_on_one_machine(world: World, nodes: Nodes) -> None:
    world.delay = 0.01
    pooled = DEMO.model_copy(update={"pool": Budget(calls=40)})
    settings = {"search": SearchConfig(), "budget": Budget()}

    shown = {task.problem.id: task.problem.public_tests for task in load_tasks("demo", limit=5)}

    def reward(job: Any) -> float:
        """Every second problem is easy; no program passes hidden tests, or agrees with another."""
        number = next((n for n, one in enumerate(PROBLEMS) if shown[one][0] in job.tests), 0)
        return float(int(content_hash(job.code), 16) % (1, 40)[number % 2] == 0)

    world.executor.reward = reward
    await world.collect("whole", pooled, **settings)
    cluster = nodes("a", "b")
    cluster.executor = world.executor
    running = asyncio.create_task(collect(world, cluster, pooled, settings=settings))
    await until(lambda: (world.folder / "run/trace.jsonl").exists() and len(records(world, "run")) >= 5)
    await cluster.lose("b")
    collected = await running
    assert collected.ended == "complete"
    assert collected.pooled.rounds > 1
    assert {t.problem.id: t.solution.code for t in records(world, "run")} == {
        t.problem.id: t.solution.code for t in records(world, "whole")
    }
    assert len(records(world, "run")) == len(records(world, "whole"))


def records(world: World, run: str) -> list[Trace]:
    return read_traces(world.folder / run)
