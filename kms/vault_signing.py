"""An Ed25519 key in the transit engine that signs and never leaves the server.

Made by an operator; who serves may only read its public half and sign. A key that was rotated keeps its versions: the
one is used whose public half is known, so that nobody's rotation changes who signs.
"""

import base64
import binascii
from typing import Any

from hvac import exceptions

from kms.provider import KeyringLocked, KeysUnavailable
from kms.vault import TransitProvider

KEY_TYPE = "ed25519"
PUBLIC_BYTES, SIGNATURE_BYTES = 32, 64


class TransitSigning:
    """One signing key by its name."""

    def __init__(self, provider: TransitProvider, name: str) -> None:
        self._provider = provider
        self._name = name

    async def create(self) -> bytes:
        """The public key; made first when there is none. Raises: KeysUnavailable, KeyringLocked for another type."""

        def make(client: Any) -> None:
            # Creating a key that exists changes nothing.
            client.secrets.transit.create_key(
                self._name, key_type=KEY_TYPE, exportable=False, derived=False, mount_point=self._provider.mount
            )

        await self._provider.ask(make)
        versions = await self._provider.ask(self._versions)
        return versions[max(versions)]

    async def sign(self, message: bytes, public: bytes) -> bytes:
        """64 bytes (RFC 8032) by the version with this public key. Raises: KeysUnavailable, KeyringLocked."""

        def sign(client: Any) -> bytes:
            version = next((one for one, key in self._versions(client).items() if key == public), None)
            if version is None:
                raise KeyringLocked("signing-key-other", f"no version of {self._name} has the public key we know")
            answer = client.secrets.transit.sign_data(
                self._name,
                hash_input=base64.b64encode(message).decode(),
                key_version=version,
                mount_point=self._provider.mount,
            )
            head, _, text = str(answer["data"]["signature"]).rpartition(":")
            signature = base64.b64decode(text, validate=True)
            if head != f"vault:v{version}" or len(signature) != SIGNATURE_BYTES:
                raise ValueError
            return signature

        return await self._provider.ask(sign)

    def _versions(self, client: Any) -> dict[int, bytes]:
        """Public keys by version."""
        where = f"the transit engine at {self._provider.address}"
        try:
            about = client.secrets.transit.read_key(self._name, mount_point=self._provider.mount)["data"]
        except exceptions.InvalidPath:
            raise KeyringLocked("signing-key-missing", f"{where} has no key {self._name}") from None
        if about["type"] != KEY_TYPE or about.get("exportable"):
            raise KeyringLocked("signing-key-unfit", f"{self._name} in {where} is no {KEY_TYPE} key that stays there")
        try:
            found = {
                int(version): base64.b64decode(one["public_key"], validate=True)
                for version, one in about["keys"].items()
            }
        except binascii.Error:
            found = {}
        if not found or any(len(one) != PUBLIC_BYTES for one in found.values()):
            raise KeysUnavailable("vault-nonsense", f"{where} does not answer like OpenBao or Vault")
        return found
