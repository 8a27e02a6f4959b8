"""Which problems an evaluation takes, and what it says of those that it leaves out."""

import json
import logging
from pathlib import Path

import pytest

from bdc_agents.errors import ProblemError
from bdc_agents.evaluate.config import EvalConfig
from bdc_agents.evaluate.setup import choose_tasks

PLAIN = {"id": "a", "statement": "Give back x.", "public_tests": ["f(1) -> 1"]}


def chosen(file: Path, *rows: dict[str, object], packages: tuple[str, ...] | None = None) -> list[str]:
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    tasks = choose_tasks(EvalConfig(datasets=(str(file),)), packages=packages)
    return [task.problem.id.rpartition(":")[2] for task in tasks]


def test_what_is_taken_whole_is_no_reason_for_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    assert chosen(tmp_path / "t.jsonl", PLAIN, PLAIN | {"id": "b"}, packages=()) == ["a", "b"]
    assert caplog.messages == []


def test_a_dialogue_that_is_left_out_is_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    assert chosen(tmp_path / "t.jsonl", PLAIN, PLAIN | {"id": "talk", "tags": ["interactive"]}) == ["a"]
    (said,) = caplog.messages
    assert "talk" in said


def test_packages_that_are_not_there_are_named_where_that_is_asked(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    row = PLAIN | {"reference": "import numpy\ndef f(x):\n    return x\n"}
    assert chosen(tmp_path / "t.jsonl", row) == ["a"]
    assert chosen(tmp_path / "t.jsonl", row, packages=("numpy",)) == ["a"]
    assert caplog.messages == []
    assert chosen(tmp_path / "t.jsonl", row, packages=("scipy",)) == ["a"]
    (said,) = caplog.messages
    assert "numpy (1)" in said


def test_no_data_set_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ProblemError, match="humaneval"):
        choose_tasks(EvalConfig())
