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
from kms.drafts import Draft, Maker, draft, value_context
from kms.entry import NewValue, Origin, VaultEntry
from kms.envelope import DEFAULT, Sealing, key_id, open_
from kms.index import IndexRow
from kms.keyring import Keyring
from kms.kind_keys import TOKEN_SCOPE
from kms.lookups import Lookups
from kms.notice_store import EVERYTHING, KEYS
from kms.opened import OpenedEntries
from kms.provider import KeysUnavailable
from kms.reader import Reader
from kms.rotation_store import RenewedValue, TermRow
from kms.scanner import Scanner
from kms.store import (
    OriginConflict,
    OriginRow,
    Pool,
    StoreUnavailable,
    Work,
)
from kms.surrogate import KINDS, SHAPES, Shapes

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

_ATTEMPTS = 64
_RETRY_S = (0.2, 1.0, 5.0)


class SurrogateSpaceFull(Exception):  # noqa: N818 - names what is wrong
    """No free surrogate of a kind was met in many attempts: its block is (nearly) used up."""

    permanent = True


class SurrogateVault(Lookups):
    """Surrogates and their values for all tenants; one per process.

    most, value_s, origin_s, unknown_s: the cache of opened entries (see kms.opened); clock: monotonic seconds;
    entropy and below: randomness, replaced by tests only; sealing: how a tenant seals what is new.
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
    ) -> None:
        super().__init__(pool, keyring, shapes, entropy, below, sealing)
        self._nominator = nominate.nominator(shapes)
        self._opened = OpenedEntries(
            most=most, value_s=min(value_s, 300.0), origin_s=origin_s, unknown_s=unknown_s, clock=clock
        )
        self._reader = Reader(self._store, keyring, self._opened, clock)
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
            self._listener.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._listener
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

    async def place(self, tenant: str, values: Sequence[NewValue], cell: str) -> list[tuple[str, bool]]:
        """The same with whether each value is new to the vault."""
        if not values:
            return []
        drafts = await self._with_current_keys(tenant, lambda: self._written(tenant, values, cell))
        self._opened.drop(tenant, [one.surrogate for one in drafts])
        placed = [("", False)] * len(values)
        for one in drafts:
            for number in one.numbers:
                placed[number] = (one.surrogate, one.new)
        return placed

    async def _written(self, tenant: str, values: Sequence[NewValue], cell: str) -> list[Draft]:
        maker = await self._maker(tenant, {value.kind for value in values})
        drafts = draft(values, maker.keys)
        async with self._store.work(tenant) as work:
            # The first rows read bring the answer along. With old keys a value may not be found that is there, and then
            # no surrogate would be free for it.
            check = await work.under(maker.key_ids)
            await self._find_placed(tenant, work, drafts)
            await check()
            await self._place(work, drafts, maker)
            await self._write_origins(tenant, work, drafts, maker, cell)
        return drafts

    async def bind(self, tenant: str, cell: str, entity: str, record: str) -> None:
        """Give all origins of a cell and entity their record; raises OriginConflict when they have another."""
        await self._bind(tenant, cell, entity, record, None)

    async def bind_surrogates(
        self, tenant: str, cell: str, entity: str, record: str, surrogates: Collection[str]
    ) -> None:
        """Give the origins of these surrogates in a cell their record; raises OriginConflict."""
        if surrogates:
            await self._bind(tenant, cell, entity, record, list(surrogates))

    async def add_origin(self, tenant: str, surrogate: str, origin: Origin, cell: str) -> None:
        """Note that a surrogate was written somewhere else too; whether the writer may is decided before."""
        row = OriginRow(surrogate, origin.entity, origin.field, origin.record or "", "" if origin.record else cell)
        async with self._store.work(tenant) as work:
            await work.add_origins([row])
            await work.announce(self._sender, [surrogate])
        self._opened.drop(tenant, [surrogate])

    async def retire_origin(self, tenant: str, origin: Origin, keep: Collection[str]) -> None:
        """A field of a record now holds the surrogates in `keep` only; entries stay, the other origins end."""
        if origin.record is None:
            raise ValueError("only an origin with a record can be retired")
        async with self._store.work(tenant) as work:
            changed = await work.retire(origin.entity, origin.field, origin.record, list(keep))
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

    async def _place(self, work: Work, drafts: list[Draft], maker: Maker) -> None:
        """Insert what was not found; several processes may do so at once."""
        for _ in range(_ATTEMPTS):
            wanted = [one for one in drafts if not one.surrogate]
            if not wanted:
                return
            # One of equal values goes first: what must stay as it is written finds out afterwards whether it does.
            wanted = list(
                {one.terms[0] if one.deterministic else number: one for number, one in enumerate(wanted)}.values()
            )
            inserted = await work.add_entries([maker.entry(one) for one in wanted])
            for one in wanted:
                one.new = one.surrogate in inserted
                if not one.new:
                    one.surrogate = ""
            missing = [one for one in drafts if not one.surrogate and one.deterministic]
            await self._find_placed(maker.tenant, work, missing)
        kinds = {one.kind for one in drafts if not one.surrogate}
        raise SurrogateSpaceFull(f"no free surrogate found for {', '.join(sorted(kinds))}")

    async def _find_placed(self, tenant: str, work: Work, drafts: list[Draft]) -> None:
        equal = [one for one in drafts if one.deterministic]
        at = [
            (number, one.kind, term, OriginRow("", origin.entity, origin.field, origin.record or ""))
            for number, one in enumerate(drafts)
            if not one.deterministic
            for origin, _ in one.origins[:1]
            if origin.record is not None
            for term in one.terms
        ]
        values, places = await work.placed([(one.kind, term) for one in equal for term in one.terms], at)
        for one in equal:
            for term in one.terms:
                if (found := values.get((one.kind, term))) is not None:
                    one.surrogate, one.blob = found
                    one.found_by = term
                    break
        for number, at_place in places.items():
            drafts[number].surrogate, drafts[number].blob, drafts[number].found_by = at_place
        apart = [one for one in equal if one.aside and one.surrogate and await self._stored(tenant, one) != one.clear]
        if apart:
            for one in apart:
                one.set_apart()
            await self._find_placed(tenant, work, apart)

    async def _write_origins(self, tenant: str, work: Work, drafts: list[Draft], maker: Maker, cell: str) -> None:
        rows: list[OriginRow] = []
        terms: list[TermRow] = []
        parts: list[IndexRow] = []
        renewed: list[RenewedValue] = []
        for one in drafts:
            stored = one.clear if one.new else await self._stored(tenant, one)
            rows += maker.origins(one, stored, cell)
            parts += maker.index(one, stored)
            if one.new:
                terms += maker.terms(one)
            elif (newer := maker.renewed(one, stored)) is not None:
                renewed.append(newer)
        await work.add_terms(terms)
        await work.add_index(parts)
        await work.add_origins(rows)
        await work.renew(renewed)
        await work.announce(self._sender, [one.surrogate for one in drafts if not one.new])

    async def _stored(self, tenant: str, one: Draft) -> str:
        """The clear text the entry of an equal value holds; it may be spelled differently."""
        keys = await self._keyring.by_id(tenant, {key_id(one.blob)})
        return open_(keys, one.blob, value_context(tenant, one.kind, one.surrogate)).decode("utf-8", "surrogatepass")

    async def _bind(self, tenant: str, cell: str, entity: str, record: str, only: list[str] | None) -> None:
        if not cell or not record:
            raise ValueError("binding needs a cell and a record")
        async with self._store.work(tenant) as work:
            changed = await work.bind(cell, entity, record, only)
            await work.announce(self._sender, changed)
        self._opened.drop(tenant, changed)

    async def _listen(self) -> None:
        """Follow the notices of other processes; whenever the connection is new, everything may have changed."""
        failures = 0

        def connected() -> None:
            nonlocal failures
            failures = 0
            self._opened.drop_all()
            for tenant in self._scanners:
                self.keys_changed(tenant)

        while True:
            with contextlib.suppress(StoreUnavailable):  # origins expire within seconds anyway
                await self._store.listen(self._sender, self._heard, connected)
            await asyncio.sleep(_RETRY_S[min(failures, len(_RETRY_S) - 1)])
            failures += 1

    def _heard(self, tenant: str, surrogates: list[str]) -> None:
        if KEYS in surrogates:
            self.keys_changed(tenant)
        elif EVERYTHING in surrogates:
            self._opened.drop_all(tenant)
        else:
            self._opened.drop(tenant, surrogates)

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
