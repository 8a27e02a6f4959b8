import json
import logging
import multiprocessing
import os
import resource
import signal
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bdc_agents.errors import BDCError, UsageError
from bdc_agents.locks import one_process
from bdc_agents.runs import (
    find_trace,
    open_run,
    read_traces,
    trace_file,
    write_solution,
    write_trace,
)
from bdc_agents.runs.folder import TRACE_FILE
from bdc_agents.runs.jobs.sqlite import JOBS_FILE, SqliteJobs


def test_traces_come_back_as_they_were_written(tmp_path, make_trace):
    folder = open_run(tmp_path / "a" / "run", {"seed": 1})
    traces = [make_trace("demo:one"), make_trace("demo:two/ü")]
    for trace in traces:
        write_trace(folder, trace)
    assert read_traces(folder) == traces
    assert read_traces(trace_file(folder)) == traces


def test_an_empty_run_has_no_traces(tmp_path):
    assert read_traces(open_run(tmp_path / "run")) == []


def test_run_json_says_what_made_it_and_is_kept_when_opened_again(tmp_path):
    folder = open_run(tmp_path, {"seed": 1})
    before = (folder / "run.json").read_text()
    open_run(tmp_path, {"seed": 2})
    assert (folder / "run.json").read_text() == before
    data = json.loads(before)
    assert data["settings"] == {"seed": 1}
    assert data["package"]
    assert data["created"]


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cut=st.floats(min_value=0, max_value=1, exclude_max=True))
def test_a_kill_while_writing_loses_only_the_line_that_was_written(tmp_path_factory, make_trace, caplog, cut):
    folder = open_run(tmp_path_factory.mktemp("run"))
    write_trace(folder, make_trace("demo:one"))
    file = trace_file(folder)
    whole = file.read_bytes()
    file.write_bytes(whole + whole[: int(len(whole) * cut)])
    with caplog.at_level(logging.WARNING):
        survived = [trace.problem.id for trace in read_traces(folder)]
    assert survived[0] == "demo:one"
    if 0 < int(len(whole) * cut) < len(whole) - 1:
        assert survived == ["demo:one"]
        assert "half written" in caplog.text
    write_trace(folder, make_trace("demo:two"))
    assert [trace.problem.id for trace in read_traces(folder)] == [*survived, "demo:two"]


def test_a_whole_last_line_without_newline_counts(tmp_path, make_trace):
    folder = open_run(tmp_path)
    write_trace(folder, make_trace("demo:one"))
    trace_file(folder).write_bytes(trace_file(folder).read_bytes().rstrip(b"\n"))
    write_trace(folder, make_trace("demo:two"))
    assert [trace.problem.id for trace in read_traces(folder)] == ["demo:one", "demo:two"]


def test_a_long_half_line_is_found_beyond_one_block(tmp_path, make_trace):
    folder = open_run(tmp_path)
    write_trace(folder, make_trace("demo:one"))
    with trace_file(folder).open("ab") as file:
        file.write(b'{"version": 1, "problem": "' + b"x" * 200_000)
    write_trace(folder, make_trace("demo:two"))
    assert [trace.problem.id for trace in read_traces(folder)] == ["demo:one", "demo:two"]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("{broken", "not JSON"),
        ("[1]", "JSON object"),
        ('{"version": 3}', "version 3"),
        ("{}", "no version"),
        ('{"version": 1}', "problem"),
    ],
)
def test_a_bad_line_is_named_with_file_and_number(tmp_path, make_trace, line, said):
    folder = open_run(tmp_path)
    write_trace(folder, make_trace())
    with trace_file(folder).open("a") as file:
        file.write(line + "\n")
    write_trace(folder, make_trace())
    with pytest.raises(UsageError) as caught:
        read_traces(folder)
    assert f"{trace_file(folder)}:2" in str(caught.value)
    assert said in str(caught.value)


def test_no_run_is_said_clearly(tmp_path):
    with pytest.raises(UsageError, match="no run at"):
        read_traces(tmp_path / "nothing")


def test_a_folder_that_cannot_be_made_is_the_callers_mistake(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="cannot make the run folder"):
        open_run(tmp_path / "file" / "run")


def _append_many(folder: Path, trace, count: int) -> None:
    for _ in range(count):
        write_trace(folder, trace)


