"""Beliefs of a run: what moves gave in all its searches, kept for searches to come."""

from collections.abc import Iterable, Mapping
from functools import reduce
from pathlib import Path
from typing import Any, Protocol

from bdc_agents.errors import UsageError
from bdc_agents.runs.folder import write_text
from bdc_agents.runs.store import scan_traces
from bdc_agents.search.policy.beliefs import Beliefs, read_beliefs
from bdc_agents.untrusted import read_object, read_whole

BELIEFS_FILE = "beliefs.json"
"""Its name in a run folder."""
_MOST = 16_000_000
"""Bytes of a file. A hundred agents make some 200,000."""


class Searched(Protocol):
    """What is left of a search: its trace, or its row in an evaluation."""

    @property
    def beliefs(self) -> Mapping[str, Any]:
        """What its moves gave."""
        ...


def beliefs_of(searches: Iterable[Searched]) -> Beliefs:
    """What the moves of all these searches gave together.

    Raises:
        ConfigError: If one holds beliefs that are none.
    """
    return reduce(Beliefs.plus, (read_beliefs(one.beliefs) for one in searches), Beliefs())


def keep_beliefs(run: Path, searches: Iterable[Searched] | None = None) -> Path | None:
    """Writes the beliefs of a run into its folder; None where its searches made no moves.

    Args:
        run: The folder.
        searches: Its searches; None for the traces in the folder, the last one of each problem.
    """
    found = beliefs_of(scan_traces(run) if searches is None else searches)
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
