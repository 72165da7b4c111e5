"""Entries of sealed segments that match, for whoever reads the trail from its beginning."""

import asyncio
from collections.abc import AsyncIterator
from datetime import datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from audit.archive import Archive, SegmentBroken
from audit.store import Filters, StoredEntry
from audit.tree import leaf_hash

_NAMES = ("actor", "kind", "operation", "entity", "record", "reason", "exchange")
_COLUMNS = ["index", "at", *_NAMES, "status", "body"]


async def matching(archive: Archive, tenant: str, filters: Filters, end: int) -> AsyncIterator[StoredEntry]:
    """Sealed entries before `end` that match, oldest first. Raises: SegmentBroken, ArchiveUnavailable."""
    for segment in await archive.segments(tenant, filters.since, filters.until, [_wanted(filters)]):
        if segment.first < end and not segment.passed_over:
            for entry in await asyncio.to_thread(matching_rows, segment.event_file, filters, end):
                yield entry


def _wanted(filters: Filters) -> dict[str, list[str]]:
    found = {"actor": [filters.actor] if filters.actor else []}
    found["record"] = [filters.record, *filters.records] if filters.record else []
    return {column: values for column, values in found.items() if values}


def matching_rows(event_file: Path, filters: Filters, end: int) -> list[StoredEntry]:
    """Entries of one segment before `end` that match, oldest first. Raises: SegmentBroken."""
    condition = pc.field("index") < end
    for name in _NAMES:
        if name == "record" and filters.records:
            condition &= pc.field(name).isin([filters.record, *filters.records])
        elif value := getattr(filters, name):
            condition &= pc.field(name) == value
    if filters.since is not None:
        condition &= pc.field("at") >= _instant(filters.since)
    if filters.until is not None:
        condition &= pc.field("at") < _instant(filters.until)
    try:
        found = pq.read_table(event_file, columns=_COLUMNS, filters=condition).sort_by("index")
    except (OSError, pa.ArrowException) as fault:
        raise SegmentBroken(f"{event_file.name} cannot be read: {type(fault).__name__}") from None
    return [StoredEntry(**row, leaf=leaf_hash(row["body"])) for row in found.to_pylist()]


def _instant(at: datetime) -> pc.Expression:
    return pc.scalar(at)
