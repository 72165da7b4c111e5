"""Keeps the index of the trail: reads what is committed and writes its terms, a moment later, never in the way.

One transaction moves the place and adds the terms, so that none is lost or there twice; one node at a time does it.
Whoever asks reads what is not indexed yet from the trail itself.
"""

import asyncio
from collections.abc import Iterable, Sequence
from contextlib import aclosing
from dataclasses import dataclass

import structlog
from psycopg import Error
from psycopg_pool import PoolClosed, PoolTimeout, TooManyRequests

from audit import index_store, store
from audit.beside import Beside
from audit.entry import EntryRefused, decode
from audit.index_store import Posting
from audit.store import Connection, Pool, StoredEntry
from audit.terms import terms_of

LOOK_S = 1.0
BREAK_S = 10.0
BATCH_ENTRIES = store.FETCH_ROWS


@dataclass(slots=True)
class IndexState:
    """What health shows. behind: entries not indexed yet; fault: why it stands still."""

    tenant: str
    behind: int = 0
    fault: str = ""


class IndexFollower(Beside):
    """Of these tenants, one after the other; whoever comes next goes on from the same place."""

    def __init__(self, pool: Pool, tenants: Iterable[str], *, look_s: float = LOOK_S, break_s: float = BREAK_S) -> None:
        self.states = {name: IndexState(name) for name in tenants}
        self._pool = pool
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
                except (Error, PoolTimeout, PoolClosed, TooManyRequests, OSError) as fault:
                    if not state.fault:
                        structlog.get_logger().error("audit.index-behind", tenant=name, fault=type(fault).__name__)
                    state.fault, rest = type(fault).__name__, self._break_s
            await asyncio.sleep(rest)

    async def step(self, tenant: str) -> bool:
        """Index the next entries of a tenant; whether there may be more. Raises: psycopg errors."""
        async with self._pool.of(tenant) as connection:
            if not await index_store.claim(connection, tenant):
                return False
            done = await index_store.reached(connection, tenant)
            if done == 0 and await index_store.begun(connection, tenant):
                await index_store.clear(connection, tenant)
            found = await store.select(connection, tenant, store.Filters(), BATCH_ENTRIES, after=done - 1)
            if found:
                done = found[-1].index + 1
                await index_store.add(connection, tenant, postings_of(found), done)
            self.states[tenant].behind = max(0, await store.size(connection, tenant) - done)
        return len(found) == BATCH_ENTRIES


def postings_of(entries: Sequence[StoredEntry]) -> list[Posting]:
    """The terms of stored entries; of bytes that somebody changed, those that the columns still say."""
    found = []
    for entry in entries:
        try:
            content = decode(entry.body)
        except EntryRefused:
            content = {name: getattr(entry, name) for name in ("entity", "record", "actor", "operation", "kind")}
            content |= {"reason": entry.reason, "client": "", "fields": {}}
        found += [Posting(term, entry.at, entry.index, shown) for term, shown in terms_of(content).items()]
    return found


async def rebuild(connection: Connection, tenant: str) -> int:
    """Make the index anew from the trail, in one transaction; how many entries it covers. Raises: psycopg errors."""
    await index_store.claim(connection, tenant, wait=True)
    await index_store.clear(connection, tenant)
    done = 0
    async with aclosing(store.entries(connection, tenant)) as batches:
        async for entries in batches:
            done = entries[-1].index + 1
            await index_store.add(connection, tenant, postings_of(entries), done)
    return done


async def differing(connection: Connection, tenant: str) -> tuple[int, list[int]]:
    """Entries compared, and those that the index does not hold as the trail says; needs a transaction."""
    end, wrong = await index_store.reached(connection, tenant), []
    async with aclosing(store.entries(connection, tenant, 0, end)) as batches:
        async for entries in batches:
            wrong += await index_store.missing(connection, tenant, postings_of(entries))
    return end, wrong
