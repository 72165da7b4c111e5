"""How far each sink has taken each tenant's trail, and which node is at it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from psycopg import AsyncConnection, Error
from psycopg.rows import TupleRow

Connection = AsyncConnection[TupleRow]


async def see(connection: Connection, tenant: str) -> None:
    """See the rows of one tenant for as long as the connection lives; for connections of one's own, never of a pool."""
    await connection.execute("SELECT set_config('crmgate.tenant', %s, false)", (tenant,))


@asynccontextmanager
async def claim(connection: Connection, tenant: str, sink: str) -> AsyncIterator[bool]:
    """Whether this connection is the one that forwards for as long as the block runs; never waits."""
    lock = f"crmgate siem {len(tenant)} {tenant} {sink}"
    found = await connection.execute("SELECT pg_try_advisory_lock(hashtextextended(%s, 0))", (lock,))
    row = await found.fetchone()
    mine = bool(row and row[0])
    try:
        yield mine
    finally:
        if mine and not connection.closed:
            with suppress(Error):  # a lost connection has let go of it already
                await connection.execute("SELECT pg_advisory_unlock(hashtextextended(%s, 0))", (lock,))


async def position(connection: Connection, tenant: str, sink: str) -> int:
    """Index of the next entry to send; 0 for a sink that is new."""
    found = await connection.execute(
        "SELECT next_index FROM audit_forward WHERE tenant = %s AND sink = %s", (tenant, sink)
    )
    row = await found.fetchone()
    return int(row[0]) if row else 0


async def positions(connection: Connection, tenant: str) -> dict[str, int]:
    """Sink → index of the next entry, for every sink that has taken something."""
    found = await connection.execute("SELECT sink, next_index FROM audit_forward WHERE tenant = %s", (tenant,))
    return {str(sink): int(place) for sink, place in await found.fetchall()}


async def move(connection: Connection, tenant: str, sink: str, next_index: int) -> None:
    """Everything before this index has arrived."""
    await connection.execute(
        "INSERT INTO audit_forward AS kept (tenant, sink, next_index, at) VALUES (%s, %s, %s, now())"
        " ON CONFLICT (tenant, sink) DO UPDATE SET next_index = EXCLUDED.next_index, at = EXCLUDED.at"
        " WHERE kept.next_index < EXCLUDED.next_index",
        (tenant, sink, next_index),
    )
