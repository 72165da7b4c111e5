"""The blind index at work: terms for what is written, candidates for what is looked for, and filling what is missing.

Terms are written in the transaction that places a value, so a value that can be found whole can be found by its parts.
What was placed before the index existed, or under other rules, is filled in by `fill`, a piece at a time: it may be
stopped, started again and run twice. Until nothing is missing, a search by parts is refused (`IndexUnfinished`) instead
of being answered short. Other keys are the work of `renew`: each entry's terms move to the current key of a purpose, in
one transaction with the end of the old ones, while searches ask for the terms of all live keys.
"""

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from kms import index
from kms.ending import end
from kms.entry import VaultEntry
from kms.envelope import FieldKey
from kms.index import PURPOSES, IndexRow, Pattern
from kms.index_store import IndexStore
from kms.keyring import Keyring
from kms.provider import KeysUnavailable
from kms.store import KeysChanged, Store, StoreUnavailable
from kms.surrogate import KINDS

PIECE = 500
"""Entries that one call of `fill` looks at."""
_WINDOW = 5000
_RETRY_S = 5.0
_KEY_CHANGES = 4


class IndexUnfinished(Exception):  # noqa: N818 - a state, not a fault
    """Values of before the index are still being added; searching by a part helps again once that is done."""

    permanent = False


class SearchTooWide(Exception):  # noqa: N818 - says what is wrong
    """More values fit than may be looked at for one search; typing more helps."""

    permanent = True


@dataclass(frozen=True, slots=True)
class Filled:
    """What one call of `fill` did: where to go on (None: at the end) and how many entries got terms."""

    after: str | None
    entries: int


@dataclass(frozen=True, slots=True)
class Moved:
    """What one call of `renew` did: where to go on (None: at the end), entries seen, moved, and moved without terms.

    closed: entries that do not open; nobody can find what nobody can read, so they keep no term.
    """

    after: str | None
    seen: int
    moved: int
    closed: int


class Entries(Protocol):
    """Who opens entries (kms.tokens.SurrogateVault)."""

    async def resolve(self, tenant: str, surrogates: Iterable[str]) -> dict[str, VaultEntry]:
        """Entries, unknown and damaged ones absent."""
        ...

    async def read(self, tenant: str, surrogates: Sequence[str]) -> dict[str, VaultEntry]:
        """The same as the store has them now, whatever is in memory."""
        ...


def texts(entry: VaultEntry) -> set[str]:
    """How an entry is spelled where it stands; its own text when it stands nowhere."""
    spelled = {
        entry.spellings.get((origin.entity, origin.field, origin.record or ""), entry.clear) for origin in entry.origins
    }
    return spelled or {entry.clear}


