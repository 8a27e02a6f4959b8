"""The run folder: what a run leaves on disk. A kill at any moment loses no finished record.

run.json           settings, package version and time of creation
trace.jsonl        one trace a line, one line a problem, only ever appended to
checkpoint.sqlite  every step of a single search, from which it is resumed
left-out.jsonl     problems of a collection that are not searched, and why
solutions/         the program of each problem, as a file to run; solution.py where there is one
"""

import errno
import fcntl
import json
import logging
import os
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypeVar

from pydantic import JsonValue, ValidationError

from bdc_agents import disk
from bdc_agents.config import explain
from bdc_agents.disk import private, replacing
from bdc_agents.errors import BDCError, UsageError, unknown
from bdc_agents.types import Frozen, Node, Trace, content_hash
from bdc_agents.untrusted import read_json, read_lines

RUN_FILE = "run.json"
TRACE_FILE = "trace.jsonl"
CHECKPOINT_FILE = "checkpoint.sqlite"
EVAL_FILE = "eval.json"
"""By it the folder of an evaluation, whose runs lie further inside, is told from a run."""
_CALLERS = {
    *(errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.ENOENT),
    errno.ELOOP,  # A link in the place of a file of the run.
}
"""Errors that the user can mend by another path or other permissions; the rest is the disk's."""
_NODE = re.compile(r"0(?:\.\d{1,9})*", re.ASCII)
"""The id of a node: the root `0`, then the number of each child. Nine digits are beyond any tree."""
_DEEPEST = 100
"""Levels of nesting in a trace's settings, which have no schema. pydantic can write at most 255."""
T = TypeVar("T")
log = logging.getLogger(__name__)


class Run(Frozen):
    """What `run.json` holds.

    Args:
        version: Version of this format.
        created: When the folder was made, in ISO 8601.
        package: Version of this package.
        settings: Settings of the run, without secrets.
    """

    version: int = 1
    created: str
    package: str
    settings: dict[str, JsonValue] = {}


def open_run(folder: Path | str, settings: Mapping[str, Any] | None = None) -> Path:
    """Makes a run folder, or opens one to add to it; an existing `run.json` stays as it is.

    Args:
        folder: The folder.
        settings: Settings of the run, as plain data without secrets.

    Raises:
        UsageError: If the folder cannot be made or written to.
    """
    folder = Path(folder)
    # For the owner alone: the folder holds prompts, programs and replies.
    _try("make the run folder", folder, lambda: folder.mkdir(0o700, parents=True, exist_ok=True))
    file = folder / RUN_FILE
    if not file.exists():
        now = datetime.now(UTC).isoformat(timespec="seconds")
        run = Run(created=now, package=version("bdc-agents"), settings=dict(settings or {}))
        write_text(file, run.model_dump_json(indent=2) + "\n", own=True)
    trace = trace_file(folder)
    _try("write", trace, lambda: os.close(disk.own(trace)))
    return folder


def read_run(folder: Path | str) -> Run:
    """Reads the `run.json` of a run folder.

    Raises:
        UsageError: If there is none, or it is not valid.
    """
    file = Path(folder) / RUN_FILE
    if not file.is_file():
        raise no_run(folder, file)
    try:
        return Run.model_validate_json(_try("read", file, file.read_bytes))
    except ValidationError as error:
        raise UsageError(explain(error, str(file), Run)) from None


def trace_file(path: Path | str) -> Path:
    """The file that holds the traces of a run folder, or the file itself."""
    path = Path(path)
    return path / TRACE_FILE if path.is_dir() else path


def no_run(path: Path | str, file: Path) -> UsageError:
    """The error for a path without this file of a run; of an evaluation, it names what that holds."""
    folder = Path(path)
    if not (folder / EVAL_FILE).is_file():
        made = "" if (folder / RUN_FILE).is_file() else "; bdc solve --out RUN and bdc collect make runs"
        return UsageError(f"no run at {str(path)!r}: there is no file {str(file)!r}{made}")
    runs = sorted(str(file.parent) for file in folder.glob(f"*/*/{TRACE_FILE}"))
    kept = f"; name the traces of a solver: {', '.join(runs)}" if runs else ""
    report = folder / "report.html"
    figures = f"; its report is {report}" if report.is_file() else ""
    return UsageError(f"{str(path)!r} is an evaluation, not a run{kept}{figures}")


