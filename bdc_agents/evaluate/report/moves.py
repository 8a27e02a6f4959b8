"""The part of a report that tells what moves gave and how trees grew."""

from html import escape

from bdc_agents.evaluate.figures.metrics import Interval
from bdc_agents.evaluate.figures.moves import Growth, MoveFigures, Moves
from bdc_agents.evaluate.report.pieces import bar, dollars, name, percent, section, span, table

_SCALE = '<span class="scale"><span>0</span><span>50</span><span>100 %</span></span>'


def moves_section(moves: Moves | None, title: str = "What each move gave") -> str:
    """A table of moves by agent, and a list on the trees; empty where nothing is known."""
    if moves is None:
        return ""
    agents = sorted({one.agent for one in moves.figures})
    colours = {agent: number for number, agent in enumerate(agents)}
    priced = any(one.cost for one in moves.figures)
    heads = ["move", "agent", _SCALE, "passing", "programs", "better", "calls", "passing a call"]
    heads += ["passing a US $"] if priced else []
    note = (
        "Passing: share of a move's programs that pass every public test. Better: programs whose outcome (an "
        "error, wrong, partly right, passing) is better than that of the program they began from. A thought "
        "makes no program; those for it are told as write. Programs that confirm one that passes stand apart."
    )
    rows = [_row(one, colours, priced) for one in moves.figures]
    drawn = f'<div class="scroll">{table(heads, rows, left=[1], cards=True)}</div>'
    return section(title, note, drawn, _growth(moves.growth))


def _row(one: MoveFigures, colours: dict[str, int], priced: bool) -> list[str]:
    passing, colour = one.passing, colours[one.agent]
    cells = [
        escape(one.kind),
        name(one.agent, colour),
        f'<td class="wide">{bar(passing, colour) if passing else ""}</td>',
        f"{percent(passing.value)} {span(passing)}" if passing else "-",
        f"{one.programs:,}" if passing else "-",
        f"{one.better:,}" if passing else "-",
        f"{one.calls:,}",
        f"{one.gain:.2f}" if passing else "-",
    ]
    return [*cells, *([dollars(one.gain_per_dollar) if passing else "-"] if priced else [])]


def _growth(growth: Growth) -> str:
    depths = ", ".join(f"{count:,} of depth {depth}" for depth, count in growth.depths.items())
    lines = [f"{growth.searches:,} trees: {depths}."]
    if growth.crossing:
        lines.append(f"{_share(growth.crossing)} of the programs that begin from something begin from the "
                     "work of another agent.")  # fmt: skip
    if growth.shared:
        lines.append(f"In {_share(growth.shared)} of the solutions more than one agent has a part.")
    if growth.needed:
        needed = ", ".join(f"{count:,} {what}" for what, count in growth.needed.items())
        lines.append(f"What the solved problems needed: {needed}.")
    return (
        "<h3>Trees</h3>" + f'<ul class="plain">{"".join(f"<li>{escape(line)}</li>" for line in lines)}</ul>'
    )


def _share(share: Interval) -> str:
    return f"{percent(share.value, 0)} [{100 * share.low:.0f}, {100 * share.high:.0f}]"
