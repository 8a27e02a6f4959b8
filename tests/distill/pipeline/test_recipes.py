"""The recipes and scripts of `experts/` can be read and run."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from bdc_agents.distill.pipeline import _settings, distill
from bdc_agents.distill.recipe import Recipe, load_recipe
from bdc_agents.distill.training.curves import live_losses
from bdc_agents.distill.training.loop import Report
from bdc_agents.distill.training.router import RouterConfig
from bdc_agents.distill.training.rows import training_rows
from bdc_agents.embed.encoder import EncoderConfig
from bdc_agents.experts.clusters import ClusterSettings
from bdc_agents.experts.library import ExpertLibrary
from bdc_agents.types import Trace

EXPERTS = Path(__file__).resolve().parents[3] / "experts"
RECIPES = sorted(file.stem for file in (EXPERTS / "recipes").glob("*.toml"))
pytestmark = pytest.mark.skipif(not EXPERTS.is_dir(), reason="experts/ is part of a checkout alone")


@pytest.mark.parametrize("name", RECIPES)
def test_every_table_of_a_recipe_is_accepted(name: str) -> None:
    recipe = load_recipe(name)
    assert recipe.name == name
    assert _settings(ClusterSettings, recipe.cluster, "cluster")
    assert _settings(EncoderConfig, recipe.embed, "embed")
    assert RouterConfig.like(recipe.train, **recipe.route).seed == recipe.train.seed


@pytest.mark.parametrize("script", sorted(EXPERTS.glob("*.py")), ids=lambda file: file.name)
def test_every_script_explains_itself(script: Path) -> None:
    done = subprocess.run([sys.executable, str(script), "--help"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "usage:" in done.stdout


def test_the_script_trains_on_given_clusters(
    recipe: Recipe, trace: Callable[..., Trace], tmp_path: Path
) -> None:
    traces = [trace(n) for n in range(10)]
    made = distill(traces, tmp_path / "whole", recipe).library
    rows = [row.model_dump(mode="json") for row in training_rows(traces)]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    file = tmp_path / "mine.toml"
    train = "".join(f"{key} = {json.dumps(value)}\n" for key, value in _plain(recipe).items())
    file.write_text(f"[base]\nmodel = {json.dumps(recipe.base.model)}\n[train]\n{train}")
    words = ["--clusters", str(tmp_path / "whole" / "clusters.json"), "--recipe", str(file), "--threads", "1"]
    command = [sys.executable, str(EXPERTS / "train.py"), str(tmp_path / "rows.jsonl"), *words]
    done = subprocess.run([*command, "--out", str(tmp_path / "mine")], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    library = ExpertLibrary(tmp_path / "mine")
    assert library.names == made.names


def _plain(recipe: Recipe) -> dict[str, object]:
    kept = ("rank", "epochs", "batch", "max_length", "min_rows", "dtype", "validation", "tokens_per_pass")
    return {key: getattr(recipe.train, key) for key in kept}


@pytest.mark.parametrize("terminal", [False, True])
def test_the_live_view_ends_its_last_line(terminal: bool) -> None:
    import io

    from rich.console import Console

    console = Console(file=io.StringIO(), force_terminal=terminal, width=80)
    with live_losses(console) as watch:
        watch(Report(epoch=1, step=1, steps=2, losses={"shared": 1.0}))
    written = console.file.getvalue()  # pyright: ignore[reportAttributeAccessIssue]
    assert written.removesuffix("\x1b[?25h").endswith("\n")
    with live_losses(quiet := Console(file=io.StringIO(), force_terminal=False)):
        pass
    assert quiet.file.getvalue() == ""  # pyright: ignore[reportAttributeAccessIssue]
