"""The progress of a run: counts, solve rate and time left."""

from collections.abc import Mapping

from bdc_agents.runs.endpoints import Load
from bdc_agents.runs.jobs.table import Spent, Totals
from bdc_agents.types import Frozen

ENOUGH, RECENT = 3, 30
"""Finished problems before a time left is shown, and how many of the last ones it is estimated from: enough
to even out easy and hard problems, few enough to follow a change of speed. Chosen, not measured."""


class Progress(Frozen):
    """A run at a moment.

    Args:
        totals: Totals of the job table, over all processes and commands.
        spent: Spending of the run, likewise.
        done_here: Problems finished since this command began.
        running: Searches of this command that are under way.
        seconds: Time since this command began.
        seconds_each: Mean seconds of the last problems; None while there are too few.
        loads: Load of each endpoint, by agent.
        stopping: Whether the run was asked to end.
    """

    totals: Totals
    spent: Spent
    done_here: int = 0
    running: int = 0
    seconds: float = 0.0
    seconds_each: float | None = None
    loads: Mapping[str, Load] = {}
    stopping: bool = False

    @property
    def solve_rate(self) -> float | None:
        """Share of the done problems that are solved; None before the first."""
        return self.totals.solved / self.totals.done if self.totals.done else None

    @property
    def seconds_left(self) -> float | None:
        """Seconds until all problems are done at the present rate; None while it is unknown."""
        if self.seconds_each is None or not self.totals.open:
            return None
        return self.totals.open * self.seconds_each

    @property
    def made(self) -> int:
        """Calls that this command has made, also those of searches that are under way or were given up."""
        return sum(load.made for load in self.loads.values())

    @property
    def money(self) -> float | None:
        """US dollars for all done problems; None where no agent's price is known."""
        priced = any(load.usage.cost is not None for load in self.loads.values())
        return self.totals.money if priced or self.totals.money else None
