"""The quick sweep reads every tile of the log again by its imprint, at a bounded share of the time.

It knows nothing of signatures: a tile whose bytes are no longer those that were verified is handed to `suspect`, which
verifies it entry by entry in the same snapshot and says what was changed. Two to four µs an entry, database included, a
fifth of what verifying takes: 600,000 to a million entries within ten seconds with a quarter of one core.
"""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime
from hashlib import sha256

from audit import store
from audit.imprint import TILE, Imprints

TILES_AT_ONCE = 8  # about 5 ms and 2 MB, then other tasks get their turn
TILES_IN_SNAPSHOT = 64
MOST_OF_TIME = 0.75  # where others take the machine's time
FORGETTING = 1.001  # a part: what a tile costs may grow again
Suspect = Callable[[store.Connection, str, int, bytes], Awaitable[None]]
Unchanged = Callable[[str, int, int, datetime], None]


class QuickSweep:
    """Looks at the tiles of one tenant after another.

    share: of one core, what it costs here and in the database together; suspect: told a tile that is another one now,
    and its hash; unchanged: told the first tile and the one after the last of a part that is as it was, and when.
    """

    def __init__(
        self, pool: store.Pool, *, share: float, suspect: Suspect, unchanged: Unchanged, now: Callable[[], datetime]
    ) -> None:
        self._pool = pool
        self._share = share
        self._suspect = suspect
        self._unchanged = unchanged
        self._now = now
        self._tile_s = float("inf")

    async def run(self, tenant: str, imprints: Imprints, ended: asyncio.Event) -> None:
        """Look at every tile that has an imprint once. Raises: psycopg errors, PoolTimeout, PoolClosed, OSError."""
        loop = asyncio.get_running_loop()
        async with self._pool.of(tenant) as connection:
            start = await _first_whole(connection, tenant)
        for first in range(start, imprints.tiles, TILES_IN_SNAPSHOT):
            began, end = loop.time(), min(first + TILES_IN_SNAPSHOT, imprints.tiles)
            looked = await self._look(tenant, imprints, first, end)
            if not looked:
                continue  # pruned meanwhile; what it did not cost says nothing of the pace
            spent_s = loop.time() - began
            self._tile_s = min(spent_s / looked, self._tile_s * FORGETTING)
            if await rest(ended, pause_s(spent_s, self._tile_s * looked, self._share)):
                return

    async def _look(self, tenant: str, imprints: Imprints, first: int, end: int) -> int:
        """How many tiles were read."""
        at, changed = self._now(), False
        async with self._pool.of(tenant) as connection:
            await store.snapshot(connection)
            first = max(first, min(await _first_whole(connection, tenant), end))
            for part in range(first, end, TILES_AT_ONCE):
                last = min(part + TILES_AT_ONCE, end) - 1
                for tile, rows in await store.tile_bytes(connection, tenant, part, last, TILE):
                    known, found = imprints.of(tile), sha256(rows or b"").digest()
                    changed = changed or known != found
                    if known not in (None, found):
                        await self._suspect(connection, tenant, tile, found)
        if not changed:
            self._unchanged(tenant, first, end, at)
        return end - first


async def _first_whole(connection: store.Connection, tenant: str) -> int:
    """The first tile that is whole in the database: what is in segments, the segments hold."""
    return -(-(await store.hot(connection, tenant)).start // TILE)


def pause_s(spent_s: float, least_s: float, share: float) -> float:
    """Seconds to rest after a part that took so long, and takes `least_s` when nothing is in its way.

    The pace follows what the part costs: time that it waited for others is no cost, and does not slow the sweep.
    """
    return max(least_s / share - spent_s, spent_s * (1 / max(share, MOST_OF_TIME) - 1))


async def rest(ended: asyncio.Event, seconds: float) -> bool:
    """Wait so long, or until it is to end; whether it is."""
    try:
        async with asyncio.timeout(max(0.0, seconds)):
            await ended.wait()
    except TimeoutError:
        return False
    return True
