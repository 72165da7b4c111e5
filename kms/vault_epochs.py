"""Epochs of person keys in OpenBao or Vault: versions of a transit key of their own, `crmgate-<tenant>_persons`.

An underscore stands in no tenant's name, so the key of one tenant is never that of another. Forgetting a version is
`min_decryption_version` and `min_encryption_version` followed by `trim`: the server removes the versions from its
storage, and no setting brings them back. What stays are backups of the server made before.
"""

import base64
import re
from typing import Any

from kms.person import epoch_closed
from kms.provider import KeyringLocked, KeysUnavailable
from kms.vault import TransitProvider, tenant_key_name

_CIPHERTEXT = re.compile(rb"vault:v([1-9][0-9]{0,8}):[A-Za-z0-9+/=]+\Z")


class TransitEpochs:
    """Keeps epoch keys behind a transit provider; see kms.person.EpochKeeper."""

    def __init__(self, provider: TransitProvider) -> None:
        self._provider = provider

    async def begin(self, tenant: str) -> None:
        """Make the key; making one that is there changes nothing."""
        name, mount = epochs_name(tenant), self._provider.mount
        await self._provider.ask(
            lambda client: client.secrets.transit.create_key(
                name, derived=True, exportable=False, key_type="aes256-gcm96", mount_point=mount
            )
        )

    async def newest(self, tenant: str) -> int:
        """Version that wraps."""
        return int((await self._about(tenant))["latest_version"])

    async def wrap(self, tenant: str, key: bytes, context: bytes) -> tuple[int, bytes]:
        """An epoch key under the newest version, and which that is."""
        await self._about(tenant)  # encrypting under a name that is not there would make a key
        answer = await self._provider.ask(
            lambda client: client.secrets.transit.encrypt_data(
                epochs_name(tenant), plaintext=_text(key), context=_text(context), mount_point=self._provider.mount
            )
        )
        wrapped = _member(answer, "ciphertext").encode()
        found = _CIPHERTEXT.match(wrapped)
        if found is None:
            raise _nonsense()
        return int(found[1]), wrapped

    async def unwrap(self, tenant: str, wrapped: bytes, context: bytes) -> bytes:
        """The epoch key again; raises KeyringLocked `person-epoch-closed` for a version that was forgotten."""
        found = _CIPHERTEXT.match(wrapped)
        if found is None:
            raise KeyringLocked("vault-other", "a stored epoch key was changed")
        try:
            answer = await self._provider.ask(
                lambda client: client.secrets.transit.decrypt_data(
                    epochs_name(tenant),
                    ciphertext=wrapped.decode("ascii"),
                    context=_text(context),
                    mount_point=self._provider.mount,
                )
            )
        except KeyringLocked as fault:
            if fault.problem == "vault-other" and int(found[1]) < await self._oldest(tenant):
                raise epoch_closed() from None
            raise
        try:
            return base64.b64decode(_member(answer, "plaintext"), validate=True)
        except ValueError:
            raise _nonsense() from None

    async def rotate(self, tenant: str, old: int) -> int:
        """Make the version after `old`, unless there is a newer one; the newest."""
        newest = await self.newest(tenant)
        if newest == old:
            name, mount = epochs_name(tenant), self._provider.mount
            await self._provider.ask(lambda client: client.secrets.transit.rotate_key(name, mount_point=mount))
            newest = await self.newest(tenant)
        if newest <= old:
            raise _nonsense()
        return newest

    async def trim(self, tenant: str, below: int) -> None:
        """Forget versions below this one for good. Again changes nothing."""
        about = await self._about(tenant)
        if below > int(about["latest_version"]):
            raise KeyringLocked("key-version-unknown", "there is no such version of the key of person keys")
        if int(about["min_available_version"]) >= below:
            return
        await self._provider.ask(lambda client: self._trim(client, epochs_name(tenant), below))
        if int((await self._about(tenant))["min_available_version"]) < below:
            raise _nonsense()

    async def close(self) -> None:
        """Close the provider."""
        await self._provider.close()

    def _trim(self, client: Any, name: str, below: int) -> None:
        path = f"/v1/{self._provider.mount}/keys/{name}"
        # The server trims only what it may neither decrypt nor encrypt with any more. Posted as it is: the library
        # refuses equal numbers, which the server takes.
        client.adapter.post(f"{path}/config", json={"min_decryption_version": below, "min_encryption_version": below})
        client.adapter.post(f"{path}/trim", json={"min_available_version": below})

    async def _oldest(self, tenant: str) -> int:
        return int((await self._about(tenant))["min_decryption_version"])

    async def _about(self, tenant: str) -> dict[str, Any]:
        name, mount = epochs_name(tenant), self._provider.mount
        answer = await self._provider.ask(lambda client: client.secrets.transit.read_key(name, mount_point=mount))
        about = answer.get("data") if isinstance(answer, dict) else None
        if not isinstance(about, dict) or not {"latest_version", "min_available_version"} <= about.keys():
            raise _nonsense()
        return about


def epochs_name(tenant: str) -> str:
    """Name of the transit key whose versions are the epochs of a tenant."""
    return f"{tenant_key_name(tenant)}_persons"


def _nonsense() -> KeysUnavailable:
    return KeysUnavailable("vault-nonsense", "the server does not answer like OpenBao or Vault")


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _member(answer: Any, name: str) -> str:
    try:
        text = answer["data"][name]
    except (KeyError, TypeError):
        raise _nonsense() from None
    if not isinstance(text, str):
        raise _nonsense()
    return text
