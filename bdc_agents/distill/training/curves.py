"""Shows how training goes: live in the terminal, and as a drawing of the losses."""

import io
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from bdc_agents.distill.training.loop import Report, Watch

_BARS = "▁▂▃▄▅▆▇█"
_HELD = 4
"""Latest held-out losses of an expert that are shown; more would not fit on its line beside the curve."""


@contextmanager
def live_losses(console: Console | None = None) -> Iterator[Watch]:
    """Shows a progress bar and every expert's losses while training goes on.

    Yields:
        What `train_experts` takes as `watch`.
    """
    board, console = LossBoard(), console or Console(stderr=True)
    # A terminal is redrawn twice a second; elsewhere only the end is written.
    live = Live(board, console=console, refresh_per_second=2)

    def watch(report: Report) -> None:
        live.start()  # Nothing is drawn before the first step, and a second start does nothing.
        board.add(report)

    try:
        yield watch
    finally:
        drawn = live.is_started
        live.stop()
        if drawn and not console.is_terminal:
            console.line()  # Elsewhere than in a terminal, rich leaves the last line open.


class LossBoard:
    """The latest losses of every expert, as something rich can draw."""

    def __init__(self) -> None:
        self.losses: dict[str, list[float]] = defaultdict(list)
        self.held: dict[str, list[float]] = defaultdict(list)
        self._bar = Progress(
            TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
        )
        self._task = self._bar.add_task("training", total=None)

    def add(self, report: Report) -> None:
        """Takes in one report."""
        for name, loss in report.losses.items():
            self.losses[name].append(loss)
        for name, loss in report.validation.items():
            self.held[name].append(loss)
        speed = report.tokens / report.seconds if report.seconds else 0
        said = f"epoch {report.epoch}, {speed:,.0f} tokens/s"
        self._bar.update(self._task, description=said, completed=report.step, total=report.steps)

    def __rich__(self) -> Group:
        table = Table("expert", "loss", "held-out loss", "curve", box=None, pad_edge=False)
        for name, losses in self.losses.items():
            held = " ".join(f"{loss:.3f}" for loss in self.held[name][-_HELD:])
            table.add_row(name, f"{losses[-1]:.3f}", held, spark(losses))
        return Group(self._bar, table)


def spark(values: Sequence[float], width: int = 30) -> str:
    """Values as one line of bars, the last ones if there are more than fit."""
    shown = values[-width:]
    low, high = min(shown), max(shown)
    span = (high - low) or 1.0
    return "".join(_BARS[round((value - low) / span * (len(_BARS) - 1))] for value in shown)


def draw_losses(lines: Sequence[Mapping[str, Any]]) -> str | None:
    """The loss curves as SVG; None where matplotlib is not installed or there is nothing to draw.

    Args:
        lines: Of `losses.jsonl`.
    """
    try:
        from matplotlib.figure import Figure
        from matplotlib.ticker import MaxNLocator
    except ImportError:
        return None
    train, held = _series(lines, "losses"), _series(lines, "validation")
    if not train:
        return None
    figure = Figure(figsize=(8, 4), layout="constrained")
    axes = figure.subplots()
    for number, (name, points) in enumerate(sorted(train.items())):
        axes.plot(*zip(*points, strict=True), color=f"C{number}", alpha=0.5, linewidth=1, label=name)
        if name in held:
            axes.plot(*zip(*held[name], strict=True), color=f"C{number}", marker="o", linewidth=2)
    axes.set_xlabel("step")
    axes.set_ylabel("loss of a completion token")
    axes.set_title("Training (thin) and held-out (dots) loss of each expert", fontsize=10)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(alpha=0.3)
    axes.legend(frameon=False, fontsize=8)
    drawing = io.StringIO()
    figure.savefig(drawing, format="svg", metadata={"Date": None})
    return drawing.getvalue()


def _series(lines: Sequence[Mapping[str, Any]], key: str) -> dict[str, list[tuple[int, float]]]:
    found: dict[str, list[tuple[int, float]]] = defaultdict(list)
    for line in lines:
        for name, value in line.get(key, {}).items():
            found[name].append((line["step"], value))
    return found
