"""What moves gave, how trees grew, and what is advised on it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bdc_agents.agents.protocol import Request
from bdc_agents.config import Budget
from bdc_agents.evaluate.figures.metrics import mean_interval
from bdc_agents.evaluate.figures.moves import CONFIRM, MoveFigures, Moves, moves_of
from bdc_agents.evaluate.figures.summary import Summary, figures_of
from bdc_agents.evaluate.report.advice import (
    advise,
    as_markdown,
    enough_calls,
    idle_agents,
    solvers_to_try,
)
from bdc_agents.evaluate.report.moves import moves_section
from bdc_agents.evaluate.results import Point, Row, read_rows, trace_folder
from bdc_agents.runs.sharing.beliefs import beliefs_of, load_beliefs
from bdc_agents.search import asolve
from bdc_agents.testing import ScriptedAgent, ScriptedExecutor
from bdc_agents.types import CallTest, Hidden, Problem, Trace, Usage

PROBLEM = Problem(
    id="double",
    statement="Double a number.",
    entry_point="double",
    public_tests=(CallTest(call="double(1)", expected=("2",)),),
)


def agent(name: str, mends: bool) -> ScriptedAgent:
    """Its answers add; its repairs double where it can."""

    def respond(request: Request) -> str:
        if request.json_schema is not None:
            return "no thoughts"
        mending = "colleague" in request.messages[-1].text
        body = "2 * x" if mending and mends else f"x + {request.seed % 97 + 2}"
        return f"It adds instead of doubling.\n```python\ndef double(x):\n    return {body}\n```"

    return ScriptedAgent(name, respond)


async def search(*agents: ScriptedAgent) -> Trace:
    executor = ScriptedExecutor(lambda job: float("2 * x" in job.code))
    return await asolve(PROBLEM, agents, executor=executor, budget=Budget(calls=12))


async def test_moves_are_told_by_kind_and_agent_and_solutions_by_what_they_needed() -> None:
    traces = [await search(agent("ann", mends=False), agent("bob", mends=True))]
    found = moves_of(traces)
    assert found
    (trace,) = traces
    assert trace.solution.solved
    by = {(one.kind, one.agent): one for one in found.figures}
    assert by["answer", "ann"].passed == by["answer", "bob"].passed == 0
    mended = [one for (kind, name), one in by.items() if name == "bob" and kind in ("repair", "rethink")]
    assert sum(one.passed for one in mended) >= 1
    assert all(one.better >= one.passed for one in mended)
    moved = [call for call in trace.calls if call.move or call.purpose == "expand"]
    assert sum(one.calls for one in found.figures) == len(moved)
    assert sum(one.tokens for one in found.figures) == sum(
        call.prompt_tokens + call.completion_tokens for call in moved
    )
    growth = found.growth
    assert growth.searches == sum(growth.depths.values()) == 1
    assert max(growth.depths) >= 1
    assert growth.needed == {"1 repair": 1}


async def test_who_mends_whose_work_is_told() -> None:
    alone = moves_of([await search(agent("bob", mends=True))])
    assert alone
    assert alone.growth.shared
    assert alone.growth.crossing
    assert (alone.growth.shared.value, alone.growth.crossing.value) == (0.0, 0.0)


async def test_traces_that_do_not_tell_have_no_moves() -> None:
    trace = await search(agent("bob", mends=True))
    assert moves_of([trace.model_copy(update={"calls": ()})]) is None
    assert moves_section(None) == ""


async def test_programs_that_confirm_are_a_kind_of_their_own() -> None:
    beliefs = {"counts": {"answer//ann": (0, 1, 0, 1), "answer/pass/ann": (0, 0, 0, 3)}, "tries": {}}
    trace = await search(agent("ann", mends=True))
    found = moves_of([trace.model_copy(update={"beliefs": beliefs})])
    assert found
    by = {one.kind: one for one in found.figures if one.programs}
    assert (by["answer"].programs, by["answer"].passed) == (2, 1)
    assert (by[CONFIRM].programs, by[CONFIRM].passed) == (3, 3)


async def test_a_report_shows_moves_and_escapes_names() -> None:
    trace = await search(agent("<b>", mends=False), agent("bob", mends=True))
    page = moves_section(moves_of([trace]))
    assert "<b>" not in page.replace("<b>&lt;", "")
    assert "&lt;b&gt;" in page
    assert "1 trees: 1 of depth" in page


# --- advice -----------------------------------------------------------------------------------


def rows_of(solver: str, solved: list[int], calls: int, cost: float | None = None) -> list[Row]:
    def row(number: int, right: int) -> Row:
        counts = Hidden(passed=right, total=1)
        point = Point(calls=calls, tokens=1, seconds=1.0, cost=cost, solved=bool(right))
        return Row(
            problem=f"p{number}",
            solver=solver,
            code="x",
            public=counts,
            usage={"ann": Usage(calls=calls, cost=cost)},
            stopped_by="solved",
            points=(point,),
        )

    return [row(number, right) for number, right in enumerate(solved)]


def summary_of(rows: dict[str, list[Row]], moves: dict[str, Moves] | None = None) -> Summary:
    return Summary(
        datasets=("set",),
        problems=len(next(iter(rows.values()))),
        hidden=0,
        rows=sum(map(len, rows.values())),
        solvers=tuple(figures_of(name, some, (1,)) for name, some in rows.items()),
        moves=moves or {},
        created="",
        package="",
    )


def test_the_solver_that_solves_most_is_advised_and_a_cheaper_one_named_that_may_be_as_good() -> None:
    rows = {
        "search": rows_of("search", [1] * 30 + [0] * 10, 8),
        "best-of:16": rows_of("best-of:16", [1] * 29 + [0] * 11, 4),
        "repair:15,agents=ann": rows_of("repair:15,agents=ann", [0] * 40, 15),
    }
    advice = advise(summary_of(rows), rows, {"search": "runs/eval/traces/search"})
    assert [one.solver for one in advice.rates] == [*rows]
    text = as_markdown(advice)
    assert "search solves most: 75%" in text
    assert "best-of:16 takes 50% of the calls, and may solve as many" in text
    assert "search is clearly better than repair:15,agents=ann" in text
    assert "calls = 8" in text
    assert "--beliefs runs/eval/traces/search" in advice.command
    assert advice.rates[0].per_100_calls.value == pytest.approx(100 * 0.75 / 8)


def test_where_nothing_is_clear_it_says_so() -> None:
    rows = {name: rows_of(name, [1, 0, 1, 0], 4) for name in ("search", "best-of:4")}
    assert "No difference between the solvers is clear" in as_markdown(advise(summary_of(rows), rows, {}))


def test_best_of_n_is_advised_as_a_policy_and_dollars_are_told_where_they_are_known() -> None:
    rows = {
        "best-of:8": rows_of("best-of:8", [1, 1, 0], 8, cost=0.5),
        "search": rows_of("search", [0] * 3, 8),
    }
    text = as_markdown(advise(summary_of(rows), rows, {}))
    assert 'policy = "best-of-n"' in text
    assert "solved by a US $" in text
    assert "bdc collect PROBLEMS" in text


def test_enough_calls_are_those_by_which_nearly_all_is_solved() -> None:
    rows = [row for calls in range(1, 41) for row in rows_of("search", [1], calls)]
    assert enough_calls(rows) == 38
    assert enough_calls(rows_of("search", [0] * 40, 16)) is None
    assert enough_calls(rows_of("search", [1] * 19, 1)) is None, "a few problems tell no cap"


def test_what_bdc_solve_and_collect_run_is_advised_though_another_solver_solves_more() -> None:
    rows = {
        "search": rows_of("search", [1] * 29 + [0], 6),
        "repair:5,agents=bob": rows_of("repair:5,agents=bob", [1] * 30, 1),
    }
    advice = advise(summary_of(rows), rows, {"search": "runs/eval/traces/search"})
    text = as_markdown(advice)
    assert "repair:5,agents=bob solves most" in text
    assert "Of those that bdc solve and bdc collect run, search solves most: 97%" in text
    assert advice.command == "bdc collect PROBLEMS --beliefs runs/eval/traces/search"
    assert advice.settings == ("[budget]", "calls = 6")


async def test_an_agent_that_solves_alone_is_not_called_idle_for_what_a_search_made_of_it() -> None:
    found = moves_of([await search(agent("ann", mends=False), agent("bob", mends=True))] * 3)
    assert found
    rows = {
        "search": rows_of("search", [1] * 3, 6),
        "repair:5,agents=ann": rows_of("repair:5,agents=ann", [1] * 3, 2),
    }
    assert idle_agents(found.figures) == ["ann"]
    assert "left out" not in as_markdown(advise(summary_of(rows, {"search": found}), rows, {}))


def test_an_agent_is_called_idle_only_after_enough_programs() -> None:
    def figures(name: str, programs: int, passed: int) -> MoveFigures:
        passing = mean_interval([1.0] * passed + [0.0] * (programs - passed))
        return MoveFigures(
            kind="answer", agent=name, calls=programs, tokens=0, programs=programs, passing=passing
        )

    assert idle_agents([figures("ann", 10, 0), figures("bob", 9, 0), figures("cid", 10, 1)]) == ["ann"]


def test_the_search_is_tried_beside_what_it_must_be_better_than() -> None:
    assert solvers_to_try(["ann"], 4) == ["search", "best-of:4,agents=ann", "repair:3,agents=ann"]
    assert "best-of:4" in solvers_to_try(["ann", "bob"], 4)


def test_advice_is_one_command(
    workplace: Path, problems: Callable[..., Path], configure: Callable[..., Any], bdc: Callable[..., Any]
) -> None:
    problems(3)
    configure()
    done = bdc("eval", "set.jsonl", "--advise", "--calls", "3", "--out", "out", "--quiet")
    assert done.returncode == 0, done.stderr
    assert "up to" in done.stderr
    assert "What pays here" in done.stdout
    text = (workplace / "out" / "advice.md").read_text()
    assert "best-of:3" in text
    assert "bdc collect PROBLEMS" in text


def test_beliefs_that_are_advised_are_those_of_all_samples(
    workplace: Path, problems: Callable[..., Path], configure: Callable[..., Any], bdc: Callable[..., Any]
) -> None:
    problems(2)
    configure()
    options = ("--samples", "3", "--solver", "search", "--calls", "3", "--out", "out", "--quiet")
    done = bdc("eval", "set.jsonl", "--advise", *options)
    assert done.returncode == 0, done.stderr
    rows = read_rows(workplace / "out")
    assert sorted(row.sample for row in rows) == [0, 0, 1, 1, 2, 2]
    assert load_beliefs(trace_folder(workplace / "out", "search")) == beliefs_of(rows)
