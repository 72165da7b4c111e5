"""SQL of orders to erase: what was asked for, what it came to, and its certificate."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from psycopg import sql
from psycopg.rows import TupleRow
from psycopg.types.json import Jsonb

from kms.connections import Connections, Pool
from kms.destruction import Person

_COLUMNS = sql.SQL(
    "id, actor, actor_login, reason, records, holders, counts, begun_at, destroyed_at, epoch, closed_at, certificate"
)


@dataclass(frozen=True, slots=True)
class Order:
    """One order. records: "entity/record"; epoch: the current one when the keys were destroyed; closed_at: its end."""

    id: str
    by: Person
    reason: str
    records: tuple[str, ...]
    holders: tuple[bytes, ...]
    counts: Mapping[str, int]
    begun_at: datetime
    destroyed_at: datetime | None
    epoch: int | None
    closed_at: datetime | None
    certificate: str


class ShreddingStore:
    """The table `kms_shredding`; every method raises StoreUnavailable."""

    def __init__(self, pool: Pool) -> None:
        self._connections = Connections(pool)

    async def begin(
        self, tenant: str, order: str, by: Person, reason: str, records: Sequence[str], at: datetime
    ) -> None:
        """Note an order before anything is done."""
        async with self._connections.connection(tenant) as connection:
            await connection.execute(
                "INSERT INTO kms_shredding (tenant, id, actor, actor_login, reason, records, begun_at)"
                " VALUES (%s, %s, %s, %s, %s, %s, %s)",
                (tenant, order, by.id, by.login, reason, list(records), at),
            )

    async def destroyed(
        self,
        tenant: str,
        order: str,
        holders: Sequence[bytes],
        counts: Mapping[str, int],
        epoch: int,
        at: datetime,
    ) -> None:
        """The keys are destroyed; what an attempt before came to is added."""
        async with self._connections.connection(tenant) as connection:
            await connection.execute(
                "UPDATE kms_shredding SET holders = %s, counts = %s, epoch = %s, destroyed_at = %s"
                " WHERE tenant = %s AND id = %s AND destroyed_at IS NULL",
                (list(holders), Jsonb(dict(counts)), epoch, at, tenant, order),
            )

    async def certify(self, tenant: str, order: str, closed_at: datetime, certificate: str) -> None:
        """The epoch is closed; the end of an order."""
        async with self._connections.connection(tenant) as connection:
            await connection.execute(
                "UPDATE kms_shredding SET closed_at = %s, certificate = %s"
                " WHERE tenant = %s AND id = %s AND certificate = ''",
                (closed_at, certificate, tenant, order),
            )

    async def every(self, tenant: str) -> list[Order]:
        """All orders, the oldest first."""
        query = sql.SQL("SELECT {} FROM kms_shredding WHERE tenant = %s ORDER BY begun_at, id")
        async with self._connections.connection(tenant) as connection:
            cursor = await connection.execute(query.format(_COLUMNS), (tenant,))
            return [_order(row) for row in await cursor.fetchall()]


def _order(row: TupleRow) -> Order:
    return Order(
        id=row[0],
        by=Person(row[1], row[2]),
        reason=row[3],
        records=tuple(row[4]),
        holders=tuple(bytes(one) for one in row[5]),
        counts=row[6],
        begun_at=row[7],
        destroyed_at=row[8],
        epoch=row[9],
        closed_at=row[10],
        certificate=row[11],
    )
