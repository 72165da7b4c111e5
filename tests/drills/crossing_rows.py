"""What the crossing drill tries in the database itself: statements that forgot the tenant, stores asked with its ids.

Every attempt runs in the serving account and names the thief's tenant, as all of crmgate's own work does; one that
changes something is taken back, so that the drill goes on with what was there.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass

import psycopg
from psycopg import sql as statements
from psycopg.conninfo import make_conninfo

from gateway.access.factor_store import FactorStore
from gateway.access.store import UserStore
from gateway.database import EmbeddedPostgres, Pool, open_pool
from gateway.migrations.wall import READ_BY_ALL
from gateway.opening import embedded_folder
from gateway.settings import Settings
from gateway.store import RecordStore
from kms.store import Store
from tests.e2e.database import sql

Told = tuple[str, str, Callable[[], str]]
"""Kind, title, the attempt: what went wrong, "" for nothing."""


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows of the victim, asked for in the name of the thief."""

    settings: Settings
    thief: str
    victim: str

    @property
    def dsn(self) -> str:
        """The serving account's own connection string."""
        return EmbeddedPostgres(embedded_folder(self.settings)).dsn

    def attempts(self) -> Iterator[Told]:
        """Every table that holds something of the victim, then the stores with ids of the victim."""
        for (table,) in sql(
            self.settings,
            "SELECT table_name FROM information_schema.columns WHERE column_name = 'tenant' AND table_schema = 'public'"
            " ORDER BY 1",
        ):
            if self._held(str(table)):
                yield from self._table(str(table))
        yield from self._stores()

    def _held(self, table: str) -> int:
        query = statements.SQL("SELECT count(*) FROM {} WHERE tenant = %s").format(statements.Identifier(table))
        with psycopg.connect(make_conninfo(self.dsn, options="-c crmgate.tenant=*")) as connection:
            found = connection.execute(query, [self.victim]).fetchone()
        return int(found[0]) if found else 0

    def _table(self, table: str) -> Iterator[Told]:
        name = statements.Identifier(table)
        theirs = statements.SQL("tenant = {}").format(statements.Literal(self.victim))
        asked = {
            "update": statements.SQL("UPDATE {} SET tenant = tenant WHERE {}").format(name, theirs),
            "delete": statements.SQL("DELETE FROM {} WHERE {}").format(name, theirs),
            "take over": statements.SQL("UPDATE {} SET tenant = {} WHERE {}").format(
                name, statements.Literal(self.thief), theirs
            ),
        }
        if table not in READ_BY_ALL:
            asked["read"] = statements.SQL("SELECT 1 FROM {} WHERE {}").format(name, theirs)
            asked["read all"] = statements.SQL("SELECT 1 FROM {} WHERE tenant <> {}").format(
                name, statements.Literal(self.thief)
            )
        for title, statement in asked.items():
            yield "row", f"{title} {table}", lambda one=statement: self._reached(one)

    def _reached(self, statement: statements.Composed) -> str:
        with psycopg.connect(make_conninfo(self.dsn, options=f"-c crmgate.tenant={self.thief}")) as connection:
            try:
                number = connection.execute(statement).rowcount
            except psycopg.errors.InsufficientPrivilege:
                number = 0
            finally:
                connection.rollback()
        return f"reached {number} rows of {self.victim}" if number else ""

    def _stores(self) -> Iterator[Told]:
        users = self._ids("SELECT id FROM app_user WHERE tenant = %s")
        surrogates = self._ids("SELECT surrogate FROM vault WHERE tenant = %s LIMIT 12")
        keys = self._ids("SELECT encode(id, 'hex') FROM kms_key WHERE tenant = %s")
        records = self._ids("SELECT DISTINCT record FROM vault_origin WHERE tenant = %s AND record <> '' LIMIT 12")
        thief = self.thief
        for one in users:
            yield self._store("a user", lambda pool, one=one: UserStore(pool).user(thief, one))
            yield self._store("a user's factors", lambda pool, one=one: UserStore(pool).factors(thief, user_id=one))
            yield self._store("passkeys", lambda pool, one=one: FactorStore(pool).passkeys(thief, one))
        for one in surrogates:
            yield self._store("an entry of the vault", lambda pool, one=one: Store(pool).entries(thief, [one]))
            yield self._store("wrapped keys", lambda pool, one=one: Store(pool).wraps(thief, [one], 9))
        for one in keys:
            yield self._store("a key", lambda pool, one=one: Store(pool).keys_by_id(thief, [bytes.fromhex(one)]))
        for one in records:
            place = [("persons.Contact", one), ("contact", one)]
            yield self._store(
                "an owner of a record it has not", lambda pool, place=place: self._owner_of_others(pool, place)
            )

    async def _owner_of_others(self, pool: Pool, place: list[tuple[str, str]]) -> object:
        """Record numbers are the same in both CRMs, so what counts is an owner that is not the thief's own."""
        found = await RecordStore(pool).select(self.thief, place)
        own = self._ids("SELECT DISTINCT owner FROM crm_record WHERE tenant = %s", self.thief)
        return [owner for owner, _ in found.values() if owner not in own]

    def _store(self, title: str, asked: Callable[[Pool], Awaitable[object]]) -> Told:
        return "store", title, lambda: asyncio.run(self._ask(asked))

    async def _ask(self, asked: Callable[[Pool], Awaitable[object]]) -> str:
        pool = await open_pool(self.dsn, max_size=1)
        try:
            found = await asked(pool)
        finally:
            await pool.close()
        return f"found something of {self.victim}" if found and any(_flat(found)) else ""

    def _ids(self, query: str, tenant: str = "") -> list[str]:
        return [str(one) for (one,) in sql(self.settings, query, tenant or self.victim)]


def _flat(found: object) -> Iterator[object]:
    """What an answer holds; {name: []} is an answer without anything in it."""
    if isinstance(found, dict):
        yield from found.values()
    elif isinstance(found, list | tuple | set):
        yield from found
    else:
        yield found
