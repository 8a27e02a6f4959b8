"""The curves of a report, drawn by matplotlib as SVG that takes the page's colours, light and dark."""

import re
from collections.abc import Sequence
from importlib.util import find_spec
from io import StringIO
from math import log10
from typing import Any

from bdc_agents.evaluate.figures.groups import by_problem
from bdc_agents.evaluate.figures.matching import timelines
from bdc_agents.evaluate.figures.metrics import curve, wilson
from bdc_agents.evaluate.results import Row

COLOURS = 8
"""Solvers with a colour of their own; further ones repeat the colours."""

BANDS = 3
"""Most solvers for which intervals are drawn; more would cover each other."""

SHOWN_FROM = 0.02
"""Solve rate at which the axis of the spend begins; from the luckiest problem on, half the plot would be
empty."""

LABELS = {
    "calls": "LLM calls for one problem, at most",
    "tokens": "tokens for one problem, at most",
    "seconds": "seconds for one problem, at most",
    "dollars": "US dollars for one problem, at most",
}

# Placeholders for the page's own colours, which differ between light and dark.
_TEXT, _QUIET, _LINE = "#010203", "#010204", "#010205"
_VARIABLES = {_TEXT: "var(--text)", _QUIET: "var(--quiet)", _LINE: "var(--line)"}
_VARIABLES |= {f"#0203{number:02x}": f"var(--s{number})" for number in range(COLOURS)}
LABEL_CHARACTERS = 26
"""Characters of a solver's name that fit beside a curve."""
# Inches; two plots fit beside each other on the page.
_SIZE = (5.4, 2.9)


def can_plot() -> bool:
    """Whether matplotlib is installed."""
    return find_spec("matplotlib") is not None


def compute_curve(axis: str, rows: dict[str, list[Row]], colours: dict[str, int]) -> str:
    """Solve rate against what is spent on a problem, one line a solver, as an SVG element.

    Args:
        axis: A key of `AXES`.
        rows: Rows by solver.
        colours: The number of each solver's colour.

    Returns:
        Empty if no row knows what it spent.
    """
    drawn = {name: steps for name, some in rows.items() if (steps := curve(timelines(some, axis)))}
    if not drawn:
        return ""
    figure, axes = _figure()
    low = min(next((at for at, rate in steps if rate >= SHOWN_FROM), steps[0][0]) for steps in drawn.values())
    high = max(steps[-1][0] for steps in drawn.values())
    # A logarithmic axis begins above 0, spans something even if all spends are equal, and ends past the last.
    low, high = max(low, 1e-9), max(high, low * 1.5, 1e-9) * 1.15
    for name, steps in drawn.items():
        colour = f"#0203{colours[name] % COLOURS:02x}"
        _draw(axes, steps, high, colour)
        if len(drawn) <= BANDS:
            _draw_band(axes, steps, high, colour, problems=len(by_problem(rows[name], lambda _: 0.0)))
    _finish_axes(axes, axis, low * 0.93, high)
    return _svg(figure, salt=axis)


def _figure() -> tuple[Any, Any]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=_SIZE, layout="constrained")
    figure.patch.set_alpha(0)
    axes = figure.add_subplot()
    axes.patch.set_alpha(0)
    return figure, axes


def _draw(axes: Any, steps: Sequence[tuple[float, float]], end: float, colour: str) -> None:
    spent = [*(at for at, _ in steps), end]
    solved = [100 * rate for _, rate in (*steps, steps[-1])]
    axes.step(spent, solved, where="post", color=colour, linewidth=2, solid_capstyle="round")


def _draw_band(
    axes: Any, steps: Sequence[tuple[float, float]], end: float, colour: str, problems: int
) -> None:
    spent = [*(at for at, _ in steps), end]
    bands = [wilson(min(max(rate, 0.0), 1.0) * problems, problems) for _, rate in (*steps, steps[-1])]
    low, high = [100 * band.low for band in bands], [100 * band.high for band in bands]
    axes.fill_between(spent, low, high, step="post", color=colour, alpha=0.1, linewidth=0)


def _finish_axes(axes: Any, axis: str, low: float, high: float) -> None:
    from matplotlib.ticker import FuncFormatter, MaxNLocator, NullFormatter, NullLocator

    axes.set_xscale("log")
    axes.set_xlim(low, high)
    axes.set_ylim(bottom=0)
    axes.set_xticks(_ticks(low, high))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: plain(value)))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.yaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.0f} %"))
    axes.set_xlabel(LABELS[axis], color=_QUIET, fontsize=10)
    axes.grid(axis="y", color=_LINE, linewidth=1)
    axes.set_axisbelow(True)
    axes.tick_params(colors=_QUIET, length=0, labelsize=10)
    for side, spine in axes.spines.items():
        spine.set_visible(side == "bottom")
        spine.set_color(_LINE)


def _ticks(low: float, high: float) -> list[float]:
    """At most about six round numbers between the two."""
    powers = range(int(log10(low)) - 1, int(log10(high)) + 2)
    for digits in ((1, 2, 5), (1, 3), (1,)):
        found = [digit * 10.0**power for power in powers for digit in digits]
        inside = [tick for tick in found if low <= tick <= high]
        if len(inside) <= 7 and sum(len(plain(tick)) for tick in inside) <= LABEL_CHARACTERS:
            return inside
    return inside[:: -(-len(inside) // 4)]


def plain(value: float) -> str:
    """A number as people write it: 0.05, 3, 1.5k, 20k."""
    if value >= 1e6:
        return f"{value / 1e6:g}M"
    if value >= 1000:
        return f"{value / 1000:g}k"
    return f"{value:.9f}".rstrip("0").rstrip(".")


def _svg(figure: Any, salt: str) -> str:
    """The figure as an SVG element that scales with its place and takes the page's colours."""
    import matplotlib

    out = StringIO()
    style: dict[Any, Any] = {
        "svg.fonttype": "none",
        "svg.hashsalt": f"bdc-{salt}",
        "font.family": "sans-serif",
    }
    with matplotlib.rc_context(style):
        figure.savefig(out, format="svg", metadata={"Date": None, "Creator": None})
    text = out.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", text, count=1)
    text = re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", text, count=1)
    text = re.sub(r"font: ([\d.]+px)[^;\"]*", r"font: \1 system-ui, sans-serif", text)
    for colour, variable in _VARIABLES.items():
        text = text.replace(colour, variable)
    return text
