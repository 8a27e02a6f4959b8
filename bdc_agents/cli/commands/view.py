"""`bdc view`: a finished run."""

from pathlib import Path
from typing import Annotated

import typer

from bdc_agents.cli.exits import guarded

EXAMPLES = (
    "bdc view runs/demo",
    "bdc view runs/demo --problem demo:longest-streak",
    "bdc view runs/demo --html demo.html",
    "bdc view runs/mbpp --report",
)


@guarded
def view(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A run folder or a file of traces.")],
    html: Annotated[Path | None, typer.Option(metavar="FILE", help="Write one offline page.")] = None,
    problem: Annotated[str | None, typer.Option(metavar="ID", help="Only this problem.")] = None,
    report: Annotated[
        bool, typer.Option("--report", help="Write the report.html of a collection anew, with its figures.")
    ] = False,
) -> int:
    """Show a run: its trees, programs and figures."""
    from bdc_agents.cli.view import report as write
    from bdc_agents.cli.view import view as show

    return write(run) if report else show(run, html=html, problem=problem)
