"""Groups rows by solver and by problem, and compares two solvers on the problems that both have rows of."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from statistics import fmean

from bdc_agents.evaluate.figures.metrics import Difference, paired
from bdc_agents.evaluate.results import Row, read_record, read_rows


def by_solver(rows: Iterable[Row], solvers: Sequence[str]) -> dict[str, list[Row]]:
    """The rows of each solver that has any."""
    found = {name: list[Row]() for name in solvers}
    for row in rows:
        found.setdefault(row.solver, []).append(row)
    return {name: some for name, some in found.items() if some}


def rows_by_solver(folder: Path) -> dict[str, list[Row]]:
    """The rows of an evaluation, by solver in the order of its configuration.

    Raises:
        UsageError: If the folder holds no evaluation.
    """
    return by_solver(read_rows(folder), read_record(folder).config["eval"]["solvers"])


def by_problem(rows: Iterable[Row], value: Callable[[Row], float]) -> dict[str, float]:
    """The mean value of each problem's samples."""
    found: dict[str, list[float]] = defaultdict(list)
    for row in rows:
        found[row.problem].append(value(row))
    return {problem: fmean(values) for problem, values in found.items()}


def difference(
    first: Sequence[Row], second: Sequence[Row], value: Callable[[Row], float]
) -> Difference | None:
    """How much better the first solver did than the second, on the problems that both have rows of.

    Args:
        first, second: Rows of two solvers.
        value: Value of a row, from 0 to 1.

    Returns:
        The difference; None if no problem has rows of both.
    """
    mine, theirs = by_problem(first, value), by_problem(second, value)
    both = [problem for problem in mine if problem in theirs]
    if not both:
        return None
    return paired([mine[p] for p in both], [theirs[p] for p in both])
