"""Evaluates on all nodes of a Ray cluster; the driver owns the results.

Each node has its own agents, its own sandbox and its own copy of the data: neither hidden tests nor
keys travel. If a node is lost, another one makes its row, with the replies that the driver has kept.
"""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Never

from bdc_agents.agents.protocol import Request
from bdc_agents.config import Settings
from bdc_agents.errors import BDCError, ConfigError, ProblemError
from bdc_agents.evaluate.config import EvalConfig
from bdc_agents.evaluate.ledger import CALLED, Ledger, OnRow
from bdc_agents.evaluate.order import Order
from bdc_agents.evaluate.remembered import remembering
from bdc_agents.evaluate.results import Key, Results
from bdc_agents.evaluate.run import (
    FAILURES_ALLOWED,
    Job,
    Report,
    Unanswered,
    jobs,
    learning,
    make,
    problems_hash,
    shared,
)
from bdc_agents.evaluate.setup import build_solvers, choose_tasks, specs
from bdc_agents.evaluate.solvers.protocol import Solver
from bdc_agents.runs.ray.cluster import RayCluster
from bdc_agents.runs.ray.connect import connected
from bdc_agents.runs.ray.desk import Line
from bdc_agents.runs.ray.node import (
    NodePlan,
    NodeWorker,
    common_plan,
    data_here,
    without_data,
)
from bdc_agents.runs.ray.spread import Spread
from bdc_agents.sandbox import Executor, create_executor, protocol
from bdc_agents.types import Task

IDLE_SECONDS = 0.5
"""Pause between two questions for rows while other nodes make the last ones; a row takes seconds. Chosen, not
measured."""

# --- in the driver --------------------------------------------------------------------------------


class EvalPlan(NodePlan):
    """The plan of an evaluation, as nodes get it.

    Args:
        config: The configuration of the evaluation.
        team: Agents of a solver that names none.
        problems: `problems_hash` of the driver's problems.
    """

    config: EvalConfig
    team: tuple[str, ...]
    problems: str


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
    """Makes every missing row on the nodes of a Ray cluster; see `evaluate`.

    Args:
        config: The configuration; its concurrency holds for each node.
        settings: Settings of agents, search, budget and sandbox on each node.
        tasks: The problems, which every node must have too.
        team: Agents of a solver that names none.
        names: All agents that take part.
        results: The folder of the evaluation.
        address: See `connected`; None starts a Ray of one node.
        data: Folder of the data sets.
        on_row: Takes each row as it comes in.
        tell: Takes messages about nodes that are lost or cannot work.
        stop: Set it to end; finished rows are kept.

    Raises:
        ConfigError: If a key would have to travel, or no node can evaluate.
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
    """The plan for every node; arguments as for `evaluate_on_ray`."""
    common = common_plan(settings, names, data)
    return EvalPlan(**common, config=config, team=tuple(team), problems=problems_hash(tasks))


async def evaluate_on(
    cluster: RayCluster,
    plan: EvalPlan,
    tasks: Sequence[Task],
    results: Results,
    *,
    on_row: OnRow,
    tell: Callable[[str], None],
    stop: asyncio.Event,
) -> Report:
    """`evaluate_on_ray` on a cluster that this process is connected to."""
    solvers = solvers_elsewhere(plan)
    wanted = [job.key for job in jobs(plan.config, tasks, solvers)]
    pool = shared(plan.config, plan.settings.budget, solvers)
    ledger = Ledger(Order(wanted, results, learning(plan.config, solvers), pool), results, on_row)
    store = plan.settings.store
    await Spread(cluster, EvalNode, plan, ledger.side, CALLED, store=store, stop=stop, tell=tell).run()
    if ledger.error is not None:
        raise ledger.error
    return Report(
        wanted=len(wanted),
        made=ledger.made,
        unanswered=tuple(ledger.unanswered.values()),
        interrupted=stop.is_set() and ledger.open > 0,
    )


class _Elsewhere:
    """A stand-in for a node's agent or sandbox, to make solvers that are only named and never run."""

    tier = "elsewhere"

    def __init__(self, name: str = "") -> None:
        self.name = name

    def bound(self, request: Request) -> Never:
        raise NotImplementedError

    async def reply(self, request: Request) -> Never:
        raise NotImplementedError

    async def run(self, job: protocol.Job) -> Never:
        raise NotImplementedError

    async def aclose(self) -> None:
        return None


