"""Beliefs of a run: what moves gave in all its searches, kept for searches to come."""

from collections.abc import Iterable
from functools import reduce
from pathlib import Path

from bdc_agents.errors import UsageError
from bdc_agents.runs.folder import write_text
from bdc_agents.runs.store import scan_traces
from bdc_agents.search.policy.beliefs import Beliefs, read_beliefs
from bdc_agents.types import Trace
from bdc_agents.untrusted import read_object, read_whole

BELIEFS_FILE = "beliefs.json"
"""Its name in a run folder."""
_MOST = 16_000_000
"""Bytes of a file. A hundred agents make some 200,000."""


def beliefs_of(traces: Iterable[Trace]) -> Beliefs:
    """What the moves of all these searches gave together.

    Raises:
        ConfigError: If a trace holds beliefs that are none.
    """
    return reduce(Beliefs.plus, (read_beliefs(trace.beliefs) for trace in traces), Beliefs())


def keep_beliefs(run: Path) -> Path | None:
    """Writes the beliefs of a run into its folder; None where its searches made no moves."""
    found = beliefs_of(scan_traces(run))
    if not found.counts:
        return None
    write_text(run / BELIEFS_FILE, found.model_dump_json(indent=1) + "\n")
    return run / BELIEFS_FILE


def load_beliefs(path: Path) -> Beliefs:
    """The beliefs of a run folder, or of a file of theirs.

    Raises:
        UsageError: If there is none, or it cannot be read.
        ConfigError: If it holds something else.
    """
    file = path / BELIEFS_FILE if path.is_dir() else path
    if not file.is_file():
        if within := sorted(path.glob(f"*/*/{BELIEFS_FILE}")):
            folders = ", ".join(str(one.parent) for one in within)
            raise UsageError(f"{str(path)!r} is an evaluation: name one of its solvers: {folders}")
        raise UsageError(
            f"no beliefs at {str(path)!r}: name a run folder of bdc collect, which keeps {BELIEFS_FILE}, "
            "or such a file"
        )
    try:
        return read_beliefs(read_object(read_whole(file, _MOST)))
    except (ValueError, OSError) as error:
        raise UsageError(f"{file}: no beliefs: {error}") from None
