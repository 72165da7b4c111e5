"""Value keys at work: opened through any holder that lives, wrapped for each holder an entry is written for."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from kms.erasure_store import ErasureStore
from kms.holder_store import (
    WRAPS_AT_ONCE,
    Asked,
    EntriesErased,
    Place,
    WrapRow,
)
from kms.person import HOLDER_BYTES
from kms.persons import Found, Persons
from kms.provider import KeysUnavailable
from kms.store import Store
from kms.value_key import NONCE_BYTES, unwrap, value_place, wrap
from kms.work_store import Work

_EVERY = 1_000_000
Wraps = Mapping[str, Sequence[WrapRow]]


@dataclass(frozen=True, slots=True)
class ValueKeys:
    """Value keys by surrogate, the clock times up to which they may be used, entries whose holders are all erased.

    What is in neither has no wrapping that opens: it was changed in the store.
    """

    keys: dict[str, bytes] = field(default_factory=dict, repr=False)
    until: dict[str, float] = field(default_factory=dict)
    erased: set[str] = field(default_factory=set)


@dataclass(frozen=True, slots=True)
class Held:
    """The holders of one write: their ids by place and their opened keys by id."""

    ids: Mapping[Place, bytes]
    keys: Mapping[bytes, bytes] = field(repr=False)


def no_persons() -> KeysUnavailable:
    """Values are held by person keys, and nobody said where these are kept."""
    return KeysUnavailable("person-store-unset", "there are values of persons, but no store of person keys is open")


class Holding:
    """Opens and wraps value keys. entropy: n random bytes."""

    def __init__(self, store: Store, persons: Persons, entropy: Callable[[int], bytes]) -> None:
        self._store = store
        self.holders = ErasureStore(store)
        self.persons = persons
        self._entropy = entropy

    async def value_keys(self, tenant: str, wraps: Wraps) -> ValueKeys:
        """Open value keys: one question to the person store for all that is not in memory.

        Raises KeysUnavailable, also with `person-key-missing`: a key is gone and nobody erased its holder.
        """
        found = ValueKeys()
        closed = await self._open(tenant, wraps, found)
        # Of these more wrappings may be stored than were read.
        more = [one for one in closed if len(wraps[one]) == WRAPS_AT_ONCE]
        if more:
            closed -= set(more)
            closed |= await self._open(tenant, await self._store.wraps(tenant, more, _EVERY), found)
        found.erased.update(closed)
        return found

    async def _open(self, tenant: str, wraps: Wraps, found: ValueKeys) -> set[str]:
        """Open what can be opened; those whose holders are all erased."""
        asked = Found({}, set(), set())
        left = {one: rows for one, rows in wraps.items() if not self._opened(tenant, one, rows, asked.keys, found)}
        for some in (slice(1), slice(1, None)):  # mostly the first holder will do
            if not left:
                break
            answer = await self.persons.keys(tenant, {row.holder for rows in left.values() for row in rows[some]})
            asked.keys.update(answer.keys)
            asked.erased.update(answer.erased)
            asked.missing.update(answer.missing)
            left = {one: rows for one, rows in left.items() if not self._opened(tenant, one, rows, asked.keys, found)}
        if any(row.holder in asked.missing for rows in left.values() for row in rows):
            message = "a person key is not in the store of person keys, and nobody erased its holder"
            raise KeysUnavailable("person-key-missing", message)
        return {one for one, rows in left.items() if rows and all(row.holder in asked.erased for row in rows)}

    def _opened(
        self, tenant: str, surrogate: str, rows: Sequence[WrapRow], keys: Mapping[bytes, bytes], found: ValueKeys
    ) -> bool:
        """Open a value key with person keys that are in memory, or that were read just now and may not be kept."""
        for row in rows:
            held = self.persons.held(tenant, row.holder)
            if held is None and row.holder in keys:
                held = (keys[row.holder], 0.0)
            key = None if held is None else unwrap(held[0], row.wrapped, value_place(tenant, row.holder, surrogate))
            if held is not None and key is not None:
                found.keys[surrogate], found.until[surrogate] = key, held[1]
                return True
        return False

    async def ask(self, work: Work, places: Iterable[Place]) -> Asked:
        """Find or make the holders of a write; the answer is fetched later."""
        wanted = sorted(set(places))
        return await work.holders(wanted, [self._entropy(HOLDER_BYTES) for _ in wanted])

    async def opened(self, tenant: str, asked: Asked) -> Held:
        """The person keys of a write, new ones made. Raises KeysUnavailable, HoldersChanged, EntriesErased."""
        ids, new = await asked.fetch()
        keys = dict(await self.persons.make(tenant, new))
        answer = await self.persons.keys(tenant, set(ids.values()) - new)
        if answer.erased:  # this database was restored from before that
            raise EntriesErased([], answer.erased)
        if answer.missing:
            message = "a person key is not in the store of person keys, and nobody erased its holder"
            raise KeysUnavailable("person-key-missing", message)
        return Held(ids, keys | answer.keys)

    async def of_entries(self, tenant: str, work: Work, surrogates: Sequence[str]) -> tuple[dict[str, bytes], Wraps]:
        """Value keys of held entries inside a transaction, and their wrappings. Raises EntriesErased."""
        if not surrogates:
            return {}, {}
        wraps = await work.wraps(surrogates)
        values = await self.value_keys(tenant, {one: wraps.get(one, []) for one in surrogates})
        if values.erased:
            every = await self._store.wraps(tenant, sorted(values.erased), _EVERY)
            raise EntriesErased(values.erased, {row.holder for rows in every.values() for row in rows})
        return values.keys, wraps

    async def erase_again(self, tenant: str, met: EntriesErased) -> None:
        """Take away what came back with an old copy of the database, so that it can be written anew."""
        if met.holders:
            await self.holders.remark(tenant, met.holders)
        if met.surrogates:
            await self.holders.purge(tenant, met.surrogates)

    def wraps(
        self, tenant: str, held: Held, surrogate: str, value_key: bytes, places: Iterable[Place]
    ) -> list[WrapRow]:
        """A value key for the holders of these places."""
        rows: list[WrapRow] = []
        for holder in dict.fromkeys(held.ids[place] for place in places):
            place_of, nonce = value_place(tenant, holder, surrogate), self._entropy(NONCE_BYTES)
            rows.append(WrapRow(surrogate, holder, wrap(held.keys[holder], value_key, place_of, nonce)))
        return rows
