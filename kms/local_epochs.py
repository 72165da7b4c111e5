"""Epochs of person keys without OpenBao or Vault: a sealed file of its own beside the keyring, under the same secret.

Each version is a random key that nothing else leads to. Forgetting one writes the file anew without it and overwrites
the old content where it stood; copies of the old file stay dangerous for as long as they are kept.
"""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from kms.custody import CustodyRefused
from kms.local import LocalProvider, Roots, version_of
from kms.local_custody import LocalCustody
from kms.person import epoch_closed
from kms.provider import KeyringLocked, KeysUnavailable

_ATTEMPTS, _WAIT_S = 50, 0.1


class LocalEpochs(LocalCustody):
    """Keeps epoch keys in a keyring file that holds nothing else; see kms.person.EpochKeeper."""

    def __init__(self, path: Path, secret: bytes) -> None:
        super().__init__(LocalProvider(path, secret))
        self._path = path
        self._secret = secret

    async def begin(self, tenant: str) -> None:
        """Make the file and a first key in it, unless there are."""
        if not self._path.exists():
            try:
                await asyncio.to_thread(LocalProvider.create, self._path, self._secret)
            except FileExistsError:
                pass  # another process was faster
            except OSError:
                raise KeyringLocked("keyring-unreadable", f"the file {self._path} cannot be made") from None
        made = self._provider.new_root()
        # Never the key that is derived from the root: the root stays in the file, and with it that key would.
        await self._change(
            lambda roots: roots if tenant in roots.tenants else replace(roots, tenants={**roots.tenants, tenant: made})
        )

    async def newest(self, tenant: str) -> int:
        """Version that wraps."""
        return len((await self._roots(tenant)).former.get(tenant, ())) + 1

    async def wrap(self, tenant: str, key: bytes, context: bytes) -> tuple[int, bytes]:
        """An epoch key under the newest version, and which that is."""
        await self._roots(tenant)
        wrapped = await self._provider.wrap(tenant, key, context)
        return version_of(wrapped), wrapped

    async def unwrap(self, tenant: str, wrapped: bytes, context: bytes) -> bytes:
        """The epoch key again; raises KeyringLocked `person-epoch-closed` for a version that was forgotten."""
        former = (await self._roots(tenant)).former.get(tenant, ())
        version = version_of(wrapped)
        if 1 <= version <= len(former) and not former[version - 1]:
            raise epoch_closed()
        return await self._provider.unwrap(tenant, wrapped, context)

    async def rotate(self, tenant: str, old: int) -> int:
        """Make the version after `old`, unless there is a newer one; the newest."""
        made = self._provider.new_root()
        await self._roots(tenant)

        def change(roots: Roots) -> Roots:
            if len(roots.former.get(tenant, ())) + 1 != old:
                return roots
            former = {**roots.former, tenant: roots.versions(tenant)}
            return replace(roots, former=former, tenants={**roots.tenants, tenant: made})

        await self._change(change)
        return await self.newest(tenant)

    async def trim(self, tenant: str, below: int) -> None:
        """Forget versions below this one for good. Again changes nothing."""
        if below > await self.newest(tenant):
            raise KeyringLocked("key-version-unknown", "there is no such version of the key of person keys")

        def change(roots: Roots) -> Roots:
            kept = tuple(key if number >= below else b"" for number, key in enumerate(roots.former.get(tenant, ()), 1))
            return replace(roots, former={**roots.former, tenant: kept})

        await self._change(change)

    async def close(self) -> None:
        """Forget the keys."""
        await self._provider.close()

    async def _roots(self, tenant: str) -> Roots:
        """What the file holds now; raises KeyringLocked when it has no key of this tenant."""
        roots = await self._provider.roots()
        if tenant not in roots.tenants:
            raise KeyringLocked("keyring-other", f"{self._path} has no key for the person keys of this CRM")
        return roots

    async def _change(self, change: Callable[[Roots], Roots]) -> None:
        """Write the file anew; waits for another process that does so just now."""
        for _ in range(_ATTEMPTS):
            try:
                return await self._rewrite(change, [])
            except CustodyRefused as refused:
                if refused.problem != "keyring-busy":
                    raise KeysUnavailable(refused.problem, str(refused)) from None
                await asyncio.sleep(_WAIT_S)
        raise KeysUnavailable("keyring-busy", f"{self._path} is being changed all the time")
