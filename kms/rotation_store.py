"""SQL of key rotation: the switch to a new key, pages of what is sealed, compare-and-set of what is new, counts.

Writers and the switch meet at an advisory lock of the tenant: a transaction that writes under a key holds it shared
and has checked that the key is current; the switch takes it alone. So when the switch is done, everything under the
old key is committed and nothing more comes.
"""

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import LiteralString, Protocol

import psycopg
from psycopg.rows import TupleRow

from kms.keyring import WrappedKey

Connection = psycopg.AsyncConnection[TupleRow]
_KEY_ID = slice(1, 5)  # of an envelope (kms.envelope)


class NotRotatable(Exception):  # noqa: N818 - names what is wrong
    """There is no such key of the vault: another scope, another purpose, or nothing was ever written under it."""

    permanent = True


class Connections(Protocol):
    """Where connections come from (kms.store.Store)."""

    def connection(self, tenant: str) -> AbstractAsyncContextManager[Connection]:
        """One transaction that sees the rows of a tenant; raises StoreUnavailable for whatever goes wrong with it."""
        ...


@dataclass(frozen=True, slots=True)
class SealedRow:
    """A sealed value with the term it is found by."""

    surrogate: str
    deterministic: bool
    equal_term: bytes
    equal_key: bytes
    blob: bytes
    held: bool = False


@dataclass(frozen=True, slots=True)
class SpellingRow:
    """A sealed spelling and where it stands."""

    surrogate: str
    entity: str
    field: str
    record: str
    cell: str
    spelling: bytes


@dataclass(frozen=True, slots=True)
class TermRow:
    """A term a short text or an alias is found by; alias: the sealed alias, None for the text of the entry itself."""

    kind: str
    term: bytes
    surrogate: str
    key: bytes
    alias: bytes | None = None


@dataclass(frozen=True, slots=True)
class RenewedValue:
    """A value under new keys; it replaces exactly what `was` says or nothing."""

    was: SealedRow
    blob: bytes
    seal_key: bytes
    equal_term: bytes
    equal_key: bytes


@dataclass(frozen=True, slots=True)
class Page:
    """Some entries in the order of their surrogates, and what else is sealed about them."""

    values: list[SealedRow]
    spellings: list[SpellingRow]
    terms: list[TermRow]


async def condemned(connection: Connection, tenant: str) -> set[bytes]:
    """Keys whose destruction was approved: what is under them goes with them, and is never moved to another key."""
    cursor = await connection.execute(
        "SELECT unnest(key_ids) FROM kms_destruction WHERE tenant = %s AND state IN ('approved', 'executing')",
        (tenant,),
    )
    return {bytes(one) for (one,) in await cursor.fetchall()}


async def renew_values(connection: Connection, tenant: str, rows: Sequence[RenewedValue]) -> int:
    """Replace values that are still what they were; how many. One whose new term stands elsewhere is left alone."""
    gone = await condemned(connection, tenant) if rows else set()
    rows = [row for row in rows if not gone & {row.was.blob[_KEY_ID], row.was.equal_key}]
    if not rows:
        return 0
    # Locked in one order by everybody, so that two writers can wait for each other but never lock each other up.
    await connection.execute(
        "SELECT 1 FROM vault WHERE tenant = %s AND surrogate = ANY(%s::text[]) ORDER BY surrogate FOR NO KEY UPDATE",
        (tenant, [row.was.surrogate for row in rows]),
    )
    cursor = await connection.execute(
        """
        UPDATE vault v
        SET blob = w.blob, seal_key = w.seal_key, equal_term = w.equal_term, equal_key = w.equal_key
        FROM unnest(%s::text[], %s::bytea[], %s::bytea[], %s::bytea[], %s::bytea[], %s::bytea[], %s::bytea[])
             AS w (surrogate, old_blob, old_term, blob, seal_key, equal_term, equal_key)
        WHERE v.tenant = %s AND v.surrogate = w.surrogate AND v.blob = w.old_blob AND v.equal_term = w.old_term
          AND (w.equal_term = w.old_term OR NOT v.deterministic OR NOT EXISTS (
              SELECT 1 FROM vault x
              WHERE x.tenant = v.tenant AND x.kind = v.kind AND x.equal_term = w.equal_term AND x.deterministic))
        RETURNING v.surrogate
        """,
        (
            [row.was.surrogate for row in rows],
            [row.was.blob for row in rows],
            [row.was.equal_term for row in rows],
            [row.blob for row in rows],
            [row.seal_key for row in rows],
            [row.equal_term for row in rows],
            [row.equal_key for row in rows],
            tenant,
        ),
    )
    return len(await cursor.fetchall())


