"""Later problems of a run start from what moves gave on earlier ones, and trees stay the same."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from bdc_agents.config import Budget, SearchConfig
from bdc_agents.errors import ConfigError
from bdc_agents.runs import read_traces
from bdc_agents.runs.beliefs import beliefs_of, keep_beliefs, load_beliefs
from bdc_agents.runs.blocks import block_of, known_to, start_of
from bdc_agents.runs.collect import CollectConfig
from bdc_agents.search.beliefs import Beliefs
from bdc_agents.testing import ScriptedExecutor
from bdc_agents.types import Trace

World = Any  # of the conftest.py above
COUNT = 20


@pytest.fixture
def config(world: World) -> CollectConfig:
    """Twenty problems, searched by moves that fail often."""
    file: Path = world.folder / "tasks.jsonl"
    rows = [
        {"id": f"t{number:02}", "statement": f"Write f(x), {number}.", "public_tests": ["assert f(1) == 1"]}
        for number in range(COUNT)
    ]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    world.settings = world.settings.model_copy(update={"search": SearchConfig(), "budget": Budget(calls=6)})
    world.executor = ScriptedExecutor(lambda job: (sum(map(ord, job.code)) % 7 == 0) * 1.0)
    return CollectConfig(datasets=(str(file),), concurrency=1)


def by_problem(traces: list[Trace]) -> dict[int, Trace]:
    return {int(trace.problem.id.rpartition("t")[2]): trace for trace in traces}


def started_from(trace: Trace) -> Beliefs:
    return Beliefs.model_validate(trace.settings["search"]["beliefs"])


async def test_each_block_starts_from_all_before_the_block_before_it(
    world: World, config: CollectConfig
) -> None:
    await world.collect(config=config)
    traces = by_problem(read_traces(world.folder / "run"))
    assert len(traces) == COUNT
    for position, trace in traces.items():
        before = [traces[number] for number in range(known_to(block_of(position)))]
        assert started_from(trace) == beliefs_of(before)
    assert started_from(traces[COUNT - 1]).counts
    assert not started_from(traces[start_of(2) - 1]).counts


@pytest.mark.parametrize("concurrency", [3, 8, None])
async def test_trees_are_the_same_however_many_are_at_work(
    world: World, config: CollectConfig, concurrency: int | None
) -> None:
    await world.collect("one", config)
    world.delay = 0.01
    slow = Lagging(world)
    await world.collect("many", config.model_copy(update={"concurrency": concurrency}), **slow.uncached())
    assert world.traces("many") == world.traces("one")


class Lagging:
    """Makes some replies slow, so that problems end in another order than they began."""

    def __init__(self, world: World) -> None:
        self.world = world
        respond = world.respond

        def late(body: dict[str, Any]) -> str:
            world.delay = 0.2 if body["seed"] % 11 == 0 else 0.0
            return respond(body)

        world.respond = late

    def uncached(self) -> dict[str, Any]:
        store = self.world.settings.store.model_copy(update={"path": self.world.folder / "other"})
        return {"store": store}


async def test_a_run_that_is_cut_off_goes_on_as_if_it_had_not_been(
    world: World, config: CollectConfig
) -> None:
    await world.collect("whole", config)
    many = config.model_copy(update={"concurrency": 4})
    for done in (5, 13):
        stop = asyncio.Event()

        def enough(trace: Trace, done: int = done, stop: asyncio.Event = stop) -> None:
            if len(world.ids("cut")) >= done:
                stop.set()

        collected = await world.collect("cut", many, on_trace=enough, stop=stop)
        assert collected.ended == "stopped"
    assert (await world.collect("cut", many)).ended == "complete"
    assert world.traces("cut") == world.traces("whole")


async def test_two_commands_on_one_folder_make_the_same_trees(world: World, config: CollectConfig) -> None:
    await world.collect("whole", config)
    both = config.model_copy(update={"concurrency": 2})
    await asyncio.gather(world.collect("shared", both), world.collect("shared", both))
    assert world.traces("shared") == world.traces("whole")


async def test_a_job_table_that_is_lost_changes_no_tree(world: World, config: CollectConfig) -> None:
    await world.collect("whole", config)
    await world.collect("lost", config.model_copy(update={"limit": 13}))
    for file in (world.folder / "lost").glob("jobs.sqlite*"):
        file.unlink()
    await world.collect("lost", config)
    assert world.traces("lost") == world.traces("whole")


async def test_a_problem_that_no_agent_answers_holds_nothing_up(world: World, config: CollectConfig) -> None:
    respond = world.respond

    def deaf(body: dict[str, Any]) -> str:
        if "Write f(x), 0." in json.dumps(body):
            raise RuntimeError("no")
        return respond(body)

    world.respond = deaf
    collected = await world.collect(config=config)
    assert len(collected.failures) == 1
    traces = by_problem(read_traces(world.folder / "run"))
    assert sorted(traces) == [*range(1, COUNT)]
    snapshot = started_from(traces[start_of(2)])
    assert snapshot == beliefs_of([traces[number] for number in range(1, known_to(2))])
    # Once it answers, nobody else starts from anything else than before.
    world.respond = respond
    assert (await world.collect(config=config)).ended == "complete"
    assert started_from(by_problem(read_traces(world.folder / "run"))[start_of(2)]) == snapshot


async def test_all_may_start_alike(world: World, config: CollectConfig) -> None:
    await world.collect("first", config)
    keep_beliefs(world.folder / "first")
    known = load_beliefs(world.folder / "first")
    search = SearchConfig(beliefs=known.model_dump())
    await world.collect("run", config.model_copy(update={"learn": False}), search=search)
    traces = read_traces(world.folder / "run")
    assert [started_from(trace) for trace in traces] == [known] * COUNT
    with pytest.raises(ConfigError, match="learn: False in the run, True now"):
        await world.collect("run", config, search=search)


async def test_beliefs_of_another_run_count_beside_those_of_this_one(
    world: World, config: CollectConfig
) -> None:
    await world.collect("first", config)
    keep_beliefs(world.folder / "first")
    known = load_beliefs(world.folder / "first")
    await world.collect("second", config, search=SearchConfig(beliefs=known.model_dump()))
    traces = by_problem(read_traces(world.folder / "second"))
    assert started_from(traces[0]) == known
    before = beliefs_of([traces[number] for number in range(known_to(block_of(COUNT - 1)))])
    assert started_from(traces[COUNT - 1]) == known.plus(before)


async def test_the_published_walk_has_nothing_to_start_from(world: World, config: CollectConfig) -> None:
    await world.collect(config=config, search=SearchConfig.preset("paper", rollouts=2))
    assert all(not trace.settings["search"]["beliefs"] for trace in read_traces(world.folder / "run"))
