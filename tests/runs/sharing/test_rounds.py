"""Job tables whose jobs share a budget."""

import os
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from uuid import uuid4

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bdc_agents.config import Budget
from bdc_agents.runs.jobs.sqlite import SqliteJobs
from bdc_agents.runs.jobs.table import Job, JobTable, Summary
from bdc_agents.runs.sharing.pool import Pool

POOL = Pool(whole=Budget(calls=24), each=Budget(calls=10))
JOBS = [Job(id=f"p:{number}", dataset="p") for number in range(4)]


def ended(job: Job, calls: int, *, solved: bool = False) -> Summary:
    stopped_by = "solved" if solved else "calls"
    return Summary(solved=solved, calls=calls, caps=job.caps[-1], stopped_by=stopped_by)


def finish(table: JobTable, job: Job, calls: int, *, solved: bool = False, state: str = "") -> bool:
    return table.finish(
        "ann", job.id, lambda: ended(job, calls, solved=solved), caps=job.caps[-1], state=state
    )


@pytest.fixture(params=["sqlite", "postgres"])
def open_table(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[[], JobTable]]:
    opened: list[JobTable] = []
    run = uuid4().hex

    def open_one() -> JobTable:
        if request.param == "sqlite":
            opened.append(SqliteJobs(tmp_path / "jobs.sqlite", is_gone=lambda _: False, pool=POOL))
            return opened[-1]
        url = os.environ.get("BDC_TEST_POSTGRES")
        if url is None:
            pytest.skip("BDC_TEST_POSTGRES is not set")
        from bdc_agents.runs.jobs.postgres import PostgresJobs

        opened.append(PostgresJobs(url, run, is_gone=lambda _: False, pool=POOL))
        return opened[-1]

    yield open_one
    for table in opened:
        table.close()


@pytest.fixture
def table(open_table: Callable[[], JobTable]) -> JobTable:
    opened = open_table()
    opened.add(JOBS)
    return opened


def test_a_round_begins_when_the_one_before_it_has_ended(table: JobTable) -> None:
    first = table.lease("ann", 9)
    assert [job.caps for job in first] == [(Budget(calls=6),)] * 4
    finish(table, first[0], 2, solved=True)
    finish(table, first[1], 6, state="where one was")
    finish(table, first[2], 2, solved=True)
    assert table.lease("ann", 9) == []
    finish(table, first[3], 6, state="where three was")
    second = table.lease("ann", 9)
    assert [(job.id, [one.calls for one in job.caps], job.state) for job in second] == [
        ("p:1", [6, 10], "where one was"),
        ("p:3", [6, 10], "where three was"),
    ]
    finish(table, second[0], 10)
    finish(table, second[1], 7, solved=True)
    [third] = table.lease("ann", 9)
    assert [one.calls for one in third.caps] == [6, 10, 13]
    finish(table, third, 13)
    assert table.lease("ann", 9) == []
    assert table.totals().open == 0
    pooled = table.pooled()
    assert (pooled.used.calls, pooled.left, pooled.rounds) == (24, {"calls": 0}, 3)
    assert [*pooled.budgets] == ["p:1", "p:3"]
    assert pooled.unsolved == ("p:1",)


def test_who_was_silent_for_a_round_hands_over_nothing(table: JobTable) -> None:
    first = table.lease("ann", 9)
    for job in first:
        finish(table, job, 2, solved=job.id != "p:1")
    [again] = table.lease("bob", 9)
    assert not finish(table, first[1], 6)
    assert finish(table, again, again.caps[-1].calls or 0)


def test_what_failed_holds_its_budget(table: JobTable) -> None:
    first = table.lease("ann", 9)
    for job in first[:3]:
        finish(table, job, 6 if job.id == "p:1" else 2, solved=job.id != "p:1")
    table.fail("ann", "p:3", "no", final=True)
    [again] = table.lease("ann", 9)
    assert [one.calls for one in again.caps] == [6, 14], "8 of 24 are used or held by others, 6 of the failed"
    assert table.pooled().used.calls == 2 + 6 + 2 + 6


