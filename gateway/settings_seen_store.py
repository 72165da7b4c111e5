"""SQL of the settings that the gateway last ran with, by tenant."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

from kms.connections import Connection, Connections, Pool


class SettingsSeenStore:
    """Settings as they were seen last; every method raises StoreUnavailable."""

    def __init__(self, pool: Pool) -> None:
        self._connections = Connections(pool, timeout_s=30.0)

    @asynccontextmanager
    async def turn(self, tenant: str) -> AsyncIterator["Turn"]:
        """Look and replace while no other node does; what fails inside leaves all as it was."""
        async with self._connections.connection(tenant) as connection:
            await connection.execute(
                "SELECT pg_advisory_xact_lock(hashtextextended('crmgate settings ' || %s, 0))", (tenant,)
            )
            yield Turn(connection, tenant)


class Turn:
    """One node's turn at a tenant's settings."""

    def __init__(self, connection: Connection, tenant: str) -> None:
        self._connection, self._tenant = connection, tenant

    async def seen(self) -> dict[str, str]:
        """What was seen last, by name; empty before the first time."""
        found = await self._connection.execute(
            "SELECT name, value FROM setting_seen WHERE tenant = %s", (self._tenant,)
        )
        return dict(await found.fetchall())

    async def replace(self, values: Mapping[str, str]) -> None:
        """Keep these instead."""
        await self._connection.execute("DELETE FROM setting_seen WHERE tenant = %s", (self._tenant,))
        await self._connection.execute(
            "INSERT INTO setting_seen (tenant, name, value) SELECT %s, * FROM unnest(%s::text[], %s::text[])",
            (self._tenant, list(values), list(values.values())),
        )
