"""From traces to a library, on a tiny random base that is read from its folder."""

import fcntl
import json
from collections.abc import Callable
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="training needs the extra `distill`")
pytest.importorskip("peft", reason="training needs the extra `distill`")
pytest.importorskip("sklearn", reason="clustering needs the extra `distill`")

from bdc_agents.distill.pipeline import distill, losses_of, verdict_of  # noqa: E402
from bdc_agents.distill.recipe import Recipe  # noqa: E402
from bdc_agents.errors import ConfigError, UsageError  # noqa: E402
from bdc_agents.experts.library import ExpertLibrary  # noqa: E402
from bdc_agents.experts.manifest import write_manifest  # noqa: E402
from bdc_agents.experts.router import ROUTER, Router  # noqa: E402
from bdc_agents.runs import open_run, write_trace  # noqa: E402
from bdc_agents.types import Trace  # noqa: E402

Make = Callable[..., Trace]


def test_traces_become_clusters_experts_and_a_library(recipe: Recipe, trace: Make, tmp_path: Path) -> None:
    said: list[str] = []
    traces = [*(trace(n) for n in range(12)), trace(12, kept=False)]
    made = distill(traces, tmp_path / "library", recipe, lineage={"traces": "abc"}, say=said.append)
    library = ExpertLibrary(tmp_path / "library")
    assert library.names == ("cluster-0", "cluster-1", "shared")
    assert not library.check()
    assert library.manifest.lineage["traces"] == "abc"
    assert {expert.rows for expert in library.manifest.experts} != {0}
    ids = json.loads(library.read("clusters.json"))["ids"]
    assert sorted(ids) == sorted(f"p{n}" for n in range(12))
    assert b"<html" in library.read("clusters.html")[:200].lower()
    assert set(losses_of(library)) == {"base", "cluster-0", "cluster-1", "shared"}
    assert verdict_of(library)
    assert made.validation is not None
    assert any("2 clusters" in line for line in said)
    router = Router.load(library)
    assert router.experts == ("cluster-0", "cluster-1")
    assert router.facts.shape.hidden == 8


def test_experts_that_are_all_the_same_get_no_router(recipe: Recipe, trace: Make, tmp_path: Path) -> None:
    still = recipe.model_copy(update={"train": recipe.train.model_copy(update={"learning_rate": 1e-30})})
    said: list[str] = []
    library = distill([trace(n) for n in range(12)], tmp_path / "library", still, say=said.append).library
    assert library.duplicates() == {"cluster-0": "shared", "cluster-1": "shared"}
    assert library.distinct == ("shared",)
    assert ROUTER not in library.manifest.files
    assert any("no router" in line for line in said)
    assert distill([trace(n) for n in range(12)], tmp_path / "library", still, say=said.append)
    assert "there already" in said[-1]


def test_unchanged_inputs_are_not_computed_again(
    recipe: Recipe, trace: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    traces = [trace(n) for n in range(10)]
    first = distill(traces, tmp_path / "library", recipe)
    created = first.library.manifest.created
    with monkeypatch.context() as patched:
        patched.setattr("bdc_agents.distill.pipeline.load_base", lambda *_, **__: pytest.fail("loaded"))
        again = distill(traces, tmp_path / "library", recipe)
    assert again.library.manifest.created == created
    cut_off = first.library.manifest.model_copy(
        update={"files": {k: v for k, v in first.library.manifest.files.items() if k != ROUTER}}
    )
    write_manifest(tmp_path / "library", cut_off)  # As after a kill in the router's training.
    assert ROUTER in distill(traces, tmp_path / "library", recipe).library.manifest.files
    (tmp_path / "library" / "clusters.json").write_text("{}")
    mended = distill(traces, tmp_path / "library", recipe)
    assert not mended.library.check()
    assert mended.library.weights("shared").keys() == first.library.weights("shared").keys()


def test_too_few_problems_are_refused_or_train_one_expert(
    recipe: Recipe, trace: Make, tmp_path: Path
) -> None:
    traces = [trace(n) for n in range(5)]
    with pytest.raises(UsageError, match=r"5 problems of 5 traces .* at least 8"):
        distill(traces, tmp_path / "library", recipe)
    made = distill(traces, tmp_path / "library", recipe, one_expert=True)
    assert made.library.names == ("shared",)
    assert "clusters.json" not in made.library.manifest.files


def test_two_processes_never_make_one_library(recipe: Recipe, trace: Make, tmp_path: Path) -> None:
    traces = [trace(n) for n in range(9)]
    work = tmp_path / "library.work"
    work.mkdir()
    with (work / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(UsageError, match="another process makes this library"):
            distill(traces, tmp_path / "library", recipe)
    assert not (tmp_path / "library").exists()


def test_a_wrong_setting_of_a_stage_is_named(recipe: Recipe, trace: Make, tmp_path: Path) -> None:
    wrong = recipe.model_copy(update={"cluster": {"method": "spectral"}})
    with pytest.raises(ConfigError, match=r"\[cluster\] of the recipe: method"):
        distill([trace(n) for n in range(9)], tmp_path / "library", wrong)
    wrong = recipe.model_copy(update={"route": {"granularity": "token"}})
    with pytest.raises(ConfigError, match=r"router settings: granularity"):
        distill([trace(n) for n in range(9)], tmp_path / "library", wrong)


def test_the_command_makes_checks_and_shows_a_library(
    recipe: Recipe, trace: Make, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from typer.testing import CliRunner

    from bdc_agents.cli import app

    run = open_run(tmp_path / "run")
    for number in range(10):
        write_trace(run, trace(number))
    file = tmp_path / "mine.toml"
    file.write_text(
        f"[base]\nmodel = {recipe.base.model!r}\n[train]\nrank = 2\nepochs = 1\nbatch = 4\nmin_rows = 2\n"
        'max_length = 256\ndtype = "float32"\n[embed]\nmodel = "base"\ncache = false\n'
        '[cluster]\nmethod = "kmeans"\nclusters = 2\nmin_tokens = 10\n'
    )
    words = ["distill", str(run), "--recipe", str(file), "--out", str(tmp_path / "library"), "--quiet"]
    done = CliRunner().invoke(app, [*words, "--set", "train.max_steps=1", "--json"])
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)
    assert [expert["name"] for expert in told["experts"]] == ["cluster-0", "cluster-1", "shared"]
    shown = CliRunner().invoke(app, [*words, "--set", "train.max_steps=1"])
    assert "cluster-0" in shown.stdout
    assert CliRunner().invoke(app, ["distill", "--check", str(tmp_path / "library")]).exit_code == 0
    (tmp_path / "library" / "tokenizer" / "tokenizer.json").unlink()
    damaged = CliRunner().invoke(app, ["distill", "--check", str(tmp_path / "library")])
    assert damaged.exit_code == 1
    assert "tokenizer/tokenizer.json: missing" in damaged.stdout
