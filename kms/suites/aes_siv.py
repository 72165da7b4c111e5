"""0x12: AES-256-SIV (RFC 5297), deterministic: equal values of a field give equal envelopes, on purpose.

Only where the CRM has to compare a column of cells by itself, and the leak of equality is accepted. Not bound to the
record. Body: synthetic IV (16), ciphertext; there is no nonce. The 64-byte key is two blocks of HKDF-Expand.
"""

import hmac

from cryptography.hazmat.primitives.ciphers.aead import AESSIV

from kms.suites.suite import COMMITMENT_BYTES, TAG_BYTES, Suite


def encrypt(secret: bytes, record: bytes, nonce: bytes, plaintext: bytes, additional: bytes) -> bytes:
    """Synthetic IV and ciphertext; record and nonce take no part."""
    return AESSIV(_field_key(secret)).encrypt(plaintext, [additional])


def decrypt(secret: bytes, record: bytes, body: bytes, additional: bytes) -> bytes:
    """The plaintext; raises InvalidTag."""
    return AESSIV(_field_key(secret)).decrypt(body, [additional])


def commit(secret: bytes, record: bytes) -> bytes:
    """HMAC-SHA-256 of a label, cut."""
    return hmac.digest(secret, b"G1 siv com", "sha256")[:COMMITMENT_BYTES]


def _field_key(secret: bytes) -> bytes:
    """HKDF-Expand to 64 bytes (RFC 5869, 2.3): AES-256 in SIV takes one key to authenticate and one to encrypt."""
    first = hmac.digest(secret, b"G1 siv\x01", "sha256")
    return first + hmac.digest(secret, first + b"G1 siv\x02", "sha256")


AES_256_SIV = Suite(0x12, "aes-256-siv", TAG_BYTES, False, False, encrypt, decrypt, commit)
