"""All SQL about values kept beside the CRM by record; it never opens anything (see kms.store).

A field of a record may have several rows: the one the CRM accepted last, those whose answer has not come (or never
came), and, where two writes met, both that it accepted. Each has a generation, which what stands in the CRM names.
"""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import LiteralString

from psycopg import sql
from psycopg.rows import TupleRow

from kms.connections import Connection
from kms.rotation_store import condemned
from kms.store import Store

LATE = timedelta(days=7)
"""A request that was begun so long before another one is not taken by a CRM after it any more."""
_KEY_ID = slice(1, 5)  # of an envelope (kms.envelope)
_SELECT = sql.SQL(
    "SELECT entity, field, record, cell, generation, blob, accepted_at IS NOT NULL, holder, wrapped FROM vault_beside"
    " WHERE {}"
)
_PUT = sql.SQL(
    """
    INSERT INTO vault_beside
        (tenant, entity, field, record, cell, generation, seal_key, blob, holder, wrapped, accepted_at)
    VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, CASE WHEN %s THEN now() END)
    ON CONFLICT (tenant, entity, field, {}) WHERE record {} ''
    DO UPDATE SET blob = excluded.blob, seal_key = excluded.seal_key, holder = excluded.holder,
        wrapped = excluded.wrapped, generation = excluded.generation, written_at = now(),
        accepted_at = excluded.accepted_at, left_at = NULL
    """
)


@dataclass(frozen=True, slots=True)
class BesideRow:
    """An envelope kept for a field of a record; record "" while it is not known, then cell names the exchange.

    generation: what the CRM holds instead names it; accepted: whether the CRM is known to have taken it; holder,
    wrapped: whose value it is and its value key, None for rows of before value keys.
    """

    entity: str
    field: str
    record: str
    cell: str
    generation: int
    blob: bytes = dataclasses.field(repr=False)
    accepted: bool = False
    holder: bytes | None = None
    wrapped: bytes | None = dataclasses.field(default=None, repr=False)

    @property
    def name(self) -> str:
        """What its value key is bound to beside its holder."""
        kind, bound_to = ("beside", self.record) if self.record else ("beside waiting", self.cell)
        return "/".join((kind, self.entity, self.field, str(self.generation), bound_to))


