"""The Parquet tables of an evidence pack: `event` and `sight` of audit.event_row, for whoever counts with SQL.

The program inside the pack has no Parquet reader and checks their hashes only; so they are read again here before the
pack is handed out, and compared with the entries that were proved.
"""

import io
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from audit.event_row import EVENT, SIGHT, rows_of
from audit.tree import leaf_hash

GROUP_ROWS = 10_000
NAMES = ("event.parquet", "sight.parquet")


class TablesBroken(Exception):  # noqa: N818 - a verdict
    """The tables do not say what the entries say: a fault of this program, nothing is handed out."""

    permanent = True


class PackTables:
    """Takes entries in order; `finish` gives the two files, checked."""

    def __init__(self) -> None:
        self._targets = (io.BytesIO(), io.BytesIO())
        self._writers = tuple(
            pq.ParquetWriter(target, schema, compression="zstd")
            for target, schema in zip(self._targets, (EVENT, SIGHT), strict=True)
        )
        self._waiting: tuple[list[dict[str, Any]], list[dict[str, Any]]] = ([], [])
        self._leaves: list[tuple[int, bytes]] = []
        self._sights = 0

    def add(self, index: int, at: datetime, body: bytes) -> Sequence[Mapping[str, Any]]:
        """Take one entry; its rows of `sight`. Raises: EntryRefused for bytes that the log could not have written."""
        leaf = leaf_hash(body)
        event, sights = rows_of(index, at, leaf, body)
        self._waiting[0].append(event)
        self._waiting[1].extend(sights)
        self._leaves.append((index, leaf))
        self._sights += len(sights)
        if len(self._waiting[0]) >= GROUP_ROWS:
            self._flush()
        return sights

    def finish(self) -> dict[str, bytes]:
        """File name → content. Raises: TablesBroken."""
        self._flush()
        for writer in self._writers:
            writer.close()
        files = dict(zip(NAMES, (target.getvalue() for target in self._targets), strict=True))
        self._check(files)
        return files

    def _flush(self) -> None:
        for writer, rows, schema in zip(self._writers, self._waiting, (EVENT, SIGHT), strict=True):
            if rows:
                writer.write_table(pa.Table.from_pylist(rows, schema))
                rows.clear()

    def _check(self, files: Mapping[str, bytes]) -> None:
        found: list[tuple[int, bytes]] = []
        event = pq.ParquetFile(io.BytesIO(files["event.parquet"]))
        for batch in event.iter_batches(GROUP_ROWS, columns=["index", "leaf", "body"]):
            for row in batch.to_pylist():
                if leaf_hash(row["body"]) != row["leaf"]:
                    raise TablesBroken(f"event.parquet has other bytes for entry {row['index']}")
                found.append((row["index"], row["leaf"]))
        if found != self._leaves:
            raise TablesBroken("event.parquet has other entries than those proved")
        if pq.ParquetFile(io.BytesIO(files["sight.parquet"])).metadata.num_rows != self._sights:
            raise TablesBroken("sight.parquet has another number of rows")
