"""Deep nesting in what comes from outside ends in the error of that door, and in no fault of ours."""

import json
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from bdc_agents.agents.bodies import stranger
from bdc_agents.agents.refusals import read as read_refusal
from bdc_agents.agents.replies.reading import extract_code, parse_json
from bdc_agents.cli.distill import _recipe as recipe
from bdc_agents.config import load_settings
from bdc_agents.data import load_task, load_tasks, problem_from_statement, task_from_dict
from bdc_agents.data.apps import apps_task
from bdc_agents.data.leetcode import leetcode_task
from bdc_agents.distill.recipe import load_recipe
from bdc_agents.distill.training.checkpoint import read_losses
from bdc_agents.distill.training.rows import read_rows as read_training_rows
from bdc_agents.errors import BDCError, ConfigError
from bdc_agents.evaluate.config import _read as read_evaluation
from bdc_agents.evaluate.library.config import read_config
from bdc_agents.evaluate.results import _is_json, read_record, read_rows
from bdc_agents.experts.manifest import read_manifest
from bdc_agents.runs import read_run, read_traces
from bdc_agents.runs.store import scan_traces
from bdc_agents.sandbox.judge import _parse as read_report
from bdc_agents.serve.http.openai import read_body
from bdc_agents.weights import files as weights

Door = Callable[[str, Path], Any]
DOORS: dict[str, Door] = {}


def test_a_pipe_or_a_device_is_no_configuration_of_a_comparison(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.json")
    (tmp_path / "zeros.json").symlink_to("/dev/zero")
    for name in ("pipe.json", "zeros.json"):
        with pytest.raises(ConfigError, match="it is no plain file"):
            read_config(tmp_path / name)


def door(function: Door) -> Door:
    DOORS[function.__name__.strip("_")] = function
    return function


def written(file: Path, text: str) -> Path:
    file.write_text(text)
    return file


def as_toml(deep: str) -> str:
    return deep.replace('{"a":', "{a=")


@door
def _problems(deep: str, place: Path) -> None:
    file = written(
        place / "p.jsonl", f'{{"id": "a", "statement": "x", "tags": {deep}}}\n{{"id": "b", "x": {deep}}}\n'
    )
    with pytest.raises(BDCError):
        load_task(f"{file}:b")
    list(load_tasks(str(file)))


@door
def _problem(deep: str, place: Path) -> None:
    row = {"id": "a", "statement": "x", "public_tests": [{"call": "f(1)", "expected": "HERE"}]}
    load_task(str(written(place / "p.json", json.dumps(row).replace('"HERE"', deep))))


@door
def _call(deep: str, place: Path) -> None:
    task_from_dict({"id": "a", "statement": "x", "public_tests": [f"f({deep}) -> {deep}"]})


@door
def _statement(deep: str, place: Path) -> None:
    problem_from_statement(f"Write f(x).\n>>> f({deep})\n{deep}\n")


@door
def _apps(deep: str, place: Path) -> None:
    tests = f'{{"inputs": [[{deep}]], "outputs": [1], "fn_name": "f"}}'
    apps_task({"problem_id": 1, "question": "x", "input_output": tests, "solutions": deep}, "row 1")


@door
def _leetcode(deep: str, place: Path) -> None:
    row = {
        "task_id": "a",
        "question_id": 1,
        "problem_description": "x",
        "entry_point": "Solution().f",
        "starter_code": "class Solution:\n    def f(self, x): pass",
        "difficulty": "Easy",
        "test": f"def check(candidate):\n    assert candidate(x = {deep}) == -{deep}\n",
        "completion": "",
        "tags": [],
        "prompt": "",
        "query": "",
        "response": "",
        "input_output": [],
    }
    leetcode_task(row, "row 1")


@door
def _trace(deep: str, place: Path) -> None:
    file = written(place / "trace.jsonl", f'{{"version": 1, "settings": {{"x": {deep}}}}}\n')
    assert list(scan_traces(file)) == []
    read_traces(file)


@door
def _run(deep: str, place: Path) -> None:
    written(place / "run.json", f'{{"version": 1, "settings": {deep}}}')
    read_run(place)


@door
def _settings(deep: str, place: Path) -> None:
    load_settings(written(place / "x.toml", f'[agents.x]\nmodel = "m"\noptions = {{a = {as_toml(deep)}}}\n'))


@door
def _variable(deep: str, place: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BDC_SANDBOX__PACKAGES", deep)
        load_settings()


@door
def _evaluation(deep: str, place: Path) -> None:
    read_evaluation(written(place / "e.json", f'{{"config": {{"a": {deep}}}}}'))
    read_evaluation(written(place / "e.toml", f"a = {as_toml(deep)}\n"))


@door
def _evaluation_in_toml(deep: str, place: Path) -> None:
    read_evaluation(written(place / "e.toml", f"a = {as_toml(deep)}\n"))


@door
def _record(deep: str, place: Path) -> None:
    written(place / "results.jsonl", f"{deep}\n")
    assert read_rows(place) == []
    _is_json(deep.encode())
    written(place / "eval.json", f'{{"config": {{"a": {deep}}}}}')
    read_record(place)


@door
def _recipe(deep: str, place: Path) -> None:
    load_recipe(str(written(place / "r.toml", f"base = {as_toml(deep)}\n")))


@door
def _change_of_a_recipe(deep: str, place: Path) -> None:
    recipe("tiny", None, [f"train.epochs={as_toml(deep)}"])


@door
def _library(deep: str, place: Path) -> None:
    one = '"base": {}, "adapters": {}, "experts": [{"name": "one", "cluster": -1}]'
    written(place / "library.json", f'{{"version": 1, "created": "x", {one}, "lineage": {{"x": {deep}}}}}')
    read_manifest(place)


@door
def _rows(deep: str, place: Path) -> None:
    read_training_rows(written(place / "rows.jsonl", f'{{"prompt": {deep}, "completion": "x"}}\n'))


@door
def _losses(deep: str, place: Path) -> None:
    read_losses(written(place / "losses.jsonl", f"{deep}\n"))


@door
def _comparison(deep: str, place: Path) -> None:
    read_config(written(place / "c.json", f'{{"library": {deep}}}'))


@door
def _known_hash(deep: str, place: Path) -> None:
    file = written(place / "m.gguf", "x")
    marker, _ = weights._marker(file, place)
    marker.parent.mkdir(parents=True, exist_ok=True)
    marker.write_text(deep)
    assert len(weights.digest(file, place)) == 64


@door
def _body_of_a_request(deep: str, place: Path) -> None:
    read_body(f'{{"model": "bdc", "messages": {deep}}}'.encode())


@door
def _body_of_a_reply(deep: str, place: Path) -> None:
    stranger(f'{{"choices": {deep}}}')
    read_refusal(f'{{"error": {deep}}}')


@door
def _reply(deep: str, place: Path) -> None:
    parse_json(f'{{"thoughts": {deep}}}')
    extract_code(f"```python\ndef f(x):\n    return {deep}\n```", "f")


@door
def _report_of_a_checker(deep: str, place: Path) -> None:
    assert isinstance(read_report(f'{{"value": {deep}}}'.encode()), dict)


@pytest.mark.parametrize("depth", [190, 400, 950, 100_000])
@pytest.mark.parametrize("pair", [("[", "]"), ('{"a":', "}")], ids=["lists", "objects"])
@pytest.mark.parametrize("name", DOORS)
def test_what_is_nested_deeply_is_read_or_refused(name, pair, depth, workplace):
    opening, closing = pair
    with suppress(BDCError):
        DOORS[name](opening * depth + "1" + closing * depth, workplace)
