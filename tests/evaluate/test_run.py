import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bdc_agents.errors import AgentError, BDCError, UsageError
from bdc_agents.evaluate.config import EvalConfig
from bdc_agents.evaluate.results import Results, Row, read_rows, solver_traces
from bdc_agents.evaluate.run import evaluate
from bdc_agents.evaluate.solvers import Solver, Spec, Tools, create_solver
from bdc_agents.evaluate.summary import summarise
from bdc_agents.sandbox import Executor
from bdc_agents.testing import ScriptedAgent
from bdc_agents.types import Task

Agent = Callable[..., ScriptedAgent]
Bdc = Callable[..., subprocess.CompletedProcess[str]]
CONFIG = {"eval": {"datasets": ["d"], "solvers": [], "samples": 1, "k": [1, 2]}, "agents": {}}


def solvers(tools: Tools, *names: str) -> list[Solver]:
    return [create_solver(Spec.parse(name), tools) for name in names]


def essence(rows: list[Row]) -> dict[tuple[str, str, int], tuple[object, ...]]:
    return {row.key: (row.code, row.public, row.hidden, row.used.calls, row.stopped_by) for row in rows}


# --- rows ------------------------------------------------------------------------------------


async def test_every_solver_solves_every_problem_and_hidden_tests_score_it(
    tmp_path: Path,
    make_agent: Agent,
    make_tools: Callable[..., Tools],
    make_task: Callable[..., Task],
    executor: Executor,
) -> None:
    cheat = "```python\ndef double(x):\n    return {1: 2, 2: 4}.get(x)\n```"
    tools = make_tools(
        make_agent(cheat), make_agent("```python\ndef double(x):\n    return x + x\n```", name="bob")
    )
    tasks = [make_task("a", difficulty="easy"), make_task("b", hidden=0, tags=("t",))]
    config = EvalConfig(samples=2, concurrency=3)
    with Results(tmp_path, CONFIG, {}) as results:
        report = await evaluate(config, tasks, solvers(tools, "single:ann", "single:bob"), executor, results)
    assert (report.wanted, report.made, report.interrupted) == (8, 8, False)
    rows = {row.key: row for row in read_rows(tmp_path)}
    assert rows["a", "single:ann", 0].hidden.model_dump() == {"passed": 0, "total": 3}  # type: ignore[union-attr]
    assert not rows["a", "single:ann", 1].solved
    assert rows["b", "single:ann", 0].solved  # There are only the public tests to say otherwise.
    assert rows["b", "single:ann", 0].hidden is None
    assert rows["a", "single:bob", 0].solved
    assert rows["a", "single:bob", 0].points[-1].solved
    assert len(solver_traces(tmp_path, ["single:bob"])["single:bob"]) == 4

    summary = summarise(tmp_path, tasks)
    by_name = {one.solver: one for one in summary.solvers}
    assert by_name["single:ann"].solved.value == 0.5
    assert by_name["single:ann"].difficulty["easy"].solved.value == 0.0
    assert by_name["single:ann"].tag["t"].problems == 1
    assert by_name["single:bob"].pass_at[2].value == 1.0
    assert by_name["single:ann"].pass_rate.value == 0.5
    assert summary.pairs[0].solved.value == 0.5
    assert summary.skills == {"ann": 0.5, "bob": 1.0}
    assert "1 of 2 problems have no hidden tests" in summary.claims[0]


async def test_finished_rows_are_never_made_again(
    tmp_path: Path,
    make_agent: Agent,
    make_tools: Callable[..., Tools],
    make_task: Callable[..., Task],
    executor: Executor,
    right: str,
) -> None:
    agent = make_agent(right)
    tasks = [make_task(name) for name in "abcd"]
    tools = make_tools(agent)
    with Results(tmp_path, CONFIG, {}) as results:
        await evaluate(EvalConfig(), tasks[:2], solvers(tools, "single:ann"), executor, results)
    with Results(tmp_path, CONFIG, {}) as results:
        report = await evaluate(EvalConfig(), tasks, solvers(tools, "single:ann"), executor, results)
    assert (report.wanted, report.made) == (4, 2)
    assert len(agent.requests) == 4
    assert len(read_rows(tmp_path)) == 4


async def test_a_solver_that_repeats_itself_has_one_sample(
    tmp_path: Path,
    make_agent: Agent,
    make_tools: Callable[..., Tools],
    make_task: Callable[..., Task],
    executor: Executor,
    right: str,
) -> None:
    tools = make_tools(make_agent(right), temperature=0.0)
    with Results(tmp_path, CONFIG, {}) as results:
        report = await evaluate(
            EvalConfig(samples=5), [make_task()], solvers(tools, "single:ann", "search"), executor, results
        )
    assert report.wanted == 6


