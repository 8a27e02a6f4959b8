"""The solver: System 1 first, its own checks, System 2 where it must."""

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.tracers.run_collector import RunCollectorCallbackHandler
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import END, START, StateGraph
from typing_extensions import TypedDict

from bdc_agents import Budget, Problem, SearchConfig
from bdc_agents.data import load_task
from bdc_agents.distill.training.rows import training_rows
from bdc_agents.errors import BDCError, ConfigError, ProblemError
from bdc_agents.runs import read_traces
from bdc_agents.sandbox import Job
from bdc_agents.serve import (
    BDCSolver,
    ChatRequest,
    RoutedModel,
    SolverConfig,
    SolverEvent,
    create_solver_graph,
)
from bdc_agents.serve.backends.protocol import PromptTooLong
from bdc_agents.serve.solver.answers import problem_of
from bdc_agents.testing import ScriptedAgent, ScriptedExecutor, ScriptedModel

from ...event_types import check, types_of

DOUBLE = {"statement": "Write double(x), which returns twice x.", "tests": ["assert double(4) == 8"]}
RIGHT = "```python\ndef double(x):\n    return 2 * x\n```"
WRONG = "```python\ndef double(x):\n    return {} + x\n```"
Make = Callable[..., RoutedModel]


def pays(job: Job) -> float:
    return 1.0 if "2 * x" in job.code else 0.0


def always_wrong(request: ChatRequest) -> str:
    return WRONG.format(request.seed % 1000)


def answers(text: str) -> Callable[[Any], str]:
    return lambda _: text


@pytest.fixture
def executor() -> ScriptedExecutor:
    return ScriptedExecutor(pays)


@pytest.fixture
def agent() -> ScriptedAgent:
    return ScriptedAgent("big", answers(RIGHT))


async def test_system_1_answers_at_once(scripted: Make, executor: ScriptedExecutor) -> None:
    model = scripted(answers(RIGHT))
    answer = await BDCSolver(model, executor=executor).ainvoke(DOUBLE)
    assert (answer.system, answer.solved, answer.samples, answer.reward) == (1, True, 1, 1.0)
    assert "2 * x" in answer.code
    assert answer.experts == {"cluster-0": 0.39, "cluster-1": 0.61}
    assert answer.confidence == 0.5
    assert answer.usage["solver"].prompt_tokens == 7
    assert answer.verdict
    assert answer.tier == "scripted"
    (request,) = model.backend.requests  # pyright: ignore[reportAttributeAccessIssue]
    assert request.temperature == 0
    assert "Write double(x)" in request.messages[-1]["content"]


async def test_it_samples_again_with_other_seeds_and_the_same_experts(
    scripted: Make, executor: ScriptedExecutor
) -> None:
    model = scripted(lambda request: RIGHT if request.temperature else WRONG.format(0))
    answer = await BDCSolver(model, executor=executor, config=SolverConfig(samples=3)).ainvoke(DOUBLE)
    assert (answer.system, answer.solved, answer.samples) == (1, True, 3)
    asked: list[ChatRequest] = model.backend.requests  # pyright: ignore[reportAttributeAccessIssue]
    assert [request.temperature for request in asked] == [0, 0.7, 0.7]
    assert len({request.seed for request in asked}) == 3
    assert len({request.experts.experts["cluster-0"] for request in asked}) == 1


async def test_it_escalates_and_keeps_what_the_search_found(
    scripted: Make, executor: ScriptedExecutor, agent: ScriptedAgent, tmp_path: Path
) -> None:
    solver = BDCSolver(scripted(always_wrong), agents=[agent], executor=executor, traces=tmp_path / "found")
    answer = await solver.ainvoke(DOUBLE | {"id": "double"})
    assert (answer.system, answer.solved, answer.samples, answer.kept) == (2, True, 4, True)
    assert answer.usage.keys() == {"solver", "big"}
    assert answer.stopped_by == "solved"
    (trace,) = read_traces(tmp_path / "found")
    assert trace.problem.id == "double"
    assert trace.decision
    assert trace.decision.kept
    assert trace.lineage
    assert trace.lineage.models == {"big": "big"}
    assert training_rows([trace])


