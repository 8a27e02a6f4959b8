"""The whole search with a real, small model, a real server and the real sandbox."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from langgraph.checkpoint.memory import InMemorySaver

from bdc_agents.agents import Agent, load_agents
from bdc_agents.chat import create_chat_graph
from bdc_agents.config import AgentConfig, Budget, SearchConfig, Settings, StoreConfig
from bdc_agents.data import problem_from_statement
from bdc_agents.errors import ModelError
from bdc_agents.sandbox import create_executor
from bdc_agents.search import asolve, extract_traces
from bdc_agents.types import Thought

pytestmark = pytest.mark.model
pytest.importorskip("xllamacpp", reason="the extra [local] is not installed")

PROBLEM = problem_from_statement(
    "Write a function add(a, b) that returns the sum of a and b.",
    ["assert add(1, 2) == 3", "assert add(-4, 4) == 0"],
)


@pytest.fixture
async def agents() -> AsyncIterator[list[Agent]]:
    """Two agents on one server of the smallest model, with different temperatures."""
    configs = {
        name: AgentConfig(model="local:smollm2-135m", max_tokens=200, temperature=temperature)
        for name, temperature in (("cool", 0.2), ("warm", 0.9))
    }
    team = load_agents(Settings(agents=configs, store=StoreConfig(cache=False)))
    try:
        await team[0].prepare()  # type: ignore[attr-defined]
    except ModelError as error:
        pytest.skip(f"the model cannot be had: {error}")
    yield team
    for agent in team:
        await agent.aclose()


async def test_two_agents_solve_an_easy_problem(agents: list[Agent]) -> None:
    executor = create_executor()
    trace = await asolve(PROBLEM, agents, executor=executor, budget=Budget(calls=30))
    await executor.aclose()
    solution = trace.solution
    assert solution.solved
    assert solution.tier == executor.tier
    assert "def add" in solution.code
    assert all(usage.tokens > 0 and usage.cost == 0 for usage in solution.usage.values())
    assert extract_traces(trace)


@pytest.mark.parametrize("move", ["write//", "repair/wrong/"])
async def test_thoughts_and_repairs_of_a_real_model_grow_the_tree(agents: list[Agent], move: str) -> None:
    """Thoughts come as JSON, and a repair is a diagnosis and a program: each where it is believed to help."""
    hard = PROBLEM.model_copy(
        update={"public_tests": problem_from_statement("x", ["assert add(1, 2) == 4"]).public_tests}
    )
    executor = create_executor()
    known = {"counts": {f"{move}{agent.name}": (0, 0, 0, 30) for agent in agents}}
    thoughts, kinds = list[Thought](), set[str]()
    for seed in range(
        8
    ):  # A model this small often repeats the program that it is to mend, which makes no node.
        search = SearchConfig(width=2, beliefs=known, seed=seed)
        trace = await asolve(hard, agents, executor=executor, budget=Budget(calls=8), search=search)
        thoughts += [node.thought for node in trace.nodes if node.thought]
        kinds |= {call.move.kind if call.move else call.purpose for call in trace.calls}
        if thoughts:
            break
    await executor.aclose()
    assert kinds & ({"expand"} if move == "write//" else {"repair"})
    assert thoughts
    assert all(thought.text.strip() and 0 <= thought.prior <= 1 for thought in thoughts)
    assert sum(usage.calls for usage in trace.solution.usage.values()) <= 10
    assert trace.solution.stopped_by in {"calls", "rollouts", "exhausted"}


async def test_a_conversation_with_a_real_model_solves_and_goes_on(agents: list[Agent]) -> None:
    executor = create_executor()
    graph = create_chat_graph(agents, executor=executor, budget=Budget(calls=30))
    app: Any = graph.compile(checkpointer=InMemorySaver())
    thread: Any = {"configurable": {"thread_id": "1"}}
    stated = "Write a function add(a, b) that returns the sum of a and b. add(1, 2) should be 3."
    await app.ainvoke({"messages": [("user", stated)]}, thread)
    state = await app.ainvoke({"messages": [("user", "also add(-4, 4) == 0")]}, thread)
    await executor.aclose()
    understood, reply = (message.content for message in state["messages"][-2:])
    assert "I add 1 test" in understood
    assert reply.startswith("**Solved**: `add` passes 2 of 2 tests.")
    assert "def add" in reply


async def test_a_real_model_proposes_tests_that_can_be_run_or_it_is_said(agents: list[Agent]) -> None:
    executor = create_executor()
    graph = create_chat_graph(agents, executor=executor, budget=Budget(calls=6))
    app: Any = graph.compile(checkpointer=InMemorySaver())
    thread: Any = {"configurable": {"thread_id": "1"}}
    asked = "Write a function add(a, b) that returns the sum of a and b."
    state = await app.ainvoke({"messages": [("user", asked)]}, thread)
    await executor.aclose()
    said = [message.content for message in state["messages"] if message.type == "ai"]
    assert "You gave no test. I ask cool and warm for some" in said[0]
    assert said[1].startswith(("Tests proposed by", "No agent proposed a test"))
