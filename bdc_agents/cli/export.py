"""`bdc export`: a run as files that training tools load."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bdc_agents.cli.exits import SOLVED, guarded, note
from bdc_agents.errors import UsageError

if TYPE_CHECKING:
    from bdc_agents.runs.export.rows import Report

EXAMPLES = (
    "bdc export runs/mbpp --kind sft --out sft.jsonl --against humaneval --against mbpp:test --data DATA",
    "bdc export runs/one runs/two --kind dpo --out pairs.jsonl.gz",
    "bdc export runs/mbpp --kind matrix --out matrix.jsonl",
    "bdc export runs/mbpp --kind traces --out traces.parquet",
)
_SHOWN = 3
"""Examples of each thing that was left out."""


@guarded
def export(
    run: Annotated[list[Path], typer.Argument(metavar="RUN...", help="Run folders or files of traces.")],
    kind: Annotated[
        str,
        typer.Option(
            metavar="KIND",
            help="sft, dpo (pairs of steps), pairs (of programs), matrix (author x coder), or traces (kept "
            "or not).",
        ),
    ],
    out: Annotated[
        Path, typer.Option(metavar="FILE", help="JSON Lines; .gz compresses it, .parquet makes it Parquet.")
    ],
    rows: Annotated[
        list[str] | None,
        typer.Option(
            metavar="ROWS",
            help="Rows of sft: p2t (problem to thoughts), t2s (with thoughts to program), direct (to "
            "program), repair (failed program to mended). Default: all. May be repeated.",
        ),
    ] = None,
    against: Annotated[
        list[str] | None,
        typer.Option(
            metavar="SET",
            help="Leave out what overlaps this evaluation set, such as mbpp:test. May be repeated.",
        ),
    ] = None,
    data: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Folder of the data sets. Default: BDC_DATA.")
    ] = None,
    unscored: Annotated[
        bool, typer.Option("--unscored", help="Also take solved problems on which no hidden test was run.")
    ] = False,
    duplicates: Annotated[
        bool, typer.Option("--duplicates", help="Also take problems that say the same as another.")
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the report as one JSON object on stdout.")
    ] = False,
) -> int:
    """Write what a run found as training data or tables.

    Only programs that pass all hidden tests and do not special-case the public ones are taken.
    """
    # Runs import the search, and with it LangGraph: `--help` needs neither.
    from bdc_agents.runs.export.overlap import evaluation_set
    from bdc_agents.runs.export.rows import SFT_ROWS, TRAINING, check
    from bdc_agents.runs.export.rows import export as write

    check(kind, rows or ())
    if against and kind not in TRAINING:
        raise UsageError(f"--against is for training data: --kind {', '.join(TRAINING)}, not {kind}")
    evaluated = evaluation_set(against, data) if against else None
    report = write(
        run,
        out,
        kind,
        rows=rows or SFT_ROWS,
        against=evaluated,
        unscored=unscored,
        duplicates=duplicates,
    )
    if as_json:
        print(report.model_dump_json())
    else:
        _tell(report, out, against or [])
    return SOLVED


def _tell(report: "Report", out: Path, against: list[str]) -> None:
    from bdc_agents.runs.store import REASONS

    kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(report.rows.items()))
    total = sum(report.rows.values())
    named = f" ({kinds})" if len(report.rows) > 1 else ""
    note(f"written to {out}: {total} rows{named} from {report.kept} of {report.traces} traces")
    for name, count in sorted(report.rejected.items()):
        note(f"  {count} left out: {name}: {REASONS.get(name, 'refused when it was stored')}")
    if against:
        note(f"  {len(report.contaminated)} left out: they overlap {', '.join(against)}")
        for overlap in report.contaminated[:_SHOWN]:
            shown = f": {overlap.example!r}" if overlap.example else ""
            note(f"    {overlap.problem} and {overlap.other} ({overlap.why} {overlap.share:.0%}){shown}")
    if report.duplicates:
        note(f"  {len(report.duplicates)} left out: they say nearly the same as another problem")
        for problem, other in report.duplicates[:_SHOWN]:
            note(f"    {problem} and {other}")
    if report.repeated:
        note(f"  {report.repeated} rows left out: they are equal to another")
    for damage in report.damaged[:_SHOWN]:
        note(f"  left out: {damage}")
    if len(report.damaged) > _SHOWN:
        note(f"  and {len(report.damaged) - _SHOWN} more damaged lines")
