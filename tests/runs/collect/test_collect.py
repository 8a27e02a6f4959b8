import asyncio
import json
import os
from typing import Any
from uuid import uuid4

import pytest

from bdc_agents.config import Budget, SearchConfig, StoreConfig
from bdc_agents.data import load_tasks
from bdc_agents.errors import BDCError, ConfigError, UsageError
from bdc_agents.runs import open_run, read_run, read_traces
from bdc_agents.runs.collect.progress import Progress
from bdc_agents.runs.collect.run import CollectConfig
from bdc_agents.runs.jobs.sqlite import SqliteJobs
from bdc_agents.testing import ScriptedExecutor
from bdc_agents.types import Trace

DEMO = CollectConfig(datasets=("demo",), limit=5)
PROBLEMS = sorted(task.problem.id for task in load_tasks("demo", limit=5))


World = Any  # of conftest.py


# --- a whole run ----------------------------------------------------------------------------------


async def test_every_problem_gets_one_trace_with_its_decision_and_lineage(world: World) -> None:
    told: list[Trace] = []
    collected = await world.collect(on_trace=told.append)
    assert collected.ended == "complete"
    assert collected.progress.totals.done == collected.progress.done_here == len(PROBLEMS)
    assert sorted(world.traces()) == sorted(trace.problem.id for trace in told) == PROBLEMS
    for trace in read_traces(world.folder / "run"):
        assert trace.decision is not None
        assert trace.decision.hidden is not None
        assert trace.lineage is not None
        assert (trace.lineage.dataset, trace.lineage.models) == ("demo", {"ann": "ann", "bob": "bob"})
    assert collected.progress.spent.calls == len(world.endpoint.requests)
    assert 0 < (collected.progress.seconds_each or 0) < collected.progress.seconds


async def test_the_same_call_again_asks_nothing_and_changes_nothing(world: World) -> None:
    await world.collect()
    before, asked = (world.folder / "run" / "trace.jsonl").read_bytes(), len(world.endpoint.requests)
    collected = await world.collect()
    assert (collected.ended, collected.progress.done_here) == ("complete", 0)
    assert collected.progress.totals.done == len(PROBLEMS)
    assert (world.folder / "run" / "trace.jsonl").read_bytes() == before
    assert len(world.endpoint.requests) == asked


async def test_problems_that_were_edited_are_searched_again_and_the_others_are_not(world: World) -> None:
    file = world.folder / "tasks.jsonl"
    rows = [
        {"id": name, "statement": f"Write f(x) for {name}.", "public_tests": ["assert f(1) == 1"]}
        for name in ("one", "two", "three")
    ]

    def write() -> None:
        file.write_text("".join(json.dumps(row) + "\n" for row in rows))

    write()
    config = CollectConfig(datasets=(str(file),))
    await world.collect(config=config)
    before = {trace.problem.id: trace for trace in read_traces(world.folder / "run")}
    rows[0]["public_tests"] = ["assert f(2) == 2"]
    rows[1]["statement"] = "Write f(x) quickly."
    write()
    collected = await world.collect(config=config)
    assert collected.progress.done_here == 2
    assert any("2 problems were edited" in note for note in collected.notes)
    traces = read_traces(world.folder / "run")
    assert len(traces) == 5
    now = {trace.problem.id: trace for trace in traces}
    changed = {name.rpartition(":")[2] for name in now if now[name] != before[name]}
    assert changed == {"one", "two"}
    again = await world.collect(config=config)
    assert (again.progress.done_here, again.notes) == (0, ())


async def test_an_edit_of_hidden_tests_alone_is_noticed_and_tells_nothing_of_them(world: World) -> None:
    file = world.folder / "tasks.jsonl"
    row = {"id": "one", "statement": "Write f(x).", "public_tests": ["assert f(1) == 1"]}
    config = CollectConfig(datasets=(str(file),))
    for answer, done in (("abcdef", 1), ("abcdef", 0), ("fedcba", 1)):
        file.write_text(json.dumps(row | {"hidden_tests": [{"call": "f(7)", "expected": repr(answer)}]}))
        collected = await world.collect(config=config)
        assert collected.progress.done_here == done
        assert any("1 problem was edited" in note for note in collected.notes) == (answer == "fedcba")
    kept = (world.folder / "run" / "trace.jsonl").read_text()
    assert "abcdef" not in kept
    assert "f(7)" not in kept


