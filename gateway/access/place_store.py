"""SQL of the networks a person may come from: one column of app_user, read with every session.

A change and the NOTIFY that makes every process forget what it holds of the person are one transaction.
"""

from gateway.access.session_store import CHANNEL
from gateway.access.store import connection
from kms.connections import Pool


class PlaceStore:
    """The lists of people."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def networks(self, tenant: str, user_id: str) -> str | None:
        """The list as it is kept ("" for any); None where there is no such person."""
        async with connection(self._pool, tenant) as db:
            cursor = await db.execute("SELECT networks FROM app_user WHERE tenant = %s AND id = %s", (tenant, user_id))
            row = await cursor.fetchone()
            return None if row is None else str(row[0])

    async def all_networks(self, tenant: str) -> dict[str, str]:
        """User id → list, of the people who have one."""
        async with connection(self._pool, tenant) as db:
            cursor = await db.execute(
                "SELECT id, networks FROM app_user WHERE tenant = %s AND networks <> ''", (tenant,)
            )
            return {row[0]: row[1] for row in await cursor.fetchall()}

    async def set_networks(self, tenant: str, user_id: str, networks: str) -> None:
        """Bind a person to a list; open sessions follow on every node."""
        async with connection(self._pool, tenant) as db:
            await db.execute(
                "UPDATE app_user SET networks = %s WHERE tenant = %s AND id = %s", (networks, tenant, user_id)
            )
            await db.execute("SELECT pg_notify(%s, %s)", (CHANNEL, user_id))
