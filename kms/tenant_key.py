"""Rotation of a tenant's key: a new version, and every field key wrapped anew under it.

Field keys stay the same, so no value is touched. A new wrapping replaces the old one only after it was opened and is
the same key (its commitment says so): what a provider returns by mistake never takes the place of a key. Old versions
go on opening until `close`, which is asked for apart, because backups hold wrappings of before.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from kms.custody import Wrapped
from kms.keyring import Keyring, WrappedKey, bound_context
from kms.provider import KeysUnavailable
from kms.rotation_store import RotationStore
from kms.store import Store


class Turning(Protocol):
    """A provider whose keys have versions. Every method raises KeysUnavailable; those that change CustodyRefused."""

    async def newest(self, tenant: str) -> int:
        """Version that wraps."""
        ...

    async def rotate(self, tenant: str, proofs: Sequence[Wrapped]) -> None:
        """Make a new version; proofs: stored keys that have to open afterwards as they do before."""
        ...

    def version(self, wrapped: bytes) -> int:
        """Version that wrapped a field key; 0 when that cannot be told."""
        ...

    async def rewrap(self, items: Sequence[Wrapped]) -> list[bytes]:
        """The same keys under the newest version, in order."""
        ...

    async def close(self, tenant: str, below: int) -> None:
        """Versions below this one open nothing any more."""
        ...


@dataclass(frozen=True, slots=True)
class Rewrapped:
    """What a page came to: id of the last key looked at (None: that was the end), and counts."""

    after: bytes | None
    seen: int
    changed: int


class TenantKeys:
    """Rotates the keys that field keys are wrapped under. turning: who does it for a tenant."""

    def __init__(self, store: Store, keyring: Keyring, turning: Callable[[str], Turning]) -> None:
        self._keys = store
        self._store = RotationStore(store)
        self._keyring = keyring
        self._turning = turning

    async def newest(self, tenant: str) -> int:
        """Version that wraps now."""
        return await self._turning(tenant).newest(tenant)

    async def rotate(self, tenant: str, old: int) -> int:
        """Make the version after `old`, unless there is a newer one already; the newest version."""
        turning = self._turning(tenant)
        if await turning.newest(tenant) == old:
            stored = await self._stored(tenant)
            await turning.rotate(tenant, [Wrapped(tenant, key.wrapped, bound_context(tenant, key)) for key in stored])
        newest = await turning.newest(tenant)
        if newest <= old:
            raise KeysUnavailable("provider-nonsense", "the key provider says that it made a version, and has not")
        return newest

    async def rewrap(self, tenant: str, newest: int, after: bytes, most: int) -> Rewrapped:
        """Take the next field keys; each is replaced only by a wrapping that was seen to open to it."""
        turning = self._turning(tenant)
        page = [key for key in await self._stored(tenant) if key.id > after][:most]
        old = [key for key in page if turning.version(key.wrapped) < newest]
        made = await turning.rewrap([Wrapped(tenant, key.wrapped, bound_context(tenant, key)) for key in old])
        changed = 0
        for key, wrapped in zip(old, made, strict=True):
            if turning.version(wrapped) < newest:
                raise KeysUnavailable("provider-nonsense", "a key was wrapped under an old version")
            await self._keyring.verify(tenant, replace(key, wrapped=wrapped))
            changed += await self._store.rewrap(tenant, key.id, key.wrapped, wrapped)
        return Rewrapped(page[-1].id if len(page) == most else None, len(page), changed)

    async def left(self, tenant: str, newest: int) -> int:
        """Field keys that are wrapped under an older version."""
        turning = self._turning(tenant)
        return sum(turning.version(key.wrapped) < newest for key in await self._stored(tenant))

    async def total(self, tenant: str) -> int:
        """Field keys there are."""
        return len(await self._stored(tenant))

    async def close(self, tenant: str, below: int) -> None:
        """Let versions below this one open nothing any more."""
        await self._turning(tenant).close(tenant, below)

    async def _stored(self, tenant: str) -> list[WrappedKey]:
        return sorted((key for key in await self._keys.all_keys(tenant) if not key.destroyed), key=lambda key: key.id)
