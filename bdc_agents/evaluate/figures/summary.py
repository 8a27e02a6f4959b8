"""The figures of an evaluation, computed from its rows and traces alone."""

import json
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import combinations
from pathlib import Path
from statistics import fmean
from typing import Any

from bdc_agents.evaluate.figures.diagnose import Finding, diagnose
from bdc_agents.evaluate.figures.groups import by_problem, difference, rows_by_solver
from bdc_agents.evaluate.figures.matching import Match, matched
from bdc_agents.evaluate.figures.metrics import Difference, Interval, mean_interval, pass_at_k
from bdc_agents.evaluate.figures.moves import Moves, moves_of
from bdc_agents.evaluate.results import SUMMARY_FILE, Row, read_record, solver_traces
from bdc_agents.evaluate.solvers.registry import Spec
from bdc_agents.runs import write_text
from bdc_agents.types import Frozen, Task

ALL_PAIRS = 4
"""Most solvers for which every pair is compared (4 give 6 pairs); with more, each is compared with the
first."""
OVERFIT = 0.2
"""Share of programs that pass the public tests and fail hidden ones, from which a warning is given. As a
start, not measured."""
_FEW_ROWS = 10
"""Rows below which the share of `OVERFIT` says nothing: one more would move it by a tenth."""
WIDE = 0.1
"""Half the width of an interval, from which a warning is given: ten points hide most differences between
solvers. As a start, not measured."""


class Group(Frozen):
    """The problems that share a label."""

    problems: int
    solved: Interval


class Figures(Frozen):
    """The figures of one solver.

    Args:
        solver: The solver's name.
        problems, rows: Its numbers of problems and rows.
        solved: Share of problems solved: every test passed, public and hidden.
        pass_at: Pass@k by k, on the tests that the data set itself scores by: for HumanEval the hidden
            ones alone. Without each k for which there are too few samples.
        pass_rate: Mean share of the hidden tests that pass; of the public tests if there are no hidden
            ones.
        public: Share of problems whose public tests pass; None without public tests.
        calls, tokens, seconds: Means of a row.
        cost: Mean US dollars of a row; None if no price is known.
        cached: Share of calls that the cache answered.
        difficulty, tag: Share of problems solved, by label.
    """

    solver: str
    problems: int
    rows: int
    solved: Interval
    pass_at: dict[int, Interval] = {}
    pass_rate: Interval
    public: Interval | None = None
    calls: float
    tokens: float
    seconds: float
    cost: float | None = None
    cached: float = 0.0
    difficulty: dict[str, Group] = {}
    tag: dict[str, Group] = {}


class Pair(Frozen):
    """One solver against another on the problems that both have done."""

    first: str
    second: str
    solved: Difference
    pass_rate: Difference


class PoolFigures(Frozen):
    """What a solver did with a budget that all problems share; the mean where there are several samples.

    Args:
        problems, solved: Problems in all, and of those how many it solved.
        calls, tokens, cost: What it used in all.
    """

    solver: str
    problems: int
    solved: float
    calls: float
    tokens: float
    cost: float | None = None


class Sign(Frozen):
    """A finding about one solver; with an empty name, about all of them."""

    solver: str = ""
    finding: Finding


class Summary(Frozen):
    """The figures of an evaluation.

    Args:
        datasets: Names of the data sets.
        problems: Number of problems.
        hidden: Number of problems that have hidden tests.
        rows: Number of rows of all solvers.
        claims: What the figures cannot say.
        solvers: Figures of each solver, in the order of the configuration.
        pairs: Every pair of solvers; with many solvers, each against the first.
        matched: Figures at equal compute.
        moves: By solver that makes moves, what they gave and how its trees grew.
        pools: What each solver did with its pool, where problems share a budget.
        signs: Signs of something that does not work as it should.
        skills: By agent that was evaluated alone, the share of problems that its program solves: a value
            for `skills` under `[search]`.
    """

    version: int = 1
    datasets: tuple[str, ...]
    problems: int
    hidden: int
    rows: int
    claims: tuple[str, ...] = ()
    solvers: tuple[Figures, ...] = ()
    pairs: tuple[Pair, ...] = ()
    matched: tuple[Match, ...] = ()
    moves: dict[str, Moves] = {}
    pools: tuple[PoolFigures, ...] = ()
    signs: tuple[Sign, ...] = ()
    skills: dict[str, float] = {}
    created: str
    package: str


def write_summary(folder: Path, tasks: Sequence[Task]) -> Summary:
    """Computes the figures of an evaluation and writes its `summary.json`.

    Args:
        folder: Of the evaluation.
        tasks: Its problems.

    Raises:
        UsageError: If the folder holds no evaluation.
    """
    summary = summarise(folder, tasks)
    write_text(folder / SUMMARY_FILE, summary.model_dump_json(indent=2) + "\n")
    return summary


