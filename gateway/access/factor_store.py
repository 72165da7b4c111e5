"""SQL of recovery codes, passkeys and their challenges; users and half-open sign-ins are in store.

What may happen once (a code, a challenge, a step of a counter) is one statement, so that parallel attempts on several
nodes cannot both win. Any fault of PostgreSQL becomes StoreUnavailable.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from psycopg.errors import UniqueViolation

from gateway.access.store import connection
from kms.connections import EVERY, Pool

ENROL = "enrol"
SIGN_IN = "sign-in"
PROVE = "prove"


@dataclass(frozen=True, slots=True)
class RecoveryState:
    """left: unused codes; made_at, used_at: None when there are none, or none was used."""

    left: int
    made_at: datetime | None
    used_at: datetime | None


@dataclass(frozen=True, slots=True)
class PasskeyRow:
    """One passkey as stored. rp_id: the host it works on; sign_count: as last told by the authenticator."""

    id: str
    user_id: str
    rp_id: str
    credential_id: bytes
    public_key: bytes
    sign_count: int
    name: str
    created_at: datetime
    last_used_at: datetime | None


@dataclass(frozen=True, slots=True)
class Challenge:
    """What was asked of an authenticator: whose it is, on which host, and the random bytes."""

    user_id: str
    rp_id: str
    value: bytes


_PASSKEY = "id, user_id, rp_id, credential_id, public_key, sign_count, name, created_at, last_used_at"


class FactorStore:
    """Rows of app_recovery, app_recovery_code, app_passkey and app_passkey_challenge."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    # -- recovery codes --

    async def replace_codes(
        self, tenant: str, user_id: str, salt: bytes, hashes: Sequence[bytes], now: datetime
    ) -> None:
        """Store a set of codes; the one before is gone."""
        async with connection(self._pool, tenant) as db:
            await db.execute(
                """INSERT INTO app_recovery (tenant, user_id, salt, made_at) VALUES (%s, %s, %s, %s)
                   ON CONFLICT (tenant, user_id) DO UPDATE SET salt = EXCLUDED.salt, made_at = EXCLUDED.made_at""",
                (tenant, user_id, salt, now),
            )
            await db.execute("DELETE FROM app_recovery_code WHERE tenant = %s AND user_id = %s", (tenant, user_id))
            await db.execute(
                """INSERT INTO app_recovery_code (tenant, user_id, code_hash)
                   SELECT %s, %s, hash FROM unnest(%s::bytea[]) AS hash""",
                (tenant, user_id, list(hashes)),
            )

    async def recovery_salt(self, tenant: str, user_id: str) -> bytes | None:
        """The salt of a person's set, None without one."""
        async with connection(self._pool, tenant) as db:
            cursor = await db.execute(
                "SELECT salt FROM app_recovery WHERE tenant = %s AND user_id = %s", (tenant, user_id)
            )
            row = await cursor.fetchone()
            return None if row is None else bytes(row[0])

    async def use_code(self, tenant: str, user_id: str, salt: bytes, code_hash: bytes, now: datetime) -> bool:
        """Use up a code of the set with this salt; False when it is none, was used, or the account is closed."""
        async with connection(self._pool, tenant) as db:
            cursor = await db.execute(
                """UPDATE app_recovery_code c SET used_at = %(now)s
                   FROM app_recovery r JOIN app_user u ON u.tenant = r.tenant AND u.id = r.user_id
                   WHERE c.tenant = %(tenant)s AND c.user_id = %(user)s AND c.code_hash = %(hash)s
                     AND c.used_at IS NULL AND r.tenant = c.tenant AND r.user_id = c.user_id AND r.salt = %(salt)s
                     AND NOT u.disabled""",
                {"now": now, "tenant": tenant, "user": user_id, "hash": code_hash, "salt": salt},
            )
            return cursor.rowcount == 1

    async def recovery_state(self, tenant: str, user_id: str) -> RecoveryState:
        """Counts and times of a person's set."""
        async with connection(self._pool, tenant) as db:
            cursor = await db.execute(
                """SELECT count(*) FILTER (WHERE c.used_at IS NULL), max(r.made_at), max(c.used_at)
                   FROM app_recovery r JOIN app_recovery_code c ON c.tenant = r.tenant AND c.user_id = r.user_id
                   WHERE r.tenant = %s AND r.user_id = %s""",
                (tenant, user_id),
            )
            row = await cursor.fetchone()
            return RecoveryState(0, None, None) if row is None else RecoveryState(*row)

    # -- passkeys --

    async def passkeys(self, tenant: str, user_id: str) -> list[PasskeyRow]:
        """A person's passkeys on every host, oldest first."""
        async with connection(self._pool, tenant) as db:
            cursor = await db.execute(
                f"SELECT {_PASSKEY} FROM app_passkey WHERE tenant = %s AND user_id = %s ORDER BY created_at, id",  # noqa: S608
                (tenant, user_id),
            )
            return [PasskeyRow(*row) for row in await cursor.fetchall()]

    async def insert_passkey(self, tenant: str, passkey: PasskeyRow, limit: int) -> bool:
        """Add a passkey; False when this authenticator is enrolled already, or the person has `limit` of them."""
        try:
            async with connection(self._pool, tenant) as db:
                # One person's additions follow each other, so that the limit holds in parallel, too.
                await db.execute(
                    "SELECT 1 FROM app_user WHERE tenant = %s AND id = %s FOR UPDATE", (tenant, passkey.user_id)
                )
                cursor = await db.execute(
                    """INSERT INTO app_passkey
                         (tenant, id, user_id, rp_id, credential_id, public_key, sign_count, name, created_at)
                       SELECT tenant, %(id)s, id, %(rp)s, %(credential)s, %(key)s, %(count)s, %(name)s, %(now)s
                       FROM app_user WHERE tenant = %(tenant)s AND id = %(user)s AND NOT disabled
                         AND totp_secret IS NOT NULL
                         AND (SELECT count(*) FROM app_passkey
                              WHERE tenant = %(tenant)s AND user_id = %(user)s) < %(limit)s""",
                    {
                        "tenant": tenant,
                        "id": passkey.id,
                        "user": passkey.user_id,
                        "rp": passkey.rp_id,
                        "credential": passkey.credential_id,
                        "key": passkey.public_key,
                        "count": passkey.sign_count,
                        "name": passkey.name,
                        "now": passkey.created_at,
                        "limit": limit,
                    },
                )
                return cursor.rowcount == 1
        except UniqueViolation:
            return False

    async def delete_passkey(self, tenant: str, user_id: str, passkey_id: str) -> bool:
        """Remove a passkey unless it is the last second factor; False when there is none or it stays."""
        async with connection(self._pool, tenant) as db:
            # One person's removals follow each other: two last passkeys cannot take each other for the one that stays.
            await db.execute("SELECT 1 FROM app_user WHERE tenant = %s AND id = %s FOR UPDATE", (tenant, user_id))
            cursor = await db.execute(
                """DELETE FROM app_passkey p USING app_user u
                   WHERE p.tenant = %(tenant)s AND p.user_id = %(user)s AND p.id = %(id)s
                     AND u.tenant = p.tenant AND u.id = p.user_id
                     AND (u.totp_secret IS NOT NULL
                          OR EXISTS (SELECT 1 FROM app_passkey o WHERE o.tenant = p.tenant AND o.user_id = p.user_id
                                     AND o.id <> p.id))""",
                {"tenant": tenant, "user": user_id, "id": passkey_id},
            )
            return cursor.rowcount == 1

    async def advance_counter(self, tenant: str, passkey_id: str, sign_count: int, now: datetime) -> bool:
        """Note a use; False when the counter did not grow (one that always says 0 has none)."""
        async with connection(self._pool, tenant) as db:
            cursor = await db.execute(
                """UPDATE app_passkey SET sign_count = %(count)s, last_used_at = %(now)s
                   WHERE tenant = %(tenant)s AND id = %(id)s
                     AND (sign_count < %(count)s OR (sign_count = 0 AND %(count)s = 0))""",
                {"count": sign_count, "now": now, "tenant": tenant, "id": passkey_id},
            )
            return cursor.rowcount == 1

    # -- challenges --

    async def put_challenge(
        self, tenant: str, purpose: str, bound_to: bytes, challenge: Challenge, expires: datetime
    ) -> None:
        """Store what is asked; an earlier challenge of the same sign-in or session stops working."""
        async with connection(self._pool, tenant) as db:
            await db.execute(
                """INSERT INTO app_passkey_challenge (tenant, purpose, bound_to, user_id, rp_id, challenge, expires_at)
                   VALUES (%s, %s, %s, %s, %s, %s, %s)
                   ON CONFLICT (tenant, purpose, bound_to) DO UPDATE SET user_id = EXCLUDED.user_id,
                     rp_id = EXCLUDED.rp_id, challenge = EXCLUDED.challenge, expires_at = EXCLUDED.expires_at""",
                (tenant, purpose, bound_to, challenge.user_id, challenge.rp_id, challenge.value, expires),
            )

    async def take_challenge(self, tenant: str, purpose: str, bound_to: bytes, now: datetime) -> Challenge | None:
        """Use up a challenge; None when it was used, has expired, or never was."""
        async with connection(self._pool, tenant) as db:
            cursor = await db.execute(
                """DELETE FROM app_passkey_challenge
                   WHERE tenant = %s AND purpose = %s AND bound_to = %s AND expires_at > %s
                   RETURNING user_id, rp_id, challenge""",
                (tenant, purpose, bound_to, now),
            )
            row = await cursor.fetchone()
            return None if row is None else Challenge(row[0], row[1], bytes(row[2]))

    async def half_open_passkeys(
        self, tenant: str, token_hash: bytes, audience: str, rp_id: str, now: datetime
    ) -> list[tuple[str, bytes]]:
        """(user id, credential id) of each passkey that could finish a live half-open sign-in on this host."""
        async with connection(self._pool, tenant) as db:
            cursor = await db.execute(
                """SELECT p.user_id, p.credential_id
                   FROM app_sign_in s JOIN app_passkey p ON p.tenant = s.tenant AND p.user_id = s.user_id
                   WHERE s.tenant = %s AND s.token_hash = %s AND s.audience = %s AND s.expires_at > %s
                     AND p.rp_id = %s""",
                (tenant, token_hash, audience, now, rp_id),
            )
            return [(row[0], bytes(row[1])) for row in await cursor.fetchall()]

    async def sweep(self, now: datetime) -> None:
        """Delete challenges that have expired."""
        async with connection(self._pool, EVERY) as db:
            await db.execute("DELETE FROM app_passkey_challenge WHERE expires_at < %s", (now,))
