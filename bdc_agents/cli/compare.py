"""`bdc compare`: the ways to use a library's experts, in one table."""

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from bdc_agents.cli.exits import guarded, note, results, tell_own
from bdc_agents.cli.inputs import read_settings
from bdc_agents.cli.options import AllowUnsafe, AsJson, Data, Silent
from bdc_agents.errors import UsageError
from bdc_agents.experts.manifest import read_manifest
from bdc_agents.sandbox import create_executor

if TYPE_CHECKING:
    from bdc_agents.evaluate.library.config import CompareConfig
    from bdc_agents.evaluate.library.run import Watch
    from bdc_agents.evaluate.library.summary import CompareSummary, MethodFigures
    from bdc_agents.runs.collect.left_out import LeftOut

EXAMPLES = (
    "bdc compare experts/library/mine --problems mbpp:11-110 --traces runs/mbpp --data DATA",
    "bdc compare experts/library/mine --problems humaneval --method experts --method router-default",
    "bdc compare --config runs/compare/compare.json --out runs/again",
)
WIDE = 140
"""Columns that the whole table takes."""


@guarded
def compare(
    library: Annotated[
        Path | None, typer.Argument(metavar="LIBRARY", help="A library of bdc distill.")
    ] = None,
    problems: Annotated[
        list[str] | None,
        typer.Option(metavar="SET", help="A data set or a range such as mbpp:11-110. May be repeated."),
    ] = None,
    traces: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="RUN",
            help="What the library was made from. Routers and X-LoRA that it lacks are trained on it. "
            "May be repeated.",
        ),
    ] = None,
    method: Annotated[
        list[str] | None,
        typer.Option(
            "--method",
            "--methods",
            metavar="NAME,...",
            help="base, experts, uniform, nearest, membership, ties, dare, arrow, xlora, router-default, "
            "router-paper. Default: all. May be repeated.",
        ),
    ] = None,
    out: Annotated[
        Path, typer.Option(metavar="DIR", help="Folder of the results. An existing one is resumed.")
    ] = Path("runs/compare"),
    data: Data = None,
    limit: Annotated[int | None, typer.Option(help="Most problems.")] = None,
    only: Annotated[
        list[str] | None,
        typer.Option("--filter", metavar="KEY=VALUE,...", help="Only problems of this difficulty or tag."),
    ] = None,
    shuffle_seed: Annotated[
        int | None, typer.Option(help="Shuffle the problems; the same seed gives the same order.")
    ] = None,
    max_tokens: Annotated[int | None, typer.Option(help="Most tokens of one reply. Default: 512.")] = None,
    batch: Annotated[int | None, typer.Option(help="Replies generated at once. Default: 8.")] = None,
    density: Annotated[
        float | None, typer.Option(help="Share of entries that TIES and DARE keep. Default: 0.5.")
    ] = None,
    base: Annotated[
        str | None, typer.Option(metavar="MODEL", help="The base model, if it is not where the library says.")
    ] = None,
    dtype: Annotated[
        str | None, typer.Option(help="Number format of the base: auto, float32 or bfloat16.")
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="The compare.json of a comparison. Options override it."),
    ] = None,
    as_json: AsJson = False,
    quiet: Silent = False,
    allow_unsafe: AllowUnsafe = False,
) -> int:
    """Compare the ways to use a library's experts.

    Base, each expert, the adapter trained on all data, mixtures, TIES, DARE, Arrow, X-LoRA and the
    hypernetwork, on problems that the library has not seen: loss, problems solved by one greedy
    program each, tokens a second, and memory. The same command again goes on where it was cut off.
    """
    options = {
        "library": str(library) if library else None,
        "problems": tuple(problems or ()),
        "traces": tuple(map(str, traces or ())),
        "methods": tuple(name.strip() for text in method or () for name in text.split(",") if name.strip()),
        "filters": tuple(only or ()),
        "limit": limit,
        "shuffle_seed": shuffle_seed,
        "max_tokens": max_tokens,
        "batch": batch,
        "density": density,
        "base": base,
        "dtype": dtype,
    }
    plan = _plan(config, options)
    read_manifest(Path(plan.library))  # A missing folder is told before a missing package.
    # These need the extra `distill`.
    from bdc_agents.evaluate.library.run import compare as run
    from bdc_agents.experts.devices import use_idle_cores

    settings = read_settings(None, allow_unsafe=allow_unsafe)
    # Threads that wait for a busy core hold up all others.
    use_idle_cores()
    left_out: list[LeftOut] = []
    with _Board(silent=quiet) as board:
        watch = replace(board.watch(), left_out=left_out.append)
        summary = run(plan, out, lambda: create_executor(settings.sandbox), data=data, watch=watch)
    _show(summary, out, as_json)
    return tell_own(left_out)


def _plan(file: Path | None, options: dict[str, Any]) -> "CompareConfig":
    from bdc_agents.evaluate.library.config import build_config, read_config

    if file is not None:
        options = read_config(file).model_dump() | {
            key: value for key, value in options.items() if value is not None and value != ()
        }
    if not options["library"] or not options["problems"]:
        raise UsageError(
            "give a library and the problems: bdc compare LIBRARY --problems mbpp:11-110, or --config "
            "compare.json"
        )
    return build_config(**options)


