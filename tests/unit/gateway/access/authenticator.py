"""An authenticator made of real keys (ES256), with everything a hostile one could say about itself as arguments."""

import hashlib
import json
import os
from base64 import urlsafe_b64decode, urlsafe_b64encode
from dataclasses import dataclass, field
from typing import Any

import cbor2
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256

PRESENT, VERIFIED, ATTESTED = 0x01, 0x04, 0x40


def text(raw: bytes) -> str:
    """base64url without padding."""
    return urlsafe_b64encode(raw).rstrip(b"=").decode()


@dataclass
class Authenticator:
    """One key for one host."""

    key: ec.EllipticCurvePrivateKey = field(default_factory=lambda: ec.generate_private_key(ec.SECP256R1()))
    credential_id: bytes = field(default_factory=lambda: os.urandom(32))
    counter: int = 0

    def create(self, options: str, origin: str, *, verified: bool = True, rp_id: str = "") -> str:
        """The answer to `navigator.credentials.create`, as the page's script sends it."""
        asked = json.loads(options)
        numbers = self.key.public_key().public_numbers()
        cose = {1: 2, 3: -7, -1: 1, -2: numbers.x.to_bytes(32, "big"), -3: numbers.y.to_bytes(32, "big")}
        data = self._data(rp_id or asked["rp"]["id"], ATTESTED | PRESENT | (VERIFIED if verified else 0))
        data += bytes(16) + len(self.credential_id).to_bytes(2, "big") + self.credential_id + cbor2.dumps(cose)
        return self._answer(
            clientDataJSON=text(self._client("webauthn.create", asked["challenge"], origin)),
            attestationObject=text(cbor2.dumps({"fmt": "none", "attStmt": {}, "authData": data})),
        )

    def get(
        self, options: str, origin: str, *, verified: bool = True, rp_id: str = "", counter: int | None = None
    ) -> str:
        """The answer to `navigator.credentials.get`; the counter grows by one unless it is told."""
        asked = json.loads(options)
        self.counter = self.counter + 1 if counter is None else counter
        data = self._data(rp_id or asked["rpId"], PRESENT | (VERIFIED if verified else 0))
        client = self._client("webauthn.get", asked["challenge"], origin)
        signature = self.key.sign(data + hashlib.sha256(client).digest(), ec.ECDSA(SHA256()))
        return self._answer(clientDataJSON=text(client), authenticatorData=text(data), signature=text(signature))

    def _data(self, rp_id: str, flags: int) -> bytes:
        return hashlib.sha256(rp_id.encode()).digest() + bytes([flags]) + self.counter.to_bytes(4, "big")

    def _client(self, kind: str, challenge: str, origin: str) -> bytes:
        return json.dumps({"type": kind, "challenge": challenge, "origin": origin, "crossOrigin": False}).encode()

    def _answer(self, **response: Any) -> str:
        name = text(self.credential_id)
        return json.dumps({"id": name, "rawId": name, "type": "public-key", "response": response})


def plain(encoded: str) -> bytes:
    """The bytes of base64url without padding."""
    return urlsafe_b64decode(encoded + "=" * (-len(encoded) % 4))
