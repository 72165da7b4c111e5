"""SQL of devices, of the challenges they sign, and of sessions that hang on one.

What may happen once (a challenge, the use of a proof, the first device of an account) is one statement or is done under
a lock, so that parallel tries on several nodes cannot both win. Any fault of PostgreSQL becomes StoreUnavailable.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from psycopg import AsyncConnection

from gateway.access.device import OVERLAP, UNUSED_DAYS, Approval
from gateway.access.session_store import CHANNEL, follow_up
from gateway.access.store import connection
from kms.connections import EVERY, Pool

CHALLENGES_MOST = 20
BY_RULE = "rule"
FIRST = "first"


@dataclass(frozen=True, slots=True)
class DeviceRow:
    """One device of one person at one host. approved_by: a user id, `rule` (nobody has to) or `first`."""

    id: str
    user_id: str
    audience: str
    thumbprint: str
    name: str
    first_seen: datetime
    last_seen: datetime
    approved_at: datetime | None
    approved_by: str
    revoked_at: datetime | None

    @property
    def state(self) -> str:
        """`revoked`, `approved` or `waiting`."""
        if self.revoked_at is not None:
            return "revoked"
        return "waiting" if self.approved_at is None else "approved"


@dataclass(frozen=True, slots=True)
class NewDevice:
    """What a browser showed: its key, under a coarse name."""

    id: str
    user_id: str
    audience: str
    thumbprint: str
    public_key: bytes
    name: str


class DevicesFull(Exception):  # noqa: N818 - an outcome the page explains
    """The account has as many devices as it may have."""

    permanent = True


_COLUMNS = "id, user_id, audience, thumbprint, name, first_seen, last_seen, approved_at, approved_by, revoked_at"


class DeviceStore:
    """Rows of app_device and app_device_challenge, and the device's part of app_session."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def insert_challenge(
        self, tenant: str, session_id: str, challenge: bytes, now: datetime, expires: datetime
    ) -> None:
        """Keep the digest of a challenge for one session; the oldest beyond a few are dropped with the expired ones."""
        async with connection(self._pool, tenant) as db:
            await db.execute(
                """DELETE FROM app_device_challenge WHERE tenant = %(tenant)s AND session_id = %(session)s
                     AND (expires_at <= %(now)s OR challenge IN (
                       SELECT challenge FROM app_device_challenge
                       WHERE tenant = %(tenant)s AND session_id = %(session)s
                       ORDER BY expires_at DESC, challenge OFFSET %(most)s))""",
                {"tenant": tenant, "session": session_id, "now": now, "most": CHALLENGES_MOST - 1},
            )
            await db.execute(
                "INSERT INTO app_device_challenge (tenant, session_id, challenge, expires_at) VALUES (%s, %s, %s, %s)",
                (tenant, session_id, challenge, expires),
            )

    async def take_challenge(self, tenant: str, session_id: str, challenge: bytes, now: datetime) -> bool:
        """Use up a challenge of this session; False when it has none like this."""
        async with connection(self._pool, tenant) as db:
            cursor = await db.execute(
                """DELETE FROM app_device_challenge
                   WHERE tenant = %s AND session_id = %s AND challenge = %s AND expires_at > %s""",
                (tenant, session_id, challenge, now),
            )
            return cursor.rowcount == 1

    async def enrol(
        self, tenant: str, new: NewDevice, now: datetime, most: int, approval: Approval
    ) -> tuple[DeviceRow, bool]:
        """The device of this key for this person, made if it is new (then True); raises DevicesFull."""
        async with connection(self._pool, tenant) as db:
            await db.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 34))", (tenant,))
            cursor = await db.execute(
                f"""UPDATE app_device SET last_seen = greatest(last_seen, %s)
                    WHERE tenant = %s AND user_id = %s AND audience = %s AND thumbprint = %s
                    RETURNING {_COLUMNS}""",  # noqa: S608
                (now, tenant, new.user_id, new.audience, new.thumbprint),
            )
            if (row := await cursor.fetchone()) is not None:
                return DeviceRow(*row), False
            cursor = await db.execute(
                """SELECT count(*) FROM app_device
                   WHERE tenant = %s AND user_id = %s AND revoked_at IS NULL AND last_seen > %s""",
                (tenant, new.user_id, now - timedelta(days=UNUSED_DAYS)),
            )
            counted = await cursor.fetchone()
            if counted is None or counted[0] >= most:
                raise DevicesFull
            by = await _approver(db, tenant, new.user_id, approval)
            cursor = await db.execute(
                f"""INSERT INTO app_device (tenant, id, user_id, audience, thumbprint, public_key, name,
                                            first_seen, last_seen, approved_at, approved_by)
                    VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s) RETURNING {_COLUMNS}""",  # noqa: S608
                (
                    *(tenant, new.id, new.user_id, new.audience, new.thumbprint, new.public_key, new.name),
                    *(now, now, now if by else None, by),
                ),
            )
            made = await cursor.fetchone()
            assert made is not None
            return DeviceRow(*made), True

    async def bind(
        self, session_id: str, presented: bytes, device: str, token: bytes, now: datetime, until: datetime | None,
        fresh_until: datetime | None,
    ) -> bool:  # fmt: skip
        """A proof was right: the session has this device and a new token; False where it has another, or has ended.

        presented: digest of the token that came with it, the session's own or, while it is taken, the one before.
        The token before is taken for a moment more, never longer than its own proof lasted, and not after the first.
        """
        async with connection(self._pool, EVERY) as db:
            cursor = await db.execute(
                """UPDATE app_session SET device_id = %(device)s, token_hash = %(token)s,
                     previous_hash = CASE WHEN device_id = '' THEN NULL ELSE token_hash END,
                     previous_until = least(device_until, %(overlap)s),
                     device_until = %(until)s,
                     device_fresh_until = coalesce(%(fresh)s, device_fresh_until)
                   WHERE id = %(id)s AND ended_at IS NULL AND locked_at IS NULL AND expires_at > %(now)s
                     AND device_id IN ('', %(device)s)
                     AND (token_hash = %(old)s OR (previous_hash = %(old)s AND previous_until > %(now)s))""",
                {
                    "device": device,
                    "token": token,
                    "old": presented,
                    "id": session_id,
                    "now": now,
                    "overlap": now + OVERLAP,
                    "until": until,
                    "fresh": fresh_until,
                },
            )
            await db.execute("SELECT pg_notify(%s, %s)", (CHANNEL, session_id))
            return cursor.rowcount == 1

    async def devices(self, tenant: str, user_id: str) -> list[DeviceRow]:
        """Those of one person, latest used first, the revoked ones behind them."""
        async with connection(self._pool, tenant) as db:
            cursor = await db.execute(
                f"""SELECT {_COLUMNS} FROM app_device WHERE tenant = %s AND user_id = %s
                    ORDER BY revoked_at IS NOT NULL, last_seen DESC, id LIMIT 100""",  # noqa: S608
                (tenant, user_id),
            )
            return [DeviceRow(*row) for row in await cursor.fetchall()]

    async def approve(self, tenant: str, user_id: str, device: str, by: str, now: datetime) -> bool:
        """Let a waiting device of this person in; False where there is none. Every process is told."""
        async with connection(self._pool, tenant) as db:
            cursor = await db.execute(
                """UPDATE app_device SET approved_at = %s, approved_by = %s
                   WHERE tenant = %s AND user_id = %s AND id = %s AND approved_at IS NULL AND revoked_at IS NULL""",
                (now, by, tenant, user_id, device),
            )
            await db.execute("SELECT pg_notify(%s, %s)", (CHANNEL, user_id))
            return cursor.rowcount == 1

    async def revoke(self, tenant: str, user_id: str, device: str, by: str, now: datetime) -> Sequence[str] | None:
        """Shut a device of this person out for good and end its sessions; their ids, None without such one."""
        async with connection(self._pool, tenant) as db:
            cursor = await db.execute(
                """UPDATE app_device SET revoked_at = %s, revoked_by = %s
                   WHERE tenant = %s AND user_id = %s AND id = %s AND revoked_at IS NULL""",
                (now, by, tenant, user_id, device),
            )
            if cursor.rowcount != 1:
                return None
            cursor = await db.execute(
                """UPDATE app_session SET ended_at = %s, ended_reason = 'device-revoked'
                   WHERE tenant = %s AND device_id = %s AND ended_at IS NULL RETURNING id""",
                (now, tenant, device),
            )
            ended = [row[0] for row in await cursor.fetchall()]
            await follow_up(db, ended, now)
            return ended


async def _approver(db: AsyncConnection[Any], tenant: str, user_id: str, approval: Approval) -> str:
    """Who approves a new device at once: the rule, or its being the first there is; "" for nobody."""
    if approval is Approval.NONE:
        return BY_RULE
    cursor = await db.execute(
        """SELECT 1 FROM app_device WHERE tenant = %(tenant)s AND approved_at IS NOT NULL
             AND (user_id = %(user)s OR %(anyone)s) LIMIT 1""",
        {"tenant": tenant, "user": user_id, "anyone": approval is Approval.ADMINISTRATOR},
    )
    return FIRST if await cursor.fetchone() is None else ""
