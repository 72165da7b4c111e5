"""All SQL about cells; it never opens anything (see kms.store)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from kms.beside_store import BesideStore
from kms.store import OriginConflict


@dataclass(frozen=True, slots=True)
class CellRow:
    """Where a cell was first seen; record "" where a file waits to be bound."""

    entity: str
    field: str
    record: str


class CellStore(BesideStore):
    """The tables vault_cell and vault_beside behind one pool."""

    async def cells(self, tenant: str, cells: Sequence[bytes]) -> dict[bytes, CellRow]:
        """Where these cells belong; those never seen are absent. Raises StoreUnavailable."""
        async with self.connection() as connection:
            cursor = await connection.execute(
                "SELECT cell, entity, field, record FROM vault_cell WHERE tenant = %s AND cell = ANY(%s::bytea[])",
                (tenant, list(cells)),
            )
            return {bytes(cell): CellRow(*rest) for cell, *rest in await cursor.fetchall()}

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
        async with self.connection() as connection, connection.transaction():
            await connection.execute(
                "INSERT INTO vault_cell (tenant, cell, entity, field, record) SELECT %s, *"
                " FROM unnest(%s::bytea[], %s::text[], %s::text[], %s::text[]) ON CONFLICT DO NOTHING",
                (
                    tenant,
                    cells,
                    [row.entity for _, row in ordered],
                    [row.field for _, row in ordered],
                    [row.record for _, row in ordered],
                ),
            )
            cursor = await connection.execute(
                "SELECT cell, entity, field, record FROM vault_cell WHERE tenant = %s AND cell = ANY(%s::bytea[])",
                (tenant, cells),
            )
            stored = {bytes(cell): CellRow(*rest) for cell, *rest in await cursor.fetchall()}
            if stored != dict(rows):
                raise OriginConflict("a cell belongs to one record of an entity")

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

    async def cells_before(self, tenant: str, entity: str, field_name: str, key: bytes) -> int:
        """Cells of a field that were noted before a key was replaced; raises StoreUnavailable."""
        async with self.connection() as connection:
            cursor = await connection.execute(
                "SELECT count(*) FROM vault_cell c JOIN kms_key k ON k.tenant = c.tenant AND k.id = %s"
                " WHERE c.tenant = %s AND c.entity = %s AND c.field = %s"
                " AND (k.retired_at IS NULL OR c.seen_at <= k.retired_at)",
                (key, tenant, entity, field_name),
            )
            row = await cursor.fetchone()
            return int(row[0]) if row is not None else 0
