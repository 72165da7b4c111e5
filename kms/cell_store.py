"""All SQL about cells and about values kept beside the CRM by record; it never opens anything (see kms.store)."""

import dataclasses
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from psycopg import sql

from kms.connections import Connection
from kms.holder_store import WrapRow
from kms.store import OriginConflict, Store

WAITS = timedelta(days=7)


@dataclasses.dataclass(frozen=True, slots=True)
class CellRow:
    """Where a cell or a file belongs; record "" while it waits to be bound.

    held: it has a value key, wrapped as `wraps` say; erased: whoever held it was erased, so it has none any more.
    """

    entity: str
    field: str
    record: str
    held: bool = dataclasses.field(default=False, compare=False)
    erased: bool = dataclasses.field(default=False, compare=False)
    wraps: tuple[WrapRow, ...] = dataclasses.field(default=(), compare=False, repr=False)


@dataclasses.dataclass(frozen=True, slots=True)
class BesideRow:
    """An envelope kept for a field of a record; record "" while it is not bound, then cell names the exchange."""

    entity: str
    field: str
    record: str
    cell: str
    seal_key: bytes
    blob: bytes


class CellStore(Store):
    """The tables vault_cell and vault_beside behind one pool."""

    async def cells(self, tenant: str, cells: Sequence[bytes]) -> dict[bytes, CellRow]:
        """Where these cells belong; those never seen are absent. Raises StoreUnavailable."""
        async with self.connection() as connection:
            cursor = await connection.execute(
                "SELECT c.cell, c.entity, c.field, c.record, c.held, c.erased_at IS NOT NULL, w.holder, w.wrapped"
                " FROM vault_cell c LEFT JOIN vault_cell_wrap w ON w.tenant = c.tenant AND w.cell = c.cell"
                " WHERE c.tenant = %s AND c.cell = ANY(%s::bytea[]) ORDER BY w.holder",
                (tenant, list(cells)),
            )
            found: dict[bytes, CellRow] = {}
            for cell, entity, name, record, held, erased, holder, wrapped in await cursor.fetchall():
                one = bytes(cell)
                wraps = found[one].wraps if one in found else ()
                if holder is not None:
                    wraps = (*wraps, WrapRow(name_of(one), bytes(holder), bytes(wrapped)))
                found[one] = CellRow(entity, name, record, held, erased, wraps)
            return found

    async def note_cell(self, tenant: str, cell: bytes, row: CellRow) -> None:
        """Note a new cell before anything is sealed for it; raises OriginConflict if there is one with this id."""
        async with self.connection() as connection:
            cursor = await connection.execute(
                "INSERT INTO vault_cell (tenant, cell, entity, field, record) VALUES (%s, %s, %s, %s, %s)"
                " ON CONFLICT DO NOTHING RETURNING 1",
                (tenant, cell, row.entity, row.field, row.record),
            )
            if await cursor.fetchone() is None:
                raise OriginConflict("a cell id is used once")

    async def give_up_cells(self, tenant: str, cells: Sequence[bytes]) -> None:
        """Delete noted cells that the CRM surely did not take, if they wait still; raises StoreUnavailable."""
        async with self.connection() as connection:
            await connection.execute(
                "DELETE FROM vault_cell WHERE tenant = %s AND cell = ANY(%s::bytea[]) AND record = '' AND held",
                (tenant, list(cells)),
            )

    async def settle_cells(self, tenant: str, cells: Sequence[bytes], entity: str, record: str) -> None:
        """Give noted cells of an entity their record, if they have none; raises StoreUnavailable."""
        async with self.connection() as connection:
            await connection.execute(
                "UPDATE vault_cell SET record = %s"
                " WHERE tenant = %s AND cell = ANY(%s::bytea[]) AND entity = %s AND record = ''",
                (record, tenant, list(cells), entity),
            )

    async def bind_cells(self, tenant: str, rows: Mapping[bytes, CellRow]) -> None:
        """Note where cells belong, all or none; raises OriginConflict when one belongs elsewhere, StoreUnavailable."""
        # One order for all writers, so that two of them can wait for each other but never lock each other up.
        ordered = sorted(rows.items())
        cells = [cell for cell, _ in ordered]
        places = [[row[at] for row in ((one.entity, one.field, one.record) for _, one in ordered)] for at in range(3)]
        async with self.connection() as connection, connection.transaction():
            # Those that have value keys are noted already, and wait.
            await connection.execute(
                "UPDATE vault_cell c SET record = w.record"
                " FROM unnest(%s::bytea[], %s::text[], %s::text[], %s::text[]) AS w (cell, entity, field, record)"
                " WHERE c.tenant = %s AND c.cell = w.cell AND c.held AND c.record = ''"
                " AND c.entity = w.entity AND c.field = w.field",
                (cells, *places, tenant),
            )
            await connection.execute(
                "INSERT INTO vault_cell (tenant, cell, entity, field, record) SELECT %s, *"
                " FROM unnest(%s::bytea[], %s::text[], %s::text[], %s::text[]) ON CONFLICT DO NOTHING",
                (tenant, cells, *places),
            )
            cursor = await connection.execute(
                "SELECT cell, entity, field, record FROM vault_cell WHERE tenant = %s AND cell = ANY(%s::bytea[])",
                (tenant, cells),
            )
            stored = {bytes(cell): CellRow(*rest) for cell, *rest in await cursor.fetchall()}
            if stored != dict(rows):
                raise OriginConflict("a cell belongs to one record of an entity")
            await _bind_holders(connection, tenant, cells)

    async def keep_beside(self, tenant: str, rows: Sequence[BesideRow]) -> None:
        """Keep envelopes, each in the place of what its field held before; raises StoreUnavailable."""
        ordered = sorted(rows, key=lambda row: (row.entity, row.field, row.record, row.cell))
        async with self.connection() as connection, connection.transaction():
            for row in ordered:
                place = "record" if row.record else "cell"
                await connection.execute(
                    sql.SQL(
                        "INSERT INTO vault_beside (tenant, entity, field, record, cell, seal_key, blob)"
                        " VALUES (%s, %s, %s, %s, %s, %s, %s)"
                        " ON CONFLICT (tenant, entity, field, {}) WHERE record {} ''"
                        " DO UPDATE SET blob = excluded.blob, seal_key = excluded.seal_key, written_at = now()"
                    ).format(sql.Identifier(place), sql.SQL("<>" if row.record else "=")),
                    (tenant, row.entity, row.field, row.record, row.cell, row.seal_key, row.blob),
                )

    async def waiting_beside(self, tenant: str, cell: str, entity: str) -> list[BesideRow]:
        """Envelopes of an exchange that have no record yet; raises StoreUnavailable."""
        async with self.connection() as connection:
            cursor = await connection.execute(
                "SELECT entity, field, record, cell, seal_key, blob FROM vault_beside"
                " WHERE tenant = %s AND cell = %s AND entity = %s AND record = ''",
                (tenant, cell, entity),
            )
            return [
                BesideRow(entity, name, record, cell, bytes(key), bytes(blob))
                for entity, name, record, cell, key, blob in await cursor.fetchall()
            ]

    async def settle_beside(self, tenant: str, rows: Sequence[BesideRow]) -> None:
        """Put waiting envelopes, sealed anew for their record, in the place of the waiting ones, all or none."""
        async with self.connection() as connection, connection.transaction():
            for row in rows:
                await connection.execute(
                    "WITH gone AS (DELETE FROM vault_beside WHERE tenant = %s AND entity = %s AND field = %s"
                    " AND cell = %s AND record = '' RETURNING 1)"
                    " INSERT INTO vault_beside (tenant, entity, field, record, cell, seal_key, blob)"
                    " SELECT %s, %s, %s, %s, '', %s, %s FROM gone"
                    " ON CONFLICT (tenant, entity, field, record) WHERE record <> ''"
                    " DO UPDATE SET blob = excluded.blob, seal_key = excluded.seal_key, written_at = now()",
                    (
                        *(tenant, row.entity, row.field, row.cell),
                        *(tenant, row.entity, row.field, row.record, row.seal_key, row.blob),
                    ),
                )

    async def beside(self, tenant: str, entity: str, field_name: str, records: Sequence[str]) -> dict[str, bytes]:
        """Envelopes of a field by record; records without one are absent. Raises StoreUnavailable."""
        async with self.connection() as connection:
            cursor = await connection.execute(
                "SELECT record, blob FROM vault_beside"
                " WHERE tenant = %s AND entity = %s AND field = %s AND record = ANY(%s::text[]) AND record <> ''",
                (tenant, entity, field_name, list(records)),
            )
            return {record: bytes(blob) for record, blob in await cursor.fetchall()}

    async def drop_waiting(self, tenant: str, cells: Sequence[str]) -> None:
        """Delete what still waits under these cells; raises StoreUnavailable."""
        async with self.connection() as connection:
            await connection.execute(
                "DELETE FROM vault_beside WHERE tenant = %s AND cell = ANY(%s::text[]) AND record = ''",
                (tenant, list(cells)),
            )

    async def sweep(self, now: datetime) -> None:
        """Delete what waited for a record for a week, of all tenants: the answer it waited for never came."""
        async with self.connection() as connection:
            await connection.execute("DELETE FROM vault_beside WHERE record = '' AND written_at < %s", (now - WAITS,))

    async def stand_cell(self, tenant: str, row: CellRow, cell: bytes | None, blob: bytes | None) -> None:
        """Note which bound cell a field of a record holds from now on, None: none; raises StoreUnavailable."""
        place = (tenant, row.entity, row.field, row.record)
        async with self.connection() as connection, connection.transaction():
            await connection.execute(
                "UPDATE vault_cell SET blob = NULL"
                " WHERE tenant = %s AND entity = %s AND field = %s AND record = %s AND blob IS NOT NULL",
                place,
            )
            if cell is not None:
                await connection.execute(
                    "UPDATE vault_cell SET blob = %s"
                    " WHERE tenant = %s AND entity = %s AND field = %s AND record = %s AND cell = %s",
                    (blob, *place, cell),
                )

    async def standing_cell(self, tenant: str, row: CellRow) -> bytes | None:
        """The envelope a field of a record holds now; raises StoreUnavailable."""
        async with self.connection() as connection:
            cursor = await connection.execute(
                "SELECT blob FROM vault_cell"
                " WHERE tenant = %s AND entity = %s AND field = %s AND record = %s AND blob IS NOT NULL",
                (tenant, row.entity, row.field, row.record),
            )
            found = await cursor.fetchone()
            return bytes(found[0]) if found is not None else None

    async def every_beside(
        self, tenant: str, entity: str, field_name: str, after: tuple[str, str], most: int
    ) -> list[BesideRow]:
        """The next envelopes of a field behind a (record, cell), waiting ones too; raises StoreUnavailable."""
        async with self.connection() as connection:
            cursor = await connection.execute(
                "SELECT record, cell, seal_key, blob FROM vault_beside WHERE tenant = %s AND entity = %s AND field = %s"
                " AND (record, cell) > (%s, %s) ORDER BY record, cell LIMIT %s",
                (tenant, entity, field_name, *after, most),
            )
            return [
                BesideRow(entity, field_name, record, cell, bytes(key), bytes(blob))
                for record, cell, key, blob in await cursor.fetchall()
            ]

    async def cells_before(self, tenant: str, entity: str, field_name: str, key: bytes) -> int:
        """Cells of a field that were noted before a key was replaced, without what opens no more for an erasure.

        Raises StoreUnavailable.
        """
        async with self.connection() as connection:
            cursor = await connection.execute(
                "SELECT count(*) FROM vault_cell c JOIN kms_key k ON k.tenant = c.tenant AND k.id = %s"
                " WHERE c.tenant = %s AND c.entity = %s AND c.field = %s"
                " AND (k.retired_at IS NULL OR c.seen_at <= k.retired_at) AND c.erased_at IS NULL",
                (key, tenant, entity, field_name),
            )
            row = await cursor.fetchone()
            return int(row[0]) if row is not None else 0

    async def drop_beside(self, tenant: str, entity: str, field_name: str, record: str) -> None:
        """Delete the envelope of a field of a record; raises StoreUnavailable."""
        async with self.connection() as connection:
            await connection.execute(
                "DELETE FROM vault_beside WHERE tenant = %s AND entity = %s AND field = %s AND record = %s"
                " AND record <> ''",
                (tenant, entity, field_name, record),
            )


