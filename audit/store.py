"""Reading the audit trail, and its checkpoints. Nothing here updates or deletes an entry; the database refuses it."""

from collections.abc import AsyncGenerator, Sequence
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from struct import iter_unpack
from typing import LiteralString, Protocol

from psycopg import AsyncConnection, AsyncCursor, AsyncServerCursor, sql
from psycopg.rows import Row, TupleRow, args_row, class_row

from audit.tree import HASH_BYTES

EVERY = "*"
"""In place of a tenant: the logs of all of them, for finding out which there are."""


@dataclass(frozen=True, slots=True)
class StoredEntry:
    """A row as stored; `index` counts from 0 without gaps within a tenant."""

    index: int
    at: datetime
    kind: str
    actor: str
    operation: str
    entity: str
    record: str
    reason: str
    status: int
    exchange: str
    body: bytes
    leaf: bytes


@dataclass(frozen=True, slots=True)
class StoredCheckpoint:
    """A signed note as stored, with the frontier from which the next one goes on."""

    size: int
    at: datetime
    note: str
    frontier: bytes


Connection = AsyncConnection[TupleRow]


class Pool(Protocol):
    """Where connections come from."""

    def of(self, tenant: str) -> AbstractAsyncContextManager[Connection]:
        """A connection whose block is one transaction that sees the rows of a tenant, or of `EVERY`."""
        ...


FETCH_ROWS = 1_000
LAST = 2**63 - 1  # of a bigint
# In the order of StoredEntry, so that a row needs no names.
_COLUMNS: LiteralString = "index, at, kind, actor, operation, entity, record, reason, status, exchange, body, leaf"


@dataclass(frozen=True, slots=True)
class Filters:
    """What to look for; empty means anything. since is included, until is not.

    records: other names the same record may stand under, told to nobody.
    """

    actor: str = ""
    kind: str = ""
    operation: str = ""
    entity: str = ""
    record: str = ""
    records: tuple[str, ...] = ()
    reason: str = ""
    exchange: str = ""
    since: datetime | None = None
    until: datetime | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the filters in use, for the entry about the search."""
        return tuple(name for name in self.__slots__ if name != "records" and getattr(self, name))


@asynccontextmanager
async def _held(cursor: AsyncServerCursor[Row]) -> AsyncGenerator[AsyncServerCursor[Row], None]:
    """A server-side cursor that counts as closed afterwards, even when the task or the connection ended meanwhile."""
    try:
        yield cursor
    finally:
        try:
            await cursor.close()
        finally:
            if not cursor.closed:  # asking the server to close it was cut off; the transaction takes it along
                await AsyncCursor.close(cursor)


async def snapshot(connection: Connection) -> None:
    """Make the transaction that begins next read one state of the database and write nothing."""
    await connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")


async def see(connection: Connection, tenant: str) -> None:
    """Let this transaction read the rows of a tenant, or of `EVERY`."""
    await connection.execute("SELECT set_config('crmgate.tenant', %s, true)", (tenant,))


async def bound_statements(connection: Connection, seconds: float) -> None:
    """End every statement of this transaction that takes longer."""
    await connection.execute("SELECT set_config('statement_timeout', %s, true)", (f"{seconds * 1000:.0f}",))


@asynccontextmanager
async def reading(conninfo: str, tenant: str) -> AsyncGenerator[Connection, None]:
    """One snapshot of a tenant's trail over a connection of its own. Raises: psycopg errors."""
    async with await AsyncConnection.connect(conninfo) as connection, connection.transaction():
        await snapshot(connection)
        await see(connection, tenant)
        yield connection


async def tenants(connection: Connection) -> list[str]:
    """Every tenant that has a head, an entry or a checkpoint, in order."""
    # A step from key to key: DISTINCT would read every entry.
    found = await connection.execute("""
    WITH RECURSIVE step AS (
        SELECT min(tenant) AS tenant FROM audit_entry
        UNION ALL
        SELECT (SELECT min(tenant) FROM audit_entry WHERE tenant > step.tenant) FROM step WHERE step.tenant IS NOT NULL
    )
    SELECT tenant FROM step WHERE tenant IS NOT NULL
    UNION SELECT tenant FROM audit_head UNION SELECT tenant FROM audit_checkpoint ORDER BY 1
    """)
    return [row[0] for row in await found.fetchall()]


async def size(connection: Connection, tenant: str) -> int:
    """Number of entries the head claims."""
    found = await connection.execute("SELECT size FROM audit_head WHERE tenant = %s", (tenant,))
    row = await found.fetchone()
    return int(row[0]) if row else 0


