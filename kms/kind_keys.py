"""The keys a vault writes and looks up with, and trying again when they change meanwhile."""

from collections.abc import Awaitable, Callable, Iterable
from typing import TypeVar

from kms.blind import BlindIndex
from kms.connections import Pool
from kms.drafts import KindKeys, Maker
from kms.envelope import FieldKey, Sealing
from kms.holder_store import EntriesErased, HoldersChanged
from kms.holding import Holding
from kms.keyring import Keyring
from kms.persons import Persons
from kms.provider import KeysUnavailable
from kms.store import KeysChanged, Store
from kms.surrogate import KINDS, KindUnknown, Shapes

_KEY_CHANGES = 6  # keys or holders may change while a value is written; more often in a row they do not
_T = TypeVar("_T")
TOKEN_SCOPE = "surrogate"  # noqa: S105 - a name, not a secret


class VaultKeys:
    """What every part of a vault works with: its tables, its keys, its randomness."""

    def __init__(
        self,
        pool: Pool,
        keyring: Keyring,
        shapes: Shapes,
        entropy: Callable[[int], bytes],
        below: Callable[[int], int],
        sealing: Callable[[str], Sealing],
        persons: Persons | None,
    ) -> None:
        self._store = Store(pool)
        self._keyring = keyring
        self.index = BlindIndex(self._store, keyring)
        """What values are found by when only a part of them is known."""
        self._shapes = shapes
        self._entropy = entropy
        self._below = below
        self._sealing = sealing
        self._holding = None if persons is None else Holding(self._store, persons, entropy)

    async def _with_current_keys(self, tenant: str, attempt: Callable[[], Awaitable[_T]]) -> _T:
        """Try again with the keys of now while a change of keys comes in between; raises KeysUnavailable."""
        for _ in range(_KEY_CHANGES):
            try:
                return await attempt()
            except KeysChanged:
                self._keyring.refresh(tenant)
            except EntriesErased as met:
                if self._holding is None:
                    raise
                await self._holding.erase_again(tenant, met)
            except HoldersChanged:
                continue
        raise KeysUnavailable("keys-changing", "the keys change faster than values can be written")

    async def _maker(self, tenant: str, kinds: Iterable[str]) -> Maker:
        keys = {kind: await self._kind_keys(tenant, kind) for kind in kinds}
        return Maker(
            tenant, keys, self._shapes, self._entropy, self._below, self._sealing(tenant), self._holding is not None
        )

    async def _kind_keys(self, tenant: str, kind: str) -> KindKeys:
        equal = await self._equal_keys(tenant, kind)
        seal = await self._keyring.field_key(tenant, kind, "seal")
        token = await self._keyring.field_key(tenant, TOKEN_SCOPE, "token")
        return KindKeys(seal, equal, token, await self.index.current(tenant, kind))

    async def _equal_keys(self, tenant: str, kind: str) -> tuple[FieldKey, ...]:
        if kind not in KINDS:
            raise KindUnknown(kind)
        return await self._keyring.field_keys(tenant, kind, "equal")
