"""`bdc view`: a finished run in the terminal, or as one HTML file."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from bdc_agents.cli.exits import SOLVED, guarded, note, results
from bdc_agents.cli.solve import print_code
from bdc_agents.errors import UsageError
from bdc_agents.types import Trace

EXAMPLES = (
    "bdc view runs/demo",
    "bdc view runs/demo --problem demo:longest-streak",
    "bdc view runs/demo --problem demo:longest-streak --node 0.1",
    "bdc view runs/mbpp --failed",
    "bdc view runs/demo --html demo.html",
    "bdc view runs/mbpp --report",
)


@guarded
def view(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A run folder or a file of traces.")],
    html: Annotated[Path | None, typer.Option(metavar="FILE", help="Write one offline page.")] = None,
    problem: Annotated[
        str | None, typer.Option(metavar="ID", help="Only this problem, by its id or the end of it.")
    ] = None,
    node: Annotated[
        str | None,
        typer.Option(
            metavar="ID",
            help="Only this node of the tree, such as 0.1.4: its thoughts, calls and programs; with "
            "--problem in a run of several.",
        ),
    ] = None,
    failed: Annotated[bool, typer.Option("--failed", help="Only problems that are not solved.")] = False,
    report: Annotated[
        bool, typer.Option("--report", help="Write the report.html of a collection again, with its figures.")
    ] = False,
) -> int:
    """Show a run: its trees, programs and figures."""
    if node is not None and (html or failed or report):
        raise UsageError("--node shows one node in the terminal; leave out --html, --failed and --report")
    return _report(run) if report else _view(run, html, problem, node, failed=failed)


def _view(run: Path, html: Path | None, problem: str | None, node: str | None, *, failed: bool) -> int:
    """Shows a run in the terminal, or writes its page."""
    # Runs import the search, and with it LangGraph: `--help` needs neither.
    from bdc_agents.runs import find_trace, read_traces, write_text
    from bdc_agents.view.html import render_html

    traces = read_traces(run)
    if not traces:
        raise UsageError(f"{str(run)!r} holds no finished search yet")
    # A problem that was searched again counts by its last search.
    chosen = [find_trace(traces, problem)] if problem else [*{t.problem.id: t for t in traces}.values()]
    if failed:
        chosen = [trace for trace in chosen if not trace.solution.solved]
        if not chosen:
            note(f"every problem of {run} is solved")
            return SOLVED
    if node is not None:
        return _show_node(chosen, node)
    if html:
        write_text(html, render_html(chosen, "" if problem or len(chosen) == 1 else run.resolve().name))
        note(f"written to {html}")
    else:
        _show(chosen, run)
    return SOLVED


def _show_node(traces: Sequence[Trace], node: str) -> int:
    """Shows one node of the only problem.

    Raises:
        UsageError: If there are several problems, or no such node.
    """
    from bdc_agents.view.node import node_report

    if len(traces) > 1:
        raise UsageError(
            f"the run holds {len(traces)} problems; say which one's node: --problem ID --node {node}"
        )
    results().print(node_report(traces[0], node))
    return SOLVED


def _report(run: Path) -> int:
    """Writes the `report.html` of a run folder anew, and tells what is wrong with the run.

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
    from bdc_agents.view.tree import RunsView, tree_report

    console = results()
    if len(traces) == 1:
        console.print(tree_report(traces[0]))
        print_code(traces[0].solution.code, console)
        return
    console.print(RunsView(traces))
    note(f"one of them: bdc view {run} --problem ID; all of them as a page: bdc view {run} --html FILE")
