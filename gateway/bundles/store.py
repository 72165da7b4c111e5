"""SQL of policy bundles. Publishing is one transaction with the NOTIFY that tells every node.

Rows are added and go through their states; a trigger refuses every other change, and a constraint a publisher who is
the drafter. Any fault of PostgreSQL becomes StoreUnavailable.
"""

from collections.abc import Sequence
from datetime import datetime

from psycopg import AsyncConnection
from psycopg.rows import TupleRow

from gateway.access.store import connection
from gateway.bundles.bundle import INSTALLATION, Act, Mark, State, StoredBundle, Wording
from kms.connections import EVERY, Pool

CHANNEL = "crmgate_policy"
_COLUMNS = """tenant, number, state, origin, rows, checks, version, digest, note, restores,
    drafted_by, drafted_login, drafted_at, proposed_by, proposed_login, proposed_at,
    published_by, published_login, published_at, retired_at"""


class BundleStore:
    """The table policy_bundle."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def marks(self) -> dict[str, Mark]:
        """Tenant → the bundle in force."""
        async with connection(self._pool, EVERY) as db:
            cursor = await db.execute("SELECT tenant, number, digest FROM policy_bundle WHERE state = 'published'")
            return {row[0]: Mark(row[1], row[2]) for row in await cursor.fetchall()}

    async def published(self, tenant: str) -> StoredBundle | None:
        """The bundle in force; None when there is none yet."""
        async with connection(self._pool, tenant) as db:
            cursor = await db.execute(
                f"SELECT {_COLUMNS} FROM policy_bundle WHERE tenant = %s AND state = 'published'",  # noqa: S608
                (tenant,),
            )
            row = await cursor.fetchone()
            return None if row is None else _stored(row)

    async def find(self, tenant: str, number: int) -> StoredBundle | None:
        """One bundle."""
        async with connection(self._pool, tenant) as db:
            cursor = await db.execute(
                f"SELECT {_COLUMNS} FROM policy_bundle WHERE tenant = %s AND number = %s",  # noqa: S608
                (tenant, number),
            )
            row = await cursor.fetchone()
            return None if row is None else _stored(row)

    async def every(self, tenant: str, limit: int = 200) -> Sequence[StoredBundle]:
        """The newest bundles, the last one first."""
        async with connection(self._pool, tenant) as db:
            cursor = await db.execute(
                f"SELECT {_COLUMNS} FROM policy_bundle WHERE tenant = %s ORDER BY number DESC LIMIT %s",  # noqa: S608
                (tenant, limit),
            )
            return [_stored(row) for row in await cursor.fetchall()]

    async def draft(self, tenant: str, wording: Wording, by: Act) -> int:
        """Add a draft; its number."""
        async with connection(self._pool, tenant) as db:
            number = await _next(db, tenant)
            await _insert(db, tenant, number, wording, by, state=State.DRAFT, origin="account")
            return number

    async def propose(self, tenant: str, number: int, by: Act) -> bool:
        """Propose a draft; False when it is none any more."""
        async with connection(self._pool, tenant) as db:
            cursor = await db.execute(
                """UPDATE policy_bundle SET state = 'proposed', proposed_by = %s, proposed_login = %s, proposed_at = %s
                   WHERE tenant = %s AND number = %s AND state = 'draft'""",
                (by.by, by.login, by.at, tenant, number),
            )
            return cursor.rowcount == 1

    async def publish(self, tenant: str, number: int, replaces: int | None, by: Act) -> bool:
        """Put a proposed bundle into force in the place of `replaces`; False when either is not what it was."""
        async with connection(self._pool, tenant) as db:
            await _lock(db, tenant)
            if not await _retire(db, tenant, replaces, by.at):
                return False
            cursor = await db.execute(
                """UPDATE policy_bundle
                   SET state = 'published', published_by = %s, published_login = %s, published_at = %s
                   WHERE tenant = %s AND number = %s AND state = 'proposed' AND drafted_by <> %s""",
                (by.by, by.login, by.at, tenant, number, by.by),
            )
            if cursor.rowcount != 1:
                await db.rollback()
                return False
            await db.execute("SELECT pg_notify(%s, %s)", (CHANNEL, tenant))
            return True

    async def install(self, tenant: str, wording: Wording, replaces: int | None, at: datetime) -> int | None:
        """Publish what the file of the settings says; None when another bundle came into force in between."""
        by = Act(INSTALLATION, INSTALLATION, at)
        async with connection(self._pool, tenant) as db:
            await _lock(db, tenant)
            if not await _retire(db, tenant, replaces, at):
                return None
            number = await _next(db, tenant)
            await _insert(db, tenant, number, wording, by, state=State.PUBLISHED, origin=INSTALLATION)
            await db.execute("SELECT pg_notify(%s, %s)", (CHANNEL, tenant))
            return number


async def _lock(db: AsyncConnection[TupleRow], tenant: str) -> None:
    await db.execute("SELECT pg_advisory_xact_lock(hashtextextended('crmgate policy ' || %s, 0))", (tenant,))


async def _next(db: AsyncConnection[TupleRow], tenant: str) -> int:
    await _lock(db, tenant)
    cursor = await db.execute("SELECT coalesce(max(number), 0) + 1 FROM policy_bundle WHERE tenant = %s", (tenant,))
    row = await cursor.fetchone()
    assert row is not None
    return int(row[0])


async def _retire(db: AsyncConnection[TupleRow], tenant: str, expected: int | None, at: datetime) -> bool:
    cursor = await db.execute(
        "SELECT number FROM policy_bundle WHERE tenant = %s AND state = 'published' FOR UPDATE", (tenant,)
    )
    row = await cursor.fetchone()
    if (None if row is None else row[0]) != expected:
        return False
    await db.execute(
        "UPDATE policy_bundle SET state = 'retired', retired_at = %s WHERE tenant = %s AND state = 'published'",
        (at, tenant),
    )
    return True


async def _insert(
    db: AsyncConnection[TupleRow], tenant: str, number: int, wording: Wording, by: Act, *, state: State, origin: str
) -> None:
    published = by if state is State.PUBLISHED else None
    await db.execute(
        """INSERT INTO policy_bundle (tenant, number, state, origin, rows, checks, version, digest, note, restores,
             drafted_by, drafted_login, drafted_at, published_by, published_login, published_at)
           VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)""",
        (
            tenant,
            number,
            state,
            origin,
            wording.rows,
            wording.checks,
            wording.version,
            wording.digest,
            wording.note,
            wording.restores,
            by.by,
            by.login,
            by.at,
            None if published is None else published.by,
            None if published is None else published.login,
            None if published is None else published.at,
        ),
    )


def _stored(row: TupleRow) -> StoredBundle:
    return StoredBundle(
        tenant=row[0],
        number=row[1],
        state=State(row[2]),
        origin=row[3],
        rows=row[4],
        checks=row[5],
        version=row[6],
        digest=row[7],
        note=row[8],
        restores=row[9],
        drafted=Act(row[10], row[11], row[12]),
        proposed=None if row[13] is None else Act(row[13], row[14], row[15]),
        published=None if row[16] is None else Act(row[16], row[17], row[18]),
        retired_at=row[19],
    )
