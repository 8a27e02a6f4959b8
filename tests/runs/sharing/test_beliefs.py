"""What moves gave in a run is kept, and read by searches to come."""

import json
from pathlib import Path
from typing import Any

import pytest

from bdc_agents.errors import ConfigError, UsageError
from bdc_agents.runs import open_run, write_trace
from bdc_agents.runs.sharing.beliefs import BELIEFS_FILE, beliefs_of, keep_beliefs, load_beliefs
from bdc_agents.search.policy.beliefs import Beliefs, Told

ONE = Beliefs().tell([Told("repair", "ann", "wrong", "pass"), Told("repair", "ann", "wrong", "error", 1)])
OTHER = Beliefs().tell([Told("answer", "bob", "", "part")])


@pytest.fixture
def run(tmp_path: Path, make_trace: Any) -> Path:
    folder = open_run(tmp_path / "run")
    for number, known in enumerate((ONE, OTHER)):
        trace = make_trace()
        problem = trace.problem.model_copy(update={"id": f"p:{number}"})
        write_trace(folder, trace.model_copy(update={"problem": problem, "beliefs": known.model_dump()}))
    return folder


def test_the_beliefs_of_a_run_are_those_of_its_searches(run: Path) -> None:
    assert keep_beliefs(run) == run / BELIEFS_FILE
    assert load_beliefs(run) == load_beliefs(run / BELIEFS_FILE) == ONE.plus(OTHER)


def test_searches_without_moves_leave_no_file(tmp_path: Path, make_trace: Any) -> None:
    folder = open_run(tmp_path / "run")
    write_trace(folder, make_trace())
    assert keep_beliefs(folder) is None
    assert not (folder / BELIEFS_FILE).exists()
    assert beliefs_of([]) == Beliefs()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "no beliefs"),
        ("[]", "no beliefs"),
        ('{"counts": {"repair/wrong/ann": [1, 2, 3]}}', "counts"),
        ('{"counts": {"repair/wrong/ann": [1, 2, 3, -4]}}', "0 or more"),
        ('{"counts": {"x": [1, 2, 3, 4]}}', "KIND/BEFORE/AGENT"),
        ("[" * 100_000, "no beliefs"),
    ],
)
def test_a_file_of_something_else_is_refused(tmp_path: Path, text: str, says: str) -> None:
    file = tmp_path / "b.json"
    file.write_text(text)
    with pytest.raises((UsageError, ConfigError), match=says):
        load_beliefs(file)


def test_a_place_without_beliefs_says_where_there_are_some(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="bdc collect"):
        load_beliefs(tmp_path)


def test_a_file_that_is_written_is_plain(run: Path) -> None:
    keep_beliefs(run)
    assert json.loads((run / BELIEFS_FILE).read_text())["counts"]["answer//bob"] == [0, 0, 1, 0]


def test_of_an_evaluation_the_solver_is_to_be_named(tmp_path: Path) -> None:
    kept = tmp_path / "traces" / "search"
    kept.mkdir(parents=True)
    (kept / "beliefs.json").write_text("{}")
    assert load_beliefs(kept) == Beliefs()
    with pytest.raises(UsageError, match=r"is an evaluation: name one of its solvers: .*traces.search"):
        load_beliefs(tmp_path)
