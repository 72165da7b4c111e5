"""Custody of transit keys in OpenBao or Vault: versions, import of a customer's key, setting aside, deletion.

Import (OpenBao transit API, `keys/NAME/import`): an ephemeral AES-256 key is encrypted with RSA-OAEP under the server's
wrapping key, SHA-256 for both hashes, and wraps the customer's key with AES-KWP (RFC 5649); both are sent in one piece.
The customer's key is never written anywhere on the way. These calls need rights that the serving gateway should not
have; see the README.
"""

import base64
import os
from collections.abc import Callable, Sequence
from typing import Any

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.keywrap import aes_key_wrap_with_padding
from hvac import exceptions

from kms.custody import KEY_BYTES, CustodyRefused, RootKey, RootState, Wrapped
from kms.provider import KeysUnavailable
from kms.vault import TransitProvider


class TransitCustody:
    """The transit keys behind a provider; entropy: n random bytes."""

    def __init__(self, provider: TransitProvider, *, entropy: Callable[[int], bytes] = os.urandom) -> None:
        self._provider = provider
        self._entropy = entropy

    async def describe(self, tenant: str) -> RootKey:
        """The transit key of a tenant."""
        return await self._provider.ask(lambda client: self._describe(client, tenant))

    async def import_key(self, tenant: str, key: bytes, *, rotatable: bool) -> RootKey:
        """Import a customer's key as the tenant's transit key, or as its next version."""
        if len(key) != KEY_BYTES:
            raise CustodyRefused("key-file-unfit", f"a key of {KEY_BYTES} bytes is needed")
        self._require_ours(tenant)
        refused = await self._provider.ask(lambda client: self._import(client, tenant, key, rotatable=rotatable))
        if refused is not None:
            raise refused
        return await self.describe(tenant)

    async def suspend(self, tenant: str) -> bool:
        """Soft-delete the key, where the server can (OpenBao 2.6 and newer; Vault cannot)."""
        self._require_ours(tenant)
        return await self._provider.ask(lambda client: self._suspend(client, tenant))

    async def restore(self, tenant: str) -> None:
        """Take a soft-deleted key back."""
        about = await self.describe(tenant)
        if about.state is RootState.SUSPENDED:
            path = f"{self._path(tenant)}/soft-delete-restore"
            await self._provider.ask(lambda client: client.adapter.post(path))
            about = await self.describe(tenant)
        if about.state is not RootState.LIVE:
            raise CustodyRefused("key-not-restored", f"the transit key {about.name!r} could not be restored")

    async def destroy(self, tenant: str, others: Sequence[Wrapped]) -> None:
        """Delete the key; `others` have keys of their own, so that nothing of theirs can change."""
        self._require_ours(tenant)
        await self._provider.ask(lambda client: self._destroy(client, tenant))
        if (await self.describe(tenant)).state is not RootState.ABSENT:
            raise KeysUnavailable("vault-nonsense", "the server says that it deleted a key, and still has it")

    def _require_ours(self, tenant: str) -> None:
        if self._provider.external:
            name = self._provider.key_name(tenant)
            message = f"the key {name!r} is kept by its owner: it can only be changed or destroyed there"
            raise CustodyRefused("key-external", message)

    def _path(self, tenant: str) -> str:
        return f"/v1/{self._provider.mount}/keys/{self._provider.key_name(tenant)}"

    def _read(self, client: Any, tenant: str) -> dict[str, Any] | None:
        try:
            about = client.secrets.transit.read_key(self._provider.key_name(tenant), mount_point=self._provider.mount)
        except exceptions.InvalidPath:
            return None
        return dict(about["data"])

    def _describe(self, client: Any, tenant: str) -> RootKey:
        name, about = self._provider.key_name(tenant), self._read(client, tenant)
        if about is None:
            return RootKey(name, RootState.ABSENT)
        origin = "owner" if self._provider.external else "imported" if about.get("imported_key") else "server"
        return RootKey(
            name,
            RootState.SUSPENDED if about.get("soft_deleted") else RootState.LIVE,
            int(about["latest_version"]),
            int(about["min_decryption_version"]),
            origin,
            bool(about.get("derived")),
        )

    def _import(self, client: Any, tenant: str, key: bytes, *, rotatable: bool) -> CustodyRefused | None:
        about, name = self._read(client, tenant), self._provider.key_name(tenant)
        message = (
            f"the newest version of the key {name!r} was made by the server: at first use, or when an imported key was"
            " rotated there. After that the server takes no key from outside; import one before this CRM is used for"
            " the first time, and import its next versions instead of rotating"
        )
        if about is not None and not about.get("imported_key"):
            return CustodyRefused("key-not-imported", message)
        public = client.adapter.get(f"/v1/{self._provider.mount}/wrapping_key")["data"]["public_key"]
        given: dict[str, Any] = {"ciphertext": sealed_for_import(public, key, self._entropy(KEY_BYTES))}
        given["hash_function"] = "SHA256"
        if about is None:
            given |= {"type": "aes256-gcm96", "derived": True, "exportable": False, "allow_rotation": rotatable}
            client.adapter.post(f"{self._path(tenant)}/import", json=given)
            return None
        try:
            client.adapter.post(f"{self._path(tenant)}/import_version", json=given)
        except (exceptions.InternalServerError, exceptions.InvalidRequest):  # another command rotated it meanwhile
            return CustodyRefused("key-not-imported", message)
        return None

    def _suspend(self, client: Any, tenant: str) -> bool:
        try:
            client.adapter.delete(f"{self._path(tenant)}/soft-delete")
        except (exceptions.InvalidPath, exceptions.UnexpectedError):
            return False
        about = self._read(client, tenant)
        return about is not None and bool(about.get("soft_deleted"))

    def _destroy(self, client: Any, tenant: str) -> None:
        if self._read(client, tenant) is not None:
            client.adapter.post(f"{self._path(tenant)}/config", json={"deletion_allowed": True})
            client.adapter.delete(self._path(tenant))


def sealed_for_import(public: str, key: bytes, ephemeral: bytes) -> str:
    """A key as `import` takes it: RSA-OAEP of an ephemeral AES-256 key, then the key under AES-KWP, in base64."""
    wrapping = serialization.load_pem_public_key(public.encode("ascii"))
    if not isinstance(wrapping, rsa.RSAPublicKey):
        raise TypeError
    scheme = padding.OAEP(padding.MGF1(hashes.SHA256()), hashes.SHA256(), None)
    return base64.b64encode(wrapping.encrypt(ephemeral, scheme) + aes_key_wrap_with_padding(ephemeral, key)).decode()