async def renew_spellings(connection: Connection, tenant: str, rows: Sequence[tuple[SpellingRow, bytes]]) -> int:
    """Replace spellings that are still what they were; how many."""
    gone = await condemned(connection, tenant) if rows else set()
    rows = [(was, spelling) for was, spelling in rows if was.spelling[_KEY_ID] not in gone]
    if not rows:
        return 0
    places = (
        [was.surrogate for was, _ in rows],
        [was.entity for was, _ in rows],
        [was.field for was, _ in rows],
        [was.record for was, _ in rows],
        [was.cell for was, _ in rows],
    )
    await connection.execute(
        """
        SELECT 1 FROM vault_origin o
        JOIN unnest(%s::text[], %s::text[], %s::text[], %s::text[], %s::text[])
             AS w (surrogate, entity, field, record, cell)
          ON o.surrogate = w.surrogate AND o.entity = w.entity AND o.field = w.field
         AND o.record = w.record AND o.cell = w.cell
        WHERE o.tenant = %s
        ORDER BY o.surrogate, o.entity COLLATE "C", o.field COLLATE "C", o.record COLLATE "C", o.cell COLLATE "C"
        FOR NO KEY UPDATE OF o
        """,
        (*places, tenant),
    )
    cursor = await connection.execute(
        """
        UPDATE vault_origin o SET spelling = w.spelling
        FROM unnest(%s::text[], %s::text[], %s::text[], %s::text[], %s::text[], %s::bytea[], %s::bytea[])
             AS w (surrogate, entity, field, record, cell, old, spelling)
        WHERE o.tenant = %s AND o.surrogate = w.surrogate AND o.entity = w.entity AND o.field = w.field
          AND o.record = w.record AND o.cell = w.cell AND o.spelling = w.old
        RETURNING 1
        """,
        (*places, [was.spelling for was, _ in rows], [spelling for _, spelling in rows], tenant),
    )
    return len(await cursor.fetchall())


async def add_terms(connection: Connection, tenant: str, rows: Sequence[TermRow]) -> None:
    """Rows by which names, addresses and aliases are found."""
    ordered = sorted({(row.kind, row.term, row.surrogate): row for row in rows}.items())
    if ordered:
        some = [row for _, row in ordered]
        await connection.execute(
            """
            INSERT INTO vault_term (tenant, kind, term, surrogate, equal_key, alias)
            SELECT %s, * FROM unnest(%s::text[], %s::bytea[], %s::text[], %s::bytea[], %s::bytea[])
            ON CONFLICT DO NOTHING
            """,
            (
                tenant,
                [row.kind for row in some],
                [row.term for row in some],
                [row.surrogate for row in some],
                [row.key for row in some],
                [row.alias for row in some],
            ),
        )


async def renew_terms(connection: Connection, tenant: str, rows: Sequence[tuple[TermRow, TermRow | None]]) -> int:
    """Replace terms (None: take them away); how many."""
    gone = await condemned(connection, tenant) if rows else set()
    rows = [(was, now) for was, now in rows if not gone & {was.key, (was.alias or b"")[_KEY_ID]}]
    if not rows:
        return 0
    for was, now in rows:
        if now is not None and now.term == was.term:  # only the sealed alias is another
            await connection.execute(
                "UPDATE vault_term SET alias = %s WHERE tenant = %s AND kind = %s AND term = %s AND surrogate = %s"
                " AND alias = %s",
                (now.alias, tenant, was.kind, was.term, was.surrogate, was.alias),
            )
    moved = [(was, now) for was, now in rows if now is None or now.term != was.term]
    await add_terms(connection, tenant, [now for _, now in moved if now is not None])
    await connection.execute(
        """
        DELETE FROM vault_term t USING unnest(%s::text[], %s::bytea[], %s::text[]) AS w (kind, term, surrogate)
        WHERE t.tenant = %s AND t.kind = w.kind AND t.term = w.term AND t.surrogate = w.surrogate
        """,
        ([was.kind for was, _ in moved], [was.term for was, _ in moved], [was.surrogate for was, _ in moved], tenant),
    )
    return len(rows)


