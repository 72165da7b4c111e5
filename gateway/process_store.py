"""Which crmgate processes live: each holds a PostgreSQL advisory lock named after its id, for as long as it lives.

Which machines they run on, their connections say (`CONNECTED_AS`).

PostgreSQL lets the lock go when the connection ends, so a killed process needs nobody to say that it is dead. A host
that vanishes is noticed by TCP keep-alive within a minute.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import psycopg
from psycopg.rows import TupleRow

from gateway.database import CONNECTED_AS
from kms.connections import NOBODY, Connections, Pool


async def hosts(pool: Pool) -> set[str]:
    """Names of the machines whose processes are connected to this database now; raises StoreUnavailable."""
    async with Connections(pool).connection(NOBODY) as connection:
        cursor = await connection.execute(
            "SELECT DISTINCT substr(application_name, length(%s) + 1) FROM pg_stat_activity"
            " WHERE datname = current_database() AND starts_with(application_name, %s)",
            (CONNECTED_AS, CONNECTED_AS),
        )
        return {str(one) for (one,) in await cursor.fetchall()}


class ProcessLock:
    """The lock of this process, on a connection kept for nothing else."""

    def __init__(self, dsn: str, process: str) -> None:
        self._dsn = dsn
        self._process = process
        self._held: psycopg.AsyncConnection[TupleRow] | None = None

    async def hold(self) -> psycopg.AsyncConnection[TupleRow]:
        """The connection with the lock, made anew when it was lost; raises psycopg.Error."""
        if self._held is not None and not self._held.closed:
            try:
                await self._held.execute("SELECT 1")
            except psycopg.Error:
                await self._held.close()
        if self._held is None or self._held.closed:
            self._held = await psycopg.AsyncConnection.connect(
                self._dsn, autocommit=True, keepalives_idle=30, keepalives_interval=5, keepalives_count=3
            )
            await self._held.execute(
                "SELECT pg_advisory_lock(hashtextextended('crmgate process ' || %s, 0))", (self._process,)
            )
        return self._held

    @asynccontextmanager
    async def of_dead(self, other: str) -> AsyncIterator[bool]:
        """Whether another process is dead; nobody else is told the same before the end of the block."""
        held = await self.hold()
        cursor = await held.execute(
            "SELECT pg_try_advisory_lock(hashtextextended('crmgate process ' || %s, 0))", (other,)
        )
        row = await cursor.fetchone()
        if row is None or not row[0]:
            yield False
            return
        try:
            yield True
        finally:
            await held.execute("SELECT pg_advisory_unlock(hashtextextended('crmgate process ' || %s, 0))", (other,))

    async def close(self) -> None:
        """Let the lock go."""
        if self._held is not None:
            await self._held.close()
            self._held = None
