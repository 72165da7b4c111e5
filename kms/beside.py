"""Values kept beside the CRM by record, for fields whose shape has no room: dates.

A date leaves a placeholder in the CRM and is sealed here. The placeholder is one of many days: which one names the
*generation* of the value, so that what stands in the CRM tells which of the values kept here it accepted, also when its
answer never came. On create the record is not known: the envelope waits under the exchange (`cell`), sealed for that,
and `bind` seals it anew for its record, so that a row moved to another record does not open. Each value has a value key
of its own, wrapped for its holder (kms.holding): erasing a person makes it unreadable. In the CRM's
answers the form announces nothing: it is found by profile only.
"""

import contextlib
import os
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import chain
from typing import TypeVar

from kms import value_key
from kms.beside_store import BesideRow, BesideStore, lock_generations, put_beside
from kms.envelope import NONCE_BYTES, Context, EnvelopeInvalid, FieldKey, Sealing, key_id
from kms.holder_store import EntriesErased, HoldersChanged, Place, WrapRow
from kms.holding import Held, Holding, ValueKeys, no_persons
from kms.keyring import Keyring
from kms.original import Value, open_value, seal_value
from kms.persons import Persons
from kms.provider import KeysUnavailable
from kms.store import KeysChanged

APPLICATION = "beside"
WAITING = "beside waiting"
SEAL = "seal"
PAD_TO = 32
_PIECE = 500
_ATTEMPTS = 4
_T = TypeVar("_T")


class GenerationsUsed(Exception):  # noqa: N818 - names what is wrong
    """No generation is left that none of these records has."""

    permanent = True


@dataclass(frozen=True, slots=True)
class Candidate:
    """One of the values of a field of a record. accepted: whether the CRM is known to have taken it."""

    generation: int
    value: Value = field(repr=False)
    accepted: bool


def standing(candidates: Sequence[Candidate], generation: int) -> Candidate | None:
    """The value that a generation in the CRM stands for: its own, else the one that was accepted last.

    An old form may bring back the generation of a value that was replaced since; what replaced it stands then. What was
    never known to be accepted stands only where the CRM names it.
    """
    own = next((one for one in candidates if one.generation == generation), None)
    return own if own is not None else next((one for one in candidates if one.accepted), None)


