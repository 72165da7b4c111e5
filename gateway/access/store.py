"""SQL of gateway.access: users, invitations and half-open sign-ins.

Every query names its tenant. What must happen once (a code, an invitation) is one statement, so that
parallel attempts on several nodes cannot both win. Any fault of PostgreSQL becomes StoreUnavailable.
"""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from psycopg import AsyncConnection
from psycopg import Error as PostgresError
from psycopg.errors import UniqueViolation
from psycopg.rows import TupleRow
from psycopg_pool import PoolClosed, PoolTimeout, TooManyRequests

from gateway.access.elsewhere import Elsewhere
from gateway.access.user import AppUser, Factors, login_key
from kms.connections import EVERY, Pool
from kms.store import StoreUnavailable

USER_COLUMNS = """id, tenant, login, display_name, roles || placements, coalesce(crm_user, ''), language, disabled,
    password_hash IS NOT NULL, totp_secret IS NOT NULL, created_at,
    coalesce((SELECT min(substr(link.issuer, 6)) FROM app_account_link AS link
              WHERE link.tenant = app_user.tenant AND link.user_id = app_user.id
                AND starts_with(link.issuer, 'ldap:')), '')"""


@dataclass(frozen=True, slots=True)
class Pending:
    """A half-open sign-in: whose, where to go, and the identity elsewhere that stood in for the password."""

    user_id: str
    next_path: str
    through: Elsewhere | None = None


class LoginTaken(Exception):  # noqa: N818 - an outcome the form reports
    """Another user of the tenant has this login already (compared by login_key)."""

    permanent = True


@asynccontextmanager
async def connection(pool: Pool, tenant: str) -> AsyncIterator[AsyncConnection[Any]]:
    """A transaction that sees the rows of a tenant; any fault of the database becomes StoreUnavailable."""
    try:
        async with pool.of(tenant) as opened:
            yield opened
    except UniqueViolation:
        raise
    except (PostgresError, PoolTimeout, PoolClosed, TooManyRequests, OSError) as fault:
        raise StoreUnavailable from fault


