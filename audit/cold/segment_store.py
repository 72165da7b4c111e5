"""SQL of the sealed part: segments, where the hot part begins, and the one way by which entries leave the database."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import LiteralString

from psycopg.rows import class_row
from psycopg.types.json import Jsonb

from audit.store import Connection

_SELECT: LiteralString = (
    "SELECT first, last, at_last, sealed_at, frontier, note, dropped_at, leaves FROM audit_segment WHERE tenant = %s "
)


@dataclass(frozen=True, slots=True)
class StoredSegment:
    """A row. frontier: the tree behind `last`; leaves: the file of leaf hashes of a segment that was dropped."""

    first: int
    last: int
    at_last: datetime
    sealed_at: datetime
    frontier: bytes
    note: str
    dropped_at: datetime | None = None
    leaves: dict[str, str] | None = None


async def segments(connection: Connection, tenant: str) -> list[StoredSegment]:
    """Every segment, by index."""
    async with connection.cursor(row_factory=class_row(StoredSegment)) as cursor:
        await cursor.execute(_SELECT + "ORDER BY first", (tenant,))
        return await cursor.fetchall()


async def newest_segment(connection: Connection, tenant: str) -> StoredSegment | None:
    """The segment with the greatest index."""
    async with connection.cursor(row_factory=class_row(StoredSegment)) as cursor:
        await cursor.execute(_SELECT + "ORDER BY first DESC LIMIT 1", (tenant,))
        return await cursor.fetchone()


async def hot_start(connection: Connection, tenant: str) -> int:
    """Index of the first entry that is still in the database, or would be."""
    found = await connection.execute("SELECT start FROM audit_hot WHERE tenant = %s", (tenant,))
    row = await found.fetchone()
    return int(row[0]) if row else 0


async def segment_before(connection: Connection, tenant: str, start: int) -> StoredSegment | None:
    """The segment whose last entry is right before `start`."""
    async with connection.cursor(row_factory=class_row(StoredSegment)) as cursor:
        await cursor.execute(_SELECT + "AND last = %s", (tenant, start - 1))
        return await cursor.fetchone()


async def add_segment(connection: Connection, tenant: str, one: StoredSegment) -> None:
    """Note a segment whose files were read back and verified."""
    await connection.execute(
        "INSERT INTO audit_segment (tenant, first, last, at_last, sealed_at, frontier, note)"
        " VALUES (%s, %s, %s, %s, %s, %s, %s)",
        (tenant, one.first, one.last, one.at_last, one.sealed_at, one.frontier, one.note),
    )


async def prune(connection: Connection, tenant: str, first: int) -> int:
    """Remove the entries of the sealed segment that begins the hot part; how many. Raises: psycopg errors."""
    found = await connection.execute("SELECT audit_prune(%s, %s)", (tenant, first))
    # With the commit: the watch holds what was deleted against what was pruned, and would take the rest, told seconds
    # later, for rows that somebody deleted.
    await connection.execute("SELECT pg_stat_force_next_flush()")
    row = await found.fetchone()
    return int(row[0]) if row else 0


async def note_leaves(connection: Connection, tenant: str, first: int, leaves: dict[str, str]) -> None:
    """Note where the leaf hashes of a segment are, before its files go."""
    await connection.execute(
        "UPDATE audit_segment SET leaves = %s WHERE tenant = %s AND first = %s", (Jsonb(leaves), tenant, first)
    )


async def note_dropped(connection: Connection, tenant: str, first: int, at: datetime) -> None:
    """Note that the files of a segment are gone."""
    await connection.execute(
        "UPDATE audit_segment SET dropped_at = %s WHERE tenant = %s AND first = %s", (at, tenant, first)
    )


async def forwarded(connection: Connection, tenant: str, sinks: Sequence[str]) -> int | None:
    """The least index that one of these ways out to a SIEM has not taken yet; None without any."""
    if not sinks:
        return None
    found = await connection.execute(
        "SELECT count(*), min(next_index) FROM audit_forward WHERE tenant = %s AND sink = ANY(%s)",
        (tenant, list(sinks)),
    )
    row = await found.fetchone()
    return int(row[1]) if row and row[0] == len(sinks) else 0


async def first_since(connection: Connection, tenant: str, start: int, at: datetime) -> int | None:
    """Index of the first entry from `start` on that happened at `at` or later."""
    found = await connection.execute(
        "SELECT index FROM audit_entry WHERE tenant = %s AND index >= %s AND at >= %s ORDER BY index LIMIT 1",
        (tenant, start, at),
    )
    row = await found.fetchone()
    return int(row[0]) if row else None


async def time_of(connection: Connection, tenant: str, index: int) -> datetime | None:
    """When an entry happened."""
    found = await connection.execute("SELECT at FROM audit_entry WHERE tenant = %s AND index = %s", (tenant, index))
    row = await found.fetchone()
    return row[0] if row else None


async def claim(connection: Connection, tenant: str) -> bool:
    """Whether this transaction is the one that may seal or drop segments of the tenant now."""
    found = await connection.execute(
        "SELECT pg_try_advisory_xact_lock(hashtextextended('crmgate audit archive ' || %s, 0))", (tenant,)
    )
    row = await found.fetchone()
    return bool(row and row[0])
