"""The trace store: decides which traces may be trained on, records their lineage, and reads old stores.

The format is that of `Trace`, one JSON object a line; `docs/traces.md` describes every field.
"""

import json
import logging
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path
from typing import Any

from bdc_agents.errors import UsageError
from bdc_agents.runs.folder import no_run, parse_trace, trace_file
from bdc_agents.runs.honest import signs_in
from bdc_agents.types import Decision, Frozen, Hidden, HiddenTests, Lineage, Trace, content_hash
from bdc_agents.untrusted import read_lines

SPECIAL_CASES = "special-cases-tests"

REASONS: dict[str, str] = {
    "interrupted": "The search was cut off before it ended.",
    "unsolved": "The program does not pass every public test.",
    "no-hidden-tests": "No hidden test was run on the program, so only the public ones speak for it.",
    "hidden": "The program fails a hidden test.",
    "interactive": "The problem is a dialogue with a judge that is not there, so no test speaks for the "
    "program.",
    SPECIAL_CASES: "The program recognises the inputs of the public tests instead of solving the problem.",
}
"""Reasons why a trace may not be trained on, by their names in a `Decision`."""

_NOT_SETTINGS = ("endpoint", "base_url", "api_key", "api_key_env", "timeout", "retries", "concurrency")
"""Agent settings that do not change its replies: where and how fast it is asked."""

DAMAGE_NAMED = 5
"""Lines that are no traces and are named one by one: a file of something else has nothing but these."""

log = logging.getLogger(__name__)


class Damage(Frozen):
    """A line of a store that is no trace.

    Args:
        file: The store.
        line: Number of the line, from 1.
        what: What is wrong with it.
    """

    file: str
    line: int
    what: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.what}"


def decide(
    trace: Trace, hidden: Hidden | None, right: Sequence[str] = (), *, public_suffices: bool = False
) -> Decision:
    """Decides whether a trace may be trained on.

    Its program must pass the hidden tests; without hidden tests, it must be no cheat.

    Args:
        trace: The trace of a search, finished or interrupted.
        hidden: What `score_hidden` counted for its program; None if there are no hidden tests.
        right: What `right_programs` found; if nothing, the handed-over program decides.
        public_suffices: Whether public tests suffice for a problem without hidden ones.
    """
    dialogue = "interactive" in trace.problem.unjudged
    if right and not dialogue:
        return Decision(kept=True, hidden=hidden, right=tuple(right))
    solved = trace.solution.solved and bool(trace.solution.code)
    untested = hidden is None or hidden.total == 0
    failed = not untested and hidden is not None and not hidden.all_passed
    reasons = {
        "interrupted": trace.solution.stopped_by == "interrupted" and not solved,
        "unsolved": not solved,
        "no-hidden-tests": untested and not public_suffices,
        "hidden": solved and failed,
        "interactive": dialogue,
        SPECIAL_CASES: solved and (untested or failed) and bool(signs_in(trace, trace.solution.code)),
    }
    named = tuple(name for name, applies in reasons.items() if applies)
    return Decision(kept=not named, reasons=named, hidden=None if untested else hidden)


def lineage_of(dataset: str, settings: Mapping[str, Any], hidden: HiddenTests | None = None) -> Lineage:
    """Records what a trace came from.

    Args:
        dataset: Address of the data set, such as `mbpp:train`.
        settings: Settings as in `run.json`: `agents` (each with its `model`, by name), `search` and
            `budget`, as plain data. Other keys say where a run was made, and do not count.
        hidden: The tests that scored it; only their hash is kept, to notice an edit.
    """
    agents = {name: dict(agent) for name, agent in settings.get("agents", {}).items()}
    asked = {
        name: {key: value for key, value in agent.items() if key not in _NOT_SETTINGS}
        for name, agent in agents.items()
    }
    search = settings.get("search", {})
    counted = {"agents": asked, "search": search, "budget": settings.get("budget", {})}
    return Lineage(
        dataset=dataset,
        models={name: str(agent.get("model", name)) for name, agent in agents.items()},
        prompts=prompts_hash(),
        settings=content_hash(json.dumps(counted, sort_keys=True, default=str)),
        seed=int(search.get("seed", 0)),
        package=version("bdc-agents"),
        hidden=hidden.digest() if hidden else "",
    )


@lru_cache(maxsize=1)
def prompts_hash() -> str:
    """The hash of all prompts: of the module that holds them."""
    return content_hash(files("bdc_agents").joinpath("prompts.py").read_text(encoding="utf-8"))


