"""Searches of an evaluation start from what their moves gave on earlier problems."""

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from bdc_agents.agents.protocol import Request
from bdc_agents.config import Budget, SearchConfig
from bdc_agents.errors import AgentError
from bdc_agents.evaluate.config import EvalConfig
from bdc_agents.evaluate.order import Lot, Order
from bdc_agents.evaluate.results import KNOWN_FILE, Key, Results, Row, solver_traces
from bdc_agents.evaluate.run import Report, evaluate
from bdc_agents.evaluate.solvers.protocol import Answer
from bdc_agents.evaluate.solvers.registry import Spec, Tools, create_solver
from bdc_agents.runs.sharing.blocks import block_of, known_to, start_of
from bdc_agents.search.policy.beliefs import Beliefs, Told
from bdc_agents.testing import ScriptedAgent, ScriptedExecutor
from bdc_agents.types import Hidden, Task, Trace

from ..late import Late, respond

COUNT = 18
ONE = Beliefs().tell([Told("answer", "ann", "", "pass")])


class Place:
    """An evaluation of one search, visited once or more often."""

    def __init__(self, folder: Path, tasks: Sequence[Task]) -> None:
        self.folder = folder
        self.tasks = tasks
        self.respond: Callable[[Request], str] = respond

    async def visit(
        self, name: str, *, on_row: Callable[[Any], None] = lambda _: None, **more: Any
    ) -> Report:
        agents = {name: Late(name, lambda request: self.respond(request)) for name in ("ann", "bob")}
        executor = ScriptedExecutor(lambda job: (sum(map(ord, job.code)) % 7 == 0) * 1.0)
        tools = Tools(agents=agents, team=(*agents,), executor=executor, budget=Budget(calls=6))
        solvers = [create_solver(Spec.parse(name), tools) for name in ("search", "best-of:2")]
        config = EvalConfig(**more)
        with Results(self.folder / name, {"eval": {}}, {}) as results:
            return await evaluate(config, self.tasks, solvers, executor, results, on_row)

    def starts(self, name: str, sample: int = 0) -> list[Beliefs]:
        """What the search of each problem started from."""
        found = {trace.problem.id: trace for trace in self.searches(name, sample)}
        settings = [found[task.problem.id].settings["search"] for task in self.tasks]
        return [Beliefs.model_validate(one["beliefs"]) for one in settings]

    def searches(self, name: str, sample: int = 0) -> list[Trace]:
        found = solver_traces(self.folder / name, ["search"])["search"]
        return [trace for trace in found if trace.settings["sample"] == sample]

    def trees(self, name: str, sample: int = 0) -> dict[str, Any]:
        return {
            trace.problem.id: timeless(trace.model_dump(mode="json")) for trace in self.searches(name, sample)
        }


def timeless(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: timeless(item) for key, item in value.items() if key not in ("seconds", "created")}
    return [timeless(item) for item in value] if isinstance(value, list) else value


@pytest.fixture
def place(tmp_path: Path, make_task: Callable[..., Task]) -> Place:
    return Place(tmp_path, [make_task(f"t{number}", public=1, hidden=1) for number in range(COUNT)])


async def test_each_block_starts_from_all_before_the_block_before_it(place: Place) -> None:
    await place.visit("run")
    told = {trace.problem.id: Beliefs.model_validate(trace.beliefs) for trace in place.searches("run")}
    for position, start in enumerate(place.starts("run")):
        known = Beliefs()
        for task in place.tasks[: known_to(block_of(position))]:
            known = known.plus(told[task.problem.id])
        assert start == known
    assert place.starts("run")[-1].counts


@pytest.mark.parametrize("concurrency", [1, 8])
async def test_trees_are_the_same_however_many_are_at_work(place: Place, concurrency: int) -> None:
    await place.visit("some", concurrency=3)
    await place.visit("other", concurrency=concurrency)
    assert place.trees("some") == place.trees("other")


