"""Statements of one transaction that writes values: entries, their terms and their origins."""

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

import psycopg
from psycopg import sql
from psycopg.rows import TupleRow

from kms.connections import Connection
from kms.holder_store import (
    Asked,
    Place,
    WrapRow,
    add_wraps,
    ask_holders,
    bind_apart,
    bind_holder,
    drop_waiting_wraps,
    read_wraps,
    wraps_of,
)
from kms.index import IndexRow
from kms.index_store import add_rows, drop_other_rows
from kms.notice_store import announce
from kms.pseudonym_store import note_named
from kms.rotation_store import (
    RenewedValue,
    SpellingRow,
    TermRow,
    add_terms,
    renew_spellings,
    renew_terms,
    renew_values,
)


class KeysChanged(Exception):  # noqa: N818 - a state, not a fault
    """A key that was written under is no longer the current one; nothing was written, again with the new key helps."""

    permanent = False


class OriginConflict(Exception):  # noqa: N818 - names what is wrong
    """A cell is bound to another record already; the origin keeps the record it has."""

    permanent = True


@dataclass(frozen=True, slots=True)
class EntryRow:
    """A sealed value with the terms it is found by."""

    surrogate: str
    kind: str
    deterministic: bool
    equal_term: bytes
    equal_key: bytes
    normaliser: int
    seal_key: bytes
    blob: bytes
    held: bool = False


@dataclass(frozen=True, slots=True)
class StoredRow:
    """An entry that is there already; held: its key comes from a value key, too."""

    surrogate: str
    blob: bytes
    held: bool
    term: bytes


@dataclass(frozen=True, slots=True)
class OriginRow:
    """An origin as stored: record "" while it is not bound; spelling sealed, None when it is that of the entry."""

    surrogate: str
    entity: str
    field: str
    record: str
    cell: str = ""
    spelling: bytes | None = None


