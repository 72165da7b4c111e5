"""The watch reads the trail again while the gateway runs, and says what was changed, where and since when.

Each round it checks, for every tenant: the newest note kept outside the database; what was written since the last
round, byte by byte; and the next slice of the whole log, so that old entries are read again and again at a bounded
cost. Triggers that are off, or rows that were updated or deleted, make it read everything at once. What it finds stands
for a day at least and until the whole log was read again and found whole; it is written to a file beside the key, which
no right in the database reaches.
"""

import asyncio
import contextlib
import json
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import TypeVar
from urllib.parse import quote

import structlog
from psycopg import Error
from psycopg_pool import PoolClosed, PoolTimeout

from audit import store
from audit.checkpoint import INTERVAL_S, CheckpointRefused, kept_tenants, read_newest
from audit.note import Checkpoint, NoteInvalid, Verifier, origin_of
from audit.verify import LogTampered, Span, check_kept, verify_span

CLOSE_S = 10.0
SLICE_ENTRIES = 10_000  # a round: with 3 s between rounds, about 4 % of a core (84,000 entries a CPU second)
ROWS_AT_ONCE = 200  # about 3 ms, then other tasks of the loop get their turn
GUARDS = 2  # append-only triggers
FINDINGS_LIMIT = 100  # of a tenant; more say nothing new
SLOT_ENTRIES = 1_024
REMEMBERED_CHECKPOINTS = 50_000
SHOWN_AT_LEAST = timedelta(days=1)
Found = TypeVar("Found")


@dataclass(frozen=True, slots=True)
class Finding:
    """What was found in a tenant's trail. found_at: by the watch; since: it was whole then (None: not known).

    span: first and last of the entries among which the changed one is; checkpoint: its size, where it is about one.
    """

    tenant: str
    text: str
    found_at: datetime
    since: datetime | None = None
    span: tuple[int, int] | None = None
    checkpoint: int | None = None

    def line(self) -> str:
        """One line of JSON for the file."""
        told = {
            "tenant": self.tenant,
            "finding": self.text,
            "found_at": self.found_at.isoformat(),
            "whole_at": self.since.isoformat() if self.since else None,
            "entries": list(self.span) if self.span else None,
            "checkpoint": self.checkpoint,
        }
        return json.dumps(told, ensure_ascii=False) + "\n"


