"""Where connections to PostgreSQL come from, whose rows they see, and the one error for whatever goes wrong with them.

Row-level security shows a transaction the rows of the tenant it named and of nobody else. The name is sent together
with BEGIN, so it costs no round trip, and ends with the transaction, so a connection that goes back to the pool
carries none. The text of PostgreSQL's own errors is never passed on, because it can repeat parameters.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import lru_cache

import psycopg
from psycopg import sql
from psycopg.rows import TupleRow
from psycopg_pool import AsyncConnectionPool

Connection = psycopg.AsyncConnection[TupleRow]

EVERY = "*"
"""In place of a tenant: the rows of all of them, for what is not done for one. A test lists who may say so."""
NOBODY = "?"
"""In place of a tenant: no row, for what asks the server and no table."""


class StoreUnavailable(Exception):  # noqa: N818 - a state, not a fault
    """The database does not answer or answers with an error; trying again may help."""

    permanent = False


class Pool(AsyncConnectionPool[Connection]):
    """A pool whose connections are for a tenant; one that is taken from it without `of` sees no row of any."""

    @asynccontextmanager
    async def of(
        self, tenant: str, *, timeout_s: float | None = None, pipelined: bool = False
    ) -> AsyncIterator[Connection]:
        """A connection whose block is one transaction that sees the rows of a tenant, or of `EVERY`.

        pipelined: a statement waits for its answer only when rows are read. timeout_s: waiting for a connection.
        Raises psycopg.Error, PoolTimeout and their like.
        """
        async with super().connection(timeout=timeout_s) as connection:
            if connection.autocommit is pipelined:
                await connection.set_autocommit(not pipelined)
            if pipelined:
                # psycopg begins: it has to know of the transaction, or a commit inside would do nothing.
                async with connection.pipeline():
                    await connection.execute(_naming(tenant), prepare=False)
                    yield connection
            else:
                await connection.execute(b"BEGIN;" + _naming(tenant), prepare=False)
                yield connection


@lru_cache(maxsize=1024)
def _naming(tenant: str) -> bytes:
    if not tenant:
        raise psycopg.DataError("no tenant")  # "" is what the setting reads where nobody set it
    return sql.SQL("SET LOCAL crmgate.tenant = {}").format(sql.Literal(tenant)).as_bytes(None)


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
    async def connection(self, tenant: str, *, pipelined: bool = False) -> AsyncIterator[Connection]:
        """One transaction that sees the rows of a tenant; raises StoreUnavailable for whatever goes wrong with it."""
        try:
            async with (
                asyncio.timeout(self._work_s),
                self._pool.of(tenant, timeout_s=self._timeout_s, pipelined=pipelined) as connection,
            ):
                yield connection
        except (psycopg.Error, TimeoutError, OSError) as fault:
            raise StoreUnavailable(f"the database does not answer ({type(fault).__name__})") from None