def test_a_new_process_goes_on_in_the_same_round(open_table: Callable[[], JobTable]) -> None:
    table = open_table()
    table.add(JOBS)
    for job in table.lease("ann", 9):
        finish(table, job, 6 if job.id == "p:1" else 2, solved=job.id != "p:1", state="there")
    table.lease("ann", 9)
    table.release("ann", ["p:1"])
    [again] = open_table().lease("bob", 9)
    assert ([one.calls for one in again.caps], again.state) == ([6, 18], "there")


def test_a_table_is_made_again_from_the_records_of_all_rounds(table: JobTable, tmp_path: Path) -> None:
    records: list[tuple[str, Summary]] = []
    while jobs := table.lease("ann", 9):
        for job in jobs:
            solved = job.id != "p:1"
            calls = 2 if solved else job.caps[-1].calls or 0
            records.append((job.id, ended(job, calls, solved=solved)))
            finish(table, job, calls, solved=solved)
    for known in range(len(records) + 1):
        other = SqliteJobs(tmp_path / f"{known}.sqlite", pool=POOL)
        other.add(JOBS)
        other.found(records[:known])
        assert other.found(records[:known]) == 0, "nothing is counted twice"
        while jobs := other.lease("ann", 9):
            for job in jobs:
                solved = job.id != "p:1"
                finish(other, job, 2 if solved else job.caps[-1].calls or 0, solved=solved)
        assert other.pooled() == table.pooled()
        other.close()


@settings(deadline=None, max_examples=60)  # a machine that is busy is no fault
@given(
    needs=st.lists(st.integers(1, 40), min_size=1, max_size=7),
    pool=st.integers(7, 120),
    each=st.one_of(st.none(), st.integers(1, 30)),
    seed=st.integers(0, 2**32),
    troubled=st.booleans(),
)
def test_no_pool_is_exceeded_whatever_happens(
    needs: list[int], pool: int, each: int | None, seed: int, troubled: bool
) -> None:
    """Jobs that need so many calls, taken in any order by two owners that fail, vanish and are killed.

    With no trouble, the end is that of one owner alone.
    """
    share = Pool(whole=Budget(calls=pool), each=Budget(calls=each))
    jobs = [Job(id=str(number), dataset="p") for number in range(len(needs))]
    with TemporaryDirectory() as folder:
        alone, _ = play(Path(folder) / "alone.sqlite", share, jobs, needs, random.Random(0), troubled=False)
        among, most = play(Path(folder) / "among.sqlite", share, jobs, needs, random.Random(seed), troubled)
    assert most <= pool
    if not troubled:
        assert among == alone


def play(
    file: Path, share: Pool, jobs: list[Job], needs: list[int], chance: random.Random, troubled: bool
) -> tuple[dict[str, tuple[int, bool]], int]:
    """What each job used in the end and whether it was solved; the most that was used or promised at once."""
    table = SqliteJobs(file, is_gone=lambda _: False, pool=share)
    table.add(jobs)
    leased: dict[str, tuple[str, Job]] = {}
    used, found, most = dict.fromkeys((job.id for job in jobs), 0), dict[str, tuple[int, bool]](), 0
    for _ in range(2000):
        owner = chance.choice(["ann", "bob"])
        for job in table.lease(owner, chance.randint(1, 3)):
            leased[job.id] = (owner, job)
        most = max(most, sum(used.values()))
        promised = {name: job.caps[-1].calls or 0 for name, (_, job) in leased.items()}
        most = max(most, sum((used | promised).values()))
        if not leased:
            break
        owner, job = leased.pop(chance.choice(sorted(leased)))
        event = chance.random() if troubled else 1.0
        if event < 0.15:
            table.fail(owner, job.id, "no", final=event < 0.05)
        elif event < 0.3:
            table.release(owner, [job.id])
        elif event < 0.4:
            table.close()
            table = SqliteJobs(file, is_gone=lambda _: False, pool=share)
            table.retry()
            table.release(owner, [job.id])
        else:
            calls = min(needs[int(job.id)], job.caps[-1].calls or 0)
            solved = calls == needs[int(job.id)]
            done = ended(job, calls, solved=solved)
            assert table.finish(owner, job.id, lambda done=done: done, caps=job.caps[-1])
            used[job.id] = calls
            found[job.id] = (calls, solved)
    else:
        pytest.fail("it never ends")
    table.close()
    return found, most
