"""What `bdc eval` shows: progress while it runs, a table and the warnings at its end."""

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol, Self

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.progress import Progress as Bars
from rich.text import Text

from bdc_agents.cli.exits import note
from bdc_agents.evaluate.config import EvalConfig
from bdc_agents.evaluate.results import Key, Results, Row
from bdc_agents.evaluate.run import Unanswered, jobs
from bdc_agents.evaluate.solvers.protocol import Solver
from bdc_agents.types import Task
from bdc_agents.view.text import called, count, money, one_line


class Progress(Protocol):
    """Watches an evaluation: a context manager that is told of rows."""

    def on_row(self, row: Row | Unanswered) -> None:
        """Takes in a row that was made, or could not be."""
        ...

    def on_note(self, text: str) -> None:
        """What a person should know."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(self, *_: object) -> None: ...


def progress(
    config: EvalConfig,
    tasks: Sequence[Task],
    solvers: Sequence[Solver],
    results: Results,
    *,
    as_json: bool,
    quiet: bool,
) -> Progress:
    """Bars in a terminal, a line now and then anywhere else; where it is to be quiet, trouble alone."""
    tallies = {solver.name: Tally(wanted=0) for solver in solvers}
    for job in jobs(config, tasks, solvers):
        tallies[job.solver.name].wanted += 1
    for row in results.rows:
        if row.solver in tallies:
            tallies[row.solver].add(row)
    console = Console(stderr=True)
    if as_json and (quiet or not sys.stderr.isatty()):
        return LineProgress(tallies, tell=lambda _: None)
    if quiet:
        return LineProgress(tallies, rows=False)
    if not console.is_terminal or console.is_dumb_terminal:
        return LineProgress(tallies)
    return BarProgress(tallies, console)


@dataclass
class Tally:
    """What one solver has done so far.

    Args:
        wanted: Rows in all.
        kept: Those that are there; one that goes on with more of a pool replaces the one before.
    """

    wanted: int
    kept: dict[Key, Row] = field(default_factory=dict)

    def add(self, row: Row) -> None:
        """Takes in a row."""
        self.kept[row.key] = row

    @property
    def rows(self) -> int:
        """How many are there."""
        return len(self.kept)

    @property
    def solved(self) -> int:
        """How many of them are solved."""
        return sum(row.solved for row in self.kept.values())

    @property
    def tokens(self) -> int:
        """What they used."""
        return sum(row.used.tokens for row in self.kept.values())

    @property
    def cost(self) -> float:
        """US dollars that they cost."""
        return sum(row.used.cost or 0.0 for row in self.kept.values())

    def __str__(self) -> str:
        if not self.rows:
            return "-"
        paid = f", {money(self.cost)}" if self.cost else ""
        return f"{self.solved / self.rows:.0%} solved, {count(self.tokens)} tokens{paid}"


class BarProgress:
    """One bar for each solver, with its solve rate so far and what it used."""

    def __init__(self, tallies: dict[str, Tally], console: Console) -> None:
        self._tallies = tallies
        self._bars = Bars(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=30),
            MofNCompleteColumn(),
            TextColumn("{task.fields[told]}", markup=False),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=console,
        )
        self._tasks: dict[str, TaskID] = {
            name: self._bars.add_task(
                one_line(called(name, tallies), 30), total=one.wanted, completed=one.rows, told=str(one)
            )
            for name, one in tallies.items()
        }

    def on_row(self, row: Row | Unanswered) -> None:
        """Moves the solver's bar."""
        if isinstance(row, Unanswered):
            self._bars.console.print(Text(_lost(row), "yellow"))
            return
        tally = self._tallies[row.solver]
        tally.add(row)
        self._bars.update(self._tasks[row.solver], completed=tally.rows, told=str(tally))

    def on_note(self, text: str) -> None:
        """Prints it above the bars."""
        self._bars.console.print(Text(one_line(text, 400), "yellow"))

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bars.stop()


class LineProgress:
    """A line for about every twentieth of the rows.

    Args:
        tallies: By solver.
        tell: Takes a line.
        rows: Whether rows that were made are told; those that could not be are.
    """

    def __init__(
        self, tallies: dict[str, Tally], tell: Callable[[str], None] = note, *, rows: bool = True
    ) -> None:
        self._tallies = tallies
        self._rows = rows
        self._tell = tell
        self._total = sum(tally.wanted for tally in tallies.values())
        self._every = max(1, self._total // 20)
        self._made = 0
        if self._done and rows:
            tell(f"{self._done} of {self._total} rows are there already")

    @property
    def _done(self) -> int:
        return sum(tally.rows for tally in self._tallies.values())

    def on_row(self, row: Row | Unanswered) -> None:
        """Tells of it when it is time to."""
        if isinstance(row, Unanswered):
            self._tell(_lost(row))
            return
        before = self._done
        self._tallies[row.solver].add(row)
        self._made += 1
        if self._rows and (self._made % self._every == 0 or before < self._done == self._total):
            names = {name: called(name, self._tallies) for name in self._tallies}
            rates = "; ".join(f"{names[name]}: {tally}" for name, tally in self._tallies.items())
            self._tell(f"{self._done} of {self._total} rows; {rates}")

    def on_note(self, text: str) -> None:
        """Tells it."""
        self._tell(one_line(text, 400))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        return None


def _lost(row: Unanswered) -> str:
    return f"{one_line(row.problem, 60)} with {row.solver}: no agent answered: {one_line(row.reason, 160)}"
