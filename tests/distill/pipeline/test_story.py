"""`bdc demo --distill`: searches, experts, and an answer to a problem that was kept back."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from bdc_agents.cli import app, demo_distill
from bdc_agents.data import load_tasks
from bdc_agents.distill.recipe import Recipe
from bdc_agents.experts.library import ExpertLibrary
from bdc_agents.runs import open_run, read_traces, write_trace
from bdc_agents.types import Trace

Configure = Callable[..., list[dict[str, Any]]]


@pytest.fixture
def knowing(configure: Configure, recipe: Recipe, workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An agent that knows every answer, and a recipe for a tiny base."""
    answers = {task.problem.statement: task.hidden.reveal_reference() for task in load_tasks("demo")}

    def respond(body: dict[str, Any]) -> str:
        asked = body["messages"][-1]["content"]
        code = next((code for statement, code in answers.items() if statement in asked), "")
        return f"```python\n{code}\n```"

    configure(respond, names=("one",))
    file = workplace / "tiny.toml"
    file.write_text(
        f"[base]\nmodel = {recipe.base.model!r}\n[train]\nrank = 2\nmax_steps = 2\nbatch = 4\nmin_rows = 2\n"
        'dtype = "float32"\n[embed]\nmodel = "base"\n[cluster]\nmin_tokens = 10\n[route]\nmax_steps = 1\n'
    )
    monkeypatch.setattr(demo_distill, "RECIPE", str(file))


@pytest.mark.usefixtures("knowing")
def test_the_whole_story(workplace: Path) -> None:
    done = CliRunner().invoke(app, ["demo", "--distill", "-a", "one", "--out", "runs/demo", "--json"])
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)
    assert told["solved"] == 9
    assert demo_distill.KEPT_BACK not in {trace.problem.id for trace in read_traces(workplace / "runs/demo")}
    library = ExpertLibrary(workplace / told["library"])
    assert not library.check()
    assert set(told["experts"]) == {*library.names}
    assert (told["answer"]["problem_id"], told["answer"]["system"]) == (demo_distill.KEPT_BACK, 2)
    assert told["answer"]["solved"], "a random base knows nothing, so the search was asked"
    assert told["hidden"]["passed"] == told["hidden"]["total"]


@pytest.mark.usefixtures("knowing")
def test_traces_of_other_searches_are_trained_on_too(workplace: Path, trace: Callable[..., Trace]) -> None:
    others = open_run(workplace / "others")
    for number in range(3):
        write_trace(others, trace(number))
    asked = ["demo", "--distill", "-a", "one", "--json", "--traces", "others"]
    done = CliRunner().invoke(app, asked)
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)
    assert (told["solved"], told["further"]) == (9, 3)
    assert "traces of others" in ExpertLibrary(workplace / told["library"]).manifest.lineage


def test_traces_without_experts_are_refused(configure: Configure) -> None:
    asked = configure()
    done = CliRunner().invoke(app, ["demo", "-a", "one", "--traces", "others"])
    assert done.exit_code == 2
    assert "--distill" in done.stderr
    done = CliRunner().invoke(app, ["demo", "--distill", "-a", "one", "--traces", "nowhere"])
    assert done.exit_code == 2
    assert "nowhere" in done.stderr
    assert not asked


@pytest.mark.usefixtures("knowing")
def test_a_person_reads_what_each_stage_did() -> None:
    done = CliRunner().invoke(app, ["demo", "--distill", "-a", "one", "--quiet"])
    assert done.exit_code == 0, done.output
    told = " ".join(done.stdout.split())
    assert "9 solved problems: " in told
    assert "whose program passes the public tests, " in told
    assert "bdc serve runs/demo/library" in told


def test_what_is_not_installed_is_told_before_the_searches(
    configure: Configure, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = configure()
    monkeypatch.setitem(sys.modules, "peft", None)
    done = CliRunner().invoke(app, ["demo", "--distill", "-a", "one"])
    assert done.exit_code != 0
    assert "pip install 'bdc-agents[distill]'" in done.stderr
    assert not asked
