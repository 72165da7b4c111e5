"""0x11: AES-256-GCM (NIST SP 800-38D) under a key of each record; the default.

Body: nonce (12), ciphertext, tag (16). Value key: one block of HKDF-Expand with SHA-256 (RFC 5869, 2.3).
"""

import hmac

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from kms.suites.suite import COMMITMENT_BYTES, NONCE_BYTES, TAG_BYTES, Suite


def encrypt(secret: bytes, record: bytes, nonce: bytes, plaintext: bytes, additional: bytes) -> bytes:
    """Nonce, ciphertext and tag."""
    return nonce + AESGCM(_value_key(secret, record)).encrypt(nonce, plaintext, additional)


def decrypt(secret: bytes, record: bytes, body: bytes, additional: bytes) -> bytes:
    """The plaintext; raises InvalidTag."""
    return AESGCM(_value_key(secret, record)).decrypt(body[:NONCE_BYTES], body[NONCE_BYTES:], additional)


def commit(secret: bytes, record: bytes) -> bytes:
    """HMAC-SHA-256 of label and record, cut: GCM alone lets one ciphertext open under two keys."""
    return hmac.digest(secret, b"G1 com" + record, "sha256")[:COMMITMENT_BYTES]


def _value_key(secret: bytes, record: bytes) -> bytes:
    return hmac.digest(secret, b"G1 val" + record + b"\x01", "sha256")


AES_256_GCM = Suite(0x11, "aes-256-gcm", NONCE_BYTES + TAG_BYTES, True, False, encrypt, decrypt, commit)
