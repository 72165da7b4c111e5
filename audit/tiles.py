"""The log of one tenant as static files that any C2SP tool reads (c2sp.org/tlog-tiles).

`checkpoint`, `tile/LEVEL/INDEX` with 256 hashes each, `tile/entries/INDEX` with the entries themselves, and the partial
ones at the right edge as `….p/WIDTH`. Files are made from the stored log, checked against the signed root before the
checkpoint that needs them is put in place, and never changed once they are full; a later run only adds.
"""

import asyncio
import os
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from audit import store
from audit.archive import Archive, NoArchive
from audit.entry import ENTRY_LIMIT_BYTES
from audit.note import Checkpoint, NoteInvalid, Verifier, origin_of
from audit.tree import HASH_BYTES, Frontier, leaf_hash, root

WIDTH = 256
TILE_BYTES = WIDTH * HASH_BYTES
_NONE = NoArchive()
AHEAD_TILES = 256
LEVELS = 8  # 256^8 entries: more than a size can say


class TilesRefused(Exception):  # noqa: N818 - a verdict
    """The files would not lead to a signed root, or contradict those that are there."""

    permanent = True


@dataclass(frozen=True, slots=True)
class TilesWritten:
    """What a run did. checkpoint: what the files show now; files: number of files written, the checkpoint included."""

    checkpoint: Checkpoint
    files: int


def tile_path(kind: str, index: int, width: int = WIDTH) -> str:
    """Path below the prefix; `kind` is a level or "entries"."""
    parts = [f"{index % 1000:03d}"]
    while index := index // 1000:
        parts.insert(0, f"x{index % 1000:03d}")
    partial = f".p/{width}" if width < WIDTH else ""
    return f"tile/{kind}/{'/'.join(parts)}{partial}"