async def test_nothing_is_searched_without_agents_or_against_the_callers_will(
    scripted: Make, executor: ScriptedExecutor, agent: ScriptedAgent
) -> None:
    alone = await BDCSolver(scripted(always_wrong), executor=executor).ainvoke(DOUBLE)
    assert alone.solved is False
    assert "it has no agents" in alone.note
    solver = BDCSolver(scripted(always_wrong), agents=[agent], executor=executor)
    told = await solver.ainvoke(DOUBLE, escalate=False)
    assert (told.system, told.solved) == (1, False)
    assert "`escalate` is off" in told.note
    assert not agent.requests


async def test_a_problem_without_tests_gets_one_unchecked_program(
    scripted: Make, executor: ScriptedExecutor, agent: ScriptedAgent
) -> None:
    solver = BDCSolver(scripted(always_wrong), agents=[agent], executor=executor)
    answer = await solver.ainvoke("Write double(x), which returns twice x.")
    assert (answer.solved, answer.samples, answer.system) == (None, 1, 1)
    assert not executor.jobs
    assert not agent.requests
    model: Any = solver.model.backend
    assert "function `double`" in model.requests[0].messages[-1]["content"]


@pytest.mark.parametrize("calls", [1, 2, 3, 5])
async def test_both_systems_share_the_budget(scripted: Make, executor: ScriptedExecutor, calls: int) -> None:
    model = scripted(always_wrong)
    lazy = ScriptedAgent("big", answers("nothing"))
    solver = BDCSolver(model, agents=[lazy], executor=executor, budget=Budget(calls=calls))
    answer = await solver.ainvoke(DOUBLE)
    used = sum(usage.calls for usage in answer.usage.values())
    assert used == len(model.backend.requests) + len(lazy.requests)  # pyright: ignore
    assert used <= calls
    if calls <= 4:
        assert answer.note == "the budget is used up"


async def test_the_better_program_of_both_systems_is_handed_over(scripted: Make) -> None:
    problem = DOUBLE | {"tests": ["assert double(4) == 8", "assert double(0) == 0"]}
    executor = ScriptedExecutor(lambda job: 0.5 if "x + 4" in job.code else 0.0)
    half = scripted(answers("```python\ndef double(x):\n    return x + 4\n```"))
    worse = ScriptedAgent("big", answers(WRONG.format(7)))
    search = SearchConfig(rollouts=1)
    solver = BDCSolver(half, agents=[worse], executor=executor, search=search)
    answer = await solver.ainvoke(problem)
    assert (answer.system, answer.solved, answer.reward) == (1, False, 0.5)
    assert "x + 4" in answer.code
    assert answer.stopped_by == "rollouts"
    assert worse.requests


async def test_a_prompt_that_is_too_long_goes_to_the_search_or_is_refused(
    scripted: Make, executor: ScriptedExecutor, agent: ScriptedAgent
) -> None:
    def refuse(_: ChatRequest) -> str:
        raise PromptTooLong(2000, 1000)

    answer = await BDCSolver(scripted(refuse), agents=[agent], executor=executor).ainvoke(DOUBLE)
    assert (answer.system, answer.solved) == (2, True)
    assert "2000 tokens" in answer.note
    with pytest.raises(PromptTooLong):
        await BDCSolver(scripted(refuse), executor=executor).ainvoke(DOUBLE)


async def test_a_store_that_cannot_be_written_costs_no_answer(
    scripted: Make, executor: ScriptedExecutor, agent: ScriptedAgent, tmp_path: Path
) -> None:
    folder = tmp_path / "found"
    solver = BDCSolver(scripted(always_wrong), agents=[agent], executor=executor, traces=folder)
    (folder / "trace.jsonl").unlink()
    (folder / "trace.jsonl").mkdir()
    answer = await solver.ainvoke(DOUBLE)
    assert answer.solved
    assert not answer.kept
    assert "was not kept" in answer.note


# --- as a Runnable -----------------------------------------------------------------------------------


class Recorder(BaseCallbackHandler):
    def __init__(self) -> None:
        self.started: list[tuple[str, list[str]]] = []

    def on_chain_start(
        self,
        serialized: Any,
        inputs: Any,
        *,
        run_id: UUID,
        tags: list[str] | None = None,
        **kwargs: Any,
    ) -> None:
        self.started.append((kwargs.get("name") or "", tags or []))


