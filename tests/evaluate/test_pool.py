"""Evaluations whose problems share a budget."""

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from bdc_agents.agents.protocol import Request
from bdc_agents.config import Budget
from bdc_agents.errors import ConfigError
from bdc_agents.evaluate.config import EvalConfig
from bdc_agents.evaluate.figures.summary import summarise
from bdc_agents.evaluate.remembered import Remembering, remembering
from bdc_agents.evaluate.results import Results, read_rows
from bdc_agents.evaluate.run import Report, evaluate
from bdc_agents.evaluate.solvers.protocol import Answer
from bdc_agents.evaluate.solvers.registry import Spec, Tools, create_solver
from bdc_agents.sandbox.protocol import Job
from bdc_agents.testing import ScriptedAgent, ScriptedExecutor
from bdc_agents.types import CallTest, Task, Verdict

from ..late import respond

SOLVERS = ("search", "best-of:2", "repair:1")
PROBLEMS, CALLS = 6, 48


class Pooled:
    """An evaluation of some solvers with a pool, whose replies are kept by the caller."""

    def __init__(self, folder: Path, tasks: Sequence[Task]) -> None:
        self.folder, self.tasks = folder, tasks
        self.replies: dict[str, str] = {}
        self.paid = 0

    def reply(self, request: Request) -> str:
        key = request.model_dump_json(exclude={"tries"})
        if key not in self.replies:
            self.paid += 1
            self.replies[key] = respond(request)
        return self.replies[key]

    async def visit(
        self,
        name: str,
        solvers: Sequence[str] = SOLVERS,
        pool: Budget | None = Budget(calls=CALLS),  # noqa: B008 - frozen
        on_row: Callable[[Any], None] = lambda _: None,
        **more: Any,
    ) -> Report:
        """Even problems are easy, odd ones pass one program in twenty."""

        def reward(job: Any) -> float:
            easy = int(job.tests[0].call.removeprefix("double(")[:-1]) % 2 == 0
            return float(sum(map(ord, job.code)) % (2 if easy else 20) == 0)

        agents = {"ann": ScriptedAgent("ann", self.reply)}
        self.executor = ScriptedExecutor(reward)
        executor = remembering(self.executor, pool or Budget())
        tools = Tools(agents=agents, team=("ann",), executor=executor, budget=Budget(calls=16))
        made = [create_solver(Spec.parse(one), tools) for one in solvers]
        config = EvalConfig(datasets=("d",), solvers=tuple(solvers), pool=pool or Budget(), **more)
        record = {"eval": config.model_dump(mode="json"), "agents": {}}
        with Results(self.folder / name, record, {}) as results:
            return await evaluate(config, self.tasks, made, tools.executor, results, on_row, tools.budget)

    def rows(self, name: str) -> dict[Any, Any]:
        rows = read_rows(self.folder / name)
        return {
            row.key: (row.code, row.used.calls, row.stopped_by, row.caps, [p.calls for p in row.points])
            for row in rows
        }


@pytest.fixture
def pooled(tmp_path: Path, make_task: Callable[..., Task]) -> Pooled:
    tasks = [make_task(f"t{number}", public=1, hidden=0) for number in range(PROBLEMS)]
    for number, task in enumerate(tasks):
        [test] = task.problem.public_tests
        own = test.model_copy(update={"call": f"double({number})"})
        problem = task.problem.model_copy(update={"public_tests": (own,)})
        tasks[number] = task.model_copy(update={"problem": problem})
    return Pooled(tmp_path, tasks)