async def entries(
    connection: Connection, tenant: str, start: int = 0, end: int | None = None, rows_at_once: int = FETCH_ROWS
) -> AsyncGenerator[list[StoredEntry], None]:
    """Entries from `start` up to `end` by index, through a server-side cursor; needs a transaction."""
    async with _held(connection.cursor("audit_entries", row_factory=args_row(StoredEntry))) as cursor:
        await cursor.execute(
            sql.SQL(
                "SELECT {} FROM audit_entry WHERE tenant = %s AND index >= %s AND index < %s ORDER BY index"
            ).format(sql.SQL(_COLUMNS)),
            (tenant, start, LAST if end is None else end),
            binary=True,
        )
        while rows := await cursor.fetchmany(rows_at_once):
            yield rows


async def leaves(
    connection: Connection, tenant: str, start: int, end: int
) -> AsyncGenerator[list[tuple[int, bytes]], None]:
    """Index and leaf hash from `start` up to `end`, by index; needs a transaction."""
    async with _held(connection.cursor("audit_leaves")) as cursor:
        await cursor.execute(
            "SELECT index, leaf FROM audit_entry WHERE tenant = %s AND index >= %s AND index < %s ORDER BY index",
            (tenant, start, end),
            binary=True,
        )
        while rows := await cursor.fetchmany(FETCH_ROWS):
            yield [(row[0], row[1]) for row in rows]


async def next_leaves(connection: Connection, tenant: str, start: int, end: int) -> list[bytes]:
    """Leaf hashes from `start` on without a gap, a thousand at most; none when the entry at `start` is missing."""
    # In one value: taking a row apart costs more than hashing it.
    end = min(end, start + FETCH_ROWS)
    found = await connection.execute(
        "SELECT min(index), max(index), string_agg(leaf, ''::bytea ORDER BY index) FROM audit_entry"
        " WHERE tenant = %s AND index >= %s AND index < %s",
        (tenant, start, end),
        binary=True,
    )
    first, last, packed = await found.fetchone() or (None, None, None)
    if first != start:
        return []
    if last == end - 1 and len(packed) == (end - start) * HASH_BYTES:
        return [packed[at : at + HASH_BYTES] for at in range(0, len(packed), HASH_BYTES)]
    part: list[bytes] = []
    async with aclosing(leaves(connection, tenant, start, end)) as batches:
        async for rows in batches:
            for index, leaf in rows:
                if index != start + len(part):
                    return part
                part.append(leaf)
    return part


@dataclass(frozen=True, slots=True)
class Hot:
    """Where the part of a log begins that is in the database; frontier: the tree in front, of the sealed segments."""

    start: int = 0
    frontier: bytes = b""
    manifest: str = ""


async def hot(connection: Connection, tenant: str) -> Hot:
    """The hot part. manifest: signed note of the segment that ends in front of it, "" where there is none."""
    found = await connection.execute(
        "SELECT h.start, coalesce(s.frontier, ''), coalesce(s.note, '') FROM audit_hot h"
        " LEFT JOIN audit_segment s ON s.tenant = h.tenant AND s.last = h.start - 1 WHERE h.tenant = %s",
        (tenant,),
    )
    row = await found.fetchone()
    return Hot(int(row[0]), bytes(row[1]), row[2]) if row else Hot()


async def checkpoints(
    connection: Connection, tenant: str, above: int = -1, upto: int | None = None
) -> AsyncGenerator[StoredCheckpoint, None]:
    """Checkpoints by size, those greater than `above` and at most `upto`; needs a transaction."""
    async with _held(connection.cursor("audit_checkpoints", row_factory=class_row(StoredCheckpoint))) as cursor:
        await cursor.execute(
            "SELECT size, at, note, frontier FROM audit_checkpoint"
            " WHERE tenant = %s AND size > %s AND size <= %s ORDER BY size",
            (tenant, above, LAST if upto is None else upto),
            binary=True,
        )
        while rows := await cursor.fetchmany(FETCH_ROWS):
            for row in rows:
                yield row


async def checkpoint_from(connection: Connection, tenant: str, least: int) -> int | None:
    """Size of the first checkpoint that covers at least so many entries."""
    found = await connection.execute(
        "SELECT min(size) FROM audit_checkpoint WHERE tenant = %s AND size >= %s", (tenant, least)
    )
    row = await found.fetchone()
    return int(row[0]) if row and row[0] is not None else None