@dataclass(slots=True)
class Sight:
    """What the watch knows of one tenant. tail: entries read since they were written; sweep: where the slice begins."""

    tail: int = -1
    sweep: int = 0
    sweep_began: datetime | None = None
    sweep_clean: bool = True
    slice_at: datetime | None = None
    whole_at: datetime | None = None
    urgent: bool = False
    touched: int = -1
    unexplained: int = -(2**63)
    findings: dict[str, Finding] = field(default_factory=dict)
    slots: dict[int, datetime] = field(default_factory=dict)
    sizes: set[int] = field(default_factory=set)

    def remember(self, sizes: Iterable[int]) -> None:
        """Keep the sizes of checkpoints that were there, the newest where they are too many."""
        self.sizes.update(sizes)
        if len(self.sizes) > 2 * REMEMBERED_CHECKPOINTS:
            self.sizes = set(sorted(self.sizes)[-REMEMBERED_CHECKPOINTS:])

    def saw(self, start: int, end: int, at: datetime, before: datetime | None) -> None:
        """Note when entries were last found whole. before: when the part that ends at `start` was."""
        for slot in range(start // SLOT_ENTRIES, -(-end // SLOT_ENTRIES)):
            first, last = slot * SLOT_ENTRIES, (slot + 1) * SLOT_ENTRIES
            if start <= first and last <= end:
                self.slots[slot] = at
            elif last <= end and before is not None:
                self.slots[slot] = before
            else:
                self.slots.setdefault(slot, at)

    def seen(self, span: tuple[int, int] | None) -> datetime | None:
        """When these entries were last found whole."""
        if span is None:
            return None
        known = [self.slots.get(slot) for slot in {span[0] // SLOT_ENTRIES, span[1] // SLOT_ENTRIES}]
        times = [time for time in known if time is not None]
        return min(times) if times and len(times) == len(known) else None


class Watch:
    """Verifies in the background; every node runs one, each for itself.

    folder: where the newest notes are, and where findings are written; told: called once for each new finding, may not
    raise; slice_entries: old entries read in a round, of all tenants together.
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
        told: Callable[[Finding], Awaitable[None]] | None = None,
    ) -> None:
        self._pool = pool
        self._verifier = verifier
        self._folder = folder
        self._now = now
        self._interval_s = interval_s
        self._slice_entries = slice_entries
        self._told = told
        self._sights: dict[str, Sight] = {}
        self._task: asyncio.Task[None] | None = None
        self._ended = asyncio.Event()
        self.fault = ""

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
        self._task = asyncio.create_task(self._run())

    async def close(self) -> None:
        """Stop after the slice that is being read: cut off in the middle, its cursor would stay open."""
        if self._task is not None:
            self._ended.set()
            await asyncio.wait([self._task], timeout=CLOSE_S)
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None

    async def _run(self) -> None:
        while not self._ended.is_set():
            try:
                await self.round()
                self.fault = ""
            except (Error, PoolTimeout, PoolClosed, OSError) as fault:
                if self.fault != type(fault).__name__:
                    structlog.get_logger().error("audit.watch-failed", fault=type(fault).__name__)
                self.fault = type(fault).__name__
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._ended.wait(), self._interval_s)

    async def round(self) -> None:
        """Look at every tenant once. Raises: psycopg errors, PoolTimeout, PoolClosed, OSError."""
        names = await asyncio.to_thread(kept_tenants, self._folder)
        async with self._pool.of(store.EVERY) as connection:
            names |= set(await store.tenants(connection))
            wire = await store.tripwire(connection)
        budget = max(self._slice_entries // max(len(names), 1), ROWS_AT_ONCE)
        for tenant in sorted(names):
            await self._look(tenant, wire, budget)

    async def _look(self, tenant: str, wire: store.Tripwire, budget: int) -> None:
        sight = self.sight(tenant)
        await self._check_tripwire(tenant, sight, wire)
        kept = await self._check(tenant, self._read_kept(tenant))
        async with self._pool.of(tenant) as connection:
            await store.snapshot(connection)
            await self._check_tail(connection, tenant, kept)
        while True:
            async with self._pool.of(tenant) as connection:
                await store.snapshot(connection)
                await self._check_slice(connection, tenant, budget)
            if not sight.urgent or self._ended.is_set():
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
        # Pruning counts at once, statistics of deleted rows come seconds later: only more than ever is an alarm.
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
        span = await self._check(tenant, self._span(connection, tenant, sight.tail, None))
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
        start = max(sight.sweep, (await store.hot(connection, tenant)).start)
        end = await store.checkpoint_from(connection, tenant, start + budget)
        span = await self._check(tenant, self._span(connection, tenant, start, end))
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
            await self._find(tenant, "it was signed and is gone from the database", checkpoint=min(missing))
        sight.remember(span.signed)

    async def _span(self, connection: store.Connection, tenant: str, start: int, end: int | None) -> Span:
        return await verify_span(connection, tenant, self._verifier, start, end, ROWS_AT_ONCE)

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
        structlog.get_logger().error("audit.trail-tampered", tenant=tenant, finding=text, entries=span, size=checkpoint)
        try:
            await asyncio.to_thread(_write_finding, self._folder, finding)
        except OSError:
            structlog.get_logger().error("audit.finding-not-written", tenant=tenant)
        sight.findings[key] = finding
        if self._told is not None:
            await self._told(finding)


def findings_path(folder: Path, tenant: str) -> Path:
    """The file of what was ever found in a tenant's trail, one JSON object a line."""
    return folder / f"{quote(tenant, safe='')}.findings"


def _write_finding(folder: Path, finding: Finding) -> None:
    with findings_path(folder, finding.tenant).open("a", encoding="utf-8") as file:
        file.write(finding.line())
