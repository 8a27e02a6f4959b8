"""The folder of an evaluation, written so that a kill at any moment loses nothing.

eval.json      the configuration and what it was applied to
results.jsonl  one row for each problem, solver and sample, only ever appended to
known.jsonl    what each block of problems started from, likewise
traces/        what each solver wrote, as run folders that `bdc view` opens
summary.json   the figures
report.html    the figures for people, in one file
"""

import json
import logging
import os
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, Self

from pydantic import ValidationError

from bdc_agents.config import Budget, explain
from bdc_agents.disk import own, try_lock
from bdc_agents.errors import BDCError, UsageError, in_a_sentence
from bdc_agents.evaluate.config import difference
from bdc_agents.runs import open_run, read_traces, write_text, write_trace
from bdc_agents.runs.folder import EVAL_FILE
from bdc_agents.search.policy.beliefs import Beliefs, read_beliefs
from bdc_agents.types import Frozen, Hidden, Trace, Usage, content_hash
from bdc_agents.types.base import Number

RESULTS_FILE, SUMMARY_FILE, REPORT_FILE = (
    "results.jsonl",
    "summary.json",
    "report.html",
)
KNOWN_FILE = "known.jsonl"
TRACES = "traces"
SCORED_BY_HIDDEN = ("humaneval:", "humaneval+:")
"""Problems whose hidden tests are all that the data set itself scores by: their public tests are
examples of the statement. Elsewhere the public tests are some of the data set's own."""
log = logging.getLogger(__name__)
Key = tuple[str, str, int]
"""Problem, solver and sample of a row."""


class Point(Frozen):
    """An answer of a solver, and the compute used when it became the answer.

    Args:
        calls, tokens, seconds, cost: The compute used by then.
        solved: Whether it passes every test, public and hidden.
    """

    calls: int
    tokens: int
    seconds: float
    cost: float | None = None
    solved: bool


class Row(Frozen):
    """One try of one solver at one problem.

    Args:
        version: Version of this format.
        problem: The problem's id.
        difficulty, tags: The problem's labels.
        solver: The solver's name.
        sample: Number of the try, from 0.
        code: The program that the solver handed over.
        public: Counts of the public tests; a total of 0 if there are none.
        hidden: Counts of the hidden tests; None if there are none.
        usage: Usage by agent.
        seconds: Wall time of the solver.
        stopped_by: What ended the solver, as in a `Solution`.
        points: The solver's answers in their order; the last one is this program.
        beliefs: What moves gave, as in its trace.
        caps: Its budgets where problems share one: a row of each round counts for the ones before it.
    """

    version: int = 1
    problem: str
    difficulty: str | None = None
    tags: tuple[str, ...] = ()
    solver: str
    sample: int = 0
    code: str
    public: Hidden
    hidden: Hidden | None = None
    usage: dict[str, Usage] = {}
    seconds: float = 0.0
    stopped_by: str
    points: tuple[Point, ...] = ()
    beliefs: dict[str, dict[str, tuple[Number, ...]]] = {}
    caps: tuple[Budget, ...] = ()

    @property
    def key(self) -> Key:
        """Problem, solver and sample, which no other row shares."""
        return self.problem, self.solver, self.sample

    @property
    def solved(self) -> bool:
        """Whether the program passes every test there is."""
        return all_passed(self.public, self.hidden)

    @property
    def passed(self) -> bool:
        """Whether the program passes the tests that the data set itself scores by, as published."""
        if self.hidden and self.problem.startswith(SCORED_BY_HIDDEN):
            return self.hidden.all_passed
        return self.solved

    @property
    def share(self) -> float:
        """Share of the hidden tests that pass; of the public tests if there are no hidden ones."""
        counts = self.hidden or self.public
        return counts.passed / counts.total if counts.total else 0.0

    @property
    def used(self) -> Usage:
        """The usage of all agents together."""
        return sum(self.usage.values(), Usage())


def all_passed(public: Hidden, hidden: Hidden | None) -> bool:
    """Whether every test passed, and there was one."""
    counts = [count for count in (public, hidden) if count is not None and count.total]
    return bool(counts) and all(count.all_passed for count in counts)