async def test_a_row_no_agent_answered_for_is_left_to_a_later_visit(
    tmp_path: Path,
    make_agent: Agent,
    make_tools: Callable[..., Tools],
    make_task: Callable[..., Task],
    executor: Executor,
    right: str,
) -> None:
    down = True

    def respond(_: object) -> str:
        if down:
            raise AgentError("ann", "connection refused")
        return right

    agent = make_agent(respond)
    tasks = [make_task(f"p{number}") for number in range(20)]
    tools, config = make_tools(agent), EvalConfig(concurrency=1)
    with Results(tmp_path, CONFIG, {}) as results:
        report = await evaluate(config, tasks, solvers(tools, "single:ann"), executor, results)
    assert read_rows(tmp_path) == []
    assert len(report.unanswered) == len(agent.requests) == 5  # It does not ask in vain for all 20.
    assert "connection refused" in report.unanswered[0].reason
    down = False
    with Results(tmp_path, CONFIG, {}) as results:
        report = await evaluate(config, tasks, solvers(tools, "single:ann"), executor, results)
    assert (report.made, report.unanswered) == (20, ())


async def test_cancelling_keeps_what_is_finished(
    tmp_path: Path,
    make_agent: Agent,
    make_tools: Callable[..., Tools],
    make_task: Callable[..., Task],
    executor: Executor,
    right: str,
) -> None:
    tasks = [make_task(f"p{number}") for number in range(30)]
    with Results(tmp_path, CONFIG, {}) as results:

        def stop_after_three(_: object) -> None:
            if len(results.rows) == 3:
                work.cancel()

        chosen = solvers(make_tools(make_agent(right)), "single:ann")
        work = asyncio.create_task(
            evaluate(EvalConfig(concurrency=2), tasks, chosen, executor, results, stop_after_three)
        )
        report = await work
    assert report.interrupted
    assert 3 <= len(read_rows(tmp_path)) < 30


async def test_an_error_of_the_sandbox_is_raised_as_it_is(
    tmp_path: Path,
    make_agent: Agent,
    make_tools: Callable[..., Tools],
    make_task: Callable[..., Task],
    executor: Executor,
    right: str,
) -> None:
    await executor.aclose()
    chosen = solvers(make_tools(make_agent(right)), "single:ann")
    with Results(tmp_path, CONFIG, {}) as results, pytest.raises(BDCError):
        await evaluate(EvalConfig(), [make_task()], chosen, executor, results)


# --- the folder ------------------------------------------------------------------------------


def test_a_folder_of_another_configuration_is_refused_with_the_difference(tmp_path: Path) -> None:
    with Results(tmp_path, CONFIG, {"prompts": "one"}):
        pass
    other = {"eval": CONFIG["eval"] | {"samples": 3, "k": [9]}, "agents": {"a": {"model": "m"}}}
    with pytest.raises(UsageError) as refused:
        Results(tmp_path, other, {"prompts": "two"})
    message = str(refused.value)
    assert "eval.samples: was 1, is 3" in message
    assert 'agents.a.model: was not set, is "m"' in message
    assert 'lineage.prompts: was "one", is "two"' in message
    assert "eval.k" not in message  # It changes no row.


def test_how_and_where_agents_are_served_may_change(tmp_path: Path) -> None:
    def config(port: int, slots: int) -> dict[str, Any]:
        agent = {
            "model": "m",
            "base_url": f"http://localhost:{port}/v1",
            "options": {"slots": slots, "top_k": 1},
        }
        return CONFIG | {"agents": {"a": agent | {"timeout": float(port)}}}

    with Results(tmp_path, config(8000, 1), {}):
        pass
    with Results(tmp_path, config(9000, 4), {}):
        pass


def test_a_folder_takes_one_visitor_at_a_time(tmp_path: Path) -> None:
    with Results(tmp_path, CONFIG, {}), pytest.raises(UsageError, match="another process"):
        Results(tmp_path, CONFIG, {})
    with Results(tmp_path, CONFIG, {}):
        pass


def test_results_without_their_configuration_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "results.jsonl").write_text("{}\n")
    with pytest.raises(UsageError, match="holds results without"):
        Results(tmp_path, CONFIG, {})
    assert (tmp_path / "results.jsonl").read_text() == "{}\n"


