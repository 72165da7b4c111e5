"""SQL of holders that nothing names any more."""

from collections.abc import Sequence

from psycopg import sql

from kms.connections import Connections as Database
from kms.holder_store import OUTSIDE

_IS_NAMED = sql.SQL("(h.erased_at IS NOT NULL OR {} OR {})").format(
    sql.SQL(" OR ").join(
        sql.SQL("EXISTS (SELECT 1 FROM {} w WHERE w.tenant = h.tenant AND w.holder = h.id)").format(sql.Identifier(one))
        for one in ("vault_wrap", "vault_beside", "vault_named", *(table.wraps for table in OUTSIDE))
    ),
    sql.SQL(
        "EXISTS (SELECT 1 FROM vault_origin o WHERE o.tenant = h.tenant AND o.entity = h.entity AND h.record <> ''"
        " AND o.record = h.record)"
        " OR EXISTS (SELECT 1 FROM vault_origin o WHERE o.tenant = h.tenant AND o.entity = h.entity AND h.record = ''"
        " AND o.record = '' AND o.cell <> '' AND o.cell = h.cell)"
    ),
)


class OrphanStore:
    """Finds and releases holders; every method raises StoreUnavailable and may be repeated."""

    def __init__(self, connections: Database) -> None:
        self._connections = connections

    async def named(self, tenant: str, holders: Sequence[bytes]) -> set[bytes]:
        """Which of these are erased, hold a value key, or belong to a place where a value stands."""
        async with self._connections.connection(tenant) as connection:
            query = "SELECT h.id FROM vault_holder h WHERE h.tenant = %s AND h.id = ANY(%s::bytea[]) AND {}"
            cursor = await connection.execute(sql.SQL(query).format(_IS_NAMED), (tenant, list(holders)))
            return {bytes(one) for (one,) in await cursor.fetchall()}

    async def release(self, tenant: str, holders: Sequence[bytes]) -> list[bytes]:
        """Take away those that nothing names, unless somebody writes for them now; which of them are not there then."""
        async with self._connections.connection(tenant) as connection:
            cursor = await connection.execute(
                "SELECT id FROM vault_holder WHERE tenant = %s AND id = ANY(%s::bytea[]) AND erased_at IS NULL"
                " ORDER BY id FOR UPDATE SKIP LOCKED",
                (tenant, list(holders)),
            )
            free = [bytes(one) for (one,) in await cursor.fetchall()]
            # Asked again under the lock: a writer may have been there after the last look.
            await connection.execute(
                sql.SQL(
                    "DELETE FROM vault_holder h WHERE h.tenant = %s AND h.id = ANY(%s::bytea[]) AND NOT ({})"
                ).format(_IS_NAMED),
                (tenant, free),
            )
            cursor = await connection.execute(
                "SELECT id FROM vault_holder WHERE tenant = %s AND id = ANY(%s::bytea[])", (tenant, list(holders))
            )
            left = {bytes(one) for (one,) in await cursor.fetchall()}
            await connection.commit()
            return [one for one in holders if one not in left]
