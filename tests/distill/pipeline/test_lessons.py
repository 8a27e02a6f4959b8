"""What experts learn from: rows by kind and number, known solutions, and pairs of programs."""

from collections.abc import Callable
from pathlib import Path

import pytest

from bdc_agents.distill.lessons import KnownSolution, lessons_of
from bdc_agents.distill.pipeline import distill
from bdc_agents.distill.recipe import Recipe, RowsConfig
from bdc_agents.distill.training.preference import preference_pairs
from bdc_agents.errors import ModelError
from bdc_agents.evaluate.library.held_out import known_solutions
from bdc_agents.experts.router import Router
from bdc_agents.search.traces import program_pairs
from bdc_agents.types import Decision, HiddenTests, Program, Task, TestResult, Trace, Verdict

Make = Callable[..., Trace]


def program(code: str, *outcomes: str) -> Program:
    results = tuple(TestResult.model_validate({"outcome": one, "shown": "f"}) for one in outcomes)
    return Program(code=code, agent="a", verdict=Verdict(results=results, tier="t"))


def known(trace: Trace) -> KnownSolution:
    """The problem of a trace with its solution as a known one."""
    (found,) = known_solutions([Task(problem=trace.problem, hidden=HiddenTests((), trace.solution.code))])
    return found


def test_known_solutions_are_rows_where_no_trace_has_any(trace: Make) -> None:
    traces, unsolved = [trace(0), trace(1, kept=False)], known(trace(2))
    rows = lessons_of(traces, None, [known(traces[0]), known(traces[1]), unsolved]).rows
    assert [(row.kind, row.problem_id) for row in rows] == [
        ("direct", "p0"),
        ("reference", "p1"),
        ("reference", "p2"),
    ]
    assert known_solutions([Task(problem=traces[0].problem)]) == ()


def test_a_text_is_learnt_once_whoever_wrote_it(trace: Make) -> None:
    (row,) = lessons_of([trace(0)], RowsConfig(references="all"), [known(trace(0))]).rows
    assert row.kind == "direct"


def test_lessons_know_the_problems_of_their_rows(trace: Make) -> None:
    lessons = lessons_of([trace(0)], None, [known(trace(3))])
    assert {item.id: item.problem for item in lessons.items()} == lessons.texts
    assert "variant 3" in lessons.texts["p3"]


def test_rows_are_chosen_by_kind_and_number(trace: Make) -> None:
    one = trace(0)
    right = {name: program(f"def f0(s):\n    return sum(s) + {n}", "passed") for n, name in enumerate("abc")}
    decision = Decision(kept=True, right=tuple(right))
    many = one.model_copy(update={"programs": right, "decision": decision})
    assert len(lessons_of([many]).rows) == 3
    assert len(lessons_of([many], RowsConfig(per_problem=2)).rows) == 2
    assert lessons_of([many], RowsConfig(kinds=("t2s",))).rows == ()


def test_pairs_are_right_programs_against_wrong_ones(trace: Make) -> None:
    one = trace(0)
    programs = {
        "k": one.programs["k"],
        "worst": program("def f0(s):\n    return 0", "wrong", "wrong"),
        "half": program("def f0(s):\n    return 1", "passed", "wrong"),
        "unread": Program(code="def f0(s):\n    return 2", agent="a"),
        "lucky": program("def f0(s):\n    return 3", "passed", "passed"),
    }
    searched = one.model_copy(update={"programs": programs})

    def wrong(trace: Trace) -> list[str]:
        return [(pair.rejected or "").splitlines()[2].split()[-1] for pair in program_pairs(trace)]

    # Nobody ran the lucky one's hidden tests, so nobody knows that it is wrong.
    assert wrong(searched) == ["1", "0"]
    tested = searched.model_copy(update={"decision": Decision(kept=True, right=("k",))})
    assert wrong(tested) == ["3", "1", "0"]
    assert all("return sum(s)" in pair.completion for pair in program_pairs(tested))
    assert program_pairs(one) == ()
    assert len(preference_pairs([tested], "programs")) == 3
    assert preference_pairs([tested], "steps") == ()
    assert preference_pairs([tested.model_copy(update={"decision": Decision(kept=False)})], "all") == ()


def test_every_setting_together_makes_a_library(recipe: Recipe, trace: Make, tmp_path: Path) -> None:
    """Known solutions, a teacher, a peak for the experts, and a small residual cross-fitted router."""
    settings = {
        "teacher": {"model": recipe.base.model, "top": 8},
        "train": recipe.train.model_copy(update={"expert_rate": 0.5}),
        "route": recipe.route | {"folds": 2, "scaling": "residual", "scope": "embedded"},
    }
    said: list[str] = []
    made = distill(
        [trace(n) for n in range(8)],
        tmp_path / "library",
        recipe.model_copy(update=settings),
        references=[known(trace(n)) for n in range(8, 16)],
        say=said.append,
    )
    router = Router.load(made.library)
    assert router.experts == ("cluster-0", "cluster-1", "shared")
    assert any("cross-fitting 2 of 2" in line for line in said)
    assert any("the teacher has read" in line for line in said)
    assert not made.library.check()


def test_a_teacher_that_is_not_there_is_told_before_training(
    recipe: Recipe, trace: Make, tmp_path: Path
) -> None:
    wanted = recipe.model_copy(update={"teacher": {"model": str(tmp_path / "nobody")}})
    with pytest.raises(ModelError, match="nobody"):
        distill([trace(n) for n in range(8)], tmp_path / "library", wanted)
