"""The figures of a comparison, computed from its folder alone."""

from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from statistics import fmean

from bdc_agents.distill.training.experts import SHARED
from bdc_agents.errors import ModelError
from bdc_agents.evaluate.figures.groups import by_problem, by_solver, difference
from bdc_agents.evaluate.figures.metrics import Difference, Interval, mean_interval, paired
from bdc_agents.evaluate.library.bench import Bench
from bdc_agents.evaluate.library.losses import (
    LOSSES_FILE,
    REFERENCES,
    ROWS_FILE,
    HeldOutRows,
    Losses,
    left_out,
    method_names,
    read_rows,
    unmixed,
)
from bdc_agents.evaluate.library.methods import MethodLoss
from bdc_agents.evaluate.library.replies import ReplyLine, open_replies, tokens_per_second
from bdc_agents.evaluate.results import SUMMARY_FILE, Row, read_record
from bdc_agents.evaluate.results import read_rows as read_results
from bdc_agents.runs import write_text
from bdc_agents.types import Frozen, Task

_BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}


class MethodFigures(Frozen):
    """What one method reached.

    Args:
        loss: Mean loss of a held-out token; None where none was scored.
        against_loss: Its difference to the reference, paired by problem; below 0 is better.
        passed: Share of problems whose program passes every test, public and hidden; None before
            any program was run.
        against_passed: Its difference to the reference, paired by problem.
        problems: How many programs were run.
        tokens_per_second: Written, of all problems of a batch together.
        tokens: Of a reply, mean.
        cut: Share of replies that were cut off at the token limit.
        parameters: Numbers in memory besides the base.
        megabytes: What these take in the base's number format.
    """

    name: str
    loss: float | None = None
    against_loss: Difference | None = None
    passed: Interval | None = None
    against_passed: Difference | None = None
    problems: int = 0
    tokens_per_second: float | None = None
    tokens: float | None = None
    cut: float | None = None
    parameters: int | None = None
    megabytes: float | None = None


class CompareSummary(Frozen):
    """The figures of a comparison.

    Args:
        reference: The method that the others are compared with: the adapter trained on all data, or
            the base where there is none.
        hidden: How many of the problems have hidden tests.
        loss_on: What the loss is measured on, in words; empty where it is not.
        loss_tokens: How many tokens that is.
        notes: What a person should know.
    """

    version: int = 1
    library: str
    base: str
    problems: tuple[str, ...]
    count: int
    hidden: int
    reference: str
    loss_on: str = ""
    loss_tokens: int = 0
    methods: tuple[MethodFigures, ...]
    notes: tuple[str, ...] = ()
    created: str
    package: str

    def method(self, name: str) -> MethodFigures:
        """The figures of one method.

        Raises:
            KeyError: If it was not compared.
        """
        found = {one.name: one for one in self.methods}
        return found[name]


def write_summary(bench: Bench, losses: Losses, tasks: Sequence[Task], out: Path) -> CompareSummary:
    """Computes the figures and writes `summary.json`.

    Args:
        tasks: The held-out problems.
        out: The folder of the comparison.
    """
    names = method_names(bench)
    rows = by_solver(read_results(out), names)
    replies = _by_method([*open_replies(out).lines.values()])
    reference = SHARED if SHARED in bench.library.names else "base"
    held = read_rows(out) or HeldOutRows()
    figures = [
        _figures(
            name,
            losses.done,
            held,
            rows,
            replies.get(name, []),
            reference,
            _BYTES.get(str(bench.library.manifest.base.get("dtype")), 4),
        )
        for name in names
    ]
    record = read_record(out)
    summary = CompareSummary(
        library=bench.library.folder.resolve().name,
        base=str(bench.library.manifest.base.get("name", "")),
        problems=bench.config.problems,
        count=len(tasks),
        hidden=sum(len(task.hidden) > 0 for task in tasks),
        reference=reference,
        loss_on=_told(held),
        loss_tokens=sum(held.tokens),
        methods=tuple(figures),
        notes=_notes(bench, held, tasks),
        created=record.created,
        package=version("bdc-agents"),
    )
    write_text(out / SUMMARY_FILE, summary.model_dump_json(indent=2) + "\n")
    return summary


