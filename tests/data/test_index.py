"""One row of a large file is found by an index that nobody has to trust."""

import gzip
import json
import os
import pickle
from pathlib import Path

import pytest

from bdc_agents.data import index, lines, load_task, load_tasks
from bdc_agents.errors import ProblemError


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """A cache folder of the test's own, in which every index is kept."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder))
    monkeypatch.setattr(index, "KEPT_FROM_BYTES", 0)
    monkeypatch.setattr(lines, "_BETWEEN_STATES", 1000)
    monkeypatch.setattr(lines, "_CHUNK", 300)
    forget()
    return folder / "bdc-agents" / "indexes"


def forget():
    """As a new process: nothing is in memory."""
    index._known.clear()
    lines._unpacked.cache_clear()


@pytest.fixture(params=[False, True], ids=["plain", "packed"])
def file(request, tmp_path):
    path = tmp_path / ("many.jsonl.gz" if request.param else "many.jsonl")
    put(path, [row(number) for number in range(60)])
    return path


def row(number, statement="Do {}."):
    return {"id": f"p{number}", "statement": statement.format(number) + "x" * (number % 7)}


def put(path, rows, end=b""):
    data = "".join(f"{json.dumps(one)}\n" for one in rows).encode() + end
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)


def statement(file, problem_id):
    return load_task(f"{file}:{problem_id}").problem.statement.rstrip("x")


@pytest.fixture
def scans(monkeypatch):
    """The files that were read from beginning to end."""
    seen = []
    real = index.lines
    monkeypatch.setattr(index, "lines", lambda file: seen.append(file.name) or real(file))
    return seen


def test_a_file_is_read_through_once_and_never_again(file, cache, scans):
    for number in (3, 59, 0, 3):
        assert statement(file, f"p{number}") == f"Do {number}."
    forget()
    for number in (58, 1):
        assert statement(file, f"p{number}") == f"Do {number}."
    assert len(scans) == 1
    assert len(list(cache.iterdir())) == 1
    assert oct(next(cache.iterdir()).stat().st_mode & 0o777) == "0o600"
    assert next(cache.iterdir()).read_bytes()[:1] == b"{", "plain JSON and numbers, nothing that runs"


def test_only_the_row_that_is_asked_for_is_read(file, scans, monkeypatch):
    read = []
    real = index.line_at
    statement(file, "p1")
    monkeypatch.setattr(index, "line_at", lambda *given: read.append(given) or real(*given))
    tasks = list(load_tasks(str(file), ids=["p50", "p7", "p20"]))
    assert [task.problem.id.rpartition(":")[2] for task in tasks] == ["p7", "p20", "p50"]
    assert len(read) == 3
    assert len(scans) == 1


def test_a_file_that_changes_is_indexed_again(file):
    assert statement(file, "p5") == "Do 5."
    put(file, [row(100), *(row(number, "Make {}.") for number in range(60))])
    assert statement(file, "p5") == "Make 5."
    assert statement(file, "p100") == "Do 100."


def test_a_change_that_leaves_size_and_time_gives_no_wrong_row(file):
    rows = [row(number) for number in range(60)]
    assert statement(file, "p14") == "Do 14."
    before = file.stat()
    rows[14], rows[21] = rows[21], rows[14]  # in the middle, and as long as each other
    put(file, rows)
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert [statement(file, name) for name in ("p14", "p21")] == ["Do 14.", "Do 21."]


class Payload:
    """What would leave a trace if it were ever unpickled."""

    def __reduce__(self):
        return (os.mkdir, (str(Path(os.environ["XDG_CACHE_HOME"]) / "ran"),))


def swapped(kept: bytes, sound: bool) -> bytes:
    """An index whose names lead to each other's rows, with or without a hash that fits."""
    header, _, records = kept.partition(b"\n")
    size = index._RECORD.size
    parts = [records[at : at + size] for at in range(0, len(records), size)]
    records = b"".join(part[:8] + other[8:] for part, other in zip(parts, parts[1:] + parts[:1], strict=True))
    if sound:
        stamp = index._Stamp(*json.loads(header)["of"])
        header = index._header(index.Index(stamp, records)).strip()
    return header + b"\n" + records


