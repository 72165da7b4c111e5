"""Reasons of the ledger, and handles, under the tenant's keys; each is bound to the row or session it belongs to."""

from collections.abc import Callable

from gateway.access.tokens import Randomness
from kms.envelope import NONCE_BYTES, Context, Sealing, key_id, open_, seal
from kms.keyring import Keyring

SCOPE = "gateway.reveal"
PAD_TO = 64


class DisclosureSealer:
    """`gateway.access.sealer.Sealer` over the keyring. sealing: how a tenant seals what is new."""

    def __init__(self, keyring: Keyring, randomness: Randomness, sealing: Callable[[str], Sealing]) -> None:
        self._keyring = keyring
        self._randomness = randomness
        self._sealing = sealing

    async def seal(self, tenant: str, plaintext: bytes, context: bytes) -> bytes:
        """Sealed form, bound to `context`; raises KeysUnavailable."""
        key = await self._keyring.field_key(tenant, SCOPE, "seal")
        nonce = self._randomness(NONCE_BYTES)
        return seal(key, plaintext, _place(tenant, context), nonce, pad_to=PAD_TO, sealing=self._sealing(tenant))

    async def open(self, tenant: str, sealed: bytes, context: bytes) -> bytes:
        """The bytes again; raises EnvelopeInvalid, KeysUnavailable."""
        keys = await self._keyring.by_id(tenant, {key_id(sealed)})
        return open_(keys, sealed, _place(tenant, context))


def reason_context(row: str) -> bytes:
    """What a sealed reason is bound to: its row of the ledger."""
    return b"reveal.reason:" + row.encode("ascii")


def of_reason(tenant: str, row: str) -> Context:
    """The same as the rotation of keys needs it."""
    return _place(tenant, reason_context(row))


def _place(tenant: str, context: bytes) -> Context:
    return Context(tenant, "crmgate", "reveal", "seal", record=context.decode("utf-8"))