def summarise(folder: Path, tasks: Sequence[Task]) -> Summary:
    """As `write_summary`, without writing."""
    record = read_record(folder)
    section = record.config["eval"]
    rows = rows_by_solver(folder)
    hidden = sum(len(task.hidden) > 0 for task in tasks)
    traces = solver_traces(folder, [*rows])
    signs = [Sign(solver=name, finding=f) for name in rows for f in diagnose(traces[name])]
    figures = tuple(figures_of(name, found, section["k"]) for name, found in rows.items())
    return Summary(
        datasets=tuple(section["datasets"]),
        problems=len(tasks),
        hidden=hidden,
        rows=sum(len(found) for found in rows.values()),
        claims=(
            *_claims(len(tasks), hidden),
            *_made_by_references(section),
            *_pooled(section),
            *_missing(rows, section["k"]),
        ),
        solvers=figures,
        pairs=tuple(_pairs(rows)),
        # A budget for one problem is no budget of these: what one left, another has used.
        matched=() if section.get("pool") else tuple(matched(rows)),
        pools=tuple(map(_pool, figures)) if section.get("pool") else (),
        moves={name: found for name in rows if (found := moves_of(traces[name]))},
        signs=(*signs, *_signs(rows, figures, pooled=bool(section.get("pool")))),
        skills=_skills(figures),
        created=record.created,
        package=record.package,
    )


def _skills(figures: Sequence[Figures]) -> dict[str, float]:
    alone = [one for one in figures if one.solver.startswith("single:")]
    return {name: round(one.solved.value, 2) for one in alone for name in Spec.parse(one.solver).agents()}


def skills_line(skills: Mapping[str, float]) -> str:
    """The skills as a line of bdc.toml."""
    told = ", ".join(f"{toml_text(name)} = {skill}" for name, skill in skills.items())
    return f"skills = {{{told}}}"


