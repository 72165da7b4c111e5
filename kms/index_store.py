"""SQL of the blind index: a row of terms for each value, purpose and key, found through one inverted index.

It knows numbers only: no value, no piece of one and no key ever comes here.
"""

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, replace
from typing import Protocol

import psycopg
from psycopg import sql
from psycopg.rows import TupleRow

from kms.index import PURPOSES, VERSION, Alternative, IndexRow

Connection = psycopg.AsyncConnection[TupleRow]


class Connections(Protocol):
    """Where connections come from (kms.store.Store)."""

    def connection(self, tenant: str) -> AbstractAsyncContextManager[Connection]:
        """One transaction that sees the rows of a tenant; raises StoreUnavailable for whatever goes wrong with it."""
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


async def drop_other_rows(
    connection: Connection, tenant: str, purpose: str, surrogates: Sequence[str], key: bytes
) -> None:
    """Forget the terms of these entries for a purpose under every other key than this one."""
    await connection.execute(
        "DELETE FROM vault_index WHERE tenant = %s AND surrogate = ANY(%s::text[]) AND purpose = %s AND key <> %s",
        (tenant, list(surrogates), purpose, key),
    )


async def forget_keys(connection: Connection, tenant: str, keys: Sequence[bytes] | None) -> None:
    """Rows under these keys, and rows of values sealed under them, keep no term; None: all of a tenant."""
    chosen = None if keys is None else list(keys)
    await connection.execute(
        """
        UPDATE vault_index i SET terms = '{}' WHERE i.tenant = %s AND i.terms <> '{}' AND (
            %s::bytea[] IS NULL OR i.key = ANY(%s::bytea[]) OR EXISTS (
                SELECT 1 FROM vault v WHERE v.tenant = i.tenant AND v.surrogate = i.surrogate
                AND substring(v.blob FROM 2 FOR 4) = ANY(%s::bytea[])))
        """,
        (tenant, chosen, chosen, chosen),
    )


@dataclass(frozen=True, slots=True)
class IndexPage:
    """Some entries of a kind in the order of their surrogates. seen: how many; last: of them all, None for the end.

    old: those with terms under another key than the current one, or with none under that.
    """

    seen: int
    last: str | None
    old: list[str]


class IndexStore:
    """Asks the index for candidates, and tells what is missing in it."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections

    async def candidates(
        self, tenant: str, kind: str, asked: Sequence[Alternative], most: int
    ) -> tuple[list[str], set[bytes]]:
        """Surrogates whose terms meet one of the alternatives, at most `most` (which ones then is undefined).

        With them the keys of these purposes that are live at that very moment: whoever did not ask for the terms of
        one of them has to ask again.
        """
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
        # One statement, so that keys and terms are those of one moment.
        query = sql.SQL(
            "SELECT k.id, f.surrogate FROM (SELECT array_agg(id) AS id FROM kms_key WHERE tenant = %s AND scope = %s"
            " AND purpose = ANY(%s::text[]) AND state IN ('current', 'live') AND destroyed_at IS NULL) k"
            " LEFT JOIN (SELECT surrogate FROM ({}) u LIMIT %s) f ON true"
        ).format(sql.SQL(" UNION ").join(whole))
        purposes = sorted({purpose for alternative in asked for purpose in alternative})
        async with self._connections.connection(tenant) as connection:
            cursor = await connection.execute(query, (tenant, kind, purposes, *parameters, most))
            rows = await cursor.fetchall()
            live = {bytes(one) for one in rows[0][0] or ()}
            return [one for _, one in rows if one is not None], live

    async def unindexed(
        self, tenant: str, keys: Sequence[tuple[str, str, bytes]], after: str, most: int
    ) -> tuple[dict[str, str], str | None]:
        """Of the next `most` entries after `after`: those lacking terms of a purpose, with kinds; and the last of all.

        keys: (kind, purpose, key id), several ids where any of them will do. The last is None where there are no more.
        """
        async with self._connections.connection(tenant) as connection:
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

    async def page(self, tenant: str, kind: str, purpose: str, key: bytes, after: str, most: int) -> IndexPage:
        """The next entries of a kind after a surrogate; key: the current one of the purpose.

        What is under keys whose destruction was approved goes with them: such entries are seen and left alone.
        """
        async with self._connections.connection(tenant) as connection:
            cursor = await connection.execute(
                """
                WITH gone AS (
                    SELECT array_agg(one) AS ids FROM kms_destruction d, unnest(d.key_ids) AS one
                    WHERE d.tenant = %s AND d.state IN ('approved', 'executing')
                ), v AS (
                    SELECT surrogate, seal_key FROM vault
                    WHERE tenant = %s AND kind = %s AND surrogate > %s ORDER BY surrogate LIMIT %s
                )
                SELECT v.surrogate,
                    (coalesce(bool_or(i.key <> %s), false)
                     OR NOT coalesce(bool_or(i.key = %s AND i.version = %s), false))
                    AND NOT coalesce(bool_or(i.key = ANY(gone.ids)) OR v.seal_key = ANY(gone.ids), false)
                FROM v CROSS JOIN gone
                LEFT JOIN vault_index i ON i.tenant = %s AND i.surrogate = v.surrogate AND i.purpose = %s
                GROUP BY v.surrogate, v.seal_key, gone.ids ORDER BY v.surrogate
                """,
                (tenant, tenant, kind, after, most, key, key, VERSION, tenant, purpose),
            )
            found = await cursor.fetchall()
        last = found[-1][0] if len(found) == most else None
        return IndexPage(len(found), last, [one for one, old in found if old])

    async def total(self, tenant: str, kind: str) -> int:
        """Entries of a kind."""
        async with self._connections.connection(tenant) as connection:
            cursor = await connection.execute(
                "SELECT count(*) FROM vault WHERE tenant = %s AND kind = %s", (tenant, kind)
            )
            row = await cursor.fetchone()
            return int(row[0]) if row is not None else 0

    async def left(self, tenant: str, key: bytes) -> int:
        """Rows under a key."""
        async with self._connections.connection(tenant) as connection:
            cursor = await connection.execute(
                "SELECT count(*) FROM vault_index WHERE tenant = %s AND key = %s", (tenant, key)
            )
            row = await cursor.fetchone()
            return int(row[0]) if row is not None else 0

    async def empty_rows(self, tenant: str, surrogates: Sequence[str]) -> None:
        """Rows of these entries without a term: they are done and never found."""
        async with self._connections.connection(tenant) as connection:
            await connection.execute(
                "UPDATE vault_index SET terms = '{}' WHERE tenant = %s AND surrogate = ANY(%s::text[])",
                (tenant, list(surrogates)),
            )

    async def counts(self, tenant: str) -> dict[bytes, int]:
        """Rows under each key, so that the end of a rotation can be proved."""
        async with self._connections.connection(tenant) as connection:
            cursor = await connection.execute(
                "SELECT key, count(*) FROM vault_index WHERE tenant = %s GROUP BY key", (tenant,)
            )
            return {bytes(key): number for key, number in await cursor.fetchall()}
