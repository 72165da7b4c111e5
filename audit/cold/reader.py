"""Hands out segments as local files: the chain of manifests checked, and every file's bytes before its first use.

A file's SHA-256 is taken once: after that, device, inode, size and both times of the file stand for its bytes, noted in
the cache folder. Files of a store elsewhere are fetched into that folder, the least used ones go when it is full.
"""

import asyncio
import contextlib
import json
import os
from collections.abc import Awaitable, Callable, Collection, Iterator, Sequence
from datetime import datetime
from pathlib import Path

import pyarrow as pa

from audit.archive import ArchiveUnavailable, Segment, SegmentBroken, SegmentGone, Span, Wanted
from audit.cold.manifest import EVENT_FILE, SIGHT_FILE, SOUGHT_FILE, Manifest, SealedFile, check_chain
from audit.cold.matching import matching_rows
from audit.cold.segment_file import bodies_of, check_leaves, file_digest, pick_bodies, read_entries
from audit.cold.segment_store import StoredSegment
from audit.cold.sought import may_hold
from audit.cold.store import ArchiveStore
from audit.note import Verifier
from audit.store import Filters, StoredEntry
from audit.tree import HASH_BYTES, leaf_hash

CACHE_BYTES = 20 * 1024**3
_CHECKED = "checked.json"

Notes = Callable[[str], Awaitable[Sequence[StoredSegment]]]
"""The segments of a tenant in order, those included of which retention dropped the files."""