@dataclass(frozen=True, slots=True)
class Tripwire:
    """What changes when somebody goes around the triggers.

    touched: rows updated or deleted since statistics began; pruned: rows of them that left for sealed segments.
    """

    guards: int
    touched: int
    pruned: int = 0

    @property
    def unexplained(self) -> int:
        """Rows that were touched and not pruned; too small for a moment while rows are pruned."""
        return self.touched - self.pruned


async def tripwire(connection: Connection) -> Tripwire:
    """Triggers of the trail that are in force (two when all is well), and rows updated or deleted in its tables.

    The owner of the database can reset or forge both: an alarm is sure, silence is not.
    """
    found = await connection.execute("""
    SELECT (SELECT count(*) FROM pg_trigger
            WHERE tgrelid IN ('audit_entry'::regclass, 'audit_checkpoint'::regclass)
                AND tgname IN ('audit_entry_append_only', 'audit_checkpoint_append_only') AND tgenabled IN ('O', 'A')),
        pg_stat_get_tuples_updated('audit_entry'::regclass) + pg_stat_get_tuples_deleted('audit_entry'::regclass)
        + pg_stat_get_tuples_updated('audit_checkpoint'::regclass)
        + pg_stat_get_tuples_deleted('audit_checkpoint'::regclass)
    """)
    row = await found.fetchone()
    guards, touched = (int(row[0]), int(row[1])) if row else (0, 0)
    # Afterwards, so that rows which leave at this moment are never counted as touched and not as pruned.
    found = await connection.execute("SELECT coalesce(sum(start), 0) FROM audit_hot")
    row = await found.fetchone()
    return Tripwire(guards, touched, int(row[0]) if row else 0)


async def latest_checkpoint(connection: Connection, tenant: str) -> StoredCheckpoint | None:
    """The checkpoint with the largest size."""
    async with connection.cursor(row_factory=class_row(StoredCheckpoint)) as cursor:
        await cursor.execute(
            "SELECT size, at, note, frontier FROM audit_checkpoint WHERE tenant = %s ORDER BY size DESC LIMIT 1",
            (tenant,),
            binary=True,
        )
        return await cursor.fetchone()


async def checkpoint_within(connection: Connection, tenant: str, above: int, upto: int) -> StoredCheckpoint | None:
    """The largest checkpoint whose size is greater than `above` and at most `upto`."""
    async with connection.cursor(row_factory=class_row(StoredCheckpoint)) as cursor:
        await cursor.execute(
            "SELECT size, at, note, frontier FROM audit_checkpoint WHERE tenant = %s AND size > %s AND size <= %s"
            " ORDER BY size DESC LIMIT 1",
            (tenant, above, upto),
            binary=True,
        )
        return await cursor.fetchone()


async def body(connection: Connection, tenant: str, index: int) -> bytes | None:
    """The exact bytes of one entry; None when there is none."""
    found = await connection.execute(
        "SELECT body FROM audit_entry WHERE tenant = %s AND index = %s", (tenant, index), binary=True
    )
    row = await found.fetchone()
    return bytes(row[0]) if row else None


async def span(
    connection: Connection, tenant: str, since: datetime | None, until: datetime | None, end: int
) -> tuple[int, int] | None:
    """First index, and the one behind the last, of the entries of a time that stand before `end`; None without any."""
    found = await connection.execute(
        "SELECT min(index), max(index) + 1 FROM audit_entry WHERE tenant = %s AND index < %s"
        " AND at >= coalesce(%s, '-infinity') AND at < coalesce(%s, 'infinity')",
        (tenant, end, since, until),
    )
    row = await found.fetchone()
    return (row[0], row[1]) if row and row[0] is not None else None


async def begins_before(connection: Connection, tenant: str, index: int, at: datetime) -> bool:
    """Whether the entry `index` is older than a time."""
    found = await connection.execute(
        "SELECT at < %s FROM audit_entry WHERE tenant = %s AND index = %s", (at, tenant, index)
    )
    row = await found.fetchone()
    return bool(row and row[0])


async def bodies(connection: Connection, tenant: str, start: int, end: int) -> list[bytes]:
    """The exact bytes of the entries from `start` on without a gap, up to `end`."""
    found = await connection.execute(
        "SELECT index, body FROM audit_entry WHERE tenant = %s AND index >= %s AND index < %s ORDER BY index",
        (tenant, start, end),
        binary=True,
    )
    rows = await found.fetchall()
    return [row[1] for place, row in enumerate(rows, start) if row[0] == place]


