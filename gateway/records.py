"""Who owns a CRM record, as far as the gateway knows it, and how old that knowledge is.

Ownership decides rights (DESIGN, section 1), so it comes only from writes the CRM accepted or from our own
read-back, never from what another person's page happens to show. Knowledge past its age means "not owned".
The cache is per process and short-lived: another worker's write is seen after at most `ttl`.
"""

from collections import OrderedDict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

RecordKey = tuple[str, str]
_GRACE = timedelta(seconds=30)  # an answer may take so long after its owners were loaded
ANY_ENTITY = "*"  # owners of CRMs with one number range for all records are kept under this as well


class OwnerStore(Protocol):
    """Where owners are kept; both methods raise StoreUnavailable."""

    async def upsert(self, tenant: str, keys: Sequence[RecordKey], owner: str, seen_at: datetime) -> None:
        """Store one owner for several records."""

    async def select(self, tenant: str, keys: Sequence[RecordKey]) -> dict[RecordKey, tuple[str, datetime]]:
        """Owner and time learnt, for the records that are known."""


class Staff(Protocol):
    """Who is in which department."""

    async def departments(self, tenant: str) -> Mapping[str, tuple[str, ...]]:
        """The CRM's key of a user → the departments of that person, of everybody whose key is known once.

        Raises StoreUnavailable.
        """


@dataclass(frozen=True, slots=True)
class Ownership:
    """Owner key of a record in the CRM ("" when nobody is known) and when it was learnt."""

    owner: str
    seen_at: datetime
    cached_at: datetime


class Records:
    """Owners of records by (tenant, entity, record).

    max_age: how long knowledge counts; ttl: how long a cached row is believed without asking the store;
    limit: records kept in memory; staff: who is in which department, None: nobody knows.
    """

    def __init__(
        self,
        store: OwnerStore,
        *,
        max_age: timedelta,
        ttl: timedelta = timedelta(seconds=5),
        limit: int = 100_000,
        staff: "Staff | None" = None,
    ) -> None:
        self._staff = staff
        self._departments: dict[str, tuple[Mapping[str, tuple[str, ...]], datetime]] = {}
        self._store = store
        self._max_age = max_age
        self._ttl = ttl
        self._limit = limit
        self._noted = 0
        self.generation = 0
        """Counts what became another owner's: what was decided before such a change does not hold after it."""
        self._cache: OrderedDict[tuple[str, str, str], Ownership] = OrderedDict()

    def owner(self, tenant: str, entity: str, record: str, now: datetime) -> str | None:
        """Owner from the cache; None when unknown, stale or not loaded."""
        found = self._cache.get((tenant, entity, record))
        if found is None or not found.owner or now - found.seen_at > self._max_age:
            return None
        return found.owner

    def until(self, tenant: str, entity: str, record: str, now: datetime) -> datetime:
        """Up to when the answer of `owner` holds, unless `generation` counts a change; `now` when nothing is known."""
        found = self._cache.get((tenant, entity, record))
        if found is None:
            return now
        until = found.cached_at + self._ttl
        stale = found.seen_at + self._max_age
        return min(until, stale) if found.owner and stale >= now else until

    def departments(self, tenant: str, owner: str, now: datetime) -> tuple[str, ...] | None:
        """The departments of who is this user in the CRM; None where nobody is, or they were not loaded."""
        found = self._departments.get(tenant)
        if found is None or now - found[1] > self._ttl + _GRACE:
            return None
        return found[0].get(owner)

    async def load(self, tenant: str, keys: Collection[RecordKey], now: datetime, *, team: bool = False) -> None:
        """Bring the owners of these records into the cache; raises StoreUnavailable.

        team: and the departments of whoever owns records, which are believed for `ttl`.
        """
        if team:
            await self._load_departments(tenant, now)
        missing = [key for key in keys if not self._fresh((tenant, *key), now)]
        if not missing:
            return
        noted = self._noted
        rows = await self._store.select(tenant, missing)
        if noted != self._noted:
            rows = await self._store.select(tenant, missing)  # an owner was noted meanwhile: read what is true now
        for key in missing:
            owner, seen_at = rows.get(key, ("", now))
            self._remember((tenant, *key), Ownership(owner, seen_at, now))

    async def note(self, tenant: str, keys: Sequence[RecordKey], owner: str, now: datetime) -> None:
        """Remember who owns these records, "" for nobody known; raises StoreUnavailable."""
        keys = list(dict.fromkeys(keys))
        if not keys:
            return
        await self._store.upsert(tenant, keys, owner, now)
        self._noted += 1
        self.generation += 1
        for key in keys:
            self._remember((tenant, *key), Ownership(owner, now, now))

    async def _load_departments(self, tenant: str, now: datetime) -> None:
        known = self._departments.get(tenant)
        if self._staff is not None and (known is None or now - known[1] > self._ttl):
            self._departments[tenant] = (await self._staff.departments(tenant), now)

    def _fresh(self, key: tuple[str, str, str], now: datetime) -> bool:
        found = self._cache.get(key)
        return found is not None and now - found.cached_at <= self._ttl

    def _remember(self, key: tuple[str, str, str], ownership: Ownership) -> None:
        before = self._cache.get(key)
        if before is not None and before.owner != ownership.owner:
            self.generation += 1
        self._cache[key] = ownership
        self._cache.move_to_end(key)
        if len(self._cache) > self._limit:
            self._cache.popitem(last=False)
