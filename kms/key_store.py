"""SQL of wrapped field keys; see kms.keyring."""

from psycopg import sql

from kms.connections import Connections
from kms.keyring import WrappedKey

_TENANT_DESTROYED = (
    "SELECT 1 FROM kms_destruction WHERE tenant = %s AND scope = '' AND state IN ('executing', 'destroyed')"
)


class KeyRows(Connections):
    """The table `kms_key`; every method raises StoreUnavailable."""

    async def keys_for(self, tenant: str, scope: str, purpose: str) -> list[WrappedKey]:
        """Live keys of a scope and purpose that were not destroyed, the current one first."""
        return await self._keys(
            tenant,
            "tenant = %s AND scope = %s AND purpose = %s AND destroyed_at IS NULL"
            " AND state IN ('current', 'live', 'verify') ORDER BY retired_at DESC NULLS FIRST",
            scope,
            purpose,
        )

    async def keys_by_id(self, tenant: str, ids: list[bytes]) -> list[WrappedKey]:
        """Keys with these ids."""
        return await self._keys(tenant, "tenant = %s AND id = ANY(%s::bytea[])", ids)

    async def all_keys(self, tenant: str) -> list[WrappedKey]:
        """Every key of a tenant."""
        return await self._keys(tenant, "tenant = %s ORDER BY scope, purpose, created_at")

    async def add_key(self, tenant: str, key: WrappedKey) -> None:
        """Keep a key unless the scope and purpose have a current one."""
        async with self.connection(tenant) as connection:
            await connection.execute(
                "INSERT INTO kms_key (tenant, id, scope, purpose, provider, wrapped, commitment, created_at)"
                " VALUES (%s, %s, %s, %s, %s, %s, %s, %s) ON CONFLICT DO NOTHING",
                (tenant, key.id, key.scope, key.purpose, key.provider, key.wrapped, key.commitment, key.created_at),
            )

    async def tenant_destroyed(self, tenant: str) -> bool:
        """Whether the key of the tenant was destroyed."""
        async with self.connection(tenant) as connection:
            cursor = await connection.execute(_TENANT_DESTROYED, (tenant,))
            return await cursor.fetchone() is not None

    async def _keys(self, tenant: str, where: str, *parameters: object) -> list[WrappedKey]:
        async with self.connection(tenant) as connection:
            cursor = await connection.execute(
                sql.SQL(
                    "SELECT id, scope, purpose, provider, wrapped, commitment, created_at, retired_at IS NOT NULL,"
                    " destroyed_at IS NOT NULL, state FROM kms_key WHERE {}"
                ).format(sql.SQL(where)),
                (tenant, *parameters),
            )
            return [
                WrappedKey(bytes(row[0]), row[1], row[2], row[3], bytes(row[4]), bytes(row[5]), row[6], *row[7:])
                for row in await cursor.fetchall()
            ]
