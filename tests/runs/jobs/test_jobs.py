import os
import sqlite3
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from bdc_agents.config import Budget
from bdc_agents.errors import BDCError, ModelError
from bdc_agents.runs.jobs.owners import is_gone, new_owner
from bdc_agents.runs.jobs.sqlite import SqliteJobs
from bdc_agents.runs.jobs.table import MAX_FAILURES, MAX_LOSSES, Job, JobTable, Spent, Summary
from bdc_agents.types import Usage

from .jobs_world import JOBS, LEASE, World, ids

CALL = Usage(calls=1, prompt_tokens=60, completion_tokens=40, cost=0.1)


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture(params=["sqlite", "postgres"])
def open_table(
    request: pytest.FixtureRequest, world: World, tmp_path: Path
) -> Iterator[Callable[..., JobTable]]:
    """Opens a table again and again, in SQLite and, where BDC_TEST_POSTGRES names a server, there too."""
    opened: list[JobTable] = []
    run = uuid4().hex

    def open_one(limit: int | None = None) -> JobTable:
        if request.param == "sqlite":
            opened.append(world.open(tmp_path / "jobs.sqlite", limit))
            return opened[-1]
        url = os.environ.get("BDC_TEST_POSTGRES")
        if url is None:
            pytest.skip("BDC_TEST_POSTGRES is not set")
        from bdc_agents.runs.jobs.postgres import PostgresJobs

        def gone(owner: str) -> bool:
            return owner in world.gone

        table = PostgresJobs(
            url, run, limit=limit, lease_seconds=LEASE, is_gone=gone, clock=lambda: world.now
        )
        opened.append(table)
        return table

    yield open_one
    for table in opened:
        table.close()


@pytest.fixture
def table(open_table: Callable[..., JobTable]) -> JobTable:
    opened = open_table()
    opened.add(JOBS)
    return opened


def test_jobs_are_leased_in_order_and_once(table: JobTable) -> None:
    first = table.lease("ann", 2)
    assert first == JOBS[:2]
    assert table.lease("bob", 10) == JOBS[2:]
    assert table.lease("ann", 1) == []
    assert table.totals().leased == 6


def test_what_is_done_stays_done_in_every_later_process(open_table: Callable[..., JobTable]) -> None:
    table = open_table()
    table.add(JOBS)
    for job in table.lease("ann", 2):
        table.finish("ann", job.id, lambda: Summary(solved=True, kept=False, calls=3, tokens=9, money=0.5))
    again = open_table()
    assert again.add(JOBS) == 0
    totals = again.totals()
    assert (totals.done, totals.waiting, totals.solved, totals.kept) == (2, 4, 2, 0)
    assert (totals.calls, totals.tokens, totals.money) == (6, 18, 1.0)
    assert again.done() == {"p:0", "p:1"}


def test_a_silent_holder_loses_its_jobs_and_one_that_beats_does_not(table: JobTable, world: World) -> None:
    table.lease("ann", 1)
    table.lease("bob", 1)
    world.now = 60
    assert table.heartbeat("bob", ["p:1", "p:5"]) == {"p:1"}
    world.now = LEASE
    taken = table.lease("cy", 10)
    assert "p:0" in ids(taken)
    assert "p:1" not in ids(taken)
    assert table.heartbeat("ann", ["p:0"]) == set()


def test_the_jobs_of_a_holder_that_is_gone_are_taken_over_at_once(table: JobTable, world: World) -> None:
    table.lease("ann", 3)
    world.gone.add("ann")
    assert sorted(ids(table.lease("bob", 10))) == ids(JOBS)


def test_a_job_that_was_lost_waits_behind_those_that_were_not(table: JobTable) -> None:
    table.lease("ann", 1)
    table.lose("ann")
    assert ids(table.lease("bob", 10))[-1] == "p:0"


def test_the_first_to_finish_has_the_job_even_after_its_lease(table: JobTable, world: World) -> None:
    kept: list[str] = []

    def store(name: str) -> Callable[[], Summary]:
        return lambda: kept.append(name) or Summary()

    table.lease("ann", 1)
    world.gone.add("ann")
    table.lease("bob", 10)
    assert table.finish("ann", "p:0", store("ann"))
    assert not table.finish("bob", "p:0", store("bob"))
    assert kept == ["ann"]


def test_a_result_that_cannot_be_stored_leaves_the_job_leased(table: JobTable) -> None:
    table.lease("ann", 1)

    def full() -> Summary:
        raise BDCError("the disk is full")

    with pytest.raises(BDCError, match="full"):
        table.finish("ann", "p:0", full)
    assert table.done() == set()
    assert table.totals().leased == 1


def test_failures_are_retried_up_to_a_cap_and_again_when_asked(table: JobTable) -> None:
    for number in range(MAX_FAILURES):
        held = ids(table.lease("ann", 10))
        assert "p:0" in held
        table.release("ann", [job_id for job_id in held if job_id != "p:0"])
        table.fail("ann", "p:0", f"try {number}")
    assert table.failures() == {"p:0": f"try {MAX_FAILURES - 1}"}
    assert "p:0" not in ids(table.lease("ann", 10))
    assert table.retry() == 1
    assert ids(table.lease("ann", 10)) == ["p:0"]


