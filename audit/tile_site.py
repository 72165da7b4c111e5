"""Keeps the tiles of every log fresh in a folder, for a listener that serves them (audit.tiles writes and checks them).

What is served is what was checked against a signed root: where the stored log does not lead to it, the older tiles and
the older checkpoint stay. Tiles that are not there any more are made again, from the archive where entries left the
database.
"""

import asyncio
import re
import shutil
from pathlib import Path
from urllib.parse import quote

import structlog

from audit import store
from audit.archive import Archive, ArchiveUnavailable, NoArchive, SegmentBroken
from audit.beside import Rounds
from audit.note import Verifier
from audit.tiles import LEVELS, WIDTH, TilesRefused, drop_entries, tile_missing, tile_path, write_tiles

INTERVAL_S = 10.0
CHECKPOINT = "checkpoint"
_TILE = re.compile(r"tile/(?:entries|[0-7])(?:/x[0-9]{3}){0,6}/[0-9]{3}(?:\.p/[1-9][0-9]{0,2})?")
_BODIES = "tile/entries/"
_NONE = NoArchive()


class TileSite(Rounds):
    """One folder a tenant below `folder`. entries: whether entries are served as well, not their hashes alone."""

    def __init__(
        self,
        pool: store.Pool,
        verifier: Verifier,
        folder: Path,
        *,
        interval_s: float = INTERVAL_S,
        entries: bool = False,
        archive: Archive = _NONE,
    ) -> None:
        super().__init__(interval_s, "audit.tiles-failed")
        self._pool = pool
        self._verifier = verifier
        self._folder = folder
        self._archive = archive
        self._dropped: dict[str, int] = {}
        self._sizes: dict[str, int] = {}
        self.entries = entries
        self.faults: dict[str, str] = {}

    async def round(self) -> None:
        """Write what is new of every log. Raises: psycopg errors, PoolTimeout, PoolClosed."""
        async with self._pool.of(store.EVERY) as connection:
            names = await store.tenants(connection)
        for tenant in names:
            try:
                await self._refresh(tenant)
            except (TilesRefused, SegmentBroken, ArchiveUnavailable, OSError) as fault:
                told = type(fault).__name__ if isinstance(fault, OSError) else str(fault)
                if self.faults.get(tenant) != told:
                    structlog.get_logger().error("audit.tiles-refused", tenant=tenant, fault=told)
                self.faults[tenant] = told
            else:
                self.faults.pop(tenant, None)

    def file_of(self, tenant: str, path: str) -> Path | None:
        """The file that a path below a tenant's prefix names; None for what is no such path, or is not served."""
        if path != CHECKPOINT and (not _TILE.fullmatch(path) or (path.startswith(_BODIES) and not self.entries)):
            return None
        return self._folder / quote(tenant, safe="") / path

    async def _refresh(self, tenant: str) -> None:
        folder = self._folder / quote(tenant, safe="")
        async with self._pool.of(tenant) as connection:
            await store.snapshot(connection)
            latest = await store.latest_checkpoint(connection, tenant)
            if latest is None or latest.size == self._sizes.get(tenant):
                return
            # Once a process: somebody may have lost the folder, or part of it.
            lost = tenant not in self._sizes and await asyncio.to_thread(tile_missing, folder, latest.size)
            done = await write_tiles(connection, tenant, self._verifier, folder, self._archive, whole=lost)
        before, self._sizes[tenant] = self._sizes.get(tenant, 0), done.checkpoint.size
        await asyncio.to_thread(drop_partial, folder, before, done.checkpoint.size)
        await self._forget(tenant, folder)

    async def _forget(self, tenant: str, folder: Path) -> None:
        """Entries whose retention is over leave the folder, too; their hashes stay."""
        spans = [one for one in await self._archive.spans(tenant) if one.dropped]
        if len(spans) == self._dropped.get(tenant, 0):
            return
        joined: list[tuple[int, int]] = []
        for one in spans:
            joins = bool(joined) and joined[-1][1] + 1 == one.first
            first = joined.pop()[0] if joins else one.first
            joined.append((first, one.last))
        for first, last in joined:
            await asyncio.to_thread(drop_entries, folder, first, last)
        self._dropped[tenant] = len(spans)


def drop_partial(folder: Path, before: int, size: int) -> None:
    """Remove the partial tiles of what has become full since; a client takes the full one (C2SP tlog-tiles)."""
    for kind, level in (("entries", 0), *((str(level), level) for level in range(LEVELS))):
        index = (before >> 8 * level) // WIDTH
        if index < (size >> 8 * level) // WIDTH:
            path = folder / tile_path(kind, index)
            shutil.rmtree(path.with_name(f"{path.name}.p"), ignore_errors=True)
