"""SQL of the blind index: a row of terms for each value, purpose and key, found through one inverted index.

It knows numbers only: no value, no piece of one and no key ever comes here.
"""

from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from typing import Protocol

import psycopg
from psycopg import sql
from psycopg.rows import TupleRow

from kms.index import PURPOSES, VERSION, Alternative, IndexRow

Connection = psycopg.AsyncConnection[TupleRow]


class Connections(Protocol):
    """Where connections come from (kms.store.Store)."""

    def connection(self) -> AbstractAsyncContextManager[Connection]:
        """One connection; raises StoreUnavailable for whatever goes wrong with it."""
        ...


async def add_rows(connection: Connection, tenant: str, rows: Sequence[IndexRow]) -> None:
    """Keep terms; those of another spelling of a value are added to the ones it has."""
    if not rows:
        return
    # Two spellings in one call are two rows of one value; a statement may touch a row once only.
    merged: dict[tuple[str, str, bytes], IndexRow] = {}
    for row in sorted(rows, key=lambda row: (row.surrogate, row.purpose, row.key)):
        place = (row.surrogate, row.purpose, row.key)
        terms = {*merged[place].terms, *row.terms} if place in merged else row.terms
        merged[place] = replace(row, terms=tuple(sorted(terms)))
    ordered = list(merged.values())
    await connection.execute(
        """
        INSERT INTO vault_index AS i (tenant, surrogate, kind, purpose, key, version, terms)
        SELECT %s, w.surrogate, w.kind, w.purpose, w.key, %s, w.terms::bigint[]
        FROM unnest(%s::text[], %s::text[], %s::text[], %s::bytea[], %s::text[])
             AS w (surrogate, kind, purpose, key, terms)
        ON CONFLICT (tenant, surrogate, purpose, key) DO UPDATE
        SET version = excluded.version,
            terms = CASE WHEN i.version = excluded.version
                THEN ARRAY(SELECT DISTINCT one FROM unnest(i.terms || excluded.terms) AS one ORDER BY one)
                ELSE excluded.terms END
        WHERE i.version <> excluded.version OR NOT i.terms @> excluded.terms
        """,
        (
            tenant,
            VERSION,
            [row.surrogate for row in ordered],
            [row.kind for row in ordered],
            [row.purpose for row in ordered],
            [row.key for row in ordered],
            ["{" + ",".join(map(str, row.terms)) + "}" for row in ordered],
        ),
    )


class IndexStore:
    """Asks the index for candidates, and tells what is missing in it."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections

    async def candidates(self, tenant: str, kind: str, asked: Sequence[Alternative], most: int) -> list[str]:
        """Surrogates whose terms meet one of the alternatives, at most `most`; which ones then is undefined."""
        whole: list[sql.Composable] = []
        parameters: list[object] = []
        for alternative in asked:
            each: list[sql.Composable] = []
            for purpose, keys in alternative.items():
                under = sql.SQL(" OR ").join([sql.SQL("terms @> %s::bigint[]")] * len(keys))
                each.append(
                    sql.SQL(
                        "SELECT surrogate FROM vault_index WHERE tenant = %s AND kind = %s AND purpose = %s AND ({})"
                    ).format(under)
                )
                parameters += [tenant, kind, purpose, *map(list, keys)]
            whole.append(sql.SQL("({})").format(sql.SQL(" INTERSECT ").join(each)))
        query = sql.SQL("SELECT surrogate FROM ({}) f LIMIT %s").format(sql.SQL(" UNION ").join(whole))
        async with self._connections.connection() as connection:
            cursor = await connection.execute(query, (*parameters, most))
            return [one for (one,) in await cursor.fetchall()]

    async def unindexed(
        self, tenant: str, keys: Sequence[tuple[str, str, bytes]], after: str, most: int
    ) -> tuple[dict[str, str], str | None]:
        """Of the next `most` entries after `after`: those lacking terms of a purpose, with kinds; and the last of all.

        keys: (kind, purpose, key id), several ids where any of them will do. The last is None where there are no more.
        """
        async with self._connections.connection() as connection:
            cursor = await connection.execute(
                """
                WITH v AS (
                    SELECT surrogate, kind FROM vault WHERE tenant = %s AND surrogate > %s ORDER BY surrogate LIMIT %s
                )
                SELECT v.surrogate, v.kind, (
                    SELECT count(DISTINCT i.purpose) FROM vault_index i
                    JOIN unnest(%s::text[], %s::text[], %s::bytea[]) AS w (kind, purpose, key)
                         ON w.kind = i.kind AND w.purpose = i.purpose AND w.key = i.key
                    WHERE i.tenant = %s AND i.surrogate = v.surrogate AND i.version = %s
                )
                FROM v ORDER BY v.surrogate
                """,
                (
                    tenant,
                    after,
                    most,
                    [kind for kind, _, _ in keys],
                    [purpose for _, purpose, _ in keys],
                    [key for _, _, key in keys],
                    tenant,
                    VERSION,
                ),
            )
            found = await cursor.fetchall()
        missing = {one: kind for one, kind, purposes in found if purposes < len(PURPOSES)}
        return missing, found[-1][0] if found else None

    async def drop_rows(self, tenant: str, key: bytes) -> int:
        """Forget the terms under a key; returns how many rows went."""
        async with self._connections.connection() as connection:
            cursor = await connection.execute("DELETE FROM vault_index WHERE tenant = %s AND key = %s", (tenant, key))
            return cursor.rowcount

    async def empty_rows(self, tenant: str, surrogates: Sequence[str]) -> None:
        """Rows of these entries without a term: they are done and never found."""
        async with self._connections.connection() as connection:
            await connection.execute(
                "UPDATE vault_index SET terms = '{}' WHERE tenant = %s AND surrogate = ANY(%s::text[])",
                (tenant, list(surrogates)),
            )

    async def counts(self, tenant: str) -> dict[bytes, int]:
        """Rows under each key, so that the end of a rotation can be proved."""
        async with self._connections.connection() as connection:
            cursor = await connection.execute(
                "SELECT key, count(*) FROM vault_index WHERE tenant = %s GROUP BY key", (tenant,)
            )
            return {bytes(key): number for key, number in await cursor.fetchall()}

    @asynccontextmanager
    async def adding(self, tenant: str) -> AsyncIterator["Adding"]:
        """One transaction that only adds terms."""
        async with self._connections.connection() as connection:
            yield Adding(connection, tenant)
            await connection.commit()


class Adding:
    """Adds terms in one transaction."""

    def __init__(self, connection: Connection, tenant: str) -> None:
        self._connection = connection
        self._tenant = tenant

    async def rows(self, rows: Sequence[IndexRow]) -> None:
        """Keep these."""
        await add_rows(self._connection, self._tenant, rows)
