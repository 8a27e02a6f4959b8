"""Indexes the rows of a JSON Lines file by name, so that one problem of a large file is found at once.

An index holds, for each name of a row, where its line begins. It is made when it is first needed, kept in
memory, and for large files in the user's cache folder, too. It is a hint, and never trusted: the line at a
place is read from the data file itself and must be a row of that name; else the index is made anew. So a
file that has changed, or an index that is damaged or forged, costs time and gives no wrong row.

A packed file has an index too, and no unpacked copy: a copy could not be held against the file without
unpacking it again, and would have to be trusted. See `lines` for how a line of it is read.
"""

import json
import os
import stat
import struct
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any, NamedTuple

from bdc_agents.data.lines import BROKEN, Line, check_plain, line_at, lines
from bdc_agents.disk import replacing, user_cache

Names = Callable[[dict[str, Any]], Sequence[str]]
"""The names that a row answers to."""

FORMAT = 1
"""Version of index files; files of another version are made anew."""
KEPT_FROM_BYTES = 1 << 20
"""Bytes of a data file from which its index is kept on disk: a smaller one is indexed in milliseconds."""
LARGEST = 1 << 28
"""Most bytes of an index file, which is read whole: ten million rows."""
_RECORD = struct.Struct(">8sQQ")  # The hash of a name, the place of its line, the line's number.
_ENDS = 4096
"""Bytes at both ends of a data file that are hashed to notice a change: one disk block each."""
_IN_MEMORY = 16
"""Indexes that a process remembers: more than the data sets that one run uses."""


class Place(NamedTuple):
    """Where a row is: the place of its line, and the line's number."""

    place: int
    number: int


class _Stamp(NamedTuple):
    """Identifies the state of a file: nearly every change alters one of these."""

    size: int
    changed: int
    ends: str

    @classmethod
    def of(cls, file: Path) -> "_Stamp":
        check_plain(file)
        with file.open("rb") as stream:
            state = os.fstat(stream.fileno())
            digest = blake2b(stream.read(_ENDS), digest_size=16)
            stream.seek(max(state.st_size - _ENDS, 0))
            digest.update(stream.read(_ENDS))
        return cls(state.st_size, state.st_mtime_ns, digest.hexdigest())


@dataclass(frozen=True)
class Index:
    """The places of a file's rows by name.

    Args:
        stamp: Stamp of the file when the index was made.
        records: The records in sorted order.
    """

    stamp: _Stamp
    records: bytes

    @classmethod
    def made_of(cls, rows: Iterable[tuple[Place, Sequence[str]]], stamp: _Stamp) -> "Index":
        """The index of some rows with their names."""
        found = {(_hash(name), *where) for where, names in rows for name in names}
        return cls(stamp, b"".join(_RECORD.pack(*record) for record in sorted(found)))

    def places(self, name: str) -> Iterator[Place]:
        """Where rows of this name may be, in the order of the file."""
        wanted, size = _hash(name), _RECORD.size
        low, high = 0, len(self.records) // size
        while low < high:
            middle = (low + high) // 2
            if self.records[middle * size : middle * size + len(wanted)] < wanted:
                low = middle + 1
            else:
                high = middle
        for start in range(low * size, len(self.records), size):
            key, place, number = _RECORD.unpack_from(self.records, start)
            if key != wanted:
                return
            yield Place(place, number)


def _hash(name: str) -> bytes:
    return blake2b(name.encode("utf-8", "surrogatepass"), digest_size=8).digest()


