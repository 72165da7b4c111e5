"""The tables of the vault: sealed values, their origins and their terms; and the news of changes.

It stores and finds bytes and never opens anything. Whatever PostgreSQL does wrong becomes `StoreUnavailable` without
its text, because that text can repeat parameters. Writes that belong together share one transaction (kms.work_store).
"""

from collections.abc import AsyncIterator, Callable, Collection, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from psycopg import sql

from kms.connections import Pool, StoreUnavailable
from kms.holder_store import WrapRow, read_wraps, wraps_of
from kms.key_store import KeyRows
from kms.notice_store import CHANNEL, KEYS, NOTICE_SPLIT, PERSONS, announce, listen
from kms.work_store import EntryRow, KeysChanged, OriginConflict, OriginRow, Work

__all__ = [
    "CHANNEL",
    "KEYS",
    "NOTICE_SPLIT",
    "EntryRow",
    "KeysChanged",
    "OriginConflict",
    "OriginRow",
    "Pool",
    "SealedEntry",
    "Store",
    "StoreUnavailable",
    "Work",
]
FOUND_AT_MOST = 200


@dataclass(slots=True)
class SealedEntry:
    """What is read to open an entry."""

    surrogate: str
    kind: str
    blob: bytes
    origins: list[OriginRow] = field(default_factory=list)
    wraps: list[WrapRow] | None = None
    """Value keys of an entry that is held; None for one of before person keys."""


