"""The tables of boost.py: what the rows there are say, and what they do not."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from boost_arms import ARMS, POOLED
from boost_rows import Row
from rich.console import Console
from rich.table import Table

from bdc_agents.evaluate.figures.metrics import Difference, paired, wilson

PAIRS = (
    ("search", "best of 16"),
    ("search", "best of 16, large"),
    ("search", "self-repair, large"),
    ("search", "old default"),
    ("search", "search, large"),
    ("search", "search without repair"),
    ("search", "search without facts"),
    ("search, large", "best of 16, large"),
    ("search, large", "self-repair, large"),
    ("best of 16", "best of 16, large"),
    ("self-repair, large", "best of 16, large"),
)
"""The differences of the plan."""
SHARE_OF_CALLS, POINTS = 0.55, 4.0
"""The target without a pool: this share of best-of-16's calls, and this many points below it, at most."""

Rows = Mapping[str, Row]
"""Of one arm, by problem."""


def show(rows: Iterable[Row], problems: Mapping[str, str]) -> None:
    """Prints all tables.

    Args:
        rows: Rows of any arms and versions.
        problems: The set of each problem of the plan.
    """
    console = Console()
    arms = newest(rows, problems)
    if not arms:
        console.print("no rows yet: run some, and pack them")
        return
    for table in (solved(arms, problems), differences(arms), choices(arms), moves(arms)):
        console.print(table)
    for line in (*targets(arms, len(problems)), *missing(arms, len(problems))):
        console.print(f"- {line}", markup=False, highlight=False)


def newest(rows: Iterable[Row], problems: Mapping[str, str]) -> dict[str, Rows]:
    """The rows of each arm by problem; of an arm that searches those of the version that came last."""
    found: dict[str, dict[str, Row]] = {}
    version: dict[str, str] = {}
    for row in rows:
        name = row["arm"]
        if name not in ARMS or row["problem"] not in problems:
            continue
        if ARMS[name].searches and version.setdefault(name, row["version"]) != row["version"]:
            version[name] = row["version"]
            found[name] = {}
        found.setdefault(name, {})[row["problem"]] = row
    return {name: found[name] for name in ARMS if name in found}


def solved(arms: Mapping[str, Rows], problems: Mapping[str, str]) -> Table:
    """What each arm solved, and what it took."""
    sets = Counter(problems.values())
    table = Table(
        *(
            "arm",
            "version",
            "problems",
            "public",
            "hidden",
            *sets,
            "calls",
            "tokens",
            "kept",
            "depth",
            "crossed",
        ),
        title="Solved; by set as solved of problems made",
        caption="calls, tokens: means; kept: of the calls, replies that were there already; depth: mean of "
        "the trees; crossed: of the solved, those that another agent's thought or program led to",
    )
    for name, rows in arms.items():
        made = [*rows.values()]
        share = wilson(sum(row["hidden"] for row in made), len(made))
        right = [row for row in made if row["hidden"]]
        crossed = sum(any(agent != row["agent"] for agent in row["line"]) for row in right)
        table.add_row(
            name,
            "/".join(sorted({row["version"] for row in made})) if ARMS[name].searches else "",
            f"{len(made)} of {len(problems)}",
            f"{fmean(row['public'] for row in made):.1%}",
            f"{share.value:.1%} [{share.low:.1%}, {share.high:.1%}]",
            *(_of([row for row in made if row["set"] == one]) for one in sets),
            f"{fmean(row['calls'] for row in made):.1f}",
            f"{fmean(row['tokens'] for row in made):.0f}",
            f"{_ratio(sum(row['kept'] for row in made), sum(row['calls'] for row in made)):.0%}",
            f"{fmean(row['depth'] for row in made):.2f}" if ARMS[name].searches else "",
            f"{crossed} of {len(right)}" if ARMS[name].searches else "",
        )
    return table


def _of(rows: Sequence[Row]) -> str:
    return f"{sum(row['hidden'] for row in rows)}/{len(rows)}" if rows else ""


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole else 0.0


@dataclass(frozen=True)
class Compared:
    """Two arms on the problems that both have.

    Args:
        calls: The first one's calls as a share of the second's.
    """

    solved: Difference
    calls: float


def compare(first: Rows, second: Rows) -> Compared | None:
    """The first arm against the second; None where no problem has rows of both."""
    both = sorted(first.keys() & second.keys())
    if not both:
        return None
    mine, theirs = ([rows[one] for one in both] for rows in (first, second))
    difference = paired([float(row["hidden"]) for row in mine], [float(row["hidden"]) for row in theirs])
    return Compared(
        difference, _ratio(sum(row["calls"] for row in mine), sum(row["calls"] for row in theirs))
    )


