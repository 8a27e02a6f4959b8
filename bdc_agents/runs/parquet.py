"""Reads and writes Parquet files of rows; needs the extra `parquet`."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from bdc_agents.errors import UsageError
from bdc_agents.extras import need

_BATCH = 500
"""Rows held in memory before they are written as one row group. As a start: long traces still fit easily."""


@contextmanager
def parquet_writer(stream: IO[bytes]) -> Iterator[Any]:
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
