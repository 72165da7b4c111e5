"""SQL of gateway.egress: what was delivered (keyed digests only), and since when a value stands in a record.

Every query names its tenant. Any fault of PostgreSQL becomes StoreUnavailable, which ends the delivery.
"""

from collections.abc import Collection
from datetime import datetime

from kms.connections import EVERY, Connections, Pool

Place = tuple[str, str, str]  # surrogate, entity, record


class EgressStore:
    """Rows of egress_delivery, and the age of origins."""

    def __init__(self, pool: Pool) -> None:
        self._connections = Connections(pool)

    async def delivered(self, tenant: str, digests: Collection[bytes], now: datetime) -> set[bytes]:
        """Those of these digests that are known."""
        async with self._connections.connection(tenant) as db:
            cursor = await db.execute(
                "SELECT digest FROM egress_delivery WHERE tenant = %s AND digest = ANY(%s) AND until > %s",
                (tenant, list(digests), now),
            )
            return {bytes(row[0]) for row in await cursor.fetchall()}

    async def note(self, tenant: str, digests: Collection[bytes], until: datetime) -> None:
        """Remember deliveries until a time."""
        async with self._connections.connection(tenant) as db:
            await db.execute(
                """INSERT INTO egress_delivery (tenant, digest, until) SELECT %s, unnest(%s::bytea[]), %s
                   ON CONFLICT (tenant, digest) DO UPDATE SET until = EXCLUDED.until""",
                (tenant, list(digests), until),
            )

    async def forget(self, tenant: str, digests: Collection[bytes]) -> None:
        """Forget deliveries whose message is done."""
        async with self._connections.connection(tenant) as db:
            await db.execute(
                "DELETE FROM egress_delivery WHERE tenant = %s AND digest = ANY(%s)", (tenant, list(digests))
            )

    async def sweep(self, now: datetime) -> None:
        """Delete what expired, of all tenants."""
        async with self._connections.connection(EVERY) as db:
            await db.execute("DELETE FROM egress_delivery WHERE until < %s", (now,))

    async def since(self, tenant: str, surrogates: Collection[str]) -> dict[Place, datetime]:
        """Since when each of these surrogates stands in each of its records."""
        if not surrogates:
            return {}
        async with self._connections.connection(tenant) as db:
            cursor = await db.execute(
                """SELECT surrogate, entity, record, min(created_at) FROM vault_origin
                   WHERE tenant = %s AND surrogate = ANY(%s) AND record <> '' AND retired_at IS NULL
                   GROUP BY surrogate, entity, record""",
                (tenant, list(surrogates)),
            )
            return {(row[0], row[1], row[2]): row[3] for row in await cursor.fetchall()}
