"""Versions of a tenant's key in the local keyring: a new one is put into the file, former ones stay until closed.

Copies of the keyring file from before do not hold the new version: they have to be made again.
"""

from collections.abc import Sequence
from dataclasses import replace

from kms.custody import CustodyRefused, Wrapped
from kms.local import LocalProvider, Roots, version_of
from kms.local_custody import LocalCustody


class LocalTurn(LocalCustody):
    """Turns tenants' keys in a keyring file; see kms.tenant_key.Turning."""

    def __init__(self, provider: LocalProvider) -> None:
        super().__init__(provider)

    async def newest(self, tenant: str) -> int:
        """Version that wraps."""
        return (await self.describe(tenant)).newest

    async def rotate(self, tenant: str, proofs: Sequence[Wrapped]) -> None:
        """Write the file anew with another key for the tenant. Raises CustodyRefused, KeyringLocked."""
        made = self._provider.new_root()

        def change(roots: Roots) -> Roots:
            former = {**roots.former, tenant: roots.versions(tenant)}
            return replace(roots, former=former, tenants={**roots.tenants, tenant: made})

        await self._rewrite(change, proofs)

    def version(self, wrapped: bytes) -> int:
        """Version in the first bytes."""
        return version_of(wrapped)

    async def rewrap(self, items: Sequence[Wrapped]) -> list[bytes]:
        """The same keys under the newest version."""
        made = []
        for one in items:
            key = await self._provider.unwrap(one.tenant, one.wrapped, one.context)
            made.append(await self._provider.wrap(one.tenant, key, one.context))
        return made

    async def close(self, tenant: str, below: int) -> None:
        """Forget versions below this one. The first came from the root key, which other tenants still need."""

        def change(roots: Roots) -> Roots:
            kept = tuple(key if number >= below else b"" for number, key in enumerate(roots.former.get(tenant, ()), 1))
            return replace(roots, former={**roots.former, tenant: kept})

        if below > await self.newest(tenant):
            raise CustodyRefused("key-version-unknown", "there is no such version of the key")
        await self._rewrite(change, [])
