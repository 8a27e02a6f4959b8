"""Evaluating on a Ray node: makes the rows that the driver gives out, on this node's own data."""

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path

from bdc_agents.errors import BDCError, ConfigError, ProblemError
from bdc_agents.evaluate.choose import choose_tasks
from bdc_agents.evaluate.config import EvalConfig
from bdc_agents.evaluate.run import FAILURES_ALLOWED, Job, Key, Unanswered, jobs, make, problems_hash
from bdc_agents.evaluate.setup import build_solvers, specs
from bdc_agents.runs.ray_calls import NodePlan
from bdc_agents.runs.ray_node import NodeWorker, data_here, until_stopped, without_data
from bdc_agents.sandbox import Executor, create_executor
from bdc_agents.types import Task

IDLE_SECONDS = 0.5
"""Between two questions for rows while other nodes make the last ones."""


class EvalPlan(NodePlan):
    """What a node needs to evaluate.

    Args:
        config: Of the evaluation.
        team: Agents that take part where a solver names none.
        problems: `problems_hash` of the driver's problems.
    """

    config: EvalConfig
    team: tuple[str, ...]
    problems: str


class EvalNode(NodeWorker):
    """Evaluates on one node; the class of the Ray actor. Its arguments are those of `NodeWorker`."""

    _at_work = 0
    _in_a_row = 0

    async def _run(self, plan: EvalPlan) -> None:
        tasks = await asyncio.to_thread(_tasks, plan, data_here(plan.data))
        async with AsyncExitStack() as stack:
            sandbox = self._executor or create_executor(plan.settings.sandbox)
            if self._executor is None:
                stack.push_async_callback(sandbox.aclose)
            agents = {agent.name: agent for agent in self._kept_agents(plan)}
            for agent in agents.values():
                stack.push_async_callback(agent.aclose)
            named = specs(plan.config)
            solvers = build_solvers(plan.config, plan.settings, named, agents, plan.team, sandbox)
            by_key = {job.key: job for job in jobs(plan.config, tasks, solvers)}
            await self._all(plan.config, by_key, sandbox)

    async def _all(self, config: EvalConfig, by_key: dict[Key, Job], executor: Executor) -> None:
        """Makes rows side by side until none is left, or it shall stop.

        Raises:
            BDCError: If no agent answers any more, or the sandbox fails.
        """
        tasks = [asyncio.create_task(self._some(config, by_key, executor)) for _ in range(config.concurrency)]

        def end() -> None:
            for task in tasks:
                task.cancel()

        try:
            await until_stopped(asyncio.gather(*tasks), self._stopping, end)
        except asyncio.CancelledError:
            if not self._stopping.is_set():
                raise
        finally:
            end()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _some(self, config: EvalConfig, by_key: dict[Key, Job], executor: Executor) -> None:
        """Makes one row after another."""
        while (key := await self._outbox.ask("lease")) is not None:
            if not key:  # others hold all that is left
                await asyncio.sleep(IDLE_SECONDS)
                continue
            self._at_work += 1
            try:
                made = await make(by_key[key], config.seed, executor)
            finally:
                self._at_work -= 1
            if isinstance(made, Unanswered):
                await self._unanswered(made)
                continue
            self._in_a_row = 0
            await asyncio.shield(self._outbox.ask("done", *made))

    async def _unanswered(self, row: Unanswered) -> None:
        self._in_a_row += 1
        await self._outbox.ask("unanswered", row)
        if self._in_a_row >= FAILURES_ALLOWED:
            raise BDCError(f"no agent answers any more: {row.reason}")

    def _running(self) -> int:
        return self._at_work


def _tasks(plan: EvalPlan, data: Path | None) -> list[Task]:
    """This node's problems, which must be the driver's.

    Raises:
        ConfigError: If they are not there, or others.
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
