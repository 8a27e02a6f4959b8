"""`bdc compare` on a distilled library: figures against independent ones, kills, and bad input."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel

from bdc_agents.data import load_tasks
from bdc_agents.distill.lessons import reference_rows
from bdc_agents.errors import ConfigError, UsageError
from bdc_agents.evaluate.figures.metrics import paired, wilson
from bdc_agents.evaluate.library import CompareConfig, compare
from bdc_agents.evaluate.library.bench import Bench
from bdc_agents.evaluate.library.config import METHODS
from bdc_agents.evaluate.library.held_out import known_solutions
from bdc_agents.evaluate.library.peers import plain_sums
from bdc_agents.evaluate.library.replies import ReplyLine, tokens_per_second
from bdc_agents.evaluate.library.run import Watch
from bdc_agents.experts.base import load_base
from bdc_agents.experts.library import ExpertLibrary
from bdc_agents.experts.manifest import write_manifest
from bdc_agents.experts.router import ROUTER, Router
from bdc_agents.runs import open_run, write_trace
from bdc_agents.sandbox import create_executor
from bdc_agents.search import extract_traces
from bdc_agents.types import Trace

Make = Callable[..., Trace]
Config = Callable[..., CompareConfig]
pytestmark = pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing:FutureWarning")  # peft's use
PROBLEMS = 5


def figures(out: Path) -> dict[str, dict[str, Any]]:
    return {one["name"]: one for one in json.loads((out / "summary.json").read_text())["methods"]}


def lines(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text().splitlines()]


def test_every_method_has_every_figure(out: Path) -> None:
    found = figures(out)
    names = {*METHODS, "cluster-0", "cluster-1", "shared"} - {"experts"}
    assert set(found) == names
    for name, one in found.items():
        assert one["loss"] > 0, name
        assert one["problems"] == PROBLEMS
        assert one["tokens_per_second"] > 0
        assert (one["against_loss"] is None) == (name == "shared")
        assert one["parameters"] == 0 if name == "base" else one["parameters"] > 0
    keys = [(line["method"], line["problem"]) for line in lines(out / "replies.jsonl")]
    assert len(keys) == len(set(keys)) == len(names) * PROBLEMS
    rows = [(line["solver"], line["problem"]) for line in lines(out / "results.jsonl")]
    assert sorted(rows) == sorted(keys)
    page = (out / "report.html").read_text()
    assert all(name in page for name in names)
    assert "http" not in page.replace("http-equiv", "").replace("http://www.w3.org", "")


def test_losses_and_intervals_are_those_of_plain_runs(place: Path, out: Path, base: str) -> None:
    """Base and experts by plain peft, the mixtures' intervals by the definition of a paired difference."""
    loaded = load_base(base, dtype="float32")
    library = ExpertLibrary(place / "library")
    from bdc_agents.distill.training.rows import encode_rows

    rows = reference_rows(known_solutions(list(load_tasks(str(place / "new.jsonl")))))
    encoded = encode_rows(rows, [-1] * PROBLEMS, loaded.tokenizer, max_length=256, validation=0).train
    numbers, tokens = list(range(PROBLEMS)), sum(row.target_tokens for row in encoded)
    plain = plain_sums(loaded.model.eval(), encoded, numbers, 4096)
    adapted = PeftModel.from_pretrained(loaded.model, str(library.adapter_folder("shared"))).eval()
    shared = plain_sums(adapted, encoded, numbers, 4096)
    found = figures(out)
    assert found["base"]["loss"] == pytest.approx(float(plain.sum()) / tokens, rel=1e-4)
    assert found["shared"]["loss"] == pytest.approx(float(shared.sum()) / tokens, rel=1e-4)
    scale = PROBLEMS / tokens
    expected = paired((plain * scale).tolist(), (shared * scale).tolist())
    told = found["base"]["against_loss"]
    assert told["value"] == pytest.approx(found["base"]["loss"] - found["shared"]["loss"], abs=1e-6)
    assert (told["low"], told["high"]) == pytest.approx((expected.low, expected.high), abs=1e-4)


