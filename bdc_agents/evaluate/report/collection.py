"""The report of a collection: one HTML file that opens anywhere, without a network."""

from collections.abc import Iterable
from html import escape
from pathlib import Path

from bdc_agents.evaluate.figures.metrics import wilson
from bdc_agents.evaluate.figures.summary import skills_line
from bdc_agents.evaluate.figures.survey import SEARCH, AgentFigures, Cell, Survey
from bdc_agents.evaluate.report.breakdown import curves, labels_section
from bdc_agents.evaluate.report.moves import moves_section
from bdc_agents.evaluate.report.pieces import (
    bar,
    heat,
    name,
    percent,
    report_page,
    section,
    signs_section,
    span,
    table,
)
from bdc_agents.evaluate.results import REPORT_FILE, Row
from bdc_agents.runs import write_text
from bdc_agents.runs.store import REASONS

COLOUR = 5
"""The number of the searches' colour among those of solvers."""
AXES = ("calls", "tokens", "seconds")
DIRECT = "no thought"
_SCALE = '<span class="scale"><span>0</span><span>50</span><span>100 %</span></span>'
_DOT = "\N{MIDDLE DOT}"
_LISTED = 3
"""Problems of a set that the title names; more would not fit on its line."""


def write_collection_report(run: Path, found: Survey) -> Path:
    """Writes the `report.html` of a run folder.

    Args:
        run: The folder.
        found: Its figures.
    """
    file = run / REPORT_FILE
    write_text(file, render_collection(found))
    return file


def render_collection(found: Survey) -> str:
    """The page."""
    colours = {SEARCH: COLOUR}
    agents = {agent.name: number for number, agent in enumerate(found.agents)}
    body = (
        _results(found),
        signs_section([("", finding) for finding in found.findings]),
        section(
            "Solve rate against what it took",
            "Share of problems whose program passes every test, public and hidden, had each search ended "
            "there. The band holds the true value with 95 % confidence.",
            curves(AXES, {SEARCH: [*found.rows]}, colours),
        ),
        labels_section([found.figures], colours),
        moves_section(found.moves),
        _agents(found, agents),
        _matrix(found, agents),
        _problems(found),
    )
    return report_page(
        _title(found),
        f"collection {_DOT} bdc-agents {found.package or 'of an unknown version'}",
        _lead(found),
        body,
    )


def _title(found: Survey) -> str:
    sets = ", ".join(map(_short, found.datasets)) or found.name
    problems = "1 problem" if found.problems == 1 else f"{found.problems:,} problems"
    return f"{sets}: {problems} searched"


def _short(address: str) -> str:
    """A data set's address, in which a long list of problems is only counted."""
    name, _, picked = address.partition(":")
    ids = picked.split(",")
    return address if len(ids) <= _LISTED else f"{len(ids)} of {name}"


def _lead(found: Survey) -> str:
    """The one sentence to take away."""
    text = f"{percent(found.solved / found.problems)} of the problems are solved on their public tests"
    kept = f"{found.kept:,} of {found.problems:,} traces may be trained on."
    if not found.with_hidden:
        return f"{text}; none has hidden tests, and {kept}"
    return f"{text}; {percent(found.hidden / found.with_hidden)} on the hidden ones, and {kept}"


def _results(found: Survey) -> str:
    shares = [
        ("pass every public test", found.solved, found.problems),
        ("pass every hidden test", found.hidden, found.with_hidden),
        ("kept: may be trained on", found.kept, found.problems),
    ]
    rows = [_share(label, count, total) for label, count, total in shares if total]
    used = found.figures
    spent = f"{used.calls:.1f} calls, {used.tokens:,.0f} tokens and {used.seconds:.1f} seconds"
    paid = f", {used.cost:.4f} US dollars" if used.cost else ""
    left = "".join(
        f"<li>{count:,} {_DOT} {escape(REASONS.get(reason, reason))}</li>"
        for reason, count in found.reasons.items()
    )
    why = f'<h3>Why others are not kept</h3><ul class="plain">{left}</ul>' if left else ""
    heads = ["programs that", _SCALE, "share", "problems"]
    return section(
        "Results",
        f"A problem took {spent}{paid} on average. Intervals hold the true value with 95 % confidence.",
        f'<div class="scroll">{table(heads, rows, cards=True)}</div>',
        why,
    )