def write_trace(folder: Path | str, trace: Trace) -> None:
    """Appends a trace to a run; when it returns, the record is on disk.

    If the disk is full, the record is removed again, so the earlier ones stay readable. Processes
    that write to one run wait for each other.

    Args:
        folder: A folder of `open_run`.
        trace: The trace of one problem.

    Raises:
        UsageError: If the file cannot be written to.
        BDCError: If the disk is full or fails.
    """
    file = Path(folder) / TRACE_FILE
    # ASCII: an LLM's broken escapes can hold lone surrogates, which have no UTF-8 form.
    record = json.dumps(trace.model_dump(mode="json"), separators=(",", ":")).encode("ascii") + b"\n"
    _try("write", file, lambda: _append(file, record))


def write_solution(folder: Path | str, trace: Trace, *, alone: bool = True) -> Path | None:
    """Writes a solution's program to a file; replaces an older one of the same problem.

    Args:
        folder: A folder of `open_run`.
        trace: The trace of one problem.
        alone: Whether the run has only this problem: `solution.py`; otherwise `solutions/NAME.py`.

    Returns:
        The file; None if the solution has no program.
    """
    if not trace.solution.code:
        return None
    file = Path(folder) / ("solution.py" if alone else f"solutions/{_file_name(trace.problem.id)}.py")
    _try("make", file.parent, lambda: _make_inside(Path(folder), file.parent))
    program = trace.problem.preamble.rstrip("\n") + "\n\n\n" if trace.problem.preamble.strip() else ""
    write_text(file, f"{program}{trace.solution.code.rstrip()}\n", own=True)
    return file


def read_traces(path: Path | str) -> list[Trace]:
    """Reads the traces of a run.

    A last line that a kill left half written is left out, with a warning.

    Args:
        path: A run folder, or a file of traces, which may be compressed (`.gz`).

    Raises:
        UsageError: If there is no file, or a line is not a trace of a known version; the message
            names the file, the line and what is wrong.
    """
    file = trace_file(path)
    if not file.is_file():
        raise no_run(path, file)
    traces: list[Trace] = []
    lines = enumerate(read_lines(file), 1)
    try:
        while (found := _try("read", file, lambda: next(lines, None))) is not None:
            number, line = found
            if not line.endswith(b"\n") and not _is_json(line):
                log.warning("%s:%d: the last line is only half written and is left out", file, number)
            elif line.strip():
                traces.append(parse_trace(line, f"{file}:{number}"))
    except UsageError:
        raise
    except ValueError as error:
        raise UsageError(f"{file}: cannot be read as traces: {error}; copy it again") from None
    return traces


def parse_trace(line: bytes, place: str) -> Trace:
    """Reads a trace from one line of a trace file.

    Args:
        line: One JSON object.
        place: File and line, for errors.

    Raises:
        UsageError: If it is no trace of a known version; the message says what is wrong.
    """
    try:
        data = read_json(line, finite=False)
    except ValueError as error:
        raise UsageError(f"{place}: not JSON: {error}") from None
    if not isinstance(data, dict):
        raise UsageError(f"{place}: not a trace: a JSON object is expected, found {line[:40]!r}")
    if data.get("version") not in (1, 2):
        raise UsageError(f"{place}: {_no_version(data)}")
    try:
        trace = Trace.model_validate(data)
    except (ValidationError, RecursionError) as error:
        told = explain(error, place, Trace) if isinstance(error, ValidationError) else "nested too deeply"
        raise UsageError(told) from None
    if wrong := _no_tree(trace) or _not_to_be_used(trace):
        raise UsageError(f"{place}: not a trace: {wrong}")
    return trace


def _no_version(data: Mapping[str, Any]) -> str:
    """Why an object is no trace of a version that is read."""
    found = data.get("version")
    if isinstance(found, int) and found > 2:
        return f"a trace of version {found!r:.40}; this package reads versions 1 and 2: update bdc-agents"
    if found is None and "statement" in data:
        return "a problem, not a trace: bdc solve searches it, and with --out keeps a trace"
    what = "it has no version" if found is None else f"its version is {found!r:.40}, not 1 or 2"
    return f"not a trace: {what}; bdc solve --out RUN and bdc collect write traces, as docs/traces.md says"


def _no_tree(trace: Trace) -> str:
    """Why the nodes of a trace form no tree, so that a walk might never end; empty where they do."""
    nodes: dict[str, Node] = {}
    for node in trace.nodes:
        if not _NODE.fullmatch(node.id):
            return f"the id {node.id!r:.60} of a node is none, such as 0.2.1"
        if node.id in nodes:
            return f"the node {node.id:.60} comes twice"
        nodes[node.id] = node
    for node in trace.nodes:
        if len(set(node.children)) < len(node.children):
            return f"a child of the node {node.id:.60} comes twice"
        for child in node.children:
            # A child's id extends its parent's, so no path leads back.
            if child.rpartition(".")[0] != node.id or child not in nodes:
                return f"the node {node.id:.60} cannot have the child {child!r:.60}"
    if trace.solution.node and trace.solution.node not in nodes:
        return f"its solution is at the node {trace.solution.node!r:.60}, which is not there"
    return ""


