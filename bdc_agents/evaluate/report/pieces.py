"""The parts of a report's page: names, bars, tables. Each escapes the texts that it is given."""

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from math import floor, log10

from bdc_agents.evaluate.figures.diagnose import Finding
from bdc_agents.evaluate.figures.metrics import Difference, Interval
from bdc_agents.evaluate.report.plots import COLOURS
from bdc_agents.page import asset, render_page


def report_page(title: str, meta: str, lead: str, body: Iterable[str]) -> str:
    """A report as one offline page.

    Args:
        meta, lead: Plain text under the title.
        body: Sections as HTML; empty ones are left out.
    """
    package = __package__ or ""
    return render_page(
        title,
        asset(package, "report.html"),
        style=asset(package, "report.css"),
        script=asset(package, "report.js"),
        parts={
            "meta": escape(meta),
            "lead": escape(lead),
            "body": "\n".join(part for part in body if part),
        },
        inline_styles=True,
    )


def section(title: str, note: str, *parts: str, kind: str = "") -> str:
    """A panel with a heading and a sentence on how to read it; empty without parts."""
    body = "\n".join(part for part in parts if part)
    if not body:
        return ""
    said = f'<p class="note">{escape(note)}</p>' if note else ""
    mark = f' class="{kind}"' if kind else ""
    return f"<section{mark}><h2>{escape(title)}</h2>{said}{body}</section>"


def table(
    heads: Sequence[str], rows: Iterable[Sequence[str]], *, left: Sequence[int] = (), cards: bool = False
) -> str:
    """A table.

    Args:
        heads: HTML of each column's head.
        rows: HTML of each cell; one that starts with `<td` is taken as it is.
        left: Numbers of the columns that are aligned to the left, besides the first.
        cards: Show each row as a card where the page is narrow.
    """
    mark = dict.fromkeys(left, ' class="left"')
    head = "".join(f"<th{mark.get(number, '')}>{text}</th>" for number, text in enumerate(heads))
    labels = [
        f' data-label="{text}"' if cards and number and "<" not in text else ""
        for number, text in enumerate(heads)
    ]
    body = "".join(f"<tr>{_cells(row, mark, labels)}</tr>" for row in rows)
    kind = ' class="cards"' if cards else ""
    return f"<table{kind}><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _cells(row: Sequence[str], mark: Mapping[int, str], labels: Sequence[str]) -> str:
    return "".join(
        cell if cell.startswith("<td") else f"<td{mark.get(number, '')}{labels[number]}>{cell}</td>"
        for number, cell in enumerate(row)
    )


def style(colour: int) -> str:
    """The attribute that gives an element a solver's colour."""
    return f'style="--c:var(--s{colour % COLOURS})"'


def name(solver: str, colour: int) -> str:
    """A solver with its colour."""
    return f'<span class="name" {style(colour)}><span class="dot"></span>{escape(solver)}</span>'


def best_class(best: bool) -> str:
    """The attribute that marks the best value."""
    return ' class="best"' if best else ""


def percent(value: float, digits: int = 1) -> str:
    """A share as per cent."""
    return f"{100 * value:.{digits}f} %"


def dollars(value: float | None) -> str:
    """US dollars to two digits that count; a dash where no price is known."""
    if value is None:
        return "-"
    return f"{value:.2f}" if value >= 1 or value == 0 else f"{value:.{1 - floor(log10(value))}f}"


def points(value: float) -> str:
    """A difference of shares in percentage points, with its sign."""
    return f"{100 * value:+.1f}".replace("-", "\N{MINUS SIGN}")


def span(interval: Interval) -> str:
    """The ends of an interval."""
    return f"<small>[{100 * interval.low:.0f}, {100 * interval.high:.0f}]</small>"


def bar(interval: Interval, colour: int) -> str:
    """A share as a bar from 0 to 100 % with its interval."""
    value, low, high = (100 * part for part in (interval.value, interval.low, interval.high))
    return (
        f'<div class="lane" {style(colour)}><svg class="bar" viewBox="0 0 100 24" preserveAspectRatio="none" '
        f'aria-hidden="true"><rect class="track" y="7" width="100" height="10"/>'
        f'<rect class="fill" y="7" width="{value:.2f}" height="10"/>'
        f'<line class="whisker" x1="{low:.2f}" x2="{high:.2f}" y1="12" y2="12"/></svg>'
        f'<i style="left:{value:.2f}%"></i></div>'
    )


def swing(difference: Difference, reach: float, colour: int) -> str:
    """A difference with its interval around zero, drawn from -reach to +reach."""

    def at(value: float) -> float:
        return min(max(50 + 50 * value / reach, 0.0), 100.0)

    low, high = at(difference.low), at(difference.high)
    return (
        f'<div class="lane" {style(colour)}><svg class="bar" viewBox="0 0 100 24" preserveAspectRatio="none" '
        f'aria-hidden="true"><line class="zero" x1="50" x2="50" y1="0" y2="24"/>'
        f'<line class="whisker" x1="{low:.2f}" x2="{high:.2f}" y1="12" y2="12"/>'
        f'</svg><i style="left:{at(difference.value):.2f}%"></i></div>'
    )


def heat(interval: Interval) -> str:
    """A share on a background; a larger share has a stronger one."""
    title = f"95 % interval: {percent(interval.low, 0)} to {percent(interval.high, 0)}"
    return (
        f'<span class="heat" style="--a:{0.06 + 0.42 * interval.value:.2f}" title="{title}">'
        f"{percent(interval.value, 0)}</span>"
    )


def signs_section(signs: Sequence[tuple[str, Finding]]) -> str:
    """The findings of a run, each with its solver; an empty name stands for all solvers."""
    note = "Signs that a run does not work as it should, measured on everything that was written."
    if not signs:
        return section("Diagnostics", note, '<p class="ok">Nothing to report.</p>')
    items = "".join(
        f"<li>{f'<b>{escape(who)}</b>: ' if who else ''}{escape(finding.text)} "
        f'<span class="quiet">{escape(finding.advice)}</span></li>'
        for who, finding in signs
    )
    return section("Diagnostics", note, f'<ul class="signs">{items}</ul>')


def strip(label: str, cells: Sequence[tuple[str, float]], colour: int, told: str) -> str:
    """One line of small cells, one for each problem, filled by how often it was solved."""
    titles = len(cells) <= 1500  # With more, a cell is too narrow to point at, and titles fill the page.
    drawn = "".join(
        f'<rect x="{number}" width=".86" height="1"{_filled(value)}>'
        + (f"<title>{escape(problem)}</title>" if titles else "")
        + "</rect>"
        for number, (problem, value) in enumerate(cells)
    )
    svg = f'<svg viewBox="0 0 {len(cells)} 1" preserveAspectRatio="none" {style(colour)}>{drawn}</svg>'
    return f'<div>{label}{svg}<span class="quiet">{escape(told)}</span></div>'


def _filled(value: float) -> str:
    if value <= 0:
        return ""
    return ' class="y"' + (f' opacity="{0.25 + 0.75 * value:.2f}"' if value < 1 else "")