class Record(Frozen):
    """What `eval.json` holds.

    Args:
        version: Version of this format.
        created: Time in ISO 8601.
        package: Version of this package.
        config: The configuration, as `read_config` takes it again.
        lineage: What else the rows depend on: hashes of the problems and the prompts.
    """

    version: int = 1
    created: str
    package: str
    config: dict[str, Any]
    lineage: dict[str, Any] = {}


class Results:
    """The rows of one evaluation, in a folder that one process at a time may add to; a context manager.

    Args:
        folder: Created if it is missing.
        config, lineage: As in `Record`; a folder with others is refused.

    Raises:
        UsageError: If the folder is of another configuration, in use, or cannot be written to.
    """

    def __init__(self, folder: Path, config: Mapping[str, Any], lineage: Mapping[str, Any]) -> None:
        self.folder = folder
        self._file: int | None = None
        try:
            folder.mkdir(0o700, parents=True, exist_ok=True)
            self._file = own(folder / RESULTS_FILE, os.O_RDWR | os.O_APPEND)
            free = try_lock(self._file)
        except OSError as error:
            raise UsageError(
                f"cannot write to {str(folder)!r}: {error.strerror}; name another --out"
            ) from None
        if not free:
            self.close()
            raise UsageError(f"another process evaluates into {str(folder)!r}; wait for it to end")
        try:
            self._claim(dict(config), dict(lineage))
            self.history = _read_all(folder)
            self.known = _read_known(folder / KNOWN_FILE)
            self._mend()
        except BaseException:
            self.close()
            raise

    @property
    def rows(self) -> list[Row]:
        """The rows of all rounds but those that a later one replaces."""
        return _last(self.history)

    @property
    def done(self) -> set[Key]:
        """The keys of all rows."""
        return {row.key for row in self.history}

    def _claim(self, config: dict[str, Any], lineage: dict[str, Any]) -> None:
        file = self.folder / EVAL_FILE
        if not file.exists():
            if os.fstat(self._descriptor).st_size:
                raise UsageError(
                    f"{str(self.folder)!r} holds results without {EVAL_FILE}; name another --out"
                )
            now = datetime.now(UTC).isoformat(timespec="seconds")
            record = Record(created=now, package=version("bdc-agents"), config=config, lineage=lineage)
            write_text(file, record.model_dump_json(indent=2) + "\n")
            return
        found = read_record(self.folder)
        config = json.loads(json.dumps(config))
        if lines := difference(
            found.config | {"lineage": found.lineage}, config | {"lineage": json.loads(json.dumps(lineage))}
        ):
            raise UsageError(
                f"{str(self.folder)!r} holds an evaluation with another configuration: "
                f"{in_a_sentence(lines)}.\nGo on with it: bdc eval --config {self.folder / EVAL_FILE} --out "
                f"{self.folder}; or begin another, which takes cached replies as well: --out {self.folder}-2"
            )

    @property
    def _descriptor(self) -> int:
        assert self._file is not None, "the folder is closed"
        return self._file

    def _mend(self) -> None:
        """Repairs the last line after a kill: completes a whole row, removes half a row."""
        size = os.fstat(self._descriptor).st_size
        data = os.pread(self._descriptor, size, 0)
        tail = data[data.rfind(b"\n") + 1 :]
        if tail:
            os.ftruncate(self._descriptor, size - len(tail))
            if _is_json(tail):
                self._write(tail + b"\n")

    def add(self, row: Row, trace: Trace) -> None:
        """Keeps a row and its trace; when it returns, both are on disk.

        Raises:
            BDCError: If the disk is full or fails; the rows before are kept.
        """
        write_trace(open_run(self.trace_folder(row.solver), trace.settings), trace)
        self._write(json.dumps(row.model_dump(mode="json"), separators=(",", ":")).encode("ascii") + b"\n")
        self.history.append(row)

    def keep_known(self, solver: str, sample: int, block: int, known: Beliefs) -> None:
        """Writes down what a block of problems starts from.

        Raises:
            BDCError: If the disk is full or fails.
        """
        start = _Start(solver=solver, sample=sample, block=block, known=known)
        try:
            with (self.folder / KNOWN_FILE).open("a", encoding="utf-8") as file:
                # A kill may have left half a line, which ends here and counts for nothing.
                file.write(("\n" if file.tell() else "") + start.model_dump_json())
        except OSError as error:
            raise BDCError(
                f"cannot write to {str(self.folder / KNOWN_FILE)!r}: {error.strerror}; "
                f"{len(self.rows)} rows are kept"
            ) from error
        self.known[solver, sample, block] = known

    def _write(self, data: bytes) -> None:
        size = os.fstat(self._descriptor).st_size
        try:
            view = memoryview(data)
            while view:
                view = view[os.write(self._descriptor, view) :]
            os.fsync(self._descriptor)
        except OSError as error:
            os.ftruncate(self._descriptor, size)
            raise BDCError(
                f"cannot write to {str(self.folder / RESULTS_FILE)!r}: {error.strerror}; "
                f"{len(self.rows)} rows are kept"
            ) from error

    def trace_folder(self, solver: str) -> Path:
        """Where the traces of a solver are kept."""
        return trace_folder(self.folder, solver)

    def close(self) -> None:
        """Releases the folder to other processes."""
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def trace_folder(folder: Path, solver: str) -> Path:
    """Where the traces of a solver are kept in an evaluation."""
    name = re.sub(r"[^\w.+-]+", "-", solver, flags=re.ASCII).strip("-.") or "solver"
    same = name == solver
    # 60 characters leave room below the 255 of file systems; the hash tells apart what became alike.
    return folder / TRACES / (name if same else f"{name[:60]}-{content_hash(solver)[:4]}")