async def test_no_secret_is_written(world: World) -> None:
    agents = {name: world.agent(name, api_key="hush") for name in world.settings.agents}
    await world.collect(agents=agents, config=DEMO.model_copy(update={"limit": 1}))
    for file in (world.folder / "run").iterdir():
        assert b"hush" not in file.read_bytes()


async def test_a_limit_can_be_raised(world: World) -> None:
    few = DEMO.model_copy(update={"limit": 2, "shuffle_seed": 5})
    collected = await world.collect(config=few)
    first = set(world.traces())
    assert (len(first), collected.progress.totals.total) == (2, 2)
    await world.collect(config=few.model_copy(update={"limit": 4}))
    assert len(world.traces()) == 4
    assert first < set(world.traces())


# --- cut off --------------------------------------------------------------------------------------


async def test_a_stopped_run_goes_on_to_the_same_traces_without_asking_twice(world: World) -> None:
    await world.collect("whole", store=StoreConfig(path=world.folder / "other"))
    world.endpoint.requests.clear()
    world.delay = 0.02
    for _ in range(3):
        stop = asyncio.Event()
        done: list[Trace] = []

        def count(trace: Trace, stop: asyncio.Event = stop, done: list[Trace] = done) -> None:
            done.append(trace)
            if len(done) == 1:
                stop.set()

        await world.collect(on_trace=count, stop=stop)
    collected = await world.collect()
    assert collected.ended == "complete"
    assert world.traces() == world.traces("whole")
    # Each stop may lose what is in flight: no more than the slots of both agents.
    assert sum(world.asked.values()) - len(world.asked) <= 3 * 16


async def test_a_stopped_run_says_so_and_leaves_nothing_leased(world: World) -> None:
    stop = asyncio.Event()
    stop.set()
    collected = await world.collect(stop=stop)
    assert collected.ended == "stopped"
    assert (collected.progress.totals.leased, collected.progress.totals.waiting) == (0, len(PROBLEMS))


async def test_calls_in_flight_when_a_run_is_stopped_are_counted(world: World) -> None:
    world.delay = 2.0
    stop = asyncio.Event()

    def stop_once_asked(progress: Progress) -> None:
        if progress.made:
            stop.set()

    collected = await world.collect(stop=stop, on_progress=stop_once_asked)
    loads = collected.progress.loads.values()
    assert collected.progress.totals.calls == 0
    assert collected.progress.made == sum(load.cut_off for load in loads) > 0
    assert collected.progress.made >= sum(world.asked.values())  # some may not have reached it


async def test_without_a_cache_the_run_keeps_one_of_its_own(world: World) -> None:
    few = DEMO.model_copy(update={"limit": 3})
    await world.collect(config=few, store=StoreConfig(cache=False))
    (world.folder / "run" / "trace.jsonl").write_bytes(b"")
    asked = len(world.endpoint.requests)
    collected = await world.collect(config=few, store=StoreConfig(cache=False))
    assert collected.notes == ("the traces of 3 problems that were done are gone: they are searched again",)
    assert len(world.traces()) == 3
    assert len(world.endpoint.requests) == asked


async def test_a_damaged_line_costs_its_problem_alone(world: World, caplog: pytest.LogCaptureFixture) -> None:
    await world.collect()
    file = world.folder / "run" / "trace.jsonl"
    lines = file.read_bytes().splitlines(keepends=True)
    file.write_bytes(b"".join([lines[0], lines[1][:100] + b"\n", *lines[2:-1], lines[-1][:50]]))
    collected = await world.collect()
    assert (collected.ended, collected.progress.done_here) == ("complete", 2)
    assert "trace.jsonl:2: not a trace" in caplog.text
    ids = [json.loads(line)["problem"]["id"] for line in file.read_bytes().splitlines() if b"}" in line[-1:]]
    assert sorted(ids) == PROBLEMS


async def test_a_lost_table_is_made_again_from_the_traces(world: World) -> None:
    await world.collect(config=DEMO.model_copy(update={"limit": 4}))
    for file in (world.folder / "run").glob("jobs.sqlite*"):
        file.unlink()
    collected = await world.collect()
    assert collected.progress.done_here == len(PROBLEMS) - 4
    assert len(world.traces()) == len(PROBLEMS)


async def test_a_record_that_a_kill_left_unmarked_is_not_written_again(world: World) -> None:
    await world.collect()
    table = SqliteJobs(world.folder / "run" / "jobs.sqlite")
    table.reopen(PROBLEMS[:3])  # as a kill between the record and its mark leaves it
    table.close()
    collected = await world.collect()
    assert collected.progress.done_here == 0
    assert len(world.traces()) == len(PROBLEMS)


