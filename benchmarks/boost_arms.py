"""The arms of boost.py: what is compared, each a solver of `bdc eval` by its name there."""

from collections.abc import Sequence
from dataclasses import dataclass

from decks import Blind, Deck

from bdc_agents.agents import Agent
from bdc_agents.config import Budget, SearchConfig
from bdc_agents.evaluate import Solver
from bdc_agents.evaluate.solvers.registry import Spec, Tools, create_solver
from bdc_agents.sandbox import Executor

CALLS = 16
"""Calls that each arm may make for a problem."""


@dataclass(frozen=True)
class Arm:
    """One way to solve a problem.

    Args:
        solver: As `bdc eval` names it.
        searches: Whether the code of the search makes its rows, so that they are of one version of it.
        facts: Whether agents read what failed tests gave.
    """

    name: str
    solver: str
    searches: bool = True
    facts: bool = True

    def solve(self, agents: Sequence[Agent], executor: Executor, search: SearchConfig) -> Solver:
        """A solver for one problem, whose draws of each prompt begin with the first."""
        deck = Deck if self.facts else Blind
        tools = Tools(
            agents={agent.name: deck(agent) for agent in agents},
            team=tuple(agent.name for agent in agents),
            executor=executor,
            search=search,
            budget=Budget(calls=CALLS),
        )
        return create_solver(Spec.parse(self.solver), tools)


BASELINES = (
    Arm("best of 16", f"best-of:{CALLS}", searches=False),
    Arm("best of 16, large", f"best-of:{CALLS},agents=large", searches=False),
    Arm("self-repair, large", f"repair:{CALLS - 1},agents=large", searches=False),
)
SEARCHES = (
    Arm("search", "search"),
    Arm("search, large", "search,agents=large"),
    # The settings of commit 86b69e0 are today's, but for the policy, which was this walk alone.
    Arm("old default", "search,policy=paper"),
    Arm("search without repair", "search,refine=false"),
    Arm("search without facts", "search", facts=False),
)
ARMS = {arm.name: arm for arm in (*BASELINES, *SEARCHES)}

POOLED = ("search, pooled", "self-repair, large, pooled")
"""Arms of the plan that wait for budgets of many problems; the report says that they are missing."""