async def test_an_evaluation_that_is_cut_off_goes_on_as_if_it_had_not_been(place: Place) -> None:
    await place.visit("whole")
    for done in (9, 27):
        task = asyncio.current_task()

        def enough(_: object, done: int = done, task: Any = task) -> None:
            if len((place.folder / "cut/results.jsonl").read_text().splitlines()) == done:
                task.cancel()

        assert (await place.visit("cut", on_row=enough)).interrupted
    with (place.folder / "cut" / KNOWN_FILE).open("a") as file:
        file.write('\n{"solver": "sea')  # as a kill leaves it
    assert not (await place.visit("cut")).interrupted
    assert place.trees("cut") == place.trees("whole")


async def test_each_sample_learns_from_itself_alone(place: Place) -> None:
    await place.visit("one")
    await place.visit("two", samples=2)
    assert place.trees("two") == place.trees("one")
    assert place.starts("two", 1) != place.starts("two", 0)


async def test_a_problem_that_no_agent_answers_holds_nothing_up(place: Place) -> None:
    def deaf(request: Request) -> str:
        if "Double a number (t0)" in str(request.messages):
            raise AgentError("ann", "no")
        return respond(request)

    place.respond = deaf
    report = await place.visit("run", concurrency=1)
    assert {row.problem for row in report.unanswered} == {"t0"}
    place.respond = respond
    before = (place.folder / "run" / KNOWN_FILE).read_text()
    assert not (await place.visit("run")).unanswered
    assert (place.folder / "run" / KNOWN_FILE).read_text() == before
    told = {trace.problem.id: Beliefs.model_validate(trace.beliefs) for trace in place.searches("run")}
    assert place.starts("run")[start_of(2)] == told["t1"].plus(told["t2"]).plus(told["t3"])


async def test_all_may_start_alike(place: Place) -> None:
    await place.visit("run", learn=False)
    assert place.starts("run") == [Beliefs()] * COUNT
    assert not (place.folder / "run" / KNOWN_FILE).exists()


# --- the order alone ------------------------------------------------------------------------------


KEYS: list[Key] = [(f"p{number}", solver, 0) for number in range(30) for solver in ("learns", "plain")]


def row(key: Key) -> Row:
    return Row(
        problem=key[0],
        solver=key[1],
        code="",
        public=Hidden(passed=0, total=1),
        stopped_by="calls",
        beliefs=ONE.model_dump(),
    )


@pytest.fixture
def results(tmp_path: Path) -> Any:
    with Results(tmp_path / "out", {"eval": {}}, {}) as opened:
        yield opened


def taken(order: Order) -> list[Lot]:
    found: list[Lot] = []
    while lot := order.take():
        found.append(lot)
    return found


def test_what_learns_waits_and_what_does_not_goes_on(results: Results) -> None:
    order = Order(KEYS, results, ["learns"])
    first = taken(order)
    assert sum(lot.key[1] == "plain" for lot in first) == 30
    assert sum(lot.key[1] == "learns" for lot in first) == start_of(2)
    order.give_back([first[0].key])
    assert order.take() == first[0]
    order.missed(first[0].key)
    for lot in first[1:]:
        order.made(row(lot.key))
    more = taken(order)
    assert [lot.key[0] for lot in more] == [f"p{number}" for number in range(start_of(2), start_of(4))]
    assert more[0].start.known.times("answer", "", "ann") == known_to(2) - 1
    for lot in more:
        order.made(row(lot.key))
    assert len(taken(order)) == 30 - start_of(4)
    assert (order.waiting, order.take()) == (0, None)


async def test_a_solver_of_the_old_kind_is_asked_as_before(
    tmp_path: Path, make_task: Callable[..., Task], right: str
) -> None:
    class Own:
        name, repeats = "own", True

        async def solve(self, problem: Any, seed: int) -> Answer:
            agents = {"ann": ScriptedAgent("ann", lambda _: right)}
            tools = Tools(agents=agents, team=("ann",), executor=executor, search=SearchConfig())
            return await create_solver(Spec.parse("best-of:1"), tools).solve(problem, seed)

    executor = ScriptedExecutor(lambda job: 1.0)
    with Results(tmp_path / "out", {"eval": {}}, {}) as results:
        report = await evaluate(EvalConfig(), [make_task()], [Own()], executor, results)
    assert report.made == 1
