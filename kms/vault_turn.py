"""Versions of transit keys: rotate, wrap field keys anew, close old versions.

`rewrap` shows no key, is told the same context as `encrypt`, and answers 200 also when items failed: each one is looked
at. It ignores associated data (measured on OpenBao 2.7), so wrappings that carry them, under a key its owner keeps, are
opened and wrapped again. A batch stays below the server's limit of 1,000 JSON strings.
"""

import base64
import re
from collections.abc import Sequence
from typing import Any

from kms.custody import CustodyRefused, Wrapped
from kms.provider import KeyringLocked
from kms.vault import TransitProvider
from kms.vault_custody import TransitCustody

BATCH = 100
_VERSION = re.compile(rb"vault:v([1-9][0-9]{0,8}):")


class TransitTurn(TransitCustody):
    """Turns the transit keys behind a provider; see kms.tenant_key.Turning."""

    def __init__(self, provider: TransitProvider) -> None:
        super().__init__(provider)

    async def newest(self, tenant: str) -> int:
        """Version that wraps."""
        return (await self.describe(tenant)).newest

    async def rotate(self, tenant: str, proofs: Sequence[Wrapped]) -> None:
        """Make a new version; older ones stay, so the proofs need not be tried. Raises CustodyRefused."""
        self._require_ours(tenant)
        await self._provider.ask(lambda client: self._rotate(client, tenant))

    def version(self, wrapped: bytes) -> int:
        """Version in the ciphertext."""
        found = _VERSION.match(wrapped)
        return int(found[1]) if found is not None else 0

    async def rewrap(self, items: Sequence[Wrapped]) -> list[bytes]:
        """The same keys under the newest version."""
        made: list[bytes] = []
        for at in range(0, len(items), BATCH):
            some = items[at : at + BATCH]
            if self._provider.external:
                for one in some:
                    key = await self._provider.unwrap(one.tenant, one.wrapped, one.context)
                    made.append(await self._provider.wrap(one.tenant, key, one.context))
            else:
                made += await self._provider.ask(lambda client, some=some: self._rewrap(client, some))  # type: ignore[misc]
        return made

    async def close(self, tenant: str, below: int) -> None:
        """Raise the oldest version that decrypts. It can be lowered again: this is a refusal and no destruction."""
        self._require_ours(tenant)
        await self._provider.ask(
            lambda client: client.secrets.transit.update_key_configuration(
                self._provider.key_name(tenant), min_decryption_version=below, mount_point=self._provider.mount
            )
        )

    def _rotate(self, client: Any, tenant: str) -> None:
        about = self._read(client, tenant)
        name = self._provider.key_name(tenant)
        if about is None:
            raise KeyringLocked("vault-key-missing", f"there is no transit key {name!r}; it is made at first use")
        if about.get("imported_key") and not about.get("imported_key_allow_rotation"):
            message = f"the key {name!r} was imported: its next version is imported, too (crmgate keys import)"
            raise CustodyRefused("key-imported", message)
        client.secrets.transit.rotate_key(name, mount_point=self._provider.mount)

    def _rewrap(self, client: Any, items: Sequence[Wrapped]) -> list[bytes]:
        batch = [
            {"ciphertext": one.wrapped.decode("ascii"), "context": base64.b64encode(one.context).decode()}
            for one in items
        ]
        answer = client.secrets.transit.rewrap_data(
            self._provider.key_name(items[0].tenant),
            ciphertext=batch[0]["ciphertext"],
            batch_input=batch,
            mount_point=self._provider.mount,
        )
        results = answer["data"]["batch_results"]
        if len(results) != len(items):
            raise ValueError
        for one in results:
            if one.get("error") or not isinstance(one.get("ciphertext"), str):
                message = "the transit engine did not wrap a stored key anew; it was changed, or wrapped elsewhere"
                raise KeyringLocked("vault-other", message)
        return [one["ciphertext"].encode() for one in results]
