"""Which problems of a run start from what others told."""

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from bdc_agents.config import SearchConfig
from bdc_agents.runs.jobs.table import Job, JobTable, Summary
from bdc_agents.runs.sharing.blocks import (
    FIRST,
    LEAST,
    block_of,
    known_to,
    learns,
    open_until,
    start_of,
    starting_from,
)
from bdc_agents.search.policy.beliefs import Beliefs, Told

from ..jobs.jobs_world import World

ONE = Beliefs().tell([Told("answer", "ann", "", "pass")])
MANY = [Job(id=f"p:{number}", dataset="p") for number in range(30)]


def test_blocks_are_cut_without_gaps_and_grow() -> None:
    starts = [start_of(block) for block in range(12)]
    assert starts[:5] == [0, FIRST, FIRST + LEAST, FIRST + 2 * LEAST, 24]
    lengths = [after - before for before, after in pairwise(starts)]
    assert lengths[1:] == sorted(lengths[1:])
    for position in range(starts[-1]):
        assert start_of(block_of(position)) <= position < start_of(block_of(position) + 1)


def test_no_block_starts_from_what_may_still_be_at_work() -> None:
    for unfinished in range(200):
        for position in range(open_until(unfinished)):
            assert known_to(block_of(position)) <= max(unfinished, position)
        assert known_to(block_of(open_until(unfinished))) > unfinished, "and none waits without need"


def test_half_of_what_is_done_is_known_and_a_long_run_has_few_snapshots() -> None:
    for position in range(FIRST + LEAST, 2000):
        assert known_to(block_of(position)) >= position / 4
    assert block_of(2000) < 20


def test_beliefs_of_the_settings_count_beside_those_of_the_run() -> None:
    config = SearchConfig(beliefs=ONE.model_dump())
    assert starting_from(config, Beliefs()) is config
    assert Beliefs.model_validate(starting_from(config, ONE).beliefs) == ONE.plus(ONE)
    assert learns(SearchConfig())
    assert not learns(SearchConfig.preset("paper"))


# --- in a table -----------------------------------------------------------------------------------


@pytest.fixture
def table(tmp_path: Path) -> Iterator[JobTable]:
    opened = World().open(tmp_path / "jobs.sqlite", learns=True)
    opened.add(MANY)
    yield opened
    opened.close()


def finish(table: JobTable, job: Job) -> None:
    table.finish("me", job.id, lambda: Summary(told=ONE))


def test_a_block_waits_for_all_before_the_block_before_it(table: JobTable) -> None:
    first = table.lease("me", 99)
    assert len(first) == start_of(2)
    assert not any(job.known.counts for job in first)
    for job in first[1:]:
        finish(table, job)
    assert table.lease("me", 99) == [], "the first problem is still at work"
    finish(table, first[0])
    second = table.lease("me", 99)
    assert [job.id for job in second] == [f"p:{number}" for number in range(start_of(2), start_of(4))]
    seen = {job.id: int(sum(job.known.counts["answer//ann"])) for job in second}
    assert seen == {job.id: known_to(block_of(int(job.id[2:]))) for job in second}


def test_a_problem_that_fails_does_not_hold_the_others_up(table: JobTable) -> None:
    first = table.lease("me", 99)
    for job in first[1:]:
        finish(table, job)
    again = first[:1]
    for _ in range(3):
        assert [job.id for job in again] == ["p:0"], "it is tried again while others wait for it"
        table.fail("me", "p:0", "no agent answered")
        again = table.lease("me", 1)
    assert again[0].id == f"p:{start_of(2)}"
    assert again[0].known.counts["answer//ann"][-1] == known_to(2) - 1


def test_what_a_block_starts_from_stays_whatever_is_done_later(table: JobTable) -> None:
    first = table.lease("me", 99)
    for job in first[1:]:
        finish(table, job)
    table.fail("me", "p:0", "the problem cannot be read", final=True)
    [early] = table.lease("me", 1)
    table.retry()
    [late] = table.lease("me", 1)
    assert late.id == "p:0"
    finish(table, late)
    [other] = table.lease("me", 1)
    assert block_of(int(other.id[2:])) == 2
    assert other.known == early.known
    table.release("me", [early.id])
    assert table.lease("me", 1) == [early]


def test_another_process_that_joins_gets_the_same(tmp_path: Path) -> None:
    world = World()
    one, other = (world.open(tmp_path / "jobs.sqlite", learns=True) for _ in range(2))
    one.add(MANY)
    for job in one.lease("me", 99):
        finish(other, job)
    assert one.lease("me", 1)[0].known == other.lease("you", 1)[0].known != Beliefs()
    one.close()
    other.close()


def test_a_table_that_does_not_learn_gives_out_all(tmp_path: Path) -> None:
    table = World().open(tmp_path / "jobs.sqlite")
    table.add(MANY)
    jobs = table.lease("me", 99)
    assert len(jobs) == len(MANY)
    for job in jobs[:20]:
        finish(table, job)
    table.release("me", [job.id for job in jobs])
    assert not any(job.known.counts for job in table.lease("me", 99))
    table.close()
