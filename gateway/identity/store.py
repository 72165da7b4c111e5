"""SQL of gateway.identity: CRM logins, API clients, signing keys. Every query names its tenant.

Any fault of PostgreSQL becomes StoreUnavailable.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from psycopg.errors import UniqueViolation
from psycopg.types.json import Jsonb

from gateway.access.store import connection
from kms.connections import Pool


class NameTaken(Exception):  # noqa: N818 - an outcome the command reports
    """Another API client of the tenant that is not revoked has this name."""

    permanent = True


@dataclass(frozen=True, slots=True)
class LoginRow:
    """Somebody's CRM login. blob: the sealed password or token, None where only the name is known."""

    holder: str
    login: str
    blob: bytes | None = field(repr=False)
    set_at: datetime
    refused_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class ClientRow:
    """One API client, as stored. certificate: SHA-256 of the one it has to show, in hex, or ""."""

    tenant: str
    id: str
    name: str
    roles: tuple[str, ...]
    networks: tuple[str, ...]
    certificate: str
    made_at: datetime
    expires_at: datetime
    revoked_at: datetime | None = None
    last_used_at: datetime | None = None
    last_used_from: str = ""


@dataclass(frozen=True, slots=True)
class KeyRow:
    """One signing key: public half as a JWK, private half sealed."""

    id: str
    algorithm: str
    public: Mapping[str, Any]
    blob: bytes = field(repr=False)
    made_at: datetime


_CLIENT = (
    "tenant, id, name, roles, networks, certificate, made_at, expires_at, revoked_at, last_used_at, last_used_from"
)


