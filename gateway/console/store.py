"""SQL of the console: what its pages count over the trail, and the state of the database. Reads only."""

from dataclasses import dataclass
from datetime import datetime

from gateway.access.store import connection
from gateway.database import WALL_BINDS
from kms.connections import NOBODY, Pool


@dataclass(frozen=True, slots=True)
class Minute:
    """Exchanges of one minute: let through and refused."""

    at: datetime
    allowed: int
    refused: int


@dataclass(frozen=True, slots=True)
class DatabaseState:
    """What health says about PostgreSQL. size_bytes: of the whole database; walled: row-level security binds us."""

    version: str
    size_bytes: int
    connections: int
    walled: bool


async def per_minute(pool: Pool, tenant: str, since: datetime) -> list[Minute]:
    """Exchanges per minute since then, by their last decision or outcome; minutes without any are left out.

    An exchange counts as refused when any of its entries has a reason other than `allowed`; counted refusals of nobody
    known are added with the number the entry stands for.
    """
    async with connection(pool, tenant) as db:
        cursor = await db.execute(
            """WITH exchanges AS (
                   SELECT date_trunc('minute', min(at)) AS minute, bool_or(reason NOT IN ('allowed', '')) AS refused,
                          1 AS amount
                   FROM audit_entry
                   WHERE tenant = %(tenant)s AND at >= %(since)s AND kind IN ('decision', 'outcome', 'refusal')
                   GROUP BY exchange
                 UNION ALL
                   SELECT date_trunc('minute', at), true,
                          coalesce((convert_from(body, 'UTF8')::jsonb -> 'fields' ->> 'count')::int, 1)
                   FROM audit_entry
                   WHERE tenant = %(tenant)s AND at >= %(since)s AND kind = 'refusal-count'
               )
               SELECT minute, coalesce(sum(amount) FILTER (WHERE NOT refused), 0),
                      coalesce(sum(amount) FILTER (WHERE refused), 0)
               FROM exchanges GROUP BY minute ORDER BY minute""",
            {"tenant": tenant, "since": since},
        )
        return [Minute(row[0], int(row[1]), int(row[2])) for row in await cursor.fetchall()]


async def database_state(pool: Pool) -> DatabaseState:
    """Version and size of the database; raises StoreUnavailable."""
    async with connection(pool, NOBODY) as db:
        cursor = await db.execute(
            """SELECT current_setting('server_version'), pg_database_size(current_database()),
                      (SELECT count(*) FROM pg_stat_activity WHERE datname = current_database())"""
        )
        row = await cursor.fetchone()
        assert row is not None
        bound = await (await db.execute(WALL_BINDS)).fetchone()
        return DatabaseState(row[0], row[1], row[2], bound == (True,))
