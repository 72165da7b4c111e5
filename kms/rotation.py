"""Rotation of field keys: a new current key at once, then everything under old keys sealed and termed anew.

A key is *current* (written under), *live* (still read and asked for), *retired* (nothing is under it), in the end
*destroyed*. `switch` makes a new current key; from its return on nothing is written under the old one, in whichever
process (kms.rotation_store says how). `renew` takes page after page of a kind and replaces, by compare-and-set, what is
not under the current keys: doing a page twice changes nothing, and what somebody wrote meanwhile is left alone.
`left` counts what is still under a key; only when that is 0, `retire` ends it.

Surrogates never change. Equality terms are made anew; queries ask for the terms of all live keys of one moment, so
search and uniqueness hold while the work is under way. `token` keys, for the checks inside surrogates that stand in the
CRM, are never retired: they go on confirming what was made under them, new surrogates get the new one.

What else is under field keys is moved by others, each a `Mover`; `Rotation` asks the one whose scope it is.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from kms.drafts import (
    EXACT,
    FOLDED,
    NORMALISED,
    SPELLED,
    alias_context,
    equality_term,
    sealed_text,
    spelling_context,
    value_context,
)
from kms.envelope import DEFAULT, Context, EnvelopeInvalid, FieldKey, Sealing, key_id, open_
from kms.held_page import HeldPage, HeldPages
from kms.keyring import Keyring
from kms.normalise import exact, folded, normalise
from kms.persons import Persons
from kms.provider import KeysUnavailable
from kms.rotation_store import (
    NotRotatable,
    Page,
    RenewedValue,
    RotationStore,
    SealedRow,
    SpellingRow,
    TermRow,
)
from kms.store import KeysChanged, Store
from kms.surrogate import KINDS
from kms.tokens import TOKEN_SCOPE

SEAL, EQUAL, TOKEN = "seal", "equal", "token"
_BREATH = 50  # values between two turns of the event loop: about a millisecond of work
_KEY_CHANGES = 4


@dataclass(frozen=True, slots=True)
class Renewed:
    """What a page came to: where the next begins (None: this was the last), and counts.

    seen: entries looked at; changed: of values, spellings and terms; damaged: entries that do not open or whose term is
    not theirs; lost: aliases from before their text was kept, whose terms no key can make anew.
    """

    after: str | None
    seen: int
    changed: int
    damaged: int
    lost: int


class End(StrEnum):
    """How the rotation of a key ends."""

    RETIRED = "retired"
    """Nothing is under the old key any more."""
    VERIFY = "verify"
    """The old key only confirms what was made under it, which cannot be made anew."""
    STANDING = "standing"
    """The old key stays live: what is under it stands in the CRM, where this does not reach."""


class Mover(Protocol):
    """Brings what is under old keys of its scopes under the current ones, page after page; see `Rotation`."""

    def end(self, scope: str, purpose: str) -> End | None:
        """How a rotation of such keys ends; None: they are not of this mover."""
        ...

    async def total(self, tenant: str, scope: str, purpose: str) -> int:
        """How much `renew` will look at."""
        ...

    async def renew(self, tenant: str, scope: str, purpose: str, after: str, most: int) -> Renewed:
        """Take the next page; doing it twice changes nothing."""
        ...

    async def left(self, tenant: str, scope: str, purpose: str, key: bytes) -> int | None:
        """How much is still under a key; None: that cannot be told."""
        ...


@dataclass(slots=True)
class _Change:
    """What will be written for a page."""

    values: list[RenewedValue]
    spellings: list[tuple[SpellingRow, bytes]]
    terms: list[tuple[TermRow, TermRow | None]]
    damaged: set[str]
    lost: int = 0


class Rotation:
    """Rotates field keys: itself those that values of the vault are sealed and found under, others by `movers`.

    entropy: n random bytes; sealing: how a tenant seals what is new; what moves to a new key moves to that suite, too;
    persons: person keys, which entries of before them get on the way.
    """

    def __init__(
        self,
        store: Store,
        keyring: Keyring,
        entropy: Callable[[int], bytes],
        sealing: Callable[[str], Sealing] = lambda _: DEFAULT,
        movers: Sequence[Mover] = (),
        persons: Persons | None = None,
    ) -> None:
        self._held = HeldPages(store, keyring, persons, entropy, sealing)
        self._movers = movers
        self._vault = store
        self._store = RotationStore(store)
        self._keyring = keyring
        self._entropy = entropy
        self._sealing = sealing

    async def current(self, tenant: str, scope: str, purpose: str) -> bytes:
        """Id of the current key; raises NotRotatable, StoreUnavailable."""
        self.end(scope, purpose)
        keys = await self._vault.keys_for(tenant, scope, purpose)
        if not keys or keys[0].retired:
            raise NotRotatable(f"{scope} {purpose}")
        return keys[0].id

    async def used(self, tenant: str) -> list[tuple[str, str]]:
        """(scope, purpose) of every key that is current; raises StoreUnavailable."""
        keys = await self._vault.all_keys(tenant)
        return [(key.scope, key.purpose) for key in keys if key.state == "current" and not key.retired]

    def end(self, scope: str, purpose: str) -> End:
        """How a rotation of such keys ends; raises NotRotatable where nobody knows what is under them."""
        if _of_vault(scope, purpose):
            return End.RETIRED
        if (scope, purpose) == (TOKEN_SCOPE, TOKEN):
            return End.VERIFY
        return self._mover(scope, purpose)[1]

    def _mover(self, scope: str, purpose: str) -> tuple[Mover, End]:
        for mover in self._movers:
            end = mover.end(scope, purpose)
            if end is not None:
                return mover, end
        raise NotRotatable(f"{scope} {purpose}")

    async def switch(self, tenant: str, scope: str, purpose: str, old: bytes) -> bool:
        """Make a new key current in place of `old`; False when it was not the current one. Raises KeysUnavailable."""
        if await self._store.state(tenant, old) != "current":
            return False
        made = await self._keyring.make_key(tenant, scope, purpose)
        switched = await self._store.switch(tenant, made, old, verify=self.end(scope, purpose) is End.VERIFY)
        await self._announce(tenant)
        return switched

    async def total(self, tenant: str, scope: str, purpose: str) -> int:
        """How much `renew` will look at."""
        if _of_vault(scope, purpose):
            return await self._store.total(tenant, scope)
        return await self._mover(scope, purpose)[0].total(tenant, scope, purpose)

    async def renew(self, tenant: str, scope: str, purpose: str, after: str, most: int) -> Renewed:
        """Take the next page. Raises KeysUnavailable, StoreUnavailable."""
        if _of_vault(scope, purpose):
            return await self._renew_kind(tenant, scope, purpose, after, most)
        return await self._mover(scope, purpose)[0].renew(tenant, scope, purpose, after, most)

    async def _renew_kind(self, tenant: str, kind: str, purpose: str, after: str, most: int) -> Renewed:
        page = await self._store.page(tenant, kind, after, most)
        if await self._held.upgrade(tenant, kind, page):
            page = await self._store.page(tenant, kind, after, most)
        if not page.values:
            return Renewed(None, 0, 0, 0, 0)
        for _ in range(_KEY_CHANGES):
            try:
                done, change = await self._write(tenant, kind, purpose, page)
            except KeysChanged:
                self._keyring.refresh(tenant)
                continue
            following = page.values[-1].surrogate if len(page.values) == most else None
            return Renewed(following, len(page.values), done, len(change.damaged), change.lost)
        raise KeysUnavailable("keys-changing", "the keys change faster than values can be renewed")

    async def left(self, tenant: str, scope: str, purpose: str, key: bytes) -> int | None:
        """How many values, spellings, aliases, terms or whatever is of this scope are still under a key.

        None where that cannot be told: checks inside surrogates do not name their key.
        """
        if (scope, purpose) == (TOKEN_SCOPE, TOKEN):
            return None
        if not _of_vault(scope, purpose):
            return await self._mover(scope, purpose)[0].left(tenant, scope, purpose, key)
        if purpose == SEAL:
            return await self._store.left_sealed(tenant, scope, key)
        return await self._store.left_termed(tenant, scope, key)

    async def retire(self, tenant: str, key: bytes) -> None:
        """End a live key under which nothing is left."""
        await self._store.retire(tenant, key)
        await self._announce(tenant)

    async def _announce(self, tenant: str) -> None:
        self._keyring.refresh(tenant)
        await self._vault.announce_keys(tenant)

    async def _write(self, tenant: str, kind: str, purpose: str, page: Page) -> tuple[int, _Change]:
        current = await self._keyring.field_key(tenant, kind, purpose)
        held = await self._held.open(tenant, page)
        if purpose == SEAL:
            change = await self._sealed_anew(tenant, kind, current, page, held)
        else:
            change = await self._termed_anew(tenant, kind, current, page, held)
        async with self._vault.work(tenant) as work:
            check = await work.under({current.id})
            done = await work.replace(change.values, change.spellings, change.terms)
            await check()
        return done, change

    async def _sealed_anew(self, tenant: str, kind: str, key: FieldKey, page: Page, held: HeldPage) -> _Change:
        change, sealing = _Change([], [], [], set()), self._sealing(tenant)
        values = [row for row in page.values if key_id(row.blob) != key.id]
        spellings = [row for row in page.spellings if key_id(row.spelling) != key.id]
        aliases = [(row, row.alias) for row in page.terms if row.alias is not None and key_id(row.alias) != key.id]
        names = {key_id(row.blob) for row in values} | {key_id(row.spelling) for row in spellings}
        # What is under a destroyed key does not open and is left as it is.
        keys = await self._keyring.by_id(tenant, names | {key_id(blob) for _, blob in aliases}, set())

        def anew(surrogate: str, blob: bytes, place: Context) -> bytes | None:
            try:
                clear = _text(open_(held.opening(surrogate, keys), blob, place))
                return sealed_text(clear, held.sealing(surrogate, key), place, self._entropy, sealing)
            except EnvelopeInvalid:
                change.damaged.add(surrogate)
                return None

        for number, row in enumerate(values):
            if (blob := anew(row.surrogate, row.blob, value_context(tenant, kind, row.surrogate))) is not None:
                change.values.append(RenewedValue(row, blob, key.id, row.equal_term, row.equal_key))
            if number % _BREATH == _BREATH - 1:
                await asyncio.sleep(0)
        for spelt in spellings:
            place = spelling_context(tenant, kind, spelt.surrogate, spelt.entity, spelt.field)
            if (blob := anew(spelt.surrogate, spelt.spelling, place)) is not None:
                change.spellings.append((spelt, blob))
        for term, sealed in aliases:
            if (blob := anew(term.surrogate, sealed, alias_context(tenant, kind, term.surrogate))) is not None:
                change.terms.append((term, TermRow(kind, term.term, term.surrogate, term.key, blob)))
        return change

    async def _termed_anew(self, tenant: str, kind: str, key: FieldKey, page: Page, held: HeldPage) -> _Change:
        change = _Change([], [], [], set())
        values = [row for row in page.values if row.equal_key != key.id]
        terms = [row for row in page.terms if row.key != key.id]
        concerned = {row.surrogate for row in values} | {row.surrogate for row in terms}
        blobs = {row.surrogate: row.blob for row in page.values if row.surrogate in concerned}
        names = {key_id(blob) for blob in blobs.values()} | {key_id(row.alias) for row in terms if row.alias}
        names |= {row.equal_key for row in values} | {row.key for row in terms}
        keys = await self._keyring.by_id(tenant, names, set())
        clears: dict[str, str] = {}
        for number, (surrogate, blob) in enumerate(blobs.items()):
            try:
                place = value_context(tenant, kind, surrogate)
                clears[surrogate] = _text(open_(held.opening(surrogate, keys), blob, place))
            except EnvelopeInvalid:
                change.damaged.add(surrogate)
            if number % _BREATH == _BREATH - 1:
                await asyncio.sleep(0)
        for row in values:
            clear = clears.get(row.surrogate)
            found = None if clear is None else _made_from(keys.get(row.equal_key), kind, row, clear)
            if found is None:
                change.damaged.add(row.surrogate)
                continue
            term = equality_term(key, kind, *found)
            change.values.append(RenewedValue(row, row.blob, key_id(row.blob), term, key.id))
        for term_row in terms:
            if term_row.surrogate in change.damaged:
                continue
            now = self._term(tenant, term_row, clears[term_row.surrogate], keys, key, held)
            change.lost += now is None
            change.terms.append((term_row, now))
        return change

    def _term(
        self, tenant: str, row: TermRow, clear: str, keys: dict[bytes, FieldKey], key: FieldKey, held: HeldPage
    ) -> TermRow | None:
        """A term row under another key; None when nobody knows any more what it was made from."""
        texts = [clear]
        if row.alias is not None:
            try:
                place = alias_context(tenant, row.kind, row.surrogate)
                texts = [_text(open_(held.opening(row.surrogate, keys), row.alias, place))]
            except EnvelopeInvalid:
                return None
        old = keys.get(row.key)
        for text in texts if old is not None else []:
            for form, spelled in ((EXACT, exact(text)), (FOLDED, folded(text))):
                if old is not None and equality_term(old, row.kind, form, spelled) == row.term:
                    term = equality_term(key, row.kind, form, spelled)
                    return TermRow(row.kind, term, row.surrogate, key.id, row.alias)
        return None


def _of_vault(scope: str, purpose: str) -> bool:
    return scope in KINDS and purpose in (SEAL, EQUAL)


def _made_from(old: FieldKey | None, kind: str, row: SealedRow, clear: str) -> tuple[str, str] | None:
    """Form and spelling that the term of an entry was made from; None when it is not its term."""
    if old is None:
        return None
    forms = [(NORMALISED, normalise(kind, clear)), (SPELLED, clear)] if row.deterministic else [(EXACT, exact(clear))]
    return next((one for one in forms if equality_term(old, kind, *one) == row.equal_term), None)


def _text(data: bytes) -> str:
    return data.decode("utf-8", "surrogatepass")
