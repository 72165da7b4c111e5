"""SQL of sessions and of the CRM tokens bound to them; the rest of gateway.access is in store.

Ending sessions, the NOTIFY that tells the other processes and the end of their CRM tokens are one transaction: no node
can see one without the others. Any fault of PostgreSQL becomes StoreUnavailable.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from psycopg.rows import TupleRow
from psycopg_pool import AsyncConnectionPool

from gateway.access.store import connection

CHANNEL = "crmgate_sessions"


@dataclass(frozen=True, slots=True)
class SessionRow:
    """One session with its user, as stored. crm_user: what the administrator says, else what the CRM login said."""

    tenant: str
    id: str
    user_id: str
    login: str
    display_name: str
    roles: tuple[str, ...]
    language: str
    audience: str
    client: str
    crm_login: str
    crm_user: str
    opened_at: datetime
    seen_at: datetime
    expires_at: datetime


_COLUMNS = """s.tenant, s.id, s.user_id, u.login, u.display_name, u.roles || u.placements, u.language,
    s.audience, s.client, coalesce(s.crm_login, ''), coalesce(u.crm_user, s.crm_user, ''), s.opened_at, s.seen_at, s.expires_at"""
_LIVE = "s.ended_at IS NULL AND NOT u.disabled"


class SessionStore:
    """Rows of app_session and app_crm_token."""

    def __init__(self, pool: AsyncConnectionPool) -> None:
        self._pool = pool

    async def insert(
        self,
        tenant: str,
        session_id: str,
        token_hash: bytes,
        user_id: str,
        audience: str,
        client: str,
        now: datetime,
        expires: datetime,
    ) -> bool:
        """Open a session; False when the user is gone or disabled."""
        async with connection(self._pool) as db:
            cursor = await db.execute(
                """INSERT INTO app_session
                     (tenant, id, token_hash, user_id, audience, client, opened_at, seen_at, expires_at)
                   SELECT tenant, %s, %s, id, %s, %s, %s, %s, %s FROM app_user
                   WHERE tenant = %s AND id = %s AND NOT disabled FOR SHARE""",
                (session_id, token_hash, audience, client, now, now, expires, tenant, user_id),
            )
            return cursor.rowcount == 1

    async def by_token(self, token_hash: bytes) -> SessionRow | None:
        """The live session with this token; its tenant is the caller's to compare."""
        async with connection(self._pool) as db:
            cursor = await db.execute(
                f"""SELECT {_COLUMNS} FROM app_session s JOIN app_user u ON u.tenant = s.tenant AND u.id = s.user_id
                    WHERE s.token_hash = %s AND {_LIVE}""",  # noqa: S608
                (token_hash,),
            )
            row = await cursor.fetchone()
            return None if row is None else _session(row)

    async def live(
        self, tenant: str, now: datetime, idle_since: datetime, user_id: str | None = None
    ) -> list[SessionRow]:
        """Live sessions of the tenant, or of one user; newest activity first."""
        async with connection(self._pool) as db:
            cursor = await db.execute(
                f"""SELECT {_COLUMNS} FROM app_session s JOIN app_user u ON u.tenant = s.tenant AND u.id = s.user_id
                    WHERE s.tenant = %(tenant)s AND s.expires_at > %(now)s AND s.seen_at > %(idle)s AND {_LIVE}
                      AND (%(user)s::text IS NULL OR s.user_id = %(user)s)
                    ORDER BY s.seen_at DESC, s.id LIMIT 500""",  # noqa: S608
                {"tenant": tenant, "now": now, "idle": idle_since, "user": user_id},
            )
            return [_session(row) for row in await cursor.fetchall()]

    async def touch(self, session_id: str, now: datetime) -> None:
        """Record activity; never moves backwards."""
        async with connection(self._pool) as db:
            await db.execute(
                "UPDATE app_session SET seen_at = greatest(seen_at, %s) WHERE id = %s AND ended_at IS NULL",
                (now, session_id),
            )

    async def note_crm_identity(self, session_id: str, crm_login: str, crm_user: str) -> None:
        """Remember as whom this session signed in to the CRM."""
        async with connection(self._pool) as db:
            await db.execute(
                """UPDATE app_session SET crm_login = nullif(%s, ''), crm_user = nullif(%s, '')
                   WHERE id = %s AND ended_at IS NULL""",
                (crm_login, crm_user, session_id),
            )
            await db.execute("SELECT pg_notify(%s, %s)", (CHANNEL, session_id))

    async def end(
        self,
        now: datetime,
        reason: str,
        *,
        session_id: str | None = None,
        user_id: str | None = None,
        keep: str | None = None,
    ) -> list[str]:
        """End one session, or all of a user but `keep`, with their CRM tokens; the ids that were ended."""
        async with connection(self._pool) as db:
            cursor = await db.execute(
                """UPDATE app_session SET ended_at = %(now)s, ended_reason = %(reason)s
                   WHERE ended_at IS NULL AND (id = %(session)s OR user_id = %(user)s)
                     AND id IS DISTINCT FROM %(keep)s
                   RETURNING id""",
                {"now": now, "reason": reason, "session": session_id, "user": user_id, "keep": keep},
            )
            ended = [row[0] for row in await cursor.fetchall()]
            if ended:
                await db.execute(
                    "UPDATE app_crm_token SET ended_at = %s WHERE session_id = ANY(%s) AND ended_at IS NULL",
                    (now, ended),
                )
            for payload in (*ended, *([] if user_id is None else [user_id])):
                await db.execute("SELECT pg_notify(%s, %s)", (CHANNEL, payload))
            return ended

    async def notify(self, payload: str) -> None:
        """Tell every process to forget what it cached about this session or user id."""
        async with connection(self._pool) as db:
            await db.execute("SELECT pg_notify(%s, %s)", (CHANNEL, payload))

    async def claim_crm_token(self, session_id: str, token_hash: str, now: datetime) -> bool:
        """Bind a CRM token to the session it is first seen in; True when it may be used in this session.

        It may be used by other sessions of the same user (another tab, the next sign-in) until it is ended.
        """
        async with connection(self._pool) as db:
            cursor = await db.execute(
                """SELECT 1 FROM app_crm_token t JOIN app_session s ON s.tenant = t.tenant AND s.user_id = t.user_id
                   WHERE t.token_hash = %s AND t.session_id = s.id AND s.id = %s
                     AND t.ended_at IS NULL AND s.ended_at IS NULL AND t.last_seen > %s""",
                (token_hash, session_id, now - timedelta(days=1)),
            )
            if await cursor.fetchone() is not None:  # the usual case writes nothing
                return True
            await db.execute(
                """INSERT INTO app_crm_token (tenant, token_hash, user_id, session_id, first_seen, last_seen)
                   SELECT tenant, %(token)s, user_id, id, %(now)s, %(now)s FROM app_session
                   WHERE id = %(session)s AND ended_at IS NULL
                   ON CONFLICT (tenant, token_hash) DO UPDATE SET
                     last_seen = EXCLUDED.last_seen,
                     session_id = CASE WHEN app_crm_token.user_id = EXCLUDED.user_id
                                       THEN EXCLUDED.session_id ELSE app_crm_token.session_id END
                   WHERE app_crm_token.ended_at IS NULL""",
                {"token": token_hash, "now": now, "session": session_id},
            )
            cursor = await db.execute(
                """SELECT 1 FROM app_crm_token t JOIN app_session s ON s.tenant = t.tenant AND s.user_id = t.user_id
                   WHERE t.token_hash = %s AND t.ended_at IS NULL AND s.id = %s AND s.ended_at IS NULL""",
                (token_hash, session_id),
            )
            return await cursor.fetchone() is not None

    async def end_crm_tokens(self, session_id: str, token_hashes: Sequence[str], now: datetime) -> None:
        """End CRM tokens that a browser presented while signing out, whichever session of the user saw them first."""
        async with connection(self._pool) as db:
            await db.execute(
                """UPDATE app_crm_token t SET ended_at = %s FROM app_session s
                   WHERE s.id = %s AND t.tenant = s.tenant AND t.user_id = s.user_id AND t.token_hash = ANY(%s)
                     AND t.ended_at IS NULL""",
                (now, session_id, list(token_hashes)),
            )

    async def sweep(self, now: datetime) -> None:
        """Delete sessions ended or expired 30 days ago and CRM tokens nobody presented for 400 days."""
        async with connection(self._pool) as db:
            old = now - timedelta(days=30)
            await db.execute("DELETE FROM app_session WHERE expires_at < %s OR ended_at < %s", (old, old))
            await db.execute("DELETE FROM app_crm_token WHERE last_seen < %s", (now - timedelta(days=400),))


def _session(row: TupleRow) -> SessionRow:
    return SessionRow(row[0], row[1], row[2], row[3], row[4], tuple(row[5]), *row[6:])
