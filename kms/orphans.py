"""Person keys of holders that nothing names any more: found, waited for, and destroyed.

They are left by writes that were rolled back, by creates that a CRM refused, and by values that went. Nothing is taken
from anybody: a key goes only after nothing named its holder for as long as backups are kept, so that no copy of the
main database that may still be restored needs it. The wait is noted in the person store: whoever restores an older main
database, where holders of later are unknown, begins it anew. There is no tombstone, because nobody was erased: should
such a key be missed after all, that is a fault and no erasure.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from kms.orphan_store import OrphanStore
from kms.persons import Persons
from kms.store import Store

PAGE = 500
LEAST_WAIT = timedelta(days=7)
"""Longer than any write lasts, whatever is said of backups: a key is there before its holder is committed."""


@dataclass(frozen=True, slots=True)
class Swept:
    """What a sweep came to: holders that nothing names, and how many keys of them were destroyed."""

    unnamed: int
    destroyed: int


class Orphans:
    """Sweeps; any number of processes may at once, and a kill leaves what the next sweep ends.

    wait: how long nothing may have named a holder before its key is destroyed, LEAST_WAIT at least; page: holders at
    once.
    """

    def __init__(self, store: Store, persons: Persons, wait: timedelta, page: int = PAGE) -> None:
        self._holders = OrphanStore(store)
        self._persons = persons
        self._wait = max(wait, LEAST_WAIT)
        self._page = page

    async def sweep(self, tenant: str, now: datetime) -> Swept:
        """Go through all keys of a tenant once. Raises KeysUnavailable, StoreUnavailable; nothing is lost then."""
        after, unnamed, destroyed = b"", 0, 0
        made_before = now - self._wait
        while page := await self._persons.store.keys_made(tenant, made_before, after, self._page):
            holders = [holder for holder, _ in page]
            named = await self._holders.named(tenant, holders)
            waited = [holder for holder, since in page if since is not None and since <= made_before]
            due = [holder for holder in waited if holder not in named]
            # The holder goes first, under its lock: whoever writes after that makes a new one, with a new key.
            gone = await self._holders.release(tenant, due) if due else []
            destroyed += await self._persons.store.drop_unnamed(tenant, gone, made_before)
            left = [holder for holder in holders if holder not in named and holder not in set(gone)]
            await self._persons.store.note_unnamed(tenant, left, sorted(named), now)
            unnamed, after = unnamed + len(holders) - len(named), holders[-1]
        return Swept(unnamed, destroyed)
