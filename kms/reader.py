"""Reading entries: from memory where they may still be used, else from the store, opened once whoever asks."""

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence

from kms.drafts import spelling_context, value_context
from kms.entry import Origin, VaultEntry
from kms.envelope import Context, EnvelopeInvalid, FieldKey, key_id, open_
from kms.holding import Holding, ValueKeys, no_persons
from kms.keyring import Keyring
from kms.opened import OpenedEntries, Slot
from kms.store import SealedEntry, Store
from kms.value_key import opening


class Reader:
    """Opens entries for one vault. opened: what is in memory; clock: monotonic seconds."""

    def __init__(
        self,
        store: Store,
        keyring: Keyring,
        holding: Holding | None,
        opened: OpenedEntries,
        clock: Callable[[], float],
    ) -> None:
        self._store = store
        self._keyring = keyring
        self._holding = holding
        self._opened = opened
        self._clock = clock
        self._reading: dict[tuple[str, str], asyncio.Future[None]] = {}
        self.damaged = 0
        """Entries met that did not open; each stayed a surrogate."""

    async def resolve(self, tenant: str, surrogates: Iterable[str]) -> dict[str, VaultEntry]:
        """Entries from memory or store, unknown ones absent; raises KeysUnavailable, StoreUnavailable.

        An entry that was changed in the store is absent as well, so it stays a surrogate; `damaged` counts it.
        """
        found, missing = self._opened.get(tenant, dict.fromkeys(surrogates))
        reading = {self._reading[tenant, one] for one in missing if (tenant, one) in self._reading}
        if reading:
            # Another exchange reads them just now; what it may not keep is read again, by each for itself.
            await asyncio.wait(reading)
            fresh, missing = self._opened.get(tenant, missing)
            found |= fresh
        if not missing:
            return found
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        mine = [(tenant, one) for one in missing if (tenant, one) not in self._reading]
        self._reading |= dict.fromkeys(mine, done)
        try:
            return found | await self.read(tenant, missing)
        finally:
            for key in mine:
                del self._reading[key]
            done.set_result(None)

    async def read(self, tenant: str, missing: Sequence[str]) -> dict[str, VaultEntry]:
        """Entries as the store has them now."""
        found: dict[str, VaultEntry] = {}
        generation = self._opened.generation
        sealed = await self._store.entries(tenant, missing)
        names = {key_id(entry.blob) for entry in sealed.values()}
        names |= {key_id(row.spelling) for entry in sealed.values() for row in entry.origins if row.spelling}
        gone: set[bytes] = set()
        keys = await self._keyring.by_id(tenant, names, gone) if names else {}
        # What is in memory is looked at once: it may end while keys are waited for.
        before = {one: self._remembered(tenant, entry) for one, entry in sealed.items()}
        values = await self._value_keys(tenant, sealed, before)
        for surrogate in missing:
            entry = sealed.get(surrogate)
            current = self._opened.may_keep(tenant, surrogate, generation)
            # Its key was destroyed, or everybody it belonged to erased: a surrogate for ever.
            if entry is None or surrogate in values.erased or (gone and key_id(entry.blob) in gone):
                if current:
                    self._opened.keep_unknown(tenant, surrogate)
                continue
            opened = self._open(tenant, entry, keys, values, before[surrogate], keep=current)
            if opened is not None:
                found[surrogate] = opened
        return found

    async def _value_keys(
        self, tenant: str, sealed: Mapping[str, SealedEntry], before: Mapping[str, Slot | None]
    ) -> ValueKeys:
        """Value keys of the entries that have them and are not whole in memory. Raises KeysUnavailable."""
        wraps = {one: entry.wraps for one, entry in sealed.items() if entry.wraps is not None}
        wraps = {one: rows for one, rows in wraps.items() if not _whole(sealed[one], before[one])}
        if not wraps:
            return ValueKeys()
        if self._holding is None:
            raise no_persons()
        return await self._holding.value_keys(tenant, wraps)

    def _remembered(self, tenant: str, sealed: SealedEntry) -> Slot | None:
        """What is still in memory of an entry that was not changed since."""
        before = self._opened.stale(tenant, sealed.surrogate)
        return before if before is not None and before.blob == sealed.blob else None

    def _open(
        self,
        tenant: str,
        sealed: SealedEntry,
        keys: Mapping[bytes, FieldKey],
        values: ValueKeys,
        before: Slot | None,
        *,
        keep: bool,
    ) -> VaultEntry | None:
        """Open an entry, with what is still in memory of it; None when it was changed in the store."""
        now = self._clock()
        spelled = dict(before.spellings) if before is not None else {}
        if sealed.wraps is not None:
            ids = {key_id(sealed.blob), *(key_id(row.spelling) for row in sealed.origins if row.spelling)}
            value_key = values.keys.get(sealed.surrogate)
            # Without its value key nothing of it opens; what is whole in memory needs none.
            keys = opening(keys, value_key, *ids) if value_key is not None else {}
        try:
            if before is not None and before.entry is not None:
                clear, until = before.entry.clear, before.until
            else:
                clear = _opened_text(keys, sealed.blob, value_context(tenant, sealed.kind, sealed.surrogate))
                until = self._keyring.until(tenant, key_id(sealed.blob))
                until = min(until, values.until.get(sealed.surrogate, until))
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


def _whole(sealed: SealedEntry, before: Slot | None) -> bool:
    """Whether nothing of an entry has to be opened."""
    return before is not None and all(
        row.spelling is None or row.spelling in before.spellings for row in sealed.origins
    )


def _opened_text(keys: Mapping[bytes, FieldKey], blob: bytes, context: Context) -> str:
    return open_(keys, blob, context).decode("utf-8", "surrogatepass")
