"""The watch reads the trail again while the gateway runs, and says what was changed, where and since when.

Each round it checks, for every tenant: the newest note kept outside the database; what was written since the last
round, byte by byte; and the next slice of the whole log, so that old entries are verified again and again at a bounded
cost. Beside the rounds the quick sweep holds every tile of 256 entries that was verified against its imprint, all of
them within seconds. Triggers that are off, or rows that were updated or deleted, make it read everything at once. What
it finds stands for a day at least and until the whole log was read again and found whole; it is written to a file
beside the key, which no right in the database reaches.
"""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import TypeVar
from urllib.parse import quote

import structlog
from psycopg import Error
from psycopg_pool import PoolClosed, PoolTimeout

from audit import store
from audit.beside import end
from audit.checkpoint import INTERVAL_S, CheckpointRefused, kept_tenants, read_newest
from audit.imprint import TILE, Imprinter, Imprints
from audit.note import Checkpoint, NoteInvalid, Verifier, origin_of
from audit.quick_sweep import QuickSweep, rest
from audit.verify import LogTampered, Span, check_kept, verify_span
from audit.watch_sight import Finding, Sight

CLOSE_S = 10.0
SLICE_ENTRIES = 10_000  # a round: with 3 s between rounds, about 4 % of a core (84,000 entries a CPU second)
ROWS_AT_ONCE = 200  # about 3 ms, then other tasks of the loop get their turn
SHARE = 0.25  # of one core, for reading again what was verified before
GUARDS = 2  # append-only triggers
FINDINGS_LIMIT = 100  # of a tenant; more say nothing new
GONE = "it was signed and is gone from the database"
SHOWN_AT_LEAST = timedelta(days=1)
Found = TypeVar("Found")


