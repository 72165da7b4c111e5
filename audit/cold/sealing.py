"""Seals the next part of a tenant's log: a day, or as many entries as a segment holds.

Files first, then the manifest, then the row in the database: a kill in between leaves files that the next try finds
and takes as they are. What was written is read back from the archive and hashed to the signed root before the row says
that the segment is there, because that row is what allows entries to be removed from the database.
"""

import asyncio
import contextlib
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import quote

from audit import store
from audit.archive import ArchiveUnavailable, SegmentBroken
from audit.cold import segment_store
from audit.cold.manifest import EVENT_FILE, SIGHT_FILE, SOUGHT_FILE, Manifest, SealedFile, digest, open_manifest
from audit.cold.retention import Retention
from audit.cold.segment_file import Draft, check_tree, file_digest, read_entries
from audit.cold.store import ArchiveStore
from audit.entry import EntryRefused
from audit.note import Checkpoint, NoteInvalid, origin_of
from audit.proof import StoredLogBroken, prove_growth
from audit.signing import CheckpointSigner, SigningUnavailable
from audit.tree import Frontier

ENTRIES_A_SEGMENT = 250_000
GRACE = timedelta(minutes=10)  # after midnight: what is under way is written by then
_ROWS_AT_ONCE = 500
_PAUSE_S = 0.002  # between batches, so that the gateway's own work goes first


class SealingRefused(Exception):  # noqa: N818 - a refusal
    """What is stored does not lead to what was signed; nothing is sealed until the trail was looked at."""

    permanent = True
    problem = "trail-tampered"


@dataclass(frozen=True, slots=True)
class Due:
    """What is to be sealed next: entries `first` up to `end`."""

    first: int
    end: int