class IdentityStore:
    """The tables crm_login, api_client and identity_key."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    # -- CRM logins --------------------------------------------------------------------------------------------

    async def login(self, tenant: str, holder: str) -> LoginRow | None:
        """The CRM login of a user or an API client."""
        async with connection(self._pool, tenant) as db:
            cursor = await db.execute(
                "SELECT holder, login, blob, set_at, refused_at FROM crm_login WHERE tenant = %s AND holder = %s",
                (tenant, holder),
            )
            row = await cursor.fetchone()
            return None if row is None else LoginRow(*row)

    async def keep_login(
        self, tenant: str, holder: str, login: str, blob: bytes | None, set_by: str, now: datetime
    ) -> None:
        """Store a CRM login instead of the one before."""
        async with connection(self._pool, tenant) as db:
            await db.execute(
                """INSERT INTO crm_login (tenant, holder, login, blob, set_by, set_at)
                   VALUES (%s, %s, %s, %s, %s, %s)
                   ON CONFLICT (tenant, holder) DO UPDATE SET login = excluded.login, blob = excluded.blob,
                     set_by = excluded.set_by, set_at = excluded.set_at, refused_at = NULL""",
                (tenant, holder, login, blob, set_by, now),
            )

    async def drop_login(self, tenant: str, holder: str) -> bool:
        """Forget a CRM login; whether there was one."""
        async with connection(self._pool, tenant) as db:
            cursor = await db.execute("DELETE FROM crm_login WHERE tenant = %s AND holder = %s", (tenant, holder))
            return cursor.rowcount > 0

    async def note_refused(self, tenant: str, holder: str, set_at: datetime, at: datetime | None) -> None:
        """The CRM refused the login that was set then, at this time; None: it took it."""
        async with connection(self._pool, tenant) as db:
            await db.execute(
                "UPDATE crm_login SET refused_at = %s WHERE tenant = %s AND holder = %s AND set_at = %s",
                (at, tenant, holder, set_at),
            )

    # -- API clients -------------------------------------------------------------------------------------------

    async def add_client(self, client: ClientRow, token_hash: bytes) -> None:
        """Store a new client; raises NameTaken."""
        try:
            async with connection(self._pool, client.tenant) as db:
                await db.execute(
                    """INSERT INTO api_client
                         (tenant, id, name, token_hash, roles, networks, certificate, made_at, expires_at)
                       VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s)""",
                    (
                        client.tenant,
                        client.id,
                        client.name,
                        token_hash,
                        list(client.roles),
                        list(client.networks),
                        client.certificate,
                        client.made_at,
                        client.expires_at,
                    ),
                )
        except UniqueViolation as fault:
            raise NameTaken from fault

    async def client_by_token(self, tenant: str, token_hash: bytes) -> ClientRow | None:
        """The client of this tenant that has this token, also one that was revoked or has expired."""
        async with connection(self._pool, tenant) as db:
            cursor = await db.execute(
                f"SELECT {_CLIENT} FROM api_client WHERE tenant = %s AND token_hash = %s",  # noqa: S608
                (tenant, token_hash),
            )
            row = await cursor.fetchone()
            return None if row is None else _client(row)

    async def clients(self, tenant: str) -> list[ClientRow]:
        """Every client, the newest first."""
        async with connection(self._pool, tenant) as db:
            cursor = await db.execute(
                f"SELECT {_CLIENT} FROM api_client WHERE tenant = %s ORDER BY made_at DESC, id",  # noqa: S608
                (tenant,),
            )
            return [_client(row) for row in await cursor.fetchall()]

    async def change_client(self, client: ClientRow) -> bool:
        """Set where a client comes from, what it may do and until when; False where it is no longer good."""
        async with connection(self._pool, client.tenant) as db:
            cursor = await db.execute(
                """UPDATE api_client SET roles = %s, networks = %s, certificate = %s, expires_at = %s
                   WHERE tenant = %s AND id = %s AND revoked_at IS NULL""",
                (
                    list(client.roles),
                    list(client.networks),
                    client.certificate,
                    client.expires_at,
                    client.tenant,
                    client.id,
                ),
            )
            return cursor.rowcount > 0

    async def note_used(self, tenant: str, client_id: str, at: datetime, address: str, pause: timedelta) -> None:
        """When and from where a client came in last; nothing where that was written less than `pause` before."""
        async with connection(self._pool, tenant) as db:
            await db.execute(
                """UPDATE api_client SET last_used_at = %(at)s, last_used_from = %(address)s
                   WHERE tenant = %(tenant)s AND id = %(id)s
                     AND (last_used_at IS NULL OR last_used_at <= %(at)s - %(pause)s)""",
                {"at": at, "address": address, "tenant": tenant, "id": client_id, "pause": pause},
            )

    async def revoke_client(self, tenant: str, client_id: str, now: datetime) -> bool:
        """End a client for good; whether it was still good."""
        async with connection(self._pool, tenant) as db:
            cursor = await db.execute(
                "UPDATE api_client SET revoked_at = %s WHERE tenant = %s AND id = %s AND revoked_at IS NULL",
                (now, tenant, client_id),
            )
            await db.execute("DELETE FROM crm_login WHERE tenant = %s AND holder = %s", (tenant, client_id))
            return cursor.rowcount > 0

    # -- signing keys ------------------------------------------------------------------------------------------

    async def keys(self, tenant: str, algorithm: str) -> list[KeyRow]:
        """The signing keys of a tenant, the newest first."""
        async with connection(self._pool, tenant) as db:
            cursor = await db.execute(
                """SELECT id, algorithm, public, blob, made_at FROM identity_key
                   WHERE tenant = %s AND algorithm = %s ORDER BY made_at DESC, id""",
                (tenant, algorithm),
            )
            return [KeyRow(*row) for row in await cursor.fetchall()]

    async def add_key(self, tenant: str, key: KeyRow, newest: str) -> bool:
        """Add a key unless another process has added one since; newest: id of the newest that was seen, or ""."""
        async with connection(self._pool, tenant) as db:
            await db.execute("SELECT pg_advisory_xact_lock(hashtextextended('crmgate identity ' || %s, 0))", (tenant,))
            cursor = await db.execute(
                "SELECT id FROM identity_key WHERE tenant = %s AND algorithm = %s ORDER BY made_at DESC, id LIMIT 1",
                (tenant, key.algorithm),
            )
            row = await cursor.fetchone()
            if (row[0] if row else "") != newest:
                return False
            await db.execute(
                """INSERT INTO identity_key (tenant, id, algorithm, public, blob, made_at)
                   VALUES (%s, %s, %s, %s, %s, %s)""",
                (tenant, key.id, key.algorithm, Jsonb(dict(key.public)), key.blob, key.made_at),
            )
            return True

    async def drop_keys(self, tenant: str, ids: Sequence[str]) -> None:
        """Forget keys that no token which is still good was signed with."""
        async with connection(self._pool, tenant) as db:
            await db.execute("DELETE FROM identity_key WHERE tenant = %s AND id = ANY(%s)", (tenant, list(ids)))


def _client(row: Sequence[Any]) -> ClientRow:
    return ClientRow(row[0], row[1], row[2], tuple(row[3]), tuple(row[4]), *row[5:])
