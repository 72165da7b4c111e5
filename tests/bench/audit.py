"""`make bench-audit`: what the audit trail does and costs on a real PostgreSQL with fsync and synchronous commits.

Durable events a second through `AuditLog` (rounds in turn with a peer: plain COPY of the same rows in batches of 256
and a commit each, its text made beforehand, no hashes, no gapless index); bytes of an event on disk; the newest hundred
events of one customer in the hot part; full verification in a process of its own, at two sizes, so that what grows with
the size is seen. The cold part has benches of its own beside this file.
"""

import argparse
import asyncio
import itertools
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
import uvloop
from rich import box
from rich.console import Console
from rich.table import Table

from audit import store
from audit.checkpoint import Keeper
from audit.entry import AuditEntry, encode
from audit.log import AuditLog
from audit.note import Signer, origin_of
from audit.tree import leaf_hash
from audit.watch import SHARE, Watch
from gateway.database import EmbeddedPostgres, migrate, open_pool
from tests.bench.audit_entries import TENANT, entries
from tests.bench.figures import Goal, print_goals
from tests.bench.process import cpu_seconds, tree
from tests.conftest import unwalled

EVENTS, ROUNDS, ROUND_EVENTS = 300_000, 5, 50_000
IN_FLIGHT = 2_048  # events that wait for their commit at a time: that many exchanges under way
PEER_BATCH = 256
SIGNER = Signer(bytes(range(32)))
LOOKED_UP = 100
LIMIT = 100
COLUMNS = "tenant, index, at, kind, actor, operation, entity, record, reason, status, exchange, body, leaf"


@dataclass(frozen=True, slots=True)
class Rate:
    """One round: events a second, and CPU µs an event in this process and in PostgreSQL."""

    per_second: float
    own_us: float
    postgres_us: float


@dataclass(frozen=True, slots=True)
class Verification:
    """As `audit_verify` tells it."""

    entries: int
    signed: int
    seconds: float
    cpu_s: float
    memory_mb: float


class Stopwatch:
    """Wall clock and CPU since it was made."""

    def __init__(self, server: EmbeddedPostgres) -> None:
        self._postmaster = int((server.data / "postmaster.pid").read_text().split()[0])
        self._wall, self._own, self._postgres = time.perf_counter(), time.process_time(), self._server_s()

    def rate(self, events: int) -> Rate:
        """What so many events took."""
        wall, own = time.perf_counter() - self._wall, time.process_time() - self._own
        return Rate(events / wall, own / events * 1e6, (self._server_s() - self._postgres) / events * 1e6)

    def _server_s(self) -> float:
        return cpu_seconds(tree(self._postmaster))


async def append_all(log: AuditLog, made: Iterable[AuditEntry]) -> None:
    """Write entries, so many at a time waiting for their commit."""
    waiting: deque[asyncio.Future[int]] = deque()
    for entry in made:
        waiting.append(log.submit(entry))
        if len(waiting) >= IN_FLIGHT:
            await waiting.popleft()
    for one in waiting:
        await one


def copy_texts(made: Sequence[AuditEntry], first: int) -> list[bytes]:
    """The same rows as text for COPY, a batch each."""
    lines = []
    for index, entry in enumerate(made, first):
        body = encode(entry)
        e = entry
        lines.append(
            f"{e.tenant}\t{index}\t{e.at.isoformat()}\t{e.kind}\t{e.actor}\t{e.operation}\t{e.entity}\t{e.record}\t"
            f"{e.reason}\t{e.status}\t{e.exchange}\t\\\\x{body.hex()}\t\\\\x{leaf_hash(body).hex()}\n".encode()
        )
    return [b"".join(lines[at : at + PEER_BATCH]) for at in range(0, len(lines), PEER_BATCH)]


def copy_all(connection: psycopg.Connection[Any], texts: Sequence[bytes]) -> None:
    """The peer: COPY and commit, batch by batch."""
    for text in texts:
        with connection.transaction(), connection.cursor().copy(f"COPY peer_entry ({COLUMNS}) FROM STDIN") as copy:
            copy.write(text)


def measure_appending(server: EmbeddedPostgres, rounds: int, events: int) -> tuple[list[Rate], list[Rate]]:
    """Rates of the log and of the peer, in turn."""
    source, ours, peer = entries(1, 100_000), list[Rate](), list[Rate]()
    with psycopg.connect(server.dsn, autocommit=True) as connection:
        connection.execute("CREATE TABLE peer_entry (LIKE audit_entry INCLUDING INDEXES INCLUDING CONSTRAINTS)")
        connection.execute("SET synchronous_commit = on")
        for number in range(rounds):
            made = list(itertools.islice(source, events))
            texts = copy_texts(made, number * events)

            async def append(made: list[AuditEntry] = made) -> Rate:
                log = AuditLog(server.dsn)
                await log.start()
                watch = Stopwatch(server)
                await append_all(log, made)
                rate = watch.rate(events)
                await log.close()
                return rate

            ours.append(uvloop.run(append()))
            watch = Stopwatch(server)
            copy_all(connection, texts)
            peer.append(watch.rate(events))
        connection.execute("DROP TABLE peer_entry")
    return ours, peer