def test_invoke_batch_stream_and_callbacks(scripted: Make, executor: ScriptedExecutor) -> None:
    solver = BDCSolver(scripted(answers(RIGHT)), executor=executor)
    recorder = Recorder()
    answer = solver.invoke(DOUBLE, {"callbacks": [recorder], "tags": ["mine"]})
    assert answer.solved
    names = [name for name, tags in recorder.started if "mine" in tags]
    assert names[0] == "BDCSolver"
    assert {"route", "answer", "check"} <= set(names)
    assert [found.solved for found in solver.batch([DOUBLE, DOUBLE])] == [True, True]
    (streamed,) = solver.stream(DOUBLE)
    assert streamed.code == answer.code
    assert [a.code for a in (solver | (lambda a: [a])).invoke(DOUBLE)] == [answer.code]


async def test_the_async_ways(scripted: Make, executor: ScriptedExecutor) -> None:
    solver = BDCSolver(scripted(answers(RIGHT)), executor=executor)
    assert [found.solved for found in await solver.abatch([DOUBLE] * 3)] == [True] * 3
    assert [found.solved async for found in solver.astream(DOUBLE)] == [True]
    with pytest.raises(ConfigError, match="unknown key of the context 'sample'; did you mean samples"):
        await solver.ainvoke(DOUBLE, sample=3)
    with pytest.raises(ConfigError) as caught:
        await solver.ainvoke(DOUBLE, samples=0, call=3, tokens=-1)
    told = str(caught.value).splitlines()
    assert [line.partition(":")[0] for line in told] == [
        "unknown key of the context 'call'; did you mean calls, escalate?",
        "context",
        "context",
    ]
    assert "samples" in told[1]
    assert "tokens" in told[2]


@pytest.mark.parametrize("sync", [False, True])
async def test_a_config_reaches_the_runs_of_the_search(
    sync: bool, scripted: Make, executor: ScriptedExecutor
) -> None:
    big = ScriptedModel(respond=answers(RIGHT))
    solver = BDCSolver(scripted(always_wrong), agents={"big": big}, executor=executor)
    collector = RunCollectorCallbackHandler()
    config: Any = {"callbacks": [collector], "tags": ["mine"], "metadata": {"k": 1}, "run_name": "ours"}
    if sync:
        await asyncio.to_thread(solver.invoke, DOUBLE, config)
    else:
        await solver.ainvoke(DOUBLE, config)
    (root,) = collector.traced_runs
    assert root.name == "ours"
    found, names = [root], list[str]()
    while found:
        run = found.pop()
        found += run.child_runs
        if run.run_type == "llm":
            names.append(run.name)
            assert {"mine", "agent:big"} <= {*run.tags}
            assert (run.extra or {})["metadata"]["k"] == 1
    assert names == ["big: boost"] * 2


async def test_in_a_node_of_another_app_with_a_checkpointer(
    scripted: Make, executor: ScriptedExecutor, agent: ScriptedAgent
) -> None:
    solver = BDCSolver(scripted(always_wrong), agents=[agent], executor=executor)

    class State(TypedDict, total=False):
        codes: list[str]

    async def solve(_: State) -> State:
        return {"codes": [answer.code for answer in await solver.abatch([DOUBLE, DOUBLE])]}

    app = StateGraph(State)
    app.add_node(solve)
    app.add_edge(START, "solve")
    app.add_edge("solve", END)
    saver = InMemorySaver()
    config: Any = {"configurable": {"thread_id": "1"}}
    state = await app.compile(checkpointer=saver).ainvoke({}, config)
    assert ["2 * x" in code for code in state["codes"]] == [True, True]
    assert {entry.config["configurable"]["checkpoint_ns"] for entry in saver.list(None)} == {""}


async def test_the_graph_tells_its_steps_and_is_embedded(
    scripted: Make, executor: ScriptedExecutor, agent: ScriptedAgent
) -> None:
    graph = create_solver_graph(scripted(always_wrong), agents=[agent], executor=executor)
    app: Any = graph.compile(checkpointer=InMemorySaver())
    config = {"configurable": {"thread_id": "1"}}
    told = [
        event
        async for event in app.astream(
            {"problem": DOUBLE}, config, context={"samples": 2}, stream_mode="custom"
        )
    ]
    assert check(told, SolverEvent) == {*types_of(SolverEvent)}
    kinds = [event["type"] for event in told]
    assert kinds[:3] == ["routed", "answered", "program"]
    assert kinds.count("answered") == 2
    assert kinds[-1] == "escalated"
    state = (await app.aget_state(config)).values
    assert state["answer"]["system"] == 2
    again = await app.ainvoke({"problem": DOUBLE}, config, context={"escalate": False, "samples": 1})
    assert (again["answer"]["system"], again["answer"]["samples"]) == (1, 1)