def solvers_elsewhere(plan: EvalPlan) -> list[Solver]:
    """The nodes' solvers here, checked and named but unable to solve.

    Raises:
        ConfigError: If an argument or an option cannot be used.
    """
    agents = {name: _Elsewhere(name) for name in plan.names}
    named = specs(plan.config)
    return build_solvers(plan.config, plan.settings, named, agents, plan.team, _Elsewhere())


# --- on a node ------------------------------------------------------------------------------------


class EvalNode(NodeWorker):
    """The Ray actor that evaluates on one node; arguments as for `NodeWorker`."""

    _at_work = 0
    _in_a_row = 0

    async def _run(self, plan: EvalPlan, driver: Line) -> None:
        tasks = await asyncio.to_thread(_tasks, plan, data_here(plan.data))
        async with AsyncExitStack() as stack:
            sandbox = self._executor or create_executor(plan.settings.sandbox)
            sandbox = remembering(sandbox, plan.config.pool)
            if self._executor is None:
                stack.push_async_callback(sandbox.aclose)
            agents = {agent.name: agent for agent in self._load_agents(plan, driver)}
            for agent in agents.values():
                stack.push_async_callback(agent.aclose)
            named = specs(plan.config)
            solvers = build_solvers(plan.config, plan.settings, named, agents, plan.team, sandbox)
            by_key = {job.key: job for job in jobs(plan.config, tasks, solvers)}
            await self._all(plan.config, driver, by_key, sandbox)

    async def _all(
        self, config: EvalConfig, driver: Line, by_key: dict[Key, Job], executor: Executor
    ) -> None:
        """Makes rows side by side until none is left.

        Raises:
            BDCError: If no agent answers any more, or the sandbox fails.
        """
        some = [self._some(config, driver, by_key, executor) for _ in range(config.concurrency)]
        tasks = [asyncio.create_task(one) for one in some]

        try:
            await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _some(
        self, config: EvalConfig, driver: Line, by_key: dict[Key, Job], executor: Executor
    ) -> None:
        """Makes one row after another."""
        while (lot := await driver.ask("lease")) is not None:
            if not lot:  # others hold all that may start
                await asyncio.sleep(IDLE_SECONDS)
                continue
            self._at_work += 1
            try:
                job = by_key[lot.key].model_copy(update={"start": lot.start})
                made = await make(job, config.seed, executor)
            finally:
                self._at_work -= 1
            if isinstance(made, Unanswered):
                await self._unanswered(made, driver)
                continue
            self._in_a_row = 0
            await asyncio.shield(driver.ask("done", *made))

    async def _unanswered(self, row: Unanswered, driver: Line) -> None:
        self._in_a_row += 1
        await driver.ask("unanswered", row)
        if self._in_a_row >= FAILURES_ALLOWED:
            raise BDCError(f"no agent answers any more: {row.reason}")

    def _running(self) -> int:
        return self._at_work


def _tasks(plan: EvalPlan, data: Path | None) -> list[Task]:
    """This node's problems.

    Raises:
        ConfigError: If they are missing, or not the driver's.
    """
    try:
        tasks = choose_tasks(plan.config, data)
    except ProblemError as error:
        raise without_data(error) from None
    if problems_hash(tasks) != plan.problems:
        raise ConfigError(
            f"its problems of {', '.join(plan.config.datasets)} are not those of the driver; put the same "
            "files there"
        )
    return tasks
