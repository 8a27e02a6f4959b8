"""How a search ends where a program passes: at once where no input is left to compare on, else confirmed."""

from collections.abc import Callable

import pytest

from bdc_agents.agents.protocol import Request
from bdc_agents.config import Budget, SearchConfig
from bdc_agents.sandbox import create_executor
from bdc_agents.search import asolve
from bdc_agents.testing import ScriptedAgent
from bdc_agents.types import CallTest, Problem, ScriptTest, TestCase

CODES = ("def f(*a):\n    return 6", "def f(*a):\n    return 2 + 4")


@pytest.mark.parametrize(
    ("test", "confirmed", "calls"),
    [
        (ScriptTest(code="assert f() == 6"), None, 1),
        (CallTest(call="f([1, 2, 3])", expected=("6",)), True, 3),
    ],
)
async def test_agreement_without_inputs_is_no_evidence(
    make_agent: Callable[..., ScriptedAgent], test: TestCase, confirmed: bool | None, calls: int
) -> None:
    agent = make_agent("ann", lambda request: f"```python\n{CODES[request.seed % 2]}\n```")
    problem = Problem(statement="Add up.", entry_point="f", public_tests=(test,))
    executor = create_executor()
    try:
        trace = await asolve(
            problem, [agent], executor=executor, search=SearchConfig(), budget=Budget(calls=12)
        )
    finally:
        await executor.aclose()
    solution = trace.solution
    assert solution.solved
    assert solution.stopped_by == "solved"
    assert solution.confirmed is confirmed
    assert any("agreement tells nothing" in note for note in solution.notes) == (confirmed is None)
    used = sum(usage.calls for usage in solution.usage.values())
    assert used == calls if confirmed is None else used >= 2


@pytest.mark.parametrize("kind", ["repair", "rethink"])
async def test_a_repair_is_confirmed_by_the_same_repair_of_another_agent(
    make_agent: Callable[..., ScriptedAgent], kind: str
) -> None:
    """Answers have failed before a program was repaired, and would go on to fail."""

    def respond(request: Request) -> str:
        told = "expected" in str(request.messages)
        return f"```python\ndef double(n):\n    return {'2 * n' if told else 'n + 2'}\n```"

    tests = tuple(CallTest(call=f"double({n})", expected=(str(2 * n),)) for n in (2, 3))
    problem = Problem(statement="Write double(n).", entry_point="double", public_tests=tests)
    # Nothing else is worth a call, so that the program is mended in this way and no other.
    sure = {f"{kind}/{before}/{name}": (0.0, 0.0, 0.0, 50.0) for before in ("wrong", "part") for name in "ab"}
    executor = create_executor()
    try:
        trace = await asolve(
            problem,
            [make_agent("a", respond), make_agent("b", respond)],
            executor=executor,
            search=SearchConfig(beliefs={"counts": sure}),
            budget=Budget(calls=12),
        )
    finally:
        await executor.aclose()
    assert trace.solution.confirmed
    (mended,) = (node for node in trace.nodes if node.kind)
    assert mended.kind == kind
    assert {attempt.agent for attempt in mended.attempts if attempt.reward >= 1} == {"a", "b"}
    assert sum(used.calls for used in trace.solution.usage.values()) <= 6