# --- several at once ------------------------------------------------------------------------------


async def test_two_that_collect_into_one_folder_share_the_work(world: World) -> None:
    world.delay = 0.02
    config = DEMO.model_copy(update={"concurrency": 1})
    one, two = await asyncio.gather(world.collect(config=config), world.collect(config=config))
    assert one.ended == two.ended == "complete"
    assert one.progress.done_here + two.progress.done_here == len(PROBLEMS)
    assert min(one.progress.done_here, two.progress.done_here) > 0
    assert max(world.asked.values()) == 1
    assert sorted(world.traces()) == PROBLEMS


async def test_machines_with_a_table_in_postgres_share_the_work(world: World) -> None:
    """A folder each, as without a shared file system; see test_jobs.py for the server."""
    if "BDC_TEST_POSTGRES" not in os.environ:
        pytest.skip("BDC_TEST_POSTGRES is not set")
    world.delay = 0.02
    config = DEMO.model_copy(update={"concurrency": 1, "table": os.environ["BDC_TEST_POSTGRES"]})
    name = f"run-{uuid4().hex}"
    one, two = await asyncio.gather(
        world.collect(f"a/{name}", config=config), world.collect(f"b/{name}", config=config)
    )
    assert one.ended == two.ended == "complete"
    first, second = world.traces(f"a/{name}"), world.traces(f"b/{name}")
    assert sorted([*first, *second]) == PROBLEMS
    assert min(len(first), len(second)) > 0
    assert max(world.asked.values()) == 1


# --- another configuration ------------------------------------------------------------------------


async def test_a_run_of_another_configuration_is_refused_key_by_key(world: World) -> None:
    few = DEMO.model_copy(update={"limit": 1})
    await world.collect(config=few)
    asked = len(world.endpoint.requests)
    agents = world.settings.agents | {"bob": world.settings.agents["bob"].model_copy(update={"model": "x"})}
    with pytest.raises(ConfigError) as refused:
        await world.collect(
            config=few.model_copy(update={"shuffle_seed": 3}),
            search=SearchConfig(rollouts=9, width=2),
            agents=agents,
        )
    told = str(refused.value)
    assert "search.rollouts: 3 in the run, 9 now" in told
    assert "shuffle_seed: None in the run, 3 now" in told
    assert "agents.bob.model: 'bob' in the run, 'x' now" in told
    assert "width" not in told
    assert len(world.endpoint.requests) == asked
    with pytest.raises(ConfigError) as refused:
        await world.collect(config=few.model_copy(update={"agents": ("ann",)}))
    told, ways = str(refused.value).splitlines()
    assert told.endswith("another configuration: agents: ann, bob in the run, ann now.")
    assert "back to go on with it" in ways
    assert f"--out {world.folder / 'run'}-2" in ways


async def test_what_shapes_no_trace_may_change(world: World) -> None:
    few = DEMO.model_copy(update={"limit": 1})
    await world.collect(config=few)
    slower = {
        name: agent.model_copy(update={"concurrency": 2, "timeout": 9.0, "retries": 1})
        for name, agent in world.settings.agents.items()
    }
    more = few.model_copy(update={"limit": 2, "concurrency": 1, "budget": Budget(calls=1000)})
    assert (await world.collect(config=more, agents=slower)).ended == "complete"


async def test_a_setting_that_is_newer_than_the_run_is_no_difference(world: World) -> None:
    few = DEMO.model_copy(update={"limit": 1})
    await world.collect(config=few)
    file = world.folder / "run" / "run.json"
    kept = json.loads(file.read_text())
    del kept["settings"]["search"]["gamma"]
    file.write_text(json.dumps(kept))
    assert (await world.collect(config=few)).ended == "complete"
    with pytest.raises(ConfigError, match=r"search.gamma: 0.9 in the run, 0.5 now"):
        await world.collect(config=few, search=SearchConfig(rollouts=3, width=2, gamma=0.5))


async def test_changed_prompts_are_told_and_not_refused(world: World) -> None:
    few = DEMO.model_copy(update={"limit": 1})
    await world.collect(config=few)
    file = world.folder / "run" / "run.json"
    prompts = str(read_run(world.folder / "run").settings["prompts"])
    file.write_text(file.read_text().replace(prompts, "0" * 16))
    assert any("prompts" in note for note in (await world.collect(config=few)).notes)


async def test_a_folder_of_another_command_is_refused(world: World) -> None:
    open_run(world.folder / "run", {"agents": {}, "search": {}})
    with pytest.raises(ConfigError, match="another command"):
        await world.collect()


