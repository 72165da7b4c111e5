"""Sweeps person keys that nothing names any more, once a day in each serving process, and says so in the trail."""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Protocol

from gateway.key_step import Trail, entry
from kms.destruction import Person
from kms.orphans import Swept
from kms.provider import KeysUnavailable
from kms.store import StoreUnavailable

EVERY = timedelta(hours=24)
_ITSELF = Person("crmgate", "crmgate")


class Sweeping(Protocol):
    """Who goes through the keys (kms.orphans.Orphans)."""

    async def sweep(self, tenant: str, now: datetime) -> Swept:
        """Go through all keys of a tenant once."""
        ...


class OrphanSweep:
    """One of the sweeps of a server; see gateway.serving. new_id: a fresh id of an audit entry."""

    def __init__(self, orphans: Sweeping, tenants: Sequence[str], trail: Trail, new_id: Callable[[], str]) -> None:
        self._orphans = orphans
        self._tenants = tenants
        self._trail = trail
        self._new_id = new_id
        self._done: dict[str, datetime] = {}

    async def sweep(self, now: datetime) -> None:
        """Sweep each tenant whose last sweep is a day ago; raises StoreUnavailable, then it is tried again."""
        for tenant in self._tenants:
            if (last := self._done.get(tenant)) is not None and now - last < EVERY:
                continue
            try:
                swept = await self._orphans.sweep(tenant, now)
            except KeysUnavailable as fault:
                raise StoreUnavailable("person keys are not swept now: their store is away") from fault
            self._done[tenant] = now
            if swept.destroyed:
                # After the fact: what a kill in between leaves unsaid is the number of keys that nothing named.
                fields: dict[str, object] = {"target": tenant, "count": swept.destroyed}
                step = entry(tenant, "keys.person", "unnamed", "", _ITSELF, fields, now, self._new_id())
                await self._trail.append(step)
