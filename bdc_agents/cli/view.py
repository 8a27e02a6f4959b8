"""`bdc view`: a finished run in the terminal, or as one HTML file."""

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from bdc_agents.cli.exits import SOLVED, note
from bdc_agents.cli.solve import print_code
from bdc_agents.errors import UsageError
from bdc_agents.runs import find_trace, read_traces, write_text
from bdc_agents.types import Trace
from bdc_agents.view.html import render_html
from bdc_agents.view.tree import runs_table, tree_report


def view(run: Path, *, html: Path | None, problem: str | None) -> int:
    """Shows a run.

    Args:
        run: A run folder or a file of traces.
        html: Where to write the page; None for the terminal.
        problem: Which problem; None for all.

    Returns:
        The exit code.
    """
    traces = read_traces(run)
    if not traces:
        raise UsageError(f"{str(run)!r} holds no finished search yet")
    # A problem that was searched again counts by its last search.
    chosen = [find_trace(traces, problem)] if problem else [*{t.problem.id: t for t in traces}.values()]
    if html:
        write_text(html, render_html(chosen, "" if problem or len(chosen) == 1 else run.resolve().name))
        note(f"written to {html}")
    else:
        _show(chosen, run)
    return SOLVED


def report(run: Path) -> int:
    """Writes the `report.html` of a run folder anew, and tells what is wrong with the run.

    Returns:
        The exit code.

    Raises:
        UsageError: If it is no run folder, or holds no trace.
    """
    from bdc_agents.cli.collect import REPORT_FILE, write_report

    if run.is_file():
        raise UsageError(f"{str(run)!r} is a file; --report is for a run folder, and writes into it")
    found = write_report(run)
    if found is None:
        raise UsageError(f"{str(run)!r} holds no finished search yet")
    for finding in found.findings:
        print(f"! {finding}")
    note(f"written to {run / REPORT_FILE}")
    return SOLVED


def _show(traces: Sequence[Trace], run: Path) -> None:
    console = Console()
    if len(traces) == 1:
        console.print(tree_report(traces[0]))
        print_code(traces[0].solution.code, console)
        return
    console.print(runs_table(traces))
    note(f"one of them: bdc view {run} --problem ID; all of them as a page: bdc view {run} --html FILE")
