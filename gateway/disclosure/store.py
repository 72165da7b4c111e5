"""SQL of sittings and of the ledger.

A sitting is one row from the hand-over at the CRM's host to the value: its token changes when it is entered and the row
is gone once a value was opened with it, each in one statement, so that of parallel tries on any nodes one succeeds.
Any fault of PostgreSQL becomes StoreUnavailable.
"""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from gateway.access.store import connection
from kms.connections import EVERY, Pool

PAGE_ROWS = 50
ASKED, SHOWN = "asked", "shown"


@dataclass(frozen=True, slots=True)
class Sitting:
    """Whose sitting it is. handle: what the page has shown masked; expires: of the token it is reached with now."""

    tenant: str
    session_id: str
    user_id: str
    handle: str = dataclasses.field(repr=False)
    expires: datetime


@dataclass(frozen=True, slots=True)
class LedgerRow:
    """One reveal that was asked for. record: by pseudonym, in rows of before by the CRM's key; door: "page" or "api";
    outcome: asked, shown, or why not; reason: sealed.
    """

    id: str
    at: datetime
    actor: str
    login: str
    entity: str
    field: str
    record: str
    kind: str
    door: str
    step_up: bool
    outcome: str
    reason: bytes = dataclasses.field(repr=False)


_COLUMNS = "id, at, actor, login, entity, field, record, kind, door, step_up, outcome, reason"


class SittingStore:
    """The table reveal_sitting."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def insert(self, token_hash: bytes, sitting: Sitting, *, entered: bool) -> None:
        """A new sitting; entered: it was handed over already."""
        async with connection(self._pool, sitting.tenant) as db:
            await db.execute(
                """INSERT INTO reveal_sitting (tenant, token_hash, session_id, user_id, handle, entered, expires_at)
                   VALUES (%s, %s, %s, %s, %s, %s, %s)""",
                (
                    sitting.tenant, token_hash, sitting.session_id, sitting.user_id, sitting.handle, entered,
                    sitting.expires,
                ),
            )  # fmt: skip

    async def enter(
        self, tenant: str, token_hash: bytes, new_hash: bytes, now: datetime, expires: datetime
    ) -> Sitting | None:
        """Use up a hand-over: the sitting goes on under another token; None when there is none to use."""
        async with connection(self._pool, tenant) as db:
            cursor = await db.execute(
                """UPDATE reveal_sitting SET token_hash = %s, entered = true, expires_at = %s
                   WHERE tenant = %s AND token_hash = %s AND NOT entered AND expires_at > %s
                   RETURNING tenant, session_id, user_id, handle, expires_at""",
                (new_hash, expires, tenant, token_hash, now),
            )
            row = await cursor.fetchone()
            return None if row is None else Sitting(*row)

    async def attempt(self, tenant: str, token_hash: bytes, now: datetime, most: int) -> Sitting | None:
        """Count a try with an entered sitting; None when there is none or its tries are used up."""
        async with connection(self._pool, tenant) as db:
            cursor = await db.execute(
                """UPDATE reveal_sitting SET attempts = attempts + 1
                   WHERE tenant = %s AND token_hash = %s AND entered AND expires_at > %s AND attempts < %s
                   RETURNING tenant, session_id, user_id, handle, expires_at""",
                (tenant, token_hash, now, most),
            )
            row = await cursor.fetchone()
            return None if row is None else Sitting(*row)

    async def take(self, tenant: str, token_hash: bytes) -> bool:
        """Use up a sitting; False when another try did."""
        async with connection(self._pool, tenant) as db:
            cursor = await db.execute(
                "DELETE FROM reveal_sitting WHERE tenant = %s AND token_hash = %s", (tenant, token_hash)
            )
            return cursor.rowcount == 1

    async def sweep(self, now: datetime) -> None:
        """Forget what has expired."""
        async with connection(self._pool, EVERY) as db:
            await db.execute("DELETE FROM reveal_sitting WHERE expires_at < %s", (now,))


class LedgerStore:
    """The table reveal_ledger."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def insert(self, tenant: str, row: LedgerRow) -> None:
        """Write down a reveal that is asked for."""
        async with connection(self._pool, tenant) as db:
            await db.execute(
                f"""INSERT INTO reveal_ledger (tenant, {_COLUMNS})
                    VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)""",  # noqa: S608
                (
                    tenant, row.id, row.at, row.actor, row.login, row.entity, row.field, row.record, row.kind, row.door,
                    row.step_up, row.outcome, row.reason,
                ),
            )  # fmt: skip

    async def settle(self, tenant: str, id_: str, outcome: str) -> None:
        """What became of it; only once."""
        async with connection(self._pool, tenant) as db:
            await db.execute(
                "UPDATE reveal_ledger SET outcome = %s WHERE tenant = %s AND id = %s AND outcome = %s",
                (outcome, tenant, id_, ASKED),
            )

    async def page(
        self, tenant: str, *, actor: str = "", records: Sequence[str] = (), before: str = "", most: int = PAGE_ROWS
    ) -> Sequence[LedgerRow]:
        """The newest that match, newest first; records: any of these names; before: id of a row to go on behind."""
        async with connection(self._pool, tenant) as db:
            cursor = await db.execute(
                f"""SELECT {_COLUMNS} FROM reveal_ledger
                    WHERE tenant = %(tenant)s AND (%(actor)s = '' OR actor = %(actor)s)
                      AND (%(records)s::text[] = '{{}}' OR record = ANY(%(records)s::text[]))
                      AND (%(before)s = '' OR (at, id) <
                           (SELECT at, id FROM reveal_ledger WHERE tenant = %(tenant)s AND id = %(before)s))
                    ORDER BY at DESC, id DESC LIMIT %(most)s""",  # noqa: S608
                {"tenant": tenant, "actor": actor, "records": list(records), "before": before, "most": most},
            )
            return [LedgerRow(*row) for row in await cursor.fetchall()]
