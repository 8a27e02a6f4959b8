"""A database that several open at once."""

import os
import sqlite3
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest

from bdc_agents.disk import open_database, own, put_back, replacing_folder


def test_all_that_open_a_new_database_at_once_get_it(tmp_path: Path) -> None:
    def first_write(file: Path) -> None:
        with closing(open_database(file, 30)) as database:
            database.execute("CREATE TABLE IF NOT EXISTS seen (x)")
            database.execute("INSERT INTO seen VALUES (1)")

    with ThreadPoolExecutor(8) as pool:
        for round_ in range(20):
            file = tmp_path / f"{round_}.sqlite"
            list(pool.map(first_write, [file] * 8))
            with closing(open_database(file, 0)) as database:
                assert database.execute("SELECT count(*) FROM seen").fetchone() == (8,)


def test_a_reader_that_ends_in_time_is_waited_for(tmp_path: Path) -> None:
    file = tmp_path / "a.sqlite"
    with closing(sqlite3.connect(file, isolation_level=None, check_same_thread=False)) as other:
        other.execute("CREATE TABLE seen (x)")
        other.execute("BEGIN")
        other.execute("SELECT * FROM seen").fetchall()
        ends = threading.Timer(0.3, other.execute, ["COMMIT"])
        ends.start()
        with closing(open_database(file, 30)) as database:
            assert database.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        ends.join()


def test_a_database_that_stays_locked_is_given_up_in_time(tmp_path: Path) -> None:
    file = tmp_path / "a.sqlite"
    with closing(sqlite3.connect(file, isolation_level=None)) as other:
        other.execute("CREATE TABLE seen (x)")
        other.execute("BEGIN EXCLUSIVE")
        began = time.monotonic()
        with pytest.raises(sqlite3.OperationalError, match="locked"):
            open_database(file, 0.2)
    assert 0.2 <= time.monotonic() - began < 120


def test_a_file_that_is_no_database_is_refused_at_once(tmp_path: Path) -> None:
    file = tmp_path / "a.sqlite"
    file.write_text("not a database at all, and longer than a header of one hundred bytes" * 5)
    with pytest.raises(sqlite3.DatabaseError):
        open_database(file, 60)


def test_a_folder_that_was_put_aside_by_a_killed_writer_is_brought_back(tmp_path: Path) -> None:
    aside, target = tmp_path / ".mine.old-1", tmp_path / "mine"
    aside.mkdir()
    (aside / "file").write_text("kept")
    (tmp_path / ".mine2.old-1").mkdir()
    assert put_back(target)
    assert (target / "file").read_text() == "kept"
    assert not put_back(target)
    with replacing_folder(target) as fresh:
        (fresh / "file").write_text("new")
    assert (target / "file").read_text() == "new"
    assert {path.name for path in tmp_path.iterdir()} == {"mine", ".mine2.old-1"}


def test_a_folder_that_could_not_be_filled_is_not_seen(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), replacing_folder(tmp_path / "mine"):
        _ = 1 / 0
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("what", ["pipe", "folder", "link"])
def test_an_own_file_is_a_plain_one(tmp_path: Path, what: str) -> None:
    file = tmp_path / "results.jsonl"
    if what == "link":
        file.symlink_to(tmp_path / "other")
    else:
        {"pipe": os.mkfifo, "folder": os.mkdir}[what](file)
    with pytest.raises(OSError, match=r"no plain file|Is a directory|symbolic links"):
        own(file)
    assert not (tmp_path / "other").exists()
