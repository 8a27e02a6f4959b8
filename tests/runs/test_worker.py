import asyncio
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import pytest

from bdc_agents.agents.protocol import Reply, Request
from bdc_agents.config import AgentConfig, Budget, SearchConfig, Settings
from bdc_agents.errors import AgentError, BDCError, SandboxRefused
from bdc_agents.runs.collect import worker as worker_module
from bdc_agents.runs.collect.endpoints import BudgetSpent, Load, MeteredAgent, metered, slots_of
from bdc_agents.runs.collect.worker import MOST_PER_SLOT, Worker, WorkerConfig
from bdc_agents.runs.jobs.table import Job
from bdc_agents.sandbox.protocol import Job as Run
from bdc_agents.testing import ScriptedAgent, ScriptedExecutor
from bdc_agents.types import CallTest, HiddenTests, Problem, Task, Trace, Usage

TEST = CallTest(call="f(1)", expected=("1",))
REQUEST = Request(messages=())


def task_of(address: str) -> Task:
    problem = Problem(id=address, statement=address, entry_point="f", public_tests=(TEST,))
    return Task(problem=problem, hidden=HiddenTests((TEST,)))


class Desk:
    """A coordinator that keeps everything in memory, as one over a network would."""

    def __init__(self, count: int = 6) -> None:
        self.waiting = [Job(id=f"p:{number}", dataset="p") for number in range(count)]
        self.held: dict[str, Job] = {}
        self.traces: dict[str, Trace] = {}
        self.reasons: dict[str, str] = {}
        self.taken_away: set[str] = set()
        self.beats = 0
        self.room: int | None = None

    async def lease(self, count: int) -> Sequence[Job] | None:
        jobs, self.waiting = self.waiting[:count], self.waiting[count:]
        self.held |= {job.id: job for job in jobs}
        return jobs or ([] if self.held else None)

    async def heartbeat(self, ids: Collection[str], loads: Mapping[str, Load]) -> Collection[str]:
        self.beats += 1
        return set(ids) - self.taken_away

    async def done(self, job_id: str, trace: Trace, state: str = "") -> None:
        del self.held[job_id]
        assert job_id not in self.traces
        self.traces[job_id] = trace

    async def failed(self, job_id: str, reason: str, *, final: bool = False) -> None:
        del self.held[job_id]
        self.reasons[job_id] = reason

    async def release(self, ids: Collection[str]) -> None:
        self.waiting += [self.held.pop(job_id) for job_id in ids if job_id in self.held]

    async def reserve(self, bound: Usage) -> str | None:
        if self.room is not None:
            self.room -= 1
        return "calls" if self.room is not None and self.room < 0 else None

    async def settle(self, bound: Usage, used: Usage) -> None:
        pass


class Held(ScriptedAgent):
    """An agent that answers when it is let go."""

    def __init__(self, name: str) -> None:
        super().__init__(name, lambda request: f"```python\nx = {request.seed}\n```")
        self.go = asyncio.Event()
        self.at_once = self.most = 0

    async def reply(self, request: Request) -> Reply:
        self.at_once += 1
        self.most = max(self.most, self.at_once)
        try:
            await self.go.wait()
            return await super().reply(request)
        finally:
            self.at_once -= 1


def make(desk: Desk, agents: Sequence[Any], executor: Any = None, slots: int = 2, **config: Any) -> Worker:
    endpoints = [MeteredAgent(agent, slots, desk) for agent in agents]
    settings = WorkerConfig(search=SearchConfig(rollouts=1, prune=False, refine=False), **config)
    return Worker(desk, endpoints, executor or ScriptedExecutor(lambda job: 1.0), settings, task_of)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110 - many things may make it true
            await asyncio.sleep(0.005)


def program(request: Request) -> str:
    return f"```python\nx = {request.seed}\n```"


@pytest.fixture
def pair() -> list[ScriptedAgent]:
    return [ScriptedAgent(name, program) for name in ("ann", "bob")]


async def test_a_worker_hands_back_every_problem_scored_and_decided(pair: list[ScriptedAgent]) -> None:
    desk = Desk()
    await make(desk, pair).run()
    assert len(desk.traces) == 6
    for trace in desk.traces.values():
        assert trace.decision is not None
        assert trace.decision.kept
        assert trace.lineage is not None
        assert trace.lineage.dataset == "p"


