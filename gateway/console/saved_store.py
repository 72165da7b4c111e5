"""Questions to the trail that people keep: their own, and those they share in the tenant."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from psycopg.errors import UniqueViolation

from gateway.access.store import connection
from kms.connections import Pool

LIMIT_EACH = 200
NAME_LIMIT_CHARS = 80


class NameTaken(Exception):  # noqa: N818 - an outcome the form reports
    """This person keeps a question under this name already."""

    permanent = True


class TooManyKept(Exception):  # noqa: N818
    """This person keeps as many questions as they may."""

    permanent = True


@dataclass(frozen=True, slots=True)
class SavedQuestion:
    """question: a query string of the page; owner: account id; shared: whether everybody who may ask sees it."""

    id: str
    owner: str
    owner_login: str
    name: str
    shared: bool
    question: str
    changed_at: datetime


class SavedStore:
    """Rows of audit_saved."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def seen_by(self, tenant: str, user: str) -> Sequence[SavedQuestion]:
        """A person's own and those that are shared, by name."""
        async with connection(self._pool, tenant) as db:
            found = await db.execute(
                "SELECT id, owner, owner_login, name, shared, question, changed_at FROM audit_saved"
                " WHERE tenant = %s AND (owner = %s OR shared) ORDER BY owner <> %s, name, id",
                (tenant, user, user),
            )
            return [SavedQuestion(*row) for row in await found.fetchall()]

    async def find(self, tenant: str, user: str, number: str) -> SavedQuestion | None:
        """One that this person sees."""
        return next((one for one in await self.seen_by(tenant, user) if one.id == number), None)

    async def add(self, tenant: str, saved: SavedQuestion) -> None:
        """Keep one more. Raises: NameTaken, TooManyKept."""
        try:
            async with connection(self._pool, tenant) as db:
                found = await db.execute(
                    "INSERT INTO audit_saved (tenant, id, owner, owner_login, name, shared, question, changed_at)"
                    " SELECT %s, %s, %s, %s, %s, %s, %s, %s"
                    " WHERE (SELECT count(*) FROM audit_saved WHERE tenant = %s AND owner = %s) < %s",
                    (
                        tenant, saved.id, saved.owner, saved.owner_login, saved.name, saved.shared, saved.question,
                        saved.changed_at, tenant, saved.owner, LIMIT_EACH,
                    ),
                )  # fmt: skip
                if found.rowcount != 1:
                    raise TooManyKept
        except UniqueViolation:
            raise NameTaken from None

    async def change(self, tenant: str, saved: SavedQuestion) -> bool:
        """Change name, sharing and question of one's own; whether there was one. Raises: NameTaken."""
        try:
            async with connection(self._pool, tenant) as db:
                found = await db.execute(
                    "UPDATE audit_saved SET name = %s, shared = %s, question = %s, changed_at = %s"
                    " WHERE tenant = %s AND id = %s AND owner = %s",
                    (saved.name, saved.shared, saved.question, saved.changed_at, tenant, saved.id, saved.owner),
                )
                return found.rowcount == 1
        except UniqueViolation:
            raise NameTaken from None

    async def delete(self, tenant: str, owner: str, number: str) -> bool:
        """Delete one's own; whether there was one."""
        async with connection(self._pool, tenant) as db:
            found = await db.execute(
                "DELETE FROM audit_saved WHERE tenant = %s AND owner = %s AND id = %s", (tenant, owner, number)
            )
            return found.rowcount == 1
