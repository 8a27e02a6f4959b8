"""The rounds of `bdc distill --rounds`: how a library answers its training problems."""

from pathlib import Path
from typing import Any

from bdc_agents.cli.exits import note
from bdc_agents.config import AgentConfig, Budget, Settings
from bdc_agents.distill.rounds import Answer
from bdc_agents.errors import UsageError
from bdc_agents.runs import read_traces
from bdc_agents.runs.collect.engine import CollectConfig
from bdc_agents.runs.collect.run import collect
from bdc_agents.types import Trace

STUDENT = "student"
TEMPERATURE = 0.8
"""Of the answers: several tries at a problem have to differ. The usual value where programs are sampled for
training (Codex, arXiv 2107.03374, pass@100); not measured here."""


def answers(
    problems: tuple[str, ...],
    out: Path,
    settings: Settings,
    *,
    calls: int,
    backend: str | None,
    data: Path | None,
) -> Answer:
    """Lets a library write programs for problems; each round is a run of `bdc collect` in its folder.

    Args:
        problems: Data sets, as `bdc collect` names them.
        out: Folder of the rounds; their runs lie beside their libraries.
        settings: Of the sandbox and the store.
        calls: Programs for each problem.
        backend: What serves the library; None for this process.
        data: Folder of the data sets.
    """

    def answer(library: Path, number: int) -> list[Trace]:
        run = out / f"run-{number}"
        options: dict[str, Any] = {"options": {"backend": backend}} if backend else {}
        agent = AgentConfig(model=f"bdc:{library}", temperature=TEMPERATURE, options=options)
        search = settings.search.model_copy(
            update={"policy": "best-of-n", "stop_when_solved": False, "confirm": 1, "split": False}
        )
        student = settings.model_copy(
            update={"agents": {STUDENT: agent}, "search": search, "budget": Budget(calls=calls)}
        )
        config = CollectConfig(datasets=problems, agents=(STUDENT,), data=data, learn=False)
        collected, signal = collect(config, run, student, on_note=note)
        if signal is not None or collected.ended != "complete":
            raise UsageError(
                f"round {number} was cut off ({collected.ended}); the same command goes on where it was"
            )
        return [*read_traces(run)]

    return answer
