"""Finding a data set's files and reading their rows, one at a time."""

import gzip
import json
import os
import zlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any

from bdc_agents.data.rows import read_json
from bdc_agents.errors import ProblemError

DATA_ENV = "BDC_DATA"

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


def read_rows(file: Path, containing: str | None = None) -> Iterator[RawRow]:
    """The rows of a `.jsonl` file, or of a `.json` file that holds a list of rows or one row.

    Args:
        file: Plain or with `.gz`.
        containing: Lines without this JSON text are passed over unparsed: what makes it quick
            to find one problem in a large file.

    Raises:
        ProblemError: If the file cannot be read, or a row is not a JSON object.
    """
    try:
        with _open(file) as lines:
            if file.name.removesuffix(".gz").endswith(".json"):
                yield from _array_rows(file, lines.read())
            else:
                yield from _line_rows(file, lines, containing)
    except FileNotFoundError:
        raise ProblemError(f"no file {str(file)!r}") from None
    except UnicodeDecodeError as error:
        raise ProblemError(f"{file}: not UTF-8 text: {error.reason} at byte {error.start}") from None
    except (OSError, EOFError, zlib.error) as error:
        raise ProblemError(f"{file}: cannot be read: {error}") from None


def _open(file: Path) -> IO[str]:
    if file.suffix == ".gz":
        return gzip.open(file, "rt", encoding="utf-8-sig")
    return file.open(encoding="utf-8-sig")


def _line_rows(file: Path, lines: Iterable[str], containing: str | None) -> Iterator[RawRow]:
    for number, line in enumerate(lines, 1):
        if line.strip() and (containing is None or containing in line):
            source = f"{file}:{number}"
            yield source, _object(_parse(line, source), source)


def _array_rows(file: Path, text: str) -> Iterator[RawRow]:
    value = _parse(text, str(file))
    for number, row in enumerate(value if isinstance(value, list) else [value]):
        source = f"{file}[{number}]" if isinstance(value, list) else str(file)
        yield source, _object(row, source)


def _parse(text: str, source: str) -> Any:
    try:
        return read_json(text)
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}"
        raise ProblemError(f"{source}: not JSON: {error.msg} at {place}") from None
    except (ValueError, RecursionError) as error:
        raise ProblemError(f"{source}: JSON that cannot be read: {error}") from None


def _object(value: Any, source: str) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        raise ProblemError(f"{source}: a problem is a JSON object, not {type(value).__name__}")
    return dict(value)
