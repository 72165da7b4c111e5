"""The vault of surrogates: clear values in, surrogates out, and back again with where each value stands.

It promises: equal values of deterministic kinds get one surrogate however many processes ask at once; an entry opens
only in its tenant and under its surrogate; nothing opens longer than its key lives (`KeysUnavailable` then); a cell is
bound to one record of an entity. It decides nothing about who may see a value: it returns entries with their origins.
"""

import asyncio
import contextlib
import os
import secrets
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

from kms import nominate
from kms.drafts import Draft, draft, place_of
from kms.ending import end
from kms.entry import NewValue, Origin, VaultEntry
from kms.envelope import DEFAULT, EnvelopeInvalid, Sealing
from kms.holder_store import APART, Place
from kms.keyring import Keyring
from kms.kind_keys import TOKEN_SCOPE
from kms.lookups import Lookups
from kms.notice_store import EVERYTHING, KEYS, PERSONS
from kms.opened import OpenedEntries
from kms.persons import Persons
from kms.placing import Placing, SurrogateSpaceFull
from kms.provider import KeysUnavailable
from kms.reader import Reader
from kms.scanner import Scanner
from kms.store import (
    OriginConflict,
    OriginRow,
    Pool,
    StoreUnavailable,
)
from kms.surrogate import KINDS, SHAPES, Shapes
from kms.upgrade import Upgrade

__all__ = [
    "TOKEN_SCOPE",
    "NewValue",
    "Origin",
    "OriginConflict",
    "StoreUnavailable",
    "SurrogateSpaceFull",
    "SurrogateVault",
    "VaultEntry",
]

_RETRY_S = (0.2, 1.0, 5.0)
_NAME_BYTES = 8


