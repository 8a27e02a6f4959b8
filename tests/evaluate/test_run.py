import asyncio
import json
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from bdc_agents.errors import AgentError, BDCError, UsageError
from bdc_agents.evaluate.config import EvalConfig
from bdc_agents.evaluate.figures.summary import summarise
from bdc_agents.evaluate.results import Results, Row, read_rows, solver_traces
from bdc_agents.evaluate.run import Report, evaluate
from bdc_agents.evaluate.solvers.registry import Spec, Tools, create_solver
from bdc_agents.sandbox import Executor
from bdc_agents.testing import ScriptedAgent
from bdc_agents.types import Task

from ..warm import Warm

Agent = Callable[..., ScriptedAgent]
Bdc = Callable[..., subprocess.CompletedProcess[str]]
CONFIG = {"eval": {"datasets": ["d"], "solvers": [], "samples": 1, "k": [1, 2]}, "agents": {}}


class Evaluation:
    """An evaluation in a folder, visited once or more often."""

    def __init__(self, folder: Path, make_tools: Callable[..., Tools], executor: Executor) -> None:
        self.folder = folder
        self._make_tools = make_tools
        self._executor = executor

    async def visit(
        self,
        tasks: Sequence[Task],
        *agents: ScriptedAgent,
        solvers: Sequence[str] = ("single:ann",),
        config: EvalConfig | None = None,
        on_row: Callable[[Any], None] = lambda _: None,
        temperature: float | None = None,
    ) -> Report:
        """Makes the rows that are not there yet."""
        tools = self._make_tools(*agents, temperature=temperature)
        made = [create_solver(Spec.parse(name), tools) for name in solvers]
        with Results(self.folder, CONFIG, {}) as results:
            return await evaluate(config or EvalConfig(), tasks, made, self._executor, results, on_row)

    @property
    def rows(self) -> list[Row]:
        return read_rows(self.folder)


@pytest.fixture
def evaluation(tmp_path: Path, make_tools: Callable[..., Tools], executor: Executor) -> Evaluation:
    return Evaluation(tmp_path, make_tools, executor)


def essence(rows: list[Row]) -> dict[tuple[str, str, int], tuple[object, ...]]:
    return {row.key: (row.code, row.public, row.hidden, row.used.calls, row.stopped_by) for row in rows}


# --- rows ------------------------------------------------------------------------------------


async def test_every_solver_solves_every_problem_and_hidden_tests_score_it(
    evaluation: Evaluation, make_agent: Agent, make_task: Callable[..., Task]
) -> None:
    cheat = "```python\ndef double(x):\n    return {1: 2, 2: 4}.get(x)\n```"
    agents = make_agent(cheat), make_agent("```python\ndef double(x):\n    return x + x\n```", name="bob")
    tasks = [make_task("a", difficulty="easy"), make_task("b", hidden=0, tags=("t",))]
    config = EvalConfig(samples=2, concurrency=3)
    report = await evaluation.visit(tasks, *agents, solvers=("single:ann", "single:bob"), config=config)
    assert (report.wanted, report.made, report.interrupted) == (8, 8, False)
    rows = {row.key: row for row in evaluation.rows}
    assert rows["a", "single:ann", 0].hidden.model_dump() == {"passed": 0, "total": 3}  # type: ignore[union-attr]
    assert not rows["a", "single:ann", 1].solved
    assert rows["b", "single:ann", 0].solved  # There are only the public tests to say otherwise.
    assert rows["b", "single:ann", 0].hidden is None
    assert rows["a", "single:bob", 0].solved
    assert rows["a", "single:bob", 0].points[-1].solved
    assert len(solver_traces(evaluation.folder, ["single:bob"])["single:bob"]) == 4

    summary = summarise(evaluation.folder, tasks)
    by_name = {one.solver: one for one in summary.solvers}
    assert by_name["single:ann"].solved.value == 0.5
    assert by_name["single:ann"].difficulty["easy"].solved.value == 0.0
    assert by_name["single:ann"].tag["t"].problems == 1
    assert by_name["single:bob"].pass_at[2].value == 1.0
    assert by_name["single:ann"].pass_rate.value == 0.5
    (pair,) = (
        summary.pairs
    )  # Of solvers that no configuration orders, the one whose row came first is the other.
    assert pair.solved.value == (0.5 if pair.first == "single:bob" else -0.5)
    assert summary.skills == {"ann": 0.5, "bob": 1.0}
    assert "1 of 2 problems have no hidden tests" in summary.claims[0]


async def test_finished_rows_are_never_made_again(
    evaluation: Evaluation, make_agent: Agent, make_task: Callable[..., Task], right: str
) -> None:
    agent = make_agent(right)
    tasks = [make_task(name) for name in "abcd"]
    await evaluation.visit(tasks[:2], agent)
    report = await evaluation.visit(tasks, agent)
    assert (report.wanted, report.made) == (4, 2)
    assert len(agent.requests) == 4
    assert len(evaluation.rows) == 4


async def test_a_solver_that_repeats_itself_has_one_sample(
    evaluation: Evaluation, make_agent: Agent, make_task: Callable[..., Task], right: str
) -> None:
    report = await evaluation.visit(
        [make_task()],
        make_agent(right),
        solvers=("single:ann", "search"),
        config=EvalConfig(samples=5),
        temperature=0.0,
    )
    assert report.wanted == 6


