"""Evaluates on all nodes of a Ray cluster; the driver owns the results.

Each node has its own agents, its own sandbox and its own copy of the data: neither hidden tests nor
keys travel. A row that a lost node was making goes to another one, and takes the replies that the
lost node had already got, as the driver keeps them.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Never

from bdc_agents.agents.protocol import Request
from bdc_agents.config import Settings
from bdc_agents.evaluate.config import EvalConfig
from bdc_agents.evaluate.ray_node import EvalNode, EvalPlan
from bdc_agents.evaluate.results import Results, Row
from bdc_agents.evaluate.run import FAILURES_ALLOWED, Key, Report, Unanswered, jobs, problems_hash
from bdc_agents.evaluate.setup import build_solvers, specs
from bdc_agents.evaluate.solvers import Solver
from bdc_agents.runs.ray_cluster import Cluster, connected
from bdc_agents.runs.ray_engine import common_plan
from bdc_agents.runs.ray_session import Method
from bdc_agents.runs.ray_spread import Spread
from bdc_agents.sandbox.protocol import Job
from bdc_agents.types import Task, Trace

OnRow = Callable[[Row | Unanswered], None]


async def evaluate_on_ray(
    config: EvalConfig,
    settings: Settings,
    tasks: Sequence[Task],
    team: Sequence[str],
    names: Sequence[str],
    results: Results,
    *,
    address: str | None = None,
    data: Path | None = None,
    on_row: OnRow = lambda _: None,
    tell: Callable[[str], None] = lambda _: None,
    stop: asyncio.Event | None = None,
) -> Report:
    """Makes every row that is not there yet, as `evaluate` does, on the nodes of a Ray cluster.

    Args:
        config: Of the evaluation; its concurrency is that of each node.
        settings: Of the agents, the search, the budget and the sandbox of each node.
        tasks: The problems, which every node must have too.
        team: Agents that take part where a solver names none.
        names: All agents that take part.
        results: The folder.
        address: As for `connected`; None starts a Ray of one node.
        data: Folder of the data sets.
        on_row: Told of each row as it comes in.
        tell: Told of nodes that are lost or cannot work.
        stop: Set it to end; what is finished is kept.

    Raises:
        ConfigError: If a key would have to travel, or no node can do it.
        BDCError: If no node can work any more, the cluster is gone, or the disk is full.
    """
    plan = plan_for(config, settings, tasks, team, names, data)
    ending = stop or asyncio.Event()
    async with connected(address) as cluster:
        return await evaluate_on(cluster, plan, tasks, results, on_row=on_row, tell=tell, stop=ending)


def plan_for(
    config: EvalConfig,
    settings: Settings,
    tasks: Sequence[Task],
    team: Sequence[str],
    names: Sequence[str],
    data: Path | None = None,
) -> EvalPlan:
    """What every node is told; arguments as for `evaluate_on_ray`."""
    common = common_plan(settings, names, data)
    return EvalPlan(**common, config=config, team=tuple(team), problems=problems_hash(tasks))


async def evaluate_on(
    cluster: Cluster,
    plan: EvalPlan,
    tasks: Sequence[Task],
    results: Results,
    *,
    on_row: OnRow,
    tell: Callable[[str], None],
    stop: asyncio.Event,
) -> Report:
    """As `evaluate_on_ray`, on a cluster that this process is connected to."""
    wanted = [job.key for job in jobs(plan.config, tasks, solvers_elsewhere(plan))]
    ledger = Ledger([key for key in wanted if key not in results.done], results, on_row)
    spread = Spread(cluster, EvalNode, plan, ledger.side, store=plan.settings.store, stop=stop, tell=tell)
    await spread.run()
    if ledger.error is not None:
        raise ledger.error
    return Report(
        wanted=len(wanted),
        made=ledger.made,
        unanswered=tuple(ledger.unanswered.values()),
        interrupted=stop.is_set() and ledger.open > 0,
    )


class Ledger:
    """The rows that are to be made: which are open, and what came of the others.

    Args:
        todo: The rows, in order.
        results: Where they are kept.
        on_row: Told of each.
    """

    def __init__(self, todo: Sequence[Key], results: Results, on_row: OnRow) -> None:
        self._todo = deque(todo)
        self._sides: list[LedgerSide] = []
        self._results = results
        self._on_row = on_row
        self.made = 0
        self.unanswered: dict[Key, Unanswered] = {}
        self.error: Exception | None = None
        """Why no row can be kept any more."""

    @property
    def open(self) -> int:
        """Rows that are not made yet, those that nodes hold included."""
        return len(self._todo) + sum(len(side.held) for side in self._sides)

    def side(self) -> "LedgerSide":
        """One node's part."""
        self._sides.append(LedgerSide(self))
        return self._sides[-1]

    def take(self) -> Key | tuple[()] | None:
        """The next row; an empty one where nodes hold all that is left, None where nothing is."""
        if self.error is not None or not self.open:
            return None
        if not self._todo:
            return ()
        key = self._todo.popleft()
        self.unanswered.pop(key, None)
        return key

    def keep(self, row: Row, trace: Trace) -> None:
        """Takes a row that was made.

        Raises:
            BDCError: If the disk is full or fails.
        """
        try:
            self._results.add(row, trace)
        except Exception as error:
            self.error = error
            raise
        self.made += 1
        self._on_row(row)

    def miss(self, row: Unanswered) -> None:
        """Takes that no agent answered for a row."""
        self.unanswered[row.key] = row
        self._on_row(row)

    def give_back(self, keys: Sequence[Key]) -> None:
        """Opens rows again, before all others."""
        self._todo.extendleft(reversed(keys))


class LedgerSide:
    """One node's part of the rows.

    Args:
        ledger: All of them.
    """

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._missed: list[Key] = []
        self.held: dict[Key, None] = {}
        self.methods: Mapping[str, Method] = {
            "lease": self.lease,
            "done": self.done,
            "unanswered": self.unanswered,
        }

    async def lease(self) -> Key | tuple[()] | None:
        """See `Ledger.take`."""
        if key := self._ledger.take():
            self.held[key] = None
        return key

    async def done(self, row: Row, trace: Trace) -> None:
        """Hands over a row."""
        self._ledger.keep(row, trace)
        self.held.pop(row.key, None)
        self._missed.clear()

    async def unanswered(self, row: Unanswered) -> None:
        """Says that no agent answered for a row."""
        self._ledger.miss(row)
        self.held.pop(row.key, None)
        self._missed.append(row.key)

    async def lost(self) -> None:
        """Gives back what the node holds; and what it missed, where its agents are gone."""
        missed = self._missed if len(self._missed) >= FAILURES_ALLOWED else []
        held, self.held = [*self.held], {}
        self._ledger.give_back([*held, *missed])


class _Elsewhere:
    """Stands for an agent or a sandbox of the nodes, where a solver is only named."""

    tier = "elsewhere"

    def __init__(self, name: str = "") -> None:
        self.name = name

    def bound(self, request: Request) -> Never:
        raise NotImplementedError

    async def reply(self, request: Request) -> Never:
        raise NotImplementedError

    async def run(self, job: Job) -> Never:
        raise NotImplementedError

    async def aclose(self) -> None:
        return None


def solvers_elsewhere(plan: EvalPlan) -> list[Solver]:
    """The solvers as the nodes have them: checked, with their names, and unable to solve.

    Raises:
        ConfigError: If an argument or an option cannot be used.
    """
    agents = {name: _Elsewhere(name) for name in plan.names}
    named = specs(plan.config)
    return build_solvers(plan.config, plan.settings, named, agents, plan.team, _Elsewhere())
