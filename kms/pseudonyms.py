"""Pseudonyms at work: of records for the trail, made where there are none, and back while the person lives.

A record has a holder and that a person key; the pseudonym comes from the key (kms.pseudonym). Nothing that is stored in
the main database leads from one to the other. What is in memory is dropped with the person keys it came from: when
somebody was erased on any node, when the line for notices was cut, and when a key may no longer be used.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

from kms.holder_store import EntriesErased, HoldersChanged, Place
from kms.holding import Holding
from kms.person import HOLDER_BYTES
from kms.persons import Persons
from kms.provider import KeysUnavailable
from kms.pseudonym import pseudonym
from kms.pseudonym_store import PseudonymStore
from kms.store import Store

_ATTEMPTS = 8
Record = tuple[str, str]
"""Entity and the CRM's key."""


class Pseudonyms:
    """Pseudonyms of all tenants; one per process.

    entropy: n random bytes; clock: monotonic seconds, that of `persons`; most: pseudonyms in memory.
    """

    def __init__(
        self,
        store: Store,
        persons: Persons,
        *,
        entropy: Callable[[int], bytes],
        clock: Callable[[], float],
        most: int = 50_000,
    ) -> None:
        self._store = store
        self._names = PseudonymStore(store)
        self._holding = Holding(store, persons, entropy)
        self._persons = persons
        self._entropy = entropy
        self._clock = clock
        self._most = most
        self._held: dict[tuple[str, str, str], tuple[str, float]] = {}
        self._generation = persons.generation

    def held(self, tenant: str, records: Iterable[Record]) -> dict[Record, str]:
        """The pseudonyms in memory."""
        if self._generation != self._persons.generation:
            self._held.clear()
            self._generation = self._persons.generation
        known, now = self._held, self._clock()
        found: dict[Record, str] = {}
        for record in records:
            kept = known.get((tenant, *record))
            if kept is not None and kept[1] > now:
                found[record] = kept[0]
        return found

    async def names(self, tenant: str, records: Collection[Record], *, make: bool = True) -> dict[Record, str]:
        """The pseudonym of each record; make: those without a holder get one, durable when this returns, else absent.

        Raises KeysUnavailable, StoreUnavailable.
        """
        found = self.held(tenant, records)
        left = {Place(*one, ""): one for one in records if one not in found}
        if not left:
            return found
        generation = self._persons.generation
        known = await self._names.holders(tenant, left)
        holders = {place: rows[0][0] for place, rows in known.items() if rows[0][1]}
        answer = await self._persons.keys(tenant, set(holders.values()))
        keys = dict(answer.keys)
        if answer.missing:
            raise KeysUnavailable(
                "person-key-missing", "a person key is not in the store, and nobody erased its holder"
            )
        holders = {place: one for place, one in holders.items() if one not in answer.erased}
        if make and (new := [place for place in left if place not in holders]):
            made, opened = await self._make(tenant, new)
            holders |= made
            keys |= opened
        for place, holder in holders.items():
            found[left[place]] = self._keep(tenant, left[place], holder, keys[holder], generation)
        return found

    async def every(self, tenant: str, records: Collection[Record]) -> list[str]:
        """All pseudonyms under which the trail can name these records. Raises KeysUnavailable, StoreUnavailable."""
        found = await self._names.holders(tenant, [Place(*one, "") for one in records]) if records else {}
        holders = [one for rows in found.values() for one, _ in rows]
        keys = (await self._persons.keys(tenant, holders)).keys
        return [pseudonym(keys[one], tenant, one) for one in holders if one in keys]

    async def records(self, tenant: str, names: Iterable[str]) -> dict[str, Record]:
        """Whom pseudonyms mean; absent: who was erased. Raises KeysUnavailable, StoreUnavailable."""
        holders = await self._persons.named(tenant, set(names))
        rows = await self._names.records(tenant, set(holders.values())) if holders else {}
        return {name: rows[one] for name, one in holders.items() if one in rows}

    async def _make(self, tenant: str, places: Sequence[Place]) -> tuple[dict[Place, bytes], Mapping[bytes, bytes]]:
        for _ in range(_ATTEMPTS):
            try:
                return await self._made(tenant, places)
            except EntriesErased as met:  # this database was restored from before that
                await self._holding.erase_again(tenant, met)
            except HoldersChanged:
                continue
        raise KeysUnavailable("keys-changing", "holders are erased faster than they can be named")

    async def _made(self, tenant: str, places: Sequence[Place]) -> tuple[dict[Place, bytes], Mapping[bytes, bytes]]:
        wanted = sorted(set(places))
        fresh = [self._entropy(HOLDER_BYTES) for _ in wanted]
        async with self._store.work(tenant) as work:
            # The holders are locked until the end, so that nobody erases one in between.
            held = await self._holding.opened(tenant, await work.holders(wanted, fresh))
            older = {one: key for one, key in held.keys.items() if one not in fresh}
            if older:
                await self._persons.add_aliases(tenant, older)
            await work.note_named(list(held.keys))
        return dict(held.ids), held.keys

    def _keep(self, tenant: str, record: Record, holder: bytes, key: bytes, generation: int) -> str:
        name = pseudonym(key, tenant, holder)
        held = self._persons.held(tenant, holder)
        if held is not None and generation == self._persons.generation == self._generation:
            while len(self._held) >= self._most:
                self._held.pop(next(iter(self._held)))
            self._held[(tenant, *record)] = (name, held[1])
        return name