class BesideStore(Store):
    """The table vault_beside behind one pool; every method raises StoreUnavailable."""

    async def beside(self, tenant: str, entity: str, field_name: str, records: Sequence[str]) -> list[BesideRow]:
        """Rows of a field of these records: those accepted last first, then those not known to be."""
        return await self._rows(
            tenant,
            "tenant = %s AND entity = %s AND field = %s AND record = ANY(%s::text[]) AND record <> ''"
            " ORDER BY accepted_at DESC NULLS LAST, written_at DESC, generation DESC",
            *(tenant, entity, field_name, list(records)),
        )

    async def waiting_beside(self, tenant: str, cell: str, entity: str) -> list[BesideRow]:
        """Rows of an exchange that have no record yet."""
        return await self._rows(
            tenant, "tenant = %s AND cell = %s AND entity = %s AND record = ''", tenant, cell, entity
        )

    async def every_waiting(self, tenant: str, most: int) -> list[BesideRow]:
        """Some rows of exchanges that have no record yet."""
        return await self._rows(
            tenant, "tenant = %s AND record = '' AND accepted_at IS NULL ORDER BY random() LIMIT %s", *(tenant, most)
        )

    async def every_beside(
        self, tenant: str, entity: str, field_name: str, after: tuple[str, str, int], most: int
    ) -> list[BesideRow]:
        """The next rows of a field behind a (record, cell, generation), waiting ones too."""
        return await self._rows(
            tenant,
            "tenant = %s AND entity = %s AND field = %s AND (record, cell, generation) > (%s, %s, %s)"
            " ORDER BY record, cell, generation LIMIT %s",
            *(tenant, entity, field_name, *after, most),
        )

    async def settle_beside(self, tenant: str, row: BesideRow, cell: str, connection: Connection) -> None:
        """Put a row, sealed anew for its record, in the place of the one that waits under a cell, if that is there."""
        await connection.execute(
            """
            WITH gone AS (DELETE FROM vault_beside WHERE tenant = %s AND entity = %s AND field = %s AND cell = %s
                          AND record = '' RETURNING written_at)
            INSERT INTO vault_beside
                (tenant, entity, field, record, cell, generation, seal_key, blob, holder, wrapped, written_at,
                 accepted_at)
            SELECT %s, %s, %s, %s, '', %s, %s, %s, %s, %s, written_at, now() FROM gone
            ON CONFLICT (tenant, entity, field, record, generation) WHERE record <> ''
            DO UPDATE SET blob = excluded.blob, seal_key = excluded.seal_key, holder = excluded.holder,
                wrapped = excluded.wrapped, written_at = excluded.written_at, accepted_at = now(), left_at = NULL
            """,
            (
                *(tenant, row.entity, row.field, cell),
                *(tenant, row.entity, row.field, row.record, row.generation),
                *(row.blob[_KEY_ID], row.blob, row.holder, row.wrapped),
            ),
        )
        await _drop_superseded(connection, tenant, row.entity, row.field, row.record, row.generation)

    async def accept_beside(
        self, tenant: str, entity: str, field_name: str, records: Sequence[str], generation: int
    ) -> None:
        """The CRM accepted this generation of these records; what it took the place of for sure ends."""
        async with self.connection(tenant) as connection:
            for record in sorted(records):
                await connection.execute(  # in the order in which a rotation takes them
                    "SELECT 1 FROM vault_beside WHERE tenant = %s AND entity = %s AND field = %s AND record = %s"
                    " AND record <> '' ORDER BY generation FOR UPDATE",
                    (tenant, entity, field_name, record),
                )
                await connection.execute(
                    "UPDATE vault_beside SET accepted_at = coalesce(accepted_at, now()) WHERE tenant = %s"
                    " AND entity = %s AND field = %s AND record = %s AND record <> '' AND generation = %s",
                    (tenant, entity, field_name, record, generation),
                )
                await _drop_superseded(connection, tenant, entity, field_name, record, generation)

    async def withdraw_beside(
        self, tenant: str, entity: str, field_name: str, records: Sequence[str], generation: int
    ) -> None:
        """The CRM refused this generation of these records."""
        await self._do(
            tenant,
            "DELETE FROM vault_beside WHERE tenant = %s AND entity = %s AND field = %s AND record = ANY(%s::text[])"
            " AND record <> '' AND generation = %s AND accepted_at IS NULL",
            *(tenant, entity, field_name, list(records), generation),
        )

    async def drop_waiting(self, tenant: str, cells: Sequence[str]) -> None:
        """Delete what still waits under these cells."""
        await self._do(
            tenant,
            "DELETE FROM vault_beside WHERE tenant = %s AND cell = ANY(%s::text[]) AND record = ''",
            tenant,
            list(cells),
        )

    async def drop_beside(
        self, tenant: str, entity: str, field_name: str, record: str, generation: int | None = None
    ) -> None:
        """Delete what the CRM accepted for a field of a record, or one generation of it."""
        await self._do(
            tenant,
            "DELETE FROM vault_beside WHERE tenant = %s AND entity = %s AND field = %s AND record = %s"
            " AND record <> '' AND accepted_at IS NOT NULL AND (%s::int IS NULL OR generation = %s)",
            *(tenant, entity, field_name, record, generation, generation),
        )

    async def drop_late(self, tenant: str, entity: str, field_name: str, record: str, stands: int | None) -> None:
        """Delete what cannot be accepted any more, because another generation (None: nothing) was seen to stand."""
        await self._do(
            tenant,
            "DELETE FROM vault_beside WHERE tenant = %s AND entity = %s AND field = %s AND record = %s"
            " AND record <> '' AND accepted_at IS NULL AND generation IS DISTINCT FROM %s::smallint"
            " AND written_at < now() - %s",
            *(tenant, entity, field_name, record, stands, LATE),
        )

    async def unsure(self, tenant: str, most: int) -> dict[tuple[str, str], datetime]:
        """Some (entity, record) of which the CRM has to be asked what stands, or whether they are gone; since when."""
        async with self.connection(tenant) as connection:
            cursor = await connection.execute(
                "SELECT entity, record, max(greatest(written_at, left_at)) FROM vault_beside WHERE tenant = %s"
                " AND record <> '' AND (accepted_at IS NULL OR left_at IS NOT NULL) GROUP BY entity, record"
                " ORDER BY random() LIMIT %s",
                (tenant, most),
            )
            return {(entity, record): since for entity, record, since in await cursor.fetchall()}

    async def note_leaving(self, tenant: str, records: Sequence[str], entities: Sequence[str]) -> None:
        """Somebody asks the CRM to delete these records."""
        await self._do(
            tenant,
            "UPDATE vault_beside SET left_at = now() WHERE tenant = %s AND entity = ANY(%s::text[])"
            " AND record = ANY(%s::text[]) AND record <> ''",
            *(tenant, list(entities), list(records)),
        )

    async def note_stays(self, tenant: str, entity: str, record: str, after: timedelta) -> None:
        """A record is there, so long after somebody asked for its end: the CRM did not take that."""
        await self._do(
            tenant,
            "UPDATE vault_beside SET left_at = NULL WHERE tenant = %s AND entity = %s AND record = %s"
            " AND record <> '' AND left_at < now() - %s",
            *(tenant, entity, record, after),
        )

    async def drop_record(self, tenant: str, entity: str, record: str) -> None:
        """Delete everything that is kept for a record that the CRM has no more."""
        await self._do(
            tenant,
            "DELETE FROM vault_beside WHERE tenant = %s AND entity = %s AND record = %s AND record <> ''",
            *(tenant, entity, record),
        )

    async def records_of_cells(self, tenant: str, cells: Sequence[str]) -> dict[tuple[str, str], str]:
        """(cell, entity) → record, of exchanges whose record was learnt already."""
        async with self.connection(tenant) as connection:
            cursor = await connection.execute(
                "SELECT cell, entity, record FROM vault_holder WHERE tenant = %s AND cell = ANY(%s::text[])"
                " AND record <> '' AND erased_at IS NULL",
                (tenant, list(cells)),
            )
            return {(cell, entity): record for cell, entity, record in await cursor.fetchall()}

    async def surrogates_of_cells(self, tenant: str, cells: Sequence[str]) -> dict[tuple[str, str], set[str]]:
        """(cell, entity) → every surrogate that waits for the record of an exchange."""
        found: dict[tuple[str, str], set[str]] = {}
        async with self.connection(tenant) as connection:
            cursor = await connection.execute(
                "SELECT cell, entity, surrogate FROM vault_origin WHERE tenant = %s AND cell = ANY(%s::text[])"
                " AND record = ''",
                (tenant, list(cells)),
            )
            for cell, entity, surrogate in await cursor.fetchall():
                found.setdefault((cell, entity), set()).add(surrogate)
        return found

    async def count_beside(self, tenant: str, entity: str, field_name: str, key: bytes | None = None) -> int:
        """Rows of a field, or those of them that name a field key."""
        async with self.connection(tenant) as connection:
            cursor = await connection.execute(
                "SELECT count(*) FROM vault_beside WHERE tenant = %s AND entity = %s AND field = %s"
                " AND (%s::bytea IS NULL OR substring(blob FROM 2 FOR 4) = %s)",
                (tenant, entity, field_name, key, key),
            )
            row = await cursor.fetchone()
            return int(row[0]) if row is not None else 0

    async def _rows(self, tenant: str, where: LiteralString, *parameters: object) -> list[BesideRow]:
        async with self.connection(tenant) as connection:
            cursor = await connection.execute(_SELECT.format(sql.SQL(where)), parameters)
            return [_row(found) for found in await cursor.fetchall()]

    async def _do(self, tenant: str, statement: LiteralString, *parameters: object) -> None:
        async with self.connection(tenant) as connection:
            await connection.execute(sql.SQL(statement), parameters)


