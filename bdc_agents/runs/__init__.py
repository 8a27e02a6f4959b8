"""Runs: search many problems and keep their traces on disk, one folder a run."""

from typing import TYPE_CHECKING

from bdc_agents.extras import lazily
from bdc_agents.runs.folder import (
    CHECKPOINT_FILE,
    Run,
    find_trace,
    open_run,
    read_run,
    read_traces,
    trace_file,
    write_solution,
    write_text,
    write_trace,
)
from bdc_agents.runs.store import REASONS, decide, lineage_of

if TYPE_CHECKING:
    from bdc_agents.runs.collect.run import CollectConfig, Collected, acollect

__all__ = [
    "CHECKPOINT_FILE",
    "REASONS",
    "CollectConfig",
    "Collected",
    "Run",
    "acollect",
    "decide",
    "find_trace",
    "lineage_of",
    "open_run",
    "read_run",
    "read_traces",
    "trace_file",
    "write_solution",
    "write_text",
    "write_trace",
]

# Collecting imports the search; showing a run does not need it.
_HOMES = {
    "CollectConfig": "bdc_agents.runs.collect.run",
    "Collected": "bdc_agents.runs.collect.run",
    "acollect": "bdc_agents.runs.collect.run",
}

__getattr__ = lazily(__name__, _HOMES)
