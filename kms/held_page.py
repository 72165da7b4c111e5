"""Value keys of a page of a rotation: entries that are held are opened and sealed with them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from kms.envelope import FieldKey, Sealing
from kms.holding import Holding, no_persons
from kms.keyring import Keyring
from kms.persons import Persons
from kms.rotation_store import Page
from kms.store import Store
from kms.upgrade import Upgrade
from kms.value_key import opening, sealing

_WRAPS = 16


@dataclass(frozen=True, slots=True)
class HeldPage:
    """Value keys by surrogate, None for an entry of before person keys; what is not in it does not open."""

    values: Mapping[str, bytes | None] = field(repr=False)

    def opening(self, surrogate: str, keys: Mapping[bytes, FieldKey]) -> Mapping[bytes, FieldKey]:
        """Keys that open what is sealed about an entry."""
        if surrogate not in self.values:
            return {}
        return opening(keys, self.values[surrogate], *keys)

    def sealing(self, surrogate: str, key: FieldKey) -> FieldKey:
        """The key that seals it."""
        return sealing(key, self.values[surrogate])


class HeldPages:
    """Opens the value keys of pages, and gives some to entries that have none."""

    def __init__(
        self,
        store: Store,
        keyring: Keyring,
        persons: Persons | None,
        entropy: Callable[[int], bytes],
        how: Callable[[str], Sealing],
    ) -> None:
        self._store = store
        self._holding = None if persons is None else Holding(store, persons, entropy)
        self._upgrade = None if self._holding is None else Upgrade(store, keyring, self._holding, entropy, how)

    async def upgrade(self, tenant: str, kind: str, page: Page) -> int:
        """Give value keys to the entries that have none; how many. Raises KeysUnavailable, StoreUnavailable."""
        unheld = [row.surrogate for row in page.values if not row.held]
        return await self._upgrade.entries(tenant, kind, unheld) if self._upgrade is not None and unheld else 0

    async def open(self, tenant: str, page: Page) -> HeldPage:
        """The value keys of a page. Raises KeysUnavailable, StoreUnavailable."""
        values: dict[str, bytes | None] = {row.surrogate: None for row in page.values if not row.held}
        held = [row.surrogate for row in page.values if row.held]
        if held:
            if self._holding is None:
                raise no_persons()
            wraps = await self._store.wraps(tenant, held, _WRAPS)
            values |= (await self._holding.value_keys(tenant, wraps)).keys
        return HeldPage(values)
