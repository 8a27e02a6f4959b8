"""Shows a run that collects: a live picture in a terminal, plain lines everywhere else."""

import time
from collections.abc import Callable
from threading import RLock
from typing import Protocol, Self

from rich.console import Console, ConsoleOptions, Group, RenderResult
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from bdc_agents.runs.collect.progress import Progress
from bdc_agents.types import Decision, Trace
from bdc_agents.view.text import AGENT_COLOURS, called, clock, count, ending, money, one_line, plural

REFRESHES = 4
STOPPING = "stopping: what runs is given up, and redone from cached replies; a second signal ends at once"
RECENT = 6
"""Finished problems in the picture."""


class CollectView(Protocol):
    """What is told of a run; a context manager."""

    def on_trace(self, trace: Trace) -> None:
        """A problem is done."""
        ...

    def on_progress(self, progress: Progress) -> None:
        """How far the run is."""
        ...

    def on_note(self, text: str) -> None:
        """What a person should know."""
        ...

    def on_stop(self) -> None:
        """The run has been asked to end."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(self, *_: object) -> None: ...


def view_for(console: Console, run: str, *, plain: bool, silent: bool) -> CollectView:
    """The view that fits where `console` writes to.

    Args:
        console: A terminal gets the live picture, anything else plain lines.
        run: Name of the run.
        plain: Plain lines in a terminal too.
        silent: Nothing at all.
    """
    if silent:
        return PlainCollectView(lambda _: None)
    if plain or not console.file.isatty() or console.is_dumb_terminal:
        return PlainCollectView(lambda line: print(line, file=console.file, flush=True))
    return LiveCollectView(console, run)


def told(trace: Trace) -> str:
    """One line on a finished problem."""
    solution, decision = trace.solution, trace.decision
    calls = sum(used.calls for used in solution.usage.values())
    hidden = decision.hidden if decision else None
    parts = [ending(solution, calls)]
    if hidden:
        parts.append(f"hidden {hidden.passed}/{hidden.total}")
    parts.append(_kept(decision))
    return f"{one_line(solution.problem_id, 60)}: {', '.join(parts)}"


def _kept(decision: Decision | None) -> str:
    if not (decision and decision.kept):
        return "not kept"
    handed_over = decision.hidden is None or decision.hidden.all_passed
    return "kept" if handed_over else "kept for another of its programs"


class PlainCollectView:
    """One line for each finished problem, without any escape code.

    Args:
        write: Takes one line.
    """

    def __init__(self, write: Callable[[str], None]) -> None:
        self._write = write
        self._began = time.monotonic()
        self._told = set[str]()
        self._progress: Progress | None = None
        self._before = 0

    def on_trace(self, trace: Trace) -> None:
        """Writes a line."""
        # Where problems share a budget, one may end in several rounds.
        again = trace.problem.id in self._told
        self._told.add(trace.problem.id)
        self._line(f"{told(trace)}{self._far(again)}")

    def on_progress(self, progress: Progress) -> None:
        """Kept for the next line."""
        if self._progress is None:
            self._before = _ended(progress) - len(self._told)
        self._progress = progress

    def _far(self, again: bool) -> str:
        """How far the run is: what was told here since the last numbers came counts as well."""
        progress = self._progress
        if progress is None:
            return ""
        total = progress.totals.total
        here = 0 if again else self._before + len(self._told)
        done = min(max(_ended(progress), here), total)
        left = progress.seconds_left
        return f" [{done} of {total} done" + (
            f", {clock(left)} left]" if left is not None and done < total else "]"
        )

    def on_note(self, text: str) -> None:
        """Writes a line."""
        self._line(one_line(text))

    def on_stop(self) -> None:
        """Writes a line."""
        self._line(STOPPING)

    def _line(self, text: str) -> None:
        self._write(f"[{clock(time.monotonic() - self._began)}] {text}")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        return None


def _ended(progress: Progress) -> int:
    return progress.totals.total - progress.totals.open


class LiveCollectView:
    """Progress, endpoints and the last problems of a run, redrawn a few times a second.

    Args:
        console: Where to draw.
        run: Name of the run.
    """

    def __init__(self, console: Console, run: str) -> None:
        self._console = console
        self._run = run
        self._progress: Progress | None = None
        self._recent: list[Text] = []
        self._notes: list[str] = []
        self._lock = RLock()
        self._live = Live(
            self, console=console, refresh_per_second=REFRESHES, transient=True, vertical_overflow="crop"
        )

    def on_trace(self, trace: Trace) -> None:
        """Adds it to the last problems."""
        colour = "green" if trace.solution.solved else "red"
        with self._lock:
            self._recent = [*self._recent, Text.assemble(("● ", colour), told(trace))][-RECENT:]

    def on_progress(self, progress: Progress) -> None:
        """Takes the numbers for the next picture."""
        with self._lock:
            self._progress = progress

    def on_note(self, text: str) -> None:
        """Adds a line below the picture."""
        with self._lock:
            self._notes = [*self._notes, one_line(text)][-3:]

    def on_stop(self) -> None:
        """Ends the picture, so that a second signal leaves the terminal as it was."""
        self._live.stop()
        self._console.print(Text(STOPPING, "yellow"))

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        with self._lock:
            drawn = list(console.render(self.picture(), options))
        yield from drawn

    def picture(self) -> Group:
        """The picture of this moment."""
        progress = self._progress
        notes = [Text(note, "yellow", no_wrap=True, overflow="ellipsis") for note in self._notes]
        if progress is None:
            return Group(Text(f"opening {one_line(self._run, 80)} ..."), *notes)
        recent = [Text.assemble(line, no_wrap=True, overflow="ellipsis") for line in self._recent]
        return Group(_head(progress, self._run), _numbers(progress), _endpoints(progress), *recent, *notes)

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()
        for note in self._notes:
            self._console.print(Text(note, "yellow"))


def _head(progress: Progress, run: str) -> Table:
    totals = progress.totals
    head = Table.grid(padding=(0, 2, 0, 0))
    left = progress.seconds_left
    head.add_row(
        Text(one_line(run, 40), "bold"),
        ProgressBar(total=max(1, totals.total), completed=totals.done + totals.failed, width=30),
        Text(f"{totals.done}/{totals.total}"),
        Text(clock(progress.seconds), "dim"),
        Text(f"{clock(left)} left" if left is not None else "", "dim"),
        Text("stopping" if progress.stopping else "", "yellow"),
    )
    return head


def _numbers(progress: Progress) -> Text:
    totals, rate = progress.totals, progress.solve_rate
    parts = [
        f"solved {totals.solved}" + (f" ({rate:.0%})" if rate is not None else ""),
        f"kept {totals.kept}",
        f"running {progress.running}",
        plural(max(totals.calls, progress.made), "call"),
        f"{count(totals.tokens)} tokens",
        money(progress.money),
    ]
    if totals.failed:
        parts.append(f"failed {totals.failed}")
    return Text("   ".join(parts), no_wrap=True, overflow="ellipsis")


def _endpoints(progress: Progress) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="dim")
    for name in ("endpoint", "busy", "in flight", "waiting", "calls", "cached", "tokens"):
        table.add_column(name, justify="left" if name == "endpoint" else "right")
    for number, (name, load) in enumerate(progress.loads.items()):
        used = load.usage
        table.add_row(
            Text(one_line(called(name, progress.loads), 40), AGENT_COLOURS[number % len(AGENT_COLOURS)]),
            f"{load.share:.0%}",
            f"{load.in_flight}/{load.slots}",
            str(load.waiting),
            str(used.calls),
            str(used.cached),
            count(used.tokens),
        )
    return table
