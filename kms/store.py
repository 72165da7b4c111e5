"""All SQL of this package: wrapped keys, sealed values, their origins, their terms, and the news of changes.

It stores and finds bytes and never opens anything. Whatever PostgreSQL does wrong becomes `StoreUnavailable` without
its text, because that text can repeat parameters. Writes that belong together share one transaction (`Work`).
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import psycopg
from psycopg import sql
from psycopg.rows import TupleRow
from psycopg_pool import AsyncConnectionPool

from kms.index import IndexRow
from kms.index_store import add_rows, drop_other_rows
from kms.keyring import WrappedKey
from kms.rotation_store import (
    RenewedValue,
    SpellingRow,
    TermRow,
    add_terms,
    renew_spellings,
    renew_terms,
    renew_values,
)

Pool = AsyncConnectionPool[psycopg.AsyncConnection[TupleRow]]
CHANNEL = "crmgate_vault"
EVERYTHING = "*"
"""In a notice: every surrogate of the tenant."""
KEYS = "#keys"
"""In a notice: the tenant has other keys than before."""
FOUND_AT_MOST = 200
_NOTICE_BYTES = 7000
_TENANT_DESTROYED = (
    "SELECT 1 FROM kms_destruction WHERE tenant = %s AND scope = '' AND state IN ('executing', 'destroyed')"
)
NOTICE_SPLIT = "\x1f"


class StoreUnavailable(Exception):  # noqa: N818 - a state, not a fault
    """The database does not answer or answers with an error; trying again may help."""

    permanent = False


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


@dataclass(frozen=True, slots=True)
class OriginRow:
    """An origin as stored: record "" while it is not bound; spelling sealed, None when it is that of the entry."""

    surrogate: str
    entity: str
    field: str
    record: str
    cell: str = ""
    spelling: bytes | None = None


@dataclass(slots=True)
class SealedEntry:
    """What is read to open an entry."""

    surrogate: str
    kind: str
    blob: bytes
    origins: list[OriginRow] = field(default_factory=list)


class Work:
    """Statements of one transaction."""

    def __init__(self, connection: psycopg.AsyncConnection[TupleRow], tenant: str) -> None:
        self._connection = connection
        self._tenant = tenant

    async def placed(
        self, equal: Sequence[tuple[str, bytes]], at: Sequence[tuple[int, str, bytes, OriginRow]]
    ) -> tuple[dict[tuple[str, bytes], tuple[str, bytes]], dict[int, tuple[str, bytes, bytes]]]:
        """What is stored already, as surrogate and sealed value (and term).

        equal: deterministic entries by (kind, term); at: entries of kind and term at an origin, by the number
        of the question.
        """
        by_value = await self._equal(equal) if equal else None
        by_place = await self._equal_at(at) if at else None
        values = await by_value.fetchall() if by_value is not None else []
        places = await by_place.fetchall() if by_place is not None else []
        return (
            {(kind, bytes(term)): (one, bytes(blob)) for kind, term, one, blob in values},
            {number: (one, bytes(blob), bytes(term)) for number, one, blob, term in places},
        )

    async def _equal(self, wanted: Sequence[tuple[str, bytes]]) -> psycopg.AsyncCursor[TupleRow]:
        return await self._connection.execute(
            """
            SELECT v.kind, v.equal_term, v.surrogate, v.blob
            FROM unnest(%s::text[], %s::bytea[]) AS w (kind, term)
            JOIN vault v ON v.tenant = %s AND v.kind = w.kind AND v.equal_term = w.term AND v.deterministic
            """,
            ([kind for kind, _ in wanted], [term for _, term in wanted], self._tenant),
        )

    async def _equal_at(self, wanted: Sequence[tuple[int, str, bytes, OriginRow]]) -> psycopg.AsyncCursor[TupleRow]:
        return await self._connection.execute(
            """
            SELECT w.n, v.surrogate, v.blob, v.equal_term
            FROM unnest(%s::int[], %s::text[], %s::bytea[], %s::text[], %s::text[], %s::text[])
                 AS w (n, kind, term, entity, field, record)
            JOIN vault_origin o ON o.tenant = %s AND o.entity = w.entity AND o.field = w.field
                 AND o.record = w.record AND o.record <> ''
            JOIN vault v ON v.tenant = o.tenant AND v.surrogate = o.surrogate
                 AND v.kind = w.kind AND v.equal_term = w.term
            ORDER BY v.created_at DESC, v.surrogate
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
                (tenant, surrogate, kind, deterministic, equal_term, equal_key, normaliser, seal_key, blob)
            SELECT %s, * FROM unnest(%s::text[], %s::text[], %s::boolean[], %s::bytea[], %s::bytea[], %s::smallint[],
                                     %s::bytea[], %s::bytea[])
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
            ),
        )
        return {one for (one,) in await cursor.fetchall()}

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

    async def bind(self, cell: str, entity: str, record: str, only: Sequence[str] | None) -> list[str]:
        """Give the open origins of a cell and entity their record; raises OriginConflict. Returns the surrogates."""
        cursor = await self._connection.execute(
            """
            SELECT record FROM vault_origin
            WHERE tenant = %s AND cell = %s AND entity = %s AND (%s::text[] IS NULL OR surrogate = ANY(%s::text[]))
            FOR UPDATE
            """,
            (self._tenant, cell, entity, only, only),
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
            (self._tenant, cell, entity, only, only, record),
        )
        return [one for (one,) in await cursor.fetchall()]

    async def retire(self, entity: str, field_name: str, record: str, keep: Sequence[str]) -> list[str]:
        """End the origins of a field of a record, except for the surrogates it still holds."""
        cursor = await self._connection.execute(
            """
            UPDATE vault_origin SET retired_at = now()
            WHERE tenant = %s AND entity = %s AND field = %s AND record = %s AND record <> ''
              AND (retired_at IS NULL OR retired_at = 'infinity') AND surrogate <> ALL(%s::text[])
            RETURNING surrogate
            """,
            (self._tenant, entity, field_name, record, list(keep)),
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
        if surrogates:
            text = NOTICE_SPLIT.join((sender, self._tenant, *surrogates))
            if len(text.encode()) > _NOTICE_BYTES:
                text = NOTICE_SPLIT.join((sender, self._tenant, EVERYTHING))
            await self._connection.execute("SELECT pg_notify(%s, %s)", (CHANNEL, text))


class Store:
    """The tables of this package behind one pool.

    timeout_s: one piece of work, waiting for a connection included.
    """

    def __init__(self, pool: Pool, *, timeout_s: float = 10.0) -> None:
        self._pool = pool
        self._timeout_s = timeout_s

    @asynccontextmanager
    async def work(self, tenant: str) -> AsyncIterator[Work]:
        """One transaction; raises StoreUnavailable."""
        # In a pipeline a statement waits for its answer only when rows are read: two or three round trips a call.
        async with self._connection() as connection, connection.pipeline():
            yield Work(connection, tenant)
            await connection.commit()

    async def entries(self, tenant: str, surrogates: Sequence[str]) -> dict[str, SealedEntry]:
        """Sealed entries with their origins, without those retired for good."""
        async with self._connection() as connection:
            cursor = await connection.execute(
                """
                SELECT v.surrogate, v.kind, v.blob, o.entity, o.field, o.record, o.spelling
                FROM vault v LEFT JOIN vault_origin o
                     ON o.tenant = v.tenant AND o.surrogate = v.surrogate
                     AND (o.retired_at IS NULL OR o.retired_at = 'infinity')
                WHERE v.tenant = %s AND v.surrogate = ANY(%s::text[])
                ORDER BY o.created_at, o.entity, o.field, o.record
                """,
                (tenant, list(surrogates)),
            )
            found: dict[str, SealedEntry] = {}
            for one, kind, blob, entity, name, record, spelling in await cursor.fetchall():
                entry = found.get(one)
                if entry is None:
                    entry = found[one] = SealedEntry(one, kind, bytes(blob))
                if entity is not None:
                    sealed = bytes(spelling) if spelling is not None else None
                    entry.origins.append(OriginRow(one, entity, name, record, "", sealed))
            return found

    async def at_origin(self, tenant: str, entity: str, field_name: str, record: str, unless: str = "") -> list[str]:
        """Surrogates a field of a record holds, without those older than an open origin of a cell beginning so."""
        older = (
            " AND NOT EXISTS (SELECT 1 FROM vault_origin i WHERE i.tenant = o.tenant AND i.entity = o.entity"
            " AND i.field = o.field AND i.record = '' AND starts_with(i.cell, %s) AND i.created_at > o.created_at)"
        )
        async with self._connection() as connection:
            cursor = await connection.execute(
                sql.SQL(
                    "SELECT surrogate FROM vault_origin o WHERE tenant = %s AND entity = %s AND field = %s"
                    " AND record = %s AND record <> '' AND retired_at IS NULL{}"
                    " ORDER BY created_at DESC, surrogate LIMIT %s"
                ).format(sql.SQL(older if unless else "")),
                (tenant, entity, field_name, record, *([unless] if unless else ()), FOUND_AT_MOST),
            )
            return [one for (one,) in await cursor.fetchall()]

    async def waiting(
        self, tenant: str, surrogates: Sequence[str], beginning: str, unless: str
    ) -> list[tuple[str, str, str, str]]:
        """(surrogate, entity, field, cell) of open origins in cells beginning so, with none in the cell `unless`."""
        async with self._connection() as connection:
            cursor = await connection.execute(
                "SELECT surrogate, entity, field, cell FROM vault_origin o WHERE tenant = %s AND surrogate = ANY(%s)"
                " AND record = '' AND retired_at IS NULL AND starts_with(cell, %s) AND NOT EXISTS (SELECT 1"
                " FROM vault_origin p WHERE p.tenant = o.tenant AND p.surrogate = o.surrogate AND p.record = ''"
                " AND p.cell = %s) ORDER BY surrogate, cell, entity, field",
                (tenant, list(surrogates), beginning, unless),
            )
            return [(surrogate, entity, name, cell) for surrogate, entity, name, cell in await cursor.fetchall()]

    async def is_open(self, tenant: str, fields: Collection[tuple[str, str]], beginning: str) -> bool:
        """Whether one of these fields (entity, name) has an open origin in a cell beginning so."""
        async with self._connection() as connection:
            cursor = await connection.execute(
                "SELECT EXISTS (SELECT 1 FROM vault_origin JOIN unnest(%s::text[], %s::text[]) AS f (entity, field)"
                " USING (entity, field) WHERE tenant = %s AND record = '' AND retired_at IS NULL"
                " AND starts_with(cell, %s))",
                ([one[0] for one in sorted(fields)], [one[1] for one in sorted(fields)], tenant, beginning),
            )
            found = await cursor.fetchone()
            return found is not None and bool(found[0])

    async def known(
        self, tenant: str, kind: str, terms: Sequence[bytes], keys: Collection[bytes], *, deterministic: bool
    ) -> list[tuple[bytes, str]]:
        """(term, surrogate) pairs, at most 200 a term; raises KeysChanged when terms of a live key were not asked for.

        keys: ids of the keys that the terms were made with.
        """
        source = "vault WHERE deterministic AND equal_term" if deterministic else "vault_term WHERE term"
        async with self._connection() as connection:
            # One statement, so that keys and terms are those of one moment.
            cursor = await connection.execute(
                sql.SQL(
                    "SELECT k.id, w.term, f.surrogate FROM (SELECT array_agg(id) AS id FROM kms_key WHERE tenant = %s"
                    " AND scope = %s AND purpose = 'equal' AND state IN ('current', 'live') AND destroyed_at IS NULL) k"
                    " LEFT JOIN (unnest(%s::bytea[]) AS w (term) CROSS JOIN LATERAL"
                    " (SELECT surrogate FROM {} = w.term AND tenant = %s AND kind = %s LIMIT %s) f) ON true"
                ).format(sql.SQL(source)),
                (tenant, kind, list(terms), tenant, kind, FOUND_AT_MOST),
            )
            rows = await cursor.fetchall()
            if not {bytes(one) for one in rows[0][0] or ()} <= set(keys):
                raise KeysChanged("there is a live key that was not asked for")
            return [(bytes(term), one) for _, term, one in rows if term is not None]

    async def starting_with(self, tenant: str, prefixes: Sequence[str]) -> dict[str, list[str]]:
        """Surrogates by their beginning, at most two each (two already prove nothing)."""
        async with self._connection() as connection:
            cursor = await connection.execute(
                "SELECT w.prefix, f.surrogate FROM unnest(%s::text[]) AS w (prefix) CROSS JOIN LATERAL"
                " (SELECT surrogate FROM vault WHERE tenant = %s AND surrogate >= w.prefix"
                "  AND surrogate < w.prefix || '~' LIMIT 2) f",
                (list(prefixes), tenant),
            )
            found: dict[str, list[str]] = {}
            for prefix, one in await cursor.fetchall():
                found.setdefault(prefix, []).append(one)
            return found

    async def suites(self, tenant: str) -> dict[int, int]:
        """How many stored values each suite sealed, by its number."""
        async with self._connection() as connection:
            cursor = await connection.execute(
                "SELECT get_byte(blob, 0), count(*) FROM vault WHERE tenant = %s AND length(blob) > 0 GROUP BY 1",
                (tenant,),
            )
            return dict(await cursor.fetchall())

    async def keys_for(self, tenant: str, scope: str, purpose: str) -> list[WrappedKey]:
        """Live keys of a scope and purpose that were not destroyed, the current one first."""
        return await self._keys(
            "tenant = %s AND scope = %s AND purpose = %s AND destroyed_at IS NULL"
            " AND state IN ('current', 'live', 'verify') ORDER BY retired_at DESC NULLS FIRST",
            tenant,
            scope,
            purpose,
        )

    async def keys_by_id(self, tenant: str, ids: list[bytes]) -> list[WrappedKey]:
        """Keys with these ids."""
        return await self._keys("tenant = %s AND id = ANY(%s::bytea[])", tenant, ids)

    async def all_keys(self, tenant: str) -> list[WrappedKey]:
        """Every key of a tenant."""
        return await self._keys("tenant = %s ORDER BY scope, purpose, created_at", tenant)

    async def add_key(self, tenant: str, key: WrappedKey) -> None:
        """Keep a key unless the scope and purpose have a current one."""
        async with self._connection() as connection:
            await connection.execute(
                "INSERT INTO kms_key (tenant, id, scope, purpose, provider, wrapped, commitment, created_at)"
                " VALUES (%s, %s, %s, %s, %s, %s, %s, %s) ON CONFLICT DO NOTHING",
                (tenant, key.id, key.scope, key.purpose, key.provider, key.wrapped, key.commitment, key.created_at),
            )

    async def tenant_destroyed(self, tenant: str) -> bool:
        """Whether the key of the tenant was destroyed."""
        async with self._connection() as connection:
            cursor = await connection.execute(_TENANT_DESTROYED, (tenant,))
            return await cursor.fetchone() is not None

    async def listen(self, sender: str, heard: Callable[[str, list[str]], None], connected: Callable[[], None]) -> None:
        """Pass on the notices of others until the connection fails: heard(tenant, surrogates); connected() before.

        Raises StoreUnavailable; the caller decides when to try again.
        """
        given = self._pool.conninfo
        try:
            conninfo = given if isinstance(given, str) else ""
            if not isinstance(given, str):
                made = given()
                conninfo = made if isinstance(made, str) else await made
            async with await psycopg.AsyncConnection.connect(conninfo, autocommit=True) as connection:
                await connection.execute(sql.SQL("LISTEN {}").format(sql.Identifier(CHANNEL)))
                connected()
                async for notice in connection.notifies():
                    by, tenant, *surrogates = notice.payload.split(NOTICE_SPLIT)
                    if by != sender:
                        heard(tenant, surrogates)
        except (psycopg.Error, OSError):
            raise StoreUnavailable("the connection for notices ended") from None

    async def _keys(self, where: str, *parameters: object) -> list[WrappedKey]:
        async with self._connection() as connection:
            cursor = await connection.execute(
                sql.SQL(
                    "SELECT id, scope, purpose, provider, wrapped, commitment, created_at, retired_at IS NOT NULL,"
                    " destroyed_at IS NOT NULL, state FROM kms_key WHERE {}"
                ).format(sql.SQL(where)),
                parameters,
            )
            return [
                WrappedKey(bytes(row[0]), row[1], row[2], row[3], bytes(row[4]), bytes(row[5]), row[6], *row[7:])
                for row in await cursor.fetchall()
            ]

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[psycopg.AsyncConnection[TupleRow]]:
        """One connection for another store of this package; raises StoreUnavailable."""
        async with self._connection() as connection:
            yield connection

    async def announce_keys(self, tenant: str) -> None:
        """Tell every process that a tenant has other keys than before."""
        async with self._connection() as connection:
            await connection.execute("SELECT pg_notify(%s, %s)", (CHANNEL, NOTICE_SPLIT.join(("", tenant, KEYS))))

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator[psycopg.AsyncConnection[TupleRow]]:
        try:
            async with asyncio.timeout(self._timeout_s), self._pool.connection(timeout=self._timeout_s) as connection:
                yield connection
        except (psycopg.Error, TimeoutError, OSError) as fault:
            raise StoreUnavailable(f"the vault store does not answer ({type(fault).__name__})") from None