class UserStore:
    """Rows of app_user, app_invitation and app_sign_in."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def insert_user(self, user: AppUser) -> None:
        """Add a user without password or second factor; raises LoginTaken."""
        try:
            async with connection(self._pool, user.tenant) as db:
                await db.execute(
                    """INSERT INTO app_user
                         (tenant, id, login, login_key, display_name, roles, crm_user, language, disabled, created_at)
                       VALUES (%s, %s, %s, %s, %s, %s, nullif(%s, ''), %s, %s, %s)""",
                    (
                        user.tenant,
                        user.id,
                        user.login,
                        login_key(user.login),
                        user.display_name,
                        list(user.roles),
                        user.crm_user,
                        user.language,
                        user.disabled,
                        user.created_at,
                    ),
                )
        except UniqueViolation as fault:
            raise LoginTaken from fault

    async def users(self, tenant: str) -> list[AppUser]:
        """Every user of the tenant, by login."""
        async with connection(self._pool, tenant) as db:
            cursor = await db.execute(
                f"SELECT {USER_COLUMNS} FROM app_user WHERE tenant = %s ORDER BY disabled, login_key",  # noqa: S608
                (tenant,),
            )
            return [_user(row) for row in await cursor.fetchall()]

    async def user(self, tenant: str, user_id: str) -> AppUser | None:
        """One user by id."""
        async with connection(self._pool, tenant) as db:
            cursor = await db.execute(
                f"SELECT {USER_COLUMNS} FROM app_user WHERE tenant = %s AND id = %s",  # noqa: S608
                (tenant, user_id),
            )
            row = await cursor.fetchone()
            return None if row is None else _user(row)

    async def role_sets(self, tenant: str) -> list[tuple[str, ...]]:
        """The different sets of roles, departments and positions that accounts have, closed ones included."""
        async with connection(self._pool, tenant) as db:
            cursor = await db.execute(
                "SELECT DISTINCT roles || placements FROM app_user WHERE tenant = %s ORDER BY 1", (tenant,)
            )
            return [tuple(row[0]) for row in await cursor.fetchall()]

    async def factors(self, tenant: str, *, key: str = "", user_id: str = "") -> Factors | None:
        """User with both stored factors, by login key or by id."""
        async with connection(self._pool, tenant) as db:
            cursor = await db.execute(
                f"""SELECT {USER_COLUMNS}, password_hash, totp_secret, password_changed_at FROM app_user
                    WHERE tenant = %s AND ((login_key = %s AND login_key <> '') OR id = %s)""",  # noqa: S608
                (tenant, key, user_id),
            )
            row = await cursor.fetchone()
            return None if row is None else Factors(_user(row), row[12], row[13], row[14])

    async def update_profile(
        self, user: AppUser, *, display_name: str, roles: Sequence[str], crm_user: str, language: str
    ) -> bool:
        """Set what an administrator may set about a user; False when the rights are not those of `user` any more."""
        async with connection(self._pool, user.tenant) as db:
            cursor = await db.execute(
                """UPDATE app_user SET display_name = %s, roles = %s, crm_user = nullif(%s, ''), language = %s
                   WHERE tenant = %s AND id = %s AND roles = %s::text[] AND coalesce(crm_user, '') = %s""",
                (
                    display_name,
                    list(roles),
                    crm_user,
                    language,
                    user.tenant,
                    user.id,
                    list(user.assigned),
                    user.crm_user,
                ),
            )
            return cursor.rowcount == 1

    async def set_placements(self, user: AppUser, placements: Sequence[str]) -> bool:
        """Set the departments and positions of a user; False when they are not those of `user` any more."""
        async with connection(self._pool, user.tenant) as db:
            cursor = await db.execute(
                """UPDATE app_user SET placements = %s
                   WHERE tenant = %s AND id = %s AND placements = %s::text[]""",
                (list(placements), user.tenant, user.id, list(user.placements)),
            )
            return cursor.rowcount == 1

    async def set_language(self, tenant: str, user_id: str, language: str) -> None:
        """Remember the language the person chose."""
        async with connection(self._pool, tenant) as db:
            await db.execute(
                "UPDATE app_user SET language = %s WHERE tenant = %s AND id = %s", (language, tenant, user_id)
            )

    async def set_disabled(self, tenant: str, user_id: str, *, disabled: bool) -> None:
        """Close or reopen an account."""
        async with connection(self._pool, tenant) as db:
            await db.execute(
                "UPDATE app_user SET disabled = %s WHERE tenant = %s AND id = %s", (disabled, tenant, user_id)
            )

    async def earlier_hashes(self, tenant: str, user_id: str) -> list[str]:
        """Hashes of earlier passwords that are kept, the latest first."""
        async with connection(self._pool, tenant) as db:
            cursor = await db.execute(
                "SELECT password_hash FROM app_password_history WHERE tenant = %s AND user_id = %s ORDER BY seq DESC",
                (tenant, user_id),
            )
            return [row[0] for row in await cursor.fetchall()]

    async def renew_hash(self, tenant: str, user_id: str, before: str, password_hash: str) -> None:
        """The same password, hashed anew; nothing when it was changed since."""
        async with connection(self._pool, tenant) as db:
            await db.execute(
                "UPDATE app_user SET password_hash = %s WHERE tenant = %s AND id = %s AND password_hash = %s",
                (password_hash, tenant, user_id, before),
            )

    async def set_password(self, tenant: str, user_id: str, password_hash: str, now: datetime, *, kept: int) -> None:
        """Store a new password hash. kept: earlier ones that stay."""
        async with connection(self._pool, tenant) as db:
            await _retire(db, tenant, user_id, now, kept)
            await db.execute(
                "UPDATE app_user SET password_hash = %s, password_changed_at = %s WHERE tenant = %s AND id = %s",
                (password_hash, now, tenant, user_id),
            )

    async def set_factors(
        self,
        tenant: str,
        user_id: str,
        *,
        password_hash: str | None,
        totp_secret: bytes,
        last_totp_step: int,
        now: datetime,
        kept: int,
    ) -> None:
        """Store both factors of a user at once; recovery codes and passkeys of before are gone.

        password_hash: None where a directory checks the password.
        """
        async with connection(self._pool, tenant) as db:
            await _retire(db, tenant, user_id, now, kept)
            await _drop_other_factors(db, tenant, user_id)
            await db.execute(
                """UPDATE app_user
                   SET password_hash = %s, totp_secret = %s, last_totp_step = %s, password_changed_at = %s
                   WHERE tenant = %s AND id = %s""",
                (password_hash, totp_secret, last_totp_step, now, tenant, user_id),
            )

    async def clear_factors(self, tenant: str, user_id: str, now: datetime, *, kept: int) -> None:
        """Forget every factor, links to other providers too: only a new invitation lets the person in again.

        A link to the directory that checks the password stays: it opens nothing by itself, and without it the password
        would become crmgate's own. kept: earlier passwords that stay.
        """
        async with connection(self._pool, tenant) as db:
            await _retire(db, tenant, user_id, now, kept)
            await _drop_other_factors(db, tenant, user_id)
            await db.execute(
                """DELETE FROM app_account_link
                   WHERE tenant = %s AND user_id = %s AND NOT starts_with(issuer, 'ldap:')""",
                (tenant, user_id),
            )
            await db.execute(
                "UPDATE app_user SET password_hash = NULL, totp_secret = NULL WHERE tenant = %s AND id = %s",
                (tenant, user_id),
            )

    async def forget_password(self, tenant: str, user_id: str) -> None:
        """Drop crmgate's own password of a user and the earlier ones: a directory checks it from now on."""
        async with connection(self._pool, tenant) as db:
            await db.execute("DELETE FROM app_password_history WHERE tenant = %s AND user_id = %s", (tenant, user_id))
            await db.execute(
                "UPDATE app_user SET password_hash = NULL WHERE tenant = %s AND id = %s", (tenant, user_id)
            )

    async def use_totp_step(self, tenant: str, user_id: str, step: int) -> bool:
        """Take a TOTP step for this sign-in; False when it or a later one was taken before, here or on another node."""
        async with connection(self._pool, tenant) as db:
            cursor = await db.execute(
                """UPDATE app_user SET last_totp_step = %(step)s
                   WHERE tenant = %(tenant)s AND id = %(user)s AND last_totp_step < %(step)s AND NOT disabled""",
                {"step": step, "tenant": tenant, "user": user_id},
            )
            return cursor.rowcount == 1

    # -- half-open sign-ins: the password was right, the code is still missing --

    async def insert_sign_in(
        self,
        tenant: str,
        token_hash: bytes,
        user_id: str,
        audience: str,
        next_path: str,
        now: datetime,
        expires: datetime,
        *,
        renews: bool = False,
        through: Elsewhere | None = None,
    ) -> None:
        """Remember a right password (renews: both factors, of which the password has expired); sweeps what expired.

        through: the identity elsewhere that stood in for the password.
        """
        told = (through.issuer, through.subject, through.session) if through else ("", "", "")
        async with connection(self._pool, tenant) as db:
            await db.execute("DELETE FROM app_sign_in WHERE expires_at < %s", (now,))
            await db.execute(
                """INSERT INTO app_sign_in
                     (tenant, token_hash, user_id, audience, next_path, created_at, expires_at, renews,
                      link_issuer, link_subject, link_session)
                   VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)""",
                (tenant, token_hash, user_id, audience, next_path, now, expires, renews, *told),
            )

    async def attempt_sign_in(
        self, tenant: str, token_hash: bytes, audience: str, now: datetime, max_attempts: int, *, renews: bool = False
    ) -> Pending | None:
        """Count one attempt at its next step; None when expired, unknown, used up, or its link is gone."""
        async with connection(self._pool, tenant) as db:
            cursor = await db.execute(
                """UPDATE app_sign_in s SET attempts = attempts + 1
                   WHERE tenant = %s AND token_hash = %s AND audience = %s AND expires_at > %s AND attempts < %s
                     AND renews = %s
                     AND (link_issuer = '' OR EXISTS (
                       SELECT 1 FROM app_account_link l WHERE l.tenant = s.tenant AND l.user_id = s.user_id
                         AND l.issuer = s.link_issuer AND l.subject = s.link_subject))
                   RETURNING user_id, next_path, link_issuer, link_subject, link_session""",
                (tenant, token_hash, audience, now, max_attempts, renews),
            )
            row = await cursor.fetchone()
            return None if row is None else Pending(row[0], row[1], Elsewhere(*row[2:]) if row[2] else None)

    async def take_sign_in(self, tenant: str, token_hash: bytes) -> bool:
        """End a half-open sign-in; False when another request was faster."""
        async with connection(self._pool, tenant) as db:
            cursor = await db.execute(
                "DELETE FROM app_sign_in WHERE tenant = %s AND token_hash = %s", (tenant, token_hash)
            )
            return cursor.rowcount == 1

    async def drop_sign_ins(self, tenant: str, user_id: str) -> None:
        """End every half-open sign-in of a user."""
        async with connection(self._pool, tenant) as db:
            await db.execute("DELETE FROM app_sign_in WHERE tenant = %s AND user_id = %s", (tenant, user_id))

    # -- invitations --

    async def insert_invitation(
        self,
        tenant: str,
        token_hash: bytes,
        user_id: str,
        totp_secret: bytes,
        invited_by: str,
        now: datetime,
        expires: datetime,
    ) -> None:
        """Store an invitation; an earlier one of the same user stops working."""
        async with connection(self._pool, tenant) as db:
            await db.execute("DELETE FROM app_invitation WHERE tenant = %s AND user_id = %s", (tenant, user_id))
            await db.execute(
                """INSERT INTO app_invitation
                     (tenant, token_hash, user_id, totp_secret, invited_by, created_at, expires_at)
                   VALUES (%s, %s, %s, %s, %s, %s, %s)""",
                (tenant, token_hash, user_id, totp_secret, invited_by, now, expires),
            )

    async def invitation(self, tenant: str, token_hash: bytes, now: datetime) -> tuple[AppUser, bytes] | None:
        """User and sealed second-factor secret of a live invitation."""
        async with connection(self._pool, tenant) as db:
            cursor = await db.execute(
                f"""SELECT {USER_COLUMNS}, invited.secret
                    FROM (SELECT user_id AS invited_id, totp_secret AS secret FROM app_invitation
                          WHERE tenant = %s AND token_hash = %s AND expires_at > %s) AS invited
                    JOIN app_user ON tenant = %s AND id = invited_id
                    WHERE NOT disabled""",  # noqa: S608
                (tenant, token_hash, now, tenant),
            )
            row = await cursor.fetchone()
            return None if row is None else (_user(row[:12]), row[12])

    async def invited(self, tenant: str, now: datetime) -> dict[str, datetime]:
        """User id → expiry of each live invitation."""
        async with connection(self._pool, tenant) as db:
            cursor = await db.execute(
                "SELECT user_id, expires_at FROM app_invitation WHERE tenant = %s AND expires_at > %s", (tenant, now)
            )
            return {row[0]: row[1] for row in await cursor.fetchall()}

    async def take_invitation(self, tenant: str, token_hash: bytes, now: datetime) -> bool:
        """Use up an invitation; False when another request was faster or it expired."""
        async with connection(self._pool, tenant) as db:
            cursor = await db.execute(
                "DELETE FROM app_invitation WHERE tenant = %s AND token_hash = %s AND expires_at > %s",
                (tenant, token_hash, now),
            )
            return cursor.rowcount == 1

    async def sweep(self, now: datetime) -> None:
        """Delete what has expired: half-open sign-ins, invitations."""
        async with connection(self._pool, EVERY) as db:
            await db.execute("DELETE FROM app_sign_in WHERE expires_at < %s", (now,))
            await db.execute("DELETE FROM app_invitation WHERE expires_at < %s", (now,))


