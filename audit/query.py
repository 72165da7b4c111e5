"""Reading the trail: the newest entries, a search, and a live view.

Everything is filtered in the database on columns that verification compares with the hashed bytes. The live view asks
again every half second: a notification would put the commits of all workers in a row behind one lock.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field, replace

from audit import store
from audit.archive import Archive, NoArchive, Span
from audit.catalogue import fits, kinds_of, tag_of
from audit.entry import EntryRefused, decode
from audit.sealed import PATIENT, Budget, newest
from audit.store import Filters, Pool, StoredEntry

LIMIT_ENTRIES = 10_000
POLL_S = 0.5
LOOK_BACK_ENTRIES = 100_000
"""How many entries one search by tag reads: tags are computed, the database does not have them."""
_EVERYTHING, _NONE = Filters(), NoArchive()

__all__ = ["Filters", "StoredEntry", "Tagged", "entry_tag", "recent", "tagged", "tail"]


@dataclass(frozen=True, slots=True)
class Tagged:
    """What a search found, newest first. further: the index to look on from; None where nothing is older.

    lost: sealed segments that could not be read → why, as in audit.sealed.
    """

    entries: list[StoredEntry]
    further: int | None
    lost: Mapping[Span, str] = field(default_factory=dict)


async def recent(
    pool: Pool, tenant: str, limit: int = 100, filters: Filters = _EVERYTHING, *, before: int | None = None
) -> list[StoredEntry]:
    """The newest entries that match, newest first; `before` is an index to page on from."""
    async with pool.of(tenant) as connection:
        return await store.select(connection, tenant, filters, min(limit, LIMIT_ENTRIES), before=before)


async def tagged(
    pool: Pool,
    tenant: str,
    limit: int,
    filters: Filters,
    pattern: str,
    *,
    before: int | None = None,
    most: int = LOOK_BACK_ENTRIES,
    archive: Archive = _NONE,
    budget: Budget = PATIENT,
) -> Tagged:
    """The newest entries that match and whose tag fits (audit.catalogue.fits; "" for any).

    Among the newest `most` that match, in the database and then in the archive. Raises: SegmentBroken, psycopg errors.
    """
    kinds = kinds_of(pattern) if pattern else frozenset()
    if len(kinds) == 1 and not filters.kind:
        filters = replace(filters, kind=next(iter(kinds)))

    def wanted(entry: StoredEntry) -> bool:
        return not pattern or fits(entry_tag(entry), pattern)

    found: list[StoredEntry] = []
    looked = 0
    async with pool.of(tenant) as connection:
        await store.snapshot(connection)
        hot = (await store.hot(connection, tenant)).start
        while looked < most:
            at_once = min(store.FETCH_ROWS, most - looked, store.FETCH_ROWS if pattern else limit - len(found))
            rows = await store.select(connection, tenant, filters, at_once, before=before)
            for entry in rows:
                looked, before = looked + 1, entry.index
                if wanted(entry):
                    found.append(entry)
                    if len(found) == limit:
                        return Tagged(found, before)
            if len(rows) < at_once:
                break
    if looked >= most or not hot:
        return Tagged(found, before if looked >= most else None)
    if isinstance(archive, NoArchive):
        return Tagged(found, hot)
    end = hot if before is None else min(hot, before)
    old = await newest(archive, tenant, filters, limit - len(found), end, budget, wanted)
    return Tagged(found + old.entries, old.further, old.lost)


def entry_tag(entry: StoredEntry) -> str:
    """The tag of a stored entry, by its bytes; by its columns where somebody changed the bytes."""
    try:
        return tag_of(decode(entry.body))
    except EntryRefused:
        named = ("kind", "operation", "reason", "status")
        return tag_of({name: getattr(entry, name) for name in named})


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
