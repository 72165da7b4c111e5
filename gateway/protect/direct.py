"""Walks the tables of a CRM that is switched off, where its interface cannot do the work: history, CRMs without one.

Statements are built by SQLAlchemy from the names of a checked map; values are always parameters. A row is changed only
if it still holds what was read. JSON columns are taken apart into their strings and written back in the same style.
"""

import asyncio
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar
from urllib.parse import urlsplit

import sqlalchemy
from sqlalchemy import column, select, table, text, update
from sqlalchemy.exc import SQLAlchemyError

from gateway.protect.reading import CrmRefused, CrmUnreachable, Listed, Reading, RecordChanged
from gateway.protect.table_map import MapInvalid, TableMap, Through
from policies.walk import Walk, WalkEntity

_T = TypeVar("_T")
DIALECTS = {"sqlite": "sqlite", "postgresql": "postgres"}


class CrmStillUp(Exception):  # noqa: N818 - names a state
    """The CRM answers; its tables are only changed while it is switched off."""

    permanent = True


def open_engine(url: str) -> sqlalchemy.Engine:
    """An engine for SQLite or PostgreSQL, not yet connected; raises MapInvalid for any other address."""
    try:
        parsed = sqlalchemy.make_url(url)
    except SQLAlchemyError:
        raise MapInvalid("the address of the CRM's database is none that SQLAlchemy knows") from None
    if parsed.get_backend_name() not in DIALECTS:
        raise MapInvalid("only SQLite and PostgreSQL databases can be walked")
    if parsed.get_backend_name() == "postgresql":
        parsed = parsed.set(drivername="postgresql+psycopg")
    return sqlalchemy.create_engine(parsed, poolclass=sqlalchemy.pool.StaticPool, hide_parameters=True)


def dialect_of(engine: sqlalchemy.Engine) -> str:
    """The dialect as sqlglot names it."""
    return DIALECTS[engine.dialect.name]


async def require_off(upstream: str) -> None:
    """Raise CrmStillUp when the CRM takes connections."""
    parts = urlsplit(upstream)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    try:
        async with asyncio.timeout(5):
            _, writer = await asyncio.open_connection(parts.hostname, port)
    except (OSError, TimeoutError):
        return
    writer.close()
    raise CrmStillUp("the CRM answers: switch it off before its tables are changed")


@dataclass(frozen=True, slots=True)
class _Raw:
    """What the columns of a row held, as they stand."""

    columns: Mapping[str, str] = field(repr=False)