class Store(KeyRows):
    """The tables of this package behind one pool."""

    @asynccontextmanager
    async def work(self, tenant: str) -> AsyncIterator[Work]:
        """One transaction; raises StoreUnavailable."""
        # In a pipeline a statement waits for its answer only when rows are read: two or three round trips a call.
        async with self.connection(tenant, pipelined=True) as connection:
            yield Work(connection, tenant)
            await connection.commit()

    async def entries(self, tenant: str, surrogates: Sequence[str]) -> dict[str, SealedEntry]:
        """Sealed entries with their origins, without those retired for good."""
        async with self.connection(tenant, pipelined=True) as connection:
            # Entries and value keys of one moment, in one round trip.
            await connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
            cursor = await connection.execute(
                """
                SELECT v.surrogate, v.kind, v.blob, v.held, o.entity, o.field, o.record, o.spelling
                FROM vault v LEFT JOIN vault_origin o
                     ON o.tenant = v.tenant AND o.surrogate = v.surrogate
                     AND (o.retired_at IS NULL OR o.retired_at = 'infinity')
                WHERE v.tenant = %s AND v.surrogate = ANY(%s::text[])
                ORDER BY o.created_at, o.entity, o.field, o.record
                """,
                (tenant, list(surrogates)),
            )
            asked = await wraps_of(connection, tenant, surrogates)
            found: dict[str, SealedEntry] = {}
            for one, kind, blob, held, entity, name, record, spelling in await cursor.fetchall():
                entry = found.get(one)
                if entry is None:
                    entry = found[one] = SealedEntry(one, kind, bytes(blob), wraps=[] if held else None)
                if entity is not None:
                    sealed = bytes(spelling) if spelling is not None else None
                    entry.origins.append(OriginRow(one, entity, name, record, "", sealed))
            for one, rows in (await read_wraps(asked)).items():
                if (entry := found.get(one)) is not None and entry.wraps is not None:
                    entry.wraps += rows
            return found

    async def wraps(self, tenant: str, surrogates: Sequence[str], most: int) -> dict[str, list[WrapRow]]:
        """Wrapped value keys of entries, at most so many each."""
        async with self.connection(tenant) as connection:
            return await read_wraps(await wraps_of(connection, tenant, surrogates, most))

    async def at_origin(self, tenant: str, entity: str, field_name: str, record: str, unless: str = "") -> list[str]:
        """Surrogates a field of a record holds, without those older than an open origin of a cell beginning so."""
        older = (
            " AND NOT EXISTS (SELECT 1 FROM vault_origin i WHERE i.tenant = o.tenant AND i.entity = o.entity"
            " AND i.field = o.field AND i.record = '' AND starts_with(i.cell, %s) AND i.created_at > o.created_at)"
        )
        async with self.connection(tenant) as connection:
            cursor = await connection.execute(
                sql.SQL(
                    "SELECT surrogate FROM vault_origin o WHERE tenant = %s AND entity = %s AND field = %s"
                    " AND record = %s AND record <> '' AND retired_at IS NULL{}"
                    " ORDER BY created_at DESC, surrogate LIMIT %s"
                ).format(sql.SQL(older if unless else "")),
                (tenant, entity, field_name, record, *([unless] if unless else ()), FOUND_AT_MOST),
            )
            return [one for (one,) in await cursor.fetchall()]

    async def standing_in(
        self, tenant: str, records: Sequence[tuple[str, str]], newer: str
    ) -> list[tuple[str, str, str, str, bool]]:
        """(entity, record, field, surrogate, sure) of all that stands in these records, (entity, record).

        sure: no younger origin of that field waits in a cell beginning with `newer`.
        """
        async with self.connection(tenant) as connection:
            cursor = await connection.execute(
                "SELECT o.entity, o.record, o.field, o.surrogate, NOT EXISTS (SELECT 1 FROM vault_origin i"
                " WHERE i.tenant = o.tenant AND i.entity = o.entity AND i.field = o.field AND i.record = ''"
                " AND i.retired_at IS NULL AND starts_with(i.cell, %s) AND i.created_at > o.created_at)"
                " FROM unnest(%s::text[], %s::text[]) AS w (entity, record)"
                " JOIN vault_origin o USING (entity, record)"
                " WHERE o.tenant = %s AND o.record <> '' AND o.retired_at IS NULL"
                " ORDER BY o.entity, o.record, o.field, o.created_at DESC, o.surrogate",
                (newer, [one[0] for one in records], [one[1] for one in records], tenant),
            )
            return [(entity, record, name, one, sure) for entity, record, name, one, sure in await cursor.fetchall()]

    async def met_again(self, tenant: str, beginning: str, within_s: float, most: int) -> list[tuple[str, str, str]]:
        """(cell, entity, record) of young cells beginning so in which something waits for its record.

        In these records stands what waits there, or what waited there before. The youngest first; within_s: seconds;
        most: rows.
        """
        async with self.connection(tenant) as connection:
            cursor = await connection.execute(
                "WITH w AS (SELECT cell, surrogate, created_at FROM vault_origin WHERE tenant = %s AND record = ''"
                " AND retired_at IS NULL AND starts_with(cell, %s) AND created_at > now() - make_interval(secs => %s)),"
                " met AS (SELECT w.cell, w.created_at, b.entity, b.record FROM w JOIN vault_origin b"
                " ON b.tenant = %s AND b.surrogate = w.surrogate AND b.record <> '' AND b.retired_at IS NULL"
                " UNION ALL SELECT c.cell, c.created_at, b.entity, b.record"
                " FROM (SELECT cell, max(created_at) AS created_at FROM w GROUP BY cell) c JOIN vault_origin b"
                " ON b.tenant = %s AND b.cell = c.cell AND b.cell <> '' AND b.record <> '' AND b.retired_at IS NULL)"
                " SELECT cell, entity, record FROM met GROUP BY cell, entity, record"
                " ORDER BY max(created_at) DESC, entity, record LIMIT %s",
                (tenant, beginning, within_s, tenant, tenant, most),
            )
            return [(cell, entity, record) for cell, entity, record in await cursor.fetchall()]

    async def waiting(
        self, tenant: str, surrogates: Sequence[str], beginning: str, unless: str
    ) -> list[tuple[str, str, str, str]]:
        """(surrogate, entity, field, cell) of open origins in cells beginning so, with none in the cell `unless`."""
        async with self.connection(tenant) as connection:
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
        async with self.connection(tenant) as connection:
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
        async with self.connection(tenant) as connection:
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
        async with self.connection(tenant) as connection:
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
        async with self.connection(tenant) as connection:
            cursor = await connection.execute(
                "SELECT get_byte(blob, 0), count(*) FROM vault WHERE tenant = %s AND length(blob) > 0 GROUP BY 1",
                (tenant,),
            )
            return dict(await cursor.fetchall())

    async def listen(self, sender: str, heard: Callable[[str, list[str]], None], connected: Callable[[], None]) -> None:
        """Pass on the notices of others until the connection fails; see kms.notice_store. Raises StoreUnavailable."""
        await listen(self._pool, sender, heard, connected)

    async def announce_persons(self, tenant: str) -> None:
        """Tell every process that somebody of a tenant was erased."""
        async with self.connection(tenant) as connection:
            await announce(connection, tenant, "", [PERSONS])

    async def announce_keys(self, tenant: str) -> None:
        """Tell every process that a tenant has other keys than before."""
        async with self.connection(tenant) as connection:
            await announce(connection, tenant, "", [KEYS])
