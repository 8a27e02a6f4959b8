"""The second half of `bdc demo --distill`: solved problems become experts, which answer a new problem."""

import asyncio
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from bdc_agents.agents import load_agents
from bdc_agents.cli.exits import note
from bdc_agents.cli.inputs import closing
from bdc_agents.config import Settings
from bdc_agents.data import load_task
from bdc_agents.runs import decide
from bdc_agents.runs.hidden import score_hidden
from bdc_agents.sandbox import create_executor
from bdc_agents.sync import run_sync
from bdc_agents.types import Frozen, Hidden, Trace

if TYPE_CHECKING:
    from bdc_agents.experts.library import ExpertLibrary
    from bdc_agents.serve.solver.answers import SolverAnswer

KEPT_BACK = "demo:warm-days"
"""The problem that no stage before the last sees."""
RECIPE = "tiny"
SEARCH_SECONDS = 90.0


class Story(Frozen):
    """What the stages after the searches did.

    Args:
        solved: Problems of the searches that were trained on.
        further: Problems of other searches that were.
        experts: By name, the rows each was trained on.
        library: The folder.
        answer: The solver's answer to the problem that was kept back, as plain data.
        hidden: How its program did on the hidden tests; None where it wrote none.
        distil_seconds, answer_seconds: Wall time of the two stages.
    """

    solved: int
    further: int
    experts: dict[str, int]
    library: str
    answer: dict[str, Any]
    hidden: Hidden | None
    distil_seconds: float
    answer_seconds: float


def require_stages() -> None:
    """Sees before the searches that the stages after them can run.

    Raises:
        ModelError: If their libraries are not installed.
    """
    from bdc_agents.extras import need

    for module in ("torch", "transformers", "peft", "sklearn"):
        need(module)


def tell(
    found: Sequence[tuple[Trace, Hidden | None]],
    further: Sequence[Trace],
    lineage: Mapping[str, str],
    settings: Settings,
    names: Sequence[str],
    out: Path,
    quiet: bool,
) -> Story:
    """Distils what was solved, and lets the result answer the problem that was kept back.

    Args:
        found: Traces of the searches, and how their programs did on the hidden tests.
        further: Traces of other searches, to train on too.
        lineage: Hashes of the files that those came from, by name.
        names: The agents of System 2.
        out: The run folder, in which the library is made.
        quiet: No live view.

    Raises:
        UsageError: If no problem was solved.
        ModelError: If the base model cannot be had.
    """
    began = time.monotonic()
    traces = [trace.model_copy(update={"decision": decide(trace, hidden)}) for trace, hidden in found]
    library = _distil([*traces, *further], out / "library", lineage, quiet)
    distilled = time.monotonic()
    answer, hidden = run_sync(_answer(library.folder, settings, names, out / "solver"))
    return Story(
        solved=_kept(traces),
        further=_kept(further),
        experts={expert.name: expert.rows for expert in library.manifest.experts},
        library=str(library.folder),
        answer=answer.model_dump(mode="json"),
        hidden=hidden,
        distil_seconds=round(distilled - began, 1),
        answer_seconds=round(time.monotonic() - distilled, 1),
    )


def _kept(traces: Sequence[Trace]) -> int:
    return sum(trace.decision is None or trace.decision.kept for trace in traces)


def _distil(
    traces: Sequence[Trace], folder: Path, lineage: Mapping[str, str], quiet: bool
) -> "ExpertLibrary":
    from bdc_agents.distill.pipeline import distill
    from bdc_agents.distill.recipe import load_recipe
    from bdc_agents.distill.training.curves import live_losses

    with live_losses(Console(stderr=True, quiet=quiet)) as watch:
        recipe = load_recipe(RECIPE)
        made = distill(traces, folder, recipe, lineage=lineage, one_expert=True, say=note, watch=watch)
        return made.library


async def _answer(
    library: Path, settings: Settings, names: Sequence[str], store: Path
) -> "tuple[SolverAnswer, Hidden | None]":
    from bdc_agents.serve.solver.runnable import BDCSolver

    task, agents = load_task(KEPT_BACK), load_agents(settings, names)
    executor = create_executor(settings.sandbox)
    budget = settings.budget.model_copy(update={"seconds": settings.budget.seconds or SEARCH_SECONDS})
    async with closing(agents, executor):
        note(f"the solver answers {KEPT_BACK}, which no stage has seen")
        # Loading waits for downloads, which this thread's loop has to carry out.
        solver = await asyncio.to_thread(
            BDCSolver.from_library,
            library,
            agents=agents,
            executor=executor,
            search=settings.search,
            budget=budget,
            traces=store,
        )
        answer = await solver.ainvoke(task.problem)
        hidden = await score_hidden(task, answer.code, executor) if answer.code else None
        return answer, hidden


def show(story: Story, console: Console) -> None:
    """One line for each stage, and the program."""
    answer = story.answer
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="dim", title_justify="left")
    for name in ("stage", "what it did", "seconds"):
        table.add_column(name, justify="right" if name == "seconds" else "left")
    experts = ", ".join(f"{name} ({rows} rows)" for name, rows in story.experts.items())
    further = f" and {story.further} of --traces" if story.further else ""
    did = f"{story.solved} solved problems{further}: {experts}"
    table.add_row("disentangle", did, f"{story.distil_seconds:.0f}")
    table.add_row("customize", _told(story), f"{story.answer_seconds:.0f}")
    console.print(table)
    console.print(Text(f"\n{answer['code'].rstrip() or '(no program)'}\n"))
    console.print(Text(f"the experts: {story.library}; serve them: bdc serve {story.library}"))


def _told(story: Story) -> str:
    answer = story.answer
    weights = ", ".join(f"{name} {weight:.2f}" for name, weight in answer["experts"].items())
    wrote = f"{answer['samples']} programs by the experts ({weights}, weighed by the {answer['routed_by']})"
    found = "passes the public tests" if answer["solved"] else "passes not all public tests"
    if answer["system"] == 2:
        found = f"none passes; the search was asked, whose program {found}"
    hidden = f", {story.hidden.passed} of {story.hidden.total} hidden ones" if story.hidden else ""
    return f"{KEPT_BACK}: {wrote}: {found}{hidden}"
