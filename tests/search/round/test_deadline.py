"""Seconds bound everything: requests are cancelled and programs killed, and what has a verdict is kept."""

import asyncio
from collections import Counter
from collections.abc import Callable

import pytest

from bdc_agents.agents.protocol import Reply, Request
from bdc_agents.config import Budget, SandboxConfig, SearchConfig
from bdc_agents.sandbox import create_executor
from bdc_agents.sandbox.protocol import Job
from bdc_agents.search import asolve
from bdc_agents.search.round.clock import PAUSE, Clock, now
from bdc_agents.testing import ScriptedAgent, run_simulated
from bdc_agents.types import Limits, Problem, TestResult, Trace, Verdict

RIGHT, WRONG = "return 2 * x", "return x"
FENCE = "`" * 3


def program(body: str) -> str:
    return f"{FENCE}python\ndef double(x):\n    {body}\n{FENCE}"


def writing(*bodies: str) -> ScriptedAgent:
    """An agent that writes these programs, one after another and the last one again and again."""
    left = [*bodies]

    def respond(request: Request) -> str:
        if request.json_schema is not None:
            return '{"thoughts": [{"thought": "think again", "reasonableness": 0.5}]}'
        return program(left.pop(0) if len(left) > 1 else left[0])

    return ScriptedAgent("ann", respond)


class Timed:
    """An executor whose programs take simulated seconds, by a word in their code."""

    tier = "simulated"

    def __init__(self, takes: dict[str, float]) -> None:
        self.takes, self.jobs, self.running = takes, list[Job](), Counter[str]()

    async def run(self, job: Job) -> Verdict:
        self.jobs.append(job)
        word = next(word for word in self.takes if word in job.code)
        self.running[word] += 1
        try:
            await asyncio.sleep(self.takes[word])
        finally:
            self.running[word] -= 1
        good = "2 * x" in job.code
        results = [TestResult(outcome="passed" if good else "wrong", actual="1") for _ in job.tests]
        return Verdict(results=tuple(results), tier=self.tier)

    async def aclose(self) -> None:
        """Nothing to end."""


def test_programs_are_killed_at_the_deadline_and_verdicts_are_kept(problem: Problem) -> None:
    executor = Timed({"2 * x": 1.0, "for_ever": 1e9})
    search = SearchConfig(programs_per_agent=2, stop_when_solved=False)

    async def run() -> tuple[Trace, float]:
        agent = writing(RIGHT, "return for_ever()")
        trace = await asolve(problem, [agent], executor=executor, search=search, budget=Budget(seconds=5))
        return trace, now()

    trace, seconds = run_simulated(run())
    assert 5 <= seconds < 5.1
    assert executor.running.total() == 0
    assert trace.solution.stopped_by == "seconds"
    assert trace.solution.solved
    assert trace.solution.seconds == pytest.approx(5, abs=0.1)
    unrun = [one for one in trace.programs.values() if one.verdict is None]
    assert ["for_ever" in one.code for one in unrun] == [True]
    assert trace.solution.notes == ("the time was up before 1 program had run to the end",)
    assert len(trace.nodes[0].attempts) == 1


def test_a_program_that_there_was_no_time_to_run_is_handed_over_rather_than_none(problem: Problem) -> None:
    executor = Timed({"2 * x": 1e9})
    trace = run_simulated(asolve(problem, [writing(RIGHT)], executor=executor, budget=Budget(seconds=5)))
    assert not trace.solution.solved
    assert "2 * x" in trace.solution.code
    assert trace.solution.node is None


def test_requests_are_cancelled_and_counted_at_the_most_they_can_have_taken(problem: Problem) -> None:
    class Hanging(ScriptedAgent):
        cancelled = 0

        async def reply(self, request: Request) -> Reply:
            self.requests.append(request)
            try:
                await asyncio.sleep(1e9)
            except asyncio.CancelledError:
                self.cancelled += 1
                raise
            raise AssertionError

    agent = Hanging("ann", str, price=0.5)
    trace = run_simulated(asolve(problem, [agent], executor=Timed({}), budget=Budget(seconds=5)))
    assert agent.cancelled == len(agent.requests) == 1
    bound = agent.bound(agent.requests[0])
    used = trace.solution.usage["ann"]
    assert (used.calls, used.failed, used.tokens, used.cost) == (1, 1, bound.tokens, 0.5)
    assert trace.solution.set_aside == {}


