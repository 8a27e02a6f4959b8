"""How a run goes on after a kill: in the same folder, under the same configuration, from the traces it has.

The trace file is the record. The job table is made to agree with it: what has a trace stays done, and a
search that was cut off begins again and takes the replies it had from the cache.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from bdc_agents.config import Budget, SearchConfig
from bdc_agents.errors import ConfigError, in_a_sentence, other_agents
from bdc_agents.runs.collect.coordinator import TraceFile
from bdc_agents.runs.folder import RUN_FILE, open_run, read_run
from bdc_agents.runs.jobs.table import Job, JobTable

_SHAPES_REPLIES = ("model", "temperature", "max_tokens", "structured", "path", "options")
"""Agent settings that must not change within a run; limits, key and address may."""


def open_collection(out: Path, asked: Mapping[str, Any]) -> tuple[Path, list[str]]:
    """Makes the folder of a run, or opens it to resume the run.

    Args:
        out: The folder.
        asked: What `describe` returned.

    Returns:
        The folder, and each change that the run may survive, one line each.

    Raises:
        ConfigError: If the folder holds a run of another configuration; its message lists every
            difference.
        UsageError: If the folder cannot be used.
    """
    if not (out / RUN_FILE).is_file():
        return open_run(out, asked), []
    kept = read_run(out).settings
    if kept.get("command") != "collect":
        raise ConfigError(f"{out} holds a run of another command than bdc collect; name another folder")
    told = list(_differences(kept, asked))
    if told:
        shared = (
            "; the problems of a run that share a budget stay as they are, and so does the budget"
            if any(line.startswith("pool.") for line in told)
            else ""
        )
        raise ConfigError(
            f"{out} holds a run of another configuration: {in_a_sentence(told)}{shared}.\n"
            f"Put {'this' if len(told) == 1 else 'these'} back to go on with it, or begin another run: --out "
            f"{out}-2"
        )
    notes = []
    if kept.get("prompts") != asked.get("prompts"):
        notes.append("the prompts have changed since this run began; the lineage of each trace names its own")
    return open_run(out, asked), notes


def reconcile(table: JobTable, traces: TraceFile, jobs: Sequence[Job], *, owns: bool) -> list[str]:
    """Makes the table agree with the trace file, which is the record.

    Args:
        table, traces: The run's.
        jobs: All problems of the run as they are now.
        owns: Whether the file holds all traces of the table; False where it has one machine's alone.
    """
    notes = []
    done = table.done()  # Before the file is read: the traces of all these are then in it.
    there = traces.read()
    edited = traces.edited(jobs)
    table.found((problem, summary) for problem, summary in traces.history() if problem not in edited)
    if edited:
        # An edit is meant: the old trace stays in the file, and readers take the last one of a problem.
        table.reopen(edited)
        many = "1 problem was" if len(edited) == 1 else f"{len(edited)} problems were"
        notes.append(f"{many} edited since the last search: searched again")
    if owns and (gone := done - there.keys()):
        table.reopen(gone)
        notes.append(f"the traces of {len(gone)} problems that were done are gone: they are searched again")
    if owns and (dropped := table.drop({job.id for job in jobs})):
        many = "1 problem" if dropped == 1 else f"{dropped} problems"
        notes.append(f"{many} without a trace left out: no longer in the data")
    if again := table.retry():
        notes.append(f"{again} problems failed before and are tried again")
    return notes


def _differences(kept: Mapping[str, Any], asked: Mapping[str, Any]) -> Iterator[str]:
    """One line for each key whose change would make this another run."""
    before, after = _essence(kept), _essence(asked)
    if changed := other_agents(before["agents"], after["agents"]):
        yield changed
    for one, other in ((before, after), (after, before)):
        both = one["agents"].keys() & other["agents"].keys()
        one["agents"] = {name: one["agents"][name] for name in sorted(both)}
    then, now = dict(_flat(before)), dict(_flat(after))
    for key in sorted(then.keys() | now.keys()):
        if key not in now:
            yield f"{key}: {then[key]!r} in the run, not there now"
        elif key not in then:
            yield f"{key}: not there in the run, {now[key]!r} now"
        elif then[key] != now[key]:
            yield f"{key}: {then[key]!r} in the run, {now[key]!r} now"


def _essence(settings: Mapping[str, Any]) -> dict[str, Any]:
    agents = {
        name: {key: agent.get(key) for key in _SHAPES_REPLIES}
        for name, agent in dict(settings.get("agents", {})).items()
    }
    # A key that is newer than the run counts as its default.
    defaults = {"search": SearchConfig(), "budget": Budget()}
    filled = {
        key: default.model_dump(mode="json") | dict(settings.get(key, {}))
        for key, default in defaults.items()
    }
    kept = {key: value for key, value in settings.items() if key != "prompts"}
    return {"learn": True} | kept | filled | {"agents": agents}


def _flat(settings: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in settings.items():
        if isinstance(value, Mapping) and value:
            yield from _flat(value, f"{prefix}{key}.")
        elif value not in ({}, []):
            yield prefix + key, value
