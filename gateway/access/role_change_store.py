"""SQL of rights that wait for a second person; that there are two, and that they decide once, is in the table, too."""

from dataclasses import dataclass
from datetime import datetime

from psycopg.errors import UniqueViolation
from psycopg.rows import TupleRow

from gateway.access.giving import Rights
from gateway.access.store import connection
from kms.connections import Pool


@dataclass(frozen=True, slots=True)
class RoleChange:
    """Rights that wait. before: what the account had when it was asked for; it has to have just that in the end."""

    tenant: str
    id: str
    user_id: str
    login: str
    before: Rights
    after: Rights
    reason: str
    asked_by: str
    asked_login: str
    asked_at: datetime
    expires_at: datetime


_COLUMNS = """c.tenant, c.id, c.user_id, u.login, c.roles_before, c.placements_before, c.crm_user_before, c.roles,
    c.placements, c.crm_user, c.reason, c.asked_by, a.login, c.asked_at, c.expires_at"""
_FROM = """app_role_change c JOIN app_user u ON u.tenant = c.tenant AND u.id = c.user_id
    JOIN app_user a ON a.tenant = c.tenant AND a.id = c.asked_by"""
_WAITS = "c.approved_at IS NULL AND c.closed_at IS NULL AND c.expires_at > %(now)s"


class RoleChangeStore:
    """Rows of app_role_change."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def ask(self, change: RoleChange) -> bool:
        """Note what somebody asks for; False when something waits for this account already."""
        try:
            async with connection(self._pool, change.tenant) as db:
                await db.execute(
                    """UPDATE app_role_change SET closed_at = expires_at
                       WHERE tenant = %s AND user_id = %s AND approved_at IS NULL AND closed_at IS NULL
                         AND expires_at <= %s""",
                    (change.tenant, change.user_id, change.asked_at),
                )
                await db.execute(
                    """INSERT INTO app_role_change
                         (tenant, id, user_id, roles_before, placements_before, crm_user_before, roles, placements,
                          crm_user, reason, asked_by, asked_at, expires_at)
                       VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)""",
                    (
                        change.tenant,
                        change.id,
                        change.user_id,
                        list(change.before.roles),
                        list(change.before.placements),
                        change.before.crm_user,
                        list(change.after.roles),
                        list(change.after.placements),
                        change.after.crm_user,
                        change.reason,
                        change.asked_by,
                        change.asked_at,
                        change.expires_at,
                    ),
                )
                return True
        except UniqueViolation:
            return False

    async def waiting(self, tenant: str, now: datetime, *, user_id: str | None = None) -> list[RoleChange]:
        """All that waits in a tenant, or for one account; the oldest first."""
        async with connection(self._pool, tenant) as db:
            cursor = await db.execute(
                f"""SELECT {_COLUMNS} FROM {_FROM}
                    WHERE c.tenant = %(tenant)s AND {_WAITS} AND (%(user)s::text IS NULL OR c.user_id = %(user)s)
                    ORDER BY c.asked_at, c.id LIMIT 500""",  # noqa: S608
                {"tenant": tenant, "now": now, "user": user_id},
            )
            return [_change(row) for row in await cursor.fetchall()]

    async def find(self, tenant: str, change_id: str, now: datetime) -> RoleChange | None:
        """One that waits."""
        async with connection(self._pool, tenant) as db:
            cursor = await db.execute(
                f"SELECT {_COLUMNS} FROM {_FROM} WHERE c.tenant = %(tenant)s AND c.id = %(id)s AND {_WAITS}",  # noqa: S608
                {"tenant": tenant, "now": now, "id": change_id},
            )
            row = await cursor.fetchone()
            return None if row is None else _change(row)

    async def approve(self, tenant: str, change_id: str, by: str, now: datetime) -> bool:
        """A second person agrees, and the account has the rights, in one transaction, once.

        False unless all three are different people with open accounts, the account is set up and its rights are still
        what they were when somebody asked.
        """
        async with connection(self._pool, tenant) as db:
            cursor = await db.execute(
                f"""UPDATE app_role_change c SET approved_by = %(by)s, approved_at = %(now)s
                    FROM app_user first, app_user second
                    WHERE c.tenant = %(tenant)s AND c.id = %(id)s AND {_WAITS}
                      AND c.asked_by <> %(by)s AND c.user_id <> %(by)s
                      AND first.tenant = c.tenant AND first.id = c.asked_by AND NOT first.disabled
                      AND second.tenant = c.tenant AND second.id = %(by)s AND NOT second.disabled
                    RETURNING c.user_id""",  # noqa: S608
                {"by": by, "now": now, "tenant": tenant, "id": change_id},
            )
            if await cursor.fetchone() is None:
                return False
            cursor = await db.execute(
                """UPDATE app_user u SET roles = c.roles, placements = c.placements, crm_user = nullif(c.crm_user, '')
                   FROM app_role_change c
                   WHERE c.tenant = %(tenant)s AND c.id = %(id)s AND u.tenant = c.tenant AND u.id = c.user_id
                     AND NOT u.disabled AND u.password_hash IS NOT NULL AND u.totp_secret IS NOT NULL
                     AND coalesce(u.crm_user, '') = c.crm_user_before
                     AND u.roles @> c.roles_before AND u.roles <@ c.roles_before
                     AND u.placements @> c.placements_before AND u.placements <@ c.placements_before""",
                {"tenant": tenant, "id": change_id},
            )
            if cursor.rowcount != 1:
                await db.rollback()
                return False
            return True

    async def close(self, tenant: str, change_id: str, by: str, now: datetime) -> bool:
        """Take one back that waits; False when there is none."""
        async with connection(self._pool, tenant) as db:
            cursor = await db.execute(
                """UPDATE app_role_change SET closed_by = %s, closed_at = %s
                   WHERE tenant = %s AND id = %s AND approved_at IS NULL AND closed_at IS NULL""",
                (by, now, tenant, change_id),
            )
            return cursor.rowcount == 1


def _change(row: TupleRow) -> RoleChange:
    before, after = Rights(tuple(row[4]), tuple(row[5]), row[6]), Rights(tuple(row[7]), tuple(row[8]), row[9])
    return RoleChange(row[0], row[1], row[2], row[3], before, after, *row[10:])
