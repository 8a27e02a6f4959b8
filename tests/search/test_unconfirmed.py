"""A search of a problem whose tests give no further input: it ends at once, and says what that means."""

from collections.abc import Callable

import pytest

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
