"""New traces are folded into a library: what they concern learns, all else stays as it was."""

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

import numpy as np
import pytest
import torch

from bdc_agents.distill.pipeline import distill
from bdc_agents.distill.recipe import Recipe
from bdc_agents.distill.training.rows import training_rows
from bdc_agents.distill.update import update, used_recipe
from bdc_agents.errors import ConfigError, ModelError, UsageError
from bdc_agents.experts.clusters import Clusters
from bdc_agents.experts.library import ExpertLibrary
from bdc_agents.experts.manifest import write_manifest
from bdc_agents.experts.router import Router
from bdc_agents.runs import open_run, write_trace
from bdc_agents.search.traces import row_key
from bdc_agents.types import Trace

Make = Callable[..., Trace]
ADAPTER = "adapter_model.safetensors"


@pytest.fixture(scope="module")
def made(recipe: Recipe, trace: Make, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A library of 14 problems of two kinds; odd numbers are of one, even ones of the other."""
    folder = tmp_path_factory.mktemp("made") / "library"
    distill([trace(n) for n in range(14)], folder, recipe, lineage={"traces of first": "abc"})
    return folder


@pytest.fixture
def library(made: Path, tmp_path: Path) -> Path:
    shutil.copytree(made, tmp_path / "library")
    return tmp_path / "library"


def weights(folder: Path) -> dict[str, bytes]:
    names = ExpertLibrary(folder).names
    return {name: (folder / "experts" / name / ADAPTER).read_bytes() for name in names}


def clusters(folder: Path) -> Clusters:
    return Clusters.from_json((folder / "clusters.json").read_text())


def test_only_what_is_concerned_learns(library: Path, trace: Make) -> None:
    before, old, manifest = weights(library), clusters(library), ExpertLibrary(library).manifest
    odd = old.label_of()["p1"]
    new = [trace(n) for n in (21, 23, 25, 27)]  # All of the kind of p1.
    said: list[str] = []
    done = update(
        library, [*(trace(n) for n in range(14)), *new], lineage={"traces of second": "def"}, say=said.append
    )
    now = weights(library)
    assert set(done.trained) == {f"cluster-{odd}", "shared"}
    assert {name for name in now if now[name] != before[name]} == set(done.changed) <= set(done.trained)
    assert now[f"cluster-{1 - odd}"] == before[f"cluster-{1 - odd}"]
    assert done.changed, "training on eight more rows of its kind helps this random model"
    assert (done.rows, done.problems) == (4, 4)
    found = ExpertLibrary(library)
    assert not found.check()
    # Old problems and centroids stay; new ones are where the clusters place them.
    placed = clusters(library)
    assert placed.ids == (*old.ids, "p21", "p23", "p25", "p27")
    assert np.array_equal(placed.centroids, old.centroids)
    assert placed.labels.tolist() == [*old.labels.tolist(), odd, odd, odd, odd]
    assert np.allclose(placed.memberships.sum(1), 1, atol=1e-5)
    # The router is of the new experts, and the lineage names both inputs.
    assert Router.load(found).experts == ("cluster-0", "cluster-1")
    lineage = found.manifest.lineage
    assert (lineage["traces of first"], lineage["traces of second"]) == ("abc", "def")
    (step,) = lineage["updates"]
    assert step["made"] == manifest.created
    assert step["traces"] == {"traces of second": "def"}
    records = {one.name: one for one in found.manifest.experts}
    assert records[f"cluster-{1 - odd}"].rows == manifest.experts[1 - odd].rows
    assert "losses-update-1.jsonl" in found.manifest.files
    assert not list(library.parent.glob("library.work/update-*"))
    assert f"4 new problems are placed in cluster {odd}" in said
    assert not any("may forget" in line or "at hand" in line for line in said)


def test_what_was_learnt_is_not_new_again(library: Path, trace: Make) -> None:
    said: list[str] = []
    traces = [trace(n) for n in (*range(14), 21, 23, 25)]
    created = ExpertLibrary(library).manifest.created
    assert not update(library, traces[:14], say=said.append).trained
    assert ExpertLibrary(library).manifest.created == created
    assert "nothing is new" in said[-1]
    assert update(library, traces).rows == 3
    files = {p: p.read_bytes() for p in library.rglob("*") if p.is_file()}
    again = update(library, traces)
    assert (again.rows, again.trained) == (0, ())
    assert files == {p: p.read_bytes() for p in library.rglob("*") if p.is_file()}
    rejected = trace(30, kept=False)
    assert update(library, [rejected]).rows == 0


def test_a_known_problem_that_was_solved_anew_is_new(library: Path, trace: Make) -> None:
    other = trace(3)
    solved = other.solution.model_copy(update={"code": "def f3(s):\n    return ''.join(reversed(s))"})
    again = other.model_copy(update={"solution": solved})
    done = update(library, [*(trace(n) for n in range(14)), again])
    assert (done.rows, done.problems) == (1, 0)
    (row,) = training_rows([again])
    told = json.loads(ExpertLibrary(library).read("rows.json"))
    assert row_key(row) in told["shared"]
    assert len(clusters(library).ids) == 14


def test_new_rows_alone_are_learnt_with_a_warning(library: Path, trace: Make) -> None:
    said: list[str] = []
    done = update(library, [trace(n) for n in (21, 23, 25, 20, 22, 24)], say=said.append)
    assert set(done.trained) == {"cluster-0", "cluster-1", "shared"}
    assert any("may forget" in line for line in said)


def test_experts_with_too_few_rows_wait(library: Path, trace: Make) -> None:
    """One new problem of a cluster, and the old runs are not at hand."""
    said: list[str] = []
    odd = clusters(library).label_of()["p1"]
    done = update(library, [trace(n) for n in (21, 20, 22, 24)], say=said.append)
    assert f"cluster-{odd}" not in done.trained
    assert any(f"cluster-{odd} has 1" in line for line in said)
    # The same again is no error, and with the old runs beside it the waiting row is learnt.
    assert update(library, [trace(n) for n in (21, 20, 22, 24)]).trained == ()
    whole = update(library, [trace(n) for n in (*range(14), 21, 20, 22, 24)])
    assert (whole.trained, whole.rows) == ((f"cluster-{odd}",), 0)
    assert set(update(library, [trace(n) for n in (23, 25)]).trained) == {f"cluster-{odd}", "shared"}
    with pytest.raises(UsageError, match="too few rows to train on"):
        update(library, [trace(41)])


def test_training_that_does_not_help_keeps_the_weights(library: Path, trace: Make) -> None:
    before, said = weights(library), list[str]()
    recipe = used_recipe(library)
    harmful = recipe.model_copy(update={"train": recipe.train.model_copy(update={"learning_rate": 1e-15})})
    done = update(library, [trace(n) for n in range(24)], recipe=harmful, say=said.append)
    assert set(done.trained) == {"cluster-0", "cluster-1", "shared"}
    assert done.changed == ()
    assert weights(library) == before
    assert any("keeps its weights" in line for line in said)
    assert len(clusters(library).ids) == 24
    assert update(library, [trace(n) for n in range(24)]).rows == 0


SCRIPT = """
import sys, torch
torch.set_num_threads(1)
from bdc_agents.distill.update import update
from bdc_agents.runs import read_traces
update(sys.argv[1], list(read_traces(sys.argv[2])))
"""


@pytest.mark.parametrize("until", ["checkpoint.pt", "library/library.json"])
def test_a_killed_update_goes_on_to_the_same_library(
    made: Path, library: Path, trace: Make, tmp_path: Path, until: str
) -> None:
    traces = [trace(n) for n in (*range(14), 21, 23, 25, 27)]
    run = open_run(tmp_path / "run")
    for one in traces:
        write_trace(run, one)
    process = subprocess.Popen([sys.executable, "-c", SCRIPT, str(library), str(tmp_path / "run")])
    for _ in range(3000):
        if process.poll() is not None or [*library.parent.glob(f"library.work/update-*/{until}")]:
            break
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert not ExpertLibrary(library).check()  # The old one or the new one, whole.
    update(library, traces)
    whole = tmp_path / "whole"
    shutil.copytree(made, whole)
    update(whole, traces)
    for name in ExpertLibrary(whole).names:
        ours, theirs = (ExpertLibrary(folder).weights(name) for folder in (library, whole))
        assert all(torch.equal(ours[key], theirs[key]) for key in theirs)
    ours, theirs = (Router.load(ExpertLibrary(folder)).state_dict() for folder in (library, whole))
    assert all(torch.allclose(ours[key], theirs[key], atol=1e-6) for key in theirs)


def test_what_does_not_fit_is_refused(library: Path, base: str, trace: Make, tmp_path: Path) -> None:
    traces = [trace(n) for n in range(14, 22)]
    recipe = used_recipe(library)
    wider = recipe.model_copy(update={"train": recipe.train.model_copy(update={"rank": 4})})
    with pytest.raises(ModelError, match="rank = 2, and the recipe says 4"):
        update(library, traces, recipe=wider)
    other = tmp_path / "other"
    shutil.copytree(base, other)
    config = json.loads((other / "tokenizer_config.json").read_text())
    template = [p for p in other.iterdir() if p.suffix == ".jinja"]
    if template:
        template[0].write_text(template[0].read_text() + " ")
    else:
        config["chat_template"] += " "
        (other / "tokenizer_config.json").write_text(json.dumps(config))
    with pytest.raises(ModelError, match=r"\(template "):
        update(library, traces, base=str(other))

    class Another:
        name = "another"

        def embed(self, texts: Any) -> Any:
            return np.eye(32, dtype=np.float32)[[hash(text) % 32 for text in texts]]

    with pytest.raises(ModelError, match="gives other vectors than"):
        update(library, traces, encoder=Another())
    found = ExpertLibrary(library)
    files = {key: value for key, value in found.manifest.files.items() if key != "recipe.json"}
    write_manifest(library, found.manifest.model_copy(update={"files": files}))
    with pytest.raises(ConfigError, match="does not keep its recipe"):
        update(library, traces)
    (library / "clusters.json").write_text("{}")
    with pytest.raises(ModelError, match=r"clusters\.json: damaged"):
        update(library, traces, recipe=recipe)


def test_a_library_of_one_expert_learns_too(recipe: Recipe, trace: Make, tmp_path: Path) -> None:
    distill([trace(n) for n in range(5)], tmp_path / "library", recipe, one_expert=True)
    done = update(tmp_path / "library", [trace(n) for n in range(9)])
    assert done.trained == ("shared",)
    assert not done.library.check()


def test_the_command_folds_in_and_says_so(library: Path, trace: Make, tmp_path: Path) -> None:
    from typer.testing import CliRunner

    from bdc_agents.cli import app

    run = open_run(tmp_path / "run")
    for number in (*range(14), 21, 23):
        write_trace(run, trace(number))
    words = ["distill", "--update", str(library), str(tmp_path / "run"), "--quiet"]
    done = CliRunner().invoke(app, [*words, "--set", "train.max_steps=2", "--json"])
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)
    assert (told["new_rows"], told["new_problems"]) == (2, 2)
    assert "traces of run" in ExpertLibrary(library).manifest.lineage
    again = CliRunner().invoke(app, words)
    assert again.exit_code == 0
    assert "nothing to learn" in again.stdout
    both = CliRunner().invoke(app, [*words, "--out", str(tmp_path / "x")])
    assert both.exit_code == 2