async def fill(server: EmbeddedPostgres, upto: int, source: Iterator[AuditEntry], folder: Path) -> None:
    """Go on until the log has so many entries, with checkpoints as in service."""
    log, pool = AuditLog(server.dsn), await open_pool(server.dsn, max_size=2)
    await log.start()
    keeper = Keeper(pool, SIGNER, folder, now=lambda: datetime.now(UTC))
    await keeper.start()
    async with pool.of(TENANT) as connection:
        known = await store.size(connection, TENANT)
    try:
        await append_all(log, itertools.islice(source, max(0, upto - known)))
    finally:
        await log.close()
        await keeper.close()
        await pool.close()


def measure_size(server: EmbeddedPostgres) -> dict[str, float]:
    """Bytes an event of the table and its indexes."""
    with psycopg.connect(unwalled(server.dsn), autocommit=True) as connection:
        connection.execute("VACUUM (ANALYZE) audit_entry")
        found = connection.execute(
            "SELECT count(*), sum(octet_length(body)), pg_table_size('audit_entry') FROM audit_entry"
        ).fetchone()
        assert found is not None
        count = int(found[0])
        sizes = {"(the body alone)": int(found[1]) / count, "table": int(found[2]) / count}
        for name, size in connection.execute(
            "SELECT indexrelid::regclass::text, pg_relation_size(indexrelid) FROM pg_index"
            " WHERE indrelid = 'audit_entry'::regclass ORDER BY 2 DESC"
        ):
            sizes[f"index {name}"] = size / count
    return sizes


