"""Keeps the index of the trail: reads what is committed and writes its terms, a moment later, never in the way.

One transaction moves the place and adds the terms, so that none is lost or there twice; one node at a time does it.
Whoever asks reads what is not indexed yet from the trail itself. Terms are made while entries are in the database;
where the index is made anew, those that left it are read from the archive.
"""

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import structlog
from psycopg import Error
from psycopg_pool import PoolClosed, PoolTimeout, TooManyRequests

from audit import index_store, store
from audit.archive import Archive, ArchiveUnavailable, NoArchive, SegmentBroken, SegmentGone
from audit.beside import Beside
from audit.entry import EntryRefused, decode
from audit.index_store import Posting
from audit.sealed import sealed_entry
from audit.store import Connection, Pool, StoredEntry
from audit.terms import terms_of

LOOK_S = 1.0
BREAK_S = 10.0
BATCH_ENTRIES = store.FETCH_ROWS
_NONE = NoArchive()


@dataclass(slots=True)
class IndexState:
    """What health shows. behind: entries not indexed yet; fault: why it stands still."""

    tenant: str
    behind: int = 0
    fault: str = ""


class IndexFollower(Beside):
    """Of these tenants, one after the other; whoever comes next goes on from the same place."""

    def __init__(
        self,
        pool: Pool,
        tenants: Iterable[str],
        archive: Archive = _NONE,
        *,
        look_s: float = LOOK_S,
        break_s: float = BREAK_S,
    ) -> None:
        self.states = {name: IndexState(name) for name in tenants}
        self._pool = pool
        self._archive = archive
        self._look_s = look_s
        self._break_s = break_s

    async def _run(self) -> None:
        while True:
            rest = self._look_s
            for name, state in self.states.items():
                try:
                    while await self.step(name):
                        pass
                    state.fault = ""
                except (
                    Error, PoolTimeout, PoolClosed, TooManyRequests, OSError, SegmentBroken, ArchiveUnavailable
                ) as fault:  # fmt: skip
                    if not state.fault:
                        structlog.get_logger().error("audit.index-behind", tenant=name, fault=type(fault).__name__)
                    state.fault, rest = type(fault).__name__, self._break_s
            await asyncio.sleep(rest)

    async def step(self, tenant: str) -> bool:
        """Index the next entries of a tenant; whether there may be more.

        Raises: SegmentBroken, ArchiveUnavailable, psycopg errors.
        """
        async with self._pool.of(tenant) as connection:
            if not await index_store.claim(connection, tenant):
                return False
            done = await index_store.reached(connection, tenant)
            if done == 0 and await index_store.begun(connection, tenant):
                await index_store.clear(connection, tenant)
            found, after = await _next_entries(connection, tenant, self._archive, done)
            if after > done:
                await index_store.add(connection, tenant, postings_of(found), after)
            self.states[tenant].behind = max(0, await store.size(connection, tenant) - after)
            return after - done >= BATCH_ENTRIES or after < (await store.hot(connection, tenant)).start


async def _next_entries(
    connection: Connection, tenant: str, archive: Archive, start: int, end: int = store.LAST
) -> tuple[list[StoredEntry], int]:
    """The next entries from `start` on, a batch at most, and where to go on; none of those whose retention is over.

    Raises: SegmentBroken, ArchiveUnavailable, psycopg errors.
    """
    hot = (await store.hot(connection, tenant)).start
    if start < hot and isinstance(archive, NoArchive):
        start = hot  # sealed by settings that are no longer there: what can be read is indexed
    if start >= hot:
        found = await store.select(connection, tenant, store.Filters(), BATCH_ENTRIES, after=start - 1)
        found = [one for one in found if one.index < end]
        return found, found[-1].index + 1 if found else start
    span = next((one for one in await archive.spans(tenant) if one.first <= start <= one.last), None)
    if span is None:
        raise SegmentGone(f"no segment holds entry {start}")
    if span.dropped:
        return [], span.last + 1
    upto = min(start + BATCH_ENTRIES, span.last + 1, hot, end)
    bodies = await archive.bodies(tenant, start, upto)
    if len(bodies) != upto - start:
        raise SegmentGone(f"entries {start} to {upto - 1} are not in the archive")
    return [sealed_entry(index, body) for index, body in enumerate(bodies, start)], upto


def postings_of(entries: Sequence[StoredEntry]) -> list[Posting]:
    """The terms of stored entries; of bytes that somebody changed, those that the columns still say."""
    found = []
    for entry in entries:
        try:
            content = decode(entry.body)
        except EntryRefused:
            names = ("entity", "record", "actor", "operation", "kind", "reason", "status")
            content = {name: getattr(entry, name) for name in names}
            content |= {"actor_login": "", "client": "", "fields": {}}
        found += [Posting(term, entry.at, entry.index, shown) for term, shown in terms_of(content).items()]
    return found


async def rebuild(connection: Connection, tenant: str, archive: Archive = _NONE) -> int:
    """Make the index anew from the trail, in one transaction; how many entries it covers.

    Raises, so that the index stays as it was: SegmentBroken, ArchiveUnavailable, psycopg errors.
    """
    await index_store.claim(connection, tenant, wait=True)
    await index_store.clear(connection, tenant)
    done = 0
    while True:
        found, after = await _next_entries(connection, tenant, archive, done)
        if after == done:
            return done
        await index_store.add(connection, tenant, postings_of(found), after)
        done = after


async def differing(connection: Connection, tenant: str, archive: Archive = _NONE) -> tuple[int, list[int]]:
    """Entries up to which was compared, and those that the index does not hold as the trail says; in a transaction.

    Raises: SegmentBroken, ArchiveUnavailable, psycopg errors.
    """
    end, wrong = await index_store.reached(connection, tenant), list[int]()
    done = 0
    while done < end:
        found, after = await _next_entries(connection, tenant, archive, done, end)
        wrong += await index_store.missing(connection, tenant, postings_of(found))
        if after == done:
            break
        done = after
    return end, wrong
