"""SQL of the OpenID provider: codes that work once, and the access token each of them gave.

A code and its token are good as long as the gateway session they come from. Any fault becomes StoreUnavailable.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from psycopg.types.json import Jsonb

from gateway.access.store import connection
from kms.connections import EVERY, Pool

_ALIVE = """EXISTS (SELECT 1 FROM app_session s JOIN app_user u ON u.tenant = s.tenant AND u.id = s.user_id
    WHERE s.tenant = oidc_code.tenant AND s.id = oidc_code.session_id AND s.ended_at IS NULL
      AND s.expires_at > %(now)s AND NOT u.disabled)"""


@dataclass(frozen=True, slots=True)
class Grant:
    """What a code stands for. told: names of people at work here and at the CRM, never of customers."""

    client: str
    session_id: str
    told: Mapping[str, Any]


class OidcStore:
    """The table oidc_code."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def add(self, tenant: str, code_hash: bytes, grant: Grant, expires: datetime) -> None:
        """Keep a new code."""
        async with connection(self._pool, tenant) as db:
            await db.execute(
                """INSERT INTO oidc_code (tenant, code_hash, client, session_id, told, expires_at)
                   VALUES (%s, %s, %s, %s, %s, %s)""",
                (tenant, code_hash, grant.client, grant.session_id, Jsonb(dict(grant.told)), expires),
            )

    async def take(self, tenant: str, code_hash: bytes, now: datetime) -> Grant | None:
        """Use a code: of several that try at once one gets it; a second use ends the token that the first got."""
        given = {"tenant": tenant, "code": code_hash, "now": now}
        async with connection(self._pool, tenant) as db:
            cursor = await db.execute(
                f"""UPDATE oidc_code SET used_at = %(now)s
                    WHERE tenant = %(tenant)s AND code_hash = %(code)s AND used_at IS NULL AND expires_at > %(now)s
                      AND {_ALIVE} RETURNING client, session_id, told""",  # noqa: S608
                given,
            )
            row = await cursor.fetchone()
            if row is not None:
                return Grant(*row)
            await db.execute(
                """UPDATE oidc_code SET token_hash = NULL
                   WHERE tenant = %(tenant)s AND code_hash = %(code)s AND used_at IS NOT NULL""",
                given,
            )
            return None

    async def keep_token(self, tenant: str, code_hash: bytes, token_hash: bytes, expires: datetime) -> None:
        """The access token that a used code gives."""
        async with connection(self._pool, tenant) as db:
            await db.execute(
                """UPDATE oidc_code SET token_hash = %s, token_expires = %s
                   WHERE tenant = %s AND code_hash = %s AND used_at IS NOT NULL""",
                (token_hash, expires, tenant, code_hash),
            )

    async def by_token(self, tenant: str, token_hash: bytes, now: datetime) -> Grant | None:
        """What an access token that is still good stands for."""
        async with connection(self._pool, tenant) as db:
            cursor = await db.execute(
                f"""SELECT client, session_id, told FROM oidc_code
                    WHERE tenant = %(tenant)s AND token_hash = %(token)s AND token_expires > %(now)s
                      AND {_ALIVE}""",  # noqa: S608
                {"tenant": tenant, "token": token_hash, "now": now},
            )
            row = await cursor.fetchone()
            return None if row is None else Grant(*row)

    async def sweep(self, now: datetime) -> None:
        """Delete codes that ended a day ago; one of the sweeps of a server."""
        async with connection(self._pool, EVERY) as db:
            await db.execute("DELETE FROM oidc_code WHERE expires_at < %s", (now - timedelta(days=1),))
