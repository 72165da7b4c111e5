"""SQL of holders and of the value keys wrapped for them; the mapping only, no key.

A write locks the holders it writes for (`FOR SHARE`) and the entries it found (`FOR KEY SHARE`, kms.work_store); who
erases marks the holder first, which waits for such writes, and only then destroys its key. So no value is ever wrapped
for somebody who is erased already.
"""

from collections.abc import Collection, Sequence
from typing import NamedTuple

import psycopg
from psycopg.rows import TupleRow

from kms.connections import Connection

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