# --- reading -----------------------------------------------------------------------------------


def scan_traces(
    path: Path | str, on_damage: Callable[[Damage], None] | None = None, *, latest: bool = True
) -> Iterator[Trace]:
    """Reads a store that may be damaged, one trace at a time.

    Args:
        path: A run folder, or a file of traces: `.jsonl`, `.jsonl.gz`, or `.parquet` as
            `bdc export --kind traces` writes it.
        on_damage: Called with each line that is no trace of a known version; the other lines are
            read. None logs the first `DAMAGE_NAMED` and the number of the others.
        latest: Whether to read only the last trace of a problem that was searched again.

    Raises:
        UsageError: If there is no such store.
    """
    file = trace_file(path)
    if not file.is_file():
        raise no_run(path, file)
    return _scan(file, on_damage, latest) if on_damage else _scan_and_warn(file, latest)


def _scan_and_warn(file: Path, latest: bool) -> Iterator[Trace]:
    count = 0

    def warn(damage: Damage) -> None:
        nonlocal count
        count += 1
        if count <= DAMAGE_NAMED:
            log.warning("%s; the line is left out", damage)

    yield from _scan(file, warn, latest)
    if count > DAMAGE_NAMED:
        log.warning("%s: %d more lines are no traces and left out", file, count - DAMAGE_NAMED)


def _scan(file: Path, on_damage: Callable[[Damage], None], latest: bool) -> Iterator[Trace]:
    if not latest:
        yield from filter(None, (_read(file, *found, on_damage) for found in _lines(file, on_damage)))
        return
    before = _state(file)
    replaced, end = _replaced(file)
    for number, line in _lines(file, on_damage):
        if number > end:  # A collection that goes on appends; what it adds was not looked at.
            break
        _check_same(file, before)
        trace = _read(file, number, line, on_damage)
        if trace and number not in replaced:
            yield trace
    _check_same(file, before)


def _state(file: Path) -> os.stat_result:
    try:
        return file.stat()
    except OSError as error:
        raise UsageError(f"cannot read {str(file)!r}: {error.strerror}") from error


def _check_same(file: Path, before: os.stat_result) -> None:
    """Refuses a store that was replaced or cut off between two looks: numbers of lines then mean others.

    Raises:
        UsageError: If it was.
    """
    now = _state(file)
    if (now.st_dev, now.st_ino) != (before.st_dev, before.st_ino) or now.st_size < before.st_size:
        raise UsageError(f"{str(file)!r} was replaced or cut off while it was read; read it again")


def _replaced(file: Path) -> tuple[frozenset[int], int]:
    """Lines whose problem has a later trace, and the last line there is.

    Only problems that come twice are parsed in full.
    """
    last: dict[str, int] = {}
    replaced: set[int] = set()
    end = 0
    for end, line in _lines(file, _ignore):
        number = end
        problem = _problem_id(line)
        if problem is None:
            continue
        if problem in last:
            if _read(file, number, line, _ignore) is None:
                continue
            replaced.add(last[problem])
        last[problem] = number
    return frozenset(replaced), end


def _problem_id(line: bytes) -> str | None:
    try:
        return str(json.loads(line)["problem"]["id"])
    except (ValueError, TypeError, KeyError, RecursionError):
        return None


def _read(file: Path, number: int, line: bytes, on_damage: Callable[[Damage], None]) -> Trace | None:
    try:
        return parse_trace(line, f"{file}:{number}")
    except UsageError as error:
        what = "; ".join(part.removeprefix(f"{file}:{number}: ") for part in str(error).splitlines())
        on_damage(Damage(file=str(file), line=number, what=what))
        return None


def _lines(file: Path, on_damage: Callable[[Damage], None]) -> Iterator[tuple[int, bytes]]:
    """The lines of a store that are not blank, with their numbers."""
    if file.suffix == ".parquet":
        from bdc_agents.runs.export.row_files import trace_lines

        yield from enumerate(trace_lines(file), 1)
        return
    number = 0
    try:
        for number, line in enumerate(read_lines(file), 1):
            if line.strip():
                yield number, line
    except ValueError as error:
        on_damage(Damage(file=str(file), line=number + 1, what=str(error)))
    except OSError as error:
        raise UsageError(f"cannot read {str(file)!r}: {error.strerror}") from error


def _ignore(damage: Damage) -> None:
    """Ignores damage on the first pass; the second pass reports it."""
