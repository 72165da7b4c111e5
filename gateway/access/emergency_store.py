"""SQL of emergency roles; how long they last, the delay and who may agree are rules of the table, too."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta

from psycopg.errors import UniqueViolation
from psycopg.rows import TupleRow

from gateway.access.session_store import CHANNEL
from gateway.access.store import connection
from kms.connections import EVERY, Pool


@dataclass(frozen=True, slots=True)
class Emergency:
    """One emergency role. starts_at: without anybody's agreement; opened_at: when it was on record that it is open."""

    tenant: str
    id: str
    user_id: str
    login: str
    role: str
    reason: str
    asked_at: datetime
    lasts: timedelta
    starts_at: datetime
    ends_at: datetime
    approved_by: str
    opened_at: datetime | None
    ended_by: str
    ended_at: datetime | None

    @property
    def open(self) -> bool:
        """Whether the role is in force, as far as it was read."""
        return self.opened_at is not None and self.ended_at is None


_COLUMNS = """e.tenant, e.id, e.user_id, u.login, e.role, e.reason, e.asked_at, e.lasts, e.starts_at, e.ends_at,
    coalesce(e.approved_by, ''), e.opened_at, coalesce(e.ended_by, ''), e.ended_at"""
_FROM = "app_emergency e JOIN app_user u ON u.tenant = e.tenant AND u.id = e.user_id"


class EmergencyStore:
    """Rows of app_emergency."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def ask(self, wish: Emergency) -> bool:
        """Note what somebody asks for; False when they have one that has not ended, or no open account."""
        try:
            async with connection(self._pool, wish.tenant) as db:
                cursor = await db.execute(
                    """INSERT INTO app_emergency
                         (tenant, id, user_id, role, reason, asked_at, lasts, starts_at, ends_at)
                       SELECT tenant, %s, id, %s, %s, %s, %s, %s, %s FROM app_user
                       WHERE tenant = %s AND id = %s AND NOT disabled""",
                    (
                        wish.id,
                        wish.role,
                        wish.reason,
                        wish.asked_at,
                        wish.lasts,
                        wish.starts_at,
                        wish.ends_at,
                        wish.tenant,
                        wish.user_id,
                    ),
                )
                return cursor.rowcount == 1
        except UniqueViolation:
            return False

    async def current(self, tenant: str) -> list[Emergency]:
        """Those that have not ended, the oldest first."""
        async with connection(self._pool, tenant) as db:
            cursor = await db.execute(
                f"SELECT {_COLUMNS} FROM {_FROM} WHERE e.tenant = %s AND e.ended_at IS NULL ORDER BY e.asked_at, e.id",  # noqa: S608
                (tenant,),
            )
            return [Emergency(*row) for row in await cursor.fetchall()]

    async def past(self, tenant: str, limit: int = 50) -> list[Emergency]:
        """The latest that have ended."""
        async with connection(self._pool, tenant) as db:
            cursor = await db.execute(
                f"""SELECT {_COLUMNS} FROM {_FROM} WHERE e.tenant = %s AND e.ended_at IS NOT NULL
                    ORDER BY e.ended_at DESC, e.id LIMIT %s""",  # noqa: S608
                (tenant, limit),
            )
            return [Emergency(*row) for row in await cursor.fetchall()]

    async def find(self, tenant: str, name: str) -> Emergency | None:
        """One that has not ended."""
        async with connection(self._pool, tenant) as db:
            cursor = await db.execute(
                f"SELECT {_COLUMNS} FROM {_FROM} WHERE e.tenant = %s AND e.id = %s AND e.ended_at IS NULL",  # noqa: S608
                (tenant, name),
            )
            row: TupleRow | None = await cursor.fetchone()
            return None if row is None else Emergency(*row)

    async def approve(self, tenant: str, name: str, by: str, now: datetime) -> bool:
        """A second person agrees: it begins now; False unless they are another one, and it is neither open nor over."""
        async with connection(self._pool, tenant) as db:
            cursor = await db.execute(
                """UPDATE app_emergency e
                   SET approved_by = %(by)s, approved_at = %(now)s, starts_at = %(now)s, ends_at = %(now)s + e.lasts
                   FROM app_user second
                   WHERE e.tenant = %(tenant)s AND e.id = %(id)s AND e.user_id <> %(by)s
                     AND e.approved_by IS NULL AND e.opened_at IS NULL AND e.ended_at IS NULL AND e.ends_at > %(now)s
                     AND second.tenant = e.tenant AND second.id = %(by)s AND NOT second.disabled""",
                {"by": by, "now": now, "tenant": tenant, "id": name},
            )
            return cursor.rowcount == 1

    async def end(self, tenant: str, name: str, by: str, now: datetime) -> bool:
        """End one before its time, on every node; False when it has ended."""
        async with connection(self._pool, tenant) as db:
            cursor = await db.execute(
                """UPDATE app_emergency SET ended_by = nullif(%s, ''), ended_at = %s
                   WHERE tenant = %s AND id = %s AND ended_at IS NULL RETURNING user_id""",
                (by, now, tenant, name),
            )
            row = await cursor.fetchone()
            if row is None:
                return False
            await db.execute("SELECT pg_notify(%s, %s)", (CHANNEL, row[0]))
            return True

    @asynccontextmanager
    async def due(self, now: datetime) -> AsyncIterator["Due | None"]:
        """One that has to be opened or noted as over, held against other nodes until the block ends; None for none."""
        async with connection(self._pool, EVERY) as db:
            cursor = await db.execute(
                f"""SELECT {_COLUMNS}, NOT u.disabled FROM {_FROM}
                    WHERE e.ended_at IS NULL
                      AND (e.ends_at <= %(now)s OR (e.opened_at IS NULL AND e.starts_at <= %(now)s))
                    ORDER BY e.starts_at, e.id LIMIT 1 FOR UPDATE OF e SKIP LOCKED""",  # noqa: S608
                {"now": now},
            )
            row = await cursor.fetchone()
            if row is None:
                yield None
                return
            due = Due(Emergency(*row[:-1]), row[-1])
            yield due
            if due.opens:
                statement = "UPDATE app_emergency SET opened_at = %(now)s WHERE tenant = %(tenant)s AND id = %(id)s"
            else:
                statement = "UPDATE app_emergency SET ended_at = %(now)s WHERE tenant = %(tenant)s AND id = %(id)s"
            await db.execute(statement, {"now": now, "tenant": due.emergency.tenant, "id": due.emergency.id})
            await db.execute("SELECT pg_notify(%s, %s)", (CHANNEL, due.emergency.user_id))


@dataclass(slots=True)
class Due:
    """One whose moment has come. opens: set to have it opened at the end of the block, otherwise it is over."""

    emergency: Emergency
    account_open: bool
    opens: bool = False