class ArchiveReader:
    """The archive of a process. cache: a folder of its own; cache_bytes: how much may be fetched into it."""

    def __init__(
        self, notes: Notes, stored: ArchiveStore, verifier: Verifier, cache: Path, cache_bytes: int = CACHE_BYTES
    ) -> None:
        self._notes = notes
        self._store = stored
        self._verifier = verifier
        self._cache = cache
        self._cache_bytes = cache_bytes
        self._checked: dict[str, list[object]] | None = None
        self._opened: dict[str, dict[str, Manifest]] = {}
        self._last: tuple[str, pa.Table] | None = None
        self._turn = asyncio.Lock()

    async def segments(
        self,
        tenant: str,
        since: datetime | None = None,
        until: datetime | None = None,
        wanted: Sequence[Wanted] = ({},),
    ) -> list[Segment]:
        """See `Archive`."""
        within = [
            one
            for one in await self.manifests(tenant)
            if (since is None or one.at_last >= since) and (until is None or one.at_first < until)
        ]
        async with self._turn:
            return await asyncio.to_thread(self._bring, within, wanted)

    async def spans(self, tenant: str) -> list[Span]:
        """See `Archive`."""
        return [
            Span(one.first, one.last, one.at_first, one.at_last, row.dropped_at is not None)
            for one, row in await self._chain(tenant)
        ]

    async def picked(self, tenant: str, span: Span, indexes: Collection[int]) -> dict[int, bytes]:
        """See `Archive`."""
        path = await self._event_of(tenant, span)
        return await asyncio.to_thread(pick_bodies, path, indexes)

    async def matched(self, tenant: str, span: Span, filters: Filters, before: int) -> list[StoredEntry]:
        """See `Archive`."""
        path = await self._event_of(tenant, span)
        return await asyncio.to_thread(matching_rows, path, filters, before)

    async def _event_of(self, tenant: str, span: Span) -> Path:
        # The chain was checked when the span was told: once for all segments of a page.
        known = self._opened.get(tenant, {}).values()
        one = next((one for one in known if (one.first, one.last) == (span.first, span.last)), None)
        if one is None:
            raise SegmentBroken(f"entries {span.first} to {span.last} are no segment of this archive")
        async with self._turn:
            return await asyncio.to_thread(self._event_file, one.files[EVENT_FILE])

    async def bodies(self, tenant: str, start: int, end: int) -> list[bytes]:
        """See `Archive`."""
        found: list[bytes] = []
        for one in await self.manifests(tenant):
            at = start + len(found)
            if one.first <= at <= one.last and at < end:
                async with self._turn:
                    found += await asyncio.to_thread(self._bodies, one, at, end)
        return found

    async def leaves(self, tenant: str, start: int, end: int) -> list[bytes]:
        """See `Archive`."""
        found: list[bytes] = []
        for one, row in await self._chain(tenant):
            at = start + len(found)
            if not (one.first <= at <= one.last and at < end):
                continue
            async with self._turn:
                if row.dropped_at is None:
                    found += map(leaf_hash, await asyncio.to_thread(self._bodies, one, at, end))
                else:
                    found += await asyncio.to_thread(self._kept_leaves, one, row, at, end)
        return found

    def _event_file(self, file: SealedFile) -> Path:
        self._make_folder()
        self._room_for([file])
        path = self._file(file)
        self._save()
        return path

    def _bodies(self, one: Manifest, start: int, end: int) -> list[bytes]:
        file = one.files[EVENT_FILE]
        path = self._event_file(file)
        # Proofs of neighbours need the same segment again.
        if self._last is None or self._last[0] != file.sha256:
            self._last = file.sha256, read_entries(path, one.first, one.last)
        table = self._last[1]
        return list(bodies_of(table.slice(start - one.first, min(end, one.last + 1) - start)))

    def _kept_leaves(self, one: Manifest, row: StoredSegment, start: int, end: int) -> list[bytes]:
        kept = row.leaves or {}
        self._make_folder()
        path = self._cache / f".{os.getpid()}.leaves"
        try:
            self._store.fetch(kept.get("name", "none"), kept.get("version", ""), path)
            packed = path.read_bytes()
        finally:
            path.unlink(missing_ok=True)
        check_leaves(packed, one)
        first, last = start - one.first, min(end, one.last + 1) - one.first
        return [packed[at * HASH_BYTES : (at + 1) * HASH_BYTES] for at in range(first, last)]

    def _make_folder(self) -> None:
        with _usable():
            self._cache.mkdir(parents=True, exist_ok=True, mode=0o700)

    async def manifests(self, tenant: str) -> list[Manifest]:
        """Manifests of the segments that are still there, the chain checked. Raises: SegmentBroken."""
        return [one for one, row in await self._chain(tenant) if row.dropped_at is None]

    async def _chain(self, tenant: str) -> list[tuple[Manifest, StoredSegment]]:
        rows = await self._notes(tenant)
        opened = self._opened.setdefault(tenant, {})
        found = await asyncio.to_thread(check_chain, [row.note for row in rows], tenant, self._verifier, opened)
        return list(zip(found, rows, strict=True))

    def _bring(self, within: Sequence[Manifest], wanted: Sequence[Wanted]) -> list[Segment]:
        self._make_folder()
        needed = within
        if all(wanted):  # else something fits every row
            self._room_for([one.files[SOUGHT_FILE] for one in within if SOUGHT_FILE in one.files])
            needed = [one for one in within if self._may_hold(one, wanted)]
        self._room_for([one.files[kind] for one in needed for kind in (EVENT_FILE, SIGHT_FILE)])
        bring = {one.first for one in needed}
        found = [self._segment(one, bring=one.first in bring) for one in within]
        self._save()
        return found

    def _may_hold(self, one: Manifest, wanted: Sequence[Wanted]) -> bool:
        file = one.files.get(SOUGHT_FILE)
        if file is None:
            return True
        try:
            return may_hold(self._file(file), wanted)
        except OSError as fault:
            raise ArchiveUnavailable(f"{file.name} cannot be read: {fault.strerror}") from None

    def _segment(self, one: Manifest, *, bring: bool) -> Segment:
        files = [one.files[kind] for kind in (EVENT_FILE, SIGHT_FILE)]
        event, sight = (
            self._file(file) if bring else self._store.local(file.name) or self._cached(file) for file in files
        )
        return Segment(one.tenant, one.first, one.last, one.at_first, one.at_last, event, sight, passed_over=not bring)

    def _room_for(self, files: Sequence[SealedFile]) -> None:
        self._make_room([file for file in files if self._store.local(file.name) is None])

    def _file(self, file: SealedFile) -> Path:
        path = self._store.local(file.name)
        if path is None:
            path = self._cached(file)
            if not path.exists():
                draft = path.with_suffix(f".{os.getpid()}.draft")
                try:
                    self._store.fetch(file.name, file.version, draft)
                    self._check(file, draft)
                    draft.replace(path)
                finally:
                    draft.unlink(missing_ok=True)
            os.utime(path)
        self._check(file, path)
        return path

    def _check(self, file: SealedFile, path: Path) -> None:
        try:
            stat = path.stat()
            mark: list[object] = [file.sha256, stat.st_dev, stat.st_ino, stat.st_size]
            # utime() of a cached file moves its times; nobody else writes there.
            if self._store.local(file.name) is not None:
                mark += [stat.st_mtime_ns, stat.st_ctime_ns]
            known = self._known()
            if known.get(path.name) == mark:
                return
            fits = stat.st_size == file.bytes and file_digest(path) == file.sha256
        except FileNotFoundError:
            raise SegmentGone(f"{file.name} is gone from the archive") from None
        except OSError as fault:
            raise ArchiveUnavailable(f"{file.name} cannot be read: {fault.strerror}") from None
        if not fits:
            raise SegmentBroken(f"{file.name} has other bytes than those that were sealed")
        known[path.name] = mark

    def _cached(self, file: SealedFile) -> Path:
        return self._cache / f"{file.sha256}.parquet"

    def _make_room(self, files: Sequence[SealedFile]) -> None:
        """Remove the files that were used longest ago until what is wanted fits. Raises: ArchiveUnavailable."""
        needed = {self._cached(file): file.bytes for file in files}
        if sum(needed.values()) > self._cache_bytes:
            raise ArchiveUnavailable("more than the cache of the archive holds: ask for a shorter time")
        others = [path for path in self._cache.glob("*.parquet") if path not in needed]
        others.sort(key=lambda path: path.stat().st_mtime_ns)
        total = sum(needed.values()) + sum(path.stat().st_size for path in others)
        for path in others:
            if total <= self._cache_bytes:
                break
            total -= path.stat().st_size
            path.unlink(missing_ok=True)

    def _known(self) -> dict[str, list[object]]:
        if self._checked is None:
            try:
                self._checked = dict(json.loads((self._cache / _CHECKED).read_text(encoding="utf-8")))
            except (OSError, ValueError, TypeError):
                self._checked = {}
        return self._checked

    def _save(self) -> None:
        if self._checked:
            draft = self._cache / f".{_CHECKED}.{os.getpid()}"
            with _usable():
                draft.write_text(json.dumps(self._checked), encoding="utf-8")
                draft.replace(self._cache / _CHECKED)


@contextlib.contextmanager
def _usable() -> Iterator[None]:
    """A folder that is in the way or full is no verdict about what is sealed."""
    try:
        yield
    except OSError as fault:
        raise ArchiveUnavailable(f"the cache of the archive cannot be used: {fault.strerror}") from None
