"""One trip to a provider and back: everything it has to match is derived from one secret in the browser's cookie; pure.

The database keeps a digest of the cookie only, so that nobody who reads it could finish somebody's trip. State, nonce
and code verifier are derived by HMAC under names of their own: none of them, seen in an address or a token, tells
another (RFC 9700, section 4.7; RFC 7636, section 4.1).
"""

import base64
import hashlib
import hmac
from dataclasses import dataclass, field

from gateway.access.tokens import well_formed


@dataclass(frozen=True, slots=True)
class Flow:
    """A trip of one browser. secret: the token in its cookie."""

    secret: str = field(repr=False)

    @property
    def state(self) -> str:
        """What the provider sends back as it is."""
        return self._derived("state")

    @property
    def nonce(self) -> str:
        """What its ID token has to say."""
        return self._derived("nonce")

    @property
    def verifier(self) -> str:
        """What only we can show for the code (43 characters)."""
        return self._derived("verifier")

    @property
    def challenge(self) -> str:
        """PKCE, S256."""
        return _text(hashlib.sha256(self.verifier.encode("ascii")).digest())

    def matches(self, state: str) -> bool:
        """Whether this state is of this browser's trip."""
        return well_formed(self.secret) and hmac.compare_digest(self.state.encode(), state.encode("utf-8", "replace"))

    def _derived(self, name: str) -> str:
        return _text(
            hmac.digest(self.secret.encode("ascii", "replace"), b"crmgate federation " + name.encode(), "sha256")
        )


def _text(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode("ascii")
