"""Reads files from elsewhere within bounds; anything wrong with one is a `ValueError` of one line."""

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
"""A compressed file may expand to this many times its size, or to this many bytes if that is more. JSON
expands about ten times."""
EXPANDS = f"it expands to more than {_MOST_EXPANSION} times its size"
_MOST_BLANK = 1000
"""Blank lines in a row: nobody writes more, and a small compressed file could hold billions."""
_LONGEST_NAME = 255
"""Bytes of a file's name that Linux's file systems take."""
_LONGEST_INTEGER = 2**63
"""Integers lie below it: columns of tables hold 64 bits."""


def read_json(data: bytes | str, *, finite: bool = True) -> Any:
    """Reads JSON.

    Args:
        data: The JSON.
        finite: Whether to refuse numbers that no column of a table can hold.

    Raises:
        ValueError: If it is not JSON, or nested too deeply to be read.
    """
    try:
        if not finite:
            return json.loads(data)
        return json.loads(data, parse_constant=_no_number, parse_float=_float, parse_int=_integer)
    except json.JSONDecodeError as error:
        raise ValueError(json_fault(error)) from None
    except UnicodeDecodeError as error:
        raise ValueError(f"no UTF-8 text: {error.reason} at byte {error.start}") from None
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def json_fault(error: json.JSONDecodeError) -> str:
    """Says what is wrong with JSON, and where; for text on one line, such as a row, only the column."""
    text, told = error.doc.rstrip(), error.msg.removesuffix(" at")  # As in `Invalid control character at`.
    if not text.lstrip("\ufeff"):
        return "it is empty"
    if "\n" in text:
        return f"{told} at line {error.lineno}, column {error.colno}"
    # If a line ends too early, the parser blames the start of the next one, which is not in this row.
    return f"{told} at column {min(error.pos, len(text)) + 1}"


def json_kind(value: Any) -> str:
    """What a value is in the words of JSON."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    kinds = {"list": "a list", "dict": "an object", "str": "a text", "int": "a number", "float": "a number"}
    return kinds.get(type(value).__name__, f"a {type(value).__name__}")


def read_object(data: bytes | str, *, finite: bool = True) -> dict[str, Any]:
    """Like `read_json`, for a JSON object.

    Raises:
        ValueError: If it is something else.
    """
    found = read_json(data, finite=finite)
    if not isinstance(found, dict):
        raise ValueError(f"a JSON object is expected, found {json_kind(found)}")
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
    # Longer ones are not even parsed: the time for it grows with the square of their length.
    if len(text) > 20 or abs(value := int(text)) >= _LONGEST_INTEGER:
        raise ValueError(f"{text:.40} is too large for an integer")
    return value


def read_whole(file: Path, most: int) -> bytes:
    """Reads a plain file.

    Args:
        file: The file.
        most: The most bytes it may have.

    Raises:
        OSError: If it cannot be read.
        ValueError: If it is larger, or a device or a pipe, which may have no end.
    """
    with plain(file) as stream:
        data = stream.read(most + 1)
    if len(data) > most:
        raise ValueError(f"it is larger than {most:,} bytes")
    return data


@contextmanager
def plain(file: Path) -> Iterator[BufferedReader]:
    """Opens a plain file, or a link to one, for reading.

    Raises:
        OSError: If it cannot be opened.
        ValueError: If it is a device or a pipe, which may have no end.
    """
    # Non-blocking: opening a pipe without a writer would wait.
    with os.fdopen(os.open(file, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as stream:
        if not stat.S_ISREG(os.fstat(stream.fileno()).st_mode):
            raise ValueError("it is no plain file")
        yield stream


def read_lines(file: Path, most: int = LONGEST_LINE) -> Iterator[bytes]:
    """Reads the lines of a plain file with their ends; decompresses one whose name ends in `.gz`.

    Args:
        file: The file.
        most: The most bytes of a line.

    Raises:
        OSError: If it cannot be read.
        ValueError: If a line is longer, too many are blank, or compressed data is damaged or expands
            without measure.
    """
    with plain(file) as stream:
        packed = file.suffix == ".gz"
        room = room_unpacked(os.fstat(stream.fileno()).st_size) if packed else None
        source: Any = gzip.GzipFile(fileobj=stream) if packed else stream
        try:
            yield from _lines(source, most, room)
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise ValueError(f"the compressed gzip file ends or breaks here: {error}") from None


def room_unpacked(size: int) -> int:
    """The most bytes that a compressed file of this size may expand to; see `EXPANDS`."""
    return max(_SMALL, _MOST_EXPANSION * size)


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
            raise ValueError(EXPANDS)
        yield line


def is_inside(path: str) -> bool:
    """Whether a path from elsewhere stays below the folder that it is joined to, whatever the folder."""
    parts = path.split("/")
    return (
        bool(path)
        and path.isprintable()
        and "\\" not in path
        and not PurePosixPath(path).is_absolute()
        and not any(part in ("", ".", "..") for part in parts)
        and all(len(part.encode("utf-8", "replace")) <= _LONGEST_NAME for part in parts)
    )
