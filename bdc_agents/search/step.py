"""One step of one run: its settings, its agents, and what is left of its budget."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property
from time import monotonic
from typing import Any

from langgraph.runtime import Runtime

from bdc_agents.agents.protocol import Agent
from bdc_agents.config import Budget, SearchConfig
from bdc_agents.errors import ConfigError, unknown
from bdc_agents.search.bandit import Role, choose_agents
from bdc_agents.search.boost import boost_calls
from bdc_agents.search.budget import Want, afford, limits_calls, total
from bdc_agents.search.calls import Answer, Call, ask, failures, settle
from bdc_agents.search.expand import expand_calls
from bdc_agents.search.reflect import refine_call
from bdc_agents.search.select import leaves_at_once
from bdc_agents.search.state import Emit, Json, SearchContext, SearchState
from bdc_agents.types import Problem, Program, Tree
from bdc_agents.types.tree import lay

SearchRuntime = Runtime[SearchContext]


class Step:
    """What one step of the graph works with.

    Args:
        agents: All agents of the graph, by name.
        config, budget: The settings of the run.
        read_problem: Gives the problem for what the state holds of it.
        state: The state at the start of the step.
        runtime: Carries the run's context and the stream that events go to.
    """

    def __init__(
        self,
        agents: Mapping[str, Agent],
        config: SearchConfig,
        budget: Budget,
        read_problem: Callable[[Any], Problem],
        state: SearchState,
        runtime: SearchRuntime,
    ) -> None:
        self.began = monotonic()
        self.config, self.budget = config, budget
        self._read_problem = read_problem
        self.emit: Emit = runtime.stream_writer
        self.state = state
        self.programs: Mapping[str, Json] = state.get("programs", {})
        self.tree = Tree(state.get("tree"))
        taking_part = _named(agents, (runtime.context or {}).get("agents"))
        aside = state.get("set_aside", {})
        self.all_agents = taking_part
        self.agents = {name: agent for name, agent in taking_part.items() if name not in aside}

    @cached_property
    def problem(self) -> Problem:
        """The problem, which `start` has checked."""
        return self._read_problem(self.state.get("problem"))

    @cached_property
    def leaves(self) -> int:
        """How many leaves are evaluated at once."""
        return leaves_at_once(self.config, self.state.get("rollouts", 0))

    @property
    def deadline(self) -> float | None:
        """Reading of the monotonic clock after which no reply is waited for."""
        if self.budget.seconds is None:
            return None
        return self.began + self.budget.seconds - self.state.get("seconds", 0.0)

    @property
    def seconds(self) -> float:
        """Wall time of the search up to now."""
        return self.state.get("seconds", 0.0) + monotonic() - self.began

    def afford(self, wants: Sequence[Want], since: Sequence[Answer] = ()) -> tuple[list[Call], str | None]:
        """The calls that the rest of the budget can carry together.

        Args:
            wants: The most important first.
            since: Answers of this step, which the state does not count yet.
        """
        if not limits_calls(self.budget):
            return [want.call for want in wants], None
        used = total(self.state.get("usage", {})) + total(settle(since))
        return afford(wants, self.agents, used, self.budget)

    def programs_for(self, leaf: str, tree: Tree | None = None) -> list[Call]:
        """The calls for a leaf's programs."""
        return boost_calls(self.problem, tree or self.tree, leaf, self.choose(leaf), self.config)

    def choose(self, leaf: str, role: Role = "coder") -> list[str]:
        """The agents to ask at a node."""
        place, credit = (self.problem.id, leaf), self.state.get("credit", {})
        evaluations = self.tree[leaf].evaluations
        return choose_agents(
            list(self.agents), credit, place, self.config, role, evaluations, leaves=self.leaves
        )

    def calls(self, *purposes: str) -> list[Call]:
        """The calls of this round, of some purposes, that fit the budget.

        `expand` and `boost` run side by side; both compute the same plan from the same state, so
        that together they keep to it.
        """
        state = self.state
        lists = [state.get(name, []) for name in ("evaluating", "refining", "expanding")]
        if not limits_calls(self.budget):
            kinds = ("boost", "refine", "expand")
            lists = [leaves if kind in purposes else [] for kind, leaves in zip(kinds, lists, strict=True)]
        return [call for call in self.planned(*lists)[0] if call.purpose in purposes]

    def planned(
        self, evaluating: Sequence[str], refining: Sequence[str], expanding: Sequence[str]
    ) -> tuple[list[Call], str | None]:
        """The calls of a round that fit the budget, and the cap that left others out.

        A thought is asked for only where a program can still be written for it.

        Args:
            evaluating, refining, expanding: Leaves that need programs, a better thought, and
                children.
        """
        wants = [Want(call) for leaf in evaluating for call in self.programs_for(leaf)]
        wants += [want for leaf in refining for want in self._refinement(leaf)]
        alone = not wants
        for leaf in expanding:
            for call in self._thoughts_for(leaf):
                wants.append(Want(call, self._program(leaf) if alone else ()))
                alone = False
        return self.afford(wants)

    def affordable(
        self, evaluating: list[str], refining: Sequence[str], expanding: list[str]
    ) -> tuple[list[str], list[str], str | None]:
        """The leaves of a round that the budget has room for.

        Where it carries no thought with a program for it, it may carry one more direct answer.

        Args:
            evaluating, refining, expanding: See `planned`.

        Returns:
            Leaves to evaluate and to expand, and the cap that ends the search where there is room for none.
        """
        if not limits_calls(self.budget):
            return evaluating, expanding, None
        rounds = [(evaluating, expanding)]
        if self.config.resample and self.tree["0"].value is not None:
            rounds.append((["0"], []))
        cut = None
        for evaluated, expanded in rounds:
            planned, cut = self.planned(evaluated, refining, expanded)
            if planned or not cut:
                return evaluated, expanded, None
        return [], [], cut

    def _refinement(self, leaf: str) -> list[Want]:
        agents = self.choose(leaf, "author")
        call = refine_call(self.problem, self.tree, leaf, self.programs, agents, self.config)
        return [Want(call, self._program(leaf))] if call else []

    def _program(self, leaf: str) -> tuple[Call, ...]:
        """One program for a leaf, as a measure of what one takes."""
        return tuple(self.programs_for(leaf)[:1])

    def _thoughts_for(self, leaf: str) -> list[Call]:
        agents = self.choose(leaf, "author")
        return expand_calls(self.problem, self.tree, leaf, self.programs, agents, self.config)

    def known(self, keys: Iterable[str], fresh: Mapping[str, Program]) -> dict[str, Program]:
        """Programs by key, whether they are of this step or of an earlier one."""
        return {key: fresh.get(key) or Program.model_validate(self.programs[key]) for key in keys}

    async def ask(self, calls: Sequence[Call]) -> list[Answer]:
        """Makes the calls and tells of agents that failed."""
        answers = await ask(calls, self.agents, self.deadline, self.emit)
        for agent, reason in failures(answers).items():
            self.emit({"type": "set_aside", "agent": agent, "reason": reason})
        return answers

    def grown(self, tree: Tree) -> dict[str, Json]:
        """What changed of the tree; the nodes are told whole to whoever watches."""
        patches, stored = tree.patches(), self.state.get("tree", {})
        for key, patch in patches.items():
            self.emit({"type": "node", "node": lay(stored.get(key), patch)})
        return patches


def _named(agents: Mapping[str, Agent], names: Sequence[str] | None) -> dict[str, Agent]:
    for name in names or ():
        if name not in agents:
            raise ConfigError(unknown("agent", name, agents))
    return {name: agent for name, agent in agents.items() if not names or name in names}
