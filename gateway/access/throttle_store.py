"""SQL of the throttle: attempts that are counted, and from where people signed in before.

A counted attempt is one statement, so that parallel attempts on several nodes cannot both be the last that is free. Any
fault of PostgreSQL becomes StoreUnavailable.
"""

from collections.abc import Collection
from datetime import datetime, timedelta

from gateway.access.store import connection
from gateway.access.throttle import Brake
from kms.connections import EVERY, Pool


class ThrottleStore:
    """Rows of app_throttle and app_known_source."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def count_attempt(self, tenant: str, brake: Brake, key: bytes, now: datetime) -> timedelta | None:
        """Count an attempt before it is verified; the remaining wait when the brake is on (then nothing is counted)."""
        async with connection(self._pool, tenant) as db:
            cursor = await db.execute(
                """INSERT INTO app_throttle AS t (tenant, dimension, key, failures, last_at, blocked_until)
                   VALUES (%(tenant)s, %(dimension)s, %(key)s, 1, %(now)s, %(now)s)
                   ON CONFLICT (tenant, dimension, key) DO UPDATE SET
                     failures = CASE WHEN t.last_at < %(forget)s THEN 1 ELSE t.failures + 1 END,
                     last_at = %(now)s,
                     blocked_until = %(now)s + make_interval(secs => CASE
                       WHEN t.last_at < %(forget)s OR t.failures < %(free)s THEN 0
                       ELSE least(%(max)s, %(base)s * power(2, least(t.failures - %(free)s, 30))) END)
                   WHERE t.blocked_until <= %(now)s
                   RETURNING failures""",
                {
                    "tenant": tenant,
                    "dimension": brake.dimension,
                    "key": key,
                    "now": now,
                    "forget": now - timedelta(seconds=brake.window_s),
                    "free": brake.free,
                    "base": brake.base_s,
                    "max": brake.max_s,
                },
            )
            if await cursor.fetchone() is not None:
                return None
            cursor = await db.execute(
                "SELECT blocked_until FROM app_throttle WHERE tenant = %s AND dimension = %s AND key = %s",
                (tenant, brake.dimension, key),
            )
            row = await cursor.fetchone()
            return timedelta(seconds=1) if row is None else max(row[0] - now, timedelta(seconds=1))

    async def forgive(
        self, tenant: str, clear: tuple[str, bytes], give_back: Collection[tuple[str, bytes]], counted: int
    ) -> None:
        """After a full sign-in: forget one dimension, take what it counted back from the others."""
        async with connection(self._pool, tenant) as db:
            await db.execute(
                "DELETE FROM app_throttle WHERE tenant = %s AND dimension = %s AND key = %s", (tenant, *clear)
            )
            for dimension, key in give_back:
                await db.execute(
                    """UPDATE app_throttle SET failures = greatest(failures - %s, 0)
                       WHERE tenant = %s AND dimension = %s AND key = %s""",
                    (counted, tenant, dimension, key),
                )

    async def know_source(self, tenant: str, user_id: str, source: str, now: datetime) -> None:
        """Remember that the user signed in from this source."""
        async with connection(self._pool, tenant) as db:
            await db.execute(
                """INSERT INTO app_known_source (tenant, user_id, source, last_at) VALUES (%s, %s, %s, %s)
                   ON CONFLICT (tenant, user_id, source) DO UPDATE SET last_at = EXCLUDED.last_at""",
                (tenant, user_id, source, now),
            )

    async def source_known(self, tenant: str, key: str, source: str, since: datetime) -> bool:
        """Whether the user with this login key signed in from this source since then."""
        async with connection(self._pool, tenant) as db:
            cursor = await db.execute(
                """SELECT 1 FROM app_known_source k JOIN app_user u ON u.tenant = k.tenant AND u.id = k.user_id
                   WHERE k.tenant = %s AND u.login_key = %s AND k.source = %s AND k.last_at > %s""",
                (tenant, key, source, since),
            )
            return await cursor.fetchone() is not None

    async def sweep(self, now: datetime) -> None:
        """Delete what has expired: old counts and sources."""
        async with connection(self._pool, EVERY) as db:
            await db.execute("DELETE FROM app_throttle WHERE last_at < %s", (now - timedelta(days=2),))
            await db.execute("DELETE FROM app_known_source WHERE last_at < %s", (now - timedelta(days=400),))
