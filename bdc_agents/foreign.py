"""Files from elsewhere, read within bounds: what is not as it should be is a `ValueError` of one line."""

import gzip
import json
import os
import stat
import tomllib
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedReader
from math import isfinite
from pathlib import Path, PurePosixPath
from typing import Any

LONGEST_LINE = 256 * 2**20
"""Bytes of one record: forty times the longest that data sets have led to."""
_MOST_EXPANSION, _SMALL = 200, 8 * 2**20
"""A compressed file holds at most so many times its own bytes, or so many; JSON shrinks to a tenth."""
_MOST_BLANK = 1000
_LONGEST_INTEGER = 2**63


def read_json(data: bytes | str, *, finite: bool = True) -> Any:
    """What JSON says.

    Args:
        finite: Whether numbers that no column of a table could hold are refused.

    Raises:
        ValueError: If it is not JSON, or nested too deeply to be read.
    """
    try:
        if not finite:
            return json.loads(data)
        return json.loads(data, parse_constant=_no_number, parse_float=_float, parse_int=_integer)
    except json.JSONDecodeError as error:
        raise ValueError(json_fault(error)) from None
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def json_fault(error: json.JSONDecodeError) -> str:
    """What is wrong with JSON, and where: of text on one line, such as a row of a file, the column alone."""
    text = error.doc.rstrip()
    if "\n" in text:
        return f"{error.msg} at line {error.lineno}, column {error.colno}"
    # A line that ends too early goes on for the parser at the next one, which is not this row's.
    return f"{error.msg} at column {min(error.pos, len(text)) + 1}"


def read_object(data: bytes | str, *, finite: bool = True) -> dict[str, Any]:
    """As `read_json`, for a JSON object.

    Raises:
        ValueError: If it is something else.
    """
    found = read_json(data, finite=finite)
    if not isinstance(found, dict):
        raise ValueError(f"a JSON object is expected, found a {type(found).__name__}")
    return found


def read_toml(text: str) -> dict[str, Any]:
    """What TOML says.

    Raises:
        ValueError: If it is not TOML, or nested too deeply to be read.
    """
    try:
        return tomllib.loads(text)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def _no_number(text: str) -> float:
    raise ValueError(f"{text} is no number to compute with")


def _float(text: str) -> float:
    if not isfinite(value := float(text)):
        raise ValueError(f"{text:.40} is too large for a number")
    return value


def _integer(text: str) -> int:
    # Longer ones are not even parsed, which takes time that grows with the square of their length.
    if len(text) > 20 or abs(value := int(text)) >= _LONGEST_INTEGER:
        raise ValueError(f"{text:.40} is too large for an integer")
    return value


def read_whole(file: Path, most: int) -> bytes:
    """The content of a plain file.

    Args:
        most: Bytes.

    Raises:
        OSError: If it cannot be read.
        ValueError: If it is a device or a pipe, which may have no end, or larger.
    """
    with plain(file) as stream:
        data = stream.read(most + 1)
    if len(data) > most:
        raise ValueError(f"it is larger than {most:,} bytes")
    return data


@contextmanager
def plain(file: Path) -> Iterator[BufferedReader]:
    """A plain file, opened to be read; a link leads to one as well.

    Raises:
        OSError: If it cannot be opened.
        ValueError: If it is a device or a pipe, which may have no end.
    """
    # Without waiting, since opening a pipe that nobody writes to would.
    with os.fdopen(os.open(file, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as stream:
        if not stat.S_ISREG(os.fstat(stream.fileno()).st_mode):
            raise ValueError("it is no plain file")
        yield stream


def read_lines(file: Path, most: int = LONGEST_LINE) -> Iterator[bytes]:
    """The lines of a plain file, with their ends; compressed where its name ends in `.gz`.

    Args:
        most: Bytes of a line.

    Raises:
        OSError: If it cannot be read.
        ValueError: If a line is longer, too many are blank, or what is compressed is damaged or expands
            without measure.
    """
    with plain(file) as stream:
        packed = file.suffix == ".gz"
        room = max(_SMALL, _MOST_EXPANSION * os.fstat(stream.fileno()).st_size) if packed else None
        source: Any = gzip.GzipFile(fileobj=stream) if packed else stream
        try:
            yield from _lines(source, most, room)
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise ValueError(f"the compressed gzip file ends or breaks here: {error}") from None


def _lines(source: Any, most: int, room: int | None) -> Iterator[bytes]:
    taken = blank = 0
    while line := source.readline(most + 1):
        taken += len(line)
        blank = 0 if len(line) > 2 else blank + 1
        if blank > _MOST_BLANK:
            raise ValueError(f"more than {_MOST_BLANK:,} blank lines follow one another")
        if len(line) > most:
            raise ValueError(f"a line is longer than {most:,} bytes")
        if room is not None and taken > room:
            raise ValueError(f"it expands to more than {_MOST_EXPANSION} times its size")
        yield line


def is_inside(path: str) -> bool:
    """Whether a path that somebody else wrote names a file below a folder, whatever the folder."""
    parts = path.split("/")
    return (
        bool(path)
        and path.isprintable()
        and "\\" not in path
        and not PurePosixPath(path).is_absolute()
        and not any(part in ("", ".", "..") for part in parts)
        and all(len(part.encode("utf-8", "replace")) < 256 for part in parts)
    )
