"""Verification of a whole log: every stored byte, every index, every signed checkpoint.

Reads one snapshot of the database as a stream, a thousand entries at a time, and trusts nothing in it but what the
key outside the database has signed. It returns a report or raises `LogTampered` naming the first entry or checkpoint
that is wrong. What it cannot see: entries after the newest checkpoint that were removed within its interval of a few
seconds; `Verified.unsigned` tells how many entries no checkpoint covers yet.
"""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import orjson
from psycopg import AsyncConnection

from audit import store
from audit.checkpoint import CheckpointRefused, kept_tenants, read_newest
from audit.note import Checkpoint, NoteInvalid, Verifier, origin_of
from audit.tree import Frontier, leaf_hash


class LogTampered(Exception):  # noqa: N818 - a verdict, not a fault
    """The log is not what was written. index: first bad entry; checkpoint: size of the first bad checkpoint."""

    permanent = True

    def __init__(self, tenant: str, finding: str, *, index: int | None = None, checkpoint: int | None = None) -> None:
        place = f"entry {index}" if index is not None else f"checkpoint at {checkpoint}"
        super().__init__(f"{tenant}: {place}: {finding}")
        self.tenant = tenant
        self.finding = finding
        self.index = index
        self.checkpoint = checkpoint


@dataclass(frozen=True, slots=True)
class Verified:
    """A log found whole. signed: entries covered by the newest checkpoint."""

    tenant: str
    entries: int
    signed: int
    checkpoints: int
    root: str
    first_at: datetime | None
    last_at: datetime | None

    @property
    def unsigned(self) -> int:
        """Entries newer than the newest checkpoint."""
        return self.entries - self.signed


async def verify(conninfo: str, tenant: str, verifier: Verifier, folder: Path | None = None) -> Verified:
    """Verify one tenant's log. folder: where the newest note is kept outside the database, see `Keeper`.

    Raises: LogTampered, psycopg errors.
    """
    async with await AsyncConnection.connect(conninfo) as connection, connection.transaction():
        await store.snapshot(connection)
        await store.see(connection, tenant)
        return await _verify(connection, tenant, verifier, folder)


async def verify_all(conninfo: str, verifier: Verifier, folder: Path | None = None) -> list[Verified]:
    """Verify the log of every tenant, those included of which only the newest note is left. Raises: LogTampered."""
    async with await AsyncConnection.connect(conninfo) as connection, connection.transaction():
        await store.snapshot(connection)
        await store.see(connection, store.EVERY)
        names = set(await store.tenants(connection))
        names |= await asyncio.to_thread(kept_tenants, folder) if folder is not None else set()
        return [await _verify(connection, tenant, verifier, folder) for tenant in sorted(names)]


async def _verify(connection: store.Connection, tenant: str, verifier: Verifier, folder: Path | None) -> Verified:
    checkpoints = _Checkpoints(store.checkpoints(connection, tenant), tenant, verifier)
    await checkpoints.advance()
    frontier = Frontier()
    first_at = last_at = None
    async for rows in store.entries(connection, tenant):
        for row in rows:
            _check_entry(tenant, row, frontier.size)
            frontier.append(row.leaf)
            if checkpoints.size == frontier.size:
                await checkpoints.settle(frontier)
        first_at = first_at or rows[0].at
        last_at = rows[-1].at
    if checkpoints.next is not None:
        raise LogTampered(tenant, f"the end is missing: {checkpoints.size} entries were signed", index=frontier.size)
    claimed = await store.size(connection, tenant)
    if claimed != frontier.size:
        raise LogTampered(tenant, f"the log claims {claimed} entries", index=min(claimed, frontier.size))
    if folder is not None:
        _check_newest(tenant, verifier, folder, checkpoints.last)
    signed = checkpoints.last.size if checkpoints.last else 0
    return Verified(tenant, frontier.size, signed, checkpoints.count, frontier.root().hex(), first_at, last_at)


def _check_entry(tenant: str, row: store.StoredEntry, expected: int) -> None:
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


def _check_newest(tenant: str, verifier: Verifier, folder: Path, last: Checkpoint | None) -> None:
    """The newest note beside the key must be among the stored ones, or older."""
    try:
        kept = read_newest(folder, tenant, verifier)
    except CheckpointRefused as fault:
        raise LogTampered(tenant, str(fault), checkpoint=0) from None
    if kept is None:
        return
    if last is None or kept.size > last.size:
        raise LogTampered(tenant, "it was signed and is gone from the database", checkpoint=kept.size)
    if kept.size == last.size and kept.root != last.root:
        raise LogTampered(tenant, "another root was signed for this size", checkpoint=kept.size)


class _Checkpoints:
    """The stored checkpoints in order of size; `next` is the one to be met."""

    def __init__(self, source: AsyncIterator[store.StoredCheckpoint], tenant: str, verifier: Verifier) -> None:
        self._source = source
        self._tenant = tenant
        self._verifier = verifier
        self.next: Checkpoint | None = None
        self.last: Checkpoint | None = None
        self.size = -1
        self.count = 0

    async def advance(self) -> None:
        """Open the next note. Raises: LogTampered."""
        stored = await anext(self._source, None)
        if stored is None:
            self.next, self.size = None, -1
            return
        try:
            self.next = self._verifier.open_checkpoint(stored.note, origin_of(self._tenant))
        except NoteInvalid as fault:
            raise LogTampered(self._tenant, str(fault), checkpoint=stored.size) from None
        if self.next.size != stored.size:
            raise LogTampered(self._tenant, "another size was signed", checkpoint=stored.size)
        self.size = stored.size

    async def settle(self, frontier: Frontier) -> None:
        """Compare the tree so far with the checkpoint of its size. Raises: LogTampered."""
        assert self.next is not None
        if frontier.root() != self.next.root:
            since = self.last.size if self.last else 0
            finding = f"the root differs: an entry from {since} on was changed and hashed again"
            raise LogTampered(self._tenant, finding, checkpoint=self.next.size)
        self.last = self.next
        self.count += 1
        await self.advance()
