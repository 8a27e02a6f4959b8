"""Traces from elsewhere: each is refused in a line, in bounded time and memory; none leads out."""

import gzip
import json
import os
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from bdc_agents.agents.cache import ReplyCache
from bdc_agents.agents.protocol import Reply
from bdc_agents.errors import BDCError, UsageError
from bdc_agents.runs import open_run, read_traces, write_solution, write_trace
from bdc_agents.runs.folder import parse_trace
from bdc_agents.runs.jobs.sqlite import JOBS_FILE, SqliteJobs
from bdc_agents.runs.jobs.table import Job
from bdc_agents.runs.store import scan_traces
from bdc_agents.types import Node, Problem, Program, Solution, Trace, TreeStats, Usage
from bdc_agents.untrusted import is_inside, read_lines

SECONDS = 120.0
"""In which each attack has to be over, on a busy machine."""


@pytest.fixture(autouse=True)
def in_time() -> Iterator[None]:
    began = time.monotonic()
    yield
    assert time.monotonic() - began < SECONDS


def trace(problem_id: str = "p") -> Trace:
    tree = TreeStats(nodes=2, evaluated=1, pruned=0, refined=0, depth=1, programs=1, rollouts=1)
    return Trace(
        problem=Problem(id=problem_id, statement="s"),
        solution=Solution(
            problem_id=problem_id,
            solved=True,
            code="pass",
            reward=1.0,
            node="0.0",
            stopped_by="solved",
            usage={"a": Usage(calls=1)},
            tree=tree,
        ),
        nodes=(Node(children=("0.0",)), Node(id="0.0", parent="0")),
        programs={"k": Program(code="pass", agent="a")},
    )


def changed(*path: Any, to: Any) -> bytes:
    whole: Any = trace().model_dump(mode="json")
    data = whole
    for step in path[:-1]:
        data = data[step]
    data[path[-1]] = to
    return json.dumps(whole).encode()


def replaced(text: str, by: str) -> bytes:
    whole = trace().model_dump_json()
    assert text in whole
    return whole.replace(text, by).encode()


NODE = trace().model_dump(mode="json")["nodes"]
TRACES: dict[str, tuple[bytes, str]] = {
    "no json": (b"{", "not JSON"),
    "no text": (b"\xff\xfe", "not JSON"),
    "a list": (b"[]", "a JSON object is expected"),
    "deep": (b"[" * 200_000, "nested too deeply"),
    "deep settings": (
        changed("settings", to={"a": 1}).replace(b'{"a": 1}', b'{"a":' * 100_000),
        "nested too deeply",
    ),
    "its own child": (changed("nodes", 0, "children", to=["0"]), "cannot have the child '0'"),
    "a circle": (changed("nodes", 1, "children", to=["0"]), "cannot have the child '0'"),
    "a child of another": (changed("nodes", 1, "children", to=["0.1"]), "cannot have the child"),
    "a child that is not there": (
        changed("nodes", 0, "children", to=["0.0", "0.1"]),
        "cannot have the child",
    ),
    "a child twice": (changed("nodes", 0, "children", to=["0.0"] * 9), "comes twice"),
    "a node twice": (changed("nodes", to=[*NODE, NODE[1]]), "comes twice"),
    "an id with a command": (changed("nodes", 1, "id", to="0.\x1b[2J"), "the id '0.\\x1b[2J' of a node"),
    "an id that leads out": (changed("nodes", 1, "id", to="../.."), "of a node is none"),
    "an endless id": (changed("nodes", 1, "id", to="0." + "9" * 10_000), "of a node is none"),
    "a right program nowhere": (
        changed("decision", to={"kept": True, "right": ["nowhere"]}),
        "names the program 'nowhere'",
    ),
    "settings of many levels": (
        changed("settings", to={"a": json.loads("[" * 300 + "]" * 300)}),
        "settings are nested too deeply",
    ),
    "a solution nowhere": (changed("solution", "node", to="\x1b[2J"), "which is not there"),
    "many wrong nodes": (changed("nodes", to=[1] * 100_000), "nodes.0"),
    "endless seconds": (changed("solution", "seconds", to=float("inf")), "finite"),
    "seconds that are none": (changed("solution", "seconds", to=float("nan")), "finite"),
    "an endless reward": (replaced('"reward":1.0', '"reward":1e999'), "finite"),
    "an endless value": (changed("nodes", 0, "value", to=-float("inf")), "finite"),
    "visits beyond counting": (changed("nodes", 0, "visits", to=10**40), "visits"),
    "calls beyond counting": (changed("solution", "usage", "a", "calls", to=10**400), "calls"),
    "a number of a megabyte": (changed("version", to=1).replace(b"1,", b"1" * 10**6 + b",", 1), "not JSON"),
}


