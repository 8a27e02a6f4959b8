"""Rows that cannot be used are told at the end of a run, too: grouped, and all of them in a file."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bdc_agents.runs.collect.left_out import LEFT_OUT_FILE, LeftOut, in_groups, summary, write_left_out
from bdc_agents.runs.collect.selection import select_jobs

GOOD = {"id": "a", "statement": "Write f(x).", "public_tests": ["assert f(1) == 2"]}


def rows_of(folder: Path) -> Path:
    bad = [{"id": f"b{n}", "public_tests": ["assert f(1) == 2"]} for n in range(7)]
    odd = [GOOD | {"id": f"c{n}", "public_tests": [f"f({n}) = 1"]} for n in range(3)]
    lines = [json.dumps(row) for row in (GOOD, *bad, *odd)] + ["nonsense", "3"]
    file = folder / "tasks.jsonl"
    file.write_text("\n".join(lines) + "\n")
    return file


def test_rows_are_grouped_by_what_is_wrong(tmp_path: Path) -> None:
    left_out = select_jobs([str(rows_of(tmp_path))]).left_out
    assert len(left_out) == 12
    assert all(row.own for row in left_out)
    head, *groups = summary(left_out)
    assert head == "12 rows cannot be used and are left out:"
    assert len(groups) == 4
    assert groups[0].startswith("  7 (")
    assert "and 2 more" in groups[0]
    assert "statement" in groups[0]
    assert groups[1].startswith("  3 (")
    assert "such as" in groups[1]
    assert summary([]) == ()


def test_many_reasons_fill_no_screen() -> None:
    rows = [LeftOut(where=f"t:{n}", reason=f"{'abcdefgh'[n % 8]} is wrong {'x' * 999}") for n in range(80)]
    lines = [*in_groups(rows)]
    assert len(lines) == 6
    assert max(map(len, lines)) < 300
    assert lines[-1] == "30 for 3 other reasons"


def test_rows_of_a_data_set_are_nobodys_own(tmp_path: Path) -> None:
    row = {"task_id": 601, "text": "t", "code": "", "test_list": ["assert f(1) == 1"]}
    lines = [json.dumps(one) for one in (row, {"task_id": 602})]
    (tmp_path / "mbpp.jsonl").write_text("\n".join(lines))
    (left,) = select_jobs(["mbpp"], data=tmp_path).left_out
    assert not left.own


def test_the_file_lists_all_and_goes_when_nothing_is_left_out(tmp_path: Path) -> None:
    rows = [LeftOut(where="t.jsonl:1", reason="a\nb"), LeftOut(where="x", reason="c")]
    file = write_left_out(tmp_path, rows)
    assert file == tmp_path / LEFT_OUT_FILE
    assert [json.loads(line)["where"] for line in file.read_text().splitlines()] == ["t.jsonl:1", "x"]
    assert write_left_out(tmp_path, []) is None
    assert not file.exists()


def test_a_run_over_a_file_with_unusable_rows_is_not_all_done(
    bdc: Callable[..., Any], configure: Callable[..., Any], workplace: Path
) -> None:
    configure()
    double = {"id": "a", "statement": "Write double(x).", "public_tests": ["assert double(3) == 6"]}
    lines = [json.dumps(double), '{"id": "b"}', json.dumps(double | {"id": "c", "public_tests": []})]
    (workplace / "tasks.jsonl").write_text("\n".join(lines))
    done = bdc("collect", "tasks.jsonl", "--out", "run", "--quiet")
    assert done.returncode == 1, done.stderr
    end = done.stderr[done.stderr.rindex("1 row cannot be used and is left out") :]
    assert "tasks.jsonl:2" in end
    assert LEFT_OUT_FILE in end
    listed = [json.loads(line) for line in (workplace / "run" / LEFT_OUT_FILE).read_text().splitlines()]
    assert [one["where"] for one in listed] == ["tasks.jsonl:2", "tasks.jsonl:c"]
    (workplace / "tasks.jsonl").write_text(json.dumps(double))
    done = bdc("collect", "tasks.jsonl", "--out", "run", "--quiet")
    assert done.returncode == 0, done.stderr
    assert not (workplace / "run" / LEFT_OUT_FILE).exists()