def test_programs_that_pass_are_counted(config: Config, place: Path, tmp_path: Path) -> None:
    """Replies that are there are scored, not written again: here some that are right."""
    tasks = list(load_tasks(str(place / "new.jsonl")))
    right = {"base": {0, 1}, "cluster-0": set(), "cluster-1": {0, 1, 2, 3}, "shared": {1, 2, 3}}
    replies = [
        ReplyLine(
            method=method,
            problem=task.problem.id,
            text=reference_rows(known_solutions([task]))[0].completion if number in solved else "no program",
            completion_tokens=10,
            began=100.0 * number,
            ended=100.0 * number + 5,
        )
        for method, solved in right.items()
        for number, task in enumerate(tasks)
    ]
    tmp_path.joinpath("out").mkdir()
    text = "".join(line.model_dump_json() + "\n" for line in replies)
    (tmp_path / "out" / "replies.jsonl").write_text(text + '{"method": "base", "pro')  # As a kill leaves it.
    compare(config(place, methods=("base", "experts")), tmp_path / "out", create_executor)
    found = figures(tmp_path / "out")
    passed = {
        name: [number in solved and number > 0 for number in range(PROBLEMS)]
        for name, solved in right.items()
    }
    for name, own in passed.items():
        expected = wilson(sum(own), PROBLEMS)
        assert found[name]["passed"] == pytest.approx(expected.model_dump())
        assert found[name]["tokens_per_second"] == pytest.approx(2.0)
        if name != "shared":
            against = paired(list(map(float, own)), list(map(float, passed["shared"])))
            assert found[name]["against_passed"] == pytest.approx(against.model_dump())
    assert found["cluster-1"]["passed"]["value"] == 0.6


def test_tokens_a_second_count_overlapping_time_once() -> None:
    def line(began: float, ended: float) -> ReplyLine:
        return ReplyLine(
            method="m", problem=str(began), text="", completion_tokens=10, began=began, ended=ended
        )

    assert tokens_per_second([line(4, 6), line(0, 2), line(1, 3), line(4.5, 5)]) == 40 / 5
    assert tokens_per_second([]) is None


def test_a_reference_row_is_a_training_row(place: Path, trace: Make) -> None:
    from bdc_agents.types import HiddenTests, Task

    solved = trace(3)
    task = Task(problem=solved.problem, hidden=HiddenTests((), solved.solution.code))
    (row,), (written,) = reference_rows(known_solutions([task])), extract_traces(solved)
    assert row == written.model_copy(update={"kind": "reference"})
    assert reference_rows(known_solutions([Task(problem=solved.problem)])) == ()


SCRIPT = """
import sys
from pathlib import Path
from bdc_agents.evaluate.library import CompareConfig, Watch, compare
from bdc_agents.sandbox import create_executor
import torch
torch.set_num_threads(1)
compare(CompareConfig.model_validate_json(sys.argv[1]), sys.argv[2], create_executor)
"""


@pytest.mark.parametrize("until", ["losses.jsonl", "replies.jsonl", "results.jsonl"])
def test_a_kill_at_any_stage_computes_nothing_twice(
    config: Config, place: Path, out: Path, tmp_path: Path, until: str
) -> None:
    """Killed as soon as some lines of a stage are there; what was there then stays as it was."""
    plan = config(place, methods=("base", "experts", "uniform", "ties", "router-default"))
    folder = tmp_path / "out"
    process = subprocess.Popen([sys.executable, "-c", SCRIPT, plan.model_dump_json(), str(folder)])
    file = folder / until
    for _ in range(2400):
        if process.poll() is not None or (file.is_file() and len(file.read_bytes().splitlines()) >= 3):
            break
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    names = ("losses.jsonl", "replies.jsonl", "results.jsonl")
    kept = {name: (folder / name).read_bytes() if (folder / name).is_file() else b"" for name in names}
    assert len(kept[until].splitlines()) >= 3
    said: list[str] = []
    compare(plan, folder, create_executor, watch=Watch(say=said.append))
    for name, data in kept.items():
        whole = data[: data.rfind(b"\n") + 1]
        assert (folder / name).read_bytes().startswith(whole)
    ours, theirs = figures(folder), figures(out)
    for name, one in ours.items():
        assert one["loss"] == pytest.approx(theirs[name]["loss"], rel=1e-6)
        assert one["passed"] == theirs[name]["passed"]
    texts = [
        {(r["method"], r["problem"]): r["text"] for r in lines(p / "replies.jsonl")} for p in (folder, out)
    ]
    assert texts[0].items() <= texts[1].items()


