"""When a search that found a program ends, and which of several it hands over."""

from collections.abc import Callable

from bdc_agents.agents.protocol import Request
from bdc_agents.config import SearchConfig
from bdc_agents.sandbox import create_executor
from bdc_agents.search import asolve
from bdc_agents.testing import ScriptedAgent, ScriptedExecutor
from bdc_agents.types import CallTest, Problem

MakeAgent = Callable[..., ScriptedAgent]


async def test_a_program_that_passes_is_confirmed_by_one_that_does_the_same(
    make_agent: MakeAgent, problem: Problem
) -> None:
    programs = iter(["return x + x", "return 2 * x", "return x + 1"])

    def respond(_: Request) -> str:
        return f"```python\ndef double(x):\n    {next(programs)}\n```"

    agent = make_agent("ann", respond)
    trace = await asolve(problem, [agent], executor=ScriptedExecutor(lambda job: 1.0))
    assert (trace.solution.stopped_by, len(agent.requests)) == ("solved", 2)
    assert len({request.seed for request in agent.requests}) == 2
    quick = make_agent("ann")
    search = SearchConfig(confirm=1)
    trace = await asolve(problem, [quick], executor=ScriptedExecutor(lambda job: 1.0), search=search)
    assert (trace.solution.stopped_by, len(quick.requests)) == ("solved", 1)


async def test_the_program_that_most_agree_with_is_handed_over(make_agent: MakeAgent) -> None:
    bodies = {"ann": "abs(x)", "bob": "x", "cat": "x if x > 0 else -x", "dan": "3", "eve": "max(x, -x)"}

    def agent(name: str) -> ScriptedAgent:
        return make_agent(name, lambda _: f"```python\ndef size(x):\n    return {bodies[name]}\n```")

    test = CallTest(call="size(3)", expected=("3",))
    problem = Problem(id="size", statement="The absolute value.", entry_point="size", public_tests=(test,))
    executor = create_executor()
    try:
        trace = await asolve(problem, [agent(name) for name in bodies], executor=executor)
    finally:
        await executor.aclose()
    assert trace.solution.agent == "ann"
    assert trace.solution.stopped_by == "solved"


async def test_where_agreement_does_not_tell_the_more_skilled_agents_program_is_handed_over(
    make_agent: MakeAgent, problem: Problem
) -> None:
    def agent(name: str, body: str) -> ScriptedAgent:
        return make_agent(name, lambda _: f"```python\ndef double(x):\n    return {body}\n```")

    pair = [agent("ann", "x + x"), agent("bob", "2 * x")]
    executor = ScriptedExecutor(lambda job: 1.0)
    for skills, chosen in (({}, "ann"), ({"bob": 0.6}, "bob"), ({"ann": 0.4, "bob": 0.3}, "ann")):
        search = SearchConfig(skills=skills)
        trace = await asolve(problem, pair, executor=executor, search=search)
        assert trace.solution.agent == chosen


async def test_of_equal_programs_the_one_written_most_often_is_handed_over(
    make_agent: MakeAgent, problem: Problem
) -> None:
    def writes(body: str) -> Callable[[Request], str]:
        return lambda _: f"```python\ndef double(x):\n    return {body}\n```"

    agents = [make_agent(name, writes(body)) for name, body in (("a", "4"), ("b", "x * 2"), ("c", "x*2"))]
    trace = await asolve(problem, agents, executor=ScriptedExecutor(lambda job: 1.0))
    assert "x * 2" in trace.solution.code
    assert trace.solution.agent == "b"