async def measure_search(server: EmbeddedPostgres, customers: int) -> list[float]:
    """Seconds of looking up one customer after another."""
    pool, spent = await open_pool(server.dsn, max_size=1), []
    try:
        for number in range(LOOKED_UP):
            wanted = store.Filters(entity="contact", record=str(number * (customers // LOOKED_UP)))
            began = time.perf_counter()
            async with pool.of(TENANT) as connection:
                await store.select(connection, TENANT, wanted, LIMIT)
            spent.append(time.perf_counter() - began)
    finally:
        await pool.close()
    return spent


async def measure_watch(server: EmbeddedPostgres, folder: Path) -> Rate:
    """A quick sweep of the watch over everything, without rests; the imprints are made before."""
    pool = await open_pool(server.dsn, max_size=2)
    try:
        watch = Watch(pool, SIGNER.verifier, folder, now=lambda: datetime.now(UTC), share=1.0)
        await watch.round()
        while watch.behind(TENANT):
            await watch.round()
        spent, count = Stopwatch(server), watch.sight(TENANT).tail
        await watch.sweep()
        rate = spent.rate(count)
        if watch.findings(TENANT) or watch.sight(TENANT).whole_at is None:
            raise SystemExit("the watch does not find the log whole")
        return rate
    finally:
        await pool.close()


def measure_verification(server: EmbeddedPostgres) -> Verification:
    """Verify all there is in a process of its own."""
    vkey = SIGNER.verifier.vkey(origin_of(TENANT))
    command = [sys.executable, "-m", "tests.bench.audit_verify", server.dsn, TENANT, vkey]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr)
    return Verification(**json.loads(done.stdout))


def show_rates(console: Console, ours: list[Rate], peer: list[Rate]) -> float:
    """The table of the rates; the log's median of events a second."""
    table = Table(title="Durable events", box=box.SIMPLE_HEAD, title_justify="left")
    for name in ("", "events/s: median", "least", "most", "CPU µs: client", "PostgreSQL"):
        table.add_column(name, justify="right" if name else "left")
    for name, rates in (("AuditLog", ours), (f"peer: COPY, commit of {PEER_BATCH}, made before", peer)):
        seconds = [one.per_second for one in rates]
        table.add_row(
            name,
            *(f"{figure:,.0f}" for figure in (statistics.median(seconds), min(seconds), max(seconds))),
            *(f"{statistics.median(one):.1f}" for one in ([r.own_us for r in rates], [r.postgres_us for r in rates])),
        )
    console.print(table)
    ratio = statistics.median(mine.per_second / other.per_second for mine, other in zip(ours, peer, strict=True))
    console.print(
        f"  AuditLog does {ratio:.2f} of what the peer does (median of {len(ours)} rounds, each beside its own)"
    )
    return statistics.median(one.per_second for one in ours)


def show_rest(
    console: Console,
    sizes: dict[str, float],
    spent: list[float],
    seen: Sequence[Verification],
    customers: int,
    swept: Rate,
) -> None:
    """Bytes, search, verification, watch."""
    table = Table(title="Hot part", box=box.SIMPLE_HEAD, title_justify="left", show_header=False)
    table.add_column()
    table.add_column(justify="right")
    for name, size in sizes.items():
        table.add_row(f"bytes an event: {name}", f"{size:,.1f}")
    on_disk = sum(size for name, size in sizes.items() if not name.startswith("("))
    table.add_row("bytes an event on disk, all", f"{on_disk:,.1f}")
    ordered = sorted(spent)
    for name, at in (("median", len(ordered) // 2), ("slowest", -1)):
        what = f"one of {customers:,} customers among {seen[-1].entries:,} events, newest {LIMIT}: {name}"
        table.add_row(what, f"{ordered[at] * 1000:.2f} ms")
    for one in seen:
        what = f"full verification of {one.entries:,} events ({one.signed:,} signed)"
        rate = one.entries / one.seconds
        table.add_row(what, f"{rate:,.0f}/s, {one.cpu_s / one.entries * 1e6:.1f} CPU µs each, {one.memory_mb:.0f} MB")
    cost = swept.own_us + swept.postgres_us
    told = f"{swept.per_second:,.0f}/s, CPU µs each: {swept.own_us:.2f} + {swept.postgres_us:.2f} PostgreSQL"
    table.add_row("quick sweep of the watch without rests", told)
    table.add_row(f"so many are swept in ten seconds with {SHARE:.0%} of a core", f"{10 * SHARE / cost * 1e6:,.0f}")
    console.print(table)


def ten_million(seen: Sequence[Verification]) -> tuple[float, float]:
    """Memory (MB) and minutes of verifying 10 M events, by what grew between the two sizes."""
    small, large = seen
    slope = max(0.0, large.memory_mb - small.memory_mb) / max(1, large.entries - small.entries)
    return large.memory_mb + slope * (10_000_000 - large.entries), 10_000_000 / large.entries * large.seconds / 60


def run(events: int, rounds: int, round_events: int, console: Console) -> bool:
    """The whole bench; whether every floor holds."""
    customers = max(LOOKED_UP, events // 20)
    with tempfile.TemporaryDirectory(prefix="crmgate-bench-") as place:
        folder = Path(place)
        folder.chmod(0o755)
        notes = folder / "notes"
        with EmbeddedPostgres(folder / "pg") as server:
            migrate(server.dsn)
            rate = show_rates(console, *measure_appending(server, rounds, round_events))
            with psycopg.connect(server.admin_dsn.replace("dbname=postgres", "dbname=crmgate"), autocommit=True) as db:
                db.execute("SET session_replication_role = replica")
                db.execute("TRUNCATE audit_entry, audit_head, audit_checkpoint")
            source, seen = entries(2, customers), []
            for upto in (events // 4, events):
                uvloop.run(fill(server, upto, source, notes))
                seen.append(measure_verification(server))
            sizes, spent = measure_size(server), uvloop.run(measure_search(server, customers))
            swept = uvloop.run(measure_watch(server, notes))
    show_rest(console, sizes, spent, seen, customers, swept)
    memory, minutes = ten_million(seen)
    known = "measured" if events == 10_000_000 else "extrapolated"
    goals = [
        Goal("durable events a second", 30_000, 100_000, rate, "/s", more=True),
        Goal("one customer, hot, median", 0.5, 0.05, statistics.median(spent), "s", note=f"{events:,} events"),
        Goal("verifying 10 M: memory", 1_000, 300, memory, "MB", note=f"{known}; {minutes:.0f} minutes"),
    ]
    print_goals(console, goals)
    return all(one.verdict != "missed" for one in goals)


def main() -> int:
    """Print the figures; exit code 1 when a floor does not hold."""
    parser = argparse.ArgumentParser(prog="make bench-audit", description=__doc__)
    parser.add_argument("--events", type=int, default=EVENTS, help="entries of the log that is searched and verified")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--round-events", type=int, default=ROUND_EVENTS)
    given = parser.parse_args()
    with suppress(KeyboardInterrupt):
        return 0 if run(given.events, given.rounds, given.round_events, Console(width=130, highlight=False)) else 1
    return 130


if __name__ == "__main__":
    sys.exit(main())
