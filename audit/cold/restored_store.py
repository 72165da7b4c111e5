"""SQL of the table into which segments are brought back for reading."""

from collections.abc import Iterator
from itertools import islice

from psycopg import sql

from audit.store import Connection

COLUMNS = (
    "index", "at", "kind", "actor", "operation", "entity", "record", "reason", "status", "exchange", "body", "leaf",
)  # fmt: skip
_ROWS_AT_ONCE = 1_000


async def replace_rows(
    connection: Connection, tenant: str, first: int, last: int, rows: Iterator[tuple[object, ...]]
) -> None:
    """Put entries, as `COLUMNS`, in place of those of the same range. Raises: psycopg errors."""
    await connection.execute(
        "DELETE FROM audit_restored WHERE tenant = %s AND index BETWEEN %s AND %s", (tenant, first, last)
    )
    # COPY is not for tables behind row-level security.
    insert = sql.SQL("INSERT INTO audit_restored (tenant, {}) VALUES ({})").format(
        sql.SQL(", ").join(map(sql.Identifier, COLUMNS)), sql.SQL(", ").join([sql.Placeholder()] * (len(COLUMNS) + 1))
    )
    async with connection.cursor() as cursor:
        while part := [(tenant, *row) for row in islice(rows, _ROWS_AT_ONCE)]:
            await cursor.executemany(insert, part)


async def forget_restored(connection: Connection, tenant: str) -> int:
    """Empty the table again for a tenant; how many entries were in it. Raises: psycopg errors."""
    return (await connection.execute("DELETE FROM audit_restored WHERE tenant = %s", (tenant,))).rowcount