async def test_a_row_no_agent_answered_for_is_left_to_a_later_visit(
    evaluation: Evaluation, make_agent: Agent, make_task: Callable[..., Task], right: str
) -> None:
    down = True

    def respond(_: object) -> str:
        if down:
            raise AgentError("ann", "connection refused")
        return right

    agent = make_agent(respond)
    tasks = [make_task(f"p{number}") for number in range(20)]
    config = EvalConfig(concurrency=1)
    report = await evaluation.visit(tasks, agent, config=config)
    assert evaluation.rows == []
    assert len(report.unanswered) == len(agent.requests) == 5  # It does not ask in vain for all 20.
    assert "connection refused" in report.unanswered[0].reason
    down = False
    report = await evaluation.visit(tasks, agent, config=config)
    assert (report.made, report.unanswered) == (20, ())


async def test_agents_that_fail_now_and_then_do_not_end_an_evaluation(
    evaluation: Evaluation, make_agent: Agent, make_task: Callable[..., Task], right: str
) -> None:
    """Only failures without an answer in between do."""
    asked = 0

    def respond(_: object) -> str:
        nonlocal asked
        asked += 1
        if asked % 3:
            raise AgentError("ann", "overloaded")
        return right

    tasks = [make_task(f"p{number}") for number in range(18)]
    report = await evaluation.visit(tasks, make_agent(respond), config=EvalConfig(concurrency=1))
    assert (report.made, len(report.unanswered)) == (6, 12)


async def test_cancelling_keeps_what_is_finished(
    evaluation: Evaluation, make_agent: Agent, make_task: Callable[..., Task], right: str
) -> None:
    tasks = [make_task(f"p{number}") for number in range(30)]
    seen = 0

    def stop_after_three(_: object) -> None:
        nonlocal seen
        seen += 1
        if seen == 3:
            work.cancel()

    visit = evaluation.visit(
        tasks, make_agent(right), config=EvalConfig(concurrency=2), on_row=stop_after_three
    )
    work = asyncio.create_task(visit)
    assert (await work).interrupted
    assert 3 <= len(evaluation.rows) < 30


async def test_an_error_of_the_sandbox_is_raised_as_it_is(
    evaluation: Evaluation,
    make_agent: Agent,
    make_task: Callable[..., Task],
    executor: Executor,
    right: str,
) -> None:
    await executor.aclose()
    with pytest.raises(BDCError):
        await evaluation.visit([make_task()], make_agent(right))


# --- the folder ------------------------------------------------------------------------------


def test_a_folder_of_another_configuration_is_refused_with_the_difference(tmp_path: Path) -> None:
    with Results(tmp_path, CONFIG, {"prompts": "one"}):
        pass
    other = {"eval": CONFIG["eval"] | {"samples": 3, "k": [9]}, "agents": {"a": {"model": "m"}}}
    with pytest.raises(UsageError) as refused:
        Results(tmp_path, other, {"prompts": "two"})
    message = str(refused.value)
    assert "eval.samples: was 1, is 3" in message
    assert "agents: none in the run, a now" in message
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
    evaluation: Evaluation,
    make_agent: Agent,
    make_task: Callable[..., Task],
    right: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    tasks, agent = [make_task(name) for name in "abc"], make_agent(right)
    await evaluation.visit(tasks, agent, config=EvalConfig(concurrency=1))
    file = evaluation.folder / "results.jsonl"
    lines = file.read_text().splitlines(keepends=True)
    file.write_text(lines[0] + '{"problem": 7}\n' + lines[2][:40])  # One damaged, one half written.
    with Results(evaluation.folder, CONFIG, {}) as results:
        assert [row.problem for row in results.rows] == ["a"]
    report = await evaluation.visit(tasks, agent)
    assert report.made == 2
    assert sorted(row.problem for row in evaluation.rows) == ["a", "b", "c"]
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
    workplace: Path,
    problems: Callable[..., Path],
    configure: Callable[..., list[dict[str, Any]]],
    bdc: Bdc,
    python: Warm,
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
        process = python.start(["-m", "bdc_agents.cli", *COMMAND], workplace)
        rows = workplace / "out" / "results.jsonl"
        deadline = time.monotonic() + 300
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
    workplace: Path, problems: Callable[..., Path], configure: Callable[..., Any], python: Warm, number: int
) -> None:
    problems(12)

    def slowly(_: dict[str, Any]) -> str:
        time.sleep(0.2)
        return "```python\ndef double(x):\n    return 2 * x\n```"

    configure(slowly)
    process = python.start(["-m", "bdc_agents.cli", *COMMAND], workplace)
    rows = workplace / "out" / "results.jsonl"
    deadline = time.monotonic() + 300
    while not (rows.exists() and rows.read_bytes().count(b"\n")) and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(number)
    out, err = process.communicate(timeout=300)
    assert process.returncode == 130, err
    assert "the same command goes on" in err
    assert "solved" in out
    assert (workplace / "out" / "report.html").exists()
    assert 1 <= len(read_rows(workplace / "out")) < 24
