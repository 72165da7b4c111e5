"""SQL of resets by two people; that they are two is also a rule of the table."""

from dataclasses import dataclass
from datetime import datetime

from psycopg.errors import UniqueViolation

from gateway.access.store import connection
from kms.connections import Pool


@dataclass(frozen=True, slots=True)
class ResetRow:
    """A reset that waits for a second person."""

    id: str
    user_id: str
    started_by: str
    started_at: datetime
    expires_at: datetime


class ResetStore:
    """Rows of app_factor_reset."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def start(self, tenant: str, reset_id: str, user_id: str, by: str, now: datetime, expires: datetime) -> bool:
        """Note what the first person starts; False when one is open already or it is their own account."""
        try:
            async with connection(self._pool, tenant) as db:
                await db.execute(
                    """DELETE FROM app_factor_reset
                       WHERE tenant = %s AND user_id = %s AND approved_at IS NULL AND expires_at <= %s""",
                    (tenant, user_id, now),
                )
                cursor = await db.execute(
                    """INSERT INTO app_factor_reset (tenant, id, user_id, started_by, started_at, expires_at)
                       SELECT tenant, %(id)s, id, %(by)s, %(now)s, %(expires)s FROM app_user
                       WHERE tenant = %(tenant)s AND id = %(user)s AND id <> %(by)s""",
                    {"id": reset_id, "by": by, "now": now, "expires": expires, "tenant": tenant, "user": user_id},
                )
                return cursor.rowcount == 1
        except UniqueViolation:
            return False

    async def waiting(self, tenant: str, user_id: str, now: datetime) -> ResetRow | None:
        """The reset of an account that waits for a second person."""
        async with connection(self._pool, tenant) as db:
            cursor = await db.execute(
                """SELECT id, user_id, started_by, started_at, expires_at FROM app_factor_reset
                   WHERE tenant = %s AND user_id = %s AND approved_at IS NULL AND expires_at > %s""",
                (tenant, user_id, now),
            )
            row = await cursor.fetchone()
            return None if row is None else ResetRow(*row)

    async def approve(self, tenant: str, reset_id: str, by: str, now: datetime) -> bool:
        """The second person agrees, once; False unless both are different people and neither owns the account.

        Whoever started must still have an open account.
        """
        async with connection(self._pool, tenant) as db:
            cursor = await db.execute(
                """UPDATE app_factor_reset r SET approved_by = %(by)s, approved_at = %(now)s
                   FROM app_user first
                   WHERE r.tenant = %(tenant)s AND r.id = %(id)s AND r.approved_at IS NULL AND r.expires_at > %(now)s
                     AND r.started_by <> %(by)s AND r.user_id <> %(by)s
                     AND first.tenant = r.tenant AND first.id = r.started_by AND NOT first.disabled""",
                {"by": by, "now": now, "tenant": tenant, "id": reset_id},
            )
            return cursor.rowcount == 1

    async def withdraw(self, tenant: str, reset_id: str) -> bool:
        """Take a reset back that was not approved; False when there is none."""
        async with connection(self._pool, tenant) as db:
            cursor = await db.execute(
                "DELETE FROM app_factor_reset WHERE tenant = %s AND id = %s AND approved_at IS NULL",
                (tenant, reset_id),
            )
            return cursor.rowcount == 1