async def test_damaged_lines_are_left_out_and_made_again(
    tmp_path: Path,
    make_agent: Agent,
    make_tools: Callable[..., Tools],
    make_task: Callable[..., Task],
    executor: Executor,
    right: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    tasks = [make_task(name) for name in "abc"]
    chosen = solvers(make_tools(make_agent(right)), "single:ann")
    with Results(tmp_path, CONFIG, {}) as results:
        await evaluate(EvalConfig(concurrency=1), tasks, chosen, executor, results)
    file = tmp_path / "results.jsonl"
    lines = file.read_text().splitlines(keepends=True)
    file.write_text(lines[0] + '{"problem": 7}\n' + lines[2][:40])  # One damaged, one half written.
    with Results(tmp_path, CONFIG, {}) as results:
        assert [row.problem for row in results.rows] == ["a"]
        report = await evaluate(EvalConfig(), tasks, chosen, executor, results)
    assert report.made == 2
    assert sorted(row.problem for row in read_rows(tmp_path)) == ["a", "b", "c"]
    assert "results.jsonl:2: not a row" in caplog.text


def test_a_last_row_without_its_newline_is_kept(tmp_path: Path) -> None:
    row = Row.model_validate(
        {
            "problem": "p",
            "solver": "s",
            "code": "",
            "public": {"passed": 0, "total": 1},
            "stopped_by": "rollouts",
        }
    )
    with Results(tmp_path, CONFIG, {}):
        pass
    (tmp_path / "results.jsonl").write_text(row.model_dump_json())
    with Results(tmp_path, CONFIG, {}) as results:
        assert results.done == {("p", "s", 0)}
    assert (tmp_path / "results.jsonl").read_text().endswith("}\n")


# --- the command -----------------------------------------------------------------------------

COMMAND = ("eval", "set.jsonl", "--solver", "single:one", "--solver", "best-of:2", "--out", "out", "--quiet")


def test_killed_at_any_moment_it_goes_on_and_ends_as_undisturbed(
    workplace: Path, problems: Callable[..., Path], configure: Callable[..., list[dict[str, Any]]], bdc: Bdc
) -> None:
    problems(8)

    def slowly(body: dict[str, Any]) -> str:
        time.sleep(0.05)
        text = str(body["messages"])
        return f"```python\ndef double(x):\n    return {2 if '(4)' in text or '(6)' in text else 3} * x\n```"

    requests = configure(slowly)
    assert bdc(*COMMAND[:-2], "quiet", "--quiet").returncode == 0
    undisturbed, asked = essence(read_rows(workplace / "quiet")), len(requests)
    kills = 0
    for moment in (1, 5, 9):
        process = subprocess.Popen(
            [sys.executable, "-m", "bdc_agents.cli", *COMMAND], cwd=workplace, stderr=subprocess.DEVNULL
        )
        rows = workplace / "out" / "results.jsonl"
        deadline = time.monotonic() + 60
        while process.poll() is None and time.monotonic() < deadline:
            if rows.exists() and rows.read_bytes().count(b"\n") >= moment:
                break
            time.sleep(0.01)
        kills += process.poll() is None
        process.kill()
        process.wait()
    assert kills == 3
    assert bdc(*COMMAND).returncode == 0
    assert essence(read_rows(workplace / "out")) == undisturbed
    in_flight = 4 * 2  # Problems at once, and at most two calls each.
    assert len(requests) - asked <= asked + kills * in_flight
    summary = json.loads((workplace / "out" / "summary.json").read_text())
    assert [one["solved"]["value"] for one in summary["solvers"]] == [0.25, 0.25]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_polite_stop_keeps_the_rows_and_writes_the_report(
    workplace: Path, problems: Callable[..., Path], configure: Callable[..., Any], bdc: Bdc, number: int
) -> None:
    problems(12)

    def slowly(_: dict[str, Any]) -> str:
        time.sleep(0.2)
        return "```python\ndef double(x):\n    return 2 * x\n```"

    configure(slowly)
    process = subprocess.Popen(
        [sys.executable, "-m", "bdc_agents.cli", *COMMAND],
        cwd=workplace,
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ,
    )
    rows = workplace / "out" / "results.jsonl"
    deadline = time.monotonic() + 60
    while not (rows.exists() and rows.read_bytes().count(b"\n")) and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert "the same command goes on" in err
    assert "solved" in out
    assert (workplace / "out" / "report.html").exists()
    assert 1 <= len(read_rows(workplace / "out")) < 24
