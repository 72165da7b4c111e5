"""SQL of links between accounts and identities of other providers.

An identity belongs to one account of a tenant, and an account has one identity of an issuer; the table says so. Taking
a link away ends the half-open sign-ins that rest on it in the same transaction.
"""

from dataclasses import dataclass
from datetime import datetime

from psycopg.errors import UniqueViolation

from gateway.access.elsewhere import DIRECTORY_ISSUER, Elsewhere, LinkTaken
from gateway.access.store import connection
from kms.connections import Pool


@dataclass(frozen=True, slots=True)
class Link:
    """One link of an account, as its owner and administrators see it."""

    user_id: str
    issuer: str
    linked_at: datetime
    last_used_at: datetime | None


class LinkStore:
    """Rows of app_account_link."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def owner(self, tenant: str, identity: Elsewhere) -> str | None:
        """Id of the account that has this identity, compared exactly; None when it is nobody's."""
        if not identity.usable:
            return None
        async with connection(self._pool, tenant) as db:
            cursor = await db.execute(
                "SELECT user_id FROM app_account_link WHERE tenant = %s AND issuer = %s AND subject = %s",
                (tenant, identity.issuer, identity.subject),
            )
            row = await cursor.fetchone()
            return None if row is None else str(row[0])

    async def check_add(self, tenant: str, user_id: str, identity: Elsewhere) -> None:
        """Raise what `add` would raise for it as things stand, and change nothing."""
        owner = await self.owner(tenant, identity)
        taken = any(_same_kind(link.issuer, identity.issuer) for link in await self.links(tenant, user_id))
        if not identity.usable or (owner is not None and owner != user_id) or (owner is None and taken):
            raise LinkTaken

    async def add(self, tenant: str, user_id: str, identity: Elsewhere, now: datetime) -> None:
        """Link an identity to an account; raises LinkTaken, also for an identity that can be none or no such account.

        A link that is there already stays as it is.
        """
        if not identity.usable:
            raise LinkTaken
        if await self.owner(tenant, identity) == user_id:
            return
        try:
            async with connection(self._pool, tenant) as db:
                cursor = await db.execute(
                    """INSERT INTO app_account_link (tenant, issuer, subject, user_id, linked_at)
                       SELECT tenant, %s, %s, id, %s FROM app_user WHERE tenant = %s AND id = %s AND NOT disabled""",
                    (identity.issuer, identity.subject, now, tenant, user_id),
                )
                if cursor.rowcount != 1:
                    raise LinkTaken
        except UniqueViolation as fault:
            raise LinkTaken from fault

    async def note_use(self, tenant: str, identity: Elsewhere, now: datetime) -> None:
        """Write down when somebody last came in by it."""
        async with connection(self._pool, tenant) as db:
            await db.execute(
                "UPDATE app_account_link SET last_used_at = %s WHERE tenant = %s AND issuer = %s AND subject = %s",
                (now, tenant, identity.issuer, identity.subject),
            )

    async def remove(self, tenant: str, user_id: str, issuer: str) -> bool:
        """Take a link away, and with it the half-open sign-ins through it; False when there is none.

        Sessions are the caller's to end.
        """
        async with connection(self._pool, tenant) as db:
            cursor = await db.execute(
                "DELETE FROM app_account_link WHERE tenant = %s AND user_id = %s AND issuer = %s",
                (tenant, user_id, issuer),
            )
            await db.execute(
                "DELETE FROM app_sign_in WHERE tenant = %s AND user_id = %s AND link_issuer = %s",
                (tenant, user_id, issuer),
            )
            return cursor.rowcount == 1

    async def in_directory(self, tenant: str, user_id: str) -> Elsewhere | None:
        """The identity of an account in the directory that checks its password; None unless there is exactly one."""
        async with connection(self._pool, tenant) as db:
            cursor = await db.execute(
                """SELECT issuer, subject FROM app_account_link
                   WHERE tenant = %s AND user_id = %s AND starts_with(issuer, %s)""",
                (tenant, user_id, DIRECTORY_ISSUER),
            )
            rows = await cursor.fetchall()
            return Elsewhere(*rows[0]) if len(rows) == 1 else None

    async def links(self, tenant: str, user_id: str = "") -> list[Link]:
        """Links of one account, or of every account of the tenant."""
        async with connection(self._pool, tenant) as db:
            cursor = await db.execute(
                """SELECT user_id, issuer, linked_at, last_used_at FROM app_account_link
                   WHERE tenant = %(tenant)s AND (%(user)s = '' OR user_id = %(user)s) ORDER BY user_id, issuer""",
                {"tenant": tenant, "user": user_id},
            )
            return [Link(*row) for row in await cursor.fetchall()]


def _same_kind(one: str, other: str) -> bool:
    """Whether an account has room for only one of these: the same issuer, or two directories for one password."""
    return one == other or (one.startswith(DIRECTORY_ISSUER) and other.startswith(DIRECTORY_ISSUER))
