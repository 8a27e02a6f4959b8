"""Files of problems from anybody: each costs its own rows at most, in a message that people can read."""

import gzip
import json
import os
from pathlib import Path

import pytest

from bdc_agents.data import load_task, load_tasks
from bdc_agents.data.rows import MOST_ENTRIES
from bdc_agents.errors import ProblemError

GOOD = {"id": "good", "statement": "Do.", "public_tests": ["f(1) -> 2"]}


def row(**fields: object) -> bytes:
    return json.dumps(GOOD | {"id": "bad"} | fields).encode()


ROWS = {
    "lists without end": (b"[" * 200_000 + b"]" * 200_000, "cannot be read"),
    "an id of thousands of digits": (b'{"id":' + b"9" * 5000 + b',"statement":"s"}', "whole number"),
    "an id that is no number": (b'{"id":NaN,"statement":"s"}', "whole number"),
    "an id with a command": (row(id="\x1b[2J"), "printable characters"),
    "an id on two lines": (row(id="a\nb"), "printable characters"),
    "an endless id": (row(id="x" * 10**6), "1 to 200"),
    "an id that is true": (row(id=True), "whole number"),
    "an endless integer": (b'{"id":"bad","statement":' + b"9" * 200_000 + b"}", "more than 100,000 digits"),
    "a limit of thousands of digits": (
        b'{"id":"bad","statement":"s","limits":{"memory_mb":' + b"9" * 5000 + b"}}",
        "limits.memory_mb",
    ),
    "time without end": (b'{"id":"bad","statement":"s","limits":{"cpu_seconds":Infinity}}', "at most"),
    "half a character": (b'{"id":"bad","statement":"\\ud800"}', "half of a character"),
    "a field twice": (b'{"id":"bad","statement":"s","statement":"t"}', "'statement' comes twice"),
    "a test's field twice": (
        b'{"id":"bad","statement":"s","tests":[{"call":"f(1)","expected":1,"expected":2}]}',
        "'expected' comes twice",
    ),
    "a checker with a NUL": (row(checker="a\0.py"), "is no file"),
    "a checker in a circle": (row(checker="circle.py"), "is no file"),
    "a checker that is a pipe": (row(checker="pipe.py"), "no plain file"),
    "a checker with an endless name": (row(checker="x" * 5000 + ".py"), "cannot be read"),
    "thousands of mistakes": (row(public_tests=[1] * 9_000), "public_tests[0]"),
    "tens of thousands of tests": (row(public_tests=[1] * 20_000), "20,000 entries"),
    "thousands of arrows": (row(public_tests=["->" * 20_000]), "several arrows"),
    "an endless session": (row(public_tests=[">>> x = 1\n" * 20_000]), "500 at most"),
}


@pytest.mark.parametrize("name", ROWS)
def test_a_hostile_row_costs_itself_alone(
    tmp_path: Path, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    data, says = ROWS[name]
    os.mkfifo(tmp_path / "pipe.py")
    (tmp_path / "circle.py").symlink_to("circle.py")
    file = tmp_path / "x.jsonl"
    file.write_bytes(data + b"\n" + json.dumps(GOOD).encode() + b"\n")
    assert [task.problem.id for task in load_tasks(str(file))] == [f"{file}:good"]
    assert says in caplog.text
    with pytest.raises(ProblemError) as refused:
        load_task(f"{file}:bad")
    told = str(refused.value)
    assert len(told) < 5000
    assert all(character.isprintable() or character == "\n" for character in told)


def test_numbers_that_equal_nothing_contradict_nothing(tmp_path: Path) -> None:
    file = tmp_path / "x.jsonl"
    file.write_bytes(b'{"id":"a","statement":"s","public_tests":[{"call":"f(1)","expected":NaN}]}\n')
    assert load_task(f"{file}:a").warnings == ()


@pytest.mark.parametrize("name", ["x.jsonl", "x.json", "x.jsonl.gz"])
def test_what_has_no_end_is_not_opened(tmp_path: Path, name: str) -> None:
    os.mkfifo(tmp_path / name)
    for address in (f"{tmp_path / name}", f"{tmp_path / name}:a"):
        with pytest.raises(ProblemError, match="no plain file"):
            load_task(address)


def test_billions_of_blank_lines_are_not_read(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    file = tmp_path / "x.jsonl.gz"
    file.write_bytes(gzip.compress(json.dumps(GOOD).encode() + b"\n" * 200_000 + json.dumps(GOOD).encode()))
    assert len(list(load_tasks(str(file)))) == 1
    assert "blank lines follow one another" in caplog.text


def test_a_small_packed_file_that_unpacks_without_measure_is_refused_soon(tmp_path: Path) -> None:
    file = tmp_path / "bomb.jsonl.gz"
    with gzip.open(file, "wb") as packed:
        for _ in range(64):
            packed.write(b"a" * 2**20)
    with pytest.raises(ProblemError, match="it expands to more than 200 times its size"):
        load_task(f"{file}:a")


def test_a_row_of_more_tests_than_can_be_read_soon_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "many.jsonl"
    many = {"id": "a", "statement": "s", "hidden_tests": ["f(1) -> 1"] * (MOST_ENTRIES + 1)}
    file.write_text(json.dumps(many) + "\n")
    with pytest.raises(ProblemError, match=r"hidden_tests: 10,001 entries; a problem has at most 10,000"):
        load_task(f"{file}:a")
