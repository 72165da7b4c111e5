"""SQL of reviews: since when roles are held, when people were last here, rounds and their items."""

from collections.abc import Sequence
from datetime import datetime

from psycopg.errors import UniqueViolation
from psycopg.rows import TupleRow

from gateway.access.store import connection
from gateway.bundles.bundle import Act
from gateway.reviews.round import Decided, Finding, Item, Round, Sort
from kms.connections import Pool

_ROUND = "number, days, whole, started_by, started_login, started_at, closed_by, closed_login, closed_at, bundle"
_ITEM = """number, kind, user_id, login, role, since, exact, last_used, unused, wording, holders,
    decision, decided_by, decided_login, decided_at, done_at"""


class RoundOpen(Exception):  # noqa: N818 - an outcome the person reads
    """A round of this tenant is open already."""

    permanent = True


class ReviewStore:
    """The tables role_held, review_round and review_item. Any fault of PostgreSQL becomes StoreUnavailable."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def held(self, tenant: str) -> dict[tuple[str, str], tuple[datetime, bool]]:
        """(user, role) → since when, and whether that is known exactly."""
        async with connection(self._pool, tenant) as db:
            cursor = await db.execute(
                "SELECT user_id, role, since, exact FROM role_held WHERE tenant = %s AND until IS NULL", (tenant,)
            )
            return {(row[0], row[1]): (row[2], row[3]) for row in await cursor.fetchall()}

    async def seen(self, tenant: str, since: datetime) -> dict[str, datetime]:
        """User → when a session of theirs was last active, or they last signed in, since then."""
        async with connection(self._pool, tenant) as db:
            cursor = await db.execute(
                """SELECT person, max(at) FROM (
                       SELECT user_id AS person, seen_at AS at FROM app_session WHERE tenant = %(tenant)s
                       UNION ALL
                       SELECT actor, at FROM audit_entry
                       WHERE tenant = %(tenant)s AND at >= %(since)s AND kind = 'sign-in' AND reason = 'signed-in'
                   ) one WHERE at >= %(since)s GROUP BY person""",
                {"tenant": tenant, "since": since},
            )
            return {row[0]: row[1] for row in await cursor.fetchall()}

    async def rounds(self, tenant: str, limit: int = 100) -> Sequence[Round]:
        """The newest rounds first."""
        async with connection(self._pool, tenant) as db:
            cursor = await db.execute(
                f"SELECT {_ROUND} FROM review_round WHERE tenant = %s ORDER BY number DESC LIMIT %s",  # noqa: S608
                (tenant, limit),
            )
            return [_round(row) for row in await cursor.fetchall()]

    async def find(self, tenant: str, number: int) -> Round | None:
        """One round."""
        async with connection(self._pool, tenant) as db:
            cursor = await db.execute(
                f"SELECT {_ROUND} FROM review_round WHERE tenant = %s AND number = %s",  # noqa: S608
                (tenant, number),
            )
            row = await cursor.fetchone()
            return None if row is None else _round(row)

    async def items(self, tenant: str, number: int) -> Sequence[Item]:
        """What a round is about, as it was found."""
        async with connection(self._pool, tenant) as db:
            cursor = await db.execute(
                f"SELECT {_ITEM} FROM review_item WHERE tenant = %s AND round = %s ORDER BY number",  # noqa: S608
                (tenant, number),
            )
            return [_item(row) for row in await cursor.fetchall()]

    async def start(self, tenant: str, days: int, findings: Sequence[Finding], by: Act, *, whole: bool) -> int:
        """Open a round with its items in one transaction; its number. Raises RoundOpen."""
        async with connection(self._pool, tenant) as db:
            await db.execute("SELECT pg_advisory_xact_lock(hashtextextended('crmgate review ' || %s, 0))", (tenant,))
            cursor = await db.execute(
                "SELECT coalesce(max(number), 0) + 1, bool_or(closed_at IS NULL) FROM review_round WHERE tenant = %s",
                (tenant,),
            )
            row = await cursor.fetchone()
            assert row is not None
            if row[1]:
                raise RoundOpen
            try:
                await db.execute(
                    """INSERT INTO review_round (tenant, number, days, whole, started_by, started_login, started_at)
                       VALUES (%s, %s, %s, %s, %s, %s, %s)""",
                    (tenant, row[0], days, whole, by.by, by.login, by.at),
                )
            except UniqueViolation:
                raise RoundOpen from None
            async with db.cursor() as many:
                await many.executemany(
                    """INSERT INTO review_item (tenant, round, number, kind, user_id, login, role, since, exact,
                         last_used, unused, wording, holders)
                       VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)""",
                    [
                        (tenant, row[0], place, one.sort.value, one.user_id, one.login, one.role, one.since, one.exact,
                         one.last_used, one.unused, one.wording, one.holders)
                        for place, one in enumerate(findings, start=1)
                    ],
                )  # fmt: skip
            return int(row[0])

    async def decide(self, tenant: str, number: int, item: int, decision: Decided, by: Act) -> bool:
        """Note a decision; False when the round is closed, the item done or there is none, or it is about oneself."""
        async with connection(self._pool, tenant) as db:
            cursor = await db.execute(
                """UPDATE review_item i SET decision = %s, decided_by = %s, decided_login = %s, decided_at = %s
                   FROM (SELECT tenant, number FROM review_round
                         WHERE tenant = %s AND number = %s AND closed_at IS NULL FOR UPDATE) r
                   WHERE i.tenant = r.tenant AND i.round = r.number AND i.number = %s AND i.done_at IS NULL
                     AND (i.kind <> 'role' OR i.user_id <> %s)""",
                (decision.value, by.by, by.login, by.at, tenant, number, item, by.by),
            )
            return cursor.rowcount == 1

    async def done(self, tenant: str, number: int, items: Sequence[int], at: datetime) -> None:
        """Note that removals were done."""
        async with connection(self._pool, tenant) as db:
            await db.execute(
                """UPDATE review_item SET done_at = %s
                   WHERE tenant = %s AND round = %s AND number = ANY(%s) AND decision = 'remove'""",
                (at, tenant, number, list(items)),
            )

    async def drafted(self, tenant: str, number: int, bundle: int) -> None:
        """Note the draft that a round led to."""
        async with connection(self._pool, tenant) as db:
            await db.execute(
                "UPDATE review_round SET bundle = %s WHERE tenant = %s AND number = %s", (bundle, tenant, number)
            )

    async def close(self, tenant: str, number: int, by: Act) -> bool:
        """Close a round; False when it is closed already."""
        async with connection(self._pool, tenant) as db:
            cursor = await db.execute(
                """UPDATE review_round SET closed_by = %s, closed_login = %s, closed_at = %s
                   WHERE tenant = %s AND number = %s AND closed_at IS NULL""",
                (by.by, by.login, by.at, tenant, number),
            )
            return cursor.rowcount == 1


def _round(row: TupleRow) -> Round:
    return Round(
        number=row[0],
        days=row[1],
        whole=row[2],
        started=Act(row[3], row[4], row[5]),
        closed=None if row[6] is None else Act(row[6], row[7], row[8]),
        bundle=row[9],
    )


def _item(row: TupleRow) -> Item:
    finding = Finding(
        sort=Sort(row[1]),
        user_id=row[2],
        login=row[3],
        role=row[4],
        since=row[5],
        exact=row[6],
        last_used=row[7],
        unused=row[8],
        wording=row[9],
        holders=row[10],
    )
    decided = None if row[12] is None else Act(row[12], row[13], row[14])
    return Item(row[0], finding, None if row[11] is None else Decided(row[11]), decided, row[15])
