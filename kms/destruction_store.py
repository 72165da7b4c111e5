"""SQL of destructions: each step is one statement that only succeeds from the state it starts in."""

from collections.abc import Sequence
from datetime import datetime

import psycopg
from psycopg import sql
from psycopg.rows import TupleRow

from kms.connections import EVERY, Connections, Pool
from kms.destruction import Destruction, Person, State
from kms.index_store import forget_keys
from kms.keyring import WrappedKey
from kms.store import CHANNEL, KEYS, NOTICE_SPLIT

_COLUMNS = sql.SQL(
    "tenant, id, scope, state, requested_by, requested_login, requested_at, approved_by, approved_login, approved_at,"
    " due_at, suspended, key_ids, ended_at, record"
)


class DestructionStore:
    """The table `kms_destruction`, and the mark on `kms_key`."""

    def __init__(self, pool: Pool) -> None:
        self._connections = Connections(pool)

    async def find(self, tenant: str, destruction_id: str) -> Destruction | None:
        """One destruction."""
        return await self._one(
            tenant, "SELECT {} FROM kms_destruction WHERE tenant = %s AND id = %s", tenant, destruction_id
        )

    async def every(self, tenant: str) -> list[Destruction]:
        """All destructions of a tenant, the newest first."""
        query = sql.SQL("SELECT {} FROM kms_destruction WHERE tenant = %s ORDER BY requested_at DESC, id")
        async with self._connections.connection(tenant) as connection:
            cursor = await connection.execute(query.format(_COLUMNS), (tenant,))
            return [_destruction(row) for row in await cursor.fetchall()]

    async def open_request(self, tenant: str, destruction_id: str, scope: str, by: Person, at: datetime) -> bool:
        """Write a request; False when one for the same keys is open."""
        async with self._connections.connection(tenant) as connection:
            cursor = await connection.execute(
                "INSERT INTO kms_destruction (tenant, id, scope, state, requested_by, requested_login, requested_at)"
                " VALUES (%s, %s, %s, 'requested', %s, %s, %s) ON CONFLICT DO NOTHING",
                (tenant, destruction_id, scope, by.id, by.login, at),
            )
            return cursor.rowcount == 1

    async def approve(
        self, tenant: str, destruction_id: str, by: Person, at: datetime, due_at: datetime
    ) -> Destruction | None:
        """From requested to approved by another person; the keys of the scope are noted and retired."""
        query = sql.SQL(
            """
            WITH asked AS (
                SELECT tenant, id, scope FROM kms_destruction
                WHERE tenant = %(tenant)s AND id = %(id)s AND state = 'requested' AND requested_by <> %(by)s
                FOR UPDATE
            ), retired AS (
                UPDATE kms_key k SET retired_at = coalesce(k.retired_at, %(at)s),
                    state = CASE k.state WHEN 'current' THEN 'live' ELSE k.state END
                FROM asked a
                WHERE k.tenant = a.tenant AND k.scope = a.scope AND k.destroyed_at IS NULL RETURNING k.id
            )
            UPDATE kms_destruction d SET state = 'approved', approved_by = %(by)s, approved_login = %(login)s,
                approved_at = %(at)s, due_at = %(due)s, key_ids = ARRAY(SELECT id FROM retired ORDER BY id)
            FROM asked a WHERE d.tenant = a.tenant AND d.id = a.id RETURNING {}
            """
        )
        columns = sql.SQL(", ").join(sql.SQL("d.") + sql.SQL(one.strip()) for one in _COLUMNS.as_string().split(","))
        given = {"tenant": tenant, "id": destruction_id, "by": by.id, "login": by.login, "at": at, "due": due_at}
        async with self._connections.connection(tenant) as connection:
            # As in a rotation: every transaction that writes under the old key is over, and none begins.
            await connection.execute(
                "SELECT pg_advisory_xact_lock(hashtextextended('crmgate keys ' || %s, 0))", (tenant,)
            )
            cursor = await connection.execute(query.format(columns), given)
            row = await cursor.fetchone()
            await self._announce(connection, tenant)
            return None if row is None else _destruction(row)

    async def note_suspended(self, tenant: str, destruction_id: str) -> None:
        """The provider has set the tenant's key aside."""
        query = "UPDATE kms_destruction SET suspended = true WHERE tenant = %s AND id = %s RETURNING {}"
        await self._one(tenant, query, tenant, destruction_id)

    async def cancel(self, tenant: str, destruction_id: str, by: Person, at: datetime) -> Destruction | None:
        """From requested or approved to cancelled."""
        return await self._one(
            tenant,
            "UPDATE kms_destruction SET state = 'cancelled', cancelled_by = %s, ended_at = %s, suspended = false"
            " WHERE tenant = %s AND id = %s AND state IN ('requested', 'approved') RETURNING {}",
            by.id,
            at,
            tenant,
            destruction_id,
        )

    async def begin(self, tenant: str, destruction_id: str, at: datetime) -> Destruction | None:
        """From approved to executing, once the wait is over; what is executing already stays so."""
        return await self._one(
            tenant,
            "UPDATE kms_destruction SET state = 'executing'"
            " WHERE tenant = %s AND id = %s AND state IN ('approved', 'executing') AND due_at <= %s RETURNING {}",
            tenant,
            destruction_id,
            at,
        )

    async def erase_keys(self, tenant: str, ids: Sequence[bytes] | None, at: datetime) -> list[bytes]:
        """Empty stored field keys, all of a tenant when ids is None; the ids that are empty now.

        What was only found by its parts is found no more: the terms of values under these keys end with them.
        """
        chosen = None if ids is None else list(ids)
        async with self._connections.connection(tenant) as connection:
            await forget_keys(connection, tenant, chosen)
            await connection.execute(
                "UPDATE kms_key SET wrapped = '', commitment = '', state = 'destroyed', destroyed_at = %s,"
                " retired_at = coalesce(retired_at, %s)"
                " WHERE tenant = %s AND (%s::bytea[] IS NULL OR id = ANY(%s::bytea[])) AND destroyed_at IS NULL",
                (at, at, tenant, chosen, chosen),
            )
            await self._announce(connection, tenant)
            cursor = await connection.execute(
                "SELECT id FROM kms_key WHERE tenant = %s AND (%s::bytea[] IS NULL OR id = ANY(%s::bytea[]))"
                " AND destroyed_at IS NOT NULL ORDER BY id",
                (tenant, chosen, chosen),
            )
            return [bytes(one) for (one,) in await cursor.fetchall()]

    async def finish(self, tenant: str, destruction_id: str, at: datetime, record: str) -> Destruction | None:
        """From executing to destroyed with the signed record."""
        return await self._one(
            tenant,
            "UPDATE kms_destruction SET state = 'destroyed', ended_at = %s, record = %s"
            " WHERE tenant = %s AND id = %s AND state = 'executing' RETURNING {}",
            at,
            record,
            tenant,
            destruction_id,
        )

    async def due(self, tenant: str, at: datetime) -> list[str]:
        """Ids of destructions that may be executed now."""
        async with self._connections.connection(tenant) as connection:
            cursor = await connection.execute(
                "SELECT id FROM kms_destruction WHERE tenant = %s AND state IN ('approved', 'executing')"
                " AND due_at <= %s ORDER BY due_at, id",
                (tenant, at),
            )
            return [one for (one,) in await cursor.fetchall()]

    async def scopes(self, tenant: str) -> list[str]:
        """Scopes that have keys which are not destroyed."""
        async with self._connections.connection(tenant) as connection:
            cursor = await connection.execute(
                "SELECT DISTINCT scope FROM kms_key WHERE tenant = %s AND destroyed_at IS NULL ORDER BY scope",
                (tenant,),
            )
            return [one for (one,) in await cursor.fetchall()]

    async def keys_of_others(self, tenant: str, provider: str) -> list[tuple[str, WrappedKey]]:
        """Stored keys of all other tenants that this provider wrapped."""
        async with self._connections.connection(EVERY) as connection:
            cursor = await connection.execute(
                "SELECT tenant, id, scope, purpose, provider, wrapped, commitment, created_at, retired_at IS NOT NULL"
                " FROM kms_key WHERE tenant <> %s AND provider = %s AND destroyed_at IS NULL",
                (tenant, provider),
            )
            rows = await cursor.fetchall()
            return [
                (
                    row[0],
                    WrappedKey(bytes(row[1]), row[2], row[3], row[4], bytes(row[5]), bytes(row[6]), row[7], row[8]),
                )
                for row in rows
            ]

    async def _one(self, tenant: str, query: str, *parameters: object) -> Destruction | None:
        async with self._connections.connection(tenant) as connection:
            cursor = await connection.execute(sql.SQL(query).format(_COLUMNS), parameters)
            row = await cursor.fetchone()
            return None if row is None else _destruction(row)

    async def _announce(self, connection: psycopg.AsyncConnection[TupleRow], tenant: str) -> None:
        """Tell every process, with the commit, that the tenant has other keys than before."""
        await connection.execute("SELECT pg_notify(%s, %s)", (CHANNEL, NOTICE_SPLIT.join(("", tenant, KEYS))))


def _destruction(row: TupleRow) -> Destruction:
    approved = None if row[7] is None else Person(row[7], row[8])
    return Destruction(
        tenant=row[0],
        id=row[1],
        scope=row[2],
        state=State(row[3]),
        requested_by=Person(row[4], row[5]),
        requested_at=row[6],
        approved_by=approved,
        approved_at=row[9],
        due_at=row[10],
        suspended=row[11],
        key_ids=tuple(bytes(one) for one in row[12]),
        ended_at=row[13],
        record=row[14],
    )