def test_a_finished_comparison_loads_nothing(
    config: Config, place: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bdc_agents.evaluate.library.bench.load_base", lambda *_, **__: pytest.fail("loaded"))
    before = {p.name: p.read_bytes() for p in out.iterdir() if p.suffix == ".jsonl"}
    summary = compare(config(place), out, lambda: pytest.fail("a sandbox"))
    assert summary.method("base").problems == PROBLEMS
    assert before == {p.name: p.read_bytes() for p in out.iterdir() if p.suffix == ".jsonl"}


def test_the_missing_router_is_trained_beside_the_library(place: Path, out: Path) -> None:
    library = ExpertLibrary(place / "library")
    paper = Router.from_bytes((out / "router-paper.safetensors").read_bytes(), library)
    assert paper.facts.shape.scaling == "paper"
    assert paper.facts.shape.hidden == 8  # As the library's own, but for its scaling and start.
    assert Router.load(library).facts.shape.scaling == "default"


def test_without_traces_what_is_trained_is_left_out(
    config: Config, place: Path, trace: Make, tmp_path: Path
) -> None:
    said: list[str] = []
    part = open_run(tmp_path / "part")
    for number in range(9):
        write_trace(part, trace(number))
    partly = compare(
        config(place, traces=(str(tmp_path / "part"),), methods=("base",), limit=1),
        tmp_path / "b",
        create_executor,
    )
    assert any("9 of the 14 rows" in note for note in partly.notes)
    plan = config(place, traces=(), methods=("experts", "xlora", "router-default", "router-paper"), limit=2)
    summary = compare(plan, tmp_path / "out", create_executor, watch=Watch(say=said.append))
    assert {one.name for one in summary.methods} == {"cluster-0", "cluster-1", "shared", "router-default"}
    assert summary.count == 2
    assert any("xlora, router-paper" in line and "--traces" in line for line in said)


def test_experts_of_the_same_weights_have_one_line(config: Config, place: Path, tmp_path: Path) -> None:
    shutil.copytree(place / "library", tmp_path / "library")
    library = ExpertLibrary(tmp_path / "library")
    weights = "experts/{}/adapter_model.safetensors"
    library.put(weights.format("cluster-1"), library.read(weights.format("shared")))
    files = {path: file for path, file in library.manifest.files.items() if path != ROUTER}
    write_manifest(library.folder, library.manifest.model_copy(update={"files": files}))
    plan = config(place, library=str(tmp_path / "library"), traces=(), methods=("base", "experts"), limit=1)
    summary = compare(plan, tmp_path / "out", create_executor)
    assert [one.name for one in summary.methods] == ["base", "cluster-0", "shared"]
    assert any("cluster-1 is shared" in note for note in summary.notes)


def test_rows_that_the_library_held_out_stand_in_for_references(
    config: Config, place: Path, tmp_path: Path
) -> None:
    bare = [{key: one[key] for key in one if key != "reference"} for one in lines(place / "new.jsonl")[:2]]
    (tmp_path / "bare.jsonl").write_text("".join(json.dumps(one) + "\n" for one in bare))
    plan = config(place, problems=(str(tmp_path / "bare.jsonl"),), methods=("base", "experts"))
    summary = compare(plan, tmp_path / "out", create_executor)
    assert "held out when the library was made" in summary.loss_on
    library = json.loads(ExpertLibrary(place / "library").read("metrics.json"))["losses"]
    assert summary.method("base").loss == pytest.approx(library["base"]["all"], rel=1e-3)
    assert summary.method("shared").loss == pytest.approx(library["shared"]["all"], rel=1e-3)
    none = compare(plan.model_copy(update={"traces": ()}), tmp_path / "none", create_executor)
    assert none.method("base").loss is None
    assert any("No loss" in text for text in none.notes)


def test_bad_input_is_named(config: Config, place: Path, out: Path, trace: Make, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"another comparison:\n.*max_tokens: was 6, is 7"):
        compare(config(place, max_tokens=7), out, create_executor)
    seen = {"id": "p1", "statement": "Seen.", "public_tests": ["assert f() == 1"]}
    ids = json.loads(ExpertLibrary(place / "library").read("clusters.json"))["ids"]
    assert "p1" in ids
    (tmp_path / "seen.jsonl").write_text(json.dumps(seen) + "\n")
    plan = config(place)
    from bdc_agents.evaluate.library import held_out

    address = f"{tmp_path / 'seen.jsonl'}"
    with pytest.raises(UsageError, match="made from all 1 problems"):
        held_out.hold_out(plan.model_copy(update={"problems": (address,)}), [f"{address}:p1"])
    with pytest.raises(ValueError, match="unknown method 'tie'; did you mean ties"):
        config(place, methods=("tie",))
    from bdc_agents.evaluate.library.config import build_config, read_config

    with pytest.raises(ConfigError, match=r"density: at most 1 is taken"):
        build_config(library="x", problems=("mbpp",), density=2.0)
    with pytest.raises(ConfigError, match=r"name the compare\.json"):
        read_config(tmp_path / "none.json")
    other = open_run(tmp_path / "other")
    write_trace(other, trace(50))
    with pytest.raises(UsageError, match=r"none of the problems of .* is in the library"):
        compare(config(place, traces=(str(tmp_path / "other"),)), tmp_path / "out", create_executor)


def test_the_command_goes_on_and_shows_the_table(
    place: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from typer.testing import CliRunner

    from bdc_agents.cli import app

    monkeypatch.chdir(place)
    monkeypatch.setenv("COLUMNS", "180")
    words = ["compare", "--config", str(out / "compare.json"), "--out", str(out)]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, done.output
    assert "router-paper" in done.stdout
    assert "against shared" in done.stdout
    told = json.loads(CliRunner().invoke(app, [*words, "--json", "--quiet"]).stdout)
    assert told["reference"] == "shared"
    assert len(told["methods"]) == 13
    wrong = CliRunner().invoke(app, ["compare", str(place / "library")])
    assert wrong.exit_code == 2
    torch.set_num_threads(1)


def test_a_library_of_one_expert_is_compared_with_its_base(
    place: Path, config: Config, tmp_path: Path
) -> None:
    whole = ExpertLibrary(place / "library")
    folder = Path(shutil.copytree(place / "library", tmp_path / "one"))
    gone = ("clusters.json", ROUTER, "router.json", "experts/cluster-")
    files = {path: file for path, file in whole.manifest.files.items() if not path.startswith(gone)}
    experts = (whole.expert("shared"),)
    write_manifest(folder, whole.manifest.model_copy(update={"experts": experts, "files": files}))
    told: list[str] = []
    plan = config(place, library=str(folder))
    assert Bench(plan, told.append).seen == {f"p{number}" for number in range(14)}
    compare(plan, tmp_path / "out", create_executor, watch=Watch(say=told.append))
    found = figures(tmp_path / "out")
    assert set(found) == {"base", "shared"}
    assert all(one["loss"] > 0 and one["problems"] == PROBLEMS for one in found.values())
    assert any("the library has one expert" in line and "uniform" in line for line in told)
    compare(
        plan.model_copy(update={"traces": (), "limit": 1}),
        tmp_path / "bare",
        create_executor,
        watch=Watch(say=told.append),
    )
    assert any("name its traces" in line for line in told)
