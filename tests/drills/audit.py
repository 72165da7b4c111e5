"""`make audit-drill`: what somebody with every right in the database can do to the trail, and how soon it is found.

Each manipulation is done on a fresh copy of a filled log while gateway's log, keeper and watch run as they do in
service and entries go on being written; the log is one that a watch has read before, as after a restart. The attacker
owns the server: he skips triggers by `session_replication_role` and the statistics by `track_counts`, so that the watch
has to find what is wrong by reading. For each the drill says what was found, in which entry, since when, and how long
after the change; every one must be found within ten seconds of the next checkpoint.
"""

import argparse
import asyncio
import contextlib
import hashlib
import shutil
import statistics
import sys
import tempfile
import time
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo
from rich.console import Console

from audit.checkpoint import INTERVAL_S, Keeper
from audit.entry import AuditEntry
from audit.log import AuditLog, AuditUnavailable
from audit.note import Checkpoint, Signer, origin_of
from audit.tree import Frontier, leaf_hash
from audit.watch import SHARE, SLICE_ENTRIES, Watch
from audit.watch_sight import Finding
from gateway.database import ROLE, EmbeddedPostgres, migrate, open_pool
from tests.conftest import unwalled

TENANT, OTHER = "demo", "other"
SIGNER, THIEF = Signer(bytes(range(32))), Signer(bytes(32))
LIMIT_S = 10.0
GIVE_UP_S = 60.0
SILENT = ("SET session_replication_role = replica", "SET track_counts = off")
Database = psycopg.AsyncConnection[Any]
Move = Callable[[Database, int], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Manipulation:
    """One attack. expects: whether a finding names the place, given the entry aimed at and the size of the log."""

    name: str
    move: Move
    expects: Callable[[Finding, int, int], bool]
    silent: bool = True


@dataclass(frozen=True, slots=True)
class Result:
    """What came of one. seconds: from the end of the change to the finding; None: not found; quick_s: of a sweep."""

    name: str
    seconds: float | None
    finding: Finding | None
    since_holds: bool
    quick_s: float = 0.0


def run_sql(*statements: str) -> Move:
    """Statements with %(at)s for the entry aimed at."""

    async def move(db: Database, at: int) -> None:
        for statement in statements:
            await db.execute(statement, {"at": at})  # type: ignore[arg-type]

    return move


_COLUMNS = "at, kind, actor, operation, entity, record, reason, status, exchange, body, leaf"
_OURS = "tenant = 'demo'"


async def insert_row(db: Database, at: int) -> None:
    """A row of proper form in the middle; all that follow move up by one."""
    await db.execute(f"UPDATE audit_entry SET index = index + 1000000000 WHERE {_OURS} AND index >= %s", (at,))
    await db.execute(f"UPDATE audit_entry SET index = index - 999999999 WHERE {_OURS} AND index >= 1000000000")
    await db.execute(
        f"INSERT INTO audit_entry (tenant, index, {_COLUMNS}) SELECT tenant, %s, {_COLUMNS} FROM audit_entry"
        f" WHERE {_OURS} AND index = %s",
        (at, at - 1),
    )
    await db.execute(f"UPDATE audit_head SET size = size + 1 WHERE {_OURS}")


async def rehash_tail(db: Database, at: int) -> None:
    """Another entry, its hash, and every later checkpoint made anew under a key of the thief's own."""
    found = await db.execute(f"SELECT body FROM audit_entry WHERE {_OURS} AND index = %s", (at,))
    row = await found.fetchone()
    assert row is not None
    body = bytes(row[0]).replace(b'"u1"', b'"u2"')
    await db.execute(
        f"UPDATE audit_entry SET body = %s, leaf = %s, actor = 'u2' WHERE {_OURS} AND index = %s",
        (body, leaf_hash(body), at),
    )
    found = await db.execute(f"SELECT leaf FROM audit_entry WHERE {_OURS} ORDER BY index")
    leaves = [bytes(one[0]) for one in await found.fetchall()]
    found = await db.execute(f"SELECT size FROM audit_checkpoint WHERE {_OURS} ORDER BY size")
    frontier, origin = Frontier(), origin_of(TENANT)
    for (size,) in await found.fetchall():
        frontier.extend(leaves[frontier.size : size])
        if size > at:
            note = THIEF.sign(Checkpoint(origin, size, frontier.root()).text(), origin)
            await db.execute(
                f"UPDATE audit_checkpoint SET note = %s, frontier = %s WHERE {_OURS} AND size = %s",
                (note, frontier.to_bytes(), size),
            )


async def rehash_entry(db: Database, at: int) -> None:
    """Another entry with the hash that fits it; checkpoints as they were."""
    found = await db.execute(f"SELECT body FROM audit_entry WHERE {_OURS} AND index = %s", (at,))
    row = await found.fetchone()
    assert row is not None
    body = bytes(row[0]).replace(b'"u1"', b'"u2"')
    assert hashlib.sha256(b"\0" + body).digest() == leaf_hash(body)
    await db.execute(
        f"UPDATE audit_entry SET body = %s, leaf = %s, actor = 'u2' WHERE {_OURS} AND index = %s",
        (body, leaf_hash(body), at),
    )


async def delete_checkpoint(db: Database, at: int) -> None:
    """The first checkpoint that covers the entry."""
    await db.execute(
        f"DELETE FROM audit_checkpoint WHERE {_OURS} AND size ="
        f" (SELECT min(size) FROM audit_checkpoint WHERE {_OURS} AND size > %s)",
        (at,),
    )


async def nothing(db: Database, at: int) -> None:
    """The older state is put back by the drill itself."""


def names_entry(finding: Finding, at: int, size: int) -> bool:
    """Exactly the entry."""
    return finding.span == (at, at)


def names_part(finding: Finding, at: int, size: int) -> bool:
    """Entries between two checkpoints, the one aimed at among them."""
    return finding.span is not None and finding.span[0] <= at <= finding.span[1] and finding.checkpoint is not None


def names_end(finding: Finding, at: int, size: int) -> bool:
    """What was signed and is gone, up to the last."""
    return finding.span is not None and finding.span[1] >= size - 1


ROLLBACK = "an older state put back"
MANIPULATIONS = (
    Manipulation(
        "a byte of an entry",
        run_sql(f"UPDATE audit_entry SET body = set_byte(body, 9, 65) WHERE {_OURS} AND index = %(at)s"),
        names_entry,
    ),
    Manipulation(
        "a searchable column",
        run_sql(f"UPDATE audit_entry SET actor = 'u2' WHERE {_OURS} AND index = %(at)s"),
        names_entry,
    ),
    Manipulation(
        "a row in the middle deleted",
        run_sql(f"DELETE FROM audit_entry WHERE {_OURS} AND index = %(at)s"),
        names_entry,
    ),
    Manipulation(
        "the last row deleted",
        run_sql(
            f"DELETE FROM audit_entry WHERE {_OURS} AND index = (SELECT size - 1 FROM audit_head WHERE {_OURS})",
            f"UPDATE audit_head SET size = size - 1 WHERE {_OURS}",
        ),
        lambda finding, at, size: finding.span is not None and finding.span[0] <= size - 1 <= finding.span[1],
    ),
    Manipulation("a row inserted, the rest moved up", insert_row, names_part),
    Manipulation(
        "two rows swapped",
        run_sql(
            f"UPDATE audit_entry SET index = -1 + 1000000000 WHERE {_OURS} AND index = %(at)s",
            f"UPDATE audit_entry SET index = %(at)s WHERE {_OURS} AND index = %(at)s + 1",
            f"UPDATE audit_entry SET index = %(at)s + 1 WHERE {_OURS} AND index = 999999999",
        ),
        names_part,
    ),
    Manipulation("an entry hashed again", rehash_entry, names_part),
    Manipulation("the tail hashed again, checkpoints forged", rehash_tail, names_part),
    Manipulation(
        "a checkpoint deleted", delete_checkpoint, lambda finding, at, size: at < (finding.checkpoint or 0) <= at + 100
    ),
    Manipulation(
        "the log cut off, with its checkpoints",
        run_sql(
            f"DELETE FROM audit_entry WHERE {_OURS} AND index >= %(at)s",
            f"DELETE FROM audit_checkpoint WHERE {_OURS} AND size > %(at)s",
            f"UPDATE audit_head SET size = %(at)s WHERE {_OURS}",
        ),
        names_end,
    ),
    Manipulation(ROLLBACK, nothing, names_end),
    Manipulation(
        "triggers off, an entry edited, triggers on",
        run_sql(
            "ALTER TABLE audit_entry DISABLE TRIGGER USER",
            f"UPDATE audit_entry SET body = set_byte(body, 9, 65) WHERE {_OURS} AND index = %(at)s",
            "ALTER TABLE audit_entry ENABLE TRIGGER USER",
        ),
        names_entry,
        silent=False,
    ),
    Manipulation(
        "a row of another tenant in place of one",
        run_sql(
            f"DELETE FROM audit_entry WHERE {_OURS} AND index = %(at)s",
            "UPDATE audit_entry SET tenant = 'demo', index = %(at)s WHERE tenant = 'other' AND index = 3",
        ),
        names_entry,
    ),
    Manipulation(
        "an index twice",
        run_sql(
            "ALTER TABLE audit_entry DROP CONSTRAINT audit_entry_pkey",
            "CREATE INDEX ON audit_entry (tenant, index)",
            f"INSERT INTO audit_entry (tenant, index, {_COLUMNS}) SELECT tenant, index, {_COLUMNS} FROM audit_entry"
            f" WHERE {_OURS} AND index = %(at)s",
        ),
        names_entry,
    ),
    Manipulation(
        "everything deleted",
        run_sql("TRUNCATE audit_entry, audit_checkpoint", "DELETE FROM audit_head"),
        names_end,
    ),
)


def make_entry(tenant: str, number: int) -> AuditEntry:
    """A synthetic entry."""
    return AuditEntry(
        actor="u1",
        at=datetime.now(UTC),
        entity="contact",
        exchange=f"x{number}",
        fields={"shown": {"contact.phone": {str(number): {"masked": 1}}}},
        id=f"e{number}",
        kind="decision",
        operation="contact.read",
        reason="allowed",
        record=str(number),
        status=200,
        tenant=tenant,
    )


class Site:
    """A server's databases: a filled template, and a fresh copy for each manipulation."""

    def __init__(self, admin_dsn: str, dsn: str, template: str, entries: int) -> None:
        self.admin_dsn, self._dsn, self._template, self.entries = admin_dsn, dsn, template, entries
        self.filled = f"drill_{uuid.uuid4().hex}"
        self.notes: dict[str, bytes] = {}

    def dsn(self, name: str) -> str:
        """Connection string of the gateway's role."""
        return make_conninfo(self._dsn, dbname=name)

    async def admin(self, *statements: sql.Composable) -> None:
        """Statements of the server's owner."""
        async with await psycopg.AsyncConnection.connect(self.admin_dsn, autocommit=True) as db:
            for statement in statements:
                await db.execute(statement)

    async def copy(self, source: str, name: str) -> None:
        """A database like another."""
        await self.admin(
            sql.SQL("CREATE DATABASE {} TEMPLATE {} OWNER {}").format(*map(sql.Identifier, (name, source, ROLE)))
        )

    async def drop(self, name: str) -> None:
        """Remove a database whoever is connected."""
        await self.admin(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))

    async def put_back(self, name: str, older: str) -> None:
        """Put an older database in the place of one in use."""
        place, source = sql.Identifier(name), sql.Identifier(older)
        await self.admin(
            sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS false").format(place),
            sql.SQL("DROP DATABASE {} WITH (FORCE)").format(place),
            sql.SQL("ALTER DATABASE {} RENAME TO {}").format(source, place),
        )

    async def fill(self, folder: Path) -> None:
        """Two tenants' logs, with a checkpoint about every 97 entries."""
        await self.copy(self._template, self.filled)
        log, pool = AuditLog(self.dsn(self.filled)), await open_pool(self.dsn(self.filled), max_size=2)
        await log.start()
        keeper = Keeper(pool, SIGNER, folder, now=lambda: datetime.now(UTC))
        for tenant, count in ((TENANT, self.entries), (OTHER, 50)):
            for first in range(0, count, 97):
                numbers = range(first, min(first + 97, count))
                await asyncio.gather(*(log.submit(make_entry(tenant, number)) for number in numbers))
                await keeper.seal(tenant)
        watch = Watch(pool, SIGNER.verifier, folder, now=lambda: datetime.now(UTC), share=1.0)
        await watch.round()
        while watch.behind(TENANT):
            await watch.round()
        await log.close()
        await pool.close()
        self.notes = {path.name: path.read_bytes() for path in folder.iterdir()}


