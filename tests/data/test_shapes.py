"""Files of other formats say what they seem to be; what tables write for lists and gaps is read."""

import codecs
import json
from pathlib import Path

import pytest

from bdc_agents.data import load_task, load_tasks
from bdc_agents.errors import ProblemError
from bdc_agents.types import CallTest

ROW = {"id": "a", "statement": "Write f(x).", "public_tests": ["assert f(1) == 2"]}
LINE = json.dumps(ROW)


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("a.jsonl", b"id,statement,tests\na,Write f.,assert f(1) == 2\n", "looks like a table (CSV)"),
        ("a.jsonl", b"- id: a\n  statement: x\n", "looks like YAML"),
        ("a.jsonl", json.dumps([ROW]).encode(), "name it .json"),
        ("a.jsonl", json.dumps(ROW, indent=2).encode(), "name it .json"),
        ("a.jsonl", str(ROW).encode(), "looks like Python"),
        ("a.jsonl", LINE.encode("utf-16"), "UTF-16 text: save it as UTF-8"),
        ("a.jsonl", LINE.encode("utf-16-le"), "UTF-16 text: save it as UTF-8"),
        ("a.json", f"{LINE}\n{LINE}".encode(), "name it .jsonl"),
        ("a.json", json.dumps({"problems": [ROW]}).encode(), "holds problems under 'problems'"),
        ("a.jsonl", b'{"a":' + b"[" * 9_000 + b"]" * 9_000 + b"}", "nested too deeply"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_another_format_is_told_with_what_to_do(tmp_path: Path, name: str, content: bytes, told: str) -> None:
    (tmp_path / name).write_bytes(content)
    for load in (lambda: list(load_tasks(str(tmp_path / name))), lambda: load_task(str(tmp_path / name))):
        with pytest.raises(ProblemError) as refused:
            load()
        assert told in str(refused.value)
        assert "recursion" not in str(refused.value)


@pytest.mark.parametrize("content", [codecs.BOM_UTF8 + LINE.encode(), f"\r\n{LINE}\r\n\r\n".encode()])
def test_marks_and_line_ends_of_other_systems_are_read(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.jsonl").write_bytes(content)
    assert load_task(str(tmp_path / "a.jsonl")).problem.entry_point == "f"


def test_null_is_left_out_and_a_list_in_a_text_is_a_list(tmp_path: Path) -> None:
    gaps = {"hidden_tests": None, "tags": None, "entry_point": None, "checker": None, "tests": None}
    texts = json.dumps(["assert f(1) == 2", {"call": "f(2)", "expected": "4"}])
    (tmp_path / "a.jsonl").write_text(json.dumps(ROW | gaps | {"public_tests": texts}))
    tests = load_task(str(tmp_path / "a.jsonl")).problem.public_tests
    assert [test.expected for test in tests if isinstance(test, CallTest)] == [("2",), ("4",)]
    (tmp_path / "a.jsonl").write_text(json.dumps(ROW | {"public_tests": None, "tests": ["f(1) -> 2"]}))
    assert len(load_task(str(tmp_path / "a.jsonl")).problem.public_tests) == 1
    for name in ("id", "statement"):
        (tmp_path / "a.jsonl").write_text(json.dumps(ROW | {name: None}))
        with pytest.raises(ProblemError, match=name):
            load_task(str(tmp_path / "a.jsonl"))
