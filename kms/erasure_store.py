"""SQL of erasing: holders are marked, what only they hold goes, and what others hold too stays."""

from collections.abc import Sequence
from dataclasses import dataclass

from psycopg import sql

from kms.connections import Connection
from kms.connections import Connections as Database
from kms.holder_store import LOOSE, OUTSIDE

_LOCK_WAIT = "SET LOCAL lock_timeout = '300ms'"  # shorter than PostgreSQL's deadlock_timeout: writers never lose to us


@dataclass(frozen=True, slots=True)
class Removed:
    """What went with some holders: entries nobody else holds, entries that others hold too."""

    entries: int
    shared: int


@dataclass(frozen=True, slots=True)
class Marked:
    """Holders of some records, marked as erased.

    unheld: entries of before person keys that stood nowhere else; beside: values kept beside the CRM (kms.beside), both
    deleted; cells: cells and files in the CRM of before value keys, which stay; sealed: those that have value keys;
    bare: of the values beside those of before value keys.
    """

    holders: list[bytes]
    unheld: int
    beside: int
    cells: int
    sealed: int
    bare: int = 0


class ErasureStore:
    """What erasing asks of the tables of this package; every method raises StoreUnavailable and may be repeated."""

    def __init__(self, connections: Database) -> None:
        self._connections = connections

    async def mark(self, tenant: str, records: Sequence[tuple[str, str]]) -> Marked:
        """Mark the holders of records as erased and end their origins, once whoever writes for them is done.

        They forget when and by which exchange they were made: its entry in the trail has the pseudonym.
        """
        entities, names = [one for one, _ in records], [one for _, one in records]
        async with self._connections.connection(tenant) as connection:
            await connection.execute(_LOCK_WAIT)
            cursor = await connection.execute(
                """
                WITH w AS (SELECT * FROM unnest(%s::text[], %s::text[]) AS w (entity, record)),
                mine AS (
                    SELECT h.id FROM vault_holder h WHERE h.tenant = %s AND h.erased_at IS NULL AND (
                        (h.record <> '' AND EXISTS (SELECT 1 FROM w WHERE w.entity = h.entity AND w.record = h.record))
                        OR (h.entity = %s AND h.cell = %s)) ORDER BY h.id FOR NO KEY UPDATE)
                UPDATE vault_holder h SET erased_at = clock_timestamp(), created_at = clock_timestamp(),
                    cell = CASE WHEN h.record <> '' THEN '' ELSE h.cell END FROM mine
                WHERE h.tenant = %s AND h.id = mine.id RETURNING h.id
                """,
                (entities, names, tenant, LOOSE.entity, LOOSE.cell, tenant),
            )
            holders = [bytes(one) for (one,) in await cursor.fetchall()]
            cursor = await connection.execute(
                """
                WITH w AS (SELECT * FROM unnest(%s::text[], %s::text[]) AS w (entity, record)),
                mine AS (
                    SELECT o.ctid FROM vault_origin o JOIN w USING (entity, record) WHERE o.tenant = %s AND record <> ''
                    ORDER BY o.surrogate, o.entity, o.field, o.record FOR UPDATE OF o)
                DELETE FROM vault_origin o USING mine WHERE o.ctid = mine.ctid RETURNING o.surrogate
                """,
                (entities, names, tenant),
            )
            changed = sorted({one for (one,) in await cursor.fetchall()})
            cursor = await connection.execute(
                """
                DELETE FROM vault v WHERE v.tenant = %s AND v.surrogate = ANY(%s::text[]) AND NOT v.held
                AND NOT EXISTS (SELECT 1 FROM vault_origin o WHERE o.tenant = v.tenant AND o.surrogate = v.surrogate
                                AND (o.retired_at IS NULL OR o.retired_at = 'infinity'))
                """,
                (tenant, changed),
            )
            unheld = cursor.rowcount
            beside, bare = await _delete_beside(connection, tenant, entities, names)
            cursor = await connection.execute(
                "SELECT count(*) FILTER (WHERE NOT c.held), count(*) FILTER (WHERE c.held)"
                " FROM vault_cell c JOIN unnest(%s::text[], %s::text[]) AS w (entity, record)"
                " ON w.entity = c.entity AND w.record = c.record WHERE c.tenant = %s AND c.record <> ''",
                (entities, names, tenant),
            )
            row = await cursor.fetchone()
            assert row is not None
            await connection.commit()
            return Marked(holders, unheld, beside, row[0], row[1], bare)

    async def remark(self, tenant: str, holders: Sequence[bytes]) -> list[bytes]:
        """Mark holders that were erased before this database was restored; those that were not marked."""
        async with self._connections.connection(tenant) as connection:
            await connection.execute(_LOCK_WAIT)
            cursor = await connection.execute(
                """
                WITH mine AS (SELECT id FROM vault_holder WHERE tenant = %s AND id = ANY(%s::bytea[])
                              AND erased_at IS NULL ORDER BY id FOR NO KEY UPDATE)
                UPDATE vault_holder h SET erased_at = clock_timestamp(), created_at = clock_timestamp(),
                    cell = CASE WHEN h.record <> '' THEN '' ELSE h.cell END FROM mine
                WHERE h.tenant = %s AND h.id = mine.id RETURNING h.id, h.entity, h.record
                """,
                (tenant, list(holders), tenant),
            )
            rows = await cursor.fetchall()
            await connection.execute(
                """
                DELETE FROM vault_origin o USING unnest(%s::text[], %s::text[]) AS w (entity, record)
                WHERE o.tenant = %s AND o.entity = w.entity AND o.record = w.record AND o.record <> ''
                """,
                ([row[1] for row in rows], [row[2] for row in rows], tenant),
            )
            await _delete_beside(connection, tenant, [row[1] for row in rows], [row[2] for row in rows])
            await connection.commit()
            return [bytes(row[0]) for row in rows]

    async def marked(self, tenant: str, after: bytes, most: int) -> list[bytes]:
        """Erased holders after one, in order."""
        async with self._connections.connection(tenant) as connection:
            cursor = await connection.execute(
                "SELECT id FROM vault_holder WHERE tenant = %s AND erased_at IS NOT NULL AND id > %s"
                " ORDER BY id LIMIT %s",
                (tenant, after, most),
            )
            return [bytes(one) for (one,) in await cursor.fetchall()]

    async def holding_still(self, tenant: str) -> list[bytes]:
        """Erased holders for whom value keys are still stored."""
        tables = ["vault_wrap", *(one.wraps for one in OUTSIDE)]
        query = sql.SQL(" UNION ").join(
            sql.SQL(
                "SELECT w.holder FROM {} w JOIN vault_holder h ON h.tenant = w.tenant AND h.id = w.holder"
                " WHERE w.tenant = %(tenant)s AND h.erased_at IS NOT NULL"
            ).format(sql.Identifier(one))
            for one in tables
        )
        async with self._connections.connection(tenant) as connection:
            cursor = await connection.execute(query, {"tenant": tenant})
            return [bytes(one) for (one,) in await cursor.fetchall()]

    async def remove(self, tenant: str, holders: Sequence[bytes], most: int) -> Removed | None:
        """Take away what was wrapped for erased holders, of at most so many entries; None: nothing is left.

        An entry that no living holder has goes with its terms, index rows and origins.
        """
        async with self._connections.connection(tenant) as connection:
            await connection.execute(_LOCK_WAIT)
            cursor = await connection.execute(
                "SELECT v.surrogate FROM vault v WHERE v.tenant = %s AND v.surrogate IN (SELECT w.surrogate FROM"
                " vault_wrap w WHERE w.tenant = %s AND w.holder = ANY(%s::bytea[]) ORDER BY w.surrogate LIMIT %s)"
                " ORDER BY v.surrogate FOR UPDATE OF v",
                (tenant, tenant, list(holders), most),
            )
            concerned = [one for (one,) in await cursor.fetchall()]
            if not concerned:
                return None
            gone = await _delete_unheld(connection, tenant, concerned)
            await connection.execute(
                "DELETE FROM vault_wrap WHERE tenant = %s AND surrogate = ANY(%s::text[])"
                " AND holder = ANY(%s::bytea[])",
                (tenant, concerned, list(holders)),
            )
            await connection.commit()
            return Removed(gone, len(concerned) - gone)

    async def remove_outside(self, tenant: str, holders: Sequence[bytes]) -> None:
        """Take away what was wrapped for erased holders outside the vault, and mark what nobody living holds."""
        async with self._connections.connection(tenant) as connection:
            await connection.execute(_LOCK_WAIT)
            for table in OUTSIDE:
                query = """
                    WITH gone AS (DELETE FROM {wraps} w USING vault_holder h WHERE w.tenant = %(tenant)s
                        AND w.holder = ANY(%(holders)s::bytea[]) AND h.tenant = w.tenant AND h.id = w.holder
                        AND h.erased_at IS NOT NULL RETURNING w.{key})
                    UPDATE {of} c SET erased_at = clock_timestamp() FROM gone
                    WHERE c.tenant = %(tenant)s AND c.{key} = gone.{key} AND NOT EXISTS (
                        SELECT 1 FROM {wraps} w JOIN vault_holder h ON h.tenant = w.tenant AND h.id = w.holder
                        WHERE w.tenant = c.tenant AND w.{key} = c.{key} AND h.erased_at IS NULL)
                    """
                names = {name: sql.Identifier(one) for name, one in table._asdict().items()}
                await connection.execute(sql.SQL(query).format(**names), {"tenant": tenant, "holders": list(holders)})
            await connection.commit()

    async def purge(self, tenant: str, surrogates: Sequence[str]) -> None:
        """Take entries away that no living holder has, so that their value can be written anew."""
        async with self._connections.connection(tenant) as connection:
            await connection.execute(_LOCK_WAIT)
            await connection.execute(
                "SELECT 1 FROM vault WHERE tenant = %s AND surrogate = ANY(%s::text[]) ORDER BY surrogate FOR UPDATE",
                (tenant, list(surrogates)),
            )
            await _delete_unheld(connection, tenant, surrogates)
            await connection.commit()

    async def counts(self, tenant: str) -> tuple[int, int, int, int]:
        """Holders that live, holders erased, entries held, entries of before person keys."""
        async with self._connections.connection(tenant) as connection:
            cursor = await connection.execute(
                "SELECT (SELECT count(*) FROM vault_holder WHERE tenant = %s AND erased_at IS NULL),"
                " (SELECT count(*) FROM vault_holder WHERE tenant = %s AND erased_at IS NOT NULL),"
                " (SELECT count(*) FROM vault WHERE tenant = %s AND held),"
                " (SELECT count(*) FROM vault WHERE tenant = %s AND NOT held)",
                (tenant,) * 4,
            )
            row = await cursor.fetchone()
            assert row is not None
            return row[0], row[1], row[2], row[3]


