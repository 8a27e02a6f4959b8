"""A row tells of the program that was handed over, whatever the solver did before and after."""

import asyncio
import json
from collections.abc import Callable, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bdc_agents.agents.protocol import Reply, Request
from bdc_agents.config import PRESETS, Budget, SearchConfig
from bdc_agents.evaluate.results import Row
from bdc_agents.evaluate.run import Job, Unanswered, make
from bdc_agents.evaluate.solvers.protocol import Answer, Candidate, Solver, Spent
from bdc_agents.evaluate.solvers.registry import Spec, Tools, create_solver
from bdc_agents.sandbox.protocol import Job as Run
from bdc_agents.testing import ScriptedAgent, ScriptedExecutor
from bdc_agents.types import CallTest, HiddenTests, Problem, Task

SOLVERS = (
    "single:ann",
    "best-of:1",
    "best-of:6",
    "best-of:6,agents=bob",
    "repair:4",
    "search",
    *(f"search:{preset},rollouts=4" for preset in PRESETS),
    "search,rollouts=6,leaves=3,programs_per_agent=2,bandit=none",
    "search,rollouts=6,confirm=1,expand=eager,resample=0",
    "search,rollouts=5,stop_when_solved=false,merge=true,judge=true",
)
PUBLIC, HIDDEN = 4, 2
"""How many tests."""


def calls_of_f(first: int, count: int) -> tuple[CallTest, ...]:
    return tuple(CallTest(call=f"f({n})", expected=(f"{n}",)) for n in range(first, first + count))


TASK = Task(
    problem=Problem(id="p", statement="Say f.", entry_point="f", public_tests=calls_of_f(0, PUBLIC)),
    hidden=HiddenTests(calls_of_f(100, HIDDEN)),
)


def number_in(code: str) -> int:
    return int(code.rpartition("return ")[2])


class World:
    """Programs by number; how many tests of each kind they pass; and agents that write them in turn.

    Args:
        written: Which program each agent writes, call by call; -1 is a reply without one.
        passes: By number of the program: public and hidden tests that pass.
    """

    def __init__(self, written: dict[str, list[int]], passes: Sequence[tuple[int, int]]) -> None:
        self.passes = passes
        self._left = {name: [*numbers] for name, numbers in written.items()}
        self.agents = [ScriptedAgent(name, self._respond(name)) for name in written]
        self.executor = ScriptedExecutor(self._reward)

    def _respond(self, name: str) -> Callable[[Request], str]:
        def respond(request: Request) -> str:
            left = self._left[name]
            number = left.pop(0) if len(left) > 1 else left[0]
            if request.json_schema:
                return json.dumps({"thoughts": [{"thought": f"step {number}, {len(left)}"}], "score": 0.5})
            return "no idea" if number < 0 else f"```python\ndef f(x):\n    return {number}\n```"

        return respond

    def _reward(self, run: Run) -> float:
        public, hidden = self.passes[number_in(run.code)]
        of_public = "f(0)" in str(run.tests)
        return public / PUBLIC if of_public else hidden / HIDDEN

    def solved(self, code: str) -> bool:
        return bool(code) and self.passes[number_in(code)] == (PUBLIC, HIDDEN)

    def tools(self, budget: Budget | None = None) -> Tools:
        return Tools(
            agents={agent.name: agent for agent in self.agents},
            team=tuple(agent.name for agent in self.agents),
            executor=self.executor,
            search=SearchConfig(rollouts=4, width=2),
            budget=budget or Budget(),
        )


def row_of(world: World, solver: Solver) -> Row:
    made = asyncio.run(make(Job(task=TASK, solver=solver, sample=0), 7, world.executor))
    assert not isinstance(made, Unanswered)
    return made[0]


# Few programs, most of which pass the public tests: leaders that change are common, and come back.
numbers = st.lists(st.sampled_from((0, 1, 0, 1, 2, -1)), min_size=3, max_size=10)
counts = st.tuples(st.sampled_from((PUBLIC, PUBLIC, 2)), st.sampled_from((0, HIDDEN)))
worlds = st.builds(
    World,
    st.fixed_dictionaries({"ann": numbers, "bob": numbers}),
    st.lists(counts, min_size=3, max_size=3),
)


@pytest.mark.parametrize("text", SOLVERS)
@settings(max_examples=30, deadline=None)
@given(world=worlds, calls=st.none() | st.integers(1, 8))
def test_the_hidden_score_is_that_of_the_program_that_was_handed_over(
    text: str, world: World, calls: int | None
) -> None:
    row = row_of(world, create_solver(Spec.parse(text), world.tools(Budget(calls=calls))))
    assert row.solved == world.solved(row.code)
    assert (row.points[-1].solved if row.points else False) == row.solved
    if row.code:
        assert row.points
        assert row.hidden is not None
        assert (row.public.passed, row.hidden.passed) == world.passes[number_in(row.code)]
    for earlier, later in zip(row.points, row.points[1:], strict=False):
        assert (earlier.calls, earlier.tokens, earlier.seconds) <= (later.calls, later.tokens, later.seconds)
        assert earlier.calls <= later.calls <= row.used.calls


def test_a_leader_that_comes_back_keeps_its_own_score() -> None:
    """The best of five: A, then B with more votes, then A again."""
    world = World({"ann": [0, 1, 1, 0, 0]}, [(PUBLIC, 0), (PUBLIC, HIDDEN)])
    row = row_of(world, create_solver(Spec.parse("best-of:5"), world.tools()))
    assert number_in(row.code) == 0
    assert [point.solved for point in row.points] == [False, True, False]
    assert not row.solved


class Foreign:
    """A solver of somebody else, whose candidates do not end with its solution."""

    name, repeats = "foreign", False

    def __init__(self, inner: Solver) -> None:
        self._inner = inner

    async def solve(self, problem: Problem, seed: int) -> Answer:
        answer = await self._inner.solve(problem, seed)
        other = next(
            key for key, found in answer.trace.programs.items() if found.code != answer.trace.solution.code
        )
        return answer.model_copy(update={"candidates": (Candidate(program=other, after=Spent(calls=1)),)})


def test_a_solver_that_forgets_its_solution_among_the_candidates_is_not_credited_with_another() -> None:
    world = World({"ann": [0, 1, 0]}, [(PUBLIC, 0), (PUBLIC, HIDDEN)])
    row = row_of(world, Foreign(create_solver(Spec.parse("best-of:3"), world.tools())))
    assert [(point.calls, point.solved) for point in row.points] == [(1, True), (3, False)]
    assert not row.solved


# --- what a program is charged for -----------------------------------------------------------


class Slow(ScriptedAgent):
    """An agent whose reply takes a while."""

    async def reply(self, request: Request) -> Reply:
        await asyncio.sleep(0.05)
        return await super().reply(request)


@pytest.mark.parametrize("text", ["best-of:2", "search,bandit=none,confirm=1"])
def test_every_solver_is_charged_in_the_order_in_which_it_asked(text: str) -> None:
    """The first agent asked is the slower one and the only one that is right."""
    world = World({"ann": [0], "bob": [1]}, [(PUBLIC, HIDDEN), (2, 0)])
    world.agents[0] = Slow("ann", world.agents[0].respond)
    row = row_of(world, create_solver(Spec.parse(text), world.tools()))
    (point,) = row.points
    assert (point.calls, point.solved) == (1, True)
    assert point.seconds >= 0.05
    assert row.used.calls == 2
