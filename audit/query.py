"""Reading the trail: the newest entries, a search, and a live view.

Everything is filtered in the database on columns that verification compares with the hashed bytes. The live view asks
again every half second: a notification would put the commits of all workers in a row behind one lock.
"""

import asyncio
from collections.abc import AsyncIterator

from audit import store
from audit.store import Filters, Pool, StoredEntry

LIMIT_ENTRIES = 10_000
POLL_S = 0.5
_EVERYTHING = Filters()

__all__ = ["Filters", "StoredEntry", "recent", "tail"]


async def recent(
    pool: Pool, tenant: str, limit: int = 100, filters: Filters = _EVERYTHING, *, before: int | None = None
) -> list[StoredEntry]:
    """The newest entries that match, newest first; `before` is an index to page on from."""
    async with pool.of(tenant) as connection:
        return await store.select(connection, tenant, filters, min(limit, LIMIT_ENTRIES), before=before)


async def tail(
    pool: Pool,
    tenant: str,
    after: int | None = None,
    filters: Filters = _EVERYTHING,
    *,
    backlog: int = 0,
    poll_s: float = POLL_S,
) -> AsyncIterator[StoredEntry]:
    """Entries as they are written, oldest first, without end.

    after: index to go on from; None = from now, with the last `backlog` matching entries first.
    """
    async with pool.of(tenant) as connection:
        end = await store.size(connection, tenant)
    if after is None:
        after = end - 1
        if backlog:
            for entry in reversed(await recent(pool, tenant, backlog, filters, before=end)):
                yield entry
    while True:
        async with pool.of(tenant) as connection:
            end = await store.size(connection, tenant)
            found = (
                await store.select(connection, tenant, filters, store.FETCH_ROWS, after=after) if end > after else []
            )
        for entry in found:
            after = entry.index
            yield entry
        if len(found) < store.FETCH_ROWS:
            # All up to `end` was looked at; what was written in between has a larger index.
            after = max(after, end - 1)
            await asyncio.sleep(poll_s)
