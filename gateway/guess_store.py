"""SQL of gateway.guesses: one count for each person, sort and hour, which all nodes share.

Counting is one statement, so that parallel requests on several nodes are all counted. Any fault of PostgreSQL becomes
StoreUnavailable.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from gateway.access.store import connection
from kms.connections import EVERY, Pool

KEPT = timedelta(days=2)


@dataclass(frozen=True, slots=True)
class Guessing:
    """What one person was told in one hour. sort: "uniqueness" or "search"."""

    actor: str
    sort: str
    hour: datetime
    times: int


@dataclass(frozen=True, slots=True)
class Count:
    """So many more of one sort in one hour."""

    tenant: str
    actor: str
    sort: str
    hour: datetime
    times: int


class GuessStore:
    """The table guess_count."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def add(self, counts: Sequence[Count]) -> list[int]:
        """Count these; how many there are now, in the same order. Negative ones are taken back, never below none."""
        now = []
        async with connection(self._pool, EVERY) as db:
            for one in sorted(enumerate(counts), key=lambda pair: (pair[1].tenant, pair[1].actor, pair[1].sort)):
                number, count = one
                cursor = await db.execute(
                    """INSERT INTO guess_count AS held (tenant, actor, sort, hour, times)
                       VALUES (%(tenant)s, %(actor)s, %(sort)s, %(hour)s, greatest(%(times)s, 0))
                       ON CONFLICT (tenant, actor, sort, hour)
                       DO UPDATE SET times = greatest(held.times + %(times)s, 0)
                       RETURNING times""",
                    {
                        "tenant": count.tenant,
                        "actor": count.actor,
                        "sort": count.sort,
                        "hour": count.hour,
                        "times": count.times,
                    },
                )
                row = await cursor.fetchone()
                assert row is not None
                now.append((number, int(row[0])))
        return [times for _, times in sorted(now)]

    async def most(self, tenant: str, since: datetime) -> list[Guessing]:
        """What was counted since then, the most first."""
        async with connection(self._pool, tenant) as db:
            cursor = await db.execute(
                """SELECT actor, sort, hour, times FROM guess_count
                   WHERE tenant = %s AND hour >= %s ORDER BY times DESC, actor, sort, hour""",
                (tenant, since),
            )
            return [Guessing(*row) for row in await cursor.fetchall()]

    async def sweep(self, now: datetime) -> None:
        """Forget what no page shows any more."""
        async with connection(self._pool, EVERY) as db:
            await db.execute("DELETE FROM guess_count WHERE hour < %s", (now - KEPT,))
