"""Removes what need not stay: entries from the database once they are sealed, segments once their time is over.

Both look into the archive first. Of a dropped segment the signed manifest and the leaf hashes stay, so that the log can
still be proved to have grown as it did; 32 bytes an entry, in a file of the archive.
"""

import asyncio
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from urllib.parse import quote

import pyarrow as pa

from audit import index_store, store
from audit.cold import segment_store
from audit.cold.hold import Hold, holding
from audit.cold.hold_store import holds
from audit.cold.manifest import EVENT_FILE, SIGHT_FILE, Manifest, open_manifest
from audit.cold.retention import Retention
from audit.cold.sealing import fetched
from audit.cold.segment_file import bodies_of, check_leaves, check_tree, file_digest, read_entries
from audit.cold.store import ArchiveStore
from audit.index_follower import postings_of
from audit.note import Verifier
from audit.sealed import sealed_entry
from audit.tree import leaf_hash

LEAVES_LOCKED_DAYS = 10 * 366  # nothing of ours removes them after that either; S3 takes 100 years at most


@dataclass(frozen=True, slots=True)
class Pruner:
    """For every tenant. hot_days: how long sealed entries stay in the database, too; now: aware time.

    sinks: ways out to a SIEM that read entries from the database, so that those not sent yet stay.
    """

    pool: store.Pool
    stored: ArchiveStore
    verifier: Verifier
    scratch: Path
    retention: Retention
    now: Callable[[], datetime]
    hot_days: float
    sinks: Callable[[str], Sequence[str]] = lambda _tenant: ()

    async def prunable(self, tenant: str) -> Manifest | None:
        """The sealed segment whose entries may leave the database now. Raises: SegmentBroken, psycopg errors."""
        async with self.pool.of(tenant) as connection:
            start = await segment_store.hot_start(connection, tenant)
            rows = await segment_store.segments(connection, tenant)
            row = next((one for one in rows if one.first == start), None)
            if row is None or row.at_last > self.now() - timedelta(days=self.hot_days):
                return None
            sent = await segment_store.forwarded(connection, tenant, self.sinks(tenant))
            if sent is not None and sent <= row.last:
                return None
        return open_manifest(row.note, tenant, self.verifier)

    async def prune(self, tenant: str, manifest: Manifest) -> int:
        """Read the segment in the archive again, then remove its entries from the database; how many.

        Raises: SegmentBroken, ArchiveUnavailable, psycopg errors.
        """
        await asyncio.to_thread(self._check, manifest)
        async with self.pool.of(tenant) as connection:
            if await segment_store.hot_start(connection, tenant) != manifest.first:
                return 0
            return await segment_store.prune(connection, tenant, manifest.first)

    async def droppable(self, tenant: str) -> tuple[Manifest | None, Hold | None]:
        """The oldest segment whose time is over, and the hold that keeps it all the same.

        The first that no hold keeps comes before those that are held. Raises: as `prune`.
        """
        async with self.pool.of(tenant) as connection:
            start = await segment_store.hot_start(connection, tenant)
            rows = await segment_store.segments(connection, tenant)
            found = await holds(connection, tenant)
        kept: tuple[Manifest | None, Hold | None] = (None, None)
        for row in rows:
            if row.dropped_at is not None or row.last >= start:
                continue
            manifest = open_manifest(row.note, tenant, self.verifier)
            if row.leaves is not None:  # begun and cut off: its files may be gone already
                return manifest, None
            if self.retention.keep_until(manifest.classes) > self.now():
                continue
            hold = await asyncio.to_thread(self._held, found, manifest)
            if hold is None:
                return manifest, None
            kept = kept if kept[0] is not None else (manifest, hold)
        return kept

    async def drop(self, tenant: str, manifest: Manifest) -> None:
        """Keep the leaf hashes, forget the terms, remove the files. Raises: as `prune`, and ArchiveRefused."""
        async with self.pool.of(tenant) as connection:
            row = await segment_store.segment_before(connection, tenant, manifest.last + 1)
        if row is None or row.dropped_at is not None:
            return
        if row.leaves is None:
            leaves, table = await asyncio.to_thread(self._keep_leaves, manifest)
            await self._forget_terms(tenant, manifest, table)
            async with self.pool.of(tenant) as connection:
                await segment_store.note_leaves(connection, tenant, manifest.first, leaves)
        for file in manifest.files.values():
            await asyncio.to_thread(self.stored.hold, file.name, file.version, False)
            await asyncio.to_thread(self.stored.remove, file.name, file.version)
        async with self.pool.of(tenant) as connection:
            await segment_store.note_dropped(connection, tenant, manifest.first, self.now())

    async def _forget_terms(self, tenant: str, manifest: Manifest, table: pa.Table) -> None:
        """Before the files go: afterwards nothing says which terms of the index were theirs."""
        for start in range(0, manifest.count, store.FETCH_ROWS):
            part = bodies_of(table.slice(start, store.FETCH_ROWS))
            entries = [sealed_entry(index, body) for index, body in enumerate(part, manifest.first + start)]
            async with self.pool.of(tenant) as connection:
                await index_store.claim(connection, tenant, wait=True)
                await index_store.remove(connection, tenant, postings_of(entries))

    def _check(self, manifest: Manifest) -> None:
        with fetched(self.stored, list(manifest.files.values()), self.scratch) as paths:
            table = read_entries(paths[manifest.files[EVENT_FILE].name], manifest.first, manifest.last)
            check_tree(table, manifest.before, manifest.after)

    def _held(self, found: Sequence[Hold], manifest: Manifest) -> Hold | None:
        """A hold; the store is told, so that it keeps the files, too."""
        if not any(one.in_time(manifest) for one in found):
            return None
        with fetched(self.stored, list(manifest.files.values()), self.scratch) as paths:
            files = [paths[manifest.files[kind].name] for kind in (EVENT_FILE, SIGHT_FILE)]
            hold = holding(found, manifest, *files)
        if hold is not None:
            for file in manifest.files.values():
                self.stored.hold(file.name, file.version, True)
        return hold

    def _keep_leaves(self, manifest: Manifest) -> tuple[dict[str, str], pa.Table]:
        """Where they are kept, and the entries."""
        event = manifest.files[EVENT_FILE]
        name = f"{quote(manifest.tenant, safe='')}/leaves/{manifest.first:015d}-{manifest.last:015d}.leaves"
        with fetched(self.stored, [event], self.scratch) as paths, tempfile.TemporaryDirectory(dir=self.scratch) as own:
            table = read_entries(paths[event.name], manifest.first, manifest.last)
            packed = b"".join(map(leaf_hash, bodies_of(table)))
            check_leaves(packed, manifest)
            path = Path(own) / "leaves"
            path.write_bytes(packed)
            until = self.now() + timedelta(days=LEAVES_LOCKED_DAYS)
            version = self.stored.put(name, path, file_digest(path), until)
            return {"name": name, "version": version}, table