class Finder:
    """Finds the rows of one file by their names.

    Args:
        file: JSON Lines, plain or packed.
        read: From a line to its row; None where it has none.
        names: The names of a row.
        kind: Stands for `names`, so that indexes of other names are told apart.
    """

    def __init__(
        self, file: Path, read: Callable[[Line], dict[str, Any] | None], names: Names, kind: str
    ) -> None:
        self._file = file
        self._read = read
        self._names = names
        self._key = (str(file.absolute()), kind)

    def find(self, name: str) -> list[tuple[Place, dict[str, Any]]]:
        """The rows of this name, in the order of the file.

        Raises:
            OSError: If the file cannot be read at all.
        """
        index, fresh = self._index()
        found = self._checked(index, name)
        if found is None and not fresh:
            found = self._checked(self._made(), name)
        return found or []

    def _checked(self, index: Index, name: str) -> list[tuple[Place, dict[str, Any]]] | None:
        """The rows that are where the index says; None where there are none, or one is not."""
        found: list[tuple[Place, dict[str, Any]]] = []
        for where in index.places(name):
            row = self._row_at(where)
            if row is None or name not in self._names(row):
                return None
            found.append((where, row))
        return found or None

    def _row_at(self, where: Place) -> dict[str, Any] | None:
        try:
            data = line_at(self._file, where.place)
        except BROKEN:
            return None
        return self._read(Line(where.number, where.place, data)) if data else None

    # --- the index: from memory, from the cache folder, or made -----------------------------------

    def _index(self) -> tuple[Index, bool]:
        """The index, and whether it was made just now."""
        stamp = _Stamp.of(self._file)
        with _lock:
            known = _known.get(self._key)
        if known and known.stamp == stamp:
            return known, False
        if kept := _load(self._kept_in(), stamp):
            self._remember(kept)
            return kept, False
        return self._made(), True

    def _made(self) -> Index:
        with _making:  # of threads that want the same, one makes it
            stamp = _Stamp.of(self._file)
            named: list[tuple[Place, Sequence[str]]] = []
            with suppress(*BROKEN):  # what comes before the damage is found all the same
                for line in lines(self._file):
                    row = self._read(line)
                    if row is not None:
                        named.append((Place(line.place, line.number), self._names(row)))
            index = Index.made_of(named, stamp)
        self._remember(index)
        if named and named[-1][0].place >= KEPT_FROM_BYTES:
            _save(self._kept_in(), index)
        return index

    def _remember(self, index: Index) -> None:
        with _lock:
            _known.pop(self._key, None)
            _known[self._key] = index
            while len(_known) > _IN_MEMORY:
                del _known[next(iter(_known))]

    def _kept_in(self) -> Path | None:
        digest = blake2b("\0".join(self._key).encode("utf-8", "surrogatepass"), digest_size=16)
        try:
            return user_cache() / "indexes" / f"{digest.hexdigest()}.index"
        except RuntimeError:  # there is no home folder
            return None


_known: dict[tuple[str, str], Index] = {}
_lock, _making = threading.Lock(), threading.Lock()


# --- on disk: one line of JSON that says what it is of, then the records ------------------------------


def _header(index: Index) -> bytes:
    said = {"format": FORMAT, "of": list(index.stamp), "records": blake2b(index.records).hexdigest()}
    return json.dumps(said).encode() + b"\n"


def _save(target: Path | None, index: Index) -> None:
    """Keeps an index; where there is no room for it, it is made again next time."""
    if target is None or len(index.records) > LARGEST:
        return
    with suppress(OSError):
        target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with replacing(target, 0o600) as temporary:
            temporary.write_bytes(_header(index) + index.records)


def _load(file: Path | None, stamp: _Stamp) -> Index | None:
    """The index of a file in this state, if one is kept, whole, and the user's own."""
    data = _own_bytes(file) if file else None
    header, _, records = (data or b"").partition(b"\n")
    index = Index(stamp, records)
    return index if data and header + b"\n" == _header(index) else None


def _own_bytes(file: Path) -> bytes | None:
    """The content of a plain file that nobody else can write; None for any other."""
    try:
        descriptor = os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
        with os.fdopen(descriptor, "rb") as stream:
            state = os.fstat(descriptor)
            others = stat.S_IWGRP | stat.S_IWOTH
            if not stat.S_ISREG(state.st_mode) or state.st_uid != os.geteuid() or state.st_mode & others:
                return None
            return stream.read(LARGEST) if state.st_size <= LARGEST else None
    except OSError:
        return None
