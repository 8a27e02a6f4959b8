"""Runs whose problems share a budget: unsolved ones go on with what the others left."""

import asyncio
import json
import os
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from bdc_agents.agents.protocol import Reply, Request
from bdc_agents.cli.collect import _report
from bdc_agents.config import AgentConfig, Budget, SearchConfig, Settings
from bdc_agents.errors import AgentError, ConfigError
from bdc_agents.evaluate.figures.survey import survey
from bdc_agents.runs import read_traces
from bdc_agents.runs.collect.engine import local_engine
from bdc_agents.runs.collect.run import CollectConfig, Collected, acollect
from bdc_agents.runs.sharing import rounds
from bdc_agents.runs.sharing.beliefs import beliefs_of, keep_beliefs, load_beliefs
from bdc_agents.runs.sharing.blocks import block_of, known_to
from bdc_agents.runs.store import scan_traces
from bdc_agents.search.policy.beliefs import Beliefs
from bdc_agents.testing import ScriptedAgent, ScriptedExecutor
from bdc_agents.types import Trace, content_hash

COUNT, CALLS = 12, 72
SLOW = 0.002
"""Seconds of a reply that is late, next to none of the others."""


class Late(ScriptedAgent):
    """An agent some of whose replies come late, so that problems end in another order than they began."""

    async def reply(self, request: Request) -> Reply:
        await asyncio.sleep(SLOW if (request.seed or 0) % 3 == 0 else 0)
        return await super().reply(request)


class Place:
    """Runs of twelve problems, of which one in 1, 2, 8 or 40 programs passes, in turn."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.replies: dict[str, str] = {}
        self.paid = 0
        self.executor = ScriptedExecutor(self.reward)
        self.deaf = ""
        self.price = 0.0
        rows = [
            {
                "id": f"t{number:02}",
                "statement": f"Write f(x), {number}.",
                "public_tests": [f"assert f({number}) == 1"],
            }
            for number in range(COUNT)
        ]
        self.file = folder / "tasks.jsonl"
        self.file.write_text("".join(json.dumps(row) + "\n" for row in rows))
        self.settings = Settings(
            agents={name: AgentConfig(model=name) for name in ("ann", "bob")},
            search=SearchConfig(),
            budget=Budget(calls=16),
        )

    def reward(self, job: Any) -> float:
        call = job.tests[0].call
        hard = (1, 2, 8, 40)[int(call.removeprefix("f(")[:-1]) % 4]
        return float(int(content_hash(call + job.code), 16) % hard == 0)

    def reply(self, agent: str, request: Request) -> str:
        """Thoughts, or a program that is the seed's alone; what was asked before is not paid again."""
        if self.deaf and self.deaf in str(request.messages):
            raise AgentError(agent, "no")
        key = f"{agent} {request.model_dump_json(exclude={'tries'})}"
        if key not in self.replies:
            self.paid += 1
            if request.json_schema:
                thoughts = [{"thought": f"idea {request.seed}", "reasonableness": 0.5}]
                self.replies[key] = json.dumps({"thoughts": thoughts})
            else:
                self.replies[key] = f"```python\nx = {request.seed}\n```"
        return self.replies[key]

    async def collect(self, run: str = "run", **more: Any) -> Collected:
        """Collects; `more` are fields of the configuration, or arguments of `acollect`."""
        asked = {"pool": Budget(calls=CALLS), "concurrency": 1} | more
        given = {key: asked.pop(key) for key in list(asked) if key in CollectConfig.model_fields}
        agents = [
            Late(name, lambda request, name=name: self.reply(name, request), self.price)
            for name in self.settings.agents
        ]
        config = CollectConfig(datasets=(str(self.file),), **given)
        engine = local_engine(agents, self.executor)
        return await acollect(config, self.folder / run, self.settings, engine=engine, **asked)

    def traces(self, run: str = "run") -> dict[str, Any]:
        """The last record of each problem, without times."""
        return {t.problem.id: timeless(t.model_dump(mode="json")) for t in scan_traces(self.folder / run)}

    def records(self, run: str = "run") -> list[Trace]:
        return read_traces(self.folder / run)