@dataclass(frozen=True, slots=True)
class Sealer:
    """Seals for every tenant. scratch: folder for drafts; now: aware time; entries: in a segment at most."""

    pool: store.Pool
    stored: ArchiveStore
    signer: CheckpointSigner
    scratch: Path
    retention: Retention
    now: Callable[[], datetime]
    entries: int = ENTRIES_A_SEGMENT

    async def due(self, tenant: str, *, everything: bool = False) -> Due | None:
        """What could be sealed now. everything: the day that has not ended, too. Raises: psycopg errors."""
        async with self.pool.of(tenant) as connection:
            return await self._due(connection, tenant, everything)

    async def seal(self, tenant: str, *, everything: bool = False) -> Manifest | None:
        """Seal one segment; None when nothing is due or another process is at it.

        Raises: SealingRefused, SegmentBroken, ArchiveUnavailable, ArchiveRefused, psycopg errors, OSError.
        """
        async with self.pool.of(tenant) as connection:
            await connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
            if not await segment_store.claim(connection, tenant):
                return None
            due = await self._due(connection, tenant, everything)
            if due is None:
                return None
            newest = await segment_store.newest_segment(connection, tenant)
            before, previous = Frontier(), ""
            if newest is not None:
                before, previous = open_manifest(newest.note, tenant, self.signer.verifier).after, digest(newest.note)
            note = await asyncio.to_thread(self._left_behind, tenant, due.first)
            if note is None:
                note = await self._write(connection, tenant, due, before, previous)
            manifest = open_manifest(note, tenant, self.signer.verifier)
            if manifest.before.to_bytes() != before.to_bytes() or manifest.previous != previous:
                raise SegmentBroken(f"{tenant}: what the archive holds from entry {due.first} on does not follow")
            await asyncio.to_thread(self._read_back, manifest)
            row = segment_store.StoredSegment(
                manifest.first, manifest.last, manifest.at_last, manifest.sealed_at, manifest.after.to_bytes(), note
            )
            await segment_store.add_segment(connection, tenant, row)
            return manifest

    async def _due(self, connection: store.Connection, tenant: str, everything: bool) -> Due | None:
        newest = await segment_store.newest_segment(connection, tenant)
        first = newest.last + 1 if newest else 0
        latest = await store.latest_checkpoint(connection, tenant)
        began = await segment_store.time_of(connection, tenant, first)
        if latest is None or latest.size <= first or began is None:
            return None
        tomorrow = datetime.combine(began.astimezone(UTC).date() + timedelta(days=1), datetime.min.time(), UTC)
        end = await segment_store.first_since(connection, tenant, first, tomorrow) or latest.size
        if end - first > self.entries:
            end = first + self.entries
        elif began <= self.now() < tomorrow + GRACE and not everything:  # a clock that was wrong holds nothing up
            return None
        return Due(first, end) if first < end <= latest.size else None

    async def _write(self, connection: store.Connection, tenant: str, due: Due, before: Frontier, previous: str) -> str:
        draft = await self._draft(connection, tenant, due)
        after = Frontier.from_bytes(before.size, before.to_bytes())
        await asyncio.to_thread(after.extend, draft.leaves)
        covering, growth = await self._covering(connection, tenant, after)
        files = await asyncio.to_thread(self._put, tenant, due, draft)
        assert draft.at_first is not None
        assert draft.at_last is not None
        manifest = Manifest(
            tenant, due.first, due.end - 1, draft.at_first, draft.at_last, self.now(), files, draft.classes, before,
            after, covering, growth, previous, tuple(sorted(draft.versions)),
        )  # fmt: skip
        try:
            note = await self.signer.sign_note(manifest.text(), origin_of(tenant))
        except SigningUnavailable as fault:
            raise ArchiveUnavailable(f"the key server does not sign: {fault}") from None
        await asyncio.to_thread(self._put_note, note, manifest)
        return note

    async def _draft(self, connection: store.Connection, tenant: str, due: Due) -> Draft:
        draft = Draft(self.retention.class_of)
        async with aclosing(store.entries(connection, tenant, due.first, due.end, _ROWS_AT_ONCE)) as batches:
            async for rows in batches:
                seen = len(draft.leaves)
                try:
                    await asyncio.to_thread(draft.add, [(row.index, row.at, row.body) for row in rows])
                except EntryRefused:
                    raise SealingRefused(f"{tenant}: an entry from {rows[0].index} on is none of ours") from None
                same = draft.leaves[seen:] == [row.leaf for row in rows]
                if rows[0].index != due.first + seen or not same:
                    raise SealingRefused(f"{tenant}: an entry from {rows[0].index} on is missing or changed")
                await asyncio.sleep(_PAUSE_S)
        if len(draft.leaves) != due.end - due.first:
            raise SealingRefused(f"{tenant}: entry {due.first + len(draft.leaves)} is missing")
        return draft

    async def _covering(
        self, connection: store.Connection, tenant: str, after: Frontier
    ) -> tuple[str, tuple[bytes, ...]]:
        """The first checkpoint that covers the tree, and the proof that it does."""
        size = await store.checkpoint_from(connection, tenant, after.size)
        stored = await store.checkpoint_within(connection, tenant, after.size - 1, size) if size else None
        origin = origin_of(tenant)
        try:
            if stored is None:
                raise SealingRefused(f"{tenant}: no checkpoint covers entry {after.size - 1}")
            signed = self.signer.verifier.open_checkpoint(stored.note, origin)
            own = Checkpoint(origin, after.size, after.root())
            return stored.note, tuple(await prove_growth(connection, tenant, own, signed))
        except (NoteInvalid, StoredLogBroken) as fault:
            raise SealingRefused(f"{tenant}: entries up to {after.size - 1} are not what was signed: {fault}") from None

    def _put(self, tenant: str, due: Due, draft: Draft) -> dict[str, SealedFile]:
        keep_until = self.retention.keep_until(draft.classes)
        self.scratch.mkdir(parents=True, exist_ok=True, mode=0o700)
        found = {}
        with tempfile.TemporaryDirectory(dir=self.scratch) as folder:
            paths = {kind: Path(folder) / kind for kind in (EVENT_FILE, SIGHT_FILE, SOUGHT_FILE)}
            events, sights = draft.write(*paths.values())
            counts = {EVENT_FILE: events, SIGHT_FILE: sights, SOUGHT_FILE: 0}
            for kind, path in paths.items():
                # The hash is part of the name: a second try that writes other bytes does not meet the first.
                sha = file_digest(path)
                end = "hashes" if kind == SOUGHT_FILE else "parquet"
                name = f"{quote(tenant, safe='')}/{kind}/{_place(due.first, due.end)}-{sha[:16]}.{end}"
                version = self.stored.put(name, path, sha, keep_until)
                found[kind] = SealedFile(name, path.stat().st_size, sha, counts[kind], version)
        return found

    def _put_note(self, note: str, manifest: Manifest) -> None:
        with tempfile.TemporaryDirectory(dir=self.scratch) as folder:
            path = Path(folder) / "manifest"
            path.write_text(note, encoding="utf-8")
            name = f"{_manifests(manifest.tenant)}{_place(manifest.first, manifest.last + 1)}.manifest"
            self.stored.put(name, path, file_digest(path), self.retention.keep_until(manifest.classes))

    def _left_behind(self, tenant: str, first: int) -> str | None:
        """The manifest that an earlier try has put there."""
        names = self.stored.names(f"{_manifests(tenant)}{first:015d}-")
        return read_text(self.stored, names[0], self.scratch) if names else None

    def _read_back(self, manifest: Manifest) -> None:
        with fetched(self.stored, list(manifest.files.values()), self.scratch) as paths:
            table = read_entries(paths[manifest.files[EVENT_FILE].name], manifest.first, manifest.last)
            check_tree(table, manifest.before, manifest.after)


@contextlib.contextmanager
def fetched(stored: ArchiveStore, files: Sequence[SealedFile], scratch: Path) -> Iterator[dict[str, Path]]:
    """Copies of files as they lie in the archive, their bytes checked. Raises: SegmentBroken, ArchiveUnavailable."""
    scratch.mkdir(parents=True, exist_ok=True, mode=0o700)
    with tempfile.TemporaryDirectory(dir=scratch) as folder:
        found = {}
        for place, file in enumerate(files):
            path = found[file.name] = Path(folder) / f"{place}"
            stored.fetch(file.name, file.version, path)
            if path.stat().st_size != file.bytes or file_digest(path) != file.sha256:
                raise SegmentBroken(f"{file.name} has other bytes than those that were sealed")
        yield found


def read_text(stored: ArchiveStore, name: str, scratch: Path) -> str:
    """A manifest in the archive. Raises: ArchiveUnavailable."""
    scratch.mkdir(parents=True, exist_ok=True, mode=0o700)
    with tempfile.TemporaryDirectory(dir=scratch) as folder:
        path = Path(folder) / "note"
        stored.fetch(name, "", path)
        return path.read_text(encoding="utf-8", errors="replace")


def manifest_notes(stored: ArchiveStore, tenant: str, scratch: Path) -> list[str]:
    """Every manifest in the archive, in order: what is left when the database is lost. Raises: ArchiveUnavailable."""
    return [read_text(stored, name, scratch) for name in stored.names(_manifests(tenant))]


def _manifests(tenant: str) -> str:
    return f"{quote(tenant, safe='')}/manifest/"


def _place(first: int, end: int) -> str:
    return f"{first:015d}-{end - 1:015d}"