def name_of(cell: bytes) -> str:
    """The name that the value key of a cell or a file is wrapped under; no surrogate looks like it."""
    return f"#cell/{cell.hex()}"


async def note_held(
    connection: Connection, tenant: str, rows: Mapping[bytes, CellRow], wraps: Mapping[bytes, WrapRow]
) -> None:
    """Note new cells that have value keys, in the transaction that locks their holders; raises OriginConflict."""
    ordered = sorted(rows)
    cursor = await connection.execute(
        "INSERT INTO vault_cell (tenant, cell, entity, field, record, held)"
        " SELECT %s, w.*, true FROM unnest(%s::bytea[], %s::text[], %s::text[], %s::text[]) AS w"
        " ON CONFLICT DO NOTHING RETURNING 1",
        (
            tenant,
            ordered,
            [rows[cell].entity for cell in ordered],
            [rows[cell].field for cell in ordered],
            [rows[cell].record for cell in ordered],
        ),
    )
    if len(await cursor.fetchall()) != len(ordered):
        raise OriginConflict("a cell id is used once")
    await connection.execute(
        "INSERT INTO vault_cell_wrap (tenant, cell, holder, wrapped)"
        " SELECT %s, * FROM unnest(%s::bytea[], %s::bytea[], %s::bytea[])",
        (tenant, ordered, [wraps[cell].holder for cell in ordered], [wraps[cell].wrapped for cell in ordered]),
    )