class _Board:
    """Progress: bars in a terminal, lines anywhere else.

    Args:
        silent: Shows nothing.
    """

    def __init__(self, *, silent: bool) -> None:
        console = Console(stderr=True)
        self._silent = silent
        self._live = not silent and console.is_terminal and not console.is_dumb_terminal
        self._bars = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=30),
            MofNCompleteColumn(),
            TextColumn("{task.fields[told]}", markup=False),
            TimeElapsedColumn(),
            console=console,
            disable=not self._live,
        )
        self._tasks: dict[str, Any] = {}
        self._counts: dict[str, list[int]] = {}

    def __enter__(self) -> "_Board":
        self._bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bars.stop()

    def watch(self) -> "Watch":
        """What the comparison tells."""
        from bdc_agents.evaluate.library.run import Watch

        return Watch(say=self._say, plan=self._plan, reply=self._reply, row=self._row, step=self._step)

    def _say(self, text: str) -> None:
        if self._live:
            self._bars.console.print(text, markup=False, style="dim")
        elif not self._silent:
            note(text)

    def _plan(self, names: Any, problems: int, replies: Any, rows: Any) -> None:
        done: dict[str, int] = {}
        for line in replies:
            done[line.method] = done.get(line.method, 0) + 1
        passed: dict[str, list[int]] = {}
        for row in rows:
            counts = passed.setdefault(row.solver, [0, 0])
            counts[0], counts[1] = counts[0] + row.solved, counts[1] + 1
        for name in names:
            self._counts[name] = [done.get(name, 0), problems, *passed.get(name, [0, 0])]
            self._tasks[name] = self._bars.add_task(
                name, total=problems, completed=done.get(name, 0), told=self._passed(name)
            )

    def _passed(self, name: str) -> str:
        solved, ran = self._counts[name][2:]
        return f"{solved} of {ran} right" if ran else ""

    def _reply(self, line: Any) -> None:
        counts = self._counts[line.method]
        counts[0] += 1
        self._bars.update(self._tasks[line.method], completed=counts[0])
        if counts[0] == counts[1] and not self._live:
            self._say(f"{line.method}: {counts[0]} of {counts[1]} programs written")

    def _row(self, row: Any) -> None:
        counts = self._counts[row.solver]
        counts[2], counts[3] = counts[2] + row.solved, counts[3] + 1
        self._bars.update(self._tasks[row.solver], told=self._passed(row.solver))
        if counts[3] == counts[1] and not self._live:
            self._say(f"{row.solver}: {self._passed(row.solver)}")

    def _step(self, report: Any) -> None:
        if report.validation:
            told = ", ".join(f"{loss:.4f}" for loss in report.validation.values())
            self._say(f"  after step {report.step} of {report.steps}: held-out loss {told}")


def _show(summary: "CompareSummary", out: Path, as_json: bool) -> None:
    from bdc_agents.evaluate.library.report import lead
    from bdc_agents.evaluate.results import REPORT_FILE

    if as_json:
        print(json.dumps(summary.model_dump(mode="json") | {"folder": str(out)}))
        return
    console = results()
    if not console.is_terminal:
        console.width = max(console.width, WIDE)  # A file or a pipe has no edge.
    console.print(_table(summary, console.width))
    for text in (lead(summary), *summary.notes):
        console.print(text, style="dim", markup=False)
    print(f"everything: {out / REPORT_FILE}", file=sys.stdout)


def _table(summary: "CompareSummary", width: int) -> Table:
    """The figures, as many as fit: a number that is cut off says nothing."""
    from bdc_agents.evaluate.library.report import cost_cells, ordered

    against, whole = f"against {summary.reference}", width >= WIDE
    heads = ["loss", "pass@1", "tokens/s"]
    if whole:
        heads = ["loss", against, "pass@1", against, "tokens/s", "parameters", "MB"]
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="dim")
    table.add_column("method", overflow="fold", min_width=12)
    for head in heads:
        table.add_column(head, justify="right", no_wrap=True)
    for one in ordered(summary.methods):
        speed, _, _, parameters, megabytes = cost_cells(one)
        loss, passed = _loss_cells(one), _passed_cells(one)
        cells = (*loss, *passed, speed, parameters, megabytes) if whole else (loss[0], passed[0], speed)
        table.add_row(one.name, *cells)
    if not whole:
        table.caption, table.caption_justify = (
            f"differences and memory: {WIDE} columns, or the report",
            "left",
        )
    return table


def _loss_cells(one: "MethodFigures") -> tuple[str, str]:
    found = one.against_loss
    told = f"{found.value:+.4f} [{found.low:+.4f}, {found.high:+.4f}]" if found else "-"
    return "-" if one.loss is None else f"{one.loss:.4f}", told


def _passed_cells(one: "MethodFigures") -> tuple[str, str]:
    share, found = one.passed, one.against_passed
    told = f"{100 * found.value:+.1f} [{100 * found.low:+.1f}, {100 * found.high:+.1f}]" if found else "-"
    return (
        f"{share.value:.1%} [{100 * share.low:.0f}, {100 * share.high:.0f}]" if share else "-",
        told,
    )
