import json
import os
import re
import subprocess
import tomllib
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from statistics import fmean
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bdc_agents.evaluate.figures.matching import matched
from bdc_agents.evaluate.figures.summary import (
    Summary,
    count_of,
    figures_of,
    skills_line,
    summarise,
    weak_tests,
    write_summary,
)
from bdc_agents.evaluate.report import breakdown
from bdc_agents.evaluate.report.inspect_log import write_logs
from bdc_agents.evaluate.report.page import render, write_report
from bdc_agents.evaluate.results import SUMMARY_FILE, Point, Results, Row
from bdc_agents.types import Hidden, Task, Usage

NASTY = '<script>alert("p")</script>'
COUNT = 30


class _Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


def row(problem: str, solver: str, calls: int, solved: bool) -> Row:
    return Row(
        problem=problem,
        difficulty="hard" if problem.endswith("1") else "easy",
        tags=(NASTY,),
        solver=solver,
        code="x = 1",
        public=Hidden(passed=2, total=2),
        hidden=Hidden(passed=3 * solved, total=3),
        usage={
            "ann": Usage(calls=calls, prompt_tokens=100, completion_tokens=100 * calls, cost=0.01 * calls)
        },
        seconds=float(calls),
        stopped_by="solved",
        points=(
            Point(calls=1, tokens=200, seconds=1.0, cost=0.01, solved=False),
            Point(
                calls=calls, tokens=100 + 100 * calls, seconds=float(calls), cost=0.01 * calls, solved=solved
            ),
        ),
    )


@pytest.fixture
def evaluation(tmp_path: Path, make_task: Callable[..., Task]) -> tuple[Path, list[Task]]:
    """Thirty problems; the second solver is right on two thirds of them, the first on a third."""
    solvers = ["best-of:2", f"search,{NASTY}"]
    section = {"datasets": ["d"], "solvers": solvers, "samples": 1, "k": [1], "limit": None}
    tasks = [make_task(f"{NASTY}{number}" if number == 1 else f"p{number}") for number in range(COUNT)]
    with Results(tmp_path, {"eval": section, "agents": {"ann": {"model": "m-1"}}}, {}) as results:
        for number, task in enumerate(tasks):
            for solver, calls, right in zip(solvers, (2, 8), (number % 3 == 0, number % 3 != 1), strict=True):
                results._write(row(task.problem.id, solver, calls, right).model_dump_json().encode() + b"\n")
    return tmp_path, tasks


def test_the_figures_are_what_the_rows_say(evaluation: tuple[Path, list[Task]]) -> None:
    folder, tasks = evaluation
    summary = summarise(folder, tasks)
    first, second = summary.solvers
    assert (first.solved.value, second.solved.value) == pytest.approx((1 / 3, 2 / 3))
    assert second.cost == pytest.approx(0.08)
    pair = summary.pairs[0]
    assert (pair.first, pair.second) == (second.solver, first.solver)
    assert (pair.solved.better, pair.solved.worse, pair.solved.problems) == (10, 0, 30)
    assert pair.solved.clear
    assert all([*match.differences] == [second.solver] for match in summary.matched)
    assert write_summary(folder, tasks) == summary
    assert Summary.model_validate_json((folder / SUMMARY_FILE).read_text()) == summary
    at = {(match.axis, match.budget): match.solved for match in summary.matched}
    assert at["calls", 2.0][first.solver].value == pytest.approx(1 / 3)
    assert at["calls", 2.0][second.solver].value == 0.0
    assert at["calls", 10.0][second.solver].value == pytest.approx(2 / 3)
    assert {axis for axis, _ in at} == {"calls", "tokens", "seconds", "dollars"}
    assert {sign.finding.kind for sign in summary.signs} == {"weak-public-tests", "few-problems"}
    assert summary.claims == ()


def test_a_figure_that_was_asked_for_and_cannot_be_given_is_named(
    tmp_path: Path, make_task: Callable[..., Task]
) -> None:
    section = {"datasets": ["d"], "solvers": ["one", "two"], "samples": 5, "k": [1, 5], "limit": None}
    samples = [("one", "p0", 5), ("one", "p1", 3), ("two", "p0", 5), ("two", "p1", 5)]
    with Results(tmp_path, {"eval": section, "agents": {}}, {}) as results:
        for solver, problem, count in samples:
            for sample in range(count):
                one = row(problem, solver, 1, True).model_copy(update={"sample": sample})
                results._write(one.model_dump_json().encode() + b"\n")
    summary = summarise(tmp_path, [make_task("p0"), make_task("p1")])
    assert [[*one.pass_at] for one in summary.solvers] == [[1], [1, 5]]
    (claim,) = summary.claims
    assert "pass@5 needs 5 samples of each problem, and so is not given for one (3)" in claim
    assert claim in re.sub(r"&#x27;", "'", render(tmp_path, summary))