# --- the budget of the run ------------------------------------------------------------------------


async def test_a_run_budget_is_never_passed_over_all_its_commands(world: World) -> None:
    world.executor = ScriptedExecutor(lambda job: 0.0)  # so that every search uses its three rollouts
    for cap in (5, 5, 9):
        config = DEMO.model_copy(update={"budget": Budget(calls=cap)})
        collected = await world.collect(config=config)
        assert collected.ended == "calls"
        assert len(world.endpoint.requests) <= collected.progress.spent.calls <= cap
        assert collected.progress.totals.leased == 0
    assert len(world.endpoint.requests) > 6, "and it is used"
    collected = await world.collect()
    assert collected.ended == "complete"
    assert max(world.asked.values()) == 1


async def test_a_token_budget_is_not_passed_by_calls_at_once(world: World) -> None:
    world.executor = ScriptedExecutor(lambda job: 0.0)
    config = DEMO.model_copy(update={"budget": Budget(tokens=4_000)})
    collected = await world.collect(config=config)
    assert collected.ended == "tokens"
    used = sum(load.usage.tokens for load in collected.progress.loads.values())
    # What was under way when the run ended counts in the table with all that it might have used.
    assert 0 < used <= collected.progress.spent.tokens <= 4_000


async def test_a_cap_on_money_needs_prices(world: World) -> None:
    config = DEMO.model_copy(update={"budget": Budget(money=1.0)})
    with pytest.raises(ConfigError, match="price"):
        await world.collect(config=config)
    priced = {
        name: agent.model_copy(update={"price_input": 1.0, "price_output": 1000.0})
        for name, agent in world.settings.agents.items()
    }
    world.executor = ScriptedExecutor(lambda job: 0.0)
    collected = await world.collect(config=config, agents=priced)
    # Each call can cost 1.02 dollars at most: after the first, only little of it is spent.
    assert collected.ended == "money"
    assert collected.progress.spent.money <= 1.0
    free = {name: agent.model_copy(update={"price_output": 10.0}) for name, agent in priced.items()}
    assert (await world.collect(config=config, agents=free)).ended == "complete"


async def test_a_run_ends_when_its_time_is_up(world: World) -> None:
    world.delay = 1.0
    collected = await world.collect(config=DEMO.model_copy(update={"budget": Budget(seconds=0.4)}))
    assert collected.ended == "seconds"
    assert collected.progress.totals.leased == 0


# --- what goes wrong ------------------------------------------------------------------------------


async def test_a_run_without_agents_that_answer_ends_and_can_go_on(world: World) -> None:
    def refuse(body: dict[str, Any]) -> str:
        raise ConnectionAbortedError

    answering, world.respond = world.respond, refuse  # type: ignore[method-assign]
    with pytest.raises(BDCError, match="no agent answers any more"):
        await world.collect()
    assert read_traces(world.folder / "run") == []
    world.respond = answering  # type: ignore[method-assign]
    assert (await world.collect()).ended == "complete"


async def test_a_problem_that_fails_is_told_with_its_reason_and_the_others_go_on(world: World) -> None:
    broken = PROBLEMS[0]

    def reward(job: Any) -> float:
        if job.group == broken:
            raise BDCError("the sandbox is broken")
        return 1.0

    world.executor = ScriptedExecutor(reward)
    collected = await world.collect()
    assert collected.ended == "complete"
    assert collected.failures == {broken: "the sandbox is broken"}
    world.executor = ScriptedExecutor(lambda job: 1.0)
    again = await world.collect()
    assert again.failures == {}
    assert any("tried again" in note for note in again.notes)
    assert sorted(world.traces()) == PROBLEMS


@pytest.mark.parametrize(
    ("config", "told"),
    [
        ({"datasets": ("demmo",)}, "did you mean demo"),
        ({"datasets": ("demo:nothing",)}, "unknown problem of demo 'nothing'"),
        ({"filters": ("difficulty=impossible",)}, "'impossible'; choose one of: easy, hard, medium"),
        ({"filters": ("hardness=1",)}, "unknown filter"),
        ({"filters": ("difficulty",)}, "KEY=VALUE"),
        ({"table": "mysql://x"}, "postgresql://"),
    ],
)
async def test_what_cannot_be_used_is_refused(world: World, config: dict[str, Any], told: str) -> None:
    with pytest.raises(UsageError, match=told):
        await world.collect(config=DEMO.model_copy(update=config))