def differences(arms: Mapping[str, Rows]) -> Table:
    """The planned differences that have rows."""
    table = Table(
        *("arm", "against", "problems", "solved more, points", "better", "worse", "p", "share of its calls"),
        title="Differences, paired by problem",
    )
    for first, second in PAIRS:
        found = compare(arms.get(first, {}), arms.get(second, {}))
        if found:
            told = found.solved
            table.add_row(
                *(first, second, str(told.problems), _points(told), str(told.better), str(told.worse)),
                f"{told.p:.3f}",
                f"{found.calls:.0%}",
            )
    return table


def _points(told: Difference) -> str:
    return f"{100 * told.value:+.1f} [{100 * told.low:+.1f}, {100 * told.high:+.1f}]"


def choice(rows: Rows) -> tuple[int, int]:
    """On how many problems a right program passes the public tests, and how many are solved."""
    could = [row for row in rows.values() if row["right"]]
    return len(could), sum(row["hidden"] for row in could)


def choices(arms: Mapping[str, Rows]) -> Table:
    """How each arm chose among the programs that passed the public tests."""
    table = Table(
        *("arm", "a program passes", "a right one among them", "chosen", "share", "had to choose", "right"),
        title="Choice among programs that pass the public tests",
        caption="had to choose: of the problems with a right program those with a wrong one that passes, too",
    )
    for name, rows in arms.items():
        could, chosen = choice(rows)
        split = [row for row in rows.values() if 0 < row["right"] < row["passing"]]
        share = wilson(chosen, could) if could else None
        table.add_row(
            name,
            str(sum(row["passing"] > 0 for row in rows.values())),
            str(could),
            str(chosen),
            f"{share.value:.1%} [{share.low:.1%}, {share.high:.1%}]" if share else "",
            str(len(split)),
            str(sum(row["hidden"] for row in split)),
        )
    return table


def moves(arms: Mapping[str, Rows]) -> Table:
    """How often each move was made, and what it gave."""
    table = Table(
        *("arm", "move", "agent", "made", "a problem", "programs that pass", "share"),
        title="Moves: programs that pass the public tests",
    )
    for name, rows in arms.items():
        made, passed = Counter[str](), Counter[str]()
        for row in rows.values():
            for move, (count, good) in row["moves"].items():
                made[move] += count
                passed[move] += good
        for move, count in sorted(made.items()):
            kind, _, agent = move.partition("/")
            writes = kind in ("answer", "write", "repair", "rethink")
            table.add_row(
                *(name, kind, agent, str(count), f"{count / len(rows):.2f}"),
                *((str(passed[move]), f"{passed[move] / count:.0%}") if writes else ("", "")),
            )
    return table


def targets(arms: Mapping[str, Rows], problems: int) -> list[str]:
    """What the rows say on each target of the plan, complete or not."""
    told = ["pooled target (3 points above the best pooled rival): no rows, see boost.md"]
    against = compare(arms.get("search", {}), arms.get("best of 16", {}))
    if against is None:
        told.append("unpooled target: no problem has rows of both the search and best of 16")
    else:
        points, share = 100 * against.solved.value, against.calls
        met = points >= -POINTS and share <= SHARE_OF_CALLS
        aim = f"no more than {POINTS:g} points below best of 16, at {SHARE_OF_CALLS:.0%} of its calls"
        verdict = _met(met, against.solved.problems, problems)
        told.append(f"unpooled target ({aim}): {_points(against.solved)} at {share:.0%}: {verdict}")
    now, then = (choice(arms.get(name, {})) for name in ("search", "old default"))
    if now[0] and then[0]:
        shares = [chosen / could for could, chosen in (now, then)]
        count = len(arms["search"].keys() & arms["old default"].keys())
        told.append(
            f"choice (at least as good as the old default's): {shares[0]:.1%} against {shares[1]:.1%}: "
            f"{_met(shares[0] >= shares[1], count, problems)}"
        )
    else:
        told.append("choice: the search or the old default has no rows with a right program")
    return told


def _met(met: bool, count: int, problems: int) -> str:
    word = "met" if met else "missed"
    return word if count == problems else f"{word} so far, on {count} of {problems} problems"


def missing(arms: Mapping[str, Rows], problems: int) -> list[str]:
    """What the plan has and the rows have not."""
    told = [
        f"{name}: {problems - len(arms.get(name, {}))} of {problems} problems are missing"
        for name in ARMS
        if len(arms.get(name, {})) < problems
    ]
    return [*told, *(f"{name}: cannot be run yet" for name in POOLED)]