def test_pass_at_k_is_by_the_tests_that_the_data_set_scores_by() -> None:
    counts = {"public": Hidden(passed=1, total=2), "hidden": Hidden(passed=1, total=1)}
    official = row("humaneval:HumanEval/10", "s", 1, True).model_copy(update=counts)
    assert (official.passed, official.solved) == (True, False)  # Its examples are not in the official test.
    split = row("mbpp:11", "s", 1, True).model_copy(update=counts)
    assert (split.passed, split.solved) == (False, False)


def test_the_page_shows_them_and_loads_and_runs_nothing_of_others(
    evaluation: tuple[Path, list[Task]],
) -> None:
    folder, tasks = evaluation
    page = write_report(folder, tasks).read_text()
    tags = _Tags()
    tags.feed(page)
    assert sum(tag == "script" for tag, _ in tags.found) == 1
    addresses = [
        v for _, attrs in tags.found for k, v in attrs.items() if k in ("src", "href", "action") and v
    ]
    assert all(address.startswith("#") for address in addresses)
    assert "url(http" not in page
    assert "default-src &#x27;none&#x27;" in page or "default-src 'none'" in page
    assert "&lt;script&gt;alert" in page
    for shown in ("66.7 %", "+33.3", "10</span> / ", "30 problems", "m-1"):
        assert shown in page
    assert re.search(r"\{\{\w+\}\}", page) is None


def test_curves_are_drawn_in_the_colours_of_the_page(evaluation: tuple[Path, list[Task]]) -> None:
    pytest.importorskip("matplotlib")
    folder, tasks = evaluation
    page = render(folder, summarise(folder, tasks))
    assert page.count("LLM calls for one problem, at most") == 1
    assert "var(--s1)" in page
    assert "#0102" not in page
    assert "#0203" not in page