def _by_method(lines: Sequence[ReplyLine]) -> dict[str, list[ReplyLine]]:
    found: dict[str, list[ReplyLine]] = {}
    for line in lines:
        found.setdefault(line.method, []).append(line)
    return found


def _figures(
    name: str,
    losses: Mapping[str, MethodLoss],
    held: HeldOutRows,
    rows: Mapping[str, list[Row]],
    replies: Sequence[ReplyLine],
    reference: str,
    size: int,
) -> MethodFigures:
    own, other = losses.get(name), losses.get(reference)
    mine, theirs = rows.get(name, []), rows.get(reference, [])
    solved = [*by_problem(mine, _solved).values()]
    return MethodFigures(
        name=name,
        loss=own.loss if own else None,
        against_loss=_loss_difference(own, other, held) if own and other and name != reference else None,
        passed=mean_interval(solved) if solved else None,
        against_passed=difference(mine, theirs, _solved) if name != reference else None,
        problems=len(solved),
        tokens_per_second=tokens_per_second(replies),
        tokens=fmean(line.completion_tokens for line in replies) if replies else None,
        cut=fmean(line.finish == "length" for line in replies) if replies else None,
        parameters=own.parameters if own else None,
        megabytes=own.parameters * size / 1e6 if own else None,
    )


def _solved(row: Row) -> float:
    return float(row.solved)


def _loss_difference(own: MethodLoss, other: MethodLoss, held: HeldOutRows) -> Difference:
    """Paired by problem; its value is the difference of the two mean losses of a token."""
    return paired(_shares(own, held), _shares(other, held), shares=False)


def _shares(found: MethodLoss, held: HeldOutRows) -> list[float]:
    """Each problem's part of the mean loss, times the number of problems, so that their mean is it."""
    if len(found.rows) != len(held.problems):
        raise ModelError(
            f"{LOSSES_FILE} has {len(found.rows)} rows of {found.name}, {ROWS_FILE} {len(held.problems)}: "
            "take both away, and compare again"
        )
    sums: dict[str, float] = {}
    for problem, loss in zip(held.problems, found.rows, strict=True):
        sums[problem] = sums.get(problem, 0.0) + loss
    return [loss * len(sums) / sum(held.tokens) for loss in sums.values()]


def _told(held: HeldOutRows) -> str:
    if not held.source:
        return ""
    count = len(held.problems)
    if held.source == REFERENCES:
        return f"the reference programs of {count} held-out problems"
    return f"{count} rows of problems that were held out when the library was made"


def _notes(bench: Bench, held: HeldOutRows, tasks: Sequence[Task]) -> tuple[str, ...]:
    notes: list[str] = []
    if alone := unmixed(bench):
        notes.append(f"Left out: {', '.join(alone)}. The library has one expert, and nothing to mix it with.")
    if missing := left_out(bench):
        notes.append(
            f"Left out: {', '.join(missing)}. They are trained on the traces that the library was made from; "
            "name these with --traces."
        )
    there, were = bench.rows_at_hand() if bench.config.traces else (0, 0)
    if there < were:
        notes.append(
            f"{there} of the {were} rows that the library was made from were named: methods that are trained "
            "here saw less than its own router."
        )
    if same := bench.library.duplicates():
        told = ", ".join(f"{name} is {kept}" for name, kept in same.items())
        notes.append(f"Experts with the same weights have one line: {told}.")
    if not held.source:
        notes.append(
            "No loss: the problems have no reference programs, and no traces were named, of which the "
            "library holds rows out."
        )
    if held.dropped:
        notes.append(f"{held.dropped} rows are too long or cannot be used, and have no loss.")
    if bare := sum(not len(task.hidden) for task in tasks):
        notes.append(
            f"{bare} of {len(tasks)} problems have no hidden tests; there a program counts as right when it "
            "passes the public tests, which its prompt shows."
        )
    return tuple(notes)