def widths(size: int, level: int) -> Iterator[tuple[int, int]]:
    """Index and width of every tile of a level in a tree of `size`, the partial one last."""
    hashes = size >> 8 * level
    yield from ((index, WIDTH) for index in range(hashes // WIDTH))
    if hashes % WIDTH:
        yield hashes // WIDTH, hashes % WIDTH


async def write_tiles(
    connection: store.Connection,
    tenant: str,
    verifier: Verifier,
    folder: Path,
    archive: Archive = _NONE,
    *,
    whole: bool = False,
) -> TilesWritten:
    """Write what is missing for the newest checkpoint; `checkpoint` is replaced last. Best inside one snapshot.

    whole: look for every tile, not only those behind what the folder shows: somebody may have lost some. Entries that
    left the database come from the archive; of those whose retention is over the hashes alone.
    Raises: TilesRefused when nothing is signed, the stored log does not lead to the signed root, or the folder shows
    another log; SegmentBroken, ArchiveUnavailable; psycopg errors; OSError.
    """
    latest = await store.latest_checkpoint(connection, tenant)
    if latest is None:
        raise TilesRefused(f"nothing of {tenant} is signed yet")
    try:
        checkpoint = verifier.open_checkpoint(latest.note, origin_of(tenant))
    except NoteInvalid as fault:
        raise TilesRefused(f"the newest stored checkpoint is not ours: {fault}") from None
    shown = _shown(folder, verifier, checkpoint)
    begin = 0 if whole else shown
    writer = _Folder(folder)
    try:
        await _write_lowest(writer, connection, tenant, (begin // WIDTH, checkpoint.size), archive)
        await asyncio.to_thread(_write_upper, writer, checkpoint.size, begin)
        if root_of_tiles(writer.read, checkpoint.size) != checkpoint.root:
            raise TilesRefused(f"the stored entries do not lead to the root that was signed at {checkpoint.size}")
    except BaseException:
        # Whatever ended it: what was not held against a signed root is served to nobody.
        writer.take_back()
        raise
    writer.put("checkpoint", latest.note.encode())
    return TilesWritten(checkpoint, len(writer.written))


def root_of_tiles(read: Callable[[str], bytes], size: int) -> bytes:
    """Root of a tree of `size` from the tiles of its right edge, as a client works it out. Raises: OSError."""
    nodes: list[bytes] = []
    for level in range(LEVELS - 1, -1, -1):
        index, width = divmod(size >> 8 * level, WIDTH)
        if width:
            edge = Frontier()
            edge.extend(_hashes(read(tile_path(str(level), index, width))))
            nodes += _hashes(edge.to_bytes())
    return Frontier(size, nodes).root()


def _shown(folder: Path, verifier: Verifier, checkpoint: Checkpoint) -> int:
    """Size of the log that the folder shows already; it must be an earlier state of the same log."""
    try:
        note = (folder / "checkpoint").read_text(encoding="utf-8")
    except FileNotFoundError:
        return 0
    try:
        shown = verifier.open_checkpoint(note, checkpoint.origin)
    except NoteInvalid:
        raise TilesRefused(f"{folder} shows another log") from None
    if shown.size > checkpoint.size or (shown.size == checkpoint.size and shown.root != checkpoint.root):
        raise TilesRefused(f"{folder} shows {shown.size} entries; the database has another or an older log")
    return shown.size


def _write_upper(writer: "_Folder", size: int, shown: int) -> None:
    """Tiles above level 0: each hash in them is the root of a full tile below."""
    level = 1
    while size >> 8 * level:
        for index, width in widths(size, level):
            if index < (shown >> 8 * level) // WIDTH:
                continue
            below = [writer.read(tile_path(str(level - 1), index * WIDTH + place)) for place in range(width)]
            writer.add(tile_path(str(level), index, width), b"".join(map(_tile_root, below)))
        level += 1


async def _write_lowest(
    writer: "_Folder", connection: store.Connection, tenant: str, part: tuple[int, int], archive: Archive
) -> None:
    """Tiles of leaf hashes from a tile on up to a size, with the entries as far as their retention is not over."""
    first, size = part
    missing = [
        (index, width)
        for index, width in widths(size, 0)
        if index >= first and not (width == WIDTH and writer.has(tile_path("0", index)))
    ]
    hot = (await store.hot(connection, tenant)).start
    sealed, kept = _Ahead(partial(archive.bodies, tenant), hot), _Ahead(partial(archive.leaves, tenant), hot)
    for index, width in missing:
        start, end = index * WIDTH, index * WIDTH + width
        fresh = await store.bodies(connection, tenant, max(start, hot), end) if end > hot else []
        old = await sealed.part(start, end)
        leaves = list(map(leaf_hash, old + fresh))
        if len(leaves) != width:
            leaves = [*await kept.part(start, end), *map(leaf_hash, fresh)]
        elif leaves:
            writer.add(tile_path("entries", index, width), b"".join(map(_framed, old + fresh)))
        if len(leaves) != width:
            raise TilesRefused(f"an entry from {start} to {end - 1} is missing")
        writer.add(tile_path("0", index, width), b"".join(leaves))


class _Ahead:
    """Reads of the sealed part many tiles at once: each look into the archive opens a whole segment."""

    def __init__(self, read: Callable[[int, int], Awaitable[list[bytes]]], hot: int) -> None:
        self._read, self._hot = read, hot
        self._start, self._found = 0, list[bytes]()

    async def part(self, start: int, end: int) -> list[bytes]:
        """What there is from `start` on without a gap, up to `end` and to the hot part."""
        end = min(end, self._hot)
        if start >= end:
            return []
        if not self._start <= start < end <= self._start + len(self._found):
            upto = min(self._hot, start + AHEAD_TILES * WIDTH)
            self._start, self._found = start, await self._read(start, upto)
        return self._found[start - self._start : end - self._start]


def tile_missing(folder: Path, size: int) -> bool:
    """Whether a full tile of hashes of a log of this size is not in the folder."""
    return any(
        width == WIDTH and not (folder / tile_path(str(level), index)).is_file()
        for level in range(LEVELS)
        for index, width in widths(size, level)
    )


def drop_entries(folder: Path, first: int, last: int) -> None:
    """Remove the entries, not the hashes, of full tiles of which nothing else is left: their retention is over."""
    for index in range(-(-first // WIDTH), (last + 1) // WIDTH):
        (folder / tile_path("entries", index)).unlink(missing_ok=True)


def _framed(body: bytes) -> bytes:
    if len(body) > ENTRY_LIMIT_BYTES:
        raise TilesRefused("an entry is too long for a bundle: nothing of ours writes such a one")
    return len(body).to_bytes(2, "big") + body


def _tile_root(tile: bytes) -> bytes:
    return root(_hashes(tile))


def _hashes(packed: bytes) -> list[bytes]:
    return [packed[at : at + HASH_BYTES] for at in range(0, len(packed), HASH_BYTES)]


class _Folder:
    """The files below the prefix; full tiles are written once."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.written: list[Path] = []

    def read(self, path: str) -> bytes:
        """The bytes of a file."""
        return (self._folder / path).read_bytes()

    def has(self, path: str) -> bool:
        """Whether there is such a file."""
        return (self._folder / path).is_file()

    def add(self, path: str, data: bytes) -> None:
        """Write a file that is immutable: the same bytes again are nothing, others are refused."""
        target = self._folder / path
        if target.exists():
            if target.read_bytes() != data:
                raise TilesRefused(f"{path} is there with other bytes: the log or the folder was changed")
            return
        self.put(path, data)

    def put(self, path: str, data: bytes) -> None:
        """Put a file in place in one step."""
        target = self._folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        draft = target.with_name(f"{target.name}.{os.getpid()}.draft")
        draft.write_bytes(data)
        draft.replace(target)
        self.written.append(target)

    def take_back(self) -> None:
        """Remove what this run wrote: it may hold what was never signed."""
        for path in self.written:
            path.unlink(missing_ok=True)
