"""Where connections to PostgreSQL come from, and the one error for whatever goes wrong with them.

The text of PostgreSQL's own errors is never passed on, because it can repeat parameters.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import psycopg
from psycopg.rows import TupleRow
from psycopg_pool import AsyncConnectionPool

Connection = psycopg.AsyncConnection[TupleRow]
Pool = AsyncConnectionPool[Connection]


class StoreUnavailable(Exception):  # noqa: N818 - a state, not a fault
    """The database does not answer or answers with an error; trying again may help."""

    permanent = False


class Connections:
    """Connections of one pool.

    timeout_s: one piece of work, waiting for a connection included; bounded: whether the work itself counts, which a
    connection that is held for the length of a run, for its lock, must not.
    """

    def __init__(self, pool: Pool, *, timeout_s: float = 10.0, bounded: bool = True) -> None:
        self._pool = pool
        self._timeout_s = timeout_s
        self._work_s = timeout_s if bounded else None

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Connection]:
        """One connection; raises StoreUnavailable for whatever goes wrong with it."""
        try:
            async with asyncio.timeout(self._work_s), self._pool.connection(timeout=self._timeout_s) as connection:
                yield connection
        except (psycopg.Error, TimeoutError, OSError) as fault:
            raise StoreUnavailable(f"the database does not answer ({type(fault).__name__})") from None
