"""Person keys of one process: made, opened through their epoch, held in memory for a short while.

An opened key lives for `ttl_s` at most and never longer than the epoch key it was opened with, which is asked for at
its keeper again in the background before it ends. When the keeper or the person store is away longer than that, the
answer is `KeysUnavailable`. A key that is not there is a fault unless a tombstone says that its holder was erased.
"""

import asyncio
import hmac
import os
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TypeVar

from kms.person import EPOCH_CLOSED, Epoch, EpochChanged, EpochKeeper, EpochState, PersonRow, PersonStore, epoch_closed
from kms.provider import KeysUnavailable
from kms.pseudonym import alias, pseudonym
from kms.value_key import KEY_BYTES, NONCE_BYTES, epoch_place, person_place, unwrap, wrap

_REFRESH_AT = 0.7
_COMMITMENT_BYTES = 16
_EPOCH_CHANGES = 4
_MADE_AT_ONCE = 2000
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Found:
    """Person keys by holder; who was erased; who has neither a key nor a tombstone, which is a fault."""

    keys: dict[bytes, bytes] = field(repr=False)
    erased: set[bytes]
    missing: set[bytes]


@dataclass(frozen=True, slots=True)
class HeldEpoch:
    """An opened epoch key. until, refresh: clock times."""

    number: int
    key: bytes = field(repr=False)
    until: float
    refresh: float


