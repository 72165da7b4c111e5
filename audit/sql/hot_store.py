"""The part of a trail that is in PostgreSQL, as Arrow: only rows a statement can need, only columns it reads."""

import re
from collections.abc import AsyncGenerator, Callable, Collection, Sequence
from datetime import datetime, timedelta
from typing import Any

import pyarrow as pa
from psycopg import sql

from audit import store
from audit.archive import SOUGHT
from audit.entry import EntryRefused
from audit.event_row import EVENT, SIGHT, event_row, rows_of
from audit.sql.narrowing import Bound, Narrowing

ROWS_AT_ONCE = 2_000
HEAVY = ("body", "leaf")
_DIRECT = {
    "event": ("index", "at", "kind", "actor", "operation", "entity", "record", "reason", "status", "exchange"),
    "sight": ("index", "at", "actor", "operation"),
}
# What stands in the canonical bytes of every entry that has the value, before and after it.
_IN_BODY = {
    "event": {"data_subject": ('"', '"')},
    "sight": {"record": ('"', '"'), "data_subject": ('"', '"'), "field": ("", '"'), "entity": ('"', ".")},
}
_NAME = re.compile(r"[!#-;=?A-Z\[\]^-~]+\Z")

Constant = Callable[[str, str], Any]
"""A constant expression and the column it is compared with → its value in Python, None when it has none."""


class EntryAltered(Exception):  # noqa: N818 - a finding
    """The bytes of an entry in the database are not an entry's."""

    permanent = True

    def __init__(self, index: int) -> None:
        super().__init__(f"entry {index}")
        self.index = index


async def first_index(connection: store.Connection, tenant: str) -> int | None:
    """The smallest index in the database; None when there is no entry."""
    found = await connection.execute("SELECT min(index) FROM audit_entry WHERE tenant = %s", (tenant,))
    row = await found.fetchone()
    return None if row is None else row[0]


async def hot_rows(
    connection: store.Connection,
    tenant: str,
    narrowing: Sequence[Narrowing],
    after: int,
    constant: Constant,
) -> AsyncGenerator[list[tuple[int, datetime, bytes, bytes]], None]:
    """Index, time, leaf and body of the rows that are needed and come after an index, by index; in a transaction."""
    query = sql.SQL(
        "SELECT index, at, leaf, body FROM audit_entry WHERE tenant = {} AND index > {} AND {} ORDER BY index"
    ).format(sql.Literal(tenant), sql.Literal(after), _needed(narrowing, constant))
    async with connection.cursor("audit_hot_rows") as cursor:
        await cursor.execute(query, binary=True)
        while rows := await cursor.fetchmany(ROWS_AT_ONCE):
            yield rows


def period(narrowing: Sequence[Narrowing], constant: Constant) -> tuple[datetime | None, datetime | None]:
    """From when and until when (not included) the needed rows are; None: without a bound on that side."""
    since: list[datetime] = []
    until: list[datetime] = []
    for use in narrowing:
        low = [value for bound in use.bounds if bound.sign in ("=", ">", ">=") for value in _moments(bound, constant)]
        high = [value for bound in use.bounds if bound.sign in ("=", "<", "<=") for value in _moments(bound, constant)]
        since += [max(low)] if low else []
        until += [min(high)] if high else []
    uses = len(narrowing)
    return (
        min(since) if since and len(since) == uses else None,
        max(until) + timedelta(microseconds=1) if until and len(until) == uses else None,
    )


def wanted(narrowing: Sequence[Narrowing], constant: Constant) -> list[dict[str, list[str]]]:
    """For each use of a table what values its rows must have in columns by which segments can be passed over."""
    uses = []
    for use in narrowing:
        found: dict[str, list[str]] = {}
        for bound in use.bounds:
            if bound.column in SOUGHT and bound.sign in ("=", "in"):
                values = [constant(one, bound.column) for one in bound.values]
                if all(isinstance(value, str) for value in values):
                    found[bound.column] = values
        uses.append(found)
    return uses


def _moments(bound: Bound, constant: Constant) -> list[datetime]:
    if bound.column != "at":
        return []
    return [value for one in bound.values if isinstance(value := constant(one, "at"), datetime)]


def _needed(narrowing: Sequence[Narrowing], constant: Constant) -> sql.Composable:
    """Any use of a table may need a row; without a bound one of them needs all."""
    uses: list[sql.Composable] = []
    for use in narrowing:
        bounds = [found for bound in use.bounds if (found := _condition(use.table, bound, constant)) is not None]
        if not bounds:
            return sql.SQL("true")
        uses.append(sql.SQL("({})").format(sql.SQL(" AND ").join(bounds)))
    return sql.SQL("({})").format(sql.SQL(" OR ").join(uses)) if uses else sql.SQL("false")


def _condition(table: str, bound: Bound, constant: Constant) -> sql.Composable | None:
    values = [constant(value, bound.column) for value in bound.values]
    if any(value is None for value in values):
        return None
    if bound.column in _DIRECT[table]:
        column = sql.Identifier(bound.column)
        if bound.sign == "in":
            return sql.SQL("{} IN ({})").format(column, sql.SQL(", ").join(map(sql.Literal, values)))
        if bound.sign == "=" or not isinstance(values[0], str):  # texts are ordered otherwise there
            return sql.SQL("{} " + bound.sign + " {}").format(column, sql.Literal(values[0]))
        return None
    around = _IN_BODY[table].get(bound.column)
    if around is None or bound.sign not in ("=", "in") or not all(_NAME.match(value) for value in values):
        return None
    parts = [
        sql.SQL("position({}::bytea in body) > 0").format(sql.Literal(f"{around[0]}{value}{around[1]}".encode()))
        for value in values
    ]
    return sql.SQL("({})").format(sql.SQL(" OR ").join(parts))


def as_arrow(
    rows: Sequence[tuple[int, datetime, bytes, bytes]], tables: Collection[str], columns: Collection[str]
) -> dict[str, pa.Table]:
    """Rows of `event` and `sight`. Raises: EntryAltered. Heavy columns that nobody reads are left empty."""
    events: list[dict[str, Any]] = []
    sights: list[dict[str, Any]] = []
    for index, at, leaf, body in rows:
        try:
            if "sight" in tables:
                event, shown = rows_of(index, at, leaf, body)
                sights += shown
            else:
                event = event_row(index, at, leaf, body)
        except EntryRefused:
            raise EntryAltered(index) from None
        events.append({**event, **{name: None for name in HEAVY if name not in columns}})
    made = {}
    if "event" in tables:
        made["event"] = pa.Table.from_pylist(events, schema=_nullable(EVENT))
    if "sight" in tables:
        made["sight"] = pa.Table.from_pylist(sights, schema=SIGHT)
    return made


def _nullable(schema: pa.Schema) -> pa.Schema:
    return pa.schema([field.with_nullable(field.name in HEAVY) for field in schema])