class Work:
    """Statements of one transaction."""

    def __init__(self, connection: Connection, tenant: str) -> None:
        self._connection = connection
        self._tenant = tenant

    @property
    def connection(self) -> Connection:
        """For statements of another store of this package in the same transaction."""
        return self._connection

    async def placed(
        self, equal: Sequence[tuple[str, bytes]], at: Sequence[tuple[int, str, bytes, OriginRow]]
    ) -> tuple[dict[tuple[str, bytes], StoredRow], dict[int, StoredRow]]:
        """What is stored already; it is neither taken away nor given a value key before the end of this transaction.

        equal: deterministic entries by (kind, term); at: entries of kind and term at an origin, by the number
        of the question.
        """
        by_value = await self._equal(equal) if equal else None
        by_place = await self._equal_at(at) if at else None
        values = await by_value.fetchall() if by_value is not None else []
        places = await by_place.fetchall() if by_place is not None else []
        return (
            {(kind, bytes(term)): StoredRow(one, bytes(blob), held, term) for kind, term, one, blob, held in values},
            {number: StoredRow(one, bytes(blob), held, bytes(term)) for number, one, blob, held, term in places},
        )

    async def _equal(self, wanted: Sequence[tuple[str, bytes]]) -> psycopg.AsyncCursor[TupleRow]:
        return await self._connection.execute(
            """
            SELECT v.kind, v.equal_term, v.surrogate, v.blob, v.held
            FROM unnest(%s::text[], %s::bytea[]) AS w (kind, term)
            JOIN vault v ON v.tenant = %s AND v.kind = w.kind AND v.equal_term = w.term AND v.deterministic
            FOR KEY SHARE OF v
            """,
            ([kind for kind, _ in wanted], [term for _, term in wanted], self._tenant),
        )

    async def _equal_at(self, wanted: Sequence[tuple[int, str, bytes, OriginRow]]) -> psycopg.AsyncCursor[TupleRow]:
        return await self._connection.execute(
            """
            SELECT w.n, v.surrogate, v.blob, v.held, v.equal_term
            FROM unnest(%s::int[], %s::text[], %s::bytea[], %s::text[], %s::text[], %s::text[])
                 AS w (n, kind, term, entity, field, record)
            JOIN vault_origin o ON o.tenant = %s AND o.entity = w.entity AND o.field = w.field
                 AND o.record = w.record AND o.record <> ''
            JOIN vault v ON v.tenant = o.tenant AND v.surrogate = o.surrogate
                 AND v.kind = w.kind AND v.equal_term = w.term
            ORDER BY v.created_at DESC, v.surrogate
            FOR KEY SHARE OF v
            """,
            (
                [number for number, _, _, _ in wanted],
                [kind for _, kind, _, _ in wanted],
                [term for _, _, term, _ in wanted],
                [origin.entity for _, _, _, origin in wanted],
                [origin.field for _, _, _, origin in wanted],
                [origin.record for _, _, _, origin in wanted],
                self._tenant,
            ),
        )

    async def add_entries(self, rows: Sequence[EntryRow]) -> set[str]:
        """Insert entries; returns the surrogates that went in. The others met one with the same name or value."""
        # One order for all writers, so that two of them can wait for each other but never lock each other up.
        ordered = sorted(rows, key=lambda row: (row.kind, row.equal_term, row.surrogate))
        cursor = await self._connection.execute(
            """
            INSERT INTO vault
                (tenant, surrogate, kind, deterministic, equal_term, equal_key, normaliser, seal_key, blob, held)
            SELECT %s, * FROM unnest(%s::text[], %s::text[], %s::boolean[], %s::bytea[], %s::bytea[], %s::smallint[],
                                     %s::bytea[], %s::bytea[], %s::boolean[])
            ON CONFLICT DO NOTHING RETURNING surrogate
            """,
            (
                self._tenant,
                [row.surrogate for row in ordered],
                [row.kind for row in ordered],
                [row.deterministic for row in ordered],
                [row.equal_term for row in ordered],
                [row.equal_key for row in ordered],
                [row.normaliser for row in ordered],
                [row.seal_key for row in ordered],
                [row.blob for row in ordered],
                [row.held for row in ordered],
            ),
        )
        return {one for (one,) in await cursor.fetchall()}

    async def holders(self, places: Sequence[Place], ids: Sequence[bytes]) -> Asked:
        """Find or make the holders of these places; none of them is erased before the end of this transaction."""
        return await ask_holders(self._connection, self._tenant, places, ids)

    async def note_named(self, holders: Sequence[bytes]) -> None:
        """Note that the trail names these holders."""
        await note_named(self._connection, self._tenant, holders)

    async def held(self, surrogates: Sequence[str]) -> dict[str, bool]:
        """Which of these entries there are, and whether they are held; as `placed`."""
        cursor = await self._connection.execute(
            "SELECT surrogate, held FROM vault WHERE tenant = %s AND surrogate = ANY(%s::text[])"
            " ORDER BY surrogate FOR KEY SHARE",
            (self._tenant, list(surrogates)),
        )
        return dict(await cursor.fetchall())

    async def wraps(self, surrogates: Sequence[str]) -> dict[str, list[WrapRow]]:
        """Wrapped value keys of entries, some of each."""
        return await read_wraps(await wraps_of(self._connection, self._tenant, surrogates))

    async def add_wraps(self, rows: Sequence[WrapRow]) -> None:
        """Keep wrapped value keys."""
        await add_wraps(self._connection, self._tenant, rows)

    async def add_terms(self, rows: Sequence[TermRow]) -> None:
        """Terms by which names, addresses and aliases are found."""
        await add_terms(self._connection, self._tenant, rows)

    async def renew(self, rows: Sequence[RenewedValue]) -> None:
        """Entries sealed and termed anew under the current keys, where they are still what they were."""
        await renew_values(self._connection, self._tenant, rows)

    async def replace(
        self,
        values: Sequence[RenewedValue],
        spellings: Sequence[tuple[SpellingRow, bytes]],
        terms: Sequence[tuple[TermRow, TermRow | None]],
    ) -> int:
        """What a rotation made anew, where it is still what it was; how many rows."""
        changed = await renew_values(self._connection, self._tenant, values)
        changed += await renew_spellings(self._connection, self._tenant, spellings)
        return changed + await renew_terms(self._connection, self._tenant, terms)

    async def under(self, keys: Collection[bytes]) -> Callable[[], Awaitable[None]]:
        """Write under these keys; before the end call what this returns: it raises KeysChanged unless all are current.

        Whoever makes another key current waits for this transaction, and this one sees whoever came before.
        """
        ids = list(set(keys))
        await self._connection.execute(
            "SELECT pg_advisory_xact_lock_shared(hashtextextended('crmgate keys ' || %s, 0))", (self._tenant,)
        )
        cursor = await self._connection.execute(
            "SELECT count(*) FROM kms_key WHERE tenant = %s AND id = ANY(%s::bytea[]) AND state = 'current'"
            " AND retired_at IS NULL AND destroyed_at IS NULL",
            (self._tenant, ids),
        )

        async def check() -> None:
            row = await cursor.fetchone()
            if row is None or row[0] != len(ids):
                raise KeysChanged("a key is no longer the current one")

        return check

    async def add_index(self, rows: Sequence[IndexRow]) -> None:
        """Terms of the parts of values."""
        await add_rows(self._connection, self._tenant, rows)

    async def move_index(self, rows: Sequence[IndexRow], purpose: str, key: bytes) -> None:
        """All terms of these entries for a purpose, under this key; those under other keys end."""
        await add_rows(self._connection, self._tenant, rows)
        await drop_other_rows(self._connection, self._tenant, purpose, [row.surrogate for row in rows], key)

    async def add_origins(self, rows: Sequence[OriginRow]) -> None:
        """Origins, bound or open; one that was retired lives again, with the spelling it has now."""
        bound = {(row.surrogate, row.entity, row.field, row.record): row for row in rows if row.record}
        open_ = {(row.surrogate, row.entity, row.field, row.cell): row for row in rows if not row.record}
        for some, place in ((bound, "record"), (open_, "cell")):
            if not some:
                continue
            ordered = [some[key] for key in sorted(some)]
            await self._connection.execute(
                sql.SQL(
                    """
                    INSERT INTO vault_origin (tenant, surrogate, entity, field, record, cell, spelling)
                    SELECT %s, * FROM unnest(%s::text[], %s::text[], %s::text[], %s::text[], %s::text[], %s::bytea[])
                    ON CONFLICT (tenant, surrogate, entity, field, {}) WHERE record {} ''
                    DO UPDATE SET retired_at = NULL, spelling = excluded.spelling
                    WHERE vault_origin.retired_at IS NOT NULL
                       OR vault_origin.spelling IS DISTINCT FROM excluded.spelling
                    """
                ).format(sql.Identifier(place), sql.SQL("<>" if place == "record" else "=")),
                (
                    self._tenant,
                    [row.surrogate for row in ordered],
                    [row.entity for row in ordered],
                    [row.field for row in ordered],
                    [row.record for row in ordered],
                    [row.cell for row in ordered],
                    [row.spelling for row in ordered],
                ),
            )

    async def bind(self, cell: str, entity: str, record: str) -> list[str]:
        """Give the open origins of a cell and entity their record; raises OriginConflict. Returns the surrogates."""
        bound = await self._bind_origins(cell, entity, record, None)
        await bind_holder(self._connection, self._tenant, cell, entity, record)
        return bound

    async def bind_some(self, cell: str, entity: str, record: str, surrogates: Sequence[str]) -> list[str]:
        """The same for some surrogates of a cell, once they are wrapped for the record; the rest stays the cell's."""
        bound = await self._bind_origins(cell, entity, record, surrogates)
        await drop_waiting_wraps(self._connection, self._tenant, cell, entity, surrogates)
        return bound

    async def bind_apart(self, cell: str, entity: str, record: str, surrogates: Sequence[str]) -> set[str]:
        """Give the holders that were made for these surrogates alone their record; whose there are."""
        return await bind_apart(self._connection, self._tenant, cell, entity, record, surrogates)

    async def _bind_origins(self, cell: str, entity: str, record: str, only: Sequence[str] | None) -> list[str]:
        chosen = None if only is None else list(only)
        cursor = await self._connection.execute(
            """
            SELECT record FROM vault_origin
            WHERE tenant = %s AND cell = %s AND entity = %s AND (%s::text[] IS NULL OR surrogate = ANY(%s::text[]))
            FOR UPDATE
            """,
            (self._tenant, cell, entity, chosen, chosen),
        )
        if any(bound not in ("", record) for (bound,) in await cursor.fetchall()):
            raise OriginConflict("a cell belongs to one record of an entity")
        cursor = await self._connection.execute(
            """
            WITH moved AS (
                DELETE FROM vault_origin
                WHERE tenant = %s AND cell = %s AND entity = %s AND record = ''
                  AND (%s::text[] IS NULL OR surrogate = ANY(%s::text[]))
                RETURNING *
            )
            INSERT INTO vault_origin (tenant, surrogate, entity, field, record, cell, spelling)
            SELECT tenant, surrogate, entity, field, %s, cell, spelling FROM moved
            ON CONFLICT (tenant, surrogate, entity, field, record) WHERE record <> ''
            DO UPDATE SET retired_at = NULL, spelling = excluded.spelling, cell = excluded.cell
            RETURNING surrogate
            """,
            (self._tenant, cell, entity, chosen, chosen, record),
        )
        return [one for (one,) in await cursor.fetchall()]

    async def end_origins(self, rows: Sequence[OriginRow]) -> list[str]:
        """End origins that have a record; returns the surrogates of those that lived."""
        ordered = sorted((row.surrogate, row.entity, row.field, row.record) for row in rows)
        cursor = await self._connection.execute(
            """
            WITH ended AS (
                SELECT o.ctid FROM vault_origin o
                JOIN unnest(%s::text[], %s::text[], %s::text[], %s::text[]) AS e (surrogate, entity, field, record)
                USING (surrogate, entity, field, record)
                WHERE o.tenant = %s AND o.record <> '' AND (o.retired_at IS NULL OR o.retired_at = 'infinity')
                ORDER BY o.surrogate, o.entity, o.field, o.record FOR UPDATE OF o
            )
            UPDATE vault_origin o SET retired_at = now() FROM ended WHERE o.ctid = ended.ctid RETURNING o.surrogate
            """,
            (*([row[at] for row in ordered] for at in range(4)), self._tenant),
        )
        return [one for (one,) in await cursor.fetchall()]

    async def hold(self, held: Mapping[tuple[str, str, str], Collection[str]]) -> list[str]:
        """Make these fields of records hold these surrogates and no others; returns those that changed.

        Where a value stood before, its origin stays for the rights it gives and the limits it sets (old values live on
        in histories), but no longer says that the value stands there: `retired_at` is infinity, retired for good never.
        """
        places = sorted(place for place in held if place[2])
        rows = sorted((*place, one) for place in places for one in held[place])
        cursor = await self._connection.execute(
            """
            WITH place AS (SELECT * FROM unnest(%s::text[], %s::text[], %s::text[]) AS p (entity, field, record)),
            held AS (SELECT * FROM unnest(%s::text[], %s::text[], %s::text[], %s::text[])
                     AS h (entity, field, record, surrogate)),
            wrong AS (
                SELECT o.ctid, o.retired_at IS NULL AS live FROM vault_origin o JOIN place USING (entity, field, record)
                WHERE o.tenant = %s AND o.record <> '' AND (o.retired_at IS NULL OR o.retired_at = 'infinity')
                AND (o.retired_at IS NULL) <> EXISTS (
                    SELECT 1 FROM held WHERE held.entity = o.entity AND held.field = o.field
                    AND held.record = o.record AND held.surrogate = o.surrogate)
                ORDER BY o.surrogate, o.entity, o.field, o.record FOR UPDATE OF o
            )
            UPDATE vault_origin o SET retired_at = CASE WHEN wrong.live THEN 'infinity'::timestamptz END
            FROM wrong WHERE o.ctid = wrong.ctid RETURNING o.surrogate
            """,
            (
                *([place[at] for place in places] for at in range(3)),
                *([row[at] for row in rows] for at in range(4)),
                self._tenant,
            ),
        )
        return [one for (one,) in await cursor.fetchall()]

    async def announce(self, sender: str, surrogates: Sequence[str]) -> None:
        """Tell every process, once this transaction is committed, that these entries changed."""
        await announce(self._connection, self._tenant, sender, surrogates)