def test_the_real_sandbox_decides(scripted: Make) -> None:
    solver = BDCSolver(scripted(lambda r: RIGHT if r.temperature else WRONG.format(1)))
    answer = solver.invoke(DOUBLE)
    assert answer.solved
    assert answer.samples == 4
    assert answer.tier not in ("", "scripted")


# --- what it takes -----------------------------------------------------------------------------------


def test_every_form_of_a_problem() -> None:
    task = load_task("demo:longest-streak")
    assert (
        problem_of(task) == problem_of(task.problem) == problem_of(task.problem.model_dump()) == task.problem
    )
    named = problem_of("Implement `is_prime(n)`, which ...")
    assert named.entry_point == "is_prime"
    assert problem_of("Read two numbers and print their sum.").entry_point is None


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    )
)
def test_what_is_no_problem_is_refused_in_words(junk: Any) -> None:
    with pytest.raises(ProblemError):
        problem_of(junk)


@given(st.text(min_size=1).filter(str.strip))
def test_any_text_is_a_problem(text: str) -> None:
    assert isinstance(problem_of(text), Problem)


# --- with a real library ------------------------------------------------------------------------------


def test_a_real_library_end_to_end(tiny: RoutedModel, executor: ScriptedExecutor) -> None:
    solver = BDCSolver(tiny, executor=executor, config=SolverConfig(samples=2, max_tokens=20))
    answer = solver.invoke(DOUBLE)
    assert answer.solved is False
    assert answer.routed_by == "clusters"
    assert sum(answer.experts.values()) == pytest.approx(1, abs=1e-3)
    assert answer.usage["solver"].completion_tokens > 0
    assert solver.invoke(DOUBLE).experts == answer.experts


# --- what it makes, it frees --------------------------------------------------------------------------


class Counted(ScriptedExecutor):
    """A sandbox that is slow to be made, and knows whether it was closed."""

    made: list["Counted"] = []

    def __init__(self) -> None:
        super().__init__(pays)
        self.closed = False
        time.sleep(0.05)
        self.made.append(self)

    async def aclose(self) -> None:
        self.closed = True


@pytest.fixture
def sandboxes(monkeypatch: pytest.MonkeyPatch) -> list[Counted]:
    monkeypatch.setattr(Counted, "made", [])
    monkeypatch.setattr("bdc_agents.serve.solver.stages.create_executor", Counted)
    return Counted.made


async def test_problems_at_once_share_one_sandbox_which_the_solver_frees(
    scripted: Make, sandboxes: list[Counted], agent: ScriptedAgent
) -> None:
    solver = BDCSolver(scripted(always_wrong), agents=[agent], budget=Budget(calls=6))
    await asyncio.gather(*(solver.ainvoke(DOUBLE) for _ in range(6)))
    assert len(sandboxes) == 1
    await solver.aclose()
    assert sandboxes[0].closed
    assert solver.model.backend.closed  # pyright: ignore[reportAttributeAccessIssue]
    with pytest.raises(BDCError, match="this solver is closed; create another"):
        await solver.ainvoke(DOUBLE)
    assert len(sandboxes) == 1
    await solver.aclose()


def test_from_several_threads_there_is_one_sandbox_too(scripted: Make, sandboxes: list[Counted]) -> None:
    with BDCSolver(scripted(answers(RIGHT))) as solver, ThreadPoolExecutor(6) as pool:
        found = list(pool.map(lambda _: asyncio.run(solver.ainvoke(DOUBLE)), range(6)))
    assert all(answer.solved for answer in found)
    assert [one.closed for one in sandboxes] == [True]


async def test_what_it_was_given_is_not_freed(scripted: Make, sandboxes: list[Counted]) -> None:
    mine = Counted()
    solver = BDCSolver(scripted(answers(RIGHT)), executor=mine)
    await solver.ainvoke(DOUBLE)
    await solver.aclose()
    assert sandboxes == [mine]
    assert not mine.closed