async def attempt(site: Site, one: Manipulation, folder: Path, interval_s: float, slice_entries: int) -> Result:
    """One manipulation on a fresh copy, with everything running."""
    name, older = f"drill_{uuid.uuid4().hex}", f"drill_{uuid.uuid4().hex}"
    await site.copy(site.filled, name)
    if one.name == ROLLBACK:
        await site.copy(site.filled, older)
    for file, data in site.notes.items():
        (folder / file).write_bytes(data)
    log, pool = AuditLog(site.dsn(name)), await open_pool(site.dsn(name), max_size=4)
    await log.start()

    def now() -> datetime:
        return datetime.now(UTC)

    keeper = Keeper(pool, SIGNER, folder, now=now, interval_s=interval_s)
    watch = Watch(pool, SIGNER.verifier, folder, now=now, interval_s=interval_s, slice_entries=slice_entries)
    await keeper.start()
    await watch.start()
    writing = asyncio.create_task(_write_on(log, interval_s))
    try:
        begun = now()
        patience_s = GIVE_UP_S + site.entries / 5_000
        await _until(lambda: watch.sight(TENANT).whole_at is not None and not watch.findings(TENANT), patience_s)
        if one.name == ROLLBACK:
            # The gateway has written and signed more than the older state has.
            await _until(lambda: watch.sight(TENANT).tail > site.entries)
        else:
            writing.cancel()
            await asyncio.gather(writing, return_exceptions=True)
            await _until(lambda: watch.sight(TENANT).tail >= site.entries)
        size = await _signed(site, name, keeper)
        at = site.entries // 2
        async with await psycopg.AsyncConnection.connect(make_conninfo(site.admin_dsn, dbname=name)) as db:
            for statement in SILENT if one.silent else ():
                await db.execute(statement)
            await one.move(db, at)
        if one.name == ROLLBACK:
            await site.put_back(name, older)
        changed, clock = now(), time.monotonic()
        writing.cancel()
        await asyncio.gather(writing, return_exceptions=True)
        writing = asyncio.create_task(_write_on(log, interval_s))

        def found() -> Finding | None:
            return next((each for each in watch.findings(TENANT) if one.expects(each, at, size)), None)

        try:
            await _until(lambda: found() is not None)
        except TimeoutError:
            return Result(one.name, None, next(iter(watch.findings(TENANT)), None), since_holds=False)
        seconds, finding = time.monotonic() - clock, found()
        assert finding is not None
        quick_s = watch.sight(TENANT).quick_s
        holds = finding.since is not None and begun <= finding.since <= changed
        return Result(one.name, seconds, finding, since_holds=holds, quick_s=quick_s)
    finally:
        writing.cancel()
        await asyncio.gather(writing, return_exceptions=True)
        await watch.close()
        keeper_closed = asyncio.create_task(keeper.close())
        await keeper_closed
        await log.close()
        await pool.close()
        await site.drop(name)
        await site.drop(older)