def test_further_inputs_run_only_where_they_may_confirm(problem: Problem) -> None:
    def compared(bodies: list[str], **changes: object) -> int:
        executor = Timed({"return": 0.1})
        search = SearchConfig(rollouts=len(bodies), resample=1.0, **changes)  # type: ignore[arg-type]
        run_simulated(asolve(problem, [writing(*bodies)], executor=executor, search=search))
        return sum(job.tests != problem.public_tests for job in executor.jobs)

    assert compared([RIGHT, WRONG]) == 0
    assert compared([RIGHT, RIGHT]) == 1
    assert compared([RIGHT, "return 2 * x + 0"]) == 2
    assert compared([RIGHT, RIGHT], confirm=1) == 0


def test_time_between_steps_counts_and_a_pause_does_not() -> None:
    async def run() -> list[float]:
        clock, began = Clock(), []
        clock.ended(1.5)
        for wait in (0.25, 2 * PAUSE):
            await asyncio.sleep(wait)
            began.append(now() - clock.began(1.5))
        return began

    assert run_simulated(run()) == [pytest.approx(0.25), 0.0]


@pytest.mark.parametrize("body", ["while True: pass", "import time; time.sleep(60)"])
async def test_real_programs_are_killed_in_time(
    body: str, problem: Problem, make_agent: Callable[..., ScriptedAgent]
) -> None:
    patient = problem.model_copy(update={"limits": Limits(cpu_seconds=60, wall_seconds=120)})
    executor, loop = create_executor(SandboxConfig(workers=1)), asyncio.get_running_loop()
    try:
        await asolve(problem, [writing(WRONG)], executor=executor, search=SearchConfig(rollouts=1))
        before = loop.time()
        trace = await asolve(patient, [writing(body)], executor=executor, budget=Budget(seconds=1))
        # Half a minute on a busy machine; nearly at once, and at most one second late, on an idle one.
        assert loop.time() - before < 30
        assert trace.solution.stopped_by == "seconds"
        assert all(one.verdict is None for one in trace.programs.values())
    finally:
        await executor.aclose()


@pytest.mark.parametrize("seconds", [0.1 + 0.2, 0.7, 1.1, 2.3])
def test_a_clock_that_stands_still_at_the_deadline_ends_the_search(seconds: float, problem: Problem) -> None:
    """Sums of seconds round: at the deadline itself they may say that a hair of time is left."""

    class Slow(ScriptedAgent):
        async def reply(self, request: Request) -> Reply:
            await asyncio.sleep(0.1)
            return await super().reply(request)

    for number in range(5):
        agent = Slow("ann", writing(WRONG).respond)
        executor = Timed({"return": 0.01 + number / 30})
        search = SearchConfig(leaves=1 + number)
        trace = run_simulated(
            asolve(problem, [agent], executor=executor, search=search, budget=Budget(seconds=seconds))
        )
        assert trace.solution.stopped_by in ("seconds", "exhausted")


class Slow(ScriptedAgent):
    """Takes simulated seconds for each reply."""

    def __init__(self, name: str, seconds: float) -> None:
        super().__init__(name, lambda _: program(WRONG))
        self.takes = seconds

    async def reply(self, request: Request) -> Reply:
        await asyncio.sleep(self.takes)
        return await super().reply(request)


def test_a_request_that_was_cut_off_is_told_as_that(problem: Problem) -> None:
    async def run() -> Trace:
        agents = [Slow("ann", 1), Slow("bob", 1e9)]
        return await asolve(problem, agents, executor=Timed({"return": 0.1}), budget=Budget(seconds=5))

    trace = run_simulated(run())
    assert trace.solution.stopped_by == "seconds"
    assert trace.solution.notes[0] == "bob: 1 request cut off when the time was up"
    assert not any("answered" in note for note in trace.solution.notes)
    assert {call.agent: call.error for call in trace.calls} == {"ann": "", "bob": "the time was up"}
