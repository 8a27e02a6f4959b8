"""Keeps vectors on disk, by the encoder's name and the text."""

from __future__ import annotations

import logging
import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from hashlib import sha256
from pathlib import Path

import numpy as np

from bdc_agents.agents.cache import cache_folder
from bdc_agents.embed.encoder import Encoder, Vectors

log = logging.getLogger(__name__)

_FORMAT = 1
"""Part of the file's name; raise it when vectors of older files no longer fit."""
_BUSY_SECONDS = 5.0
"""sqlite3's own default: how long to wait while another process writes."""
_SAVE_EVERY = 256
"""Texts in a group: an interrupted call loses at most these. Chosen, not measured."""


class CachedEncoder:
    """An encoder whose vectors are computed once.

    The vectors of one call are made and kept in groups, so that an interrupted call loses little. If the
    cache cannot be used, it warns and goes on without.

    Args:
        encoder: Makes the vectors that are missing.
        folder: Folder of the cache; None for the user's cache folder.
    """

    def __init__(self, encoder: Encoder, folder: Path | None = None) -> None:
        self.encoder = encoder
        self.path = (folder or cache_folder()) / f"vectors-{_FORMAT}.sqlite"

    @property
    def name(self) -> str:
        """The name of the encoder within."""
        return self.encoder.name

    def embed(self, texts: Sequence[str]) -> Vectors:
        """One unit vector for each text; see `Encoder`."""
        keys = [self._key(text) for text in texts]
        found = self._read(keys)
        missing = {key: text for key, text in zip(keys, texts, strict=True) if key not in found}
        # Alike lengths together: a group is batched without much padding.
        todo = sorted(missing, key=lambda key: len(missing[key]))
        for start in range(0, len(todo), _SAVE_EVERY):
            group = todo[start : start + _SAVE_EVERY]
            made = dict(zip(group, self.encoder.embed([missing[key] for key in group]), strict=True))
            self._write(made)
            found |= made
        return np.stack([found[key] for key in keys]) if keys else self.encoder.embed(texts)

    def _key(self, text: str) -> bytes:
        return sha256(f"{self.name}\0{text}".encode("utf-8", "surrogatepass")).digest()

    def _read(self, keys: Sequence[bytes]) -> dict[bytes, Vectors]:
        found: dict[bytes, Vectors] = {}
        with self._tolerant(), closing(self._open()) as connection:
            for key in set(keys):
                row = connection.execute("SELECT vector FROM vectors WHERE key = ?", (key,)).fetchone()
                if row:
                    found[key] = np.frombuffer(row[0], dtype="<f4")
        sizes = {len(vector) for vector in found.values()}
        return found if len(sizes) <= 1 else {}

    def _write(self, made: dict[bytes, Vectors]) -> None:
        rows = [(key, vector.astype("<f4").tobytes()) for key, vector in made.items()]
        with self._tolerant(), closing(self._open()) as connection, connection:
            connection.executemany("INSERT OR REPLACE INTO vectors VALUES (?, ?)", rows)

    def _open(self) -> sqlite3.Connection:
        self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        # Made here so that nobody else may read it.
        os.close(os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600))
        connection = sqlite3.connect(self.path, timeout=_BUSY_SECONDS)
        try:
            connection.execute(
                "CREATE TABLE IF NOT EXISTS vectors (key BLOB PRIMARY KEY, vector BLOB) WITHOUT ROWID"
            )
        except BaseException:
            connection.close()
            raise
        return connection

    @contextmanager
    def _tolerant(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            log.warning("vectors are not cached: %s: %s", self.path, error)
