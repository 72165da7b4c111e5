"""SQL of sessions and of the CRM tokens bound to them; the rest of gateway.access is in store.

Ending sessions, the NOTIFY that tells the other processes and the end of their CRM tokens are one transaction: no node
can see one without the others. Any fault of PostgreSQL becomes StoreUnavailable.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from psycopg import AsyncConnection
from psycopg.rows import TupleRow

from gateway.access.elsewhere import Elsewhere
from gateway.access.session_rules import Room, SessionsFull, WhenFull
from gateway.access.store import connection
from kms.connections import EVERY, NOBODY, Pool

CHANNEL = "crmgate_sessions"


@dataclass(frozen=True, slots=True)
class SessionRow:
    """One session with its user, as stored. crm_user: what the administrator says, else what the CRM login said.

    proved_at: when a second factor was last verified in it. emergency: id of the emergency role that is among the roles
    now, "" for none. device: what the session hangs on, "" for none; device_approved: whether that may be used;
    device_until: until when its latest proof lasts, for the token the row was found by.
    """

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
    locked_at: datetime | None
    proved_at: datetime
    networks: str
    emergency: str = ""
    device: str = ""
    device_approved: bool = False
    device_until: datetime | None = None
    by_program: bool = False

    @property
    def rights(self) -> tuple[object, ...]:
        """Everything of it that its principal is made of."""
        return (
            self.user_id,
            self.login,
            self.roles,
            self.language,
            self.crm_login,
            self.crm_user,
            self.proved_at,
            self.networks,
            self.emergency,
            self.device,
            self.device_approved,
            self.device_until,
        )


_COLUMNS = """s.tenant, s.id, s.user_id, u.login, u.display_name,
    u.roles || u.placements || CASE WHEN e.role IS NULL OR e.role = ANY(u.roles) THEN '{}' ELSE ARRAY[e.role] END,
    u.language,
    s.audience, s.client, coalesce(s.crm_login, ''), coalesce(u.crm_user, s.crm_user, ''),
    s.opened_at, s.seen_at, s.expires_at, s.locked_at, s.proved_at, u.networks, coalesce(e.id, ''),
    s.device_id, d.approved_at IS NOT NULL AND d.revoked_at IS NULL, s.device_until, s.by_program"""
_FROM = """app_session s JOIN app_user u ON u.tenant = s.tenant AND u.id = s.user_id
    LEFT JOIN app_device d ON d.tenant = s.tenant AND d.user_id = s.user_id AND d.id = s.device_id
    LEFT JOIN app_emergency e ON e.tenant = u.tenant AND e.user_id = u.id AND e.ended_at IS NULL
      AND e.opened_at IS NOT NULL AND e.starts_at <= %(now)s AND e.ends_at > %(now)s"""
_LIVE = "s.ended_at IS NULL AND NOT u.disabled"


class SessionStore:
    """Rows of app_session and app_crm_token."""

    def __init__(self, pool: Pool) -> None:
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
        *,
        room: Room,
        idle_since: datetime,
        through: Elsewhere | None = None,
        by_program: bool = False,
    ) -> list[str] | None:
        """Open a session; the ids of older ones that ended for it, None when the user is gone or disabled.

        idle_since: sessions without activity since then take no room. through: the identity elsewhere it began with;
        None, too, when that is not this account's any more. Raises SessionsFull.
        """
        told = (through.issuer, through.subject, through.session) if through else ("", "", "")
        async with connection(self._pool, tenant) as db:
            # Sign-ins of one account follow each other, so that they cannot all find the last place free.
            cursor = await db.execute(
                "SELECT 1 FROM app_user WHERE tenant = %s AND id = %s AND NOT disabled FOR UPDATE", (tenant, user_id)
            )
            if await cursor.fetchone() is None or not await _linked(db, tenant, user_id, through):
                return None
            ended = await _make_room(db, tenant, user_id, now, idle_since, room)
            await db.execute(
                """INSERT INTO app_session
                     (tenant, id, token_hash, user_id, audience, client, opened_at, seen_at, expires_at, proved_at,
                      link_issuer, link_subject, link_session, by_program)
                   VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)""",
                (
                    tenant,
                    session_id,
                    token_hash,
                    user_id,
                    audience,
                    client,
                    now,
                    now,
                    expires,
                    now,
                    *told,
                    by_program,
                ),
            )
            return ended

    async def by_token(self, token_hash: bytes, now: datetime) -> SessionRow | None:
        """The live session with this token; its tenant is the caller's to compare."""
        async with connection(self._pool, EVERY) as db:
            cursor = await db.execute(
                f"SELECT {_COLUMNS} FROM {_FROM} WHERE s.token_hash = %(token)s AND {_LIVE}",  # noqa: S608
                {"token": token_hash, "now": now},
            )
            row = await cursor.fetchone()
            return None if row is None else _session(row)

    async def by_previous(self, token_hash: bytes, now: datetime) -> SessionRow | None:
        """The live session whose token this was before the last proof of its device, while it is still taken."""
        async with connection(self._pool, EVERY) as db:
            cursor = await db.execute(
                f"""SELECT {_COLUMNS}, s.previous_until FROM {_FROM}
                    WHERE s.previous_hash = %(token)s AND s.previous_until > %(now)s AND {_LIVE}""",  # noqa: S608
                {"token": token_hash, "now": now},
            )
            row = await cursor.fetchone()
            return None if row is None else replace(_session(row[:-1]), device_until=row[-1])

    async def use_device_proof(self, token: bytes, now: datetime) -> bool:
        """Use up the proof that came with this very token; once, however many nodes try. Programs have none to use."""
        async with connection(self._pool, EVERY) as db:
            cursor = await db.execute(
                """UPDATE app_session SET device_fresh_until = NULL
                   WHERE token_hash = %s AND (by_program OR device_fresh_until > %s) AND ended_at IS NULL""",
                (token, now),
            )
            return cursor.rowcount == 1

    async def by_ids(self, session_ids: Sequence[str], now: datetime) -> dict[str, tuple[bytes, SessionRow]]:
        """Those of these sessions that are live, each with the digest of its token, in one statement."""
        async with connection(self._pool, EVERY) as db:
            cursor = await db.execute(
                f"""SELECT s.token_hash, {_COLUMNS}
                    FROM {_FROM} WHERE s.id = ANY(%(ids)s) AND {_LIVE}""",  # noqa: S608
                {"ids": list(session_ids), "now": now},
            )
            rows = [(bytes(row[0]), _session(row[1:])) for row in await cursor.fetchall()]
            return {row.id: (token_hash, row) for token_hash, row in rows}

    async def lock(self, session_id: str, now: datetime) -> bool:
        """Lock a live session; whether it was open. Every process is told."""
        async with connection(self._pool, EVERY) as db:
            cursor = await db.execute(
                "UPDATE app_session SET locked_at = %s WHERE id = %s AND ended_at IS NULL AND locked_at IS NULL",
                (now, session_id),
            )
            await db.execute("SELECT pg_notify(%s, %s)", (CHANNEL, session_id))
            return cursor.rowcount == 1

    async def renew(
        self, session_id: str, token_hash: bytes, new_hash: bytes, now: datetime, idle_since: datetime
    ) -> bool:
        """After a factor was proved: new token, open, proof of now; False when it ended or has another token by now."""
        async with connection(self._pool, EVERY) as db:
            cursor = await db.execute(
                f"""UPDATE app_session s SET token_hash = %(new)s, locked_at = NULL, proved_at = %(now)s,
                      previous_hash = NULL, device_fresh_until = NULL,
                      seen_at = greatest(s.seen_at, %(now)s)
                    FROM app_user u
                    WHERE s.id = %(id)s AND s.token_hash = %(old)s AND u.tenant = s.tenant AND u.id = s.user_id
                      AND {_LIVE} AND s.expires_at > %(now)s AND s.seen_at > %(idle)s""",  # noqa: S608
                {"new": new_hash, "old": token_hash, "id": session_id, "now": now, "idle": idle_since},
            )
            await db.execute("SELECT pg_notify(%s, %s)", (CHANNEL, session_id))
            return cursor.rowcount == 1

    async def live(
        self, tenant: str, now: datetime, idle_since: datetime, user_id: str | None = None
    ) -> list[SessionRow]:
        """Live sessions of the tenant, or of one user; newest activity first."""
        async with connection(self._pool, tenant) as db:
            cursor = await db.execute(
                f"""SELECT {_COLUMNS} FROM {_FROM}
                    WHERE s.tenant = %(tenant)s AND s.expires_at > %(now)s AND s.seen_at > %(idle)s AND {_LIVE}
                      AND (%(user)s::text IS NULL OR s.user_id = %(user)s)
                    ORDER BY s.seen_at DESC, s.id LIMIT 500""",  # noqa: S608
                {"tenant": tenant, "now": now, "idle": idle_since, "user": user_id},
            )
            return [_session(row) for row in await cursor.fetchall()]

    async def touch(self, session_id: str, now: datetime) -> None:
        """Record activity; never moves backwards."""
        async with connection(self._pool, EVERY) as db:
            await db.execute(
                "UPDATE app_session SET seen_at = greatest(seen_at, %s) WHERE id = %s AND ended_at IS NULL",
                (now, session_id),
            )

    async def note_crm_identity(self, session_id: str, crm_login: str, crm_user: str) -> None:
        """Remember as whom this session signed in to the CRM."""
        async with connection(self._pool, EVERY) as db:
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
        async with connection(self._pool, EVERY) as db:
            cursor = await db.execute(
                """UPDATE app_session SET ended_at = %(now)s, ended_reason = %(reason)s
                   WHERE ended_at IS NULL AND (id = %(session)s OR user_id = %(user)s)
                     AND id IS DISTINCT FROM %(keep)s
                   RETURNING id""",
                {"now": now, "reason": reason, "session": session_id, "user": user_id, "keep": keep},
            )
            ended = [row[0] for row in await cursor.fetchall()]
            await follow_up(db, ended, now)
            if user_id is not None:
                await db.execute("SELECT pg_notify(%s, %s)", (CHANNEL, user_id))
            return ended

    async def notify(self, payload: str) -> None:
        """Tell every process to forget what it cached about this session or user id."""
        async with connection(self._pool, NOBODY) as db:
            await db.execute("SELECT pg_notify(%s, %s)", (CHANNEL, payload))

    async def claim_crm_token(self, session_id: str, token_hash: str, now: datetime) -> bool:
        """Bind a CRM token to the session it is first seen in; True when it may be used in this session.

        It may be used by other sessions of the same user (another tab, the next sign-in) until it is ended.
        """
        async with connection(self._pool, EVERY) as db:
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

    async def live_crm_tokens(self, pairs: Sequence[tuple[str, str]], now: datetime) -> set[tuple[str, str]]:
        """Those of these (CRM token, session id) that may be used; one not noted for a day has to be claimed anew."""
        async with connection(self._pool, EVERY) as db:
            cursor = await db.execute(
                """SELECT asked.token, asked.session
                   FROM unnest(%s::text[], %s::text[]) AS asked (token, session)
                   JOIN app_session s ON s.id = asked.session
                   JOIN app_crm_token t ON t.tenant = s.tenant AND t.token_hash = asked.token AND t.user_id = s.user_id
                   WHERE t.ended_at IS NULL AND s.ended_at IS NULL AND t.last_seen > %s""",
                ([token for token, _ in pairs], [session for _, session in pairs], now - timedelta(days=1)),
            )
            return {(row[0], row[1]) for row in await cursor.fetchall()}

    async def end_crm_tokens(self, session_id: str, token_hashes: Sequence[str], now: datetime) -> None:
        """End CRM tokens that a browser presented while signing out, whichever session of the user saw them first."""
        async with connection(self._pool, EVERY) as db:
            await db.execute(
                """UPDATE app_crm_token t SET ended_at = %s FROM app_session s
                   WHERE s.id = %s AND t.tenant = s.tenant AND t.user_id = s.user_id AND t.token_hash = ANY(%s)
                     AND t.ended_at IS NULL""",
                (now, session_id, list(token_hashes)),
            )

    async def sweep(self, now: datetime) -> None:
        """Delete sessions ended or expired 30 days ago and CRM tokens nobody presented for 400 days."""
        async with connection(self._pool, EVERY) as db:
            old = now - timedelta(days=30)
            await db.execute("DELETE FROM app_session WHERE expires_at < %s OR ended_at < %s", (old, old))
            await db.execute("DELETE FROM app_crm_token WHERE last_seen < %s", (now - timedelta(days=400),))