async def _signed(site: Site, name: str, keeper: Keeper) -> int:
    """Sign what there is; how much that is."""
    await keeper.seal(TENANT)
    async with await psycopg.AsyncConnection.connect(unwalled(site.dsn(name))) as db:
        found = await db.execute("SELECT max(size) FROM audit_checkpoint WHERE tenant = %s", (TENANT,))
        row = await found.fetchone()
    return int(row[0]) if row else 0


async def _write_on(log: AuditLog, interval_s: float) -> None:
    """Life goes on: an entry now and then."""
    number = 1_000_000
    while True:
        number += 1
        with contextlib.suppress(AuditUnavailable):
            await log.append(make_entry(TENANT, number))
        await asyncio.sleep(interval_s / 3)


async def _until(condition: Callable[[], bool], seconds: float = GIVE_UP_S) -> None:
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.02)


async def run(entries: int, interval_s: float, slice_entries: int, only: str = "") -> bool:
    """The drill on a server of its own, what has `only` in its name; whether all was found, named, in time."""
    out = Console(highlight=False, soft_wrap=True)
    folder = Path(tempfile.mkdtemp(prefix="crmgate-drill-pg-"))
    server = EmbeddedPostgres(folder)
    server.start()
    try:
        with psycopg.connect(server.admin_dsn, autocommit=True) as db:
            db.execute(sql.SQL("CREATE DATABASE empty OWNER {}").format(sql.Identifier(ROLE)))
        migrate(make_conninfo(server.dsn, dbname="empty"))
        site = Site(server.admin_dsn, server.dsn, "empty", entries)
        with tempfile.TemporaryDirectory(prefix="crmgate-drill-notes-") as filled:
            await site.fill(Path(filled))
        good, quick = 0, list[float]()
        chosen = [one for one in MANIPULATIONS if only in one.name]
        for one in chosen:
            with tempfile.TemporaryDirectory(prefix="crmgate-drill-notes-") as notes:
                result = await attempt(site, one, Path(notes), interval_s, slice_entries)
            fine = result.seconds is not None and result.seconds <= interval_s + LIMIT_S and result.since_holds
            good += fine
            quick.append(result.quick_s)
            out.print(f"{'found' if fine else 'FAILED':6}  {one.name:45}  {_tell(result)}", markup=False)
        out.print(
            f"{good} of {len(chosen)} found within {LIMIT_S:g} s of the next checkpoint, {entries} entries;"
            f" a quick sweep of all of them took {statistics.median(quick):.1f} s with {SHARE:.0%} of a core"
        )
        return good == len(chosen)
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)


def _tell(result: Result) -> str:
    finding = result.finding
    if finding is None:
        return "nothing was found"
    where = f"entries {finding.span[0]} to {finding.span[1]}" if finding.span else f"checkpoint {finding.checkpoint}"
    took = "not as expected" if result.seconds is None else f"{result.seconds:.1f} s"
    since = f"{finding.since:%H:%M:%S}" if finding.since else "?"
    return f"{took}  {where}: {finding.text}; whole at {since}, found at {finding.found_at:%H:%M:%S}"


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--entries", type=int, default=20_000)
    parser.add_argument("--only", default="", help="manipulations with this in their names")
    chosen = parser.parse_args()
    return 0 if asyncio.run(run(chosen.entries, INTERVAL_S, SLICE_ENTRIES, chosen.only)) else 1


if __name__ == "__main__":
    sys.exit(main())
