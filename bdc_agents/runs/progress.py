"""How far a run is, in numbers."""

from collections.abc import Mapping

from bdc_agents.runs.endpoints import Load
from bdc_agents.runs.jobs.table import Spent, Totals
from bdc_agents.types import Frozen

ENOUGH, RECENT = 3, 30
"""Finished problems before a time left is worth telling, and how many of the last ones count for it."""


class Progress(Frozen):
    """A run at a moment.

    Args:
        totals: Of the job table, over all processes and commands.
        spent: Of the run's budget, likewise.
        done_here: Problems finished since this command began.
        running: Searches under way in it.
        seconds: Since it began.
        seconds_each: For each of the last problems; None while there are too few.
        loads: Its endpoints, by agent.
        stopping: Whether it has been asked to end.
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
        """Seconds until the last problem at the rate of the last ones; None while it is not known."""
        if self.seconds_each is None or not self.totals.open:
            return None
        return self.totals.open * self.seconds_each

    @property
    def money(self) -> float | None:
        """US dollars of all done problems; None where no agent's price is known."""
        priced = any(load.usage.cost is not None for load in self.loads.values())
        return self.totals.money if priced or self.totals.money else None
