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
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from typing import TypeVar

from kms import index, nominate
from kms.blind import BlindIndex
from kms.drafts import Draft, KindKeys, Maker, draft, equality_terms, spelling_context, value_context
from kms.entry import NewValue, Origin, VaultEntry
from kms.envelope import DEFAULT, Context, EnvelopeInvalid, FieldKey, Sealing, key_id, open_
from kms.index import IndexRow
from kms.keyring import Keyring
from kms.normalise import exact
from kms.opened import OpenedEntries
from kms.provider import KeysUnavailable
from kms.rotation_store import RenewedValue, TermRow
from kms.scanner import Scanner
from kms.store import (
    EVERYTHING,
    KEYS,
    KeysChanged,
    OriginConflict,
    OriginRow,
    Pool,
    SealedEntry,
    Store,
    StoreUnavailable,
    Work,
)
from kms.surrogate import DETERMINISTIC, KINDS, SHAPES, KindUnknown, Shapes

__all__ = [
    "NewValue",
    "Origin",
    "OriginConflict",
    "StoreUnavailable",
    "SurrogateSpaceFull",
    "SurrogateVault",
    "VaultEntry",
]

_ATTEMPTS = 64
_KEY_CHANGES = 4  # keys may change while a value is written; more often than this in a row they do not
_T = TypeVar("_T")
_RETRY_S = (0.2, 1.0, 5.0)
TOKEN_SCOPE = "surrogate"  # noqa: S105 - a name, not a secret


class SurrogateSpaceFull(Exception):  # noqa: N818 - names what is wrong
    """No free surrogate of a kind was met in many attempts: its block is (nearly) used up."""

    permanent = True


