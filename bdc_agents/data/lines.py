"""Reads the lines of a data file, plain or packed: all in turn, or one by its place.

A line's place is where it begins in the unpacked text, in bytes. A packed file cannot be read from the
middle: its text is unpacked up to the place. The states of the unpacking are kept in memory on the way,
so that a process that reads many lines unpacks the file about once.
"""

import gzip
import stat
import sys
import threading
import zlib
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import IO, Any, NamedTuple, cast

from bdc_agents.untrusted import EXPANDS, room_unpacked

LONGEST_LINE = 1 << 29
"""Most bytes of a line: an endless one, as in a file that unpacks to zeros, would fill the memory."""
_MOST_BLANK = 100_000
"""Most blank lines in a row: a small packed file may hold billions, which take minutes to read."""
_CHUNK = 1 << 18
"""Packed bytes that are read at once."""
_BETWEEN_STATES = 1 << 22
"""Bytes of text between two kept states: a state takes 45 KB, and this many bytes unpack in 10 ms."""
_MOST_STATES = 512
"""States that are kept: 23 MB, for 2 GB of text; beyond it unpacking takes longer."""
_GZIP = 31  # zlib's code for data with a gzip header.
_MARK = b"\xef\xbb\xbf"

BROKEN = (OSError, EOFError, zlib.error)
"""What reading a file raises that is not there, or is damaged."""


class FileState(NamedTuple):
    """The present state of a file; a changed file has another one."""

    file: Path
    number: int
    size: int
    changed: int

    @classmethod
    def of(cls, file: Path) -> "FileState":
        """The state of a file.

        Raises:
            OSError: If there is none.
        """
        found = file.stat()
        return cls(file.absolute(), found.st_ino, found.st_size, found.st_mtime_ns)


class Line(NamedTuple):
    """A line that is not empty.

    Args:
        number: From 1.
        place: Where it begins, in bytes of the unpacked text.
        data: Its bytes; None for one that is longer than `LONGEST_LINE`.
    """

    number: int
    place: int
    data: bytes | None


def is_packed(file: Path) -> bool:
    """Whether a file is packed, by its name."""
    return file.suffix == ".gz"


def open_bytes(file: Path) -> IO[bytes]:
    """Opens a file to read its text as bytes.

    Raises:
        OSError: If it cannot be opened.
    """
    check_plain(file)
    return cast("IO[bytes]", gzip.open(file)) if is_packed(file) else file.open("rb")


def check_plain(file: Path) -> None:
    """Refuses devices and pipes, which may have no end, or wait for somebody who writes.

    Raises:
        OSError: If it is one, or there is no such file.
    """
    if not stat.S_ISREG(file.stat().st_mode):
        raise OSError("it is no plain file")


def lines(file: Path) -> Iterator[Line]:
    """The lines of a file.

    Raises:
        OSError, EOFError, zlib.error: If it cannot be read to its end; the lines before have come.
    """
    with open_bytes(file) as stream:
        place = number = blank = 0
        # A small packed file could unpack for minutes; what it may hold is read, and then it is told.
        room = room_unpacked(file.stat().st_size) if is_packed(file) else sys.maxsize
        while data := stream.readline(min(LONGEST_LINE, room - place + 1)):
            if place + len(data) > room:
                raise OSError(EXPANDS)
            number += 1
            whole = data.endswith(b"\n") or len(data) < LONGEST_LINE
            length = len(data) if whole else len(data) + _skipped(stream)
            blank = 0 if data.strip() else blank + 1
            if blank > _MOST_BLANK:
                raise OSError(f"more than {_MOST_BLANK:,} blank lines follow one another")
            if not blank:
                yield Line(number, place, _unmarked(data, place) if whole else None)
            place += length


def line_at(file: Path, place: int) -> bytes | None:
    """The line that begins at a place; None where none does.

    Raises:
        OSError, EOFError, zlib.error: If the file cannot be read up to there.
    """
    before = max(place - 1, 0)
    if is_packed(file):
        data = _unpacked(FileState.of(file)).read(before)
    else:
        with file.open("rb") as stream:
            stream.seek(before)
            data = (stream.read(1) if place else b"") + stream.readline(LONGEST_LINE)
    if place and not data.startswith(b"\n"):
        return None
    return _unmarked(data.removeprefix(b"\n") if place else data, place)


def _unmarked(data: bytes, place: int) -> bytes:
    """The line without the mark that some editors put at the start of a file."""
    return data.removeprefix(_MARK) if place == 0 else data


def _skipped(stream: IO[bytes]) -> int:
    """Reads to the end of the line; gives the bytes it read."""
    count = 0
    while part := stream.readline(_CHUNK):
        count += len(part)
        if part.endswith(b"\n"):
            break
    return count


# --- packed files -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Pause:
    """From where a packed file can be unpacked on."""

    place: int
    """Bytes of text before."""
    position: int
    """Bytes of the packed file before."""
    unpacker: Any


@dataclass
class _Unpacked:
    """A packed file as text that can be read from any place, by the states that were passed."""

    file: Path
    states: list[_Pause] = field(default_factory=list[_Pause])
    lock: Any = field(default_factory=threading.Lock)

    def read(self, place: int) -> bytes:
        """The text from a place to the end of the line after the next line end, or what there is of it."""
        with self.lock, self.file.open("rb") as stream:
            found = bytearray()
            for begin, text in self._texts(stream, place):
                if begin + len(text) <= place:
                    continue
                end = text.find(b"\n", max(place - begin, 0) + (not found))
                found += text[max(place - begin, 0) : end + 1 or None]
                if end >= 0 or len(found) > LONGEST_LINE:
                    break
            return bytes(found)

    def _texts(self, stream: IO[bytes], place: int) -> Iterator[tuple[int, bytes]]:
        """Pieces of the text, from a state before the place on; keeps further states."""
        state = self._before(place)
        at, position, unpacker = state.place, state.position, state.unpacker.copy()
        stream.seek(position)
        left = b""
        while True:
            left = left or stream.read(_CHUNK)
            if unpacker.eof:  # one packed text may follow another, with zeros between them
                left = left.lstrip(b"\0") or stream.read(_CHUNK).lstrip(b"\0")
                if not left:
                    return
                unpacker = zlib.decompressobj(_GZIP)
            text = unpacker.decompress(left, _CHUNK)
            if not (text or left or unpacker.eof):
                raise EOFError("the packed file ends too early")
            left = unpacker.unused_data if unpacker.eof else unpacker.unconsumed_tail
            yield at, text
            at += len(text)
            self._keep(at, stream.tell() - len(left), unpacker)

    def _before(self, place: int) -> _Pause:
        found = bisect_right(self.states, place, key=lambda state: state.place)
        return self.states[found - 1] if found else _Pause(0, 0, zlib.decompressobj(_GZIP))

    def _keep(self, place: int, position: int, unpacker: Any) -> None:
        last = self.states[-1].place if self.states else 0
        if place >= last + _BETWEEN_STATES and len(self.states) < _MOST_STATES and not unpacker.eof:
            self.states.append(_Pause(place, position, unpacker.copy()))


@lru_cache(maxsize=4)
def _unpacked(state: FileState) -> _Unpacked:
    return _Unpacked(state.file)
