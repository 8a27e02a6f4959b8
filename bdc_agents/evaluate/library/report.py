"""The report of a comparison: one HTML page that opens anywhere, without a network."""

from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path

from bdc_agents.evaluate.figures.groups import by_solver
from bdc_agents.evaluate.figures.metrics import Difference
from bdc_agents.evaluate.library.config import CONFIG_FILE, CompareConfig
from bdc_agents.evaluate.library.summary import CompareSummary, MethodFigures
from bdc_agents.evaluate.report.breakdown import problems_section
from bdc_agents.evaluate.report.pieces import (
    bar,
    best_class,
    name,
    percent,
    points,
    report_page,
    section,
    span,
    swing,
    table,
)
from bdc_agents.evaluate.results import REPORT_FILE, Row, read_rows
from bdc_agents.runs import write_text

_MINUS = "\N{MINUS SIGN}"


def write_report(out: Path, config: CompareConfig, summary: CompareSummary) -> Path:
    """Writes the `report.html` of a comparison."""
    file = out / REPORT_FILE
    rows = by_solver(read_rows(out), [one.name for one in summary.methods])
    write_text(file, render(config, summary, rows))
    return file


def render(config: CompareConfig, summary: CompareSummary, rows: Mapping[str, list[Row]]) -> str:
    """The page."""
    colours = {one.name: number for number, one in enumerate(summary.methods)}
    notes = "".join(f"<p>{escape(note)}</p>" for note in summary.notes)
    compared = {name: some for name, some in rows.items() if name in colours}
    body = (
        section("What to know", "", notes, kind="warn"),
        _passed(summary, colours),
        _losses(summary, colours),
        _costs(summary, colours),
        problems_section(compared, colours) if compared else "",
        _made(config),
    )
    return report_page(
        f"{summary.library}: {len(summary.methods)} ways to use its experts",
        _meta(summary),
        lead(summary),
        body,
    )


def _meta(summary: CompareSummary) -> str:
    dot = " \N{MIDDLE DOT} "
    noun = "problem" if summary.count == 1 else "problems"
    where = f"{summary.count} held-out {noun} of {', '.join(summary.problems)}"
    created = f"{summary.created.replace('T', ' ')[:16]} UTC"
    return dot.join([created, f"bdc-agents {summary.package}", f"base {summary.base}", where])


def lead(summary: CompareSummary) -> str:
    """The one or two sentences to take away."""
    parts: list[str] = []
    scored = [one for one in summary.methods if one.loss is not None]
    if scored:
        best = min(scored, key=lambda one: one.loss or 0.0)
        parts.append(f"Lowest loss: {best.name} with {best.loss:.4f}{_sure(best.against_loss, summary, 4)}.")
    shares = {one.name: one.passed.value for one in summary.methods if one.passed is not None}
    if shares:
        # Of several that are best the reference, which nothing has to be shown against.
        name = max(shares, key=lambda name: (shares[name], name == summary.reference))
        told = _sure(summary.method(name).against_passed, summary)
        same = len(set(shares.values())) == 1 < len(shares)
        who = "every method" if same else name
        parts.append(f"Most problems solved: {who} with {percent(shares[name])}{'' if same else told}.")
    return " ".join(parts) or "Nothing was measured yet."


def _sure(found: Difference | None, summary: CompareSummary, digits: int = 0) -> str:
    if found is None:
        return ""
    told = signed(found.value, digits) if digits else f"{points(found.value)} points"
    low, high = (
        (signed(found.low, digits), signed(found.high, digits))
        if digits
        else (points(found.low), points(found.high))
    )
    chance = "" if found.clear else "; this may be chance"
    return f" ({told} against {summary.reference}, 95 % interval {low} to {high}{chance})"


def signed(value: float, digits: int = 4) -> str:
    """A difference with its sign."""
    return f"{value:+.{digits}f}".replace("-", _MINUS)


def _passed(summary: CompareSummary, colours: Mapping[str, int]) -> str:
    ran = [one for one in summary.methods if one.passed]
    if not ran:
        return ""
    top = max(one.passed.value for one in ran if one.passed)
    rows = []
    for one in ran:
        assert one.passed
        share = f"<span{best_class(one.passed.value == top)}>{percent(one.passed.value)}</span>"
        rows.append(
            [
                name(one.name, colours[one.name]),
                f'<td class="wide">{bar(one.passed, colours[one.name])}</td>',
                f"{share} {span(one.passed)}",
                *_against_passed(one.against_passed),
            ]
        )
    scale = '<span class="scale"><span>0</span><span>50</span><span>100 %</span></span>'
    note = (
        "Share of problems whose one greedy program passes every test, public and hidden, with Wilson's 95 % "
        f"intervals. Against {summary.reference}: difference on the same problems in percentage points, with "
        "Bonett and Price's paired intervals; better and worse count problems."
    )
    heads = ["method", scale, "pass@1", f"against {escape(summary.reference)}", "better / worse"]
    return section("Problems solved", note, f'<div class="scroll">{table(heads, rows, cards=True)}</div>')