async def _linked(db: AsyncConnection[Any], tenant: str, user_id: str, through: Elsewhere | None) -> bool:
    """Whether an identity elsewhere is still this account's; nothing to ask where there is none."""
    if through is None:
        return True
    cursor = await db.execute(
        """SELECT 1 FROM app_account_link WHERE tenant = %s AND user_id = %s AND issuer = %s AND subject = %s
           FOR SHARE""",
        (tenant, user_id, through.issuer, through.subject),
    )
    return await cursor.fetchone() is not None


async def _make_room(
    db: AsyncConnection[Any], tenant: str, user_id: str, now: datetime, idle_since: datetime, room: Room
) -> list[str]:
    """End the oldest sessions beyond what leaves room for one more; raises SessionsFull where that is the rule."""
    cursor = await db.execute(
        """SELECT id FROM app_session
           WHERE tenant = %s AND user_id = %s AND ended_at IS NULL AND expires_at > %s AND seen_at >= %s
           ORDER BY opened_at DESC, id OFFSET %s""",
        (tenant, user_id, now, idle_since, room.most - 1),
    )
    over = [row[0] for row in await cursor.fetchall()]
    if over and room.when_full is WhenFull.REFUSE:
        raise SessionsFull
    if over:
        await db.execute(
            "UPDATE app_session SET ended_at = %s, ended_reason = 'too-many' WHERE id = ANY(%s) AND ended_at IS NULL",
            (now, over),
        )
        await follow_up(db, over, now)
    return over


async def follow_up(db: AsyncConnection[Any], ended: Sequence[str], now: datetime) -> None:
    """What belongs to the end of sessions: their CRM tokens end, and every process is told."""
    if ended:
        await db.execute(
            "UPDATE app_crm_token SET ended_at = %s WHERE session_id = ANY(%s) AND ended_at IS NULL",
            (now, list(ended)),
        )
        await db.execute("SELECT pg_notify(%s, id) FROM unnest(%s::text[]) AS id", (CHANNEL, list(ended)))


def _session(row: TupleRow) -> SessionRow:
    return SessionRow(row[0], row[1], row[2], row[3], row[4], tuple(row[5]), *row[6:])
