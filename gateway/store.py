"""SQL of the gateway's own tables (owners of CRM records); every query names its tenant.

Any fault of PostgreSQL becomes StoreUnavailable, which ends the exchange: nothing passes on a guess.
"""

from collections import Counter
from collections.abc import Sequence
from datetime import datetime

from kms.connections import Connections, Pool
from policies.placement import departments


class RecordStore:
    """Owners of CRM records in PostgreSQL."""

    def __init__(self, pool: Pool) -> None:
        self._connections = Connections(pool)

    async def upsert(self, tenant: str, keys: Sequence[tuple[str, str]], owner: str, seen_at: datetime) -> None:
        """Store one owner for these (entity, record) pairs; raises StoreUnavailable."""
        async with self._connections.connection(tenant) as connection:
            await connection.execute(
                """
                INSERT INTO crm_record (tenant, entity, record, owner, seen_at)
                SELECT %s, entity, record, %s, %s FROM unnest(%s::text[], %s::text[]) AS given (entity, record)
                ON CONFLICT (tenant, entity, record)
                DO UPDATE SET owner = EXCLUDED.owner, seen_at = EXCLUDED.seen_at
                WHERE crm_record.seen_at <= EXCLUDED.seen_at
                """,
                (tenant, owner, seen_at, [key[0] for key in keys], [key[1] for key in keys]),
            )

    async def select(self, tenant: str, keys: Sequence[tuple[str, str]]) -> dict[tuple[str, str], tuple[str, datetime]]:
        """Owner and age of these (entity, record) pairs; unknown ones are absent; raises StoreUnavailable."""
        async with self._connections.connection(tenant) as connection:
            cursor = await connection.execute(
                """
                SELECT r.entity, r.record, r.owner, r.seen_at FROM crm_record r
                JOIN unnest(%s::text[], %s::text[]) AS wanted (entity, record)
                  ON r.entity = wanted.entity AND r.record = wanted.record
                WHERE r.tenant = %s
                """,
                ([key[0] for key in keys], [key[1] for key in keys], tenant),
            )
            return {(row[0], row[1]): (row[2], row[3]) for row in await cursor.fetchall()}


class StaffStore:
    """Who is in which department, by the CRM's key of the person."""

    def __init__(self, pool: Pool) -> None:
        self._connections = Connections(pool)

    async def departments(self, tenant: str) -> dict[str, tuple[str, ...]]:
        """The CRM's key of a user → departments of the one person it is of; raises StoreUnavailable.

        The key is what the administrator says, else what the CRM said at the last sign-in. One that is said of two
        people is nobody's.
        """
        async with self._connections.connection(tenant) as connection:
            cursor = await connection.execute(
                """
                SELECT coalesce(u.crm_user, (
                    SELECT s.crm_user FROM app_session s
                    WHERE s.tenant = u.tenant AND s.user_id = u.id AND s.crm_user IS NOT NULL
                    ORDER BY s.opened_at DESC LIMIT 1
                )) AS known, u.placements
                FROM app_user u WHERE u.tenant = %s
                """,
                (tenant,),
            )
            rows = [(row[0], tuple(sorted(departments(row[1])))) for row in await cursor.fetchall() if row[0]]
        said = Counter(key for key, _ in rows)
        return {key: found for key, found in rows if said[key] == 1}
