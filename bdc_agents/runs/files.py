"""Writes files of rows (JSON Lines, gzip, Parquet) that appear whole or not at all."""

import gzip
import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from bdc_agents.disk import replacing
from bdc_agents.errors import BDCError, UsageError

Write = Callable[[Mapping[str, Any]], None]


@contextmanager
def writing_rows(file: Path) -> Iterator[Write]:
    """Writes rows to a file that appears when the block ends; a block that raises leaves no file.

    Args:
        file: JSON Lines; compressed where the name ends in `.gz`; Parquet where it ends in
            `.parquet`, which needs the extra `parquet`.

    Yields:
        A function that writes a row.

    Raises:
        UsageError: If it cannot be written there, or the extra is missing.
        BDCError: If the disk is full or fails.
    """
    try:
        with replacing(file) as temporary, temporary.open("wb") as stream, _writer(file, stream) as write:
            yield write
    except OSError as error:
        there = file.parent.is_dir() and os.access(file.parent, os.W_OK)
        kind = BDCError if there and not file.is_dir() else UsageError
        raise kind(f"cannot write {str(file)!r}: {error.strerror or error}; what was there stays") from error


@contextmanager
def _writer(file: Path, stream: IO[bytes]) -> Iterator[Write]:
    if file.suffix == ".parquet":
        from bdc_agents.runs.parquet import parquet_writer

        with parquet_writer(stream) as write:
            yield write
    elif file.suffix == ".gz":
        # Neither name nor time inside, so that equal rows give equal bytes.
        with gzip.GzipFile(filename="", mode="wb", fileobj=stream, mtime=0) as packed:
            yield lambda row: _write_line(packed, row)
    else:
        yield lambda row: _write_line(stream, row)


def _write_line(stream: Any, row: Mapping[str, Any]) -> None:
    # ASCII: an LLM's broken escapes can hold lone surrogates, which have no UTF-8 form.
    stream.write(json.dumps(row, separators=(",", ":")).encode("ascii") + b"\n")
