"""The person store in a SQLite file of its own, or in a PostgreSQL other than the main one.

Whoever keeps copies of the main database must not get this one with it. SQLite overwrites what is deleted
(`secure_delete`) and keeps no write-ahead log; PostgreSQL does neither, so there only the turn of the epoch ends a key
for good. Calls block, so they run in threads of their own under a time limit.
"""

from collections.abc import Collection, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import sqlalchemy as sa

from kms.person import Epoch, EpochChanged, EpochState, PersonCounts, PersonRow
from kms.person_calls import PersonCalls, sqlite_engine

_AT_ONCE = 5000
_T = TypeVar("_T")

_tables = sa.MetaData()
_epoch = sa.Table(
    "person_epoch",
    _tables,
    sa.Column("tenant", sa.Text, primary_key=True),
    sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("wrapped", sa.LargeBinary, nullable=False),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("begun_at", sa.DateTime(timezone=True), nullable=False),
    sa.Column("closed_at", sa.DateTime(timezone=True)),
)
_key = sa.Table(
    "person_key",
    _tables,
    sa.Column("tenant", sa.Text, primary_key=True),
    sa.Column("holder", sa.LargeBinary(16), primary_key=True),
    sa.Column("epoch", sa.Integer, nullable=False),
    sa.Column("wrapped", sa.LargeBinary, nullable=False),
    sa.Column("made_at", sa.DateTime(timezone=True), nullable=False),
)
sa.Index("person_key_epoch", _key.c.tenant, _key.c.epoch)
_tombstone = sa.Table(
    "person_tombstone",
    _tables,
    sa.Column("tenant", sa.Text, primary_key=True),
    sa.Column("holder", sa.LargeBinary(16), primary_key=True),
    sa.Column("at", sa.DateTime(timezone=True), nullable=False),
)
_unnamed = sa.Table(
    "person_unnamed",
    _tables,
    sa.Column("tenant", sa.Text, primary_key=True),
    sa.Column("holder", sa.LargeBinary(16), primary_key=True),
    sa.Column("since", sa.DateTime(timezone=True), nullable=False),
)
_alias = sa.Table(
    "person_alias",
    _tables,
    sa.Column("tenant", sa.Text, primary_key=True),
    sa.Column("epoch", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("alias", sa.LargeBinary(16), primary_key=True),
    sa.Column("holder", sa.LargeBinary(16), nullable=False),
)
sa.Index("person_alias_holder", _alias.c.tenant, _alias.c.holder)


def sqlite_store(path: Path) -> "PersonTables":
    """The store in a file; a lock file stands beside it."""
    return PersonTables(sqlite_engine(path), path.with_name(f"{path.name}.lock"))


class PersonTables:
    """The person store over an engine; see kms.person.PersonStore.

    queue: a file that calls of all processes queue at, for SQLite, which serves whoever happens to ask at the right
    moment; timeout_s: one call, all told.
    """

    def __init__(self, engine: sa.Engine, queue: Path | None = None, *, timeout_s: float = 10.0) -> None:
        self._calls = PersonCalls(engine, _tables, queue, timeout_s)

    async def epochs(self, tenant: str) -> list[Epoch]:
        """Every epoch, the oldest first."""
        query = sa.select(_epoch).where(_epoch.c.tenant == tenant).order_by(_epoch.c.number)
        rows = await self._calls.run(lambda connection: connection.execute(query).fetchall(), reads=True)
        return [
            Epoch(row.number, bytes(row.wrapped), EpochState(row.state), _aware(row.begun_at), _aware(row.closed_at))
            for row in rows
        ]

    async def begin(self, tenant: str, first: Epoch, at: datetime) -> None:
        """Keep the first epoch, unless there is one already."""

        def work(connection: sa.Connection) -> None:
            self._calls.alone(connection, tenant)
            if connection.execute(sa.select(_epoch.c.number).where(_epoch.c.tenant == tenant).limit(1)).first() is None:
                connection.execute(_epoch.insert().values(**_new(tenant, first, at)))

        await self._calls.run(work)

    async def read(self, tenant: str, holders: Collection[bytes]) -> tuple[dict[bytes, PersonRow], set[bytes]]:
        """Keys of these holders, and who of them was erased; one question."""
        wanted = list(holders)

        def work(connection: sa.Connection) -> list[Any]:
            found: list[Any] = []
            for at in range(0, len(wanted), _AT_ONCE):
                some = wanted[at : at + _AT_ONCE]
                keys = sa.select(_key.c.holder, _key.c.epoch, _key.c.wrapped).where(
                    _key.c.tenant == tenant, _key.c.holder.in_(some)
                )
                gone = sa.select(_tombstone.c.holder, sa.literal(0), sa.cast(sa.null(), sa.LargeBinary)).where(
                    _tombstone.c.tenant == tenant, _tombstone.c.holder.in_(some)
                )
                found += connection.execute(sa.union_all(keys, gone)).fetchall()
            return found

        rows: dict[bytes, PersonRow] = {}
        erased: set[bytes] = set()
        for holder, epoch, wrapped in await self._calls.run(work, reads=True):
            if wrapped is None:
                erased.add(bytes(holder))
            else:
                rows[bytes(holder)] = PersonRow(bytes(holder), epoch, bytes(wrapped))
        for one in erased:  # a restored key of somebody who was erased is none
            rows.pop(one, None)
        return rows, erased

    async def add(self, tenant: str, epoch: int, rows: Sequence[PersonRow], at: datetime) -> None:
        """Keep new keys, durable when this returns; raises EpochChanged unless their epoch is the current one."""

        values = [
            {"tenant": tenant, "holder": row.holder, "epoch": epoch, "wrapped": row.wrapped, "made_at": at}
            for row in rows
        ]
        await self._added(tenant, epoch, [(_key, values), (_alias, _aliases(tenant, rows))])

    async def add_aliases(self, tenant: str, epoch: int, rows: Sequence[PersonRow]) -> None:
        """Keep the aliases of keys of before there were any; raises EpochChanged as `add`."""
        await self._added(tenant, epoch, [(_alias, _aliases(tenant, rows))])

    async def _added(self, tenant: str, epoch: int, values: Sequence[tuple[sa.Table, list[dict[str, Any]]]]) -> None:
        def work(connection: sa.Connection) -> bool:
            # The lock of the row is what a switch waits for (SQLite: the whole file is ours since the beginning).
            current = sa.select(_epoch.c.number).where(
                _epoch.c.tenant == tenant, _epoch.c.number == epoch, _epoch.c.state == EpochState.CURRENT
            )
            if connection.execute(current.with_for_update(read=True)).first() is None:
                return False
            for table, rows in values:
                if rows:
                    connection.execute(self._calls.insert(table), rows)
            return True

        if not await self._calls.run(work):
            raise EpochChanged("the epoch of person keys is another one now")

    async def aliased(self, tenant: str, epoch: int, aliases: Collection[bytes]) -> dict[bytes, bytes]:
        """Holders by alias, of those that one epoch has and that were not erased."""
        wanted = list(aliases)
        gone = sa.exists().where(_tombstone.c.tenant == tenant, _tombstone.c.holder == _alias.c.holder)

        def work(connection: sa.Connection) -> dict[bytes, bytes]:
            found: dict[bytes, bytes] = {}
            for at in range(0, len(wanted), _AT_ONCE):
                query = sa.select(_alias.c.alias, _alias.c.holder).where(
                    _alias.c.tenant == tenant,
                    _alias.c.epoch == epoch,
                    _alias.c.alias.in_(wanted[at : at + _AT_ONCE]),
                    ~gone,
                )
                found |= {bytes(one): bytes(holder) for one, holder in connection.execute(query)}
            return found

        return await self._calls.run(work, reads=True) if wanted else {}

    async def destroy(self, tenant: str, holders: Collection[bytes], at: datetime) -> int:
        """Delete keys for good and note that these holders are erased; how many keys went. Again changes nothing."""
        gone = list(holders)

        def work(connection: sa.Connection) -> int:
            count = 0
            for start in range(0, len(gone), _AT_ONCE):
                some = gone[start : start + _AT_ONCE]
                connection.execute(
                    self._calls.insert(_tombstone), [{"tenant": tenant, "holder": one, "at": at} for one in some]
                )
                connection.execute(_alias.delete().where(_alias.c.tenant == tenant, _alias.c.holder.in_(some)))
                done = connection.execute(_key.delete().where(_key.c.tenant == tenant, _key.c.holder.in_(some)))
                count += done.rowcount
            return count

        return await self._calls.run(work) if gone else 0

    async def erased(self, tenant: str, after: bytes, most: int) -> list[bytes]:
        """Erased holders after one, in order."""
        query = (
            sa.select(_tombstone.c.holder)
            .where(_tombstone.c.tenant == tenant, _tombstone.c.holder > after)
            .order_by(_tombstone.c.holder)
            .limit(most)
        )
        rows = await self._calls.run(lambda connection: connection.execute(query).fetchall(), reads=True)
        return [bytes(row.holder) for row in rows]

    async def keys_made(
        self, tenant: str, before: datetime, after: bytes, most: int
    ) -> list[tuple[bytes, datetime | None]]:
        """Holders after one, in order, with keys made before a time; and since when nothing names them, if noted."""
        both = sa.and_(_unnamed.c.tenant == _key.c.tenant, _unnamed.c.holder == _key.c.holder)
        query = (
            sa.select(_key.c.holder, _unnamed.c.since)
            .select_from(_key.outerjoin(_unnamed, both))
            .where(_key.c.tenant == tenant, _key.c.holder > after, _key.c.made_at <= before)
            .order_by(_key.c.holder)
            .limit(most)
        )
        rows = await self._calls.run(lambda connection: connection.execute(query).fetchall(), reads=True)
        return [(bytes(row.holder), _aware(row.since)) for row in rows]

    async def note_unnamed(
        self, tenant: str, unnamed: Collection[bytes], named: Collection[bytes], at: datetime
    ) -> None:
        """Note that nothing names some holders, unless that is noted; and take it back of others."""
        rows = [{"tenant": tenant, "holder": one, "since": at} for one in unnamed]

        def work(connection: sa.Connection) -> None:
            if rows:
                connection.execute(self._calls.insert(_unnamed), rows)
            if named:
                connection.execute(
                    _unnamed.delete().where(_unnamed.c.tenant == tenant, _unnamed.c.holder.in_(list(named)))
                )

        if rows or named:
            await self._calls.run(work)

    async def drop_unnamed(self, tenant: str, holders: Collection[bytes], before: datetime) -> int:
        """Delete keys of those that nothing named since before a time, without a tombstone; how many."""
        gone = list(holders)

        def work(connection: sa.Connection) -> int:
            noted = sa.select(_unnamed.c.holder).where(
                _unnamed.c.tenant == tenant, _unnamed.c.holder.in_(gone), _unnamed.c.since <= before
            )
            connection.execute(_alias.delete().where(_alias.c.tenant == tenant, _alias.c.holder.in_(noted)))
            done = connection.execute(_key.delete().where(_key.c.tenant == tenant, _key.c.holder.in_(noted)))
            connection.execute(
                _unnamed.delete().where(
                    _unnamed.c.tenant == tenant, _unnamed.c.holder.in_(gone), _unnamed.c.since <= before
                )
            )
            return done.rowcount

        return await self._calls.run(work) if gone else 0

    async def switch(self, tenant: str, old: int, made: Epoch, at: datetime) -> bool:
        """Make another epoch current once whoever adds keys under the old one is done; False: it was not current."""

        def work(connection: sa.Connection) -> bool:
            ended = connection.execute(
                _epoch.update()
                .where(_epoch.c.tenant == tenant, _epoch.c.number == old, _epoch.c.state == EpochState.CURRENT)
                .values(state=EpochState.OLD)
            )
            if ended.rowcount:
                connection.execute(_epoch.insert().values(**_new(tenant, made, at)))
            return bool(ended.rowcount)

        return await self._calls.run(work)

    async def page(self, tenant: str, below: int, most: int) -> list[PersonRow]:
        """Some keys that are under epochs before this one."""
        query = (
            sa.select(_key.c.holder, _key.c.epoch, _key.c.wrapped)
            .where(_key.c.tenant == tenant, _key.c.epoch < below)
            .order_by(_key.c.holder)
            .limit(most)
        )
        rows = await self._calls.run(lambda connection: connection.execute(query).fetchall(), reads=True)
        return [PersonRow(bytes(row.holder), row.epoch, bytes(row.wrapped)) for row in rows]

    async def rewrap(self, tenant: str, rows: Sequence[tuple[PersonRow, PersonRow]]) -> int:
        """Replace keys that are still what they were; how many."""

        def work(connection: sa.Connection) -> int:
            moved = [
                now
                for was, now in rows
                if connection.execute(
                    _key.update()
                    .where(
                        _key.c.tenant == tenant,
                        _key.c.holder == was.holder,
                        _key.c.epoch == was.epoch,
                        _key.c.wrapped == was.wrapped,
                    )
                    .values(epoch=now.epoch, wrapped=now.wrapped)
                ).rowcount
            ]
            if aliases := _aliases(tenant, moved):
                connection.execute(self._calls.insert(_alias), aliases)
            return len(moved)

        return await self._calls.run(work) if rows else 0

    async def left(self, tenant: str, below: int) -> int:
        """How many keys are under epochs before this one."""
        query = sa.select(sa.func.count()).select_from(_key).where(_key.c.tenant == tenant, _key.c.epoch < below)
        return await self._calls.run(lambda connection: int(connection.execute(query).scalar_one()), reads=True)

    async def close_epochs(self, tenant: str, below: int, at: datetime) -> None:
        """Note that epochs before this one open nothing any more, and forget their keys. Again changes nothing."""
        ended = (
            _epoch.update()
            .where(_epoch.c.tenant == tenant, _epoch.c.number < below, _epoch.c.state != EpochState.CLOSED)
            .values(state=EpochState.CLOSED, wrapped=b"", closed_at=at)
        )
        aliases = _alias.delete().where(_alias.c.tenant == tenant, _alias.c.epoch < below)

        def work(connection: sa.Connection) -> None:
            connection.execute(ended)
            connection.execute(aliases)

        await self._calls.run(work)

    async def counts(self, tenant: str) -> PersonCounts:
        """How many there are."""

        def work(connection: sa.Connection) -> PersonCounts:
            keys, gone = (
                int(
                    connection.execute(
                        sa.select(sa.func.count()).select_from(table).where(table.c.tenant == tenant)
                    ).scalar_one()
                )
                for table in (_key, _tombstone)
            )
            return PersonCounts(keys, gone)

        return await self._calls.run(work, reads=True)

    async def close(self) -> None:
        """Let go of connections and threads."""
        self._calls.close()


def _new(tenant: str, epoch: Epoch, at: datetime) -> dict[str, Any]:
    return {
        "tenant": tenant,
        "number": epoch.number,
        "wrapped": epoch.wrapped,
        "state": EpochState.CURRENT,
        "begun_at": at,
    }


def _aliases(tenant: str, rows: Sequence[PersonRow]) -> list[dict[str, Any]]:
    return [
        {"tenant": tenant, "epoch": row.epoch, "alias": row.alias, "holder": row.holder} for row in rows if row.alias
    ]


def _aware(at: datetime | None) -> datetime | None:
    """SQLite gives times without a zone; they were written in UTC."""
    return at.replace(tzinfo=UTC) if at is not None and at.tzinfo is None else at
