"""SQL of trips to other providers that are under way, of logouts that were heard, and of sessions those end.

A trip is taken by one statement, so that an answer counts once, also in parallel and on several nodes.
"""

from dataclasses import dataclass
from datetime import datetime

from gateway.access.elsewhere import Elsewhere
from gateway.access.store import connection
from kms.connections import EVERY, Pool

# Of one address at a time: beyond that the oldest are forgotten, so that nobody fills the table.
TRIPS_MOST = 1000


@dataclass(frozen=True, slots=True)
class Trip:
    """Where somebody goes to and why. session_id: of the person who links an identity, "" for a sign-in."""

    audience: str
    provider: str
    next_path: str
    session_id: str = ""


class FederationStore:
    """Rows of app_elsewhere and app_logout_token, and a look at app_session."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def add(
        self, tenant: str, secret_hash: bytes, trip: Trip, client: str, now: datetime, expires: datetime
    ) -> None:
        """Remember a trip that begins."""
        async with connection(self._pool, tenant) as db:
            await db.execute("DELETE FROM app_elsewhere WHERE expires_at <= %s", (now,))
            await db.execute(
                """DELETE FROM app_elsewhere WHERE (tenant, secret_hash) IN (
                     SELECT tenant, secret_hash FROM app_elsewhere WHERE tenant = %s AND client = %s
                     ORDER BY expires_at DESC OFFSET %s)""",
                (tenant, client, TRIPS_MOST - 1),
            )
            await db.execute(
                """INSERT INTO app_elsewhere
                     (tenant, secret_hash, audience, provider, next_path, session_id, client, expires_at)
                   VALUES (%s, %s, %s, %s, %s, %s, %s, %s)""",
                (tenant, secret_hash, trip.audience, trip.provider, trip.next_path, trip.session_id, client, expires),
            )

    async def take(self, tenant: str, secret_hash: bytes, audience: str, provider: str, now: datetime) -> Trip | None:
        """End a trip whose answer came; None when there is none, it took too long, or another answer was faster."""
        async with connection(self._pool, tenant) as db:
            cursor = await db.execute(
                """DELETE FROM app_elsewhere
                   WHERE tenant = %s AND secret_hash = %s AND audience = %s AND provider = %s AND expires_at > %s
                   RETURNING audience, provider, next_path, session_id""",
                (tenant, secret_hash, audience, provider, now),
            )
            row = await cursor.fetchone()
            return None if row is None else Trip(*row)

    async def hear(self, tenant: str, token_hash: bytes, expires: datetime) -> bool:
        """Note a logout token; False when it was heard before."""
        async with connection(self._pool, tenant) as db:
            cursor = await db.execute(
                """INSERT INTO app_logout_token (tenant, token_hash, expires_at) VALUES (%s, %s, %s)
                   ON CONFLICT DO NOTHING""",
                (tenant, token_hash, expires),
            )
            return cursor.rowcount == 1

    async def begun_through(self, tenant: str, ended: Elsewhere) -> list[tuple[str, str]]:
        """Live sessions (id, user id) that began through what a provider says has ended.

        A session id there counts with it only; without one every session of the subject does.
        """
        async with connection(self._pool, tenant) as db:
            cursor = await db.execute(
                """SELECT id, user_id FROM app_session
                   WHERE tenant = %(tenant)s AND link_issuer = %(issuer)s AND ended_at IS NULL
                     AND (%(subject)s = '' OR link_subject = %(subject)s)
                     AND (%(session)s = '' OR link_session = %(session)s)""",
                {"tenant": tenant, "issuer": ended.issuer, "subject": ended.subject, "session": ended.session},
            )
            return [(row[0], row[1]) for row in await cursor.fetchall()]

    async def drop_half_open(self, tenant: str, ended: Elsewhere) -> None:
        """End half-open sign-ins that rest on what has ended."""
        async with connection(self._pool, tenant) as db:
            await db.execute(
                """DELETE FROM app_sign_in
                   WHERE tenant = %(tenant)s AND link_issuer = %(issuer)s
                     AND (%(subject)s = '' OR link_subject = %(subject)s)
                     AND (%(session)s = '' OR link_session = %(session)s)""",
                {"tenant": tenant, "issuer": ended.issuer, "subject": ended.subject, "session": ended.session},
            )

    async def sweep(self, now: datetime) -> None:
        """Delete what has expired."""
        async with connection(self._pool, EVERY) as db:
            await db.execute("DELETE FROM app_elsewhere WHERE expires_at <= %s", (now,))
            await db.execute("DELETE FROM app_logout_token WHERE expires_at <= %s", (now,))