def toml_text(text: str) -> str:
    """A text as TOML has it: as JSON, but TOML knows no halves of a character and no raw delete."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def _solved(row: Row) -> float:
    return float(row.solved)


def figures_of(name: str, rows: Sequence[Row], ks: Sequence[int]) -> Figures:
    """The figures of one solver.

    Args:
        name: The solver's name.
        rows: Its rows, at least one.
        ks: The k of pass@k.
    """
    solved = by_problem(rows, _solved)
    public = by_problem((row for row in rows if row.public.total), lambda row: float(row.public.all_passed))
    used = [row.used for row in rows]
    costs = [usage.cost for usage in used if usage.cost is not None]
    calls = sum(usage.calls for usage in used)
    return Figures(
        solver=name,
        problems=len(solved),
        rows=len(rows),
        solved=mean_interval([*solved.values()]),
        pass_at={k: interval for k in ks if (interval := _pass_at(rows, k))},
        pass_rate=mean_interval([*by_problem(rows, lambda row: row.share).values()]),
        public=mean_interval([*public.values()]) if public else None,
        calls=calls / len(rows),
        tokens=fmean(usage.tokens for usage in used),
        seconds=fmean(row.seconds for row in rows),
        cost=sum(costs) / len(rows) if costs else None,
        cached=sum(usage.cached for usage in used) / calls if calls else 0.0,
        difficulty=_groups(rows, lambda row: (row.difficulty,) if row.difficulty else ()),
        tag=_groups(rows, lambda row: row.tags),
    )


def _pass_at(rows: Sequence[Row], k: int) -> Interval | None:
    """Pass@k; None if a problem has fewer than k samples."""
    counts: dict[str, list[bool]] = defaultdict(list)
    for row in rows:
        counts[row.problem].append(row.passed)
    if _fewest(rows) < k:
        return None
    return mean_interval([pass_at_k(len(tries), sum(tries), k) for tries in counts.values()])


def _fewest(rows: Sequence[Row]) -> int:
    """The smallest number of samples of a problem."""
    return min(Counter(row.problem for row in rows).values())


def _groups(rows: Sequence[Row], labels: Callable[[Row], Sequence[str]]) -> dict[str, Group]:
    grouped: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        for label in labels(row):
            grouped[label].append(row)
    found: dict[str, Group] = {}
    for label in sorted(grouped, key=lambda label: (-len(grouped[label]), label)):
        values = [*by_problem(grouped[label], _solved).values()]
        found[label] = Group(problems=len(values), solved=mean_interval(values))
    return found


def _pairs(rows: dict[str, list[Row]]) -> Iterable[Pair]:
    names = [*rows]
    chosen = combinations(names, 2) if len(names) <= ALL_PAIRS else ((names[0], name) for name in names[1:])
    for one, other in chosen:
        # The later one is usually what is proposed, the earlier one what it is compared with.
        solved = difference(rows[other], rows[one], _solved)
        share = difference(rows[other], rows[one], lambda row: row.share)
        if solved and share:
            yield Pair(first=other, second=one, solved=solved, pass_rate=share)


# --- what to be careful about ----------------------------------------------------------------


def count_of(problems: int) -> str:
    """So many problems, in words: 1 problem, 1,000 problems."""
    return "1 problem" if problems == 1 else f"{problems:,} problems"


def _claims(problems: int, hidden: int) -> Iterable[str]:
    if hidden == 0:
        yield (
            "None of these problems has hidden tests. The figures are rates on the public tests, which the "
            "solvers saw and aimed at: they say how often a solver satisfies the tests it is given, not how "
            "often its programs are right."
        )
    elif hidden < problems:
        yield (
            f"{problems - hidden} of {count_of(problems)} have no hidden tests; on these, a program counts "
            "as solved when it passes the public tests, which the solver saw."
        )


def _made_by_references(section: Mapping[str, Any]) -> Iterable[str]:
    if section.get("reference_tests"):
        yield (
            "Of problems with few tests, known solutions made further hidden tests from changed inputs "
            "(--reference-tests). Some of these inputs may be ones that a statement rules out, and the "
            "figures are not those of the published sets."
        )


def _pooled(section: Mapping[str, Any]) -> Iterable[str]:
    pool = {name: cap for name, cap in section.get("pool", {}).items() if cap is not None}
    if pool:
        told = ", ".join(f"{cap:g} {name}" for name, cap in pool.items())
        yield (
            f"The problems of a solver share {told}: what one gets depends on what others left. So compare "
            "whole pools, solved in all at equal totals. Differences are paired by problem, but their "
            "intervals and p take problems to be independent, which these are not. Seconds of a problem that "
            "went on are too low: what it did before came from the cache."
        )


def _pool(one: Figures) -> PoolFigures:
    samples = one.rows / one.problems
    return PoolFigures(
        solver=one.solver,
        problems=one.problems,
        solved=round(one.solved.value * one.problems, 2),
        calls=round(one.calls * one.rows / samples, 2),
        tokens=round(one.tokens * one.rows / samples, 2),
        cost=one.cost * one.rows / samples if one.cost is not None else None,
    )


def pool_line(pool: PoolFigures) -> str:
    """What a solver did with its pool, in words."""
    paid = f" and ${pool.cost:.2f}" if pool.cost else ""
    return (
        f"{pool.solver}: {pool.solved:g} of {count_of(pool.problems)} solved with {pool.calls:,.0f} calls, "
        f"{pool.tokens:,.0f} tokens{paid} in all"
    )


def _missing(rows: Mapping[str, Sequence[Row]], ks: Sequence[int]) -> Iterable[str]:
    """The pass@k that were asked for and cannot be estimated."""
    for k in ks:
        short = {name: fewest for name, some in rows.items() if (fewest := _fewest(some)) < k}
        if short:
            told = ", ".join(f"{name} ({fewest})" for name, fewest in short.items())
            yield (
                f"pass@{k} needs {k} samples of each problem, and so is not given for {told}; take more with "
                f"--samples {k}. A solver that always writes the same has one."
            )


def weak_tests(rows: Sequence[Row]) -> Finding | None:
    """A warning if many programs pass the public tests and fail hidden ones."""
    fooled = [not row.hidden.all_passed for row in rows if row.hidden and row.public.all_passed]
    if len(fooled) < _FEW_ROWS or fmean(fooled) < OVERFIT:
        return None
    return Finding(
        kind="weak-public-tests",
        value=fmean(fooled),
        limit=OVERFIT,
        text=f"{sum(fooled)} of {len(fooled)} programs that pass the public tests fail the hidden ones "
        f"({fmean(fooled):.0%}).",
        advice="The public tests tell too little: self_tests, or a judge, may choose better.",
    )


def _signs(rows: dict[str, list[Row]], figures: Sequence[Figures], *, pooled: bool) -> Iterable[Sign]:
    for name, some in rows.items():
        if finding := weak_tests(some):
            yield Sign(solver=name, finding=finding)
    for one in figures:
        if one.cached > 0 and not pooled:  # What goes on with more of a pool always asks the cache.
            yield Sign(
                solver=one.solver,
                finding=Finding(
                    kind="cached",
                    value=one.cached,
                    text=f"{one.cached:.0%} of the calls were answered from the cache and took no time.",
                    advice="Its seconds are too low to be compared; --no-cache measures them. Calls, tokens "
                    "and dollars count as if asked anew.",
                ),
            )
    wide = max((one.solved.high - one.solved.low for one in figures), default=0.0) / 2
    if wide > WIDE:
        yield Sign(
            finding=Finding(
                kind="few-problems",
                value=wide,
                limit=WIDE,
                text=f"With {count_of(max(one.problems for one in figures))} a solve rate is known to about "
                f"{wide * 100:.0f} percentage points either way.",
                advice="Differences smaller than that are not shown to be real: take more problems.",
            )
        )