def timeless(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: timeless(item) for key, item in value.items() if key not in ("seconds", "created")}
    return [timeless(item) for item in value] if isinstance(value, list) else value


def calls(trace: Trace) -> int:
    return sum(used.calls for used in trace.solution.usage.values())


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


async def test_unsolved_problems_go_on_with_what_solved_ones_left(place: Place) -> None:
    collected = await place.collect()
    last = [*scan_traces(place.folder / "run")]
    assert collected.ended == "complete"
    assert len(last) == COUNT
    assert sum(map(calls, last)) <= CALLS
    assert any(calls(trace) > CALLS // COUNT for trace in last), "somebody went on"
    pooled = collected.pooled
    assert pooled.used.calls == sum(map(calls, last))
    assert pooled.rounds > 1
    for problem, budgets in pooled.budgets.items():
        own = [trace for trace in place.records() if trace.problem.id == problem]
        assert [trace.settings["budget"]["calls"] for trace in own] == [one.calls for one in budgets]
    assert not pooled.unsolved or pooled.left["calls"] < len(pooled.unsolved)


async def test_nothing_is_asked_and_no_program_runs_twice(place: Place) -> None:
    await place.collect()
    last = [*scan_traces(place.folder / "run")]
    assert place.paid == sum(map(calls, last))
    ran = [(job.code, str(job.tests)) for job in place.executor.jobs]
    assert len(ran) == len(set(ran))


@pytest.mark.parametrize("concurrency", [3, 8])
async def test_traces_are_the_same_however_many_are_at_work(place: Place, concurrency: int) -> None:
    await place.collect("one")
    await place.collect("many", concurrency=concurrency)
    assert place.traces("many") == place.traces("one")


async def test_a_run_that_is_cut_off_goes_on_as_if_it_had_not_been(place: Place) -> None:
    await place.collect("whole")
    lines = len(place.records("whole"))
    assert lines > COUNT
    for done in (3, COUNT + 1, lines - 1):
        stop = asyncio.Event()

        def enough(trace: Trace, done: int = done, stop: asyncio.Event = stop) -> None:
            if len(place.records("cut")) >= done:
                stop.set()

        await place.collect("cut", concurrency=4, on_trace=enough, stop=stop)
    paid = place.paid
    assert (await place.collect("cut", concurrency=4)).ended == "complete"
    assert place.traces("cut") == place.traces("whole")
    assert place.paid == paid
    assert (await place.collect("cut")).progress.done_here == 0
    assert len(place.records("cut")) == lines


async def test_the_published_walk_goes_on_too(place: Place) -> None:
    place.settings = place.settings.model_copy(
        update={"search": SearchConfig.preset("paper", rollouts=None, expand="eager"), "budget": Budget()}
    )
    collected = await place.collect("kept", pool=Budget(calls=150))
    assert collected.pooled.rounds > 1
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(rounds, "MOST", 0)  # no state is kept
        await place.collect("made again", pool=Budget(calls=150), concurrency=4)
    assert place.traces("made again") == place.traces("kept")
    assert place.paid == collected.pooled.used.calls


async def test_figures_count_every_round_once(place: Place) -> None:
    collected = await place.collect()
    used = collected.pooled.used
    found = survey(place.folder / "run")
    assert found
    assert collected.pooled.rounds > 1
    assert sum(agent.calls for agent in found.agents) == used.calls == collected.progress.totals.calls
    assert collected.progress.spent.calls == place.paid == used.calls
    assert collected.progress.totals.tokens == used.tokens == collected.progress.spent.tokens
    assert sum(load.usage.calls for load in collected.progress.loads.values()) == used.calls
    assert collected.progress.totals.done == collected.progress.done_here == COUNT


async def test_two_commands_on_one_folder_share_the_pool(place: Place) -> None:
    await place.collect("whole")
    await asyncio.gather(*(place.collect("both", concurrency=2) for _ in range(2)))
    assert place.traces("both") == place.traces("whole")
    assert len(place.records("both")) == len(place.records("whole"))


async def test_a_job_table_that_is_lost_changes_nothing(place: Place) -> None:
    await place.collect("whole")
    stop = asyncio.Event()

    def enough(trace: Trace) -> None:
        if len(place.records("lost")) == COUNT + 2:
            stop.set()

    await place.collect("lost", on_trace=enough, stop=stop)
    for file in (place.folder / "lost").glob("jobs.sqlite*"):
        file.unlink()
    paid = place.paid
    assert (await place.collect("lost")).ended == "complete"
    assert place.traces("lost") == place.traces("whole")
    assert len(place.records("lost")) == len(place.records("whole"))
    assert place.paid == paid


@pytest.mark.parametrize("state", [None, "", "{", "[]", '{"tree": 5}', '{"origin": {}, "problem": {}}'])
async def test_a_search_whose_state_is_lost_or_damaged_is_made_again(place: Place, state: str | None) -> None:
    await place.collect("whole")
    stop = asyncio.Event()

    def enough(trace: Trace) -> None:
        if len(place.records("cut")) == COUNT:
            stop.set()

    await place.collect("cut", on_trace=enough, stop=stop)
    with closing(sqlite3.connect(place.folder / "cut" / "jobs.sqlite")) as table:
        changed = table.execute("UPDATE bdc_rounds SET state = ? WHERE state IS NOT NULL", (state,)).rowcount
        table.commit()
    assert changed > 1
    paid = place.paid
    assert (await place.collect("cut")).ended == "complete"
    assert place.traces("cut") == place.traces("whole")
    assert place.paid == paid


async def test_blocks_start_from_what_first_rounds_told(place: Place) -> None:
    await place.collect(concurrency=4)
    rounds: dict[int, list[Trace]] = {}
    for trace in place.records():
        rounds.setdefault(int(trace.problem.id.rpartition("t")[2]), []).append(trace)
    assert max(map(len, rounds.values())) > 1
    for position, own in rounds.items():
        first = beliefs_of(rounds[number][0] for number in range(known_to(block_of(position))))
        for trace in own:
            assert Beliefs.model_validate(trace.settings["search"]["beliefs"]) == first
    assert known_to(block_of(COUNT - 1)) > 0
    # What a later run starts from has all rounds.
    keep_beliefs(place.folder / "run")
    assert load_beliefs(place.folder / "run") == beliefs_of(own[-1] for _, own in sorted(rounds.items()))


async def test_a_problem_that_fails_holds_its_share_until_it_is_tried_again(place: Place) -> None:
    place.deaf = "Write f(x), 0."
    collected = await place.collect()
    [failed] = collected.failures
    assert failed.endswith("t00")
    used = sum(map(calls, scan_traces(place.folder / "run")))
    assert used + CALLS // COUNT <= CALLS
    assert collected.pooled.used.calls == used + CALLS // COUNT
    place.deaf = ""
    again = await place.collect()
    last = [*scan_traces(place.folder / "run")]
    assert (again.ended, len(last)) == ("complete", COUNT)
    assert again.pooled.used.calls == sum(map(calls, last)) <= CALLS


async def test_a_problem_that_fails_in_a_later_round_keeps_its_trace_and_goes_on_later(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    await place.collect("whole")

    def on_trace(trace: Trace) -> None:
        if len(place.records()) == COUNT:
            place.deaf = "Write f(x), 3."

    collected = await place.collect(on_trace=on_trace)
    [failed] = collected.failures
    assert failed.endswith("t03")
    assert collected.pooled.used.calls <= CALLS
    assert len([*scan_traces(place.folder / "run")]) == COUNT
    _report(collected, None)
    assert f"no further round of {failed}: no agent answered" in capsys.readouterr().err
    place.deaf = ""
    again = await place.collect()
    assert (again.ended, again.failures) == ("complete", {})
    last = [*scan_traces(place.folder / "run")]
    assert again.pooled.used.calls == sum(map(calls, last)) <= CALLS


async def test_tokens_and_money_can_be_shared_too(place: Place) -> None:
    collected = await place.collect(pool=Budget(tokens=40_000))
    used = [trace.solution.usage.values() for trace in scan_traces(place.folder / "run")]
    assert collected.pooled.used.tokens == sum(one.tokens for many in used for one in many) <= 40_000
    assert any(calls(trace) > 4 for trace in scan_traces(place.folder / "run"))
    place.price = 0.01
    collected = await place.collect("money", pool=Budget(money=0.5))
    assert 0.4 < collected.pooled.used.money <= 0.5
    assert collected.pooled.rounds > 1


async def test_a_limit_says_who_shares(place: Place) -> None:
    collected = await place.collect(limit=6)
    assert collected.pooled.problems == 6
    first = [trace.settings["budget"]["calls"] for trace in place.records()][:6]
    assert first == [CALLS // 6] * 6


async def test_each_round_is_told_once(place: Place) -> None:
    told: list[str] = []
    collected = await place.collect(on_note=told.append, concurrency=4)
    assert "72 calls for 12 problems together: at first 6 calls for each" in told[0]
    rounds = [line for line in told if line.startswith("round ")]
    assert [line.split(":")[0] for line in rounds] == [
        f"round {number}" for number in range(2, collected.pooled.rounds + 1)
    ]
    assert "tasks.jsonl:t03 6 → " in rounds[0]
    assert str(place.folder) not in rounds[0]


async def test_a_pool_and_its_problems_stay_as_they_are(place: Place) -> None:
    with pytest.raises(ConfigError, match="11 calls in all are less than one for each of 12"):
        await place.collect(pool=Budget(calls=11))
    assert not (place.folder / "run").exists()
    with pytest.raises(ValueError, match="seconds"):
        await place.collect(pool=Budget(seconds=5))
    await place.collect()
    with pytest.raises(ConfigError, match=r"pool.calls: 72 in the run, 80 now"):
        await place.collect(pool=Budget(calls=80))
    with pytest.raises(ConfigError, match=r"pool.problems: '12 .* in the run, '6 .* now"):
        await place.collect(limit=6)
    place.file.write_text(place.file.read_text().replace("Write f(x), 3.", "Write g(x), 3."))
    with pytest.raises(ConfigError, match=r"problems of a run that share a budget stay as they are"):
        await place.collect()


async def test_the_budget_of_a_run_ends_it_and_more_goes_on(place: Place) -> None:
    await place.collect("whole")
    place.replies.clear()
    collected = await place.collect("run", budget=Budget(calls=60))
    assert collected.ended == "calls"
    assert (await place.collect("run", budget=Budget(calls=500))).ended == "complete"
    assert place.traces("run") == place.traces("whole")


async def test_rollouts_that_no_pool_lifts_are_told(place: Place) -> None:
    place.settings = place.settings.model_copy(update={"search": SearchConfig(rollouts=2)})
    told: list[str] = []
    collected = await place.collect(on_note=told.append)
    assert any("rollouts = 2" in line for line in told)
    assert collected.pooled.rounds == 1


@pytest.mark.skipif("BDC_TEST_POSTGRES" not in os.environ, reason="BDC_TEST_POSTGRES names no server")
async def test_two_machines_share_the_pool(place: Place) -> None:
    await place.collect("whole")
    run, url = uuid4().hex, os.environ["BDC_TEST_POSTGRES"]
    both = [f"{machine}/{run}" for machine in ("one", "other")]
    await asyncio.gather(*(place.collect(folder, table=url, concurrency=2) for folder in both))
    # A problem may have gone on at the other machine; its last record has the largest budget.
    records = [record for folder in both for record in place.records(folder)]
    records.sort(key=lambda trace: trace.settings["budget"]["calls"])
    found = {trace.problem.id: timeless(trace.model_dump(mode="json")) for trace in records}
    assert found == place.traces("whole")
    assert all(place.records(folder) for folder in both)
    assert place.paid == sum(calls(trace) for trace in scan_traces(place.folder / "whole"))
