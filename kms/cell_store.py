"""All SQL about cells; it never opens anything (see kms.store)."""

import dataclasses
from collections.abc import Mapping, Sequence

from kms.beside_store import BesideStore
from kms.connections import Connection
from kms.holder_store import WrapRow
from kms.store import OriginConflict


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


class CellStore(BesideStore):
    """The tables vault_cell and vault_beside behind one pool."""

    async def cells(self, tenant: str, cells: Sequence[bytes]) -> dict[bytes, CellRow]:
        """Where these cells belong; those never seen are absent. Raises StoreUnavailable."""
        async with self.connection(tenant) as connection:
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
        async with self.connection(tenant) as connection:
            cursor = await connection.execute(
                "INSERT INTO vault_cell (tenant, cell, entity, field, record) VALUES (%s, %s, %s, %s, %s)"
                " ON CONFLICT DO NOTHING RETURNING 1",
                (tenant, cell, row.entity, row.field, row.record),
            )
            if await cursor.fetchone() is None:
                raise OriginConflict("a cell id is used once")

    async def give_up_cells(self, tenant: str, cells: Sequence[bytes]) -> None:
        """Delete noted cells that the CRM surely did not take, if they wait still; raises StoreUnavailable."""
        async with self.connection(tenant) as connection:
            await connection.execute(
                "DELETE FROM vault_cell WHERE tenant = %s AND cell = ANY(%s::bytea[]) AND record = '' AND held",
                (tenant, list(cells)),
            )

    async def settle_cells(self, tenant: str, cells: Sequence[bytes], entity: str, record: str) -> None:
        """Give noted cells of an entity their record, if they have none; raises StoreUnavailable."""
        async with self.connection(tenant) as connection:
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
        async with self.connection(tenant) as connection:
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

    async def stand_cell(self, tenant: str, row: CellRow, cell: bytes | None, blob: bytes | None) -> None:
        """Note which bound cell a field of a record holds from now on, None: none; raises StoreUnavailable."""
        place = (tenant, row.entity, row.field, row.record)
        async with self.connection(tenant) as connection:
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
        async with self.connection(tenant) as connection:
            cursor = await connection.execute(
                "SELECT blob FROM vault_cell"
                " WHERE tenant = %s AND entity = %s AND field = %s AND record = %s AND blob IS NOT NULL",
                (tenant, row.entity, row.field, row.record),
            )
            found = await cursor.fetchone()
            return bytes(found[0]) if found is not None else None

    async def cells_before(self, tenant: str, entity: str, field_name: str, key: bytes) -> int:
        """Cells of a field that were noted before a key was replaced, without what opens no more for an erasure.

        Raises StoreUnavailable.
        """
        async with self.connection(tenant) as connection:
            cursor = await connection.execute(
                "SELECT count(*) FROM vault_cell c JOIN kms_key k ON k.tenant = c.tenant AND k.id = %s"
                " WHERE c.tenant = %s AND c.entity = %s AND c.field = %s"
                " AND (k.retired_at IS NULL OR c.seen_at <= k.retired_at) AND c.erased_at IS NULL",
                (key, tenant, entity, field_name),
            )
            row = await cursor.fetchone()
            return int(row[0]) if row is not None else 0


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