async def _bind_holders(connection: Connection, tenant: str, cells: Sequence[bytes]) -> None:
    """What holds a bound cell is its record's from now on; raises OriginConflict when it is another record's.

    Else erasing the record would leave the cell readable.
    """
    await connection.execute(
        "UPDATE vault_holder h SET record = c.record FROM vault_cell_wrap w JOIN vault_cell c USING (tenant, cell)"
        " WHERE w.tenant = %s AND w.cell = ANY(%s::bytea[]) AND h.tenant = w.tenant AND h.id = w.holder"
        " AND h.entity = c.entity AND h.record = '' AND h.erased_at IS NULL",
        (tenant, cells),
    )
    cursor = await connection.execute(
        "SELECT count(*) FROM vault_cell c WHERE c.tenant = %s AND c.cell = ANY(%s::bytea[]) AND c.held"
        " AND EXISTS (SELECT 1 FROM vault_cell_wrap w JOIN vault_holder h ON h.tenant = w.tenant AND h.id = w.holder"
        " WHERE w.tenant = c.tenant AND w.cell = c.cell AND (h.entity, h.record) <> (c.entity, c.record))",
        (tenant, cells),
    )
    row = await cursor.fetchone()
    if row is None or row[0]:
        raise OriginConflict("a cell is held by another record")
