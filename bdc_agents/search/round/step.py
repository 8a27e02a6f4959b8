"""One step of one run: its settings, its agents, and what is left of its budget."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property
from typing import Any

from langgraph.runtime import Runtime

from bdc_agents.agents.protocol import Agent
from bdc_agents.config import Budget, SearchConfig
from bdc_agents.errors import ConfigError, unknown
from bdc_agents.search.choice.split import Question, question, split_of
from bdc_agents.search.context import SearchContext
from bdc_agents.search.events import Emit
from bdc_agents.search.policy.bandit import Role, choose_agents
from bdc_agents.search.policy.beliefs import Beliefs, Outlook, Told
from bdc_agents.search.policy.select import leaves_at_once
from bdc_agents.search.round.budget import Account, caps_on_calls, is_free, rollouts_at_most, total
from bdc_agents.search.round.calls import Answer, Call, ask, records, rooms, settle
from bdc_agents.search.round.clock import Clock, is_late, now
from bdc_agents.search.round.plan import Plan, Side, Want, afford
from bdc_agents.search.round.set_aside import failing, set_aside
from bdc_agents.search.state import Json, SearchState
from bdc_agents.types import Problem, Program, Split, Tree, Usage
from bdc_agents.types.tree import apply_patch

SearchRuntime = Runtime[SearchContext]


class Step:
    """What one step of the graph works with.

    Args:
        agents: All agents of the graph, by name.
        config, budget: The settings of the run.
        read_problem: Gives the problem for what the state holds of it.
        state: The state at the start of the step.
        runtime: Carries the run's context and the stream that events go to.
        clock: Counts from the end of the step before.
        beliefs: What moves gave on problems before this one.
        side: Which of two steps it is that may run side by side.
    """

    def __init__(
        self,
        agents: Mapping[str, Agent],
        config: SearchConfig,
        budget: Budget,
        read_problem: Callable[[Any], Problem],
        state: SearchState,
        runtime: SearchRuntime,
        clock: Clock,
        beliefs: Beliefs,
        side: Side | None = None,
    ) -> None:
        self._clock = clock
        self.side: Side | None = side
        self.began = clock.began(state.get("seconds", 0.0))
        self.answers: list[Answer] = []
        self.config, self.budget, self._beliefs = config, budget, beliefs
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

    @cached_property
    def rollouts(self) -> int | None:
        """How many leaves are evaluated at most; None where the budget alone ends the search."""
        free = self.budget.money is not None and any(map(is_free, self.agents.values()))
        return rollouts_at_most(self.config, self.budget, free=free)

    @property
    def deadline(self) -> float | None:
        """Reading of the clock at which requests are cancelled and programs killed."""
        if self.budget.seconds is None:
            return None
        return self.began + self.budget.seconds - self.state.get("seconds", 0.0)

    @property
    def late(self) -> bool:
        """Whether the time is up."""
        return is_late(self.deadline)

    @property
    def seconds(self) -> float:
        """Wall time of the search up to now."""
        return self.state.get("seconds", 0.0) + now() - self.began

    def ended(self) -> float:
        """Wall time of the search at the end of this step, from which the next one counts."""
        seconds = self.seconds
        self._clock.ended(seconds)
        return seconds

    @cached_property
    def plan(self) -> Plan:
        """The plan of this round."""
        return Plan.model_validate(self.state.get("plan") or {})

    def outlook(self) -> Outlook:
        """What moves are likely to give in this search, now."""
        outlook = Outlook(self._beliefs, self.told, self.config.skills)
        # What was asked for in vain is asked for less, and nothing is learnt of it.
        for key, times in self.state.get("unanswered", {}).items():
            kind, before, agent = key.split("/", 2)
            for _ in range(times):
                outlook.see(Told(kind, agent, before, "error"))  # pyright: ignore[reportArgumentType]
        return outlook

    @cached_property
    def question(self) -> Question | None:
        """What an agent may be asked where passing programs differ; None where none do, or one was asked."""
        passing = self.state.get("passing", {})
        if not self.config.split or len(passing) < 2 or self.state.get("split"):
            return None
        return question(self.problem, self.known(passing, {}), passing)

    @property
    def split(self) -> Split | None:
        """What an agent answered to that; None before."""
        return split_of(self.state)

    @cached_property
    def told(self) -> Beliefs:
        """What moves gave in this search."""
        return Beliefs.model_validate(self.state.get("told") or {})

    @cached_property
    def made(self) -> dict[tuple[str, str], int]:
        """How often each agent has made each kind of move here, those that got no reply included."""
        found: dict[tuple[str, str], int] = {}
        asked = {key: sum(row) for key, row in self.told.counts.items()}
        for key, count in (*asked.items(), *self.state.get("unanswered", {}).items()):
            kind, _, agent = key.split("/", 2)
            found[kind, agent] = found.get((kind, agent), 0) + int(count)
        return found

    @property
    def used(self) -> Usage:
        """What earlier steps used, where there are caps on it."""
        return total(self.state.get("usage", {})) if caps_on_calls(self.budget) else Usage()

    @cached_property
    def account(self) -> Account:
        """What is left of the budget, of which a step that runs beside another has a share."""
        caps = caps_on_calls(self.budget)
        shared = self.plan.caps.get(self.side) if self.side else None
        return Account(shared or caps, self.used)

    def afford(self, calls: Sequence[Call]) -> list[Call]:
        """The calls, the most important first, that what is left can carry; they are reserved."""
        return afford([Want(call) for call in calls], self.agents, self.account)[0]

    def held(self, calls: Sequence[Call]) -> list[Call]:
        """Those of planned calls whose agents take part, with room reserved for each."""
        own = [call for call in calls if call.agent in self.agents]
        if self.account.limited:
            for call in own:
                self.account.hold(self._bound(call))
        return own

    def release(self, calls: Sequence[Call]) -> None:
        """Gives back what was held for calls that are not made."""
        if self.account.limited:
            for call in calls:
                self.account.settle(self._bound(call), Usage())

    def _bound(self, call: Call) -> Usage:
        return self.agents[call.agent].bound(call.request)

    def roomy(self, calls: Sequence[Call]) -> list[Call]:
        """The calls with as much room for the reply as their agents turned out to need."""
        rooms = self.state.get("room", {})
        return [call.with_room(rooms[call.agent]) if call.agent in rooms else call for call in calls]

    def choose(self, leaf: str, role: Role = "coder") -> list[str]:
        """The agents to ask at a node."""
        place, credit = (self.problem.id, leaf), self.state.get("credit", {})
        evaluations = self.tree[leaf].evaluations
        return choose_agents(
            list(self.agents), credit, place, self.config, role, evaluations, leaves=self.leaves
        )

    def known(self, keys: Iterable[str], fresh: Mapping[str, Program]) -> dict[str, Program]:
        """Programs by key, whether they are of this step or of an earlier one."""
        return {key: fresh.get(key) or Program.model_validate(self.programs[key]) for key in keys}

    async def ask(self, calls: Sequence[Call]) -> list[Answer]:
        """Makes calls that are reserved."""
        answers = await ask(calls, self.agents, self.deadline, self.emit, self.account)
        self.answers += answers
        return answers

    def settled(self, malformed: Sequence[Answer] = ()) -> Json:
        """What the calls of this step change: usage, and how their agents stand.

        Args:
            malformed: Answers whose reply could not be read.
        """
        rows = failing(self.answers, self.state.get("failing", {}))
        aside = set_aside(self.answers, rows)
        for agent, reason in aside.items():
            self.emit({"type": "set_aside", "agent": agent, "reason": reason})
        usage = settle(self.answers, malformed)
        calls = records(self.answers, self.state.get("calls", {}), malformed)
        return {
            "usage": usage,
            "failing": rows,
            "set_aside": aside,
            "room": rooms(self.answers),
            "calls": calls,
        }

    def grown(self, tree: Tree) -> dict[str, Json]:
        """What changed of the tree; the nodes are told whole to whoever watches."""
        patches, stored = tree.patches(), self.state.get("tree", {})
        for key, patch in patches.items():
            self.emit({"type": "node", "node": apply_patch(stored.get(key), patch)})
        return patches


def _named(agents: Mapping[str, Agent], names: Sequence[str] | None) -> dict[str, Agent]:
    for name in names or ():
        if name not in agents:
            raise ConfigError(unknown("agent", name, agents))
    return {name: agent for name, agent in agents.items() if not names or name in names}
