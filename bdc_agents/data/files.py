"""Finds a data set's files and reads their rows, one at a time."""

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from difflib import get_close_matches
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import Any

from bdc_agents.data.lines import BROKEN, LONGEST_LINE, FileState, Line, is_packed, lines, open_bytes
from bdc_agents.data.rows import read_json
from bdc_agents.errors import ProblemError
from bdc_agents.syntax import long_integers
from bdc_agents.untrusted import json_fault, json_kind

DATA_ENV = "BDC_DATA"
LARGEST_ARRAY = LONGEST_LINE
"""Most bytes of a `.json` file, which is read whole; as for one line."""

_LISTED, _NEAR = 10_000, 3
"""Names of a folder that are looked through for a file that is not there, and those that are told."""

RawRow = tuple[str, dict[str, Any]]
"""Where a row comes from, such as `tasks.jsonl:3`, and the row."""


def data_folder(data: Path | str | None) -> Path | None:
    """The folder that holds the data sets: the argument, or the one `BDC_DATA` names.

    Raises:
        ProblemError: If the folder does not exist.
    """
    chosen = data if data is not None else os.environ.get(DATA_ENV) or None
    if chosen is None:
        return None
    folder = Path(chosen).expanduser()
    if not folder.is_dir():
        named = f"{DATA_ENV} names" if data is None else "there is"
        what = "a folder that does not exist" if data is None else "no data folder"
        raise ProblemError(f"{named} {what}: {str(folder)!r}; give the one that holds the data sets")
    return folder


def find_files(folder: Path, patterns: Iterable[str]) -> list[Path]:
    """The files of the first pattern that matches any, each also looked for with `.gz` added.

    Args:
        folder: Where to look.
        patterns: Relative glob patterns without `.gz`.
    """
    for pattern in patterns:
        plain = [path for path in folder.glob(pattern) if path.is_file()]
        packed = [path for path in folder.glob(f"{pattern}.gz") if path.with_suffix("") not in plain]
        if plain or packed:
            return sorted(plain + packed)
    return []


def read_rows(file: Path) -> Iterator[RawRow | ProblemError]:
    """The rows of a `.jsonl` file, or of a `.json` file that holds a list of rows or one row.

    In the place of a row that cannot be read comes the error that says why, and so at the end of a
    file that is damaged there; the others are as good as without it.

    Args:
        file: Plain or with `.gz`.

    Raises:
        ProblemError: If there is no such file.
    """
    try:
        if is_array(file):
            yield from _array_rows(file)
        else:
            for line in lines(file):
                yield row_of(line, file)
    except FileNotFoundError:
        raise ProblemError(no_file(file)) from None
    except BROKEN as error:
        yield ProblemError(f"{file}: cannot be read{_where(file)}: {error}")


def no_file(file: Path) -> str:
    """That there is no such file, and what may be meant: the same packed, or one whose name is near."""
    if not file.parent.is_dir():
        return f"no file {str(file)!r}; there is no folder {str(file.parent)!r} either"
    near = near_files(file, (".json", ".jsonl"))
    return f"no file {str(file)!r}" + (f"; did you mean {', '.join(near)}?" if near else "")


def near_files(file: Path, endings: tuple[str, ...]) -> list[str]:
    """Names of the folder's files that may be meant by one that is not there.

    Args:
        file: Which is not there.
        endings: Of files that can be meant; each may have `.gz` behind it.
    """
    try:
        with os.scandir(file.parent) as entries:
            there = [one.name for one in islice(entries, _LISTED)]
    except OSError:
        return []
    named = {name: _stem(name) for name in there if name.removesuffix(".gz").endswith(endings)}
    stem = _stem(file.name)
    stems = [stem] if stem in named.values() else get_close_matches(stem, set(named.values()), cutoff=0.6)
    return sorted(name for name, own in named.items() if own in stems)[:_NEAR]


def _stem(name: str) -> str:
    return name.partition(".json")[0].removesuffix(".py")


def is_array(file: Path) -> bool:
    """Whether a file holds its rows in one JSON value, by its name."""
    return file.name.removesuffix(".gz").endswith(".json")


def row_of(line: Line, file: Path) -> RawRow | ProblemError:
    """The row that a line of a file holds, or why it holds none."""
    source = f"{file}:{line.number}"
    try:
        return source, _object(_parse(line.data, source), source)
    except ProblemError as error:
        return error


def _where(file: Path) -> str:
    return " any further" if is_packed(file) else ""


@lru_cache(maxsize=2)
def _array(state: FileState) -> Any:
    """The value that a file in this state holds."""
    with open_bytes(state.file) as stream:
        data = stream.read(LARGEST_ARRAY + 1)
    return _parse(data if len(data) <= LARGEST_ARRAY else None, str(state.file))


def _array_rows(file: Path) -> Iterator[RawRow | ProblemError]:
    try:
        value = _array(FileState.of(file))
    except ProblemError as error:
        yield error
        return
    for number, row in enumerate(value if isinstance(value, list) else [value]):
        source = f"{file}[{number}]" if isinstance(value, list) else str(file)
        try:
            yield source, _object(row, source)
        except ProblemError as error:
            yield error


def _parse(data: bytes | None, source: str) -> Any:
    if data is None:
        raise ProblemError(f"{source}: longer than anything that could be a problem")
    try:
        value = read_json(data.decode("utf-8-sig"))
        if b"\\ud" in data or b"\\uD" in data:  # half of a pair is a text that can be sent nowhere
            with long_integers():
                json.dumps(value, ensure_ascii=False).encode()
    except UnicodeDecodeError as error:
        raise ProblemError(f"{source}: not UTF-8 text: {error.reason} at byte {error.start}") from None
    except UnicodeEncodeError as error:
        half = error.object[error.start]
        raise ProblemError(f"{source}: holds {half!r}, which is half of a character and no text") from None
    except json.JSONDecodeError as error:
        raise ProblemError(f"{source}: not JSON: {json_fault(error)}") from None
    except RecursionError:
        raise ProblemError(f"{source}: JSON that cannot be read: it is nested too deeply") from None
    except ValueError as error:
        raise ProblemError(f"{source}: JSON that cannot be read: {error}") from None
    return value


def _object(value: Any, source: str) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        raise ProblemError(f"{source}: a problem is a JSON object, not {json_kind(value)}")
    return dict(value)