class Direct:
    """The tables of one CRM; every page and every write looks first whether the CRM is still off.

    Writes that are asked for together go in one transaction: a commit costs more than all else. reading: pages are
    listed even while the CRM runs; writing still needs it off.
    """

    at_once = 100
    batch = 100

    def __init__(
        self,
        engine: sqlalchemy.Engine,
        walk: Walk,
        tables: Mapping[str, TableMap],
        upstream: str,
        *,
        reading: bool = False,
    ) -> None:
        self._reading = reading
        self._engine = engine
        self._walk = walk
        self._tables = tables
        self._upstream = upstream
        self._connection: sqlalchemy.Connection | None = None
        self._off_until = 0.0
        self._asked: list[tuple[sqlalchemy.Update, asyncio.Future[bool]]] = []
        self._committing: asyncio.Task[None] | None = None
        self._kinds: dict[str, tuple[bool, dict[str, int]]] = {}

    @property
    def tables(self) -> frozenset[str]:
        """The tables of the map."""
        return frozenset(one.table for one in self._tables.values())

    async def page(self, entity: WalkEntity, place: str) -> Listed:
        """Keys in their own order; place is the last key of the page before."""
        if not self._reading:
            await require_off(self._upstream)
        one = self._tables[entity.entity]
        numeric, _ = await self._known(one)
        key: sqlalchemy.ColumnClause[Any] = column(one.key)
        statement = select(key).select_from(table(one.table, key)).order_by(key).limit(self._walk.page)
        if one.where:
            statement = statement.where(_plain(one.where))
        if one.through is not None:
            statement = statement.where(key.in_(_owners(one.through, column(one.through.column))))
        for named, by in one.unless:
            other: sqlalchemy.ColumnClause[Any] = column(by)
            statement = statement.where(key.not_in(select(other).select_from(table(named)).where(other.is_not(None))))
        if place:
            statement = statement.where(key > (int(place) if numeric else place))
        found = [str(row[0]) for row in await self._run(lambda link: link.execute(statement).fetchall())]
        return Listed(found, found[-1] if len(found) >= self._walk.page else "")

    async def read(self, entity: WalkEntity, record: str) -> Reading | None:
        """The mapped columns of a row that are not empty; raises MapInvalid for one that holds anything but text."""
        one = self._tables[entity.entity]
        numeric, limits = await self._known(one)
        names = [*one.columns, *([one.parent] if one.parent else [])]
        statement: Any = select(*(column(name) for name in names)).select_from(table(one.table))
        told_key = int(record) if numeric else record
        statement = statement.where(column(one.key) == told_key)
        found = await self._run(lambda link: link.execute(statement).fetchone())
        if found is None:
            return None
        told = dict(zip(names, found, strict=True))
        parent = told[one.parent] if one.parent else None
        if one.through is not None:
            through = one.through
            owner = _owners(through, column(through.key)).where(column(through.column) == told_key).limit(1)
            parent = await self._run(lambda link: link.execute(owner).scalar())
        raw = {name: value for name in one.columns if (value := told[name]) is not None}
        if odd := sorted(name for name, value in raw.items() if not isinstance(value, str)):
            # Passing them over would leave them clear without a word.
            raise MapInvalid(f"the column {odd[0]} of the table {one.table} holds values that are no text")
        fields: dict[str, str] = {}
        for name, value in raw.items():
            if name in one.json:
                fields.update({f"{name}:{place}": leaf for place, leaf in _strings(value, one.json[name])})
            else:
                fields[name] = value
        return Reading(entity, record, fields, limits, "" if parent is None else str(parent), state=_Raw(raw))

    async def write(self, reading: Reading, new: Mapping[str, str]) -> None:
        """Change columns, if they still hold what was read; raises RecordChanged."""
        await self._require_off()
        one = self._tables[reading.entity.entity]
        numeric, _ = await self._known(one)
        assert isinstance(reading.state, _Raw)
        raw = reading.state.columns
        changed: dict[str, str] = {}
        for name in {wire.partition(":")[0] for wire in new}:
            if name in one.json:
                leaves = {wire.partition(":")[2]: text_ for wire, text_ in new.items() if wire.startswith(f"{name}:")}
                changed[name] = _replaced(raw[name], leaves, one.json[name])
            else:
                changed[name] = new[name]
        target = table(one.table, *(column(name) for name in {one.key, *one.columns}))
        statement = update(target).where(column(one.key) == (int(reading.record) if numeric else reading.record))
        for name in changed:
            statement = statement.where(column(name) == raw[name])
        if not await self._committed(statement.values(changed)):
            raise RecordChanged

    async def _committed(self, statement: sqlalchemy.Update) -> bool:
        """Change one row, together with what else is asked for by now; whether it still was what was read."""
        done: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._asked.append((statement, done))
        if self._committing is None:
            self._committing = asyncio.create_task(self._commit(), name="commit")
        return await done

    async def _commit(self) -> None:
        await asyncio.sleep(0)  # whoever is about to write may still join
        asked, self._asked, self._committing = self._asked, [], None
        waiting = [(statement, done) for statement, done in asked if not done.done()]
        try:
            hits = await self._run(lambda link: _executed(link, [statement for statement, _ in waiting]))
        except (CrmUnreachable, MapInvalid) as fault:
            for _, done in waiting:
                done.set_exception(fault)
            return
        for (_, done), hit in zip(waiting, hits, strict=True):
            done.set_result(hit)

    async def create(self, entity: WalkEntity, values: Mapping[str, object]) -> str:
        """Never: a row that the CRM did not make itself may break it."""
        raise CrmRefused("no-interface")

    async def remove(self, entity: WalkEntity, record: str) -> None:
        """Never."""
        raise CrmRefused("no-interface")

    async def compact(self) -> None:
        """Rewrite the tables, so that the database's own free space holds no old value."""
        await require_off(self._upstream)

        def vacuum(link: sqlalchemy.Connection) -> None:
            link.commit()
            raw = link.execution_options(isolation_level="AUTOCOMMIT")
            quote = self._engine.dialect.identifier_preparer.quote
            if self._engine.dialect.name == "sqlite":
                raw.execute(text("VACUUM"))
                return
            for one in self._tables.values():
                raw.execute(text(f"VACUUM (FULL) {quote(one.table)}"))

        await self._run(vacuum)

    async def close(self) -> None:
        """End the connection."""
        if self._connection is not None:
            self._connection.close()
        self._engine.dispose()

    async def _require_off(self) -> None:
        """Look at most once a second whether the CRM is still off."""
        now = asyncio.get_running_loop().time()
        if now >= self._off_until:
            await require_off(self._upstream)
            self._off_until = now + 1

    async def _known(self, one: TableMap) -> tuple[bool, dict[str, int]]:
        """Whether the key is a number, and how long the columns are; raises MapInvalid for names that do not exist."""
        if one.table not in self._kinds:
            self._kinds[one.table] = await self._run(lambda link: _inspected(link, one))
        return self._kinds[one.table]

    async def _run(self, do: Callable[[sqlalchemy.Connection], _T]) -> _T:
        try:
            if self._connection is None:
                self._connection = self._engine.connect()
                if self._engine.dialect.name == "sqlite":
                    self._connection.execute(text("PRAGMA secure_delete = ON"))
                    self._connection.commit()
            return do(self._connection)
        except SQLAlchemyError as fault:
            if self._connection is not None:
                self._connection.rollback()
            raise CrmUnreachable(f"the CRM's database does not do it ({type(fault).__name__})") from None