def _share(label: str, count: int, total: int) -> list[str]:
    share = wilson(count, total)
    return [
        escape(label),
        f'<td class="wide">{bar(share, COLOUR)}</td>',
        f"{percent(share.value)} {span(share)}",
        f"{count:,} of {total:,}",
    ]


def _agents(found: Survey, colours: dict[str, int]) -> str:
    solved = f"of {found.solved:,} solutions"
    heads = ["agent", _SCALE, "passing", "programs", "part in", "calls", "tokens"]
    rows = [_agent(agent, colours, solved) for agent in found.agents]
    note = (
        "Share of an agent's programs that pass every public test, each program counted once for each path "
        "of thoughts. It has a part in a solution if it wrote the program, or a thought that it follows."
    )
    return section("Agents", note, f'<div class="scroll">{table(heads, rows, cards=True)}</div>')


def _agent(agent: AgentFigures, colours: dict[str, int], solved: str) -> list[str]:
    model = f" <small>{escape(agent.model)}</small>" if agent.model not in ("", agent.name) else ""
    passing = agent.passing
    drawn = bar(passing, colours[agent.name]) if passing else ""
    return [
        f"{name(agent.name, colours[agent.name])}{model}",
        f'<td class="wide">{drawn}</td>',
        f"{percent(passing.value)} {span(passing)}" if passing else "-",
        f"{agent.programs:,}",
        f"{agent.part:,} <small>{solved}</small>",
        f"{agent.calls:,}",
        f"{agent.tokens:,}",
    ]


def _matrix(found: Survey, colours: dict[str, int]) -> str:
    cells = {(cell.author, cell.coder): cell for cell in found.matrix}
    coders = sorted({coder for _, coder in cells})
    authors = sorted({author for author, _ in cells})
    if not coders:
        return ""
    rows = [
        [_author(author, colours), *(_cell(cells.get((author, coder))) for coder in coders)]
        for author in authors
    ]
    heads = ["thoughts of", *(name(coder, colours.get(coder, 0)) for coder in coders)]
    note = (
        "One row for each author of the last thought, one column for each coder: the share of programs that "
        "pass every public test, how many programs there are, and how many of these are better than those "
        "of the step before were on average."
    )
    if len(found.skills) > 1:
        note += f" The next search can start from this: {skills_line(found.skills)}."
    return section("Author by coder", note, f'<div class="scroll">{table(heads, rows)}</div>')


def _author(author: str, colours: dict[str, int]) -> str:
    return name(author, colours.get(author, 0)) if author else f'<span class="quiet">{DIRECT}</span>'


def _cell(cell: Cell | None) -> str:
    if cell is None:
        return "-"
    return f"{heat(cell.passed)} <small>{cell.programs:,} {_DOT} {percent(cell.helped, 0)} better</small>"


def _problems(found: Survey) -> str:
    lines = "".join(_problem(row) for row in sorted(found.rows, key=lambda row: (row.solved, row.problem)))
    heads = (
        '<th>problem</th><th class="left"></th><th class="left">outcome</th><th>calls</th><th>seconds</th>'
    )
    listed = (
        '<details><summary>Table of all problems</summary><div class="find">'
        '<input type="search" id="find" placeholder="Find a problem" aria-label="Find a problem">'
        '<label><input type="checkbox" id="differ"> only what is not solved</label>'
        '<span class="quiet" id="shown"></span></div><div class="problems scroll"><table id="problems">'
        f"<thead><tr>{heads}</tr></thead><tbody>{lines}</tbody></table></div></details>"
    )
    return section("Problem by problem", "How each search ended, those that failed first.", listed)


def _problem(row: Row) -> str:
    return (
        f'<tr data-differ="{int(not row.solved)}"><td>{escape(row.problem)}</td>'
        f'<td class="left">{escape(row.difficulty or "")}</td><td class="left">{"".join(_outcome(row))}</td>'
        f"<td>{row.used.calls:,}</td><td>{row.seconds:.1f}</td></tr>"
    )


def _outcome(row: Row) -> Iterable[str]:
    if row.solved:
        yield '<span class="good">solved</span>'
        return
    if row.public.total and row.public.all_passed and row.hidden:
        yield f'<span class="bad">hidden tests: {row.hidden.passed} of {row.hidden.total}</span>'
        return
    yield f"public tests: {row.public.passed} of {row.public.total} "
    yield f'<span class="quiet">({escape(row.stopped_by)})</span>'