async def test_unsolved_problems_go_on_with_what_solved_ones_left(pooled: Pooled) -> None:
    await pooled.visit("run")
    rows = read_rows(pooled.folder / "run")
    for solver in SOLVERS:
        mine = [row for row in rows if row.solver == solver]
        assert len(mine) == PROBLEMS
        assert sum(row.used.calls for row in mine) <= CALLS
        assert all(row.caps[0].calls == CALLS // PROBLEMS for row in mine)
        assert any(row.used.calls > CALLS // PROBLEMS for row in mine), "somebody went on"
        unsolved = [row for row in mine if not row.public.all_passed]
        assert not unsolved or sum(row.used.calls for row in mine) >= CALLS - 2, "and the pool was used"


async def test_nothing_is_paid_twice(pooled: Pooled) -> None:
    await pooled.visit("run", ["search"])
    rows = read_rows(pooled.folder / "run")
    assert max(len(row.caps) for row in rows) > 1
    assert pooled.paid == sum(row.used.calls for row in rows)


async def test_no_program_runs_twice(pooled: Pooled) -> None:
    await pooled.visit("run")
    rows = read_rows(pooled.folder / "run")
    assert max(len(row.caps) for row in rows) > 1
    ran = Counter(repr(job) for job in pooled.executor.jobs)
    assert max(ran.values()) == 1
    await pooled.visit("alone", ["search"], pool=None)
    assert pooled.executor.jobs, "and where nothing is shared, nothing is remembered"


async def test_the_verdicts_used_last_are_remembered() -> None:
    plain = ScriptedExecutor(lambda job: 1.0)
    executor = Remembering(plain, most=4)
    test = CallTest(call="f()", expected=("1",))

    async def run(code: str) -> Verdict:
        return await executor.run(Job(code=code, tests=(test, test)))

    first = await run("a")
    await run("b")
    assert await run("a") is first
    await run("c")
    assert [job.code for job in plain.jobs] == ["a", "b", "c"]
    await run("a")
    await run("b")
    assert [job.code for job in plain.jobs] == ["a", "b", "c", "b"]
    await executor.run(Job(code="a", tests=(test,)))
    assert len(plain.jobs) == 5, "other tests, another verdict"
    assert executor.tier == plain.tier


@pytest.mark.parametrize("concurrency", [1, 8])
async def test_rows_are_the_same_however_many_are_at_work(pooled: Pooled, concurrency: int) -> None:
    await pooled.visit("some", concurrency=3)
    await pooled.visit("other", concurrency=concurrency)
    assert pooled.rows("some") == pooled.rows("other")


async def test_an_evaluation_that_is_cut_off_goes_on_as_if_it_had_not_been(pooled: Pooled) -> None:
    await pooled.visit("whole")
    lines = len((pooled.folder / "whole/results.jsonl").read_text().splitlines())
    assert lines > PROBLEMS * len(SOLVERS)
    for done in (4, PROBLEMS * len(SOLVERS) + 1, lines - 1):
        task = asyncio.current_task()

        def enough(_: object, done: int = done, task: Any = task) -> None:
            if len((pooled.folder / "cut/results.jsonl").read_text().splitlines()) == done:
                task.cancel()

        await pooled.visit("cut", on_row=enough)
    paid = pooled.paid
    await pooled.visit("cut")
    assert pooled.rows("cut") == pooled.rows("whole")
    assert pooled.paid == paid
    assert (await pooled.visit("cut")).made == 0


async def test_a_search_that_goes_on_keeps_its_tree(pooled: Pooled) -> None:
    await pooled.visit("alone", ["search"], pool=None)
    await pooled.visit("run", ["search"])
    went_on = [row for row in read_rows(pooled.folder / "run") if len(row.caps) > 1]
    assert went_on
    for row in went_on:
        assert row.used.calls <= row.caps[-1].calls  # type: ignore[operator]


async def test_reports_compare_whole_pools(pooled: Pooled) -> None:
    await pooled.visit("run")
    summary = summarise(pooled.folder / "run", pooled.tasks)
    rows = read_rows(pooled.folder / "run")
    for one in summary.pools:
        mine = [row for row in rows if row.solver == one.solver]
        assert one.calls == sum(row.used.calls for row in mine)
        assert one.solved == sum(row.solved for row in mine)
    assert any("share 48 calls" in claim and "whole pools" in claim for claim in summary.claims)
    assert summary.matched == ()


async def test_too_small_a_pool_and_solvers_that_cannot_go_on_are_refused(pooled: Pooled) -> None:
    with pytest.raises(ConfigError, match="less than one for each of 6"):
        await pooled.visit("few", pool=Budget(calls=5))
    with pytest.raises(ValueError, match="seconds"):
        EvalConfig(pool=Budget(seconds=5))

    class Own:
        name, repeats = "own", False

        async def solve(self, problem: Any, seed: int) -> Answer:
            raise NotImplementedError

    executor = ScriptedExecutor(lambda job: 1.0)
    with (
        Results(pooled.folder / "own", {"eval": {}}, {}) as results,
        pytest.raises(ConfigError, match="'own'"),
    ):
        await evaluate(EvalConfig(pool=Budget(calls=50)), pooled.tasks, [Own()], executor, results)
