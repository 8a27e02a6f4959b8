"""What pays here: which solver, which agents and which settings suit a person's own problems and agents."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from math import ceil

from bdc_agents.evaluate.figures.groups import difference
from bdc_agents.evaluate.figures.metrics import Difference, Interval
from bdc_agents.evaluate.figures.moves import CONFIRM, MoveFigures
from bdc_agents.evaluate.figures.summary import Figures, Summary, count_of, toml_text
from bdc_agents.evaluate.results import Row
from bdc_agents.evaluate.solvers.registry import Spec
from bdc_agents.types import Frozen

NEARLY = 0.95
"""Share of what a solver solves that a smaller cap on calls must keep."""
SOLVED = 20
"""Solved problems below which no cap on calls is advised: the 95th of a hundred cannot be told from fewer."""
FEW = 10
"""Programs below which it is not said that an agent gives nothing: where none of 10 passes, the true share is
below 0.28 with 95 % confidence."""


class Rate(Frozen):
    """What a solver solves for what it takes.

    Args:
        per_100_calls: Problems solved by 100 calls; the interval is that of the share solved.
        per_dollar: Problems solved by one US dollar; None where no price is known.
    """

    solver: str
    solved: Interval
    calls: float
    per_100_calls: Interval
    per_dollar: Interval | None = None


class Advice(Frozen):
    """What pays here.

    Args:
        rates: Of all solvers, the one that solves most first.
        moves: Of the best search, each kind of move by each agent, the largest gain for a call first.
        reasons: What is advised and why, a sentence each.
        settings: Lines for bdc.toml.
        command: How to use it.
    """

    rates: tuple[Rate, ...]
    moves: tuple[MoveFigures, ...] = ()
    reasons: tuple[str, ...] = ()
    settings: tuple[str, ...] = ()
    command: str = ""


def solvers_to_try(agents: Sequence[str], calls: int) -> list[str]:
    """The solvers that are tried where nobody names any: the search, and what it must be better than."""
    alone = [
        solver
        for agent in agents
        for solver in (f"best-of:{calls},agents={agent}", f"repair:{max(calls - 1, 1)},agents={agent}")
    ]
    together = [f"best-of:{calls}"] if len(agents) > 1 else []
    return ["search", *together, *alone]


def advise(summary: Summary, rows: Mapping[str, Sequence[Row]], beliefs: Mapping[str, str]) -> Advice:
    """What the figures of an evaluation say on which settings to use.

    Args:
        summary: Its figures, of one solver at least.
        rows: Its rows by solver.
        beliefs: By solver that has some, where its beliefs are.
    """
    rates = sorted(map(rate_of, summary.solvers), key=lambda one: (-one.solved.value, one.calls))
    best = next((one for one in rates if is_usual(one.solver)), rates[0])
    searches = [one.solver for one in rates if one.solver in summary.moves]
    figures = summary.moves[searches[0]].figures if searches else ()
    ranked = sorted((one for one in figures if one.kind != "think"), key=lambda one: -one.gain)
    idle = [name for name in idle_agents(figures) if name not in who_solves(rows)]
    calls = enough_calls(rows[best.solver])
    return Advice(
        rates=tuple(rates),
        moves=tuple(ranked),
        reasons=tuple(_reasons(summary, rates, best, rows, calls, idle)),
        settings=tuple(_settings(best.solver, calls)),
        command=_command(best.solver, figures, idle, beliefs),
    )


def is_usual(solver: str) -> bool:
    """Whether a solver is one that `bdc solve` and `bdc collect` run: the search, with some policy."""
    return Spec.parse(solver).kind in ("search", "best-of")


def who_solves(rows: Mapping[str, Sequence[Row]]) -> set[str]:
    """Agents that solve something alone, whatever a search made of them."""
    alone = {name: Spec.parse(name).agents() for name in rows}
    return {
        named[0] for name, named in alone.items() if len(named) == 1 and any(row.solved for row in rows[name])
    }


def rate_of(figures: Figures) -> Rate:
    """What a solver solves for a call and for a dollar."""
    return Rate(
        solver=figures.solver,
        solved=figures.solved,
        calls=figures.calls,
        per_100_calls=_over(figures.solved, figures.calls / 100),
        per_dollar=_over(figures.solved, figures.cost) if figures.cost else None,
    )


def _over(share: Interval, spent: float) -> Interval:
    if spent <= 0:
        return Interval(value=0.0, low=0.0, high=0.0)
    return Interval(value=share.value / spent, low=share.low / spent, high=share.high / spent)


def enough_calls(rows: Sequence[Row]) -> int | None:
    """The fewest calls by which nearly all is solved that a solver solves; None where that is too little."""
    needed = sorted(row.points[-1].calls for row in rows if row.solved and row.points)
    return needed[ceil(NEARLY * len(needed)) - 1] if len(needed) >= SOLVED else None


def idle_agents(figures: Sequence[MoveFigures]) -> list[str]:
    """Agents of which no program passed, where there are enough to say so."""
    programs: dict[str, list[MoveFigures]] = {}
    for one in figures:
        programs.setdefault(one.agent, []).append(one)
    return [
        agent
        for agent, some in programs.items()
        if sum(one.programs for one in some) >= FEW and not any(one.passed for one in some)
    ]


# --- in words -----------------------------------------------------------------------------------


def _reasons(
    summary: Summary,
    rates: Sequence[Rate],
    best: Rate,
    rows: Mapping[str, Sequence[Row]],
    calls: int | None,
    idle: Sequence[str],
) -> Iterator[str]:
    others = [one for one in rates if one is not best]
    most = rates[0]
    yield (
        f"{most.solver} solves most: {_percent(most.solved)} of {count_of(summary.problems)}, with "
        f"{most.calls:.1f} calls for each."
    )
    if best is not most:
        found = difference(rows[most.solver], rows[best.solver], lambda row: float(row.solved))
        sure = "clearly more" if found and found.clear else "no clear difference"
        yield (
            f"Of those that bdc solve and bdc collect run, {best.solver} solves most: "
            f"{_percent(best.solved)}, with {best.calls:.1f} calls for each ({sure})."
        )
    for other in others:
        found = difference(rows[best.solver], rows[other.solver], lambda row: float(row.solved))
        if found and not found.clear and is_usual(other.solver) and other.calls < best.calls:
            yield _cheaper(best, other, found)
            break
    beaten = [one.solver for one in others if _is_clear(rows[best.solver], rows[one.solver])]
    if beaten:
        yield f"{best.solver} is clearly better than {', '.join(beaten)}."
    elif others:
        yield (
            "No difference between the solvers is clear: with so few problems they may be alike. "
            "More problems (--limit) would tell."
        )
    if calls:
        yield f"{calls} call{'s are' if calls > 1 else ' is'} enough for {NEARLY:.0%} of what it solves."
    for agent in idle:
        yield f"No program of {agent} passed; it is left out below."


def _cheaper(best: Rate, other: Rate, found: Difference) -> str:
    value, low, high = (f"{100 * end:.0f}" for end in (found.value, found.low, found.high))
    return (
        f"{other.solver} takes {other.calls / best.calls:.0%} of the calls, and may solve as many: the "
        f"difference is {value} points, from {low} to {high} with 95 % confidence."
    )


def _is_clear(one: Sequence[Row], other: Sequence[Row]) -> bool:
    found = difference(one, other, lambda row: float(row.solved))
    return bool(found and found.clear and found.value > 0)


def _percent(share: Interval) -> str:
    return f"{share.value:.0%} (between {share.low:.0%} and {share.high:.0%})"


def _settings(best: str, calls: int | None) -> Iterator[str]:
    spec = Spec.parse(best)
    search = {"policy": "best-of-n"} if spec.kind == "best-of" else {}
    if spec.kind == "search":
        search = {"policy": "paper"} if spec.argument == "paper" else {}
        search |= {key: value for key, value in spec.options.items() if key != "agents"}
    if search:
        yield "[search]"
        yield from (f"{key} = {_toml(value)}" for key, value in search.items())
    if calls:
        yield "[budget]"
        yield f"calls = {calls}"


def _toml(value: str) -> str:
    """A value as it was typed, in quotes unless it is a number or a truth value."""
    plain = value in ("true", "false") or value.replace(".", "", 1).isdigit()
    return value if plain else toml_text(value)


def _command(
    best: str, figures: Sequence[MoveFigures], idle: Sequence[str], beliefs: Mapping[str, str]
) -> str:
    spec = Spec.parse(best)
    if spec.kind not in ("search", "best-of"):
        return f"bdc eval PROBLEMS --solver {best!r}"
    agents = spec.agents() or tuple(dict.fromkeys(one.agent for one in figures if one.agent not in idle))
    named = "".join(f" --agent {agent}" for agent in agents)
    known = f" --beliefs {beliefs[best]}" if best in beliefs else ""
    return f"bdc collect PROBLEMS{named}{known}"


def as_markdown(advice: Advice) -> str:
    """The advice on one page."""
    priced = any(one.per_dollar for one in advice.rates)
    lines = ["# What pays here", "", *(f"- {reason}" for reason in advice.reasons), ""]
    heads = ["solver", "solved", "calls", "solved by 100 calls", *(["solved by a US $"] if priced else [])]
    lines += _table(heads, [_cells(one, priced) for one in advice.rates])
    if advice.moves:
        heads = ["move", "agent", "programs", "passing", "calls", "passing a call"]
        lines += ["", "What the search's moves gave:", "", *_table(heads, map(_move, advice.moves))]
    if advice.settings:
        lines += ["", "In bdc.toml:", "", *(f"    {line}" for line in advice.settings)]
    return "\n".join([*lines, "", "To use it:", "", f"    {advice.command}", ""])


def _cells(one: Rate, priced: bool) -> list[str]:
    def over(rate: Interval | None) -> str:
        return f"{rate.value:.1f} [{rate.low:.1f}, {rate.high:.1f}]" if rate else "-"

    return [
        one.solver,
        _bracketed(one.solved),
        f"{one.calls:.1f}",
        over(one.per_100_calls),
        *([over(one.per_dollar)] if priced else []),
    ]


def _bracketed(share: Interval) -> str:
    return f"{share.value:.0%} [{100 * share.low:.0f}, {100 * share.high:.0f}]"


def _move(one: MoveFigures) -> list[str]:
    kind = "to confirm" if one.kind == CONFIRM else one.kind
    return [
        kind,
        one.agent,
        str(one.programs),
        _bracketed(one.passing) if one.passing else "-",
        str(one.calls),
        f"{one.gain:.2f}",
    ]


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    found = [f"| {' | '.join(heads)} |", "|" + "---|" * len(heads)]
    return [*found, *(f"| {' | '.join(row)} |" for row in rows)]
