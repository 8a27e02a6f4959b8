"""Files of rows (JSON Lines, gzip, Parquet) that appear whole or not at all, and traces out of Parquet.

Parquet needs the extra `parquet`.
"""

import gzip
import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from bdc_agents.disk import replacing
from bdc_agents.errors import BDCError, UsageError
from bdc_agents.extras import need

_BATCH = 500
"""Rows held in memory before they are written as one row group. As a start: long traces still fit easily."""

Write = Callable[[Mapping[str, Any]], None]


@contextmanager
def writing_rows(file: Path) -> Iterator[Write]:
    """Writes rows to a file that appears when the block ends; a block that raises leaves no file.

    Folders that are missing on the way to it are made.

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
        file.parent.mkdir(parents=True, exist_ok=True)
        with replacing(file) as temporary, temporary.open("wb") as stream, _writer(file, stream) as write:
            yield write
    except OSError as error:
        there = file.parent.is_dir() and os.access(file.parent, os.W_OK)
        kind = BDCError if there and not file.is_dir() else UsageError
        raise kind(f"cannot write {str(file)!r}: {error.strerror or error}; what was there stays") from error


@contextmanager
def _writer(file: Path, stream: IO[bytes]) -> Iterator[Write]:
    if file.suffix == ".parquet":
        with _parquet_writer(stream) as write:
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


# --- Parquet ---------------------------------------------------------------------------------------


@contextmanager
def _parquet_writer(stream: IO[bytes]) -> Iterator[Any]:
    """Yields a function that writes rows to a Parquet file; all must have the keys of the first.

    Raises:
        UsageError: If pyarrow is not installed.
    """
    arrow, parquet = _arrow()
    rows: list[Mapping[str, Any]] = []
    writer: Any = None

    def flush() -> None:
        nonlocal writer
        if rows:
            table = arrow.Table.from_pylist(rows, schema=writer.schema if writer else None)
            writer = writer or parquet.ParquetWriter(stream, table.schema, compression="zstd")
            writer.write_table(table)
            rows.clear()

    def write(row: Mapping[str, Any]) -> None:
        rows.append(_encodable(row))
        if len(rows) >= _BATCH:
            flush()

    yield write
    flush()
    if writer:
        writer.close()


def trace_lines(file: Path) -> Iterator[bytes]:
    """The traces of a Parquet store, as lines of JSON.

    Raises:
        UsageError: If the file is no such store, or pyarrow is not installed.
    """
    arrow, parquet = _arrow()
    try:
        with parquet.ParquetFile(file) as source:
            for batch in source.iter_batches(_BATCH, columns=["trace"]):
                yield from (text.encode() for text in batch.column(0).to_pylist())
    except (arrow.ArrowInvalid, KeyError, IndexError) as error:
        raise UsageError(
            f"{file}: not a Parquet file of traces: {str(error).splitlines()[0]}; "
            "bdc export RUN --kind traces --out FILE.parquet writes one"
        ) from None


def _encodable(row: Mapping[str, Any]) -> Mapping[str, Any]:
    """The row with lone surrogates, which Parquet cannot hold, replaced."""
    try:
        json.dumps(row, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return json.loads(json.dumps(row, ensure_ascii=False).encode("utf-8", "replace"))
    return row


def _arrow() -> tuple[Any, Any]:
    return need("pyarrow"), need("pyarrow.parquet")