class SurrogateVault(Lookups):
    """Surrogates and their values for all tenants; one per process.

    most, value_s, origin_s, unknown_s: the cache of opened entries (see kms.opened); clock: monotonic seconds;
    entropy and below: randomness, replaced by tests only; sealing: how a tenant seals what is new; persons: person
    keys, without which values are sealed under field keys alone.
    """

    def __init__(
        self,
        pool: Pool,
        keyring: Keyring,
        *,
        shapes: Shapes = SHAPES,
        most: int = 50_000,
        value_s: float = 300.0,
        origin_s: float = 5.0,
        unknown_s: float = 2.0,
        clock: Callable[[], float] = time.monotonic,
        entropy: Callable[[int], bytes] = os.urandom,
        below: Callable[[int], int] = secrets.randbelow,
        sealing: Callable[[str], Sealing] = lambda _: DEFAULT,
        persons: Persons | None = None,
    ) -> None:
        super().__init__(pool, keyring, shapes, entropy, below, sealing, persons)
        self._upgrade = None
        if self._holding is not None:
            self._upgrade = Upgrade(self._store, keyring, self._holding, entropy, sealing)
        self._nominator = nominate.nominator(shapes)
        self._opened = OpenedEntries(
            most=most, value_s=min(value_s, 300.0), origin_s=origin_s, unknown_s=unknown_s, clock=clock
        )
        self._reader = Reader(self._store, keyring, self._holding, self._opened, clock)
        self._sender = secrets.token_hex(8)  # whose notices need not be heard: ours
        self._listener: asyncio.Task[None] | None = None
        self._scanners: dict[str, list[Scanner]] = {}
        self._learning: set[asyncio.Task[None]] = set()

    @property
    def damaged(self) -> int:
        """Entries met that did not open; each stayed a surrogate."""
        return self._reader.damaged

    async def start(self, tenant: str) -> Scanner:
        """Load (or make) the keys of a tenant and return its scanner; raises KeysUnavailable, StoreUnavailable."""
        if self._listener is None:
            self._listener = asyncio.create_task(self._listen(), name="vault notices")
        await asyncio.gather(*(self._kind_keys(tenant, kind) for kind in KINDS))
        tokens = await self._keyring.field_keys(tenant, TOKEN_SCOPE, "token")
        self.index.start(self, tenant)
        scanner = Scanner([key.secret for key in tokens], self._shapes, self._nominator)
        self._scanners.setdefault(tenant, []).append(scanner)
        return scanner

    async def close(self) -> None:
        """Stop listening and forget every opened value."""
        await self.index.close()
        if self._listener is not None:
            await end(self._listener)
            self._listener = None
        for task in list(self._learning):
            task.cancel()
        self._opened.drop_all()

    async def tokenise(self, tenant: str, values: Sequence[NewValue], cell: str) -> list[str]:
        """Surrogates of these values, in order.

        cell: under which origins without a record wait for `bind`. Raises KeysUnavailable, StoreUnavailable,
        SurrogateSpaceFull, KindUnknown, EnvelopeInvalid (the stored entry of an equal value was changed).
        """
        return [surrogate for surrogate, _ in await self.place(tenant, values, cell)]

    async def place(
        self, tenant: str, values: Sequence[NewValue], cell: str, *, apart: bool = False
    ) -> list[tuple[str, bool]]:
        """The same with whether each value is new to the vault.

        apart: the cell covers values of many records, which `bind_surrogates` will tell one by one; each has a holder
        of its own until then, so that copies of now open with no key that outlives its person's.
        """
        if not values:
            return []
        drafts = await self._with_current_keys(tenant, lambda: self._written(tenant, values, cell, apart=apart))
        self._opened.drop(tenant, [one.surrogate for one in drafts])
        await self._upgrade_met(tenant, drafts)
        placed = [("", False)] * len(values)
        for one in drafts:
            for number in one.numbers:
                placed[number] = (one.surrogate, one.new)
        return placed

    async def _written(self, tenant: str, values: Sequence[NewValue], cell: str, *, apart: bool) -> list[Draft]:
        maker = await self._maker(tenant, {value.kind for value in values})
        drafts = draft(values, maker.keys, cell, (lambda: self._entropy(_NAME_BYTES).hex()) if apart else None)
        async with self._store.work(tenant) as work:
            await Placing(self._keyring, self._holding, maker, work).run(drafts, cell, self._sender)
        return drafts

    async def _upgrade_met(self, tenant: str, drafts: Sequence[Draft]) -> None:
        """Give value keys to entries of before person keys that were written again."""
        if self._upgrade is None:
            return
        for kind in {one.kind for one in drafts if not one.held}:
            # They are as good as before if that fails now; a rotation comes by as well.
            with contextlib.suppress(KeysUnavailable, StoreUnavailable, EnvelopeInvalid):
                met = {one.surrogate for one in drafts if not one.held and one.kind == kind}
                await self._upgrade.entries(tenant, kind, met)

    async def bind(self, tenant: str, cell: str, entity: str, record: str) -> None:
        """Give all origins of a cell and entity their record; raises OriginConflict when they have another."""
        if not cell or not record:
            raise ValueError("binding needs a cell and a record")
        async with self._store.work(tenant) as work:
            changed = await work.bind(cell, entity, record)
            await work.announce(self._sender, changed)
        self._opened.drop(tenant, changed)

    async def bind_surrogates(
        self, tenant: str, cell: str, entity: str, record: str, surrogates: Collection[str]
    ) -> None:
        """Give the origins of these surrogates in a cell their record; raises OriginConflict.

        Holders that were made for them alone become the record's. What waits under the holder of the whole cell, as
        before there were such, is wrapped for the record's holder; the cell's stays, because others are there too.
        """
        if not cell or not record:
            raise ValueError("binding needs a cell and a record")
        if surrogates:
            some = sorted(set(surrogates))
            await self._with_current_keys(tenant, lambda: self._bind_some(tenant, cell, entity, record, some))
            self._opened.drop(tenant, some)

    async def _bind_some(self, tenant: str, cell: str, entity: str, record: str, surrogates: list[str]) -> None:
        place = Place(entity, record, "")
        async with self._store.work(tenant) as work:
            own = await work.bind_apart(cell, entity, record, surrogates)
            if rest := [one for one in surrogates if one not in own]:
                asked = await self._holding.ask(work, [place]) if self._holding is not None else None
                values = await self._value_keys(tenant, work, rest)
                if values and self._holding is not None and asked is not None:
                    held = await self._holding.opened(tenant, asked)
                    for one, key in values.items():
                        await work.add_wraps(self._holding.wraps(tenant, held, one, key, [place]))
            changed = await work.bind_some(cell, entity, record, surrogates)
            await work.announce(self._sender, changed)

    async def add_origin(self, tenant: str, surrogate: str, origin: Origin, cell: str) -> None:
        """Note that a surrogate was written somewhere else too; whether the writer may is decided before."""
        await self._with_current_keys(tenant, lambda: self._add_origin(tenant, surrogate, origin, cell))
        self._opened.drop(tenant, [surrogate])

    async def _add_origin(self, tenant: str, surrogate: str, origin: Origin, cell: str) -> None:
        await self._add_places(tenant, [(surrogate, origin, place_of(origin, cell))], cell)

    async def add_origins(self, tenant: str, written: Sequence[tuple[str, Origin]], cell: str) -> None:
        """The same for many (surrogate, origin) of one cell that covers many records; each waits with its own holder.

        Raises KeysUnavailable, StoreUnavailable.
        """
        if not written:
            return
        places = [
            (one, origin, place_of(origin, f"{cell}{APART}{self._entropy(_NAME_BYTES).hex()}"))
            for one, origin in dict.fromkeys(written)
        ]
        await self._with_current_keys(tenant, lambda: self._add_places(tenant, places, cell))
        self._opened.drop(tenant, [one for one, _ in written])

    async def _add_places(self, tenant: str, written: Sequence[tuple[str, Origin, Place]], cell: str) -> None:
        rows = [
            OriginRow(one, origin.entity, origin.field, origin.record or "", "" if origin.record else cell)
            for one, origin, _ in written
        ]
        async with self._store.work(tenant) as work:
            asked = None
            if self._holding is not None:
                asked = await self._holding.ask(work, {place for _, _, place in written})
            values = await self._value_keys(tenant, work, {one for one, _, _ in written})
            if values and self._holding is not None and asked is not None:
                held = await self._holding.opened(tenant, asked)
                for one, _, place in written:
                    if one in values:
                        await work.add_wraps(self._holding.wraps(tenant, held, one, values[one], [place]))
            await work.add_origins(rows)
            await work.announce(self._sender, sorted({one for one, _, _ in written}))

    async def retire_origins(self, tenant: str, ended: Sequence[tuple[str, Origin]]) -> None:
        """End these origins, each of one (surrogate, origin) pair; origins without a record stay. Entries stay, too."""
        if not ended:
            return
        rows = [OriginRow(one, origin.entity, origin.field, origin.record) for one, origin in ended if origin.record]
        async with self._store.work(tenant) as work:
            changed = await work.end_origins(rows)
            await work.announce(self._sender, changed)
        self._opened.drop(tenant, changed)

    async def hold(self, tenant: str, held: Mapping[tuple[str, str, str], Collection[str]]) -> None:
        """These fields of records, (entity, field, record), now hold these surrogates and no others.

        Origins of others keep their rights but `at_origin` leaves them out until the value stands there again. No
        origin is made.
        """
        if not held:
            return
        async with self._store.work(tenant) as work:
            changed = await work.hold(held)
            await work.announce(self._sender, changed)
        self._opened.drop(tenant, changed)

    def cached(self, tenant: str, surrogates: Iterable[str]) -> tuple[dict[str, VaultEntry], list[str]]:
        """Entries in memory and the surrogates that have to be resolved; those known as unknown are in neither."""
        return self._opened.get(tenant, surrogates)

    async def resolve(self, tenant: str, surrogates: Iterable[str]) -> dict[str, VaultEntry]:
        """Entries from memory or store, unknown ones absent; raises KeysUnavailable, StoreUnavailable.

        An entry that was changed in the store is absent as well, so it stays a surrogate; `damaged` counts it.
        """
        return await self._reader.resolve(tenant, surrogates)

    async def read(self, tenant: str, surrogates: Sequence[str]) -> dict[str, VaultEntry]:
        """`resolve` with what the store has now, whatever is in memory: for work that must miss no spelling."""
        return await self._reader.read(tenant, surrogates)

    async def _listen(self) -> None:
        """Follow the notices of other processes; whenever the connection is new, everything may have changed."""
        failures = 0

        def connected() -> None:
            nonlocal failures
            failures = 0
            self._opened.drop_all()
            if self._holding is not None:
                self._holding.persons.forget()
            for tenant in self._scanners:
                self.keys_changed(tenant)

        while True:
            with contextlib.suppress(StoreUnavailable):  # origins expire within seconds anyway
                await self._store.listen(self._sender, self._heard, connected)
            await asyncio.sleep(_RETRY_S[min(failures, len(_RETRY_S) - 1)])
            failures += 1

    def _heard(self, tenant: str, surrogates: list[str]) -> None:
        if PERSONS in surrogates:
            self.persons_changed(tenant)
        elif KEYS in surrogates:
            self.keys_changed(tenant)
        elif EVERYTHING in surrogates:
            self._opened.drop_all(tenant)
        else:
            self._opened.drop(tenant, surrogates)

    def persons_changed(self, tenant: str) -> None:
        """Forget what was opened with person keys, and these themselves: somebody was erased."""
        if self._holding is not None:
            self._holding.persons.forget(tenant)
        self._opened.drop_all(tenant)

    def keys_changed(self, tenant: str) -> None:
        """Use the keys a tenant has now; its scanner learns them, too."""
        self._keyring.refresh(tenant)
        if tenant in self._scanners:
            task = asyncio.create_task(self._learn(tenant), name="scanner keys")
            self._learning.add(task)
            task.add_done_callback(self._learning.discard)

    async def _learn(self, tenant: str) -> None:
        for wait in (*_RETRY_S, None):
            with contextlib.suppress(StoreUnavailable, KeysUnavailable):
                tokens = await self._keyring.field_keys(tenant, TOKEN_SCOPE, "token")
                for scanner in self._scanners.get(tenant, ()):
                    scanner.take_keys([key.secret for key in tokens])
                return
            if wait is not None:
                await asyncio.sleep(wait)