async def _retire(db: AsyncConnection[Any], tenant: str, user_id: str, now: datetime, kept: int) -> None:
    """The password in use becomes an earlier one, of which `kept` stay."""
    if kept:
        await db.execute(
            """INSERT INTO app_password_history (tenant, user_id, password_hash, retired_at)
               SELECT tenant, id, password_hash, %s FROM app_user
               WHERE tenant = %s AND id = %s AND password_hash IS NOT NULL""",
            (now, tenant, user_id),
        )
    await db.execute(
        """DELETE FROM app_password_history WHERE tenant = %(tenant)s AND user_id = %(user)s AND seq NOT IN
             (SELECT seq FROM app_password_history WHERE tenant = %(tenant)s AND user_id = %(user)s
              ORDER BY seq DESC LIMIT %(kept)s)""",
        {"tenant": tenant, "user": user_id, "kept": kept},
    )


async def _drop_other_factors(db: AsyncConnection[Any], tenant: str, user_id: str) -> None:
    for table in ("app_recovery", "app_passkey", "app_passkey_challenge"):
        await db.execute(f"DELETE FROM {table} WHERE tenant = %s AND user_id = %s", (tenant, user_id))  # noqa: S608


def _user(row: TupleRow) -> AppUser:
    return AppUser(
        id=row[0],
        tenant=row[1],
        login=row[2],
        display_name=row[3],
        roles=tuple(row[4]),
        crm_user=row[5],
        language=row[6],
        disabled=row[7],
        has_password=row[8],
        has_second_factor=row[9],
        created_at=row[10],
        directory=row[11],
    )