def test_a_failure_that_is_final_is_not_retried(table: JobTable) -> None:
    table.lease("ann", 1)
    table.fail("ann", "p:0", "no public test", final=True)
    assert table.failures() == {"p:0": "no public test"}


def test_a_job_that_ends_all_who_hold_it_is_given_up(table: JobTable) -> None:
    for _ in range(MAX_LOSSES):
        table.lease("ann", 10)
        table.lose("ann")
    assert table.totals().failed == 6
    assert "vanished" in table.failures()["p:0"]


def test_only_the_holder_can_fail_or_release_a_job(table: JobTable) -> None:
    table.lease("ann", 1)
    table.fail("bob", "p:0", "not mine", final=True)
    table.release("bob", ["p:0"])
    assert table.totals().leased == 1
    assert table.failures() == {}


def test_a_limit_works_on_the_first_jobs_and_can_be_raised(open_table: Callable[..., JobTable]) -> None:
    few = open_table(2)
    few.add(JOBS)
    assert ids(few.lease("ann", 10)) == ["p:0", "p:1"]
    assert few.totals().total == 2
    assert ids(open_table(3).lease("bob", 10)) == ["p:2"]


def test_the_record_decides_what_is_done(table: JobTable) -> None:
    assert table.found([("p:0", Summary(solved=True)), ("unknown", Summary())]) == 1
    assert table.found([("p:0", Summary(solved=True))]) == 0
    table.reopen(["p:0", "p:1"])
    assert table.totals().waiting == 6


def test_jobs_that_are_no_longer_wanted_go_unless_they_are_done_or_held(table: JobTable) -> None:
    table.lease("ann", 2)
    table.finish("ann", "p:0", Summary)
    table.lease("bob", 1)
    table.fail("bob", "p:2", "gone", final=True)
    assert table.drop({"p:4"}) == 3
    assert table.failures() == {}
    totals = table.totals()
    assert (totals.done, totals.leased, totals.waiting) == (1, 1, 1)
    assert ids(table.lease("cy", 9)) == ["p:4"]


def test_threads_never_get_the_same_job(open_table: Callable[..., JobTable]) -> None:
    open_table().add([Job(id=f"q:{number}") for number in range(60)])
    taken: list[str] = []

    def work(name: str) -> None:
        mine = open_table()
        while jobs := mine.lease(name, 3):
            taken.extend(ids(jobs))

    workers = [threading.Thread(target=work, args=(name,)) for name in ("ann", "bob", "cy")]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert len(taken) == len(set(taken)) == 60


# --- the budget of the run ---------------------------------------------------------------------------


def test_a_budget_is_never_passed_by_what_is_reserved(table: JobTable) -> None:
    budget = Budget(calls=5, tokens=350, money=100.0)
    assert [table.reserve(name, CALL, budget) for name in ("ann", "bob", "ann", "bob")] == [
        None,
        None,
        None,
        "tokens",
    ]
    table.settle("ann", CALL, Usage(calls=1, prompt_tokens=5, completion_tokens=5, cost=0.01))
    assert table.reserve("bob", CALL, budget) is None
    assert table.reserve("bob", CALL, budget) == "tokens"
    assert (table.spent().calls, table.spent().tokens) == (4, 310)
    assert table.spent().money == pytest.approx(0.31)


def test_replies_from_the_cache_spend_nothing(table: JobTable) -> None:
    budget = Budget(calls=1)
    for _ in range(3):
        assert table.reserve("ann", CALL, budget) is None
        table.settle("ann", CALL, CALL.model_copy(update={"cached": 1, "saved": 0.1}))
    assert table.spent() == Spent()


def test_what_a_process_had_reserved_when_it_vanished_stays_spent(
    open_table: Callable[..., JobTable],
) -> None:
    open_table().reserve("ann", CALL, Budget(calls=1))
    assert open_table().reserve("bob", CALL, Budget(calls=1)) == "calls"


# --- owners, files -----------------------------------------------------------------------------------


def test_this_process_is_not_gone_and_one_that_ended_is() -> None:
    owner = new_owner()
    assert owner != new_owner()
    assert not is_gone(owner)
    node, _, _, token = owner.split("|")
    assert is_gone(f"{node}|999999999|1|{token}")
    assert is_gone(f"{node}|{os.getpid()}|1|{token}"), "its number belongs to another process now"
    assert not is_gone(f"elsewhere|999999999|1|{token}"), "nothing is known of other machines"
    assert not is_gone("no owner of ours")


def test_a_damaged_table_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "jobs.sqlite").write_bytes(b"this is no database, and long enough to be seen as none")
    with pytest.raises(BDCError, match="remove it"):
        SqliteJobs(tmp_path / "jobs.sqlite")


def test_postgres_without_its_package_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "psycopg", None)
    from bdc_agents.runs.jobs.postgres import PostgresJobs

    with pytest.raises(ModelError, match=r"bdc-agents\[postgres\]"):
        PostgresJobs("postgresql://nowhere", "run")


def test_the_file_is_in_wal_mode(tmp_path: Path) -> None:
    table = SqliteJobs(tmp_path / "jobs.sqlite")
    with sqlite3.connect(tmp_path / "jobs.sqlite") as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    connection.close()
    table.close()
