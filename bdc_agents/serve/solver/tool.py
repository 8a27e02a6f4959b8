"""The solver as a tool of other agents: a model states a problem, and gets a small text and the answer."""

from typing import Any

from langchain_core.tools import BaseTool

from bdc_agents.search.events import Emit
from bdc_agents.search.tool import problem_tool, told
from bdc_agents.serve.solver.answers import SolverAnswer
from bdc_agents.serve.solver.runnable import BDCSolver
from bdc_agents.types import Problem

SOLVER_TOOL = "write_program"
DESCRIPTION = (
    "Writes a Python program from a statement and, given tests, runs it on them and says whether it passes. "
    "Quick: use it for a self-contained function, class or program, and give tests where you know any."
)


def create_solver_tool(
    solver: BDCSolver, *, name: str = SOLVER_TOOL, description: str = DESCRIPTION
) -> BaseTool:
    """The solver as a LangChain tool, for `create_agent` and every client of tools.

    As `create_search_tool`, but answered by a library of experts, and by the search only where they fail
    and the solver has agents. Without tests it returns a program that was not run. The message's artifact
    is the `SolverAnswer` as plain data.

    Args:
        solver: Stays the caller's to close.
        name: What models call it.
        description: What models are told of it.
    """

    async def solve(problem: Problem, emit: Emit | None) -> tuple[str, dict[str, Any]]:
        del emit  # The solver's graph streams by itself.
        answer = await solver.ainvoke(problem)
        return told_of_answer(answer), answer.model_dump(mode="json")

    return problem_tool(solve, name, description)


def told_of_answer(answer: SolverAnswer) -> str:
    """The solver's answer in a few lines, for the model that asked for it."""
    calls = sum(used.calls for used in answer.usage.values())
    who = "the experts of a library" if answer.system == 1 else "a search of several agents"
    facts = [f"Written by {who}." if answer.code else "", f"Calls of models: {calls}."]
    return told(answer.code, answer.verdict, facts, [answer.note] if answer.note else [])