class Watch:
    """Verifies in the background; every node runs one, each for itself.

    folder: where the newest notes are, and where findings and imprints are written; told: called once for each new
    finding, may not raise; slice_entries: old entries verified in a round, of all tenants together; share: of one core,
    that the quick sweep may take, and verifying while tiles have no imprint yet.
    """

    def __init__(
        self,
        pool: store.Pool,
        verifier: Verifier,
        folder: Path,
        *,
        now: Callable[[], datetime],
        interval_s: float = INTERVAL_S,
        slice_entries: int = SLICE_ENTRIES,
        share: float = SHARE,
        told: Callable[[Finding], Awaitable[None]] | None = None,
    ) -> None:
        self._pool = pool
        self._verifier = verifier
        self._folder = folder
        self._now = now
        self._interval_s = interval_s
        self._slice_entries = slice_entries
        self._told = told
        self._share = share
        self._sights: dict[str, Sight] = {}
        self._imprints: dict[str, Imprints] = {}
        self._quick = QuickSweep(pool, share=share, suspect=self._suspect, unchanged=self._unchanged, now=now)
        self._tasks: list[asyncio.Task[None]] = []
        self._ended = asyncio.Event()
        self._faults: dict[str, str] = {}

    @property
    def fault(self) -> str:
        """What keeps the watch from looking now; "" for nothing."""
        return next(filter(None, self._faults.values()), "")

    def sight(self, tenant: str) -> Sight:
        """What is known of a tenant's trail now."""
        return self._sights.setdefault(tenant, Sight())

    def findings(self, tenant: str) -> list[Finding]:
        """What stands against a tenant's trail, oldest first."""
        return list(self.sight(tenant).findings.values())

    async def start(self) -> None:
        """Begin; the first round runs at once."""
        self._folder.mkdir(parents=True, exist_ok=True)
        self._ended.clear()
        self._tasks = [asyncio.create_task(self._again(look)) for look in (self.round, self.sweep)]

    async def close(self) -> None:
        """Stop after the slice that is being read: cut off in the middle, its cursor would stay open."""
        if self._tasks:
            self._ended.set()
            await asyncio.wait(self._tasks, timeout=CLOSE_S)
            await end(*self._tasks)
            self._tasks = []

    async def _again(self, look: Callable[[], Awaitable[None]]) -> None:
        name = look.__name__
        while True:
            try:
                await look()
                self._faults[name] = ""
            except (Error, PoolTimeout, PoolClosed, OSError) as fault:
                if self._faults.get(name) != type(fault).__name__:
                    structlog.get_logger().error("audit.watch-failed", fault=type(fault).__name__, part=name)
                self._faults[name] = type(fault).__name__
            if await rest(self._ended, self._interval_s):
                return

    async def sweep(self) -> None:
        """Look at every entry that has an imprint once. Raises: psycopg errors, PoolTimeout, PoolClosed, OSError."""
        loop = asyncio.get_running_loop()
        for tenant in sorted(await asyncio.to_thread(kept_tenants, self._folder)):
            imprints, sight = await self._imprints_of(tenant), self.sight(tenant)
            at, began = self._now(), loop.time()
            known = set(sight.sizes)
            async with self._pool.of(tenant) as connection:
                there = await store.checkpoint_sizes(connection, tenant)
            if gone := known - there:
                await self._find(tenant, GONE, checkpoint=min(gone))
            sight.remember(there)
            await self._quick.run(tenant, imprints, self._ended)
            if self._ended.is_set():
                return
            sight.quick_s = loop.time() - began
            if not self.behind(tenant):
                await self._check_rest(tenant, imprints)
                if not sight.findings:
                    sight.whole_at = at

    def behind(self, tenant: str) -> bool:
        """Whether some of what is signed has no imprint yet, so that the quick sweep does not know it."""
        sight, imprints = self.sight(tenant), self._imprints.get(tenant)
        if sight.tail < 0 or imprints is None:
            return True
        pruned = -(-sight.hot // TILE)  # the first tile that is whole in the database
        return imprints.count - imprints.known_before(pruned) < sight.tail // TILE - pruned

    async def _check_rest(self, tenant: str, imprints: Imprints) -> None:
        """The newest entries, which do not fill a tile."""
        async with self._pool.of(tenant) as connection:
            await store.snapshot(connection)
            before = await store.checkpoint_within(connection, tenant, 0, imprints.tiles * TILE)
            start = before.size if before is not None else 0
            await self._check(tenant, self._span(connection, tenant, start, None, Imprinter(), 0))

    async def _imprints_of(self, tenant: str) -> Imprints:
        if tenant not in self._imprints:
            read = await asyncio.to_thread(Imprints, self._folder, tenant)
            self._imprints.setdefault(tenant, read)
        return self._imprints[tenant]

    def _unchanged(self, tenant: str, first: int, end: int, at: datetime) -> None:
        sight = self.sight(tenant)
        sight.saw(first * TILE, end * TILE, at, None)
        for tile in [one for one in sight.suspects if first <= one < end]:
            del sight.suspects[tile]

    async def _suspect(self, connection: store.Connection, tenant: str, tile: int, found: bytes) -> None:
        """Verify a tile whose bytes are others, with what is signed around it, and say what was changed."""
        sight, start, end = self.sight(tenant), tile * TILE, (tile + 1) * TILE
        spans = (one.span for one in sight.findings.values() if one.span is not None)
        known = any(first <= start and end - 1 <= last for first, last in spans)
        if sight.suspects.get(tile) == found or known or len(sight.findings) >= FINDINGS_LIMIT:
            return
        sight.suspects[tile] = found
        before = await store.checkpoint_within(connection, tenant, 0, start)
        upto = await store.checkpoint_from(connection, tenant, end)
        printer = Imprinter()
        since = before.size if before is not None else 0
        span = await self._check(tenant, self._span(connection, tenant, since, upto, printer, end))
        if span is not None and (not span.signed or span.signed[-1] < end or self._imprints[tenant].of(tile) != found):
            await self._find(tenant, "they are not the entries that were verified before", span=(start, end - 1))

    async def round(self) -> None:
        """Look at every tenant once. Raises: psycopg errors, PoolTimeout, PoolClosed, OSError."""
        names = await asyncio.to_thread(kept_tenants, self._folder)
        async with self._pool.of(store.EVERY) as connection:
            names |= set(await store.tenants(connection))
            wire = await store.tripwire(connection)
        budget = max(self._slice_entries // max(len(names), 1), ROWS_AT_ONCE)
        for tenant in sorted(names):
            await self._look(tenant, wire, budget, self._share * self._interval_s / len(names))

    async def _look(self, tenant: str, wire: store.Tripwire, budget: int, allowed_s: float) -> None:
        sight = self.sight(tenant)
        await self._imprints_of(tenant)
        await self._check_tripwire(tenant, sight, wire)
        kept = await self._check(tenant, self._read_kept(tenant))
        async with self._pool.of(tenant) as connection:
            await store.snapshot(connection)
            await self._check_tail(connection, tenant, kept)
        loop = asyncio.get_running_loop()
        until = loop.time() + allowed_s
        while True:
            async with self._pool.of(tenant) as connection:
                await store.snapshot(connection)
                await self._check_slice(connection, tenant, budget)
            going_on = sight.urgent or (self.behind(tenant) and loop.time() < until)
            if not going_on or self._ended.is_set():
                return

    async def _read_kept(self, tenant: str) -> Checkpoint | None:
        try:
            return await asyncio.to_thread(read_newest, self._folder, tenant, self._verifier)
        except CheckpointRefused as fault:
            raise LogTampered(tenant, str(fault), checkpoint=0) from None

    async def _check_tripwire(self, tenant: str, sight: Sight, wire: store.Tripwire) -> None:
        """An alarm makes the whole log be read now; the first look of all takes what it sees as given."""
        if wire.guards < GUARDS:
            await self._find(tenant, "the triggers that keep the trail append-only are off", since=sight.whole_at)
        # Statistics of deleted rows come a moment after what is pruned: only more than ever is an alarm.
        moved = sight.touched != -1 and (wire.unexplained > sight.unexplained or wire.touched < sight.touched)
        if moved:
            await self._find(
                tenant, "rows of the trail were updated or deleted behind the gateway's back", since=sight.slice_at
            )
        if (moved or wire.guards < GUARDS or (sight.touched == -1 and wire.unexplained)) and not sight.urgent:
            self._begin_sweep(sight, urgent=True)
        reset = wire.touched < sight.touched
        sight.unexplained = wire.unexplained if reset else max(sight.unexplained, wire.unexplained)
        sight.touched = wire.touched

    def _begin_sweep(self, sight: Sight, *, urgent: bool = False) -> None:
        sight.sweep, sight.sweep_began, sight.sweep_clean, sight.urgent = 0, self._now(), True, urgent
        sight.slice_at = None

    async def _check_tail(self, connection: store.Connection, tenant: str, kept: Checkpoint | None) -> None:
        """What was written since the last round, up to the very end, and that the newest note is still there."""
        sight = self.sight(tenant)
        latest = await store.latest_checkpoint(connection, tenant)
        newest = latest.size if latest else 0
        if sight.tail < 0:
            sight.tail = newest
        await self._check(tenant, self._check_newest(tenant, kept, latest))
        if newest < sight.tail:
            await self._find(
                tenant,
                "checkpoints that were there are gone: the log was cut off or an older state put back",
                span=(newest, sight.tail - 1),
                checkpoint=sight.tail,
            )
            sight.tail = newest
        span = await self._check(tenant, self._span(connection, tenant, sight.tail, None, sight.tail_printer, newest))
        if span is not None:
            sight.remember(span.signed)
            sight.saw(span.start, newest, self._now(), None)
        sight.tail = newest

    async def _check_newest(self, tenant: str, kept: Checkpoint | None, latest: store.StoredCheckpoint | None) -> None:
        last = None
        if latest is not None:
            try:
                last = self._verifier.open_checkpoint(latest.note, origin_of(tenant))
            except NoteInvalid as fault:
                raise LogTampered(tenant, str(fault), checkpoint=latest.size) from None
        check_kept(tenant, kept, last)

    async def _check_slice(self, connection: store.Connection, tenant: str, budget: int) -> None:
        """The next part of the whole log; after a finding it goes on behind it."""
        sight = self.sight(tenant)
        if sight.sweep_began is None:
            self._begin_sweep(sight)
        sight.hot = (await store.hot(connection, tenant)).start
        start = max(sight.sweep, sight.hot)
        end = await store.checkpoint_from(connection, tenant, start + budget)
        span = await self._check(
            tenant, self._span(connection, tenant, start, end, sight.sweep_printer, sight.tail if end is None else end)
        )
        if span is not None:
            await self._check_remembered(tenant, span)
            sight.saw(start, span.signed[-1] if span.signed else start, self._now(), sight.slice_at)
        sight.slice_at = self._now()
        if end is None:
            self._end_sweep(sight)
        else:
            sight.sweep = end

    def _end_sweep(self, sight: Sight) -> None:
        if sight.sweep_clean:
            sight.whole_at = sight.sweep_began
            oldest = self._now() - SHOWN_AT_LEAST
            sight.findings = {key: one for key, one in sight.findings.items() if one.found_at > oldest}
        sight.urgent, sight.sweep_began = False, None

    async def _check_remembered(self, tenant: str, span: Span) -> None:
        """Every checkpoint that this watch has seen in the span must still be there."""
        sight = self.sight(tenant)
        last = span.signed[-1] if span.signed else span.start
        bound = sight.tail if span.open else last
        missing = {size for size in sight.sizes if span.start < size <= bound} - set(span.signed)
        if missing:
            await self._find(tenant, GONE, checkpoint=min(missing))
        sight.remember(span.signed)

    async def _span(
        self,
        connection: store.Connection,
        tenant: str,
        start: int,
        end: int | None,
        printer: Imprinter,
        signed: int,
    ) -> Span:
        """Verify a part; the imprints of what a checkpoint of `signed` entries covers are kept."""
        start = max(start, (await store.hot(connection, tenant)).start)
        printer.at(start)

        def seen(row: store.StoredEntry) -> None:
            if row.index < signed:
                printer.add(row)

        try:
            span = await verify_span(connection, tenant, self._verifier, start, end, ROWS_AT_ONCE, seen)
        except BaseException:
            printer.drop()
            raise
        try:
            await asyncio.to_thread(self._imprints[tenant].keep, printer.take())
            self._faults["imprints"] = ""
        except OSError as fault:  # they are in memory, and the log is read all the same
            if not self._faults.get("imprints"):
                structlog.get_logger().error("audit.imprints-not-written", tenant=tenant)
            self._faults["imprints"] = type(fault).__name__
        return span

    async def _check(self, tenant: str, check: Awaitable[Found]) -> Found | None:
        try:
            return await check
        except LogTampered as found:
            await self._find(tenant, found.finding, span=found.span, checkpoint=found.checkpoint)
            return None

    async def _find(
        self,
        tenant: str,
        text: str,
        *,
        span: tuple[int, int] | None = None,
        checkpoint: int | None = None,
        since: datetime | None = None,
    ) -> None:
        """Keep a finding; a new one is logged, written to the file beside the key, and told."""
        sight = self.sight(tenant)
        sight.sweep_clean = False
        key = f"{text} {span} {checkpoint}"
        if key in sight.findings or len(sight.findings) >= FINDINGS_LIMIT:
            return
        place = span or ((checkpoint - 1, checkpoint - 1) if checkpoint else None)
        finding = Finding(tenant, text, self._now(), since or sight.seen(place), span, checkpoint)
        sight.findings[key] = finding  # before anything is waited for: the other task must not tell it as well
        structlog.get_logger().error("audit.trail-tampered", tenant=tenant, finding=text, entries=span, size=checkpoint)
        try:
            await asyncio.to_thread(_write_finding, self._folder, finding)
        except OSError:
            structlog.get_logger().error("audit.finding-not-written", tenant=tenant)
        if self._told is not None:
            await self._told(finding)


def findings_path(folder: Path, tenant: str) -> Path:
    """The file of what was ever found in a tenant's trail, one JSON object a line."""
    return folder / f"{quote(tenant, safe='')}.findings"


def _write_finding(folder: Path, finding: Finding) -> None:
    with findings_path(folder, finding.tenant).open("a", encoding="utf-8") as file:
        file.write(finding.line())
