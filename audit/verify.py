"""Verification of a whole log: every stored byte, every index, every signed checkpoint.

Reads one snapshot of the database as a stream, a thousand entries at a time, and trusts nothing in it but what the
key outside the database has signed. It returns a report or raises `LogTampered` naming the first entry or checkpoint
that is wrong. What it cannot see: entries after the newest checkpoint that were removed within its interval of a few
seconds; `Verified.unsigned` tells how many entries no checkpoint covers yet.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import orjson
from psycopg import AsyncConnection

from audit import store
from audit.archive import SegmentBroken
from audit.checkpoint import CheckpointRefused, kept_tenants, read_newest
from audit.cold.manifest import check_chain, open_manifest
from audit.cold.segment_store import segments
from audit.note import Checkpoint, NoteInvalid, Verifier, origin_of
from audit.tree import Frontier, leaf_hash


class LogTampered(Exception):  # noqa: N818 - a verdict, not a fault
    """The log is not what was written. index: first bad entry; checkpoint: size of the first bad checkpoint.

    span: first and last of the entries among which the changed one is, as narrow as can be told.
    """

    permanent = True

    def __init__(
        self,
        tenant: str,
        finding: str,
        *,
        index: int | None = None,
        checkpoint: int | None = None,
        span: tuple[int, int] | None = None,
    ) -> None:
        place = f"entry {index}" if index is not None else f"checkpoint at {checkpoint}"
        super().__init__(f"{tenant}: {place}: {finding}")
        self.tenant = tenant
        self.finding = finding
        self.index = index
        self.checkpoint = checkpoint
        self.span = (index, index) if index is not None else span


@dataclass(frozen=True, slots=True)
class Verified:
    """A log found whole. signed: entries covered by the newest checkpoint; hot: index of the first in the database.

    sealed: entries in segments, whose files `crmgate audit segments --verify` reads.
    """

    tenant: str
    entries: int
    signed: int
    checkpoints: int
    root: str
    first_at: datetime | None
    last_at: datetime | None
    hot: int = 0
    sealed: int = 0

    @property
    def unsigned(self) -> int:
        """Entries newer than the newest checkpoint."""
        return self.entries - self.signed


@dataclass(frozen=True, slots=True)
class Span:
    """A part of a log found whole.

    end: number of entries up to where it was checked; signed: sizes of its checkpoints; open: the log's end is in it.
    """

    start: int
    end: int
    signed: tuple[int, ...]
    root: bytes
    last: Checkpoint | None
    first_at: datetime | None
    last_at: datetime | None
    open: bool


async def verify(conninfo: str, tenant: str, verifier: Verifier, folder: Path | None = None) -> Verified:
    """Verify one tenant's log. folder: where the newest note is kept outside the database, see `Keeper`.

    Raises: LogTampered, psycopg errors.
    """
    kept = await _kept(tenant, verifier, folder)
    async with store.reading(conninfo, tenant) as connection:
        return await _verify(connection, tenant, verifier, kept)


async def verify_all(conninfo: str, verifier: Verifier, folder: Path | None = None) -> list[Verified]:
    """Verify the log of every tenant, those included of which only the newest note is left. Raises: LogTampered."""
    names = await asyncio.to_thread(kept_tenants, folder) if folder is not None else set()
    kept = {tenant: await _kept(tenant, verifier, folder) for tenant in sorted(names)}
    async with await AsyncConnection.connect(conninfo) as connection, connection.transaction():
        await store.snapshot(connection)
        await store.see(connection, store.EVERY)
        names |= set(await store.tenants(connection))
        return [await _verify(connection, tenant, verifier, kept.get(tenant)) for tenant in sorted(names)]


async def _kept(tenant: str, verifier: Verifier, folder: Path | None) -> Checkpoint | None:
    """The newest note outside the database, to be read before the snapshot: signing goes on meanwhile."""
    if folder is None:
        return None
    try:
        return await asyncio.to_thread(read_newest, folder, tenant, verifier)
    except CheckpointRefused as fault:
        raise LogTampered(tenant, str(fault), checkpoint=0) from None


async def _verify(connection: store.Connection, tenant: str, verifier: Verifier, kept: Checkpoint | None) -> Verified:
    span = await verify_span(connection, tenant, verifier, 0, None)
    check_kept(tenant, kept, span.last)
    signed = span.last.size if span.last else 0
    sealed = await _check_segments(connection, tenant, verifier)
    return Verified(
        tenant, span.end, signed, len(span.signed), span.root.hex(), span.first_at, span.last_at, span.start, sealed
    )


async def _check_segments(connection: store.Connection, tenant: str, verifier: Verifier) -> int:
    """The chain of signed manifests must be whole, from the first entry on; how many entries it covers."""
    rows = await segments(connection, tenant)
    try:
        chain = await asyncio.to_thread(check_chain, [row.note for row in rows], tenant, verifier)
    except SegmentBroken as fault:
        raise LogTampered(tenant, str(fault), index=0) from None
    return chain[-1].last + 1 if chain else 0


async def verify_span(
    connection: store.Connection,
    tenant: str,
    verifier: Verifier,
    start: int,
    end: int | None,
    rows_at_once: int = store.FETCH_ROWS,
) -> Span:
    """Verify from the checkpoint of size `start` (0: the beginning) to that of size `end` (None: the end of the log).

    What was pruned in front of the hot part is stood for by the signed manifest of the segment that ends there.
    Needs a transaction that reads one snapshot. Lets other tasks run between fetches.
    Raises: LogTampered, psycopg errors.
    """
    hot = await store.hot(connection, tenant)
    start = max(start, hot.start)
    if end is not None and end <= start:
        return Span(start, start, (), b"", None, None, None, False)
    if hot.start == start > 0:
        frontier, above = _sealed_frontier(tenant, verifier, hot), start - 1
    else:
        frontier, above = await _signed_frontier(connection, tenant, verifier, start), start if start else -1
    first_at = last_at = None
    async with (
        aclosing(store.checkpoints(connection, tenant, above, end)) as stored,
        aclosing(store.entries(connection, tenant, start, end, rows_at_once)) as batches,
    ):
        checkpoints = _Checkpoints(stored, tenant, verifier, start)
        await checkpoints.advance()
        if checkpoints.size == frontier.size:
            await checkpoints.settle(frontier)
        async for rows in batches:
            for row in rows:
                _check_entry(tenant, row, frontier.size)
                frontier.append(row.leaf)
                if checkpoints.size == frontier.size:
                    await checkpoints.settle(frontier)
            first_at = first_at or rows[0].at
            last_at = rows[-1].at
            await asyncio.sleep(0)
    if checkpoints.next is not None:
        raise LogTampered(tenant, f"the end is missing: {checkpoints.size} entries were signed", index=frontier.size)
    claimed = await store.size(connection, tenant) if end is None else end
    if claimed != frontier.size:
        raise LogTampered(tenant, f"the log claims {claimed} entries", index=min(claimed, frontier.size))
    signed = tuple(checkpoints.signed)
    return Span(start, frontier.size, signed, frontier.root(), checkpoints.last, first_at, last_at, end is None)


def _sealed_frontier(tenant: str, verifier: Verifier, hot: store.Hot) -> Frontier:
    """The tree of the sealed segments in front of the hot part, proved to be what was signed."""
    span = (0, hot.start - 1)
    try:
        manifest = open_manifest(hot.manifest, tenant, verifier)
    except SegmentBroken:
        finding = f"entries before {hot.start} are gone and no signed segment stands for them"
        raise LogTampered(tenant, finding, checkpoint=hot.start, span=span) from None
    if manifest.last != hot.start - 1 or manifest.after.to_bytes() != hot.frontier:
        finding = f"the segment before entry {hot.start} is not the one that was signed"
        raise LogTampered(tenant, finding, checkpoint=hot.start, span=span)
    return manifest.after


async def _signed_frontier(connection: store.Connection, tenant: str, verifier: Verifier, size: int) -> Frontier:
    """The tree of a stored checkpoint, proved to be the one that was signed."""
    if not size:
        return Frontier()
    kept = await store.checkpoint_within(connection, tenant, size - 1, size)
    if kept is None:
        raise LogTampered(tenant, "it was signed and is gone from the database", checkpoint=size)
    try:
        signed = verifier.open_checkpoint(kept.note, origin_of(tenant))
        frontier = Frontier.from_bytes(signed.size, kept.frontier)
    except NoteInvalid as fault:
        raise LogTampered(tenant, str(fault), checkpoint=size) from None
    except ValueError:
        raise LogTampered(tenant, "its frontier does not fit", checkpoint=size) from None
    if signed.size != size or frontier.root() != signed.root:
        raise LogTampered(tenant, "its frontier or size is not what was signed", checkpoint=size)
    return frontier


def _check_entry(tenant: str, row: store.StoredEntry, expected: int) -> None:
    if row.index < expected:
        raise LogTampered(tenant, "the entry stands there twice", index=row.index)
    if row.index != expected:
        raise LogTampered(tenant, "the entry is missing", index=expected)
    if leaf_hash(row.body) != row.leaf:
        raise LogTampered(tenant, "its bytes do not fit its hash", index=row.index)
    try:
        content = orjson.loads(row.body)
        same = (
            content["tenant"] == tenant
            and content["actor"] == row.actor
            and content["kind"] == row.kind
            and content["operation"] == row.operation
            and content["entity"] == row.entity
            and content["record"] == row.record
            and content["reason"] == row.reason
            and content["status"] == row.status
            and content["exchange"] == row.exchange
            and datetime.fromisoformat(content["at"]) == row.at
        )
    except (ValueError, KeyError, TypeError):
        same = False
    if not same:
        raise LogTampered(tenant, "a column differs from the hashed bytes", index=row.index)


def check_kept(tenant: str, kept: Checkpoint | None, last: Checkpoint | None) -> None:
    """The newest note kept outside must be among the stored ones, or older. Raises: LogTampered."""
    if kept is None:
        return
    if last is None or kept.size > last.size:
        finding = "it was signed and is gone from the database: the log was cut off or an older state put back"
        first = last.size if last else 0
        raise LogTampered(tenant, finding, checkpoint=kept.size, span=(first, kept.size - 1))
    if kept.size == last.size and kept.root != last.root:
        raise LogTampered(tenant, "another root was signed for this size", checkpoint=kept.size)


class _Checkpoints:
    """The stored checkpoints in order of size; `next` is the one to be met."""

    def __init__(
        self, source: AsyncIterator[store.StoredCheckpoint], tenant: str, verifier: Verifier, since: int
    ) -> None:
        self._source = source
        self._tenant = tenant
        self._verifier = verifier
        self.next: Checkpoint | None = None
        self.last: Checkpoint | None = None
        self.size = -1
        self.signed: list[int] = []
        self._since = since

    async def advance(self) -> None:
        """Open the next note. Raises: LogTampered."""
        stored = await anext(self._source, None)
        if stored is None:
            self.next, self.size = None, -1
            return
        span = (self._since, max(self._since, stored.size - 1))
        try:
            self.next = self._verifier.open_checkpoint(stored.note, origin_of(self._tenant))
        except NoteInvalid as fault:
            raise LogTampered(self._tenant, str(fault), checkpoint=stored.size, span=span) from None
        if self.next.size != stored.size:
            raise LogTampered(self._tenant, "another size was signed", checkpoint=stored.size, span=span)
        self.size = stored.size

    async def settle(self, frontier: Frontier) -> None:
        """Compare the tree so far with the checkpoint of its size. Raises: LogTampered."""
        assert self.next is not None
        if frontier.root() != self.next.root:
            finding = f"the root differs: an entry from {self._since} on was changed, moved or hashed again"
            span = (self._since, self.next.size - 1)
            raise LogTampered(self._tenant, finding, checkpoint=self.next.size, span=span)
        self.last = self.next
        self._since = self.next.size
        self.signed.append(self.next.size)
        await self.advance()