def _against_passed(found: Difference | None) -> list[str]:
    if found is None:
        return ["-", "-"]
    return [
        f"{points(found.value)} <small>[{points(found.low)}, {points(found.high)}]</small>",
        f'<span class="good">{found.better}</span> / <span class="bad">{found.worse}</span>',
    ]


def _losses(summary: CompareSummary, colours: Mapping[str, int]) -> str:
    scored = sorted((one for one in summary.methods if one.loss is not None), key=lambda one: one.loss or 0.0)
    if not scored:
        return ""
    ends = [abs(end) for one in scored if (d := one.against_loss) for end in (d.low, d.high)]
    reach = max([1e-4, *ends]) * 1.05
    rows = [
        [
            name(one.name, colours[one.name]),
            f'<td class="wide">{_swing(one, reach, colours[one.name])}</td>',
            f"<span{best_class(one is scored[0])}>{one.loss:.4f}</span>",
            _against_loss(one),
            _loss_verdict(one),
        ]
        for one in scored
    ]
    scale = (
        f'<span class="scale"><span>{signed(-reach)}</span><span>{escape(summary.reference)}</span>'
        f"<span>{signed(reach)}</span></span>"
    )
    note = (
        f"Mean loss of a token (in nats, lower is better) of {summary.loss_on}, {summary.loss_tokens:,} "
        f"tokens. The difference to {summary.reference} is paired by problem, with Bonett and Price's "
        "intervals; left of the middle is better. What an exact paired test does not tell from chance may be "
        "chance."
    )
    heads = ["method", scale, "loss", f"against {escape(summary.reference)}", ""]
    return section("Loss", note, f'<div class="scroll">{table(heads, rows, left=[4], cards=True)}</div>')


def _swing(one: MethodFigures, reach: float, colour: int) -> str:
    return swing(one.against_loss, reach, colour) if one.against_loss else ""


def _against_loss(one: MethodFigures) -> str:
    found = one.against_loss
    if found is None:
        return "-"
    return f"{signed(found.value)} <small>[{signed(found.low)}, {signed(found.high)}]</small>"


def _loss_verdict(one: MethodFigures) -> str:
    found = one.against_loss
    if found is None:
        return ""
    if not found.clear:
        return '<span class="quiet">may be chance</span>'
    return '<span class="good">better</span>' if found.value < 0 else '<span class="bad">worse</span>'


def _costs(summary: CompareSummary, colours: Mapping[str, int]) -> str:
    rows = [[name(one.name, colours[one.name]), *cost_cells(one)] for one in summary.methods]
    note = (
        "Tokens a second: written for all problems of a batch together while replies were being written, on "
        "the machine of the comparison. Parameters and megabytes: in memory besides the base, in its number "
        "format. Cut: replies that reached the token limit."
    )
    return section("What it costs", note, f'<div class="scroll">{table(COSTS, rows, cards=True)}</div>')


COSTS = ("method", "tokens/s", "tokens of a reply", "cut", "parameters", "MB")


def cost_cells(one: MethodFigures) -> list[str]:
    """What a method costs, as the columns of `COSTS` after the first; a dash where it is not known."""
    return [
        _or_dash(one.tokens_per_second, "{:,.1f}"),
        _or_dash(one.tokens, "{:,.0f}"),
        "-" if one.cut is None else percent(one.cut, 0),
        _or_dash(one.parameters, "{:,}"),
        _or_dash(one.megabytes, "{:,.1f}"),
    ]


def _or_dash(value: float | None, form: str) -> str:
    return "-" if value is None else form.format(value)


def _made(config: CompareConfig) -> str:
    note = (
        f"bdc compare --config {CONFIG_FILE} --out DIR does the same comparison again from the configuration "
        "below."
    )
    shown = escape(config.model_dump_json(indent=2))
    return section(
        "How it was made", note, f"<details><summary>Configuration</summary><pre>{shown}</pre></details>"
    )


def ordered(methods: Sequence[MethodFigures]) -> list[MethodFigures]:
    """As the terminal shows them: lowest loss first, then those without one."""
    return sorted(methods, key=lambda one: (one.loss is None, one.loss or 0.0))
