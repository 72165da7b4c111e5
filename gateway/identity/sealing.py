"""CRM passwords, tokens and private keys under the tenant's keys, each bound to its table and row."""

from collections.abc import Callable

from gateway.access.tokens import Randomness
from kms.envelope import NONCE_BYTES, Context, Sealing, key_id, open_, seal
from kms.keyring import Keyring

SCOPE = "gateway.identity"
PAD_TO = 64


class IdentitySealer:
    """Seals and opens; sealing: how a tenant seals what is new."""

    def __init__(self, keyring: Keyring, randomness: Randomness, sealing: Callable[[str], Sealing]) -> None:
        self._keyring = keyring
        self._randomness = randomness
        self._sealing = sealing

    async def seal(self, tenant: str, table: str, row: str, clear: bytes) -> bytes:
        """The sealed form; raises KeysUnavailable."""
        key = await self._keyring.field_key(tenant, SCOPE, "seal")
        nonce = self._randomness(NONCE_BYTES)
        return seal(key, clear, place_of(tenant, table, row), nonce, pad_to=PAD_TO, sealing=self._sealing(tenant))

    async def open(self, tenant: str, table: str, row: str, blob: bytes) -> bytes:
        """The bytes again; raises EnvelopeInvalid, KeysUnavailable."""
        keys = await self._keyring.by_id(tenant, {key_id(blob)})
        return open_(keys, blob, place_of(tenant, table, row))


def place_of(tenant: str, table: str, row: str) -> Context:
    """What a sealed column is bound to."""
    return Context(tenant, "crmgate", table, "seal", record=row)