def read_record(folder: Path) -> Record:
    """What the `eval.json` of a folder holds.

    Raises:
        UsageError: If there is none, or it is not one.
    """
    file = folder / EVAL_FILE
    if not file.is_file():
        raise UsageError(f"no evaluation at {str(folder)!r}: there is no file {str(file)!r}")
    try:
        return Record.model_validate_json(file.read_bytes())
    except ValidationError as error:
        raise UsageError(explain(error, str(file), Record)) from None


def read_rows(folder: Path) -> list[Row]:
    """The rows of an evaluation.

    A line that is damaged is left out with a warning that names it: it is computed again.

    Raises:
        UsageError: If the file holds rows of a later version.
    """
    return _last(_read_all(folder))


def _last(rows: Sequence[Row]) -> list[Row]:
    return list({row.key: row for row in rows}.values())


def _read_all(folder: Path) -> list[Row]:
    file = folder / RESULTS_FILE
    rows: list[Row] = []
    lines = file.read_bytes().split(b"\n") if file.is_file() else []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            data = json.loads(line)
            if isinstance(data, dict) and data.get("version", 1) != 1:
                raise UsageError(
                    f"{file}:{number}: a row of version {data['version']!r}; this package reads 1: "
                    "update bdc-agents"
                )
            row = Row.model_validate(data)
        except UsageError:
            raise
        except (ValueError, RecursionError) as error:
            log.warning("%s:%d: not a row, left out: %s", file, number, str(error).splitlines()[0])
            continue
        rows.append(row)
    return rows


class _Start(Frozen):
    """What a block of problems started from."""

    solver: str
    sample: int
    block: int
    known: Beliefs


def _read_known(file: Path) -> dict[tuple[str, int, int], Beliefs]:
    found: dict[tuple[str, int, int], Beliefs] = {}
    for line in file.read_bytes().split(b"\n") if file.is_file() else []:
        try:
            start = _Start.model_validate_json(line)
            found.setdefault(
                (start.solver, start.sample, start.block), read_beliefs(start.known.model_dump())
            )
        except ValueError:  # Half a line of a kill: it is computed again.
            continue
    return found


def solver_traces(folder: Path, solvers: Sequence[str]) -> dict[str, list[Trace]]:
    """The traces of an evaluation by solver; a solver without any has an empty list."""
    return {name: _latest(trace_folder(folder, name)) for name in solvers}


def _latest(folder: Path) -> list[Trace]:
    """One trace for each problem and sample: a kill between trace and row leaves two."""
    if not folder.is_dir():
        return []
    return list({(t.problem.id, t.settings.get("sample", 0)): t for t in read_traces(folder)}.values())


def _is_json(line: bytes) -> bool:
    try:
        json.loads(line)
    except (ValueError, RecursionError):
        return False
    return True
