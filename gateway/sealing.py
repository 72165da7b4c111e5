"""Second-factor secrets under the tenant's keys: gateway.access gives bytes, the keyring keeps the keys.

The context (which user, which column) is authenticated, so a sealed secret copied to another user does not open.
"""

from collections.abc import Callable

from gateway.access.sealer import totp_context
from gateway.access.tokens import Randomness
from kms.envelope import NONCE_BYTES, Context, Sealing, key_id, open_, seal
from kms.keyring import Keyring

SCOPE = "gateway.access"
PAD_TO = 32
_PURPOSE = "seal"


class KeyringSealer:
    """`gateway.access.sealer.Sealer` over the keyring. sealing: how a tenant seals what is new."""

    def __init__(self, keyring: Keyring, randomness: Randomness, sealing: Callable[[str], Sealing]) -> None:
        self._keyring = keyring
        self._randomness = randomness
        self._sealing = sealing

    async def seal(self, tenant: str, plaintext: bytes, context: bytes) -> bytes:
        """Sealed form, bound to `context`; raises KeysUnavailable."""
        key = await self._keyring.field_key(tenant, SCOPE, _PURPOSE)
        nonce = self._randomness(NONCE_BYTES)
        return seal(key, plaintext, _place(tenant, context), nonce, pad_to=PAD_TO, sealing=self._sealing(tenant))

    async def open(self, tenant: str, sealed: bytes, context: bytes) -> bytes:
        """The bytes again; raises EnvelopeInvalid, KeysUnavailable."""
        keys = await self._keyring.by_id(tenant, {key_id(sealed)})
        return open_(keys, sealed, _place(tenant, context))


def _place(tenant: str, context: bytes) -> Context:
    return Context(tenant, "crmgate", "app_user", _PURPOSE, record=context.decode("ascii"))


def of_user(tenant: str, user_id: str) -> Context:
    """What the second-factor secret of a user is bound to."""
    return _place(tenant, totp_context(user_id))
