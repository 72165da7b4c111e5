"""Erasing holders: their person keys destroyed, what only they had taken away, and both again after a restore.

    mark the holders → destroy their keys → tell every process → take away wrappings and entries

From the second step on the values are gone for this installation; copies of the person store die with the next turn of
the epoch (kms.epoch_turn). Each step may be repeated: `again` finishes what a kill left, and does over what a restored
copy of either database undid. A tombstone is in both of them.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar

from kms.erasure_store import ErasureStore, Removed
from kms.person import PersonCounts
from kms.persons import Persons
from kms.store import Store, StoreUnavailable

BATCH = 500
_PATIENCE_S, _WAIT_S = 20.0, 0.05
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Erased:
    """What an order came to.

    holders: ids; keys: person keys destroyed; entries: values nobody else holds; shared: values others hold as well;
    unheld, beside: values of before person keys, and dates and digits beside the CRM, whose rows were deleted; bare: of
    the latter those of before value keys (old copies of the database open these and the unheld with field keys); cells:
    cells and files of these records in the CRM that have no value key and stay; sealed: those that had one, which
    nothing opens any more.
    """

    holders: tuple[bytes, ...]
    keys: int
    entries: int
    shared: int
    unheld: int
    beside: int
    cells: int
    sealed: int
    bare: int = 0


@dataclass(frozen=True, slots=True)
class HolderCounts:
    """Holders that live and that were erased, entries held and not held, and what the person store has."""

    living: int
    erased: int
    held: int
    unheld: int
    persons: PersonCounts


class Shredder:
    """Erases holders. now: aware UTC time."""

    def __init__(self, store: Store, persons: Persons, now: Callable[[], datetime]) -> None:
        self._store = store
        self._holders = ErasureStore(store)
        self._persons = persons
        self._now = now

    async def erase(self, tenant: str, records: Sequence[tuple[str, str]]) -> Erased:
        """Erase what belongs to these (entity, record) and nobody else. Raises KeysUnavailable, StoreUnavailable."""
        marked = await self._patiently(lambda: self._holders.mark(tenant, records))
        keys = await self._persons.store.destroy(tenant, marked.holders, self._now())
        await self._tell(tenant)
        removed = await self._remove(tenant, marked.holders)
        return Erased(
            tuple(marked.holders),
            keys,
            removed.entries,
            removed.shared,
            marked.unheld,
            marked.beside,
            marked.cells,
            marked.sealed,
            marked.bare,
        )

    async def again(self, tenant: str) -> int:
        """Carry every tombstone to the side that lacks it, and take away what is left; how many holders it concerned.

        Raises KeysUnavailable, StoreUnavailable.
        """
        concerned: set[bytes] = set()
        after = b""
        while page := await self._persons.store.erased(tenant, after, BATCH):
            concerned |= await self._remark(tenant, page)
            after = page[-1]
        after = b""
        destroyed = 0
        while page := await self._holders.marked(tenant, after, BATCH):
            destroyed += await self._persons.store.destroy(tenant, page, self._now())
            after = page[-1]
        left = await self._holders.holding_still(tenant)
        concerned |= set(left)
        if concerned or destroyed:
            await self._tell(tenant)
        await self._remove(tenant, left)
        return max(len(concerned), destroyed)

    async def counts(self, tenant: str) -> HolderCounts:
        """How many there are on both sides."""
        return HolderCounts(*await self._holders.counts(tenant), await self._persons.store.counts(tenant))

    async def _remove(self, tenant: str, holders: Sequence[bytes]) -> Removed:
        entries = shared = 0
        if holders:
            await self._patiently(lambda: self._holders.remove_outside(tenant, holders))
        while holders:
            removed = await self._patiently(lambda: self._holders.remove(tenant, holders, BATCH))
            if removed is None:
                break
            entries, shared = entries + removed.entries, shared + removed.shared
        if entries or shared:
            await self._tell(tenant)
        return Removed(entries, shared)

    async def _remark(self, tenant: str, holders: Sequence[bytes]) -> set[bytes]:
        return set(await self._patiently(lambda: self._holders.remark(tenant, holders)))

    async def _tell(self, tenant: str) -> None:
        self._persons.forget(tenant)
        await self._store.announce_persons(tenant)

    async def _patiently(self, step: Callable[[], Awaitable[_T]]) -> _T:
        """Try a step again while writers have what it needs: it gives up quickly instead of making them wait."""
        loop = asyncio.get_running_loop()
        until = loop.time() + _PATIENCE_S
        while True:
            try:
                return await step()
            except StoreUnavailable:
                if loop.time() > until:
                    raise
                await asyncio.sleep(_WAIT_S)
