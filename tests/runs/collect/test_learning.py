"""Later problems of a run start from what moves gave on earlier ones, and trees stay the same."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from bdc_agents.agents.protocol import Request
from bdc_agents.config import AgentConfig, Budget, SearchConfig, Settings
from bdc_agents.errors import AgentError, ConfigError
from bdc_agents.runs import read_traces
from bdc_agents.runs.collect.engine import local_engine
from bdc_agents.runs.collect.run import CollectConfig, Collected, acollect
from bdc_agents.runs.sharing.beliefs import beliefs_of, keep_beliefs, load_beliefs
from bdc_agents.runs.sharing.blocks import block_of, known_to, start_of
from bdc_agents.search.policy.beliefs import Beliefs
from bdc_agents.testing import ScriptedExecutor
from bdc_agents.types import Trace

from ...late import Late, respond

COUNT = 20


class Place:
    """Runs of twenty problems, searched by moves that fail often."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.respond = respond
        file = folder / "tasks.jsonl"
        rows = [
            {
                "id": f"t{number:02}",
                "statement": f"Write f(x), {number}.",
                "public_tests": ["assert f(1) == 1"],
            }
            for number in range(COUNT)
        ]
        file.write_text("".join(json.dumps(row) + "\n" for row in rows))
        self.config = CollectConfig(datasets=(str(file),), concurrency=1)
        self.settings = Settings(
            agents={name: AgentConfig(model=name) for name in ("ann", "bob")},
            search=SearchConfig(),
            budget=Budget(calls=6),
        )

    async def collect(
        self, run: str = "run", *, search: SearchConfig | None = None, **more: Any
    ) -> Collected:
        """Collects; `more` are fields of the configuration, or arguments of `acollect`."""
        given = {key: more.pop(key) for key in list(more) if key in CollectConfig.model_fields}
        settings = self.settings.model_copy(update={"search": search} if search else {})
        agents = [Late(name, lambda request: self.respond(request)) for name in settings.agents]
        executor = ScriptedExecutor(lambda job: (sum(map(ord, job.code)) % 7 == 0) * 1.0)
        config = self.config.model_copy(update=given)
        return await acollect(
            config, self.folder / run, settings, engine=local_engine(agents, executor), **more
        )

    def traces(self, run: str = "run") -> dict[int, Trace]:
        """By number of the problem, without times."""
        traces = read_traces(self.folder / run)
        assert len({trace.problem.id for trace in traces}) == len(traces), "one record a problem"
        bare = [Trace.model_validate(timeless(trace.model_dump(mode="json"))) for trace in traces]
        return {int(trace.problem.id.rpartition("t")[2]): trace for trace in bare}


def timeless(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: timeless(item) for key, item in value.items() if key not in ("seconds", "created")}
    return [timeless(item) for item in value] if isinstance(value, list) else value


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def started_from(trace: Trace) -> Beliefs:
    return Beliefs.model_validate(trace.settings["search"]["beliefs"])


async def test_each_block_starts_from_all_before_the_block_before_it(place: Place) -> None:
    await place.collect()
    traces = place.traces()
    assert len(traces) == COUNT
    for position, trace in traces.items():
        before = [traces[number] for number in range(known_to(block_of(position)))]
        assert started_from(trace) == beliefs_of(before)
    assert started_from(traces[COUNT - 1]).counts
    assert not started_from(traces[start_of(2) - 1]).counts


@pytest.mark.parametrize("concurrency", [3, 8, None])
async def test_trees_are_the_same_however_many_are_at_work(place: Place, concurrency: int | None) -> None:
    await place.collect("one")
    ended: list[str] = []
    await place.collect(
        "many", concurrency=concurrency, on_trace=lambda trace: ended.append(trace.problem.id)
    )
    assert place.traces("many") == place.traces("one")
    assert ended != sorted(ended), "and they did end in another order"


async def test_a_run_that_is_cut_off_goes_on_as_if_it_had_not_been(place: Place) -> None:
    await place.collect("whole")
    for done in (5, 13):
        stop = asyncio.Event()

        def enough(trace: Trace, done: int = done, stop: asyncio.Event = stop) -> None:
            if len(read_traces(place.folder / "cut")) >= done:
                stop.set()

        collected = await place.collect("cut", concurrency=4, on_trace=enough, stop=stop)
        assert collected.ended == "stopped"
    assert (await place.collect("cut", concurrency=4)).ended == "complete"
    assert place.traces("cut") == place.traces("whole")


async def test_two_commands_on_one_folder_make_the_same_trees(place: Place) -> None:
    await place.collect("whole")
    await asyncio.gather(*(place.collect("shared", concurrency=2) for _ in range(2)))
    assert place.traces("shared") == place.traces("whole")


async def test_a_job_table_that_is_lost_changes_no_tree(place: Place) -> None:
    await place.collect("whole")
    await place.collect("lost", limit=13)
    for file in (place.folder / "lost").glob("jobs.sqlite*"):
        file.unlink()
    await place.collect("lost")
    assert place.traces("lost") == place.traces("whole")


async def test_a_problem_that_no_agent_answers_holds_nothing_up(place: Place) -> None:
    def deaf(request: Request) -> str:
        if "Write f(x), 0." in str(request.messages):
            raise AgentError("ann", "no")
        return respond(request)

    place.respond = deaf
    collected = await place.collect()
    assert len(collected.failures) == 1
    traces = place.traces()
    assert sorted(traces) == [*range(1, COUNT)]
    snapshot = started_from(traces[start_of(2)])
    assert snapshot == beliefs_of([traces[number] for number in range(1, known_to(2))])
    # Once it answers, nobody else starts from anything else than before.
    place.respond = respond
    assert (await place.collect()).ended == "complete"
    assert started_from(place.traces()[start_of(2)]) == snapshot


async def test_all_may_start_alike(place: Place) -> None:
    await place.collect("first")
    keep_beliefs(place.folder / "first")
    known = load_beliefs(place.folder / "first")
    search = SearchConfig(beliefs=known.model_dump())
    await place.collect("run", learn=False, search=search)
    traces = place.traces().values()
    assert [started_from(trace) for trace in traces] == [known] * COUNT
    with pytest.raises(ConfigError, match="learn: False in the run, True now"):
        await place.collect("run", search=search)


async def test_beliefs_of_another_run_count_beside_those_of_this_one(place: Place) -> None:
    await place.collect("first")
    keep_beliefs(place.folder / "first")
    known = load_beliefs(place.folder / "first")
    await place.collect("second", search=SearchConfig(beliefs=known.model_dump()))
    traces = place.traces("second")
    assert started_from(traces[0]) == known
    before = beliefs_of([traces[number] for number in range(known_to(block_of(COUNT - 1)))])
    assert started_from(traces[COUNT - 1]) == known.plus(before)


async def test_the_published_walk_has_nothing_to_start_from(place: Place) -> None:
    await place.collect(search=SearchConfig.preset("paper", rollouts=2))
    assert all(not trace.settings["search"]["beliefs"] for trace in place.traces().values())