@pytest.mark.parametrize("name", TRACES)
def test_a_foreign_trace_is_refused_in_a_line(tmp_path: Path, name: str) -> None:
    data, says = TRACES[name]
    with pytest.raises(UsageError) as refused:
        parse_trace(data, "place:1")
    assert says in str(refused.value)
    assert len(str(refused.value)) < 1000
    assert "\x1b" not in str(refused.value)
    (tmp_path / "trace.jsonl").write_bytes(trace().model_dump_json().encode() + b"\n" + data + b"\n")
    with pytest.raises(UsageError, match=r"trace\.jsonl:2"):
        read_traces(tmp_path)
    told: list[Any] = []
    assert len(list(scan_traces(tmp_path, told.append))) == 1
    assert [damage.line for damage in told] == [2]


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"{}\n", "not a trace: it has no version; bdc solve --out"),
        (b'{"id": "a", "statement": "Do."}\n', "a problem, not a trace"),
        (b'{"version": 3}\n', "update bdc-agents"),
        (b'{"version": "1"}\n', "its version is '1', not 1"),
        (b'{"version": 1,\n', "at column 15"),
    ],
)
def test_what_is_no_trace_is_told_for_what_it_is(tmp_path: Path, data: bytes, says: str) -> None:
    file = tmp_path / "mine.jsonl"
    file.write_bytes(data)
    with pytest.raises(UsageError) as refused:
        read_traces(file)
    assert says in str(refused.value)
    assert "line 2" not in str(refused.value)


def test_the_trace_that_the_attacks_start_from_is_read() -> None:
    whole = trace()
    assert parse_trace(whole.model_dump_json().encode(), "") == whole


FILES: dict[str, tuple[Callable[[], bytes], str]] = {
    "zeros": (lambda: gzip.compress(bytes(2**25), 1), "longer than|expands to more|not JSON"),
    "blank lines": (lambda: gzip.compress(b"\n" * 2**24, 1), "more than 1,000 blank lines"),
    "bombs in a bomb": (lambda: gzip.compress(b"\n" * 2**20, 9) * 40, "blank lines"),
    "cut": (lambda: gzip.compress(trace().model_dump_json().encode())[:-9], "ends or breaks"),
    "no gzip": (lambda: b"plain", "ends or breaks"),
    "damaged": (lambda: gzip.compress(b"\n" * 9)[:-8] + bytes(8), "ends or breaks"),
}


@pytest.mark.parametrize("name", FILES)
def test_a_compressed_bomb_is_not_unpacked(tmp_path: Path, name: str) -> None:
    make, says = FILES[name]
    file = tmp_path / "t.jsonl.gz"
    file.write_bytes(make())
    with pytest.raises(UsageError, match=says) as refused:
        read_traces(file)
    assert "\n" not in str(refused.value)
    told: list[Any] = []
    assert list(scan_traces(file, told.append)) == []
    assert len(told) == 1


def test_a_line_without_end_is_not_read_into_memory(tmp_path: Path) -> None:
    (tmp_path / "t.jsonl").write_bytes(b"x" * 5000)
    with pytest.raises(ValueError, match="longer than 1,000 bytes"):
        list(read_lines(tmp_path / "t.jsonl", 1000))


@pytest.mark.parametrize("special", ["/dev/zero", "pipe"])
def test_what_has_no_end_is_not_opened(tmp_path: Path, special: str) -> None:
    file = tmp_path / "trace.jsonl"
    if special == "pipe":
        os.mkfifo(file)
    else:
        file.symlink_to(special)
    with pytest.raises(UsageError, match="no run at"):
        read_traces(tmp_path)
    with pytest.raises(ValueError, match="no plain file"):
        list(read_lines(file))


# --- names that would lead out ---------------------------------------------------------------------------

IDS = (
    "../../x",
    "/etc/passwd",
    "..",
    ".",
    "a/../../b",
    "a\0b",
    "-rf",
    "a\\..\\b",
    "~/x",
    "x" * 5000,
    "",
    "é/ü",
)


