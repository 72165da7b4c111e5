"""Giving value keys to entries of before person keys: for every place an entry stands at, and all of it at once.

Value, spellings and aliases are opened with the field keys and sealed under the keys of the entry in one transaction
that holds the entry alone; whoever writes to it at the time is waited for by coming back later.
"""

from collections.abc import Callable, Collection, Sequence

from kms.drafts import NO_CELL, alias_context, sealed_text, spelling_context, value_context
from kms.envelope import DEFAULT, Context, EnvelopeInvalid, FieldKey, Sealing, key_id, open_
from kms.holder_store import LOOSE, EntriesErased, HoldersChanged, Place, WrapRow
from kms.holding import Holding
from kms.keyring import Keyring
from kms.provider import KeysUnavailable
from kms.store import KeysChanged, Store
from kms.upgrade_store import Unheld, Upgraded, lock_unheld, write_held
from kms.value_key import KEY_BYTES, derived

SEAL = "seal"
_ATTEMPTS = 4


class Upgrade:
    """Upgrades entries. entropy: n random bytes; sealing: how a tenant seals what is new."""

    def __init__(
        self,
        store: Store,
        keyring: Keyring,
        holding: Holding,
        entropy: Callable[[int], bytes],
        sealing: Callable[[str], Sealing] = lambda _: DEFAULT,
    ) -> None:
        self._store = store
        self._keyring = keyring
        self._holding = holding
        self._entropy = entropy
        self._sealing = sealing

    async def entries(self, tenant: str, kind: str, surrogates: Collection[str]) -> int:
        """Upgrade those of these entries of a kind that nobody writes to just now; how many.

        What does not open, or is under a key whose destruction was approved, stays as it is. Raises KeysUnavailable,
        StoreUnavailable.
        """
        for _ in range(_ATTEMPTS):
            try:
                return await self._once(tenant, kind, sorted(surrogates))
            except KeysChanged:
                self._keyring.refresh(tenant)
            except EntriesErased as met:
                await self._holding.erase_again(tenant, met)
            except HoldersChanged:
                continue
        raise KeysUnavailable("keys-changing", "the keys change faster than values can be renewed")

    async def _once(self, tenant: str, kind: str, surrogates: Sequence[str]) -> int:
        current = await self._keyring.field_key(tenant, kind, SEAL)
        async with self._store.work(tenant) as work:
            check = await work.under({current.id})
            found = await lock_unheld(work.connection, tenant, kind, surrogates)
            await check()
            if not found:
                return 0
            places = {one.surrogate: _places(one) for one in found}
            asked = await self._holding.ask(work, {place for some in places.values() for place in some})
            held = await self._holding.opened(tenant, asked)
            names = {key_id(blob) for one in found for blob in one.blobs}
            keys = await self._keyring.by_id(tenant, names, set())
            done: list[Upgraded] = []
            wraps: list[WrapRow] = []
            for one in found:
                value_key = self._entropy(KEY_BYTES)
                try:
                    done.append(self._resealed(tenant, one, keys, derived(current, value_key)))
                except EnvelopeInvalid:
                    continue
                wraps += self._holding.wraps(tenant, held, one.surrogate, value_key, places[one.surrogate])
            await write_held(work.connection, tenant, current.id, done)
            await work.add_wraps(wraps)
        return len(done)

    def _resealed(self, tenant: str, one: Unheld, keys: dict[bytes, FieldKey], key: FieldKey) -> Upgraded:
        """The same under the key of the entry. Raises EnvelopeInvalid."""
        sealing = self._sealing(tenant)

        def anew(blob: bytes, place: Context) -> bytes:
            clear = open_(keys, blob, place).decode("utf-8", "surrogatepass")
            return sealed_text(clear, key, place, self._entropy, sealing)

        return Upgraded(
            one,
            anew(one.blob, value_context(tenant, one.kind, one.surrogate)),
            [
                anew(row.spelling, spelling_context(tenant, one.kind, one.surrogate, row.entity, row.field))
                for row in one.spellings
            ],
            [anew(alias, alias_context(tenant, one.kind, one.surrogate)) for _, alias in one.aliases],
        )


def _places(one: Unheld) -> list[Place]:
    """Whom an entry belongs to: every place it stands at, or stood at with rights that last."""
    found = [Place(entity, record, "" if record else cell or NO_CELL) for entity, record, cell in one.places]
    return found or [LOOSE]