async def tile_bytes(
    connection: Connection, tenant: str, first: int, last: int, width: int
) -> list[tuple[int, bytes | None]]:
    """Number of each tile of `width` entries and its rows in PostgreSQL's binary form, one after another, by index.

    In one value: taking rows apart costs four times as much as reading and hashing them. None: no entry is there.
    """
    found = await connection.execute(
        sql.SQL(
            "SELECT tile, (SELECT string_agg(record_send(ROW({})), ''::bytea ORDER BY index) FROM audit_entry"
            " WHERE tenant = %(tenant)s AND index >= tile * %(width)s AND index < (tile + 1) * %(width)s)"
            " FROM generate_series(%(first)s::bigint, %(last)s::bigint) AS tile"
        ).format(sql.SQL(_COLUMNS)),
        {"tenant": tenant, "width": width, "first": first, "last": last},
        binary=True,
    )
    return await found.fetchall()


async def checkpoint_sizes(connection: Connection, tenant: str) -> set[int]:
    """Sizes of all checkpoints that are there."""
    found = await connection.execute(
        "SELECT string_agg(int8send(size), ''::bytea) FROM audit_checkpoint WHERE tenant = %s", (tenant,), binary=True
    )
    row = await found.fetchone()
    return {size for (size,) in iter_unpack("!q", row[0])} if row and row[0] else set()


async def claim_sealing(connection: Connection, tenant: str) -> bool:
    """Whether this transaction is the one that may sign for the tenant now; released with the transaction."""
    found = await connection.execute(
        "SELECT pg_try_advisory_xact_lock(hashtextextended('crmgate audit checkpoint ' || %s, 0))", (tenant,)
    )
    row = await found.fetchone()
    return bool(row and row[0])


async def add_checkpoint(connection: Connection, tenant: str, checkpoint: StoredCheckpoint) -> None:
    """Store a signed checkpoint."""
    await connection.execute(
        "INSERT INTO audit_checkpoint (tenant, size, at, note, frontier) VALUES (%s, %s, %s, %s, %s)",
        (tenant, checkpoint.size, checkpoint.at, checkpoint.note, checkpoint.frontier),
    )


async def select(
    connection: Connection,
    tenant: str,
    filters: Filters,
    limit: int,
    *,
    after: int | None = None,
    before: int | None = None,
) -> list[StoredEntry]:
    """Entries that match: the oldest ones after an index, or the newest ones before one; ordered accordingly."""
    conditions: list[sql.Composable] = [sql.SQL("tenant = %(tenant)s")]
    values: dict[str, object] = {"tenant": tenant, "limit": limit}
    for name in ("actor", "kind", "operation", "entity", "reason", "exchange"):
        if value := getattr(filters, name):
            conditions.append(sql.SQL("{} = {}").format(sql.Identifier(name), sql.Placeholder(name)))
            values[name] = value
    if filters.record:
        conditions.append(sql.SQL("record = ANY(%(records)s::text[])"))
        values["records"] = [filters.record, *filters.records]
    for name, column, sign, bound in (
        ("since", "at", ">=", filters.since),
        ("until", "at", "<", filters.until),
        ("after", "index", ">", after),
        ("before", "index", "<", before),
    ):
        if bound is not None:
            conditions.append(sql.SQL("{} " + sign + " {}").format(sql.Identifier(column), sql.Placeholder(name)))
            values[name] = bound
    query = sql.SQL("SELECT {} FROM audit_entry WHERE {} ORDER BY index {} LIMIT %(limit)s").format(
        sql.SQL(_COLUMNS), sql.SQL(" AND ").join(conditions), sql.SQL("ASC" if after is not None else "DESC")
    )
    async with connection.cursor(row_factory=args_row(StoredEntry)) as cursor:
        await cursor.execute(query, values, binary=True)
        return await cursor.fetchall()


async def by_index(connection: Connection, tenant: str, indexes: Sequence[int]) -> list[StoredEntry]:
    """The entries with these indexes, those of them that there are."""
    async with connection.cursor(row_factory=args_row(StoredEntry)) as cursor:
        await cursor.execute(
            sql.SQL("SELECT {} FROM audit_entry WHERE tenant = %s AND index = ANY(%s::bigint[]) ORDER BY index").format(
                sql.SQL(_COLUMNS)
            ),
            (tenant, list(indexes)),
            binary=True,
        )
        return await cursor.fetchall()
