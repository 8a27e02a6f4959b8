"""The report of a collection: its figures from traces alone, its page from the figures alone."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from bdc_agents.cli import app
from bdc_agents.evaluate.figures.survey import survey, survey_of
from bdc_agents.evaluate.report import breakdown
from bdc_agents.evaluate.report.collection import render_collection, write_collection_report
from bdc_agents.runs import open_run, write_trace
from bdc_agents.types import (
    Attempt,
    CallTest,
    Decision,
    Hidden,
    Lineage,
    Node,
    Problem,
    Program,
    Solution,
    TestResult,
    Thought,
    Trace,
    TreeStats,
    Usage,
    Verdict,
)

NASTY = '<script>alert("p")</script>'
Make = Callable[..., Trace]


@pytest.fixture
def make() -> Make:
    """A trace: ann thinks, bob writes; each also writes a program without any thought."""

    def trace(name: str, solved: bool = True, hidden: bool = True, calls: int = 4, **labels: Any) -> Trace:
        outcome = TestResult(outcome="passed" if solved else "wrong")
        verdict = Verdict(results=(outcome,), tier="t")
        stats = TreeStats(nodes=2, evaluated=2, pruned=0, refined=0, depth=1, programs=1, rollouts=1)
        direct = tuple(Attempt(program="q", agent=agent, reward=0.0) for agent in ("ann", "bob"))
        last = Attempt(program="p", agent="bob", author="ann", reward=float(solved))
        return Trace(
            problem=Problem(
                id=name, statement="s", public_tests=(CallTest(call="f()", expected=("1",)),), **labels
            ),
            solution=Solution(
                problem_id=name,
                solved=solved,
                code="x = 1",
                reward=float(solved),
                agent="bob",
                node="0.0",
                verdict=verdict,
                stopped_by="solved" if solved else "rollouts",
                usage={agent: Usage(calls=calls // 2, completion_tokens=10) for agent in ("ann", "bob")},
                tree=stats,
                seconds=2.0,
            ),
            nodes=(
                Node(id="0", children=("0.0",), attempts=direct, value=0.0),
                Node(id="0.0", parent="0", thought=Thought(text="t", agent="ann"), attempts=(last,)),
            ),
            programs={"p": Program(code="x = 1", agent="bob", verdict=verdict)},
            package="1.0",
            decision=Decision(
                kept=solved and hidden,
                reasons=() if solved and hidden else ("hidden",) if solved else ("unsolved",),
                hidden=Hidden(passed=2 * (solved and hidden), total=2),
            ),
            lineage=Lineage(dataset="mbpp:train", models={"ann": "model-a", "bob": "bob"}),
        )

    return trace


def test_the_figures_of_a_collection(make: Make) -> None:
    traces = [make(f"p{n}", solved=n < 6, hidden=n < 4, calls=2 + 2 * n) for n in range(10)]
    found = survey_of("run", traces)
    assert (found.problems, found.solved, found.hidden, found.with_hidden, found.kept) == (10, 6, 4, 10, 4)
    assert found.reasons == {"unsolved": 4, "hidden": 2}
    assert found.datasets == ("mbpp:train",)
    ann, bob = found.agents
    assert (ann.name, ann.model, ann.programs, ann.passing and ann.passing.value) == ("ann", "model-a", 10, 0)
    assert (bob.programs, bob.passing and bob.passing.value) == (20, 0.3)
    assert (ann.part, bob.part) == (6, 6), "ann's thought is in every solution of bob's"
    assert {(cell.author, cell.coder): (cell.programs, cell.passed.value) for cell in found.matrix} == {
        ("", "ann"): (10, 0.0),
        ("", "bob"): (10, 0.0),
        ("ann", "bob"): (10, 0.6),
    }
    assert found.figures.solved.value == 0.4, "on public and hidden tests"
    assert [row.points[-1].calls for row in found.rows] == [2 + 2 * n for n in range(10)]


def test_skills_are_told_by_enough_programs_after_a_thought(make: Make) -> None:
    assert survey_of("run", [make(f"p{n}") for n in range(19)]).skills == {}
    found = survey_of("run", [make(f"p{n}", solved=n < 5) for n in range(20)])
    assert found.skills == {"bob": 0.25}, "ann wrote no program after a thought"


def test_findings_are_those_of_an_evaluation(make: Make) -> None:
    weak = survey_of("run", [make(f"p{n}", hidden=n % 2 == 0) for n in range(12)])
    assert "weak-public-tests" in {finding.kind for finding in weak.findings}
    healthy = survey_of("run", [make(f"p{n}") for n in range(9)])
    assert healthy.findings == (), "too few to say that agents write the same"


def test_the_page_runs_no_text_that_it_shows(make: Make) -> None:
    traces = [make(f"{NASTY}{n}", solved=n > 0, difficulty=NASTY, tags=(NASTY,)) for n in range(6)]
    page = render_collection(survey_of(NASTY, traces))
    assert NASTY not in page
    assert page.count("<script>") == 1
    assert not re.findall(r'(?:src|href)="(?!#)', page), "it loads nothing"
    for heading in ("Results", "Diagnostics", "Agents", "Author by coder", "By difficulty and tag"):
        assert f"<h2>{heading}</h2>" in page
    assert "Problem by problem" in page


def test_a_title_counts_a_long_list_of_problems(make: Make) -> None:
    lineage = Lineage(dataset="apps:1,2,3,4", models={})
    other = make("q").model_copy(update={"lineage": lineage})
    page = render_collection(survey_of("run", [make("p"), other]))
    assert "<h1>mbpp:train, 4 of apps: 2 problems searched</h1>" in page


def test_plots_need_matplotlib_alone(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    found = survey_of("run", [make("p", calls=4), make("q", calls=8)])
    monkeypatch.setattr(breakdown, "can_plot", lambda: False)
    assert "pip install &#x27;bdc-agents[report]&#x27;" in render_collection(found)
    monkeypatch.undo()
    pytest.importorskip("matplotlib")
    assert render_collection(found).count("LLM calls for one problem") == 1


def test_a_problem_that_was_searched_again_counts_once_and_damage_is_left_out(
    tmp_path: Path, make: Make
) -> None:
    folder = open_run(tmp_path / "run", {})
    write_trace(folder, make("p", solved=False))
    with (tmp_path / "run/trace.jsonl").open("a") as file:
        file.write("not a trace\n")
    write_trace(folder, make("p"))
    found = survey(tmp_path / "run")
    assert found
    assert (found.problems, found.solved) == (1, 1)
    file = write_collection_report(tmp_path / "run", found)
    assert "1 problem searched" in file.read_text()


def test_the_report_is_written_anew_by_a_command(tmp_path: Path, make: Make) -> None:
    folder = open_run(tmp_path / "run", {})
    runner = CliRunner()
    empty = runner.invoke(app, ["view", str(tmp_path / "run"), "--report"])
    assert empty.exit_code == 2
    for n in range(12):
        write_trace(folder, make(f"p{n}", hidden=n % 2 == 0))
    done = runner.invoke(app, ["view", str(tmp_path / "run"), "--report"])
    assert done.exit_code == 0, done.stderr
    assert "! 6 of 12 programs that pass the public tests fail the hidden ones" in done.stdout
    assert (tmp_path / "run/report.html").is_file()
    refused = runner.invoke(app, ["view", str(tmp_path / "run/trace.jsonl"), "--report"])
    assert refused.exit_code == 2
    assert "is for a run folder" in refused.stderr