def test_processes_that_write_to_one_run_do_not_mix_their_lines(tmp_path, make_trace):
    folder = open_run(tmp_path)
    context = multiprocessing.get_context("fork")
    long = "x = 1\n" * 3000
    workers = [
        context.Process(target=_append_many, args=(folder, make_trace(f"demo:{n}", long), 5))
        for n in range(3)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert sorted(trace.problem.id for trace in read_traces(folder)) == sorted(
        f"demo:{n}" for n in range(3) for _ in range(5)
    )


@contextmanager
def files_end_at(size: int) -> Iterator[None]:
    """Files end at a size, as on a full disk; the log that pytest itself writes must not."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, ignored)


def test_a_full_disk_is_said_and_the_earlier_traces_stay(tmp_path, make_trace):
    folder = open_run(tmp_path)
    write_trace(folder, make_trace("demo:one"))
    before = trace_file(folder).read_bytes()
    with files_end_at(len(before) + 100), pytest.raises(BDCError, match="cannot write"):
        write_trace(folder, make_trace("demo:two"))
    assert trace_file(folder).read_bytes() == before


def test_a_full_disk_leaves_the_old_solution(tmp_path, make_trace):
    folder = open_run(tmp_path)
    write_solution(folder, make_trace(code="old = 1\n"))
    with files_end_at(10), pytest.raises(BDCError, match=r"solution\.py"):
        write_solution(folder, make_trace(code="new = 1\n" * 10))
    assert (folder / "solution.py").read_text() == "old = 1\n"
    assert sorted(path.name for path in folder.iterdir()) == ["run.json", "solution.py", "trace.jsonl"]


def test_solutions_run_and_stay_inside_the_folder(tmp_path, make_trace):
    folder = open_run(tmp_path)
    ids = ["../../etc/passwd", "a/b", "a_b", "a b", "", ".", "ü" * 300]
    files = [write_solution(folder, make_trace(name), alone=False) for name in ids]
    assert len({*files}) == len(ids)
    assert {file.parent for file in files if file} == {folder / "solutions"}
    scope: dict = {}
    exec(files[0].read_text(), scope)
    assert scope["f"]() == 1


def test_no_program_makes_no_file(tmp_path, make_trace):
    assert write_solution(open_run(tmp_path), make_trace(code="")) is None
    assert not (tmp_path / "solution.py").exists()


def test_the_last_trace_of_a_problem_is_found(make_trace):
    traces = [make_trace("demo:one", "a = 1\n"), make_trace("demo:one", "a = 2\n")]
    assert find_trace(traces, "demo:one") is traces[1]
    with pytest.raises(UsageError, match="did you mean demo:one"):
        find_trace(traces, "demo:on")
    assert find_trace(traces, "one") is traces[1]  # the end of its id is enough, unless it is that of several
    with pytest.raises(UsageError, match=r"several problems end in 'one': demo:one, mine\.jsonl:one"):
        find_trace([*traces, make_trace("mine.jsonl:one")], "one")


# --- a folder of one's own ------------------------------------------------------------------------


def modes(folder):
    return {path.name: stat.S_IMODE(path.lstat().st_mode) for path in [folder, *folder.rglob("*")]}


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
def test_a_run_is_its_owners_alone(tmp_path, make_trace, umask):
    before = os.umask(umask)
    try:
        folder = open_run(tmp_path / "deep" / "run", {"agents": {}})
        write_trace(folder, make_trace())
        write_solution(folder, make_trace())
        write_solution(folder, make_trace(), alone=False)
        SqliteJobs(folder / JOBS_FILE).close()
    finally:
        os.umask(before)
    found = modes(folder)
    assert found.pop("run") == found.pop("solutions") == 0o700
    assert len(found) >= 5
    assert set(found.values()) == {0o600}


def test_a_folder_that_is_open_to_a_group_is_shared_with_it(tmp_path, make_trace):
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(0o770)
    before = os.umask(0o002)
    try:
        write_trace(open_run(shared), make_trace())
    finally:
        os.umask(before)
    assert modes(shared) == {"shared": 0o770, "run.json": 0o660, "trace.jsonl": 0o660}


@pytest.mark.parametrize("name", ["trace.jsonl", "jobs.sqlite", "jobs.sqlite-wal", "solutions"])
def test_a_link_in_a_run_leads_nowhere(tmp_path, make_trace, name):
    folder = open_run(tmp_path / "run")
    (folder / TRACE_FILE).unlink()
    target = tmp_path / "target"
    if name == "solutions":
        target.mkdir()
    else:
        target.write_text("mine")
    (folder / name).symlink_to(target)

    def work() -> None:
        write_trace(open_run(folder), make_trace())
        write_solution(folder, make_trace(), alone=False)
        SqliteJobs(folder / JOBS_FILE)

    with pytest.raises(BDCError, match="symbolic link"):
        work()
    assert not list(target.iterdir()) if name == "solutions" else target.read_text() == "mine"


@pytest.mark.parametrize("name", ["run.json", "solution.py"])
def test_a_link_is_replaced_and_not_followed(tmp_path, make_trace, name):
    folder, target = tmp_path / "run", tmp_path / "target"
    folder.mkdir()
    (folder / name).symlink_to(target)
    write_solution(open_run(folder), make_trace())
    assert not target.exists()


def test_a_link_to_a_lock_is_not_followed(tmp_path):
    target = tmp_path / "target"
    target.write_text("mine")
    (tmp_path / "lock").symlink_to(target)
    with pytest.raises(UsageError, match="cannot lock"), one_process(tmp_path / "lock", "busy"):
        raise AssertionError
    assert target.read_text() == "mine"
