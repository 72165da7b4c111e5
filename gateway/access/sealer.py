"""The seam to the keys: second-factor secrets are sealed before they reach the database, by whoever holds keys.

gateway.access never sees a key; the composition gives it an object of this shape over the keyring.
"""

from typing import Protocol


class Sealer(Protocol):
    """Authenticated encryption under the tenant's keys; both methods raise KeysUnavailable when there are none."""

    async def seal(self, tenant: str, plaintext: bytes, context: bytes) -> bytes:
        """Sealed form of a few bytes, bound to `context`."""

    async def open(self, tenant: str, sealed: bytes, context: bytes) -> bytes:
        """The bytes again; raises EnvelopeInvalid when sealed bytes or context are not the ones."""


def totp_context(user_id: str) -> bytes:
    """What a sealed second-factor secret is bound to: it opens for this user only."""
    return b"app_user.totp_secret:" + user_id.encode("utf-8")