@pytest.mark.parametrize("problem_id", IDS)
def test_no_problem_id_leads_out_of_its_run(tmp_path: Path, problem_id: str) -> None:
    run = open_run(tmp_path / "run")
    for alone in (True, False):
        file = write_solution(run, trace(problem_id), alone=alone)
        assert file is not None
        assert file.resolve().is_relative_to(run.resolve())
        assert file.is_file()
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


@pytest.mark.parametrize("path", ["a", "a/b.c", "experts/cluster-0/x", "..a", "a..b/c", "é"])
def test_paths_inside(path: str) -> None:
    assert is_inside(path)


@pytest.mark.parametrize(
    "path",
    ["", ".", "..", "/", "/a", "a/", "a//b", "./a", "a/.", "a/../b", "../a", "a\\b", "a\0", "a\n", "x" * 256],
)
def test_paths_that_lead_out_or_are_none(path: str) -> None:
    assert not is_inside(path)


def test_what_a_run_keeps_is_its_owners_alone(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        run = open_run(tmp_path / "run")
        write_trace(run, trace())
        write_solution(run, trace(), alone=False)
        SqliteJobs(run / JOBS_FILE).close()
    finally:
        os.umask(before)
    for path in (run, *run.rglob("*")):
        assert path.stat().st_mode & 0o777 == (0o700 if path.is_dir() else 0o600), path


@pytest.mark.parametrize("name", ["trace.jsonl", "run.json", "jobs.sqlite", "solutions"])
def test_a_link_in_a_run_is_not_written_through(tmp_path: Path, name: str) -> None:
    target = tmp_path / "elsewhere"
    target.mkdir()
    if name != "solutions":
        target = target / "file"
        target.write_text("kept")
    run = tmp_path / "run"
    run.mkdir()
    (run / name).symlink_to(target)
    steps: list[Callable[[], object]] = [
        lambda: open_run(run),
        lambda: SqliteJobs(run / JOBS_FILE).close(),
        lambda: write_trace(run, trace()),
        lambda: write_solution(run, trace(), alone=False),
    ]
    for step in steps:
        with suppress(BDCError):
            step()
    assert target.is_dir() or target.read_text() == "kept"
    assert len([*(tmp_path / "elsewhere").iterdir()]) == (0 if name == "solutions" else 1)


# --- databases -------------------------------------------------------------------------------------------

ENDLESS = "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT"


@pytest.mark.parametrize(
    "poison",
    [
        f"CREATE VIEW bdc_jobs AS {ENDLESS} x AS run FROM n",
        "CREATE TABLE t (x); CREATE TRIGGER evil AFTER INSERT ON t BEGIN DELETE FROM t; END",
    ],
)
def test_a_job_table_that_is_a_program_is_not_run(tmp_path: Path, poison: str) -> None:
    with sqlite3.connect(tmp_path / JOBS_FILE) as made:
        made.executescript(poison)
    with pytest.raises(BDCError, match=r"it holds a (view|trigger) .*remove it"):
        SqliteJobs(tmp_path / JOBS_FILE)


def test_a_job_table_of_other_columns_is_refused_in_a_line(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / JOBS_FILE) as made:
        made.execute("CREATE TABLE bdc_jobs (run, id, dataset)")
    with pytest.raises(BDCError, match="cannot be used"):
        SqliteJobs(tmp_path / JOBS_FILE).add([Job(id="a", dataset="d")])


@pytest.mark.parametrize(
    "reply", ["", "{", "[" * 100_000, "[]", "null", '{"text": 1}', '{"text": "x", "usage": {"calls": 1e999}}']
)
async def test_a_poisoned_reply_is_no_reply(tmp_path: Path, reply: str) -> None:
    cache = ReplyCache(tmp_path)
    await cache.put("k", Reply(text="good", usage=Usage(calls=1)))
    cache.close()
    with sqlite3.connect(cache.path) as made:
        made.execute("UPDATE replies SET reply = ?", (reply,))
    assert await cache.get("k") is None
    await cache.put("k", Reply(text="good", usage=Usage(calls=1)))
    found = await cache.get("k")
    assert found is not None
    assert found.text == "good"
    cache.close()


async def test_a_cache_that_is_a_program_is_left_alone(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    cache = ReplyCache(tmp_path)
    with sqlite3.connect(cache.path) as made:
        made.executescript(f"CREATE VIEW replies AS {ENDLESS} 'x' AS key, 'y' AS reply FROM n")
    assert await cache.get("k") is None
    assert "not cached any more" in caplog.text