async def test_as_many_searches_are_open_as_the_endpoints_can_use() -> None:
    agents = [Held("ann"), Held("bob")]
    desk = Desk(40)
    worker = make(desk, agents, slots=4)
    running = asyncio.create_task(worker.run())
    await until(lambda: agents[0].at_once == agents[1].at_once == 4)
    await asyncio.sleep(0.3)
    assert worker.running == 5, "one request waits at each endpoint for a slot that gets free"
    for agent in agents:
        agent.go.set()
    await running
    assert len(desk.traces) == 40
    assert [agent.most for agent in agents] == [4, 4]


async def test_searches_in_their_sandbox_make_room_for_others(pair: list[ScriptedAgent]) -> None:
    class Stuck(ScriptedExecutor):
        go = asyncio.Event()

        async def run(self, job: Run) -> Any:
            await self.go.wait()
            return await super().run(job)

    desk = Desk(60)
    executor = Stuck(lambda job: 1.0)
    worker = make(desk, pair, executor)
    running = asyncio.create_task(worker.run())
    most = MOST_PER_SLOT * 2 * 2
    await until(lambda: worker.running == most)
    await asyncio.sleep(0.3)
    assert worker.running == most, "and not of any number"
    executor.go.set()
    await running
    assert len(desk.traces) == 60


async def test_a_given_concurrency_is_kept(pair: list[ScriptedAgent]) -> None:
    agent = Held("ann")
    worker = make(Desk(9), [agent], concurrency=3, slots=8)
    running = asyncio.create_task(worker.run())
    await until(lambda: agent.at_once == 3)
    await asyncio.sleep(0.2)
    assert worker.running == 3
    agent.go.set()
    await running


async def test_stopping_gives_the_running_problems_back() -> None:
    agent, desk = Held("ann"), Desk(9)
    worker = make(desk, [agent])
    running = asyncio.create_task(worker.run())
    await until(lambda: agent.at_once == 2)
    worker.stop()
    await running
    assert (len(desk.waiting), desk.held, desk.traces) == (9, {}, {})


async def test_a_search_whose_lease_is_somebody_elses_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker_module, "HEARTBEAT_SECONDS", 0.02)
    agent, desk = Held("ann"), Desk(2)
    worker = make(desk, [agent])
    running = asyncio.create_task(worker.run())
    await until(lambda: agent.at_once == 2)
    desk.taken_away.add("p:0")
    await until(lambda: worker.running == 1)
    desk.held.pop("p:0")
    agent.go.set()
    await running
    assert set(desk.traces) == {"p:1"}