class RotationStore:
    """What key rotation asks of the tables of this package."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections

    async def switch(self, tenant: str, key: WrappedKey, old: bytes, *, verify: bool) -> bool:
        """Make `key` the current one in place of `old`, after every writer under `old`; False: it was not current.

        verify: the old one only confirms from now on; else it is live.
        """
        async with self._connections.connection(tenant) as connection:
            await connection.execute(
                "SELECT pg_advisory_xact_lock(hashtextextended('crmgate keys ' || %s, 0))", (tenant,)
            )
            cursor = await connection.execute(
                "UPDATE kms_key SET state = %s, retired_at = now()"
                " WHERE tenant = %s AND id = %s AND scope = %s AND purpose = %s AND state = 'current'"
                " AND retired_at IS NULL AND destroyed_at IS NULL",
                ("verify" if verify else "live", tenant, old, key.scope, key.purpose),
            )
            if not cursor.rowcount:
                return False
            await connection.execute(
                "INSERT INTO kms_key (tenant, id, scope, purpose, provider, wrapped, commitment, created_at)"
                " VALUES (%s, %s, %s, %s, %s, %s, %s, %s)",
                (tenant, key.id, key.scope, key.purpose, key.provider, key.wrapped, key.commitment, key.created_at),
            )
            await connection.commit()
            return True

    async def retire(self, tenant: str, key: bytes) -> None:
        """Nothing is under this key any more: queries need not ask for it."""
        async with self._connections.connection(tenant) as connection:
            await connection.execute(
                "UPDATE kms_key SET state = 'retired' WHERE tenant = %s AND id = %s AND state = 'live'", (tenant, key)
            )

    async def rewrap(self, tenant: str, key: bytes, old: bytes, wrapped: bytes) -> bool:
        """Keep another wrapping of the same key, where it is still wrapped as it was."""
        async with self._connections.connection(tenant) as connection:
            cursor = await connection.execute(
                "UPDATE kms_key SET wrapped = %s WHERE tenant = %s AND id = %s AND wrapped = %s",
                (wrapped, tenant, key, old),
            )
            return bool(cursor.rowcount)

    async def state(self, tenant: str, key: bytes) -> str:
        """State of a key, "" when there is none of this id."""
        async with self._connections.connection(tenant) as connection:
            cursor = await connection.execute(
                "SELECT state FROM kms_key WHERE tenant = %s AND id = %s AND destroyed_at IS NULL", (tenant, key)
            )
            row = await cursor.fetchone()
            return row[0] if row is not None else ""

    async def total(self, tenant: str, kind: str) -> int:
        """Entries of a kind."""
        async with self._connections.connection(tenant) as connection:
            cursor = await connection.execute(
                "SELECT count(*) FROM vault WHERE tenant = %s AND kind = %s", (tenant, kind)
            )
            row = await cursor.fetchone()
            assert row is not None
            return int(row[0])

    async def page(self, tenant: str, kind: str, after: str, most: int) -> Page:
        """The next entries of a kind after a surrogate, with their spellings and terms, all at one moment."""
        async with self._connections.connection(tenant) as connection:
            await connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
            cursor = await connection.execute(
                "SELECT surrogate, deterministic, equal_term, equal_key, blob, held FROM vault"
                " WHERE tenant = %s AND kind = %s AND surrogate > %s ORDER BY surrogate LIMIT %s",
                (tenant, kind, after, most),
            )
            values = [
                SealedRow(row[0], row[1], bytes(row[2]), bytes(row[3]), bytes(row[4]), row[5])
                for row in await cursor.fetchall()
            ]
            names = [row.surrogate for row in values]
            cursor = await connection.execute(
                "SELECT surrogate, entity, field, record, cell, spelling FROM vault_origin"
                " WHERE tenant = %s AND surrogate = ANY(%s::text[]) AND spelling IS NOT NULL",
                (tenant, names),
            )
            spellings = [
                SpellingRow(row[0], row[1], row[2], row[3], row[4], bytes(row[5])) for row in await cursor.fetchall()
            ]
            cursor = await connection.execute(
                "SELECT kind, term, surrogate, equal_key, alias FROM vault_term"
                " WHERE tenant = %s AND surrogate = ANY(%s::text[])",
                (tenant, names),
            )
            terms = [
                TermRow(row[0], bytes(row[1]), row[2], bytes(row[3]), None if row[4] is None else bytes(row[4]))
                for row in await cursor.fetchall()
            ]
            return Page(values, spellings, terms)

    async def left_sealed(self, tenant: str, kind: str, key: bytes) -> int:
        """Values, spellings and aliases of a kind that are still sealed under a key."""
        return await self._count(
            tenant,
            """
            SELECT (SELECT count(*) FROM vault
                    WHERE tenant = %(tenant)s AND kind = %(kind)s
                      AND (seal_key = %(key)s OR substring(blob FROM 2 FOR 4) = %(key)s))
                 + (SELECT count(*) FROM vault v JOIN vault_origin o USING (tenant, surrogate)
                    WHERE tenant = %(tenant)s AND v.kind = %(kind)s
                      AND o.spelling IS NOT NULL AND substring(o.spelling FROM 2 FOR 4) = %(key)s)
                 + (SELECT count(*) FROM vault_term
                    WHERE tenant = %(tenant)s AND kind = %(kind)s
                      AND alias IS NOT NULL AND substring(alias FROM 2 FOR 4) = %(key)s)
            """,
            {"tenant": tenant, "kind": kind, "key": key},
        )

    async def left_termed(self, tenant: str, kind: str, key: bytes) -> int:
        """Entries and terms of a kind that are still found under a key."""
        return await self._count(
            tenant,
            """
            SELECT (SELECT count(*) FROM vault
                    WHERE tenant = %(tenant)s AND kind = %(kind)s AND equal_key = %(key)s)
                 + (SELECT count(*) FROM vault_term
                    WHERE tenant = %(tenant)s AND kind = %(kind)s AND equal_key = %(key)s)
            """,
            {"tenant": tenant, "kind": kind, "key": key},
        )

    async def _count(self, tenant: str, statement: LiteralString, values: dict[str, object]) -> int:
        async with self._connections.connection(tenant) as connection:
            cursor = await connection.execute(statement, values)
            row = await cursor.fetchone()
            assert row is not None
            return int(row[0])
