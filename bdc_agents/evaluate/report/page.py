"""The report of an evaluation: one HTML file that opens anywhere, without a network.

A content security policy lets the page load nothing at all and run its own short script alone.
"""

import json
from collections.abc import Sequence
from html import escape
from pathlib import Path

from bdc_agents.evaluate.figures.groups import rows_by_solver
from bdc_agents.evaluate.figures.summary import Figures, Pair, Summary, count_of, pool_line, summarise
from bdc_agents.evaluate.report.breakdown import compute_section, labels_section, problems_section
from bdc_agents.evaluate.report.moves import moves_section
from bdc_agents.evaluate.report.pieces import (
    bar,
    best_class,
    dollars,
    name,
    percent,
    points,
    report_page,
    section,
    signs_section,
    span,
    swing,
    table,
)
from bdc_agents.evaluate.results import REPORT_FILE, read_record
from bdc_agents.runs import write_text
from bdc_agents.types import Task


def write_report(folder: Path, tasks: Sequence[Task], summary: Summary | None = None) -> Path:
    """Writes the `report.html` of an evaluation.

    Args:
        folder: The folder of the evaluation.
        tasks: Its problems.
        summary: Its figures; None to compute them.

    Raises:
        UsageError: If the folder holds no evaluation.
    """
    file = folder / REPORT_FILE
    write_text(file, render(folder, summary or summarise(folder, tasks)))
    return file


def render(folder: Path, summary: Summary) -> str:
    """The page."""
    record = read_record(folder)
    rows = rows_by_solver(folder)
    colours = {solver: number for number, solver in enumerate(rows)}
    body = (
        section("What these figures cannot say", "", *map(_paragraph, summary.claims), kind="warn"),
        _results(summary, colours),
        section("Whole pools", "", *map(_paragraph, map(pool_line, summary.pools))) if summary.pools else "",
        _pairs(summary.pairs, colours),
        compute_section(summary, rows, colours),
        *(moves_section(moves, f"What each move of {name} gave") for name, moves in summary.moves.items()),
        labels_section(summary.solvers, colours),
        problems_section(rows, colours),
        signs_section([(sign.solver, sign.finding) for sign in summary.signs]),
        _made(record.model_dump(mode="json")),
    )
    return report_page(_title(summary), _meta(summary), _lead(summary), body)


def _paragraph(text: str) -> str:
    return f"<p>{escape(text)}</p>"


def _title(summary: Summary) -> str:
    solvers = f"{len(summary.solvers)} solvers" if len(summary.solvers) != 1 else summary.solvers[0].solver
    return f"{', '.join(summary.datasets)}: {solvers} on {count_of(summary.problems)}"


def _meta(summary: Summary) -> str:
    most = max((one.problems for one in summary.solvers), default=0)
    part = "" if most == summary.problems else f" \N{MIDDLE DOT} so far {count_of(most)}"
    return f"{summary.created.replace('T', ' ')[:16]} UTC \N{MIDDLE DOT} bdc-agents {summary.package}{part}"


def _lead(summary: Summary) -> str:
    """The one sentence to take away."""
    best = max(summary.solvers, key=lambda one: one.solved.value)
    text = f"{best.solver} solves {percent(best.solved.value)} of the problems"
    first = summary.solvers[0].solver
    against = next(
        (pair for pair in summary.pairs if (pair.first, pair.second) == (best.solver, first)), None
    )
    if against is None:
        low, high = percent(best.solved.low, 0), percent(best.solved.high, 0)
        return f"{text}, between {low} and {high} with 95 % confidence."
    found = against.solved
    sure = "" if found.clear else "; this may be chance"
    return (
        f"{text}, {points(found.value)} percentage points against {first} "
        f"(95 % interval {points(found.low)} to {points(found.high)}{sure})."
    )


# --- figures ---------------------------------------------------------------------------------