async def lock_generations(
    connection: Connection, tenant: str, entity: str, field_name: str, records: Sequence[str]
) -> set[int]:
    """Generations that a field of these records has; nobody else adds one before the end of the transaction."""
    for record in sorted(set(records)):  # one order for all writers
        await connection.execute(
            "SELECT pg_advisory_xact_lock(hashtextextended('crmgate beside ' || %s, 0))",
            ("/".join((tenant, entity, field_name, record)),),
        )
    cursor = await connection.execute(
        "SELECT DISTINCT generation FROM vault_beside WHERE tenant = %s AND entity = %s AND field = %s"
        " AND record = ANY(%s::text[]) AND record <> ''",
        (tenant, entity, field_name, list(records)),
    )
    return {one for (one,) in await cursor.fetchall()}


async def put_beside(connection: Connection, tenant: str, rows: Sequence[BesideRow]) -> None:
    """Keep rows, each in the place of the one of its generation or exchange."""
    for row in rows:
        await connection.execute(
            _PUT.format(
                *((sql.SQL("record, generation"), sql.SQL("<>")) if row.record else (sql.SQL("cell"), sql.SQL("=")))
            ),
            (
                *(tenant, row.entity, row.field, row.record, row.cell, row.generation),
                *(row.blob[_KEY_ID], row.blob, row.holder, row.wrapped, row.accepted),
            ),
        )