def test_without_matplotlib_the_tables_are_there_and_a_hint(
    evaluation: tuple[Path, list[Task]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(breakdown, "can_plot", lambda: False)
    folder, tasks = evaluation
    page = render(folder, summarise(folder, tasks))
    assert "bdc-agents[report]" in page
    assert "up to ... LLM calls" in page


def test_logs_have_the_shape_that_inspect_reads(evaluation: tuple[Path, list[Task]]) -> None:
    folder, tasks = evaluation
    files = write_logs(folder, [task.problem for task in tasks])
    log = json.loads(files[0].read_text())
    assert (log["version"], log["status"], len(log["samples"])) == (2, "success", COUNT)
    assert log["eval"]["model"] == "m-1"
    assert log["results"]["scores"][0]["metrics"]["accuracy"]["value"] == pytest.approx(1 / 3)
    assert [sample["scores"]["tests"]["value"] for sample in log["samples"][:3]] == ["C", "I", "I"]


def test_every_figure_of_a_log_is_the_mean_or_the_sum_of_its_samples(
    tmp_path: Path, make_task: Callable[..., Task]
) -> None:
    """Whoever reads the log can compute it again: with several models, and with rows that are missing."""
    section = {"datasets": ["d"], "solvers": ["s"], "samples": 2, "k": [1], "limit": None}
    agents = {"ann": {"model": "m-1"}, "bob": {"model": "m-2"}}
    tasks = [make_task(f"p{number}") for number in range(4)]
    rows = [
        row(f"p{number}", "s", 2, number % 2 == 0).model_copy(
            update={
                "sample": sample,
                "hidden": Hidden(passed=3 if number % 2 == 0 else sample, total=3),
                "usage": {
                    "ann": Usage(calls=1, prompt_tokens=7, completion_tokens=1),
                    "bob": Usage(calls=1, prompt_tokens=5, completion_tokens=number, cost=0.5),
                },
            }
        )
        for number in range(4)
        for sample in range(2)
    ]
    with Results(tmp_path, {"eval": section, "agents": agents}, {}) as results:
        for one in rows[:-1]:
            results._write(one.model_dump_json().encode() + b"\n")
    log = json.loads(write_logs(tmp_path, [task.problem for task in tasks])[0].read_text())
    assert log["status"] == "cancelled"
    assert (log["results"]["total_samples"], log["results"]["completed_samples"]) == (8, 7)
    as_number: dict[Any, Any] = {"C": 1.0, "I": 0.0}
    for score in log["results"]["scores"]:
        by_id: dict[str, list[float]] = {}
        for sample in log["samples"]:
            value = sample["scores"][score["name"]]["value"]
            by_id.setdefault(sample["id"], []).append(float(as_number.get(value, value)))
        ((_, metric),) = score["metrics"].items()
        assert metric["value"] == pytest.approx(fmean(map(fmean, by_id.values())))
    assert [score["name"] for score in log["results"]["scores"]] == ["tests", "share"]
    summed: dict[str, dict[str, float]] = {}
    for sample in log["samples"]:
        for model, used in sample["model_usage"].items():
            counts = summed.setdefault(model, dict.fromkeys(used, 0))
            for name, count in used.items():
                counts[name] += count
    assert log["stats"]["model_usage"] == summed
    assert set(summed) == {"m-1", "m-2"}


READ = """
import sys
from inspect_ai.log import list_eval_logs, read_eval_log, recompute_metrics
logs = [read_eval_log(file) for file in sys.argv[2:]]
value = logs[0].samples[0].scores["tests"].value
print(len(list_eval_logs(sys.argv[1])), [len(log.samples) for log in logs], value)
for log in logs:
    told = [round(metric.value, 9) for score in log.results.scores for metric in score.metrics.values()]
    recompute_metrics(log)
    again = [round(metric.value, 9) for score in log.results.scores for metric in score.metrics.values()]
    print(told == again)
"""


@pytest.mark.skipif(
    "BDC_INSPECT_PYTHON" not in os.environ, reason="BDC_INSPECT_PYTHON names no Python with inspect_ai"
)
def test_inspect_itself_reads_the_logs(evaluation: tuple[Path, list[Task]]) -> None:
    folder, tasks = evaluation
    files = write_logs(folder, [task.problem for task in tasks])
    done = subprocess.run(
        [os.environ["BDC_INSPECT_PYTHON"], "-c", READ, str(folder / "inspect"), *map(str, files)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.splitlines() == [f"2 [{COUNT}, {COUNT}] C", "True", "True"]


@pytest.mark.parametrize(("number", "words"), [(0, "0 problems"), (1, "1 problem"), (1000, "1,000 problems")])
def test_problems_are_counted_in_words(number: int, words: str) -> None:
    assert count_of(number) == words


def test_a_report_on_one_problem_says_so(tmp_path: Path, make_task: Callable[..., Task]) -> None:
    section = {"datasets": ["d"], "solvers": ["search"], "samples": 1, "k": [1], "limit": None}
    with Results(tmp_path, {"eval": section, "agents": {"ann": {"model": "m-1"}}}, {}) as results:
        results._write(row("p", "search", 2, True).model_dump_json().encode() + b"\n")
    page = write_report(tmp_path, [make_task("p")]).read_text()
    assert "on 1 problem" in page
    assert "1 problems" not in page


def test_of_many_solvers_each_is_compared_with_the_first(
    tmp_path: Path, make_task: Callable[..., Task]
) -> None:
    solvers = ["zero", "one", "two", "three", "four"]
    section = {"datasets": ["d"], "solvers": solvers, "samples": 1, "k": [1], "limit": None}
    with Results(tmp_path, {"eval": section, "agents": {}}, {}) as results:
        for solver in solvers:
            results._write(row("p0", solver, 2, solver != "zero").model_dump_json().encode() + b"\n")
    pairs = summarise(tmp_path, [make_task("p0")]).pairs
    assert [(pair.first, pair.second) for pair in pairs] == [(name, "zero") for name in solvers[1:]]
    assert all((pair.solved.value, pair.pass_rate.value) == (1.0, 1.0) for pair in pairs)


@pytest.mark.parametrize(
    ("fooled", "right", "told"), [(9, 0, False), (2, 8, True), (1, 9, False), (0, 10, False)]
)
def test_public_tests_are_weak_from_a_fifth_of_ten_programs_on(fooled: int, right: int, told: bool) -> None:
    rows = [row(f"p{n}", "s", 1, n >= fooled) for n in range(fooled + right)]
    found = weak_tests(rows)
    assert (found is not None) == told
    assert found is None or found.value == fooled / len(rows)
    missed = [one.model_copy(update={"public": Hidden(passed=1, total=2)}) for one in rows]
    assert weak_tests(missed) is None, "a program that fails in public fools nobody"


def test_the_share_from_the_cache_is_of_all_calls() -> None:
    cached = row("p", "s", 4, True).model_copy(update={"usage": {"ann": Usage(calls=8, cached=2)}})
    assert figures_of("s", [cached, row("q", "s", 2, True)], [1]).cached == 0.2
    unasked = row("p", "s", 4, True).model_copy(update={"usage": {}})
    assert figures_of("s", [unasked], [1]).cached == 0.0


@pytest.mark.parametrize("pool", [None, {"calls": 12}])
def test_a_solver_whose_calls_came_from_the_cache_is_named(
    pool: dict[str, int] | None, tmp_path: Path, make_task: Callable[..., Task]
) -> None:
    section = {"datasets": ["d"], "solvers": ["one", "two"], "samples": 1, "k": [1]}
    section |= {"pool": pool} if pool else {}
    fresh, other = row("p0", "one", 4, True), row("p0", "two", 4, True)
    cached = other.model_copy(update={"usage": {"ann": Usage(calls=4, cached=1)}})
    with Results(tmp_path, {"eval": section, "agents": {}}, {}) as results:
        for one in (fresh, cached):
            results._write(one.model_dump_json().encode() + b"\n")
    signs = [sign for sign in summarise(tmp_path, [make_task("p0")]).signs if sign.finding.kind == "cached"]
    told = [(sign.solver, sign.finding.value) for sign in signs]
    assert told == ([] if pool else [("two", 0.25)]), "what goes on with a pool always asks the cache"


def test_what_a_pool_took_is_the_mean_of_its_samples(tmp_path: Path, make_task: Callable[..., Task]) -> None:
    section = {"datasets": ["d"], "solvers": ["one"], "samples": 3, "k": [1], "pool": {"calls": 12}}
    calls = {"p0": (1, 2, 4), "p1": (1, 1, 1)}
    with Results(tmp_path, {"eval": section, "agents": {}}, {}) as results:
        for problem, counts in calls.items():
            for sample, count in enumerate(counts):
                one = row(problem, "one", count, sample < 2).model_copy(update={"sample": sample})
                results._write(one.model_dump_json().encode() + b"\n")
    (pool,) = summarise(tmp_path, [make_task("p0"), make_task("p1")]).pools
    assert (pool.problems, pool.solved) == (2, 1.33)
    assert pool.calls == 3.33, "10 in three samples"
    assert pool.tokens == 533.33, "1,600: 100 for each row and each call"
    assert pool.cost == pytest.approx(0.1 / 3)


@given(st.dictionaries(st.text(), st.integers(0, 100).map(lambda share: share / 100), min_size=1))
@example({"qwen2.5:7b": 0.25, 'say "a\\b"': 0.5, "\x7f": 1.0, "\N{GRINNING FACE}": 0.0})
def test_skills_are_told_as_a_line_of_a_configuration(skills: dict[str, float]) -> None:
    assert tomllib.loads(f"[search]\n{skills_line(skills)}\n") == {"search": {"skills": skills}}


@pytest.mark.parametrize("made", [True, False])
def test_tests_made_by_references_are_told(
    made: bool, tmp_path: Path, make_task: Callable[..., Task]
) -> None:
    section = {"datasets": ["d"], "solvers": ["one"], "samples": 1, "k": [1], "reference_tests": made}
    with Results(tmp_path, {"eval": section, "agents": {}}, {}) as results:
        results._write(row("p0", "one", 2, True).model_dump_json().encode() + b"\n")
    claims = summarise(tmp_path, [make_task("p0")]).claims
    assert any("(--reference-tests)" in claim for claim in claims) == made


def test_labels_are_told_by_how_many_problems_have_them_then_by_name() -> None:
    rows = [
        row(f"p{n}", "s", 1, n == 0).model_copy(update={"tags": tags})
        for n, tags in enumerate(("ba", "b", "ca", ""))
    ]
    found = figures_of("s", rows, [1])
    assert [(tag, group.problems, group.solved.value) for tag, group in found.tag.items()] == [
        ("a", 2, 0.5),
        ("b", 2, 0.5),
        ("c", 1, 0.0),
    ]


@pytest.mark.parametrize(("hidden", "words"), [(0, "None of these"), (1, "1 of 2 problems have no"), (2, "")])
def test_what_public_tests_alone_cannot_say_is_told(
    hidden: int, words: str, tmp_path: Path, make_task: Callable[..., Task]
) -> None:
    section = {"datasets": ["d"], "solvers": ["one"], "samples": 1, "k": [1]}
    tasks = [make_task(f"p{n}") for n in range(2)]
    assert all(len(task.hidden) for task in tasks)
    tasks = [task if n < hidden else Task(problem=task.problem) for n, task in enumerate(tasks)]
    with Results(tmp_path, {"eval": section, "agents": {}}, {}) as results:
        results._write(row("p0", "one", 2, True).model_dump_json().encode() + b"\n")
    claims = summarise(tmp_path, tasks).claims
    assert [words in claim for claim in claims] == [True] * bool(words)


def test_without_prices_the_other_measures_are_matched_all_the_same() -> None:
    def unpriced(one: Row) -> Row:
        return one.model_copy(update={"usage": {"ann": Usage(calls=2, prompt_tokens=9)}})

    rows = {name: [unpriced(row(f"p{n}", name, 2, True)) for n in range(3)] for name in ("one", "two")}
    assert {match.axis for match in matched(rows)} == {"calls", "tokens", "seconds"}
    priced = rows | {"two": [row("p0", "two", 2, True)]}
    assert {match.axis for match in matched(priced)} == {"calls", "tokens", "seconds", "dollars"}
