"""The sections of the report with figures by compute, by label and by problem."""

from collections.abc import Sequence
from html import escape

from bdc_agents.evaluate.figures.groups import by_problem
from bdc_agents.evaluate.figures.matching import AXES, Match
from bdc_agents.evaluate.figures.metrics import Interval
from bdc_agents.evaluate.figures.summary import Figures, Group, Summary
from bdc_agents.evaluate.report.pieces import best_class, heat, name, percent, section, strip, table
from bdc_agents.evaluate.report.plots import can_plot, compute_curve, plain
from bdc_agents.evaluate.results import Row

TAGS_SHOWN = 30
"""Tags in the table, the commonest first; the tail has a problem or two each."""
_UNITS = {"calls": "LLM calls", "tokens": "tokens", "seconds": "seconds", "dollars": "US dollars"}


def compute_section(summary: Summary, rows: dict[str, list[Row]], colours: dict[str, int]) -> str:
    """Solve rates at equal compute; empty for a single solver."""
    if len(rows) < 2:
        return ""
    axes = [axis for axis in AXES if any(match.axis == axis for match in summary.matched)]
    legend = "".join(name(solver, number) for solver, number in colours.items())
    drawn = f'<div class="legend">{legend}</div>{curves(axes, rows, colours)}'
    tables = "".join(
        f"<div>{_matches(axis, [m for m in summary.matched if m.axis == axis], colours)}</div>"
        for axis in axes
    )
    note = (
        "What would have been solved had each problem's budget ended there: the program that the solver held "
        "by then, chosen on the public tests alone."
    )
    return section("At equal compute", note, drawn, f'<div class="matches">{tables}</div>')


def curves(axes: Sequence[str], rows: dict[str, list[Row]], colours: dict[str, int]) -> str:
    """Plots of solve rate against spend; without matplotlib, how to get them."""
    if not can_plot():
        hint = "For the curves: pip install 'bdc-agents[report]', then run the same command again."
        return f'<p class="quiet">{escape(hint)}</p>'
    plots = [f"<div>{compute_curve(axis, rows, colours)}</div>" for axis in axes]
    return f'<div class="plots">{"".join(plots)}</div>'


def _matches(axis: str, matches: Sequence[Match], colours: dict[str, int]) -> str:
    heads = [f"up to ... {_UNITS[axis]}", *(plain(match.budget) for match in matches)]
    rows = [
        [name(solver, number), *(_reached(match.solved, solver) for match in matches)]
        for solver, number in colours.items()
    ]
    return table(heads, rows)


def _reached(solved: dict[str, Interval], solver: str) -> str:
    if solver not in solved:
        return "-"
    value = solved[solver].value
    best = 0 < value == max(interval.value for interval in solved.values())
    return f"<span{best_class(best)}>{percent(value, 0)}</span>"


def labels_section(solvers: Sequence[Figures], colours: dict[str, int]) -> str:
    """Solve rates by difficulty and tag; empty if problems have neither."""
    parts = []
    for heading, groups in (
        ("difficulty", {one.solver: one.difficulty for one in solvers}),
        ("tag", {one.solver: one.tag for one in solvers}),
    ):
        labels = [*dict.fromkeys(label for some in groups.values() for label in some)][:TAGS_SHOWN]
        if heading == "difficulty":  # The easiest first, as the solvers found them.
            labels.sort(key=lambda label: -sum(g[label].solved.value for g in groups.values() if label in g))
        if labels:
            parts.append(f'<div class="scroll">{_label_table(heading, labels, groups, colours)}</div>')
    if not parts:
        return ""
    note = "Share of problems solved; the intervals are shown on hover. Labels are never part of a prompt."
    return section("By difficulty and tag", note, *parts)


def _label_table(
    heading: str, labels: Sequence[str], groups: dict[str, dict[str, Group]], colours: dict[str, int]
) -> str:
    heads = [heading, "problems", *(name(solver, number) for solver, number in colours.items())]
    rows = [
        [
            escape(label),
            str(max(some[label].problems for some in groups.values() if label in some)),
            *(heat(groups[solver][label].solved) if label in groups[solver] else "-" for solver in colours),
        ]
        for label in labels
    ]
    return table(heads, rows)


# --- problems --------------------------------------------------------------------------------


def problems_section(rows: dict[str, list[Row]], colours: dict[str, int]) -> str:
    """Which problems each solver solves."""
    solved = {solver: by_problem(some, lambda row: float(row.solved)) for solver, some in rows.items()}
    order = {problem: number for some in solved.values() for number, problem in enumerate(some)}
    total = {problem: sum(some.get(problem, 0.0) for some in solved.values()) for problem in order}
    problems = sorted(order, key=lambda problem: (-total[problem], order[problem]))
    strips = "".join(
        strip(
            name(solver, number),
            [(problem, solved[solver].get(problem, 0.0)) for problem in problems],
            number,
            f"{sum(solved[solver].values()):.0f} of {len(solved[solver])}",
        )
        for solver, number in colours.items()
    )
    nobody = sum(value == 0 for value in total.values())
    everybody = sum(all(some.get(problem, 0) == 1 for some in solved.values()) for problem in problems)
    note = (
        "One cell for each problem, from those that most solvers solve to those that none does: "
        f"{everybody} are solved by all, {nobody} by none."
    )
    return section(
        "Problem by problem",
        note,
        f'<div class="strip">{strips}</div>',
        _problem_table(rows, solved, problems, colours),
    )


def _problem_table(
    rows: dict[str, list[Row]],
    solved: dict[str, dict[str, float]],
    problems: Sequence[str],
    colours: dict[str, int],
) -> str:
    labels = {row.problem: row.difficulty or "" for some in rows.values() for row in some}
    lines = []
    for problem in problems:
        values = [solved[solver].get(problem) for solver in colours]
        cells = "".join(f"<td>{_mark(value)}</td>" for value in values)
        differ = int(len(set(values)) > 1)
        lines.append(
            f'<tr data-differ="{differ}"><td>{escape(problem)}</td>'
            f'<td class="left">{escape(labels[problem])}</td>{cells}</tr>'
        )
    heads = "".join(f"<th>{name(solver, number)}</th>" for solver, number in colours.items())
    return (
        '<details><summary>Table of all problems</summary><div class="find">'
        '<input type="search" id="find" placeholder="Find a problem" aria-label="Find a problem">'
        '<label><input type="checkbox" id="differ"> only where the solvers differ</label>'
        '<span class="quiet" id="shown"></span></div><div class="problems scroll"><table id="problems">'
        f'<thead><tr><th>problem</th><th class="left"></th>{heads}</tr></thead>'
        f"<tbody>{''.join(lines)}</tbody></table></div></details>"
    )


def _mark(value: float | None) -> str:
    if value is None:
        return '<span class="quiet">not run</span>'
    if value in (0.0, 1.0):
        return '<span class="good">solved</span>' if value else '<span class="quiet">-</span>'
    return percent(value, 0)