async def replace_beside(connection: Connection, tenant: str, rows: Sequence[tuple[BesideRow, BesideRow]]) -> int:
    """Rows sealed anew in the place of exactly these; how many. What is under a condemned key stays as it is."""
    gone, done = await condemned(connection, tenant), 0
    for was, made in sorted(rows, key=lambda one: (one[0].record, one[0].cell, one[0].generation)):
        if was.blob[_KEY_ID] in gone:
            continue
        cursor = await connection.execute(
            "UPDATE vault_beside SET blob = %s, seal_key = %s, holder = %s, wrapped = %s WHERE tenant = %s"
            " AND entity = %s AND field = %s AND record = %s AND cell = %s AND generation = %s AND blob = %s"
            " RETURNING 1",
            (
                *(made.blob, made.blob[_KEY_ID], made.holder, made.wrapped),
                *(tenant, was.entity, was.field, was.record, was.cell, was.generation, was.blob),
            ),
        )
        done += len(await cursor.fetchall())  # in a pipeline rows are counted by reading them
    return done


async def _drop_superseded(
    connection: Connection, tenant: str, entity: str, field_name: str, record: str, generation: int
) -> None:
    """End what an accepted generation took the place of: accepted before that was sent, or sent long before.

    What was accepted after this one was sent may have reached the CRM after it, so it stays.
    """
    await connection.execute(
        """
        DELETE FROM vault_beside o USING vault_beside n
        WHERE n.tenant = %s AND n.entity = %s AND n.field = %s AND n.record = %s AND n.record <> ''
          AND n.generation = %s AND n.accepted_at IS NOT NULL
          AND o.tenant = n.tenant AND o.entity = n.entity AND o.field = n.field AND o.record = n.record
          AND o.record <> '' AND o.generation <> n.generation
          AND (o.accepted_at < n.written_at OR (o.accepted_at IS NULL AND o.written_at < n.written_at - %s))
        """,
        (tenant, entity, field_name, record, generation, LATE),
    )


def _row(found: TupleRow) -> BesideRow:
    entity, name, record, cell, number, blob, accepted, holder, wrapped = found
    whose = (None, None) if holder is None else (bytes(holder), bytes(wrapped))
    return BesideRow(entity, name, record, cell, number, bytes(blob), accepted, *whose)