class SurrogateVault:
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
        self._store = Store(pool)
        self._keyring = keyring
        self.index = BlindIndex(self._store, keyring)
        """What values are found by when only a part of them is known."""
        self._shapes = shapes
        self._entropy = entropy
        self._below = below
        self._sealing = sealing
        self._clock = clock
        self._nominator = nominate.nominator(shapes)
        self._opened = OpenedEntries(
            most=most, value_s=min(value_s, 300.0), origin_s=origin_s, unknown_s=unknown_s, clock=clock
        )
        self._sender = secrets.token_hex(8)  # whose notices need not be heard: ours
        self._listener: asyncio.Task[None] | None = None
        self._scanners: dict[str, list[Scanner]] = {}
        self._learning: set[asyncio.Task[None]] = set()
        self._reading: dict[tuple[str, str], asyncio.Future[None]] = {}
        self.damaged = 0
        """Entries met that did not open; each stayed a surrogate."""

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

    async def _with_current_keys(self, tenant: str, attempt: Callable[[], Awaitable[_T]]) -> _T:
        """Try again with the keys of now while a change of keys comes in between; raises KeysUnavailable."""
        for _ in range(_KEY_CHANGES):
            try:
                return await attempt()
            except KeysChanged:
                self._keyring.refresh(tenant)
        raise KeysUnavailable("keys-changing", "the keys change faster than values can be written")

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
        found, missing = self.cached(tenant, dict.fromkeys(surrogates))
        reading = {self._reading[tenant, one] for one in missing if (tenant, one) in self._reading}
        if reading:
            # Another exchange reads them just now; what it may not keep is read again, by each for itself.
            await asyncio.wait(reading)
            fresh, missing = self.cached(tenant, missing)
            found |= fresh
        if not missing:
            return found
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        mine = [(tenant, one) for one in missing if (tenant, one) not in self._reading]
        self._reading |= dict.fromkeys(mine, done)
        try:
            return found | await self._read(tenant, missing)
        finally:
            for key in mine:
                del self._reading[key]
            done.set_result(None)

    async def read(self, tenant: str, surrogates: Sequence[str]) -> dict[str, VaultEntry]:
        """`resolve` with what the store has now, whatever is in memory: for work that must miss no spelling."""
        return await self._read(tenant, list(surrogates))

    async def _read(self, tenant: str, missing: Sequence[str]) -> dict[str, VaultEntry]:
        """Entries as the store has them now."""
        found: dict[str, VaultEntry] = {}
        generation = self._opened.generation
        sealed = await self._store.entries(tenant, missing)
        names = {key_id(entry.blob) for entry in sealed.values()}
        names |= {key_id(row.spelling) for entry in sealed.values() for row in entry.origins if row.spelling}
        gone: set[bytes] = set()
        keys = await self._keyring.by_id(tenant, names, gone) if names else {}
        for surrogate in missing:
            entry = sealed.get(surrogate)
            current = self._opened.may_keep(tenant, surrogate, generation)
            if entry is None or (gone and key_id(entry.blob) in gone):  # its key was destroyed: a surrogate for ever
                if current:
                    self._opened.keep_unknown(tenant, surrogate)
                continue
            opened = self._open(tenant, entry, keys, keep=current)
            if opened is not None:
                found[surrogate] = opened
        return found

    async def at_origin(
        self, tenant: str, entity: str, field_name: str, record: str, *, unless: str = ""
    ) -> list[VaultEntry]:
        """Entries a field of a record holds now, the newest first.

        unless: beginning of cells; what is older than an open origin of this field in such a cell is left out.
        """
        held = await self._store.at_origin(tenant, entity, field_name, record, unless)
        opened = await self.resolve(tenant, held) if held else {}
        return [opened[one] for one in held if one in opened]

    async def waiting(
        self, tenant: str, surrogates: Sequence[str], beginning: str, unless: str
    ) -> list[tuple[str, str, str, str]]:
        """(surrogate, entity, field, cell) of what waits for its record in such cells; see `Store.waiting`."""
        return await self._store.waiting(tenant, surrogates, beginning, unless) if surrogates else []

    async def is_open(self, tenant: str, fields: Collection[tuple[str, str]], beginning: str) -> bool:
        """Whether values of one of these fields (entity, name) wait for their record in such a cell."""
        return await self._store.is_open(tenant, fields, beginning)

    async def find(self, tenant: str, kind: str, clear: str) -> list[str]:
        """Surrogates of values equal after normalising (names: case folded, aliases too), at most 200."""
        _, pairs = await self._known(tenant, kind, lambda keys: dict.fromkeys(equality_terms(keys, kind, clear), clear))
        return list(dict.fromkeys(surrogate for _, surrogate in pairs))[:200]

    async def search(self, tenant: str, kind: str, how: str, text: str, most: int = 5000) -> list[VaultEntry]:
        """Entries of a kind that a part of a value finds, whatever its case, width and (numbers) separators.

        how: "equals", "prefix", "suffix", "contains" or "like" (see kms.index). Raises SearchTooShort, SearchTooWide
        (more than `most` fit), IndexUnfinished, KeysUnavailable, StoreUnavailable, KindUnknown.
        """
        if kind not in KINDS:
            raise KindUnknown(kind)
        return await self.index.search(self, tenant, kind, index.pattern(how, text), most)

    async def find_known(self, tenant: str, kind: str, candidates: Sequence[str]) -> dict[str, list[str]]:
        """Which candidates are known values in exactly this case, with their surrogates (at most 200 each)."""
        if not candidates:
            return {}
        spelled = {one: exact(one) for one in candidates}
        of_term, pairs = await self._known(
            tenant,
            kind,
            lambda keys: {
                term: text for text in set(spelled.values()) for term in equality_terms(keys, kind, text, fold=False)
            },
        )
        found: dict[str, list[str]] = {}
        for term, surrogate in pairs:
            found.setdefault(of_term[term], []).append(surrogate)
        return {one: found[text] for one, text in spelled.items() if text in found}

    async def _known(
        self, tenant: str, kind: str, made: Callable[[tuple[FieldKey, ...]], dict[bytes, str]]
    ) -> tuple[dict[bytes, str], list[tuple[bytes, str]]]:
        """Terms (with what each is for) under all live keys of one moment, and the (term, surrogate) pairs found."""

        async def ask() -> tuple[dict[bytes, str], list[tuple[bytes, str]]]:
            keys = await self._equal_keys(tenant, kind)
            terms = made(keys)
            ids = [key.id for key in keys]
            pairs = await self._store.known(tenant, kind, list(terms), ids, deterministic=kind in DETERMINISTIC)
            return terms, pairs

        return await self._with_current_keys(tenant, ask)

    async def index_alias(self, tenant: str, kind: str, alias: str, surrogate: str) -> None:
        """Make a value findable by another spelling, too; the alias is kept sealed beside its terms."""
        await self.index_aliases(tenant, kind, [(alias, surrogate)])

    async def index_aliases(self, tenant: str, kind: str, aliases: Sequence[tuple[str, str]]) -> None:
        """The same for many (alias, surrogate) pairs at once."""

        async def write() -> None:
            maker = await self._maker(tenant, {kind})
            rows = [row for alias, surrogate in aliases for row in maker.alias(kind, alias, surrogate)]
            async with self._store.work(tenant) as work:
                check = await work.under(maker.key_ids)
                await work.add_terms(rows)
                await check()

        await self._with_current_keys(tenant, write)

    async def complete(self, tenant: str, prefixes: Collection[str]) -> dict[str, str]:
        """Surrogates by a beginning that only one of them has (for `Scanner.find_truncated`)."""
        found = await self._store.starting_with(tenant, list(prefixes)) if prefixes else {}
        return {prefix: matches[0] for prefix, matches in found.items() if len(matches) == 1}

    async def _maker(self, tenant: str, kinds: Iterable[str]) -> Maker:
        keys = {kind: await self._kind_keys(tenant, kind) for kind in kinds}
        return Maker(tenant, keys, self._shapes, self._entropy, self._below, self._sealing(tenant))

    async def _kind_keys(self, tenant: str, kind: str) -> KindKeys:
        equal = await self._equal_keys(tenant, kind)
        seal = await self._keyring.field_key(tenant, kind, "seal")
        token = await self._keyring.field_key(tenant, TOKEN_SCOPE, "token")
        return KindKeys(seal, equal, token, await self.index.current(tenant, kind))

    async def _equal_keys(self, tenant: str, kind: str) -> tuple[FieldKey, ...]:
        if kind not in KINDS:
            raise KindUnknown(kind)
        return await self._keyring.field_keys(tenant, kind, "equal")

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

    def _open(self, tenant: str, sealed: SealedEntry, keys: dict[bytes, FieldKey], *, keep: bool) -> VaultEntry | None:
        """Open an entry, with what is still in memory of it; None when it was changed in the store."""
        now = self._clock()
        before = self._opened.stale(tenant, sealed.surrogate)
        same = before is not None and before.blob == sealed.blob
        spelled = dict(before.spellings) if before is not None and same else {}
        try:
            if before is not None and before.entry is not None and same:
                clear, until = before.entry.clear, before.until
            else:
                clear = _opened_text(keys, sealed.blob, value_context(tenant, sealed.kind, sealed.surrogate))
                until = self._keyring.until(tenant, key_id(sealed.blob))
            spellings: dict[tuple[str, str, str], str] = {}
            for row in sealed.origins:
                if row.spelling is None:
                    continue
                if row.spelling not in spelled:
                    place = spelling_context(tenant, sealed.kind, sealed.surrogate, row.entity, row.field)
                    spelled[row.spelling] = _opened_text(keys, row.spelling, place)
                spellings[(row.entity, row.field, row.record)] = spelled[row.spelling]
        except EnvelopeInvalid:
            self.damaged += 1
            return None
        origins = dict.fromkeys(Origin(row.entity, row.field, row.record or None) for row in sealed.origins)
        entry = VaultEntry(sealed.surrogate, sealed.kind, clear, tuple(origins), spellings)
        if before is not None and before.entry == entry:
            entry = before.entry  # nothing changed: what was derived from it still holds
        if keep:
            kept = {row.spelling: spelled[row.spelling] for row in sealed.origins if row.spelling is not None}
            self._opened.keep(tenant, entry, sealed.blob, kept, now, until)
        return entry

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


def _opened_text(keys: dict[bytes, FieldKey], blob: bytes, context: Context) -> str:
    return open_(keys, blob, context).decode("utf-8", "surrogatepass")