async def test_a_heartbeat_that_fails_is_tried_again(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(worker_module, "HEARTBEAT_SECONDS", 0.02)

    class Shaky(Desk):
        async def heartbeat(self, ids: Collection[str], loads: Mapping[str, Load]) -> Collection[str]:
            self.beats += 1
            if self.beats == 1:
                raise BDCError("no connection")
            return set(ids)

    agent, desk = Held("ann"), Shaky(1)
    running = asyncio.create_task(make(desk, [agent]).run())
    await until(lambda: desk.beats >= 2)
    agent.go.set()
    await running
    assert set(desk.traces) == {"p:0"}
    assert "no connection" in caplog.text


async def test_the_runs_budget_ends_the_worker_and_gives_problems_back(pair: list[ScriptedAgent]) -> None:
    desk = Desk(9)
    desk.room = 7
    worker = make(desk, pair, concurrency=2)
    await worker.run()
    assert worker.cap == "calls"
    assert desk.held == {}
    assert len(desk.waiting) + len(desk.traces) == 9
    assert sum(len(agent.requests) for agent in pair) == 7


async def test_a_worker_waits_while_others_hold_the_rest(
    pair: list[ScriptedAgent], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker_module, "IDLE_SECONDS", 0.02)
    desk = Desk(1)
    desk.held["other"] = Job(id="other")
    running = asyncio.create_task(make(desk, pair).run())
    await until(lambda: "p:0" in desk.traces)
    await asyncio.sleep(0.1)
    assert not running.done()
    await desk.release(["other"])
    await running
    assert "other" in desk.traces


async def test_faults_are_told_with_their_problem(pair: list[ScriptedAgent]) -> None:
    def reward(job: Run) -> float:
        if job.group == "p:1":
            raise ValueError("surprise")
        return 1.0

    desk = Desk(3)
    await make(desk, pair, ScriptedExecutor(reward)).run()
    assert desk.reasons == {"p:1": "a fault of bdc itself: ValueError: surprise"}
    assert set(desk.traces) == {"p:0", "p:2"}


async def test_a_machine_without_isolation_ends_the_worker(pair: list[ScriptedAgent]) -> None:
    def reward(job: Run) -> float:
        raise SandboxRefused("no isolation here")

    desk = Desk(3)
    with pytest.raises(SandboxRefused):
        await make(desk, pair, ScriptedExecutor(reward)).run()
    assert (len(desk.waiting), desk.held) == (3, {})


async def test_a_trace_that_cannot_be_handed_over_ends_the_worker(pair: list[ScriptedAgent]) -> None:
    class Full(Desk):
        async def done(self, job_id: str, trace: Trace, state: str = "") -> None:
            raise BDCError("the disk is full")

    desk = Full(6)
    with pytest.raises(BDCError, match="the disk is full"):
        await make(desk, pair, concurrency=2).run()
    assert (len(desk.waiting), desk.held, desk.reasons) == (6, {}, {})


# --- endpoints --------------------------------------------------------------------------------------


async def test_an_endpoint_counts_what_is_in_flight_and_how_busy_it_was() -> None:
    now = [0.0]
    agent = Held("ann")
    endpoint = MeteredAgent(agent, 2, clock=lambda: now[0])
    now[0] = 100.0
    assert endpoint.load() == Load(slots=2)
    calls = [asyncio.create_task(endpoint.reply(REQUEST)) for _ in range(3)]
    await until(lambda: agent.at_once == 2)
    load = endpoint.load()
    assert (load.in_flight, load.waiting) == (2, 1)
    now[0] = 110.0
    agent.go.set()
    await asyncio.gather(*calls)
    now[0] = 120.0
    load = endpoint.load()
    assert (load.in_flight, load.busy, load.seconds, load.share) == (0, 20.0, 20.0, 0.5)
    assert load.usage.calls == 3
    both = load + load
    assert (both.slots, both.share) == (4, 0.5)


async def test_a_call_that_finds_no_room_in_the_budget_is_not_made() -> None:
    desk = Desk()
    desk.room = 0
    agent = ScriptedAgent("ann", program)
    with pytest.raises(BudgetSpent, match="calls"):
        await MeteredAgent(agent, 1, desk).reply(REQUEST)
    assert agent.requests == []


async def test_what_a_call_took_is_settled_however_it_ends() -> None:
    settled: list[tuple[int, int]] = []

    class Book(Desk):
        async def settle(self, bound: Usage, used: Usage) -> None:
            settled.append((used.calls, used.tokens))

    def fail(request: Request) -> str:
        raise AgentError("bob", "no", Usage(prompt_tokens=5, failed=2))

    def broken(request: Request) -> str:
        raise BDCError("no weights")

    desk, held = Book(), Held("cy")
    await MeteredAgent(ScriptedAgent("ann", program), 1, desk).reply(REQUEST)
    for respond in (fail, broken):
        with pytest.raises(BDCError):
            await MeteredAgent(ScriptedAgent("bob", respond), 1, desk).reply(REQUEST)
    call = asyncio.create_task(MeteredAgent(held, 1, desk).reply(REQUEST))
    await until(lambda: held.at_once == 1)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert settled[0][0] == 1
    assert settled[1:3] == [(1, 5), (0, 0)]
    assert settled[3] == (1, held.bound(REQUEST).tokens), "it may have been answered and charged"


def test_the_slots_are_those_of_the_settings() -> None:
    assert slots_of(AgentConfig(model="m", concurrency=5)) == 5
    assert slots_of(AgentConfig(model="local:x")) == 4
    assert slots_of(AgentConfig(model="local:x", options={"slots": 2})) == 2
    assert slots_of(AgentConfig(model="local:x", concurrency=1)) == 1
    agents = [ScriptedAgent(name, program) for name in ("one", "one-2", "other")]
    settings = Settings(agents={"one": AgentConfig(model="m", concurrency=3)}, budget=Budget())
    assert [each.slots for each in metered(agents, settings, ["one", "one"])] == [3, 3, 8]