def _not_to_be_used(trace: Trace) -> str:
    """Why later steps could not use the trace; empty where they can."""
    for key in trace.decision.right if trace.decision else ():
        if key not in trace.programs:
            return f"its decision names the program {key!r:.60}, which is not there"
    level: list[Any] = [trace.settings]
    for _ in range(_DEEPEST):
        inner = [
            one.values() if isinstance(one, dict) else one for one in level if isinstance(one, dict | list)
        ]
        level = [value for values in inner for value in values]
    return "its settings are nested too deeply" if level else ""


def find_trace(traces: list[Trace], problem_id: str) -> Trace:
    """The last trace of a problem.

    Args:
        traces: Of a run.
        problem_id: The problem's id, or the end of it: `two-sum` for `mine.jsonl:two-sum`.

    Raises:
        UsageError: If there is none, or the end is that of several.
    """
    by_id = {trace.problem.id: trace for trace in traces}
    ends = (f":{problem_id}", f"/{problem_id}")
    found = [problem_id] if problem_id in by_id else [name for name in by_id if name.endswith(ends)]
    if len(found) > 1:
        raise UsageError(f"several problems end in {problem_id!r}: {', '.join(found[:5])}; name one of them")
    if not found:
        raise UsageError(unknown("problem of this run", problem_id, by_id))
    return by_id[found[0]]


def write_text(file: Path, text: str, *, own: bool = False) -> None:
    """Writes a file so that a reader finds the old content or the new, never a part.

    Args:
        file: Where; folders that are missing on the way to a file for everybody are made.
        text: Its content.
        own: Whether only its owner may read it, as with prompts and programs.

    Raises:
        UsageError: If it cannot be written there.
        BDCError: If the disk is full or fails.
    """
    if not own:
        _try("make", file.parent, lambda: file.parent.mkdir(parents=True, exist_ok=True))
    data = text.encode("utf-8", "backslashreplace")
    _try("write", file, lambda: _write_atomic(file, data, private(file.parent) if own else 0o666))


def _make_inside(folder: Path, inner: Path) -> None:
    """Makes a folder inside a run folder; refuses a link, which could lead anywhere."""
    if inner != folder:
        if inner.is_symlink():
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
        inner.mkdir(0o700, exist_ok=True)


def _append(file: Path, record: bytes) -> None:
    descriptor = disk.own(file, os.O_RDWR | os.O_APPEND)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        size = _mend(descriptor)
        try:
            _write_all(descriptor, record)
            os.fsync(descriptor)
        except OSError:
            os.ftruncate(descriptor, size)
            raise
    finally:
        os.close(descriptor)


def _write_all(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def _mend(descriptor: int) -> int:
    """Mends a last line without newline: removes a half-written one, ends a whole one.

    Returns:
        The size of the file afterwards.
    """
    size = os.fstat(descriptor).st_size
    if size == 0 or os.pread(descriptor, 1, size - 1) == b"\n":
        return size
    start = _start_of_last_line(descriptor, size)
    if _is_json(os.pread(descriptor, size - start, start)):
        _write_all(descriptor, b"\n")
        return size + 1
    os.ftruncate(descriptor, start)
    return start


def _start_of_last_line(descriptor: int, size: int) -> int:
    block = 65536  # Most lines are shorter, so that one read is enough.
    end = size
    while end:
        begin = max(0, end - block)
        newline = os.pread(descriptor, end - begin, begin).rfind(b"\n")
        if newline >= 0:
            return begin + newline + 1
        end = begin
    return 0


def _is_json(line: bytes) -> bool:
    try:
        json.loads(line)
    except (ValueError, RecursionError):
        return False
    return True


def _file_name(problem_id: str) -> str:
    """A file name for a problem; different ids get different names."""
    name = re.sub(r"[^\w.+-]+", "_", problem_id, flags=re.ASCII).strip("._") or "problem"
    whole = name == problem_id and len(name) <= 200  # File systems allow 255 bytes, with the ending.
    return name if whole else f"{name[:80]}-{content_hash(problem_id)[:6]}"


def _write_atomic(file: Path, data: bytes, mode: int) -> None:
    with replacing(file, mode) as temporary:
        temporary.write_bytes(data)


def _try(action: str, path: Path, work: Callable[[], T]) -> T:
    try:
        return work()
    except OSError as error:
        kind = UsageError if error.errno in _CALLERS else BDCError
        why = "it is a symbolic link" if error.errno == errno.ELOOP else error.strerror
        raise kind(f"cannot {action} {str(path)!r}: {why}; nothing that was there is lost") from error
