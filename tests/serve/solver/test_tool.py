"""The solver as a tool of other agents: LangChain's own suites, and what the calling model reads."""

from collections.abc import Callable

import pytest
from langchain_core.messages import ToolCall
from langchain_core.tools import BaseTool

from bdc_agents import create_executor
from bdc_agents.sandbox import Executor
from bdc_agents.serve import BDCSolver, RoutedModel, SolverAnswer, create_solver_tool

pytest.importorskip("langchain_tests")
from langchain_tests.integration_tests import ToolsIntegrationTests
from langchain_tests.unit_tests import ToolsUnitTests

from ...tool_suite import DOUBLE, RIGHT, Suite


@pytest.fixture(scope="module")
def executor() -> Executor:
    """The real sandbox; it ends with the process."""
    return create_executor()


@pytest.fixture
def make(scripted: Callable[..., RoutedModel], executor: Executor) -> Callable[[str], BaseTool]:
    def make(code: str = RIGHT) -> BaseTool:
        return create_solver_tool(BDCSolver(scripted(lambda _: f"```python\n{code}\n```"), executor=executor))

    return make


class TestUnit(Suite, ToolsUnitTests):
    pass


class TestIntegration(Suite, ToolsIntegrationTests):
    pass


async def test_the_answer_is_a_small_text_and_the_whole_as_artifact(make: Callable[..., BaseTool]) -> None:
    tool = make()
    message = await tool.ainvoke(ToolCall(name=tool.name, args=DOUBLE, id="1", type="tool_call"))
    assert message.content.startswith("Solved: the program passes all tests (2). Written by the experts")
    assert RIGHT in message.content
    assert SolverAnswer.model_validate(message.artifact).solved


async def test_without_tests_the_program_is_not_run(make: Callable[..., BaseTool]) -> None:
    text = await make().ainvoke({"statement": "Write double(x)."})
    assert text.startswith("A program that was not run, since no test was given.")


async def test_a_failure_says_what_fails_and_why_nobody_searched(make: Callable[..., BaseTool]) -> None:
    text = await make("def double(x):\n    return x").ainvoke(DOUBLE)
    assert "passes 1 of 2 tests" in text
    assert "the solver does not search: it has no agents" in text