FORGED = {
    "cut": lambda kept: kept[: len(kept) // 2],
    "empty": lambda kept: b"",
    "noise": lambda kept: os.urandom(len(kept)),
    "a pickle": lambda kept: pickle.dumps(Payload()),
    "one bit": lambda kept: kept[:-1] + bytes([kept[-1] ^ 1]),
    "swapped": lambda kept: swapped(kept, sound=False),
    "swapped, with a hash that fits": lambda kept: swapped(kept, sound=True),
    "no rows, with a hash that fits": lambda kept: index._header(
        index.Index(index._Stamp(*json.loads(kept.partition(b"\n")[0])["of"]), b"")
    ),
}


@pytest.mark.parametrize("how", FORGED)
def test_a_damaged_or_forged_index_is_made_again(file, cache, how):
    statement(file, "p1")
    [kept] = cache.iterdir()
    good = kept.read_bytes()
    kept.write_bytes(FORGED[how](good))
    forget()
    for number in (30, 1, 59):
        assert statement(file, f"p{number}") == f"Do {number}."
    assert kept.read_bytes() == good, "and kept"
    assert not (cache.parents[1] / "ran").exists()


def test_a_place_within_a_row_is_no_row(tmp_path, cache):
    file = tmp_path / "one.jsonl"
    inner = json.dumps({"id": "b", "statement": "Inner."})
    put(file, [{"id": "a", "statement": "Outer."}, {"id": "b", "statement": "Real.", "tags": [inner]}])
    assert statement(file, "b") == "Real."
    [kept] = cache.iterdir()
    stamp = index._Stamp.of(file)
    place = file.read_bytes().index(b'"tags"') + 10
    kept.write_bytes(
        index._header(forged := index.Index.made_of([(index.Place(place, 2), ["b"])], stamp)) + forged.records
    )
    forget()
    assert statement(file, "b") == "Real."


def test_an_index_of_somebody_else_is_not_read(file, cache, scans, tmp_path):
    statement(file, "p1")
    [kept] = cache.iterdir()
    for spoil in (
        lambda: kept.chmod(0o666),
        lambda: (kept.rename(tmp_path / "x"), kept.symlink_to(tmp_path / "x")),
    ):
        spoil()
        forget()
        assert statement(file, "p2") == "Do 2."
        assert kept.is_file()
        assert not kept.is_symlink()
        assert not kept.stat().st_mode & 0o022
    assert len(scans) == 3


def test_without_a_cache_that_can_be_written_it_is_slower_and_silent(file, monkeypatch, scans, caplog, capfd):
    monkeypatch.setenv("XDG_CACHE_HOME", "/proc/nowhere")
    assert [statement(file, name) for name in ("p1", "p2")] == ["Do 1.", "Do 2."]
    assert len(scans) == 1, "memory serves as well"
    assert caplog.text == ""
    assert capfd.readouterr() == ("", "")


def test_what_is_kept_in_memory_has_a_bound(tmp_path):
    for number in range(index._IN_MEMORY + 5):
        file = tmp_path / f"{number}.jsonl"
        put(file, [row(1)])
        assert statement(file, "p1") == "Do 1."
    assert len(index._known) == index._IN_MEMORY


def test_rows_before_the_damage_of_a_packed_file_are_found(tmp_path, caplog):
    file = tmp_path / "cut.jsonl.gz"
    rows = [{"id": f"p{n}", "statement": os.urandom(200).hex()} for n in range(60)]
    put(file, rows)
    file.write_bytes(file.read_bytes()[:-2000])
    assert load_task(f"{file}:p3").problem.statement == rows[3]["statement"]
    found = list(load_tasks(str(file)))
    assert 20 < len(found) < 60
    assert "cut.jsonl.gz: cannot be read any further" in caplog.text
    with pytest.raises(ProblemError, match=r"may be it.*cannot be read any further"):
        load_task(f"{file}:p59")


def test_packed_texts_one_after_the_other_are_one_file(tmp_path):
    file = tmp_path / "members.jsonl.gz"
    parts = [json.dumps(row(number)).encode() + b"\n" for number in range(40)]
    file.write_bytes(b"".join(gzip.compress(part) for part in parts) + b"\0" * 512)
    assert [statement(file, f"p{n}") for n in (0, 39, 20, 21)] == ["Do 0.", "Do 39.", "Do 20.", "Do 21."]


def test_a_line_without_an_end_is_a_row_that_cannot_be_read(file, monkeypatch, caplog):
    monkeypatch.setattr(lines, "LONGEST_LINE", 500)
    put(file, [row(1), {"id": "long", "statement": "y" * 5000}, row(2)])
    assert [statement(file, name) for name in ("p1", "p2")] == ["Do 1.", "Do 2."]
    assert len(list(load_tasks(str(file)))) == 2
    assert ":2: longer than anything that could be a problem" in caplog.text


def test_a_mark_at_the_start_and_empty_lines_do_not_matter(tmp_path):
    file = tmp_path / "marked.jsonl"
    texts = [json.dumps(row(number)) for number in range(3)]
    file.write_bytes("\ufeff".encode() + "\r\n\r\n".join(texts).encode())
    for number in range(3):
        assert statement(file, f"p{number}") == f"Do {number}."
