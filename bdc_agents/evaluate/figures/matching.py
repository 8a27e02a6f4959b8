"""Compares solvers at equal compute: the same calls, tokens, seconds or dollars for a problem."""

from collections.abc import Callable, Iterable, Sequence
from math import floor, log10

from bdc_agents.evaluate.figures.groups import by_problem, difference
from bdc_agents.evaluate.figures.metrics import Difference, Interval, Timeline, mean_interval, reached
from bdc_agents.evaluate.results import Point, Row
from bdc_agents.types import Frozen

AXES: dict[str, Callable[[Point], float | None]] = {
    "calls": lambda point: point.calls,
    "tokens": lambda point: point.tokens,
    "seconds": lambda point: point.seconds,
    "dollars": lambda point: point.cost,
}
"""What compute is matched on."""

BUDGETS = 6
"""Most budgets in the table of matched compute, so that it fits on a page."""


class Match(Frozen):
    """The solve rates at one budget.

    Args:
        axis: The measure of compute, for one problem.
        budget: Amount of it.
        solved: Share of problems solved within the budget, by solver.
        differences: Differences from the first solver.
    """

    axis: str
    budget: float
    solved: dict[str, Interval]
    differences: dict[str, Difference] = {}


def timeline(row: Row, axis: str) -> Timeline | None:
    """A row's answers over the compute spent; None if that is not known."""
    points = [(AXES[axis](point), float(point.solved)) for point in row.points]
    known = [(spent, worth) for spent, worth in points if spent is not None]
    return known if len(known) == len(points) else None


def timelines(rows: Sequence[Row], axis: str) -> list[Timeline]:
    """The timelines of all rows; none if one of them is not known."""
    found = [timeline(row, axis) for row in rows]
    known = [one for one in found if one is not None]
    return known if len(known) == len(found) else []


def matched(rows: dict[str, list[Row]]) -> Iterable[Match]:
    """What the solvers reach with equal calls, tokens, seconds and dollars, where these are known.

    Args:
        rows: By solver; differences are against the first one.
    """
    for axis in AXES:
        known = {name: some for name, some in rows.items() if timelines(some, axis)}
        if axis == "dollars" and not any(row.used.cost for some in rows.values() for row in some):
            continue
        for budget in budgets([_total(row, axis) for some in known.values() for row in some]):
            yield _match(axis, budget, known)


def _match(axis: str, budget: float, rows: dict[str, list[Row]]) -> Match:
    def worth(row: Row) -> float:
        return reached(timeline(row, axis) or (), budget)

    first = next(iter(rows))
    differences = {
        name: found
        for name, some in rows.items()
        if name != first and (found := difference(some, rows[first], worth))
    }
    solved = {name: mean_interval([*by_problem(some, worth).values()]) for name, some in rows.items()}
    return Match(axis=axis, budget=budget, solved=solved, differences=differences)


def _total(row: Row, axis: str) -> float:
    """All compute of a row, also what it used after its last answer."""
    used = row.used
    whole = {"calls": used.calls, "tokens": used.tokens, "seconds": row.seconds, "dollars": used.cost or 0.0}
    return float(whole[axis])


def budgets(totals: Sequence[float]) -> list[float]:
    """Round budgets, in steps of 1, 2, 5, from what the cheapest rows took to what the dearest took."""
    positive = sorted(total for total in totals if total > 0)
    if not positive:
        return []
    # The 20th part of rows that are cheapest may be lucky exceptions, and would only add empty columns.
    low, high = positive[len(positive) // 20], positive[-1]
    powers = range(floor(log10(low)), floor(log10(high)) + 2)
    steps = [round(digit * 10.0**power, 12) for power in powers for digit in (1, 2, 5)]
    below = [step for step in steps if step < low]
    above = [step for step in steps if low <= step < high]
    last = min(step for step in steps if step >= high)
    # The round number below is a column of its own unless the next one is about as near.
    chosen = [*(below[-1:] if not above or above[0] > low * 1.5 else []), *above, last]
    while len(chosen) > BUDGETS:
        chosen = [*chosen[:-1:2], chosen[-1]]
    return chosen
