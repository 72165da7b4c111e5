"""SQL of rotating what the gateway itself keeps sealed: pages of a column, compare-and-set of what is new, counts.

Which columns those are says gateway.rotation_sealed. That nothing is written under a key once it was replaced is a
trigger on each of them (migration 0011), whoever writes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from psycopg import sql

from kms.connections import Connections, Pool
from kms.rotation_store import condemned

TIMEOUT_S = 15.0
_KEY_ID = slice(1, 5)  # of an envelope (kms.envelope)


@dataclass(frozen=True, slots=True)
class Place:
    """A sealed column. names: the columns that name a row of a tenant; key_column: where the key id stands beside."""

    table: str
    column: str
    names: tuple[str, ...]
    key_column: str = ""


@dataclass(frozen=True, slots=True)
class Cell:
    """One envelope; row: what names its row, as text."""

    row: tuple[str, ...]
    blob: bytes


class SealedStore:
    """Reads and replaces envelopes; every method raises StoreUnavailable. only: column → value, to choose rows."""

    def __init__(self, pool: Pool) -> None:
        self._connections = Connections(pool, timeout_s=TIMEOUT_S, bounded=False)

    async def total(self, tenant: str, place: Place, only: Mapping[str, str]) -> int:
        """Envelopes in a column."""
        return await self._count(tenant, place, only, sql.SQL("true"))

    async def left(self, tenant: str, place: Place, only: Mapping[str, str], key: bytes) -> int:
        """Those of them that name a key."""
        named = sql.SQL("substring({} FROM 2 FOR 4) = {}").format(sql.Identifier(place.column), sql.Literal(key))
        return await self._count(tenant, place, only, named)

    async def page(
        self, tenant: str, place: Place, only: Mapping[str, str], after: Sequence[str], most: int
    ) -> list[Cell]:
        """The next envelopes behind a row, in the order of what names them; after: () for the first."""
        names = sql.SQL(", ").join(sql.SQL('{}::text COLLATE "C"').format(sql.Identifier(one)) for one in place.names)
        behind: sql.Composable = sql.SQL("true")
        if after:
            given = sql.SQL(", ").join(sql.Literal(one) for one in after)
            behind = sql.SQL("({}) > ({})").format(names, given)
        query = sql.SQL(
            "SELECT {column}, {names} FROM {table} WHERE {chosen} AND {behind} ORDER BY {names} LIMIT {most}"
        )
        async with self._connections.connection(tenant) as connection:
            cursor = await connection.execute(
                query.format(
                    column=sql.Identifier(place.column),
                    names=names,
                    table=sql.Identifier(place.table),
                    chosen=_chosen(tenant, place, only),
                    behind=behind,
                    most=sql.Literal(most),
                )
            )
            return [Cell(tuple(row), bytes(blob)) for blob, *row in await cursor.fetchall()]

    async def replace(self, tenant: str, place: Place, cells: Sequence[tuple[Cell, bytes]]) -> int:
        """New envelopes in the place of exactly these; how many. What is under a condemned key stays as it is."""
        done = 0
        named = sql.SQL(" AND ").join(sql.SQL("{}::text = %s").format(sql.Identifier(one)) for one in place.names)
        beside = sql.SQL(", {} = %s" if place.key_column else "").format(sql.Identifier(place.key_column or "none"))
        query = sql.SQL("UPDATE {table} SET {column} = %s{beside} WHERE tenant = %s AND {named} AND {column} = %s")
        whole = query.format(
            table=sql.Identifier(place.table), column=sql.Identifier(place.column), beside=beside, named=named
        )
        async with self._connections.connection(tenant) as connection:
            gone = await condemned(connection, tenant)
            for cell, blob in sorted(cells, key=lambda one: one[0].row):
                if cell.blob[_KEY_ID] in gone:
                    continue
                key = [blob[_KEY_ID]] if place.key_column else []
                cursor = await connection.execute(whole, (blob, *key, tenant, *cell.row, cell.blob))
                done += cursor.rowcount
        return done

    async def digests(self, tenant: str, key: bytes) -> int:
        """Records of protect runs whose digests were made under a key."""
        async with self._connections.connection(tenant) as connection:
            cursor = await connection.execute(
                "SELECT count(*) FROM protect_record WHERE tenant = %s AND strpos(fields::text, %s) > 0",
                (tenant, f'"{key.hex()}:'),
            )
            row = await cursor.fetchone()
            return int(row[0]) if row is not None else 0

    async def _count(self, tenant: str, place: Place, only: Mapping[str, str], more: sql.Composable) -> int:
        query = sql.SQL("SELECT count(*) FROM {} WHERE {} AND {}")
        async with self._connections.connection(tenant) as connection:
            cursor = await connection.execute(
                query.format(sql.Identifier(place.table), _chosen(tenant, place, only), more)
            )
            row = await cursor.fetchone()
            return int(row[0]) if row is not None else 0


def _chosen(tenant: str, place: Place, only: Mapping[str, str]) -> sql.Composable:
    conditions = [sql.SQL("tenant = {}").format(sql.Literal(tenant))]
    conditions += [sql.SQL("{} = {}").format(sql.Identifier(name), sql.Literal(text)) for name, text in only.items()]
    conditions.append(sql.SQL("{} IS NOT NULL").format(sql.Identifier(place.column)))
    return sql.SQL(" AND ").join(conditions)