class BlindIndex:
    """Terms of all tenants; one per vault."""

    def __init__(self, vault: Store, keyring: Keyring) -> None:
        self._vault = vault
        self._store = IndexStore(vault)
        self._keyring = keyring
        self._ready: set[str] = set()
        self._looking = asyncio.Lock()
        self._filling: dict[str, asyncio.Task[None]] = {}

    def start(self, entries: "Entries", tenant: str) -> None:
        """Fill in what is missing in the background, if anything is."""
        if tenant not in self._ready and tenant not in self._filling:
            self._filling[tenant] = asyncio.create_task(self._keep_filling(entries, tenant), name="index terms")

    async def close(self) -> None:
        """Stop filling in; the next start goes on."""
        tasks = list(self._filling.values())
        self._filling.clear()
        await end(*tasks)

    async def _keep_filling(self, entries: "Entries", tenant: str) -> None:
        while True:
            try:
                if await self.ready(tenant):
                    return
                await self.fill_all(entries, tenant)
            except (KeysUnavailable, StoreUnavailable):
                await asyncio.sleep(_RETRY_S)

    async def current(self, tenant: str, kind: str) -> dict[str, FieldKey]:
        """Purpose → the key that new terms are made with; raises KeysUnavailable."""
        return {purpose: await self._keyring.field_key(tenant, kind, purpose) for purpose in PURPOSES}

    async def search(self, entries: Entries, tenant: str, kind: str, wanted: Pattern, most: int) -> list[VaultEntry]:
        """Entries of a kind that fit, in the order of their surrogates.

        Raises SearchTooShort, SearchTooWide, IndexUnfinished, KeysUnavailable, StoreUnavailable.
        """
        found = await self._candidates(tenant, kind, wanted, most + 1)
        if len(found) > most:
            raise SearchTooWide("too many values fit")
        opened = await entries.resolve(tenant, found)
        return [
            opened[one]
            for one in sorted(opened)
            if any(index.matches(kind, wanted, text) for text in texts(opened[one]))
        ]

    async def _candidates(self, tenant: str, kind: str, wanted: Pattern, most: int) -> list[str]:
        """Surrogates that terms nominate, under all keys that are live at one moment; raises as `search` does."""
        for _ in range(_KEY_CHANGES):
            keys = {purpose: await self._keyring.field_keys(tenant, kind, purpose) for purpose in PURPOSES}
            asked = index.alternatives(keys, kind, wanted)
            if not await self.ready(tenant):
                raise IndexUnfinished("the search index is still being made")
            found, live = await self._store.candidates(tenant, kind, asked, most)
            if live <= {key.id for some in keys.values() for key in some}:
                return found
            self._keyring.refresh(tenant)
        raise KeysUnavailable("keys-changing", "the keys change faster than they can be searched with")

    async def ready(self, tenant: str) -> bool:
        """Whether every entry has terms under a live key; once that is so it stays so, as writers add theirs."""
        if tenant in self._ready:
            return True
        async with self._looking:
            if tenant not in self._ready:
                live = await self._live(tenant)
                if await self._lacking(tenant, live):
                    self._keyring.refresh(tenant)  # terms may have moved to keys that are not known here yet
                    now = await self._live(tenant)
                    if set(now) == set(live) or await self._lacking(tenant, now):
                        return False
            self._ready.add(tenant)
        return True

    async def _lacking(self, tenant: str, keys: Sequence[tuple[str, str, bytes]]) -> bool:
        """Whether any entry lacks terms under all of these keys of its kind."""
        after: str | None = ""
        while after is not None:
            missing, after = await self._store.unindexed(tenant, keys, after, _WINDOW)
            if missing:
                return True
        return False

    async def fill(self, entries: Entries, tenant: str, after: str = "", most: int = PIECE) -> Filled:
        """Give those of the next `most` entries their terms that lack some under the current keys; again until None.

        An entry that does not open is passed over: nobody can find what nobody can read. Raises KeysUnavailable,
        StoreUnavailable.
        """
        current = {kind: await self.current(tenant, kind) for kind in KINDS}
        wanted = [(kind, purpose, key.id) for kind, of in current.items() for purpose, key in of.items()]
        missing, last = await self._store.unindexed(tenant, wanted, after, most)
        if not missing:
            return Filled(last, 0)
        opened = await entries.resolve(tenant, list(missing))
        # An entry that does not open gets no terms, but counts as done.
        rows = [
            IndexRow(one, kind, purpose, current[kind][purpose].id, ())
            for one, kind in missing.items()
            if one not in opened
            for purpose in PURPOSES
        ]
        for entry in opened.values():
            rows += index.rows(current[entry.kind], entry.kind, entry.surrogate, texts(entry) | {entry.clear})
            await asyncio.sleep(0)  # making terms is work of the processor; others go on meanwhile
        try:
            async with self._vault.work(tenant) as work:
                check = await work.under({row.key for row in rows})
                await work.add_index(rows)
                await check()
        except KeysChanged:
            self._keyring.refresh(tenant)
            return Filled(after, 0)  # the same piece again, under the keys of now
        return Filled(last, len(opened))

    async def fill_all(self, entries: Entries, tenant: str) -> int:
        """Fill in all that is missing; returns how many entries got terms."""
        done, after = 0, ""
        while True:
            filled = await self.fill(entries, tenant, after)
            done += filled.entries
            if filled.after is None:
                return done
            after = filled.after

    async def renew(
        self, entries: Entries, tenant: str, kind: str, purpose: str, after: str, most: int = PIECE
    ) -> Moved:
        """Move the terms of the next entries of a kind to the current key of a purpose; again until None.

        An entry's terms are made from all that it is spelled as, and the old ones end in the same transaction: a
        search finds the entry before, meanwhile and afterwards. Raises KeysUnavailable, StoreUnavailable.
        """
        for _ in range(_KEY_CHANGES):
            key = await self._keyring.field_key(tenant, kind, purpose)
            page = await self._store.page(tenant, kind, purpose, key.id, after, most)
            if not page.old:
                return Moved(page.last, page.seen, 0, 0)
            opened = await entries.read(tenant, page.old)
            rows = [IndexRow(one, kind, purpose, key.id, ()) for one in page.old if one not in opened]
            for entry in opened.values():
                grams: set[str] = set()
                for text in texts(entry) | {entry.clear}:
                    grams |= index.written_grams(kind, text)[purpose]
                terms = tuple(index.terms(key, kind, purpose, grams))
                rows.append(IndexRow(entry.surrogate, kind, purpose, key.id, terms))
                await asyncio.sleep(0)
            try:
                async with self._vault.work(tenant) as work:
                    check = await work.under({key.id})
                    await work.move_index(rows, purpose, key.id)
                    await check()
            except KeysChanged:
                self._keyring.refresh(tenant)
                continue
            return Moved(page.last, page.seen, len(rows), len(page.old) - len(opened))
        raise KeysUnavailable("keys-changing", "the keys change faster than terms can be made")

    async def total(self, tenant: str, kind: str) -> int:
        """Entries that `renew` will look at."""
        return await self._store.total(tenant, kind)

    async def left(self, tenant: str, key: bytes) -> int:
        """Rows of terms that are still under a key."""
        return await self._store.left(tenant, key)

    async def forget(self, tenant: str, surrogates: Sequence[str]) -> None:
        """Erase the terms of values that nobody may read any more (their keys are destroyed, their rows stay)."""
        await self._store.empty_rows(tenant, surrogates)

    async def counts(self, tenant: str) -> dict[str, int]:
        """Key id in hex → rows under it: 0 under a replaced key ends its rotation."""
        return {key.hex(): number for key, number in (await self._store.counts(tenant)).items()}

    async def _live(self, tenant: str) -> Sequence[tuple[str, str, bytes]]:
        return [
            (kind, purpose, key.id)
            for kind in KINDS
            for purpose in PURPOSES
            for key in await self._keyring.field_keys(tenant, kind, purpose)
        ]