class Beside:
    """Dates of all tenants; one per process. sealing: how a tenant seals new values.

    persons: person keys; without them values get no value keys, and those that have one are refused.
    """

    def __init__(
        self,
        store: BesideStore,
        keyring: Keyring,
        sealing: Callable[[str], Sealing],
        *,
        entropy: Callable[[int], bytes] = os.urandom,
        persons: Persons | None = None,
    ) -> None:
        self.store = store
        self._keyring = keyring
        self._sealing = sealing
        self._entropy = entropy
        self.holding = None if persons is None else Holding(store, persons, entropy)
        self.damaged = 0
        """Envelopes met that did not open; each stayed hidden."""

    # -- writing -------------------------------------------------------------------------------------------------

    async def keep(
        self,
        tenant: str,
        entity: str,
        field: str,
        value: Value,
        *,
        record: str | None,
        cell: str,
        generation: int = 0,
    ) -> None:
        """Keep what the CRM has accepted for a record; record None: it waits under `cell` (of one create) for `bind`.

        Raises KeysUnavailable, StoreUnavailable, ValueRefused, SuiteRetired.
        """
        if not record and not cell:
            raise ValueError("a value without a record needs a cell")
        places = [(record or "", "" if record else cell)]
        await self._write(tenant, entity, field, value, places, lambda _: generation, accepted=bool(record))

    async def offer(
        self,
        tenant: str,
        entity: str,
        field: str,
        value: Value,
        records: Sequence[str],
        most: int,
        wanted: int | None = None,
    ) -> int:
        """Keep a value that the CRM may accept for these records, under a generation that none of them has; that.

        most: how many generations there are; wanted: the one it has to be. Raises GenerationsUsed, KeysUnavailable,
        StoreUnavailable, ValueRefused.
        """
        places = [(record, "") for record in records]
        choose = partial(_unused, most=most, wanted=wanted)
        return await self._write(tenant, entity, field, value, places, choose, accepted=False)

    async def accept(self, tenant: str, entity: str, field: str, records: Sequence[str], generation: int) -> None:
        """The CRM accepted what was offered to these records, or was seen to hold it; raises StoreUnavailable."""
        await self.store.accept_beside(tenant, entity, field, records, generation)

    async def withdraw(self, tenant: str, entity: str, field: str, records: Sequence[str], generation: int) -> None:
        """The CRM refused what was offered to these records; raises StoreUnavailable."""
        await self.store.withdraw_beside(tenant, entity, field, records, generation)

    async def bind(self, tenant: str, cell: str, entity: str, record: str) -> None:
        """Give what waits under a cell its record; raises KeysUnavailable, StoreUnavailable, EnvelopeInvalid."""
        if not cell or not record:
            raise ValueError("binding needs a cell and a record")
        waiting = await self.store.waiting_beside(tenant, cell, entity)
        if not waiting:
            return
        damaged = self.damaged
        opened = await self._opened(tenant, waiting)
        if self.damaged > damaged:
            raise EnvelopeInvalid
        for row, value in opened:
            await self.with_current_keys(tenant, partial(self._bound, tenant, row, value, record))

    async def _bound(self, tenant: str, row: BesideRow, value: Value, record: str) -> None:
        key = await self._keyring.field_key(tenant, scope_of(row.entity, row.field), SEAL)
        place = Place(row.entity, record, "")
        async with self.store.work(tenant) as work:
            check = await work.under({key.id})
            asked = await self.holding.ask(work, [place]) if self.holding is not None else None
            await check()
            held = await self.holding.opened(tenant, asked) if self.holding is not None and asked is not None else None
            made = self.sealed(tenant, replace(row, record=record, cell="", accepted=True), value, key, held)
            await self.store.settle_beside(tenant, made, row.cell, work.connection)

    async def _write(
        self,
        tenant: str,
        entity: str,
        field: str,
        value: Value,
        places: Sequence[tuple[str, str]],
        choose: Callable[[set[int]], int],
        *,
        accepted: bool,
    ) -> int:
        """Keep a value at some (record, cell) places, all or none; the generation that was chosen for them."""

        async def attempt() -> int:
            key = await self._keyring.field_key(tenant, scope_of(entity, field), SEAL)
            async with self.store.work(tenant) as work:
                check = await work.under({key.id})
                wanted = [Place(entity, record, cell) for record, cell in places]
                asked = await self.holding.ask(work, wanted) if self.holding is not None else None
                await check()
                held = None
                if self.holding is not None and asked is not None:
                    held = await self.holding.opened(tenant, asked)
                records = [record for record, _ in places if record]
                generation = choose(await lock_generations(work.connection, tenant, entity, field, records))
                rows = [
                    BesideRow(entity, field, record, cell, generation, b"", accepted=accepted)
                    for record, cell in places
                ]
                await put_beside(work.connection, tenant, [self.sealed(tenant, row, value, key, held) for row in rows])
            return generation

        return await self.with_current_keys(tenant, attempt)

    def sealed(self, tenant: str, row: BesideRow, value: Value, key: FieldKey, held: Held | None) -> BesideRow:
        """A row with its value under a fresh value key. held: of its holder, None where there are no person keys."""
        secret = None if held is None else self._entropy(value_key.KEY_BYTES)
        under = value_key.sealing(key, secret)
        place = place_of(tenant, row.entity, row.field, row.record, row.cell)
        nonce = self._entropy(NONCE_BYTES)
        blob = seal_value(under, value, place, nonce, pad_to=PAD_TO, sealing=self._sealing(tenant))
        if held is None or secret is None or self.holding is None:
            return replace(row, blob=blob, holder=None, wrapped=None)
        whose = Place(row.entity, row.record, "" if row.record else row.cell)
        (wrap,) = self.holding.wraps(tenant, held, row.name, secret, [whose])
        return replace(row, blob=blob, holder=wrap.holder, wrapped=wrap.wrapped)

    async def with_current_keys(self, tenant: str, attempt: Callable[[], Awaitable[_T]]) -> _T:
        """Try again while keys or holders change in between; raises KeysUnavailable."""
        for _ in range(_ATTEMPTS):
            try:
                return await attempt()
            except KeysChanged:
                self._keyring.refresh(tenant)
            except HoldersChanged:
                continue
            except EntriesErased as met:
                if self.holding is None:
                    raise no_persons() from None
                await self.holding.erase_again(tenant, met)
        raise KeysUnavailable("keys-changing", "the keys change faster than values can be written")

    # -- reading -------------------------------------------------------------------------------------------------

    async def candidates(
        self, tenant: str, entity: str, field: str, records: Sequence[str]
    ) -> dict[str, list[Candidate]]:
        """Every value of these records, the one accepted last first; absent where none is kept or opens.

        Raises KeysUnavailable, StoreUnavailable.
        """
        found: dict[str, list[Candidate]] = {}
        for row, value in await self._opened(tenant, await self.store.beside(tenant, entity, field, records)):
            found.setdefault(row.record, []).append(Candidate(row.generation, value, row.accepted))
        return found

    async def read(self, tenant: str, entity: str, field: str, records: Sequence[str]) -> dict[str, Value]:
        """The values accepted last, by record; absent where none is kept or where it does not open.

        Raises KeysUnavailable, StoreUnavailable.
        """
        found = await self.candidates(tenant, entity, field, records)
        return {record: some[0].value for record, some in found.items() if some[0].accepted}

    async def _opened(self, tenant: str, rows: Sequence[BesideRow]) -> list[tuple[BesideRow, Value]]:
        """What opens of some rows; what is erased or under a destroyed key is left out, the rest is counted."""
        if not rows:
            return []
        gone: set[bytes] = set()  # keys that were destroyed: the placeholder is all there is
        keys = await self._keyring.by_id(tenant, {key_id(row.blob) for row in rows}, gone)
        values = await self.value_keys(tenant, rows)
        opened: list[tuple[BesideRow, Value]] = []
        for row in rows:
            if key_id(row.blob) in gone or row.name in values.erased:
                continue
            try:
                opened.append((row, self.opened(tenant, row, keys, values)))
            except EnvelopeInvalid:
                self.damaged += 1
        return opened

    async def value_keys(self, tenant: str, rows: Sequence[BesideRow]) -> ValueKeys:
        """The value keys of rows by their names; raises KeysUnavailable."""
        wraps = {
            row.name: [WrapRow(row.name, row.holder, row.wrapped)]
            for row in rows
            if row.holder is not None and row.wrapped is not None
        }
        if not wraps:
            return ValueKeys()
        if self.holding is None:
            raise no_persons()
        return await self.holding.value_keys(tenant, wraps)

    @staticmethod
    def opened(tenant: str, row: BesideRow, keys: Mapping[bytes, FieldKey], values: ValueKeys) -> Value:
        """The value of a row; raises EnvelopeInvalid."""
        secret = values.keys.get(row.name)
        if row.holder is not None and secret is None:
            raise EnvelopeInvalid
        place = place_of(tenant, row.entity, row.field, row.record, row.cell)
        return open_value(value_key.opening(keys, secret, key_id(row.blob)), row.blob, place)

    # -- what ends -----------------------------------------------------------------------------------------------

    async def give_up(self, tenant: str, cells: Sequence[str]) -> None:
        """Delete what waits under these cells, because the CRM did not take it; raises StoreUnavailable."""
        await self.store.drop_waiting(tenant, cells)

    async def forget(self, tenant: str, entity: str, field: str, record: str, generation: int | None = None) -> None:
        """Delete what was accepted for a field of a record, or one generation of it; raises StoreUnavailable."""
        await self.store.drop_beside(tenant, entity, field, record, generation)

    async def seen(self, tenant: str, entity: str, field: str, record: str, stands: int | None) -> None:
        """What the gateway's own look saw in a field: a generation, None where it is empty; raises StoreUnavailable."""
        if stands is not None:
            await self.store.accept_beside(tenant, entity, field, [record], stands)
        await self.store.drop_late(tenant, entity, field, record, stands)

    async def recover(self, tenant: str, most: int = _PIECE) -> int:
        """Bind what waits under exchanges whose record was learnt before a process died; how many of them.

        Raises KeysUnavailable, StoreUnavailable.
        """
        waiting = await self.store.every_waiting(tenant, most)
        known = await self.store.records_of_cells(tenant, sorted({row.cell for row in waiting})) if waiting else {}
        for (cell, entity), record in sorted(known.items()):
            with contextlib.suppress(EnvelopeInvalid):  # counted as damaged; it must not keep the others from it
                await self.bind(tenant, cell, entity, record)
        return len(known)


def scope_of(entity: str, field: str) -> str:
    """The scope of the field key."""
    return f"{APPLICATION}/{entity}/{field}"


def place_of(tenant: str, entity: str, field: str, record: str, cell: str) -> Context:
    """What an envelope is bound to: its record, or the exchange that it waits under."""
    application, bound_to = (APPLICATION, record) if record else (WAITING, cell)
    return Context(tenant, application, entity, field, bound_to)


def _unused(used: set[int], most: int, wanted: int | None) -> int:
    """The generation that is wanted, else the one after those that are used, and the first one after the last."""
    if wanted is not None:
        if wanted in used:
            raise GenerationsUsed("one of these records uses the generation")
        return wanted
    following = max(used) + 1 if used else 0
    for number in chain(range(following, most), range(min(following, most))):
        if number not in used:
            return number
    raise GenerationsUsed("every generation is used by one of these records")
