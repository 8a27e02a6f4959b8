"""Runs: search many problems and keep their traces on disk, one folder a run."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

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
    from bdc_agents.runs.collect import CollectConfig, Collected, acollect

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

# These import the search, so they are loaded on first use: showing a run does not need it.
_LAZY = {"CollectConfig", "Collected", "acollect"}


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module 'bdc_agents.runs' has no attribute {name!r}")
    return getattr(import_module("bdc_agents.runs.collect"), name)
