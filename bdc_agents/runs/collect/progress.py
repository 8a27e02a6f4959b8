"""The progress of a run: counts, solve rate and time left."""

from collections.abc import Mapping, Sequence
from pathlib import PurePath

from bdc_agents.config import Budget
from bdc_agents.runs.collect.endpoints import Load
from bdc_agents.runs.jobs.table import Pooled, Spent, Totals
from bdc_agents.search.round.budget import caps_on_calls
from bdc_agents.types import Frozen

ENOUGH, RECENT = 3, 30
"""Finished problems before a time left is shown, and how many of the last ones it is estimated from: enough
to even out easy and hard problems, few enough to follow a change of speed. Chosen, not measured."""
SHOWN = 10
"""Problems of a pool that a message names: they fill a few lines."""


def amounts(caps: Mapping[str, float]) -> str:
    """Calls, tokens and money in words."""
    told = {"calls": "{:,.0f} calls", "tokens": "{:,.0f} tokens", "money": "${:.4g}"}
    return ", ".join(told[name].format(cap) for name, cap in caps.items())


def given(problem: str, budgets: Sequence[Budget], pool: Budget) -> str:
    """What a problem was given, round by round: `t3 8 → 13 → 15 calls`."""
    caps = [{name: getattr(one, name) for name in caps_on_calls(pool)} for one in budgets]
    steps = [amounts(one).removesuffix(" calls") for one in caps[:-1]]
    folder, colon, rest = problem.partition(":")
    return f"{PurePath(folder).name}{colon}{rest} {' → '.join([*steps, amounts(caps[-1])])}"


def round_line(pooled: Pooled) -> str:
    """Says who goes on with what the others left."""
    more = {problem: caps for problem, caps in pooled.budgets.items() if len(caps) == pooled.rounds}
    shown = [given(problem, caps[-2:], pooled.pool) for problem, caps in [*more.items()][:SHOWN]]
    rest = f" and {len(more) - SHOWN} more" if len(more) > SHOWN else ""
    return (
        f"round {pooled.rounds}: {amounts(pooled.left)} of the pool are left for "
        f"{len(more)} unsolved of {pooled.problems} problems: {'; '.join(shown)}{rest}"
    )


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