def _plain(condition: str) -> sqlalchemy.TextClause:
    """A checked condition as it stands; a colon in it is no parameter."""
    return text(condition.replace(":", "\\:"))


def _owners(through: Through, wanted: sqlalchemy.ColumnClause[Any]) -> sqlalchemy.Select[Any]:
    """A column of the table that says whose rows are."""
    statement = select(wanted).select_from(table(through.table))
    statement = statement.where(column(through.column).is_not(None))
    return statement.where(_plain(through.where)) if through.where else statement


def _executed(link: sqlalchemy.Connection, statements: Sequence[sqlalchemy.Update]) -> list[bool]:
    """One transaction; which of the statements changed their row. Raises MapInvalid when one changes several."""
    counted = [link.execute(statement).rowcount for statement in statements]
    if any(number > 1 for number in counted):
        link.rollback()
        raise MapInvalid("the key of the map names several rows of a table at once")
    link.commit()
    return [number == 1 for number in counted]


def _inspected(link: sqlalchemy.Connection, one: TableMap) -> tuple[bool, dict[str, int]]:
    told = sqlalchemy.inspect(link)
    if not told.has_table(one.table):
        raise MapInvalid(f"the CRM's database has no table {one.table}")
    types = {entry["name"]: entry["type"] for entry in told.get_columns(one.table)}
    missing = {one.key, *one.columns, *([one.parent] if one.parent else [])} - types.keys()
    if missing:
        raise MapInvalid(f"the table {one.table} has no column {', '.join(sorted(missing))}")
    others = [*one.unless, *([(one.through.table, one.through.column), (one.through.table, one.through.key)]
                            if one.through is not None else [])]  # fmt: skip
    for other, name in others:
        if not told.has_table(other):
            raise MapInvalid(f"the CRM's database has no table {other}")
        if name not in {each["name"] for each in told.get_columns(other)}:
            raise MapInvalid(f"the table {other} has no column {name}")
    link.rollback()
    lengths = {name: getattr(types[name], "length", None) for name in one.columns}
    numeric = isinstance(types[one.key], sqlalchemy.Integer)
    return numeric, {name: length for name, length in lengths.items() if length}


_STYLES: Mapping[str, tuple[dict[str, Any], ...]] = {
    "escaped": ({"ensure_ascii": True}, {"ensure_ascii": True, "separators": (",", ":")}),
    "plain": ({"ensure_ascii": False}, {"ensure_ascii": False, "separators": (",", ":")}),
}


def _style(raw: str, written: str) -> tuple[Any, dict[str, Any]] | None:
    """The value and the way it was written; None when writing it again would not give the same bytes."""
    try:
        value = json.loads(raw)
    except ValueError:
        return None
    for style in _STYLES[written]:
        if json.dumps(value, **style) == raw:
            return value, style
    return None


def _strings(raw: str, written: str) -> Iterator[tuple[str, str]]:
    """(place, text) of every string; the text itself where taking it apart would not give the same bytes again."""
    found = _style(raw, written)
    if found is None:
        yield "", raw
    else:
        yield from _leaves(found[0], "")


def _leaves(value: Any, place: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, str):
        yield place, value
    elif isinstance(value, dict | list):
        pairs = value.items() if isinstance(value, dict) else enumerate(value)
        for key, inner in pairs:
            yield from _leaves(inner, f"{place}/{key}")


def _replaced(raw: str, new: Mapping[str, str], written: str) -> str:
    found = _style(raw, written)
    if found is None:
        return new.get("", raw)
    value, style = found

    def put(inner: Any, place: str) -> Any:
        if isinstance(inner, str):
            return new.get(place, inner)
        if isinstance(inner, dict):
            return {key: put(one, f"{place}/{key}") for key, one in inner.items()}
        if isinstance(inner, list):
            return [put(one, f"{place}/{number}") for number, one in enumerate(inner)]
        return inner

    return json.dumps(put(value, ""), **style)