async def _delete_beside(
    connection: Connection, tenant: str, entities: list[str], records: list[str]
) -> tuple[int, int]:
    """What is kept beside the CRM, and copies of cells that stand in it; how many of the first, and of these bare."""
    cursor = await connection.execute(
        "DELETE FROM vault_beside b USING unnest(%s::text[], %s::text[]) AS w (entity, record)"
        " WHERE b.tenant = %s AND b.entity = w.entity AND b.record = w.record AND b.record <> ''"
        " RETURNING b.holder IS NULL",
        (entities, records, tenant),
    )
    bare = [one for (one,) in await cursor.fetchall()]
    await connection.execute(
        "UPDATE vault_cell c SET blob = NULL FROM unnest(%s::text[], %s::text[]) AS w (entity, record)"
        " WHERE c.tenant = %s AND c.entity = w.entity AND c.record = w.record AND c.record <> ''"
        " AND c.blob IS NOT NULL",
        (entities, records, tenant),
    )
    return len(bare), sum(bare)


async def _delete_unheld(connection: Connection, tenant: str, surrogates: Sequence[str]) -> int:
    cursor = await connection.execute(
        """
        DELETE FROM vault v WHERE v.tenant = %s AND v.surrogate = ANY(%s::text[]) AND v.held AND NOT EXISTS (
            SELECT 1 FROM vault_wrap w JOIN vault_holder h ON h.tenant = w.tenant AND h.id = w.holder
            WHERE w.tenant = v.tenant AND w.surrogate = v.surrogate AND h.erased_at IS NULL)
        """,
        (tenant, list(surrogates)),
    )
    return cursor.rowcount