def _results(summary: Summary, colours: dict[str, int]) -> str:
    ks = sorted({k for one in summary.solvers for k in one.pass_at})
    priced = any(one.cost for one in summary.solvers)
    public = any(one.public for one in summary.solvers)
    scale = '<span class="scale"><span>0</span><span>50</span><span>100 %</span></span>'
    heads = [
        "solver",
        scale,
        "solved",
        *(f"pass@{k}" for k in ks),
        "tests",
        *(["public"] if public else []),
    ]
    heads += ["calls", "tokens", "seconds", *(["US $"] if priced else [])]
    top = max(one.solved.value for one in summary.solvers)
    rows = [
        [
            name(one.solver, colours[one.solver]),
            f'<td class="wide">{bar(one.solved, colours[one.solver])}</td>',
            f"<span{best_class(one.solved.value == top)}>{percent(one.solved.value)}</span> "
            f"{span(one.solved)}",
            *(_at_k(one, k) for k in ks),
            percent(one.pass_rate.value),
            *([percent(one.public.value) if one.public else "-"] if public else []),
            *_spent(one, priced),
        ]
        for one in summary.solvers
    ]
    note = (
        "Solved: every test passes, public and hidden. Pass@k: by the tests that the data set itself scores "
        "by, for HumanEval the hidden ones alone. Tests: mean share of the hidden tests that pass. Calls, "
        "tokens, seconds: mean for one problem. Intervals hold the true value with 95 % confidence."
    )
    return section("Results", note, f'<div class="scroll">{table(heads, rows, cards=True)}</div>')


def _at_k(one: Figures, k: int) -> str:
    return f"{percent(one.pass_at[k].value)} {span(one.pass_at[k])}" if k in one.pass_at else "-"


def _spent(one: Figures, priced: bool) -> list[str]:
    cells = [f"{one.calls:.1f}", f"{one.tokens:,.0f}", f"{one.seconds:.1f}"]
    return [*cells, dollars(one.cost)] if priced else cells


def _pairs(pairs: Sequence[Pair], colours: dict[str, int]) -> str:
    if not pairs:
        return ""
    # The axis reaches two points at least, so that tiny differences look tiny, and a little past the ends.
    reach = max(0.02, *(max(abs(pair.solved.low), abs(pair.solved.high)) for pair in pairs)) * 1.05
    scale = (
        f'<span class="scale"><span>{points(-reach)}</span><span>0</span><span>{points(reach)}</span></span>'
    )
    rows = [
        [
            f"{name(pair.first, colours[pair.first])} <small>against {escape(pair.second)}</small>",
            f'<td class="wide">{swing(pair.solved, reach, colours[pair.first])}</td>',
            f"{points(pair.solved.value)} "
            f"<small>[{points(pair.solved.low)}, {points(pair.solved.high)}]</small>",
            f'<span class="good">{pair.solved.better}</span> / <span class="bad">{pair.solved.worse}</span>',
            points(pair.pass_rate.value),
            _verdict(pair),
        ]
        for pair in pairs
    ]
    heads = ["solver", scale, "points", "better / worse", "tests", ""]
    note = (
        "Difference of the solve rates on the same problems, in percentage points, with Bonett and Price's "
        "paired intervals. Better and worse count the problems that one of the two solves more often. "
        "What an exact paired test does not tell from chance (p of 0.05 or more) may be chance."
    )
    return section(
        "Against each other", note, f'<div class="scroll">{table(heads, rows, left=[5], cards=True)}</div>'
    )


def _verdict(pair: Pair) -> str:
    if not pair.solved.better and not pair.solved.worse:
        return '<span class="quiet">the same everywhere</span>'
    if not pair.solved.clear:
        return '<span class="quiet">may be chance</span>'
    return '<span class="good">better</span>' if pair.solved.value > 0 else '<span class="bad">worse</span>'


# --- notes -----------------------------------------------------------------------------------


def _made(record: dict[str, object]) -> str:
    shown = escape(json.dumps(record, indent=2))
    note = (
        "bdc eval --config eval.json --out DIR runs the same evaluation again from the configuration below. "
        "Pass@k is the unbiased estimator of the Codex paper. Intervals of shares are Wilson's, those of "
        "differences Bonett and Price's; the test is McNemar's exact one, or where samples make rates of yes "
        "and no, Fisher's randomisation test over the same problems."
    )
    return section(
        "How it was made", note, f"<details><summary>Configuration</summary><pre>{shown}</pre></details>"
    )
