"""SQL of holders and of the value keys wrapped for them; the mapping only, no key.

A write locks the holders it writes for (`FOR SHARE`) and the entries it found (`FOR KEY SHARE`, kms.work_store); who
erases marks the holder first, which waits for such writes, and only then destroys its key. So no value is ever wrapped
for somebody who is erased already.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import psycopg
from psycopg import sql
from psycopg.rows import TupleRow

from kms.connections import Connection
from kms.connections import Connections as Database

_LOCK_WAIT = "SET LOCAL lock_timeout = '300ms'"  # shorter than PostgreSQL's deadlock_timeout: writers never lose to us
WRAPS_AT_ONCE = 16


class Place(NamedTuple):
    """Whom a value belongs to: a record of an entity, or while that is not known the exchange that makes it."""

    entity: str
    record: str
    cell: str


APART = "/"
"""Behind the name of a cell, before the name of one value of it that has a holder of its own."""
LOOSE = Place("", "", "#loose")
"""Of values that stand nowhere: what somebody searched for. Whoever is erased, this holder is erased as well."""


class WrapTable(NamedTuple):
    """Value keys of things outside the vault: the table `wraps`, that of the things, `of`, and the column of both."""

    wraps: str
    of: str
    key: str


CELLS = WrapTable("vault_cell_wrap", "vault_cell", "cell")
OUTSIDE = (CELLS,)
"""Things whose ciphertext is elsewhere: their row stays when nobody living holds them, marked by `erased_at`."""


class WrapRow(NamedTuple):
    """A value key wrapped for a holder; surrogate: of an entry, or the name of a thing outside the vault."""

    surrogate: str
    holder: bytes
    wrapped: bytes


class HoldersChanged(Exception):  # noqa: N818 - a state, not a fault
    """A holder was erased while it was written for; nothing was written, again with a new holder helps."""

    permanent = False


class EntriesErased(Exception):  # noqa: N818 - a state, not a fault
    """Entries were met whose holders are all erased; they have to be removed before the value can be written anew."""

    permanent = False

    def __init__(self, surrogates: Collection[str], holders: Collection[bytes]) -> None:
        super().__init__("entries of erased holders are still stored")
        self.surrogates = list(surrogates)
        self.holders = list(holders)


class Asked:
    """Holders that were asked for in a transaction, to be fetched when their answer is needed."""

    def __init__(
        self, made: psycopg.AsyncCursor[TupleRow], found: Sequence[tuple[list[Place], psycopg.AsyncCursor[TupleRow]]]
    ) -> None:
        self._made = made
        self._found = found

    async def fetch(self) -> tuple[dict[Place, bytes], set[bytes]]:
        """The holder of each place, and which of them are new; raises HoldersChanged."""
        new = {bytes(one) for (one,) in await self._made.fetchall()}
        holders: dict[Place, bytes] = {}
        for places, cursor in self._found:
            rows = {number: bytes(one) for number, one in await cursor.fetchall()}
            if len(rows) != len(places):
                raise HoldersChanged("a holder was erased just now")
            holders |= {place: rows[number] for number, place in enumerate(places)}
        return holders, new & set(holders.values())


async def ask_holders(connection: Connection, tenant: str, places: Sequence[Place], ids: Sequence[bytes]) -> Asked:
    """Find, or make under these fresh ids, the holder of each place, and keep it from being erased until the end."""
    ordered = sorted(set(places))
    made = await connection.execute(
        """
        INSERT INTO vault_holder (tenant, id, entity, record, cell)
        SELECT %s, w.* FROM unnest(%s::bytea[], %s::text[], %s::text[], %s::text[]) AS w (id, entity, record, cell)
        WHERE w.record = '' OR NOT EXISTS (
            SELECT 1 FROM vault_holder h WHERE h.tenant = %s AND h.entity = w.entity AND h.record = w.record
            AND h.record <> '' AND h.erased_at IS NULL)
        ON CONFLICT DO NOTHING RETURNING id
        """,
        (
            tenant,
            list(ids[: len(ordered)]),
            [place.entity for place in ordered],
            [place.record for place in ordered],
            ["" if place.record else place.cell for place in ordered],
            tenant,
        ),
    )
    found: list[tuple[list[Place], psycopg.AsyncCursor[TupleRow]]] = []
    if known := [place for place in ordered if place.record]:
        cursor = await connection.execute(
            """
            SELECT w.n, f.id FROM unnest(%s::int[], %s::text[], %s::text[]) AS w (n, entity, record)
            CROSS JOIN LATERAL (
                SELECT id FROM vault_holder h WHERE h.tenant = %s AND h.entity = w.entity AND h.record = w.record
                AND h.record <> '' AND h.erased_at IS NULL ORDER BY h.created_at, h.id LIMIT 1 FOR SHARE) f
            ORDER BY w.n
            """,
            (list(range(len(known))), [one.entity for one in known], [one.record for one in known], tenant),
        )
        found.append((known, cursor))
    if open_ := [place for place in ordered if not place.record]:
        cursor = await connection.execute(
            """
            SELECT w.n, f.id FROM unnest(%s::int[], %s::text[], %s::text[]) AS w (n, entity, cell)
            CROSS JOIN LATERAL (
                SELECT id FROM vault_holder h WHERE h.tenant = %s AND h.entity = w.entity AND h.cell = w.cell
                AND h.cell <> '' AND h.erased_at IS NULL FOR SHARE) f
            ORDER BY w.n
            """,
            (list(range(len(open_))), [one.entity for one in open_], [one.cell for one in open_], tenant),
        )
        found.append((open_, cursor))
    return Asked(made, found)


async def wraps_of(
    connection: Connection, tenant: str, surrogates: Sequence[str], most: int = WRAPS_AT_ONCE
) -> psycopg.AsyncCursor[TupleRow]:
    """Ask for the value keys of entries, at most so many wrappings each: (surrogate, holder, wrapped)."""
    return await connection.execute(
        """
        SELECT w.surrogate, f.holder, f.wrapped FROM unnest(%s::text[]) AS w (surrogate) CROSS JOIN LATERAL (
            SELECT holder, wrapped FROM vault_wrap WHERE tenant = %s AND surrogate = w.surrogate LIMIT %s) f
        """,
        (list(surrogates), tenant, most),
    )


async def read_wraps(cursor: psycopg.AsyncCursor[TupleRow]) -> dict[str, list[WrapRow]]:
    """What `wraps_of` asked for, by surrogate."""
    found: dict[str, list[WrapRow]] = {}
    for surrogate, holder, wrapped in await cursor.fetchall():
        found.setdefault(surrogate, []).append(WrapRow(surrogate, bytes(holder), bytes(wrapped)))
    return found


async def add_wraps(connection: Connection, tenant: str, rows: Sequence[WrapRow]) -> None:
    """Keep wrapped value keys; one that is there already stays."""
    ordered = sorted({(row.surrogate, row.holder): row for row in rows}.values())
    if ordered:
        await connection.execute(
            "INSERT INTO vault_wrap (tenant, surrogate, holder, wrapped)"
            " SELECT %s, * FROM unnest(%s::text[], %s::bytea[], %s::bytea[]) ON CONFLICT DO NOTHING",
            (
                tenant,
                [row.surrogate for row in ordered],
                [row.holder for row in ordered],
                [row.wrapped for row in ordered],
            ),
        )


async def bind_holder(connection: Connection, tenant: str, cell: str, entity: str, record: str) -> None:
    """The record of what an exchange made is known now."""
    await connection.execute(
        "UPDATE vault_holder SET record = %s WHERE tenant = %s AND entity = %s AND cell = %s AND cell <> ''"
        " AND record = '' AND erased_at IS NULL",
        (record, tenant, entity, cell),
    )


async def bind_apart(
    connection: Connection, tenant: str, cell: str, entity: str, record: str, surrogates: Sequence[str]
) -> set[str]:
    """Holders made for one value each of a cell become a record's; for which of these surrogates there were any."""
    cursor = await connection.execute(
        """
        WITH mine AS (
            SELECT h.id, w.surrogate FROM vault_wrap w JOIN vault_holder h ON h.tenant = w.tenant AND h.id = w.holder
            WHERE w.tenant = %s AND w.surrogate = ANY(%s::text[]) AND h.entity = %s AND h.record = ''
              AND h.erased_at IS NULL AND starts_with(h.cell, %s) ORDER BY h.id FOR NO KEY UPDATE OF h)
        UPDATE vault_holder h SET record = %s FROM mine WHERE h.tenant = %s AND h.id = mine.id
        RETURNING mine.surrogate
        """,
        (tenant, list(surrogates), entity, cell + APART, record, tenant),
    )
    return {str(one) for (one,) in await cursor.fetchall()}


async def drop_waiting_wraps(
    connection: Connection, tenant: str, cell: str, entity: str, surrogates: Sequence[str]
) -> None:
    """What no longer waits under the holder of a cell is no longer that holder's."""
    await connection.execute(
        """
        DELETE FROM vault_wrap w USING vault_holder h
        WHERE h.tenant = %s AND h.entity = %s AND h.cell = %s AND h.record = ''
          AND w.tenant = h.tenant AND w.holder = h.id AND w.surrogate = ANY(%s::text[])
          AND NOT EXISTS (SELECT 1 FROM vault_origin o WHERE o.tenant = w.tenant AND o.surrogate = w.surrogate
                          AND o.entity = h.entity AND o.cell = h.cell AND o.record = '')
        """,
        (tenant, entity, cell, list(surrogates)),
    )


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


class HolderStore:
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