class Persons:
    """Person keys of all tenants; one per process.

    keeper: who keeps the epochs of a tenant; ttl_s: how long an opened key may be used; most: opened keys of all
    tenants; timeout_s: one call of a keeper; clock: monotonic seconds; now: aware UTC time; entropy: n random bytes.
    """

    def __init__(
        self,
        store: PersonStore,
        keeper: Callable[[str], EpochKeeper],
        *,
        clock: Callable[[], float],
        ttl_s: float = 300.0,
        most: int = 50_000,
        timeout_s: float = 10.0,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        entropy: Callable[[int], bytes] = os.urandom,
    ) -> None:
        self.store = store
        self._find_keeper = keeper
        self._keepers: dict[str, EpochKeeper] = {}
        self._clock = clock
        self._ttl_s = ttl_s
        self._most = most
        self._timeout_s = timeout_s
        self._now = now
        self._entropy = entropy
        self._held: dict[tuple[str, bytes], tuple[bytes, float]] = {}
        self._epochs: dict[tuple[str, int], HeldEpoch] = {}
        self._current: dict[str, tuple[int, float]] = {}
        self._flights: dict[tuple[str, int], asyncio.Task[HeldEpoch]] = {}
        self._generation = 0

    def keeper(self, tenant: str) -> EpochKeeper:
        """Who keeps the epochs of a tenant. Raises KeysUnavailable."""
        if tenant not in self._keepers:
            self._keepers[tenant] = self._find_keeper(tenant)
        return self._keepers[tenant]

    def held(self, tenant: str, holder: bytes) -> tuple[bytes, float] | None:
        """A key in memory and the clock time up to which it may be used."""
        found = self._held.get((tenant, holder))
        return found if found is not None and found[1] > self._clock() else None

    async def keys(self, tenant: str, holders: Iterable[bytes]) -> Found:
        """Keys of these holders: one question to the store for those not in memory. Raises KeysUnavailable."""
        found = Found({}, set(), set())
        asked: list[bytes] = []
        for one in holders:
            held = self.held(tenant, one)
            if held is not None:
                found.keys[one] = held[0]
            else:
                asked.append(one)
        if not asked:
            return found
        generation = self._generation
        rows, erased, epochs = await self._read(tenant, asked)
        found.erased.update(erased)
        for one in asked:
            row = rows.get(one)
            if row is not None:
                epoch = epochs[row.epoch]
                found.keys[one] = opened(epoch.key, tenant, row)
                if generation == self._generation:
                    self._keep(tenant, one, found.keys[one], epoch.until)
            elif one not in erased:
                found.missing.add(one)
        return found

    async def _read(
        self, tenant: str, asked: Collection[bytes]
    ) -> tuple[dict[bytes, PersonRow], set[bytes], dict[int, HeldEpoch]]:
        """Rows, tombstones and the epochs of the rows; read again when a turn ended in between."""
        before: set[int] = set()
        while True:
            rows, erased = await self.store.read(tenant, asked)
            numbers = {row.epoch for row in rows.values()}
            try:
                return rows, erased, {number: await self.epoch(tenant, number) for number in numbers}
            except KeysUnavailable as fault:
                if fault.problem != EPOCH_CLOSED or numbers == before:
                    raise
                before = numbers

    async def make(self, tenant: str, holders: Collection[bytes]) -> dict[bytes, bytes]:
        """New keys, durable when this returns. Raises KeysUnavailable."""
        made = {one: self._entropy(KEY_BYTES) for one in holders}
        every = list(made)
        for at in range(0, len(every), _MADE_AT_ONCE):  # an import has many, and each call of the store its time limit
            await self._make(tenant, {one: made[one] for one in every[at : at + _MADE_AT_ONCE]})
        return made

    async def _make(self, tenant: str, made: dict[bytes, bytes]) -> None:
        def add(epoch: HeldEpoch) -> Awaitable[None]:
            rows = [self.wrapped(epoch, tenant, one, key) for one, key in made.items()]
            return self.store.add(tenant, epoch.number, rows, self._now())

        epoch = await self._under_current(tenant, add)
        for one, key in made.items():
            self._keep(tenant, one, key, epoch.until)

    async def _under_current(self, tenant: str, write: Callable[[HeldEpoch], Awaitable[None]]) -> HeldEpoch:
        """Write under the current epoch, again where it changed meanwhile; the one it was written under."""
        for _ in range(_EPOCH_CHANGES):
            epoch = await self.current(tenant)
            try:
                await write(epoch)
            except EpochChanged:
                self._current.pop(tenant, None)
            else:
                return epoch
        raise KeysUnavailable("epoch-changing", "the epoch changes faster than person keys can be made")

    def wrapped(self, epoch: HeldEpoch, tenant: str, holder: bytes, key: bytes) -> PersonRow:
        """A person key under an epoch."""
        place = person_place(tenant, holder, epoch.number)
        wrapped = wrap(epoch.key, key, place, self._entropy(NONCE_BYTES))
        return PersonRow(holder, epoch.number, wrapped, alias(epoch.key, tenant, pseudonym(key, tenant, holder)))

    async def add_aliases(self, tenant: str, keys: Mapping[bytes, bytes]) -> None:
        """Let the pseudonyms of opened keys be found, durable when this returns; keys: by holder.

        Raises KeysUnavailable.
        """
        await self._under_current(
            tenant,
            lambda epoch: self.store.add_aliases(
                tenant, epoch.number, [self.wrapped(epoch, tenant, one, key) for one, key in keys.items()]
            ),
        )

    async def named(self, tenant: str, names: Collection[str]) -> dict[str, bytes]:
        """The living holders behind pseudonyms; who was erased or never was is absent. Raises KeysUnavailable."""
        found: dict[str, bytes] = {}
        for one in await self.store.epochs(tenant):
            wanted = [name for name in names if name not in found]
            if wanted and one.state is not EpochState.CLOSED:
                key = (await self.epoch(tenant, one.number)).key
                asked = {alias(key, tenant, name): name for name in wanted}
                held = await self.store.aliased(tenant, one.number, list(asked))
                found |= {asked[code]: holder for code, holder in held.items()}
        # What a damaged store says is not believed: the key itself must make the name.
        keys = (await self.keys(tenant, set(found.values()))).keys if found else {}
        return {
            name: holder
            for name, holder in found.items()
            if holder in keys and pseudonym(keys[holder], tenant, holder) == name
        }

    @property
    def generation(self) -> int:
        """A number that grows whenever what was made of person keys must be forgotten, too."""
        return self._generation

    def forget(self, tenant: str | None = None) -> None:
        """Drop opened person keys of a tenant, or of all: somebody was erased."""
        self._generation += 1
        self._held = {} if tenant is None else {name: key for name, key in self._held.items() if name[0] != tenant}
        self._epochs = {} if tenant is None else {name: one for name, one in self._epochs.items() if name[0] != tenant}

    def epoch_changed(self, tenant: str) -> None:
        """Ask the store again which epoch is the current one."""
        self._current.pop(tenant, None)

    async def current(self, tenant: str) -> HeldEpoch:
        """The epoch that new keys are wrapped under; begins the first one. Raises KeysUnavailable."""
        known = self._current.get(tenant)
        if known is None or known[1] <= self._clock():
            epochs = await self.store.epochs(tenant)
            if not epochs:
                await self._begin(tenant)
                epochs = await self.store.epochs(tenant)
            current = [one for one in epochs if one.state is EpochState.CURRENT]
            if len(current) != 1:
                raise KeysUnavailable("person-store", "the store of person keys has no current epoch")
            known = self._current[tenant] = (current[0].number, self._clock() + self._ttl_s)
        return await self.epoch(tenant, known[0])

    async def made_epoch(self, tenant: str) -> Epoch:
        """A fresh epoch key under the keeper's newest version, not yet stored. Raises KeysUnavailable."""
        key = self._entropy(KEY_BYTES)
        keeper = self.keeper(tenant)
        number, wrapped = await self._asked(lambda: keeper.wrap(tenant, key, epoch_place(tenant)))
        if not wrapped or key in wrapped:
            raise KeysUnavailable("provider-nonsense", "the keeper of epoch keys answers nonsense")
        return Epoch(number, _commitment(tenant, number, key) + wrapped)

    async def close(self) -> None:
        """Forget every key and close the store and the keepers."""
        self.forget()
        for task in list(self._flights.values()):
            task.cancel()
        for keeper in set(self._keepers.values()):
            await keeper.close()
        await self.store.close()

    async def _begin(self, tenant: str) -> None:
        await self._asked(lambda: self.keeper(tenant).begin(tenant))
        await self.store.begin(tenant, await self.made_epoch(tenant), self._now())

    async def epoch(self, tenant: str, number: int) -> HeldEpoch:
        """An epoch that is not closed. Raises KeysUnavailable."""
        held, now = self._epochs.get((tenant, number)), self._clock()
        if held is not None and held.until > now:
            if held.refresh <= now:
                self._flight(tenant, number)
            return held
        return await asyncio.shield(self._flight(tenant, number))

    def _flight(self, tenant: str, number: int) -> asyncio.Task[HeldEpoch]:
        """One opening of an epoch at a time, whoever asks for it."""
        task = self._flights.get((tenant, number))
        if task is None:
            task = self._flights[(tenant, number)] = asyncio.ensure_future(self._opened(tenant, number))
            task.add_done_callback(lambda done: self._landed(tenant, number, done))
        return task

    def _landed(self, tenant: str, number: int, task: asyncio.Task[HeldEpoch]) -> None:
        self._flights.pop((tenant, number), None)
        if not task.cancelled():
            task.exception()  # a refresh ahead of time that failed is tried again when the epoch is next needed

    async def _opened(self, tenant: str, number: int) -> HeldEpoch:
        asked = self._clock()
        epoch = next((one for one in await self.store.epochs(tenant) if one.number == number), None)
        if epoch is None:
            raise KeysUnavailable("person-store", "the epoch of a person key is not in the store of person keys")
        if epoch.state is EpochState.CLOSED:
            raise epoch_closed()
        commitment, wrapped = epoch.wrapped[:_COMMITMENT_BYTES], epoch.wrapped[_COMMITMENT_BYTES:]
        key = await self._asked(lambda: self.keeper(tenant).unwrap(tenant, wrapped, epoch_place(tenant)))
        if not isinstance(key, bytes) or len(key) != KEY_BYTES:
            raise KeysUnavailable("provider-nonsense", "the keeper of epoch keys answers nonsense")
        if not hmac.compare_digest(_commitment(tenant, number, key), commitment):
            raise KeysUnavailable("key-mismatch", "the keeper of epoch keys returned another key")
        held = HeldEpoch(number, key, asked + self._ttl_s, asked + self._ttl_s * _REFRESH_AT)
        self._epochs[(tenant, number)] = held
        return held

    def _keep(self, tenant: str, holder: bytes, key: bytes, until: float) -> None:
        while len(self._held) >= self._most:
            self._held.pop(next(iter(self._held)))
        self._held[(tenant, holder)] = (key, min(until, self._clock() + self._ttl_s))

    async def _asked(self, call: Callable[[], Awaitable[_T]]) -> _T:
        """Ask a keeper under a time limit; whatever goes wrong becomes KeysUnavailable without foreign text."""
        try:
            async with asyncio.timeout(self._timeout_s):
                return await call()
        except KeysUnavailable:
            raise
        except TimeoutError:
            raise KeysUnavailable("provider-slow", "the keeper of epoch keys does not answer") from None
        except Exception as fault:
            message = f"the keeper of epoch keys failed ({type(fault).__name__})"
            raise KeysUnavailable("provider-fault", message) from None


def opened(epoch: bytes, tenant: str, row: PersonRow) -> bytes:
    """A person key out of its row. Raises KeysUnavailable: it is there and does not open, which is a fault."""
    key = unwrap(epoch, row.wrapped, person_place(tenant, row.holder, row.epoch))
    if key is None:
        raise KeysUnavailable("person-key-damaged", "a person key in the store of person keys was changed")
    return key


def _commitment(tenant: str, number: int, key: bytes) -> bytes:
    place = tenant.encode()
    return hmac.digest(key, b"crmgate epoch commitment\0" + number.to_bytes(8) + place, "sha256")[:_COMMITMENT_BYTES]
